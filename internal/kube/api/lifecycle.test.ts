import { describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { cloneJson, type JsonObject } from '../machinery/json.ts';
import { StatusError } from '../machinery/status.ts';
import { builtinKinds } from './builtin.ts';
import type { KindInfo, StrategyContext } from './kinds.ts';
import { beforeCreate, beforeUpdate, fillDefaults, markDeleted } from './lifecycle.ts';

const now = Date.parse('2026-01-01T00:00:00Z');
const context = (): StrategyContext => ({ now: () => now, random: seededRandom(1) });
const kindOf = (group: string, kind: string): KindInfo => builtinKinds.byKind(group, 'v1', kind)!;

function created(group: string, kind: string, object: JsonObject, namespace: string | undefined = 'd'): JsonObject {
  const info = kindOf(group, kind);
  const copy = cloneJson({ apiVersion: group === '' ? 'v1' : `${group}/v1`, kind, ...object }) as JsonObject;
  fillDefaults(info, copy);
  beforeCreate(info, copy, { namespace: info.namespaced ? namespace : undefined }, context());
  return copy;
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof StatusError) return `${error.httpCode} ${error.message}`;
    throw error;
  }
  return 'accepted';
}

function updated(
  group: string,
  kind: string,
  old: JsonObject,
  change: (object: JsonObject) => void,
  subresource = '',
): JsonObject {
  const copy = cloneJson(old);
  change(copy);
  fillDefaults(kindOf(group, kind), copy);
  beforeUpdate(kindOf(group, kind), subresource, copy, old, context());
  return copy;
}

const container = { name: 'c', image: 'nginx' };
const pod = (spec: JsonObject = {}, metadata: JsonObject = { name: 'p' }): JsonObject => ({
  metadata,
  spec: { containers: [container], ...spec },
});
const deployment = (spec: JsonObject = {}): JsonObject => ({
  metadata: { name: 'web' },
  spec: {
    selector: { matchLabels: { app: 'w' } },
    template: { metadata: { labels: { app: 'w' } }, spec: { containers: [container] } },
    ...spec,
  },
});
const service = (spec: JsonObject): JsonObject => ({
  metadata: { name: 's' },
  spec: { ports: [{ port: 80 }], ...spec },
});
const claim = (spec: JsonObject = {}): JsonObject => ({
  metadata: { name: 'c' },
  spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } }, ...spec },
});

describe('create', () => {
  test('metadata is the server’s: uid, time, generation, name from generateName; a status is not taken over', () => {
    const object = created('', 'Pod', {
      ...pod({}, { generateName: 'web-', uid: 'mine', generation: 9 }),
      status: { phase: 'Running' },
    });
    expect(object.metadata).toMatchObject({ namespace: 'd', creationTimestamp: '2026-01-01T00:00:00Z', generation: 1 });
    expect((object.metadata as JsonObject).name).toMatch(/^web-[a-z0-9]{5}$/);
    expect((object.metadata as JsonObject).uid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4/);
    expect(object.status).toEqual({ phase: 'Pending', qosClass: 'BestEffort' });
  });
  test('a pod has the defaults that every pod has', () => {
    const { spec } = created(
      '',
      'Pod',
      pod({
        containers: [
          {
            ...container,
            resources: { limits: { cpu: '1', memory: '1Gi' } },
            livenessProbe: { httpGet: { port: 80 } },
          },
        ],
      }),
    ) as { spec: JsonObject };
    expect(spec).toMatchObject({
      dnsPolicy: 'ClusterFirst',
      restartPolicy: 'Always',
      schedulerName: 'default-scheduler',
      terminationGracePeriodSeconds: 30,
      enableServiceLinks: true,
      securityContext: {},
      containers: [
        {
          imagePullPolicy: 'Always',
          terminationMessagePath: '/dev/termination-log',
          terminationMessagePolicy: 'File',
          resources: { limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1', memory: '1Gi' } },
          livenessProbe: {
            httpGet: { path: '/', scheme: 'HTTP', port: 80 },
            timeoutSeconds: 1,
            periodSeconds: 10,
            successThreshold: 1,
            failureThreshold: 3,
          },
        },
      ],
    });
  });
  test('a node registers with its status, a secret’s stringData becomes data', () => {
    expect(created('', 'Node', { metadata: { name: 'n' }, status: { capacity: { cpu: '1' } } }).status).toEqual({
      capacity: { cpu: '1' },
      allocatable: { cpu: '1' },
    });
    const secret = created('', 'Secret', { metadata: { name: 's' }, stringData: { a: 'hi' } });
    expect([secret.data, secret.stringData, secret.type]).toEqual([{ a: 'aGk=' }, undefined, 'Opaque']);
  });
  test.each<[string, string, string, JsonObject, string]>([
    [
      'no name',
      '',
      'Pod',
      pod({}, {}),
      '422 Pod "" is invalid: metadata.name: Required value: name or generateName is required',
    ],
    [
      'a bad name',
      '',
      'Pod',
      pod({}, { name: 'Web' }),
      '422 Pod "Web" is invalid: metadata.name: Invalid value: "Web": a lowercase RFC 1123 subdomain must consist of',
    ],
    [
      'a bad label',
      '',
      'ConfigMap',
      { metadata: { name: 'c', labels: { 'a b': 'x' } } },
      'metadata.labels: Invalid value: "a b": name part must consist of',
    ],
    [
      'a foreign namespace',
      '',
      'Pod',
      pod({}, { name: 'p', namespace: 'other' }),
      '400 the namespace of the provided object does not match the namespace sent on the request',
    ],
    [
      'a resourceVersion',
      '',
      'Pod',
      pod({}, { name: 'p', resourceVersion: '1' }),
      '400 resourceVersion should not be set on objects to be created',
    ],
    ['no containers', '', 'Pod', pod({ containers: [] }), '422 Pod "p" is invalid: spec.containers: Required value'],
    ['no image', '', 'Pod', pod({ containers: [{ name: 'c' }] }), 'spec.containers[0].image: Required value'],
    [
      'two containers of one name',
      '',
      'Pod',
      pod({ containers: [container, container] }),
      'spec.containers[1].name: Duplicate value: "c"',
    ],
    [
      'a volume that is not there',
      '',
      'Pod',
      pod({ containers: [{ ...container, volumeMounts: [{ name: 'v', mountPath: '/x' }] }] }),
      'spec.containers[0].volumeMounts[0].name: Not found: "v"',
    ],
    [
      'two sources of a volume',
      '',
      'Pod',
      pod({ volumes: [{ name: 'v', emptyDir: {}, hostPath: { path: '/x' } }] }),
      'spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type',
    ],
    [
      'more requested than allowed',
      '',
      'Pod',
      pod({ containers: [{ ...container, resources: { limits: { cpu: '1' }, requests: { cpu: '2' } } }] }),
      'spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ],
    [
      'an unknown policy',
      '',
      'Pod',
      pod({ restartPolicy: 'Sometimes' }),
      'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"',
    ],
    [
      'bad sysctls',
      '',
      'Pod',
      pod({
        securityContext: {
          sysctls: [
            { name: 'foo-', value: '1' },
            { name: 'kernel.shm_rmid_forced', value: '1' },
          ],
        },
      }),
      'spec.securityContext.sysctls[0].name: Invalid value: "foo-": must have at most 253 characters',
    ],
    [
      'a selector that does not match',
      'apps',
      'Deployment',
      deployment({ selector: { matchLabels: { app: 'x' } } }),
      'spec.template.metadata.labels: Invalid value: {"app":"w"}: `selector` does not match template `labels`',
    ],
    [
      'no movement possible',
      'apps',
      'Deployment',
      deployment({ strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 0, maxUnavailable: 0 } } }),
      'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0',
    ],
    [
      'negative replicas',
      'apps',
      'Deployment',
      deployment({ replicas: -1 }),
      'spec.replicas: Invalid value: -1: must be greater than or equal to 0',
    ],
    ['a service without ports', '', 'Service', service({ ports: [] }), 'spec.ports: Required value'],
    [
      'unnamed ports',
      '',
      'Service',
      service({ ports: [{ port: 80 }, { port: 81, name: 'b' }] }),
      'spec.ports[0].name: Required value',
    ],
    [
      'a claim without modes',
      '',
      'PersistentVolumeClaim',
      claim({ accessModes: [] }),
      'spec.accessModes: Required value: at least 1 access mode is required',
    ],
    [
      'a claim without size',
      '',
      'PersistentVolumeClaim',
      claim({ resources: {} }),
      'spec.resources[storage]: Required value',
    ],
    [
      'a bad key',
      '',
      'ConfigMap',
      { metadata: { name: 'c' }, data: { 'a/b': '' } },
      'data[a/b]: Invalid value: "a/b": a valid config key must consist of',
    ],
    [
      'a role without verbs',
      'rbac.authorization.k8s.io',
      'Role',
      { metadata: { name: 'r' }, rules: [{ apiGroups: [''], resources: ['pods'] }] },
      'rules[0].verbs: Required value: verbs must contain at least one value',
    ],
  ])('%s is refused', (_title, group, kind, object, message) => {
    expect(refusal(() => created(group, kind, object))).toContain(message);
  });
});

describe('update', () => {
  test('spec changes raise the generation, status and labels do not; a Deployment’s annotations do', () => {
    const old = created('apps', 'Deployment', deployment());
    expect(
      updated('apps', 'Deployment', old, (o) => Object.assign(o.spec as JsonObject, { replicas: 5 })).metadata,
    ).toMatchObject({ generation: 2 });
    expect(
      updated('apps', 'Deployment', old, (o) => Object.assign(o.metadata as JsonObject, { labels: { a: 'b' } }))
        .metadata,
    ).toMatchObject({ generation: 1 });
    expect(
      updated('apps', 'Deployment', old, (o) => Object.assign(o.metadata as JsonObject, { annotations: { a: 'b' } }))
        .metadata,
    ).toMatchObject({ generation: 2 });
  });
  test('status is written through its subresource only, and nothing else is', () => {
    const old = created('apps', 'Deployment', deployment());
    const change = (o: JsonObject): void => {
      o.status = { replicas: 7 };
      (o.spec as JsonObject).replicas = 7;
    };
    expect(updated('apps', 'Deployment', old, change)).toMatchObject({ spec: { replicas: 7 }, status: {} });
    const byStatus = updated('apps', 'Deployment', old, change, 'status');
    expect(byStatus).toMatchObject({ spec: { replicas: 1 }, status: { replicas: 7 }, metadata: { generation: 1 } });
  });
  const oldPod = created('', 'Pod', pod());
  const oldClaim = {
    ...created('', 'PersistentVolumeClaim', claim()),
    status: { phase: 'Bound', capacity: { storage: '1Gi' } },
  };
  const oldSet = created('apps', 'StatefulSet', { ...deployment({ serviceName: 's' }) });
  test.each<[string, string, string, JsonObject, (object: JsonObject) => void, string]>([
    [
      'another image of a pod',
      '',
      'Pod',
      oldPod,
      (o) => Object.assign(((o.spec as JsonObject).containers as JsonObject[])[0]!, { image: 'x:1' }),
      'accepted',
    ],
    [
      'another command of a pod',
      '',
      'Pod',
      oldPod,
      (o) => Object.assign(((o.spec as JsonObject).containers as JsonObject[])[0]!, { command: ['x'] }),
      'spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`',
    ],
    [
      'another selector',
      'apps',
      'Deployment',
      created('apps', 'Deployment', deployment()),
      (o) => {
        (o.spec as JsonObject).selector = { matchLabels: { app: 'w', tier: 'x' } };
        Object.assign(((o.spec as JsonObject).template as JsonObject).metadata as JsonObject, {
          labels: { app: 'w', tier: 'x' },
        });
      },
      'spec.selector: Invalid value: {"matchLabels":{"app":"w","tier":"x"}}: field is immutable',
    ],
    [
      'another service of a StatefulSet',
      'apps',
      'StatefulSet',
      oldSet,
      (o) => Object.assign(o.spec as JsonObject, { serviceName: 'z' }),
      "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template'",
    ],
    [
      'a larger claim',
      '',
      'PersistentVolumeClaim',
      oldClaim,
      (o) => Object.assign((o.spec as JsonObject).resources as JsonObject, { requests: { storage: '2Gi' } }),
      'accepted',
    ],
    [
      'a smaller claim',
      '',
      'PersistentVolumeClaim',
      oldClaim,
      (o) => Object.assign((o.spec as JsonObject).resources as JsonObject, { requests: { storage: '1Mi' } }),
      'spec.resources.requests.storage: Forbidden: field can not be less than status.capacity',
    ],
    [
      'another class of a claim',
      '',
      'PersistentVolumeClaim',
      created('', 'PersistentVolumeClaim', claim({ storageClassName: 'a' })),
      (o) => Object.assign(o.spec as JsonObject, { storageClassName: 'b' }),
      'spec: Forbidden: spec is immutable after creation',
    ],
    [
      'data of an immutable ConfigMap',
      '',
      'ConfigMap',
      created('', 'ConfigMap', { metadata: { name: 'c' }, immutable: true, data: { a: '1' } }),
      (o) => Object.assign(o, { data: { a: '2' } }),
      'data: Forbidden: field is immutable when `immutable` is set',
    ],
    [
      'another name',
      '',
      'ConfigMap',
      created('', 'ConfigMap', { metadata: { name: 'c' } }),
      (o) => Object.assign(o.metadata as JsonObject, { name: 'x' }),
      'metadata.name: Invalid value: "x": field is immutable',
    ],
    [
      'another uid',
      '',
      'ConfigMap',
      created('', 'ConfigMap', { metadata: { name: 'c' } }),
      (o) => Object.assign(o.metadata as JsonObject, { uid: 'x' }),
      '409 Operation cannot be fulfilled on configmaps "c": Precondition failed: UID in precondition: x',
    ],
    [
      'another value of a priority',
      'scheduling.k8s.io',
      'PriorityClass',
      created('scheduling.k8s.io', 'PriorityClass', { metadata: { name: 'h' }, value: 1 }),
      (o) => Object.assign(o, { value: 2 }),
      'value: Forbidden: may not be changed in an update.',
    ],
  ])('%s', (_title, group, kind, old, change, expected) => {
    expect(refusal(() => updated(group, kind, old, change))).toContain(expected);
  });
  test('a volume’s phase changes now, unless who tells it says when; in the same phase the time stays', () => {
    const spec = { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path: '/v' } };
    const volume = created('', 'PersistentVolume', { metadata: { name: 'v' }, spec }, undefined);
    expect(volume.status).toEqual({ phase: 'Pending', lastPhaseTransitionTime: '2026-01-01T00:00:00Z' });
    const [before, told] = ['2025-01-01T00:00:00Z', '2025-06-01T00:00:00Z'];
    const old = { ...volume, status: { phase: 'Pending', lastPhaseTransitionTime: before } };
    const statusOf = (status: JsonObject): unknown =>
      updated('', 'PersistentVolume', old, (object) => (object.status = status), 'status').status;
    const now = { phase: 'Bound', lastPhaseTransitionTime: '2026-01-01T00:00:00Z' };
    expect(statusOf({ phase: 'Bound' })).toEqual(now);
    expect(statusOf({ phase: 'Bound', lastPhaseTransitionTime: before })).toEqual(now);
    expect(statusOf({ phase: 'Bound', lastPhaseTransitionTime: told })).toMatchObject({
      lastPhaseTransitionTime: told,
    });
    expect(statusOf({ phase: 'Pending' })).toEqual(old.status);
    expect(statusOf({ phase: 'Pending', lastPhaseTransitionTime: told })).toMatchObject({
      lastPhaseTransitionTime: told,
    });
  });

  test('an object that is being deleted takes no new finalizers, and its time can only come nearer', () => {
    const object = created('', 'ConfigMap', { metadata: { name: 'c', finalizers: ['a/b'] } });
    markDeleted(object, 30, now);
    expect(object.metadata).toMatchObject({
      deletionTimestamp: '2026-01-01T00:00:30Z',
      deletionGracePeriodSeconds: 30,
    });
    markDeleted(object, 60, now + 10_000);
    expect(object.metadata).toMatchObject({ deletionTimestamp: '2026-01-01T00:00:30Z' });
    markDeleted(object, 5, now + 10_000);
    expect(object.metadata).toMatchObject({ deletionTimestamp: '2026-01-01T00:00:05Z', deletionGracePeriodSeconds: 5 });
    expect(
      refusal(() =>
        updated('', 'ConfigMap', object, (o) =>
          Object.assign(o.metadata as JsonObject, { finalizers: ['a/b', 'c/d'] }),
        ),
      ),
    ).toContain('no new finalizers can be added if the object is being deleted, found new finalizers []string{"c/d"}');
  });
});
