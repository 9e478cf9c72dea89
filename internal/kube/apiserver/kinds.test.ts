import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { builtinKinds, builtinSchemas } from '../api/builtin.ts';
import { apiVersionOf, type KindInfo } from '../api/kinds.ts';
import type { JsonObject } from '../machinery/json.ts';
import { decodeProtobuf } from './protobuf/decode.ts';
import { encodeProtobuf } from './protobuf/encode.ts';
import { startTestServer, type TestServer } from './testing.ts';

/** Every kind that is stored lives through the API: created from JSON and from protobuf, read, listed, shown as a table, patched, deleted. */

const template = {
  metadata: { labels: { app: 'a' } },
  spec: { containers: [{ name: 'c', image: 'busybox' }] },
};
const jobTemplate = { spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'busybox' }] } };
const workload = { spec: { selector: { matchLabels: { app: 'a' } }, template } };
const rule = { operations: ['CREATE'], apiGroups: [''], apiVersions: ['v1'], resources: ['unicorns'] };
const webhook = {
  name: 'check.policy.example.com',
  clientConfig: { url: 'https://example.invalid/check' },
  rules: [rule],
  failurePolicy: 'Ignore',
  sideEffects: 'None',
  admissionReviewVersions: ['v1'],
};
const constraints = { resourceRules: [rule] };
const policyBinding = { spec: { policyName: 'none' } };
/** `openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout /dev/null -subj /CN=a -outform DER` */
const signed =
  'MIHGMG4CAQAwDDEKMAgGA1UEAwwBYTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABAfso42Jj/z2FAvHbFnuw1xx71regR4jCTQba+PcNLh+wBWiZcp2DARwyd/WlO/FVazwILYdFiLQosOtOhqKqU+gADAKBggqhkjOPQQDAgNIADBFAiEA/kAy308WVO8iIChjeSnJOhJqBeUDv5k2p1gG2evwnL8CIE+LlNoIIxTAgEcCjbTXqBQ1RLZtdAfhKYyncRH1r+AQ';
const pem = Buffer.from(`-----BEGIN CERTIFICATE REQUEST-----\n${signed}\n-----END CERTIFICATE REQUEST-----\n`).toString(
  'base64',
);
const autoscaler = {
  spec: { scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'a' }, maxReplicas: 2 },
};
const claim = { devices: { requests: [{ name: 'a', exactly: { deviceClassName: 'gpu' } }] } };
const event = { reason: 'Because', type: 'Normal' };

/** What a kind needs at least, beyond a name. */
const examples: Readonly<Record<string, JsonObject>> = {
  'v1 Endpoints': { subsets: [{ addresses: [{ ip: '10.0.0.1' }], ports: [{ port: 80 }] }] },
  'v1 Event': { ...event, involvedObject: { kind: 'Pod', name: 'p', namespace: 'default' } },
  'v1 LimitRange': { spec: { limits: [{ type: 'Container', max: { cpu: '4' } }] } },
  'v1 PersistentVolume': {
    spec: { capacity: { storage: '1Gi' }, accessModes: ['ReadWriteOnce'], hostPath: { path: '/a' } },
  },
  'v1 PersistentVolumeClaim': { spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } } },
  'v1 Pod': { spec: template.spec },
  'v1 PodTemplate': { template },
  'v1 ReplicationController': { spec: { template } },
  'v1 ResourceQuota': { spec: { hard: { 'count/unicorns.example.com': '1' } } },
  'v1 Service': { spec: { ports: [{ port: 80 }] } },
  'apps/v1 ControllerRevision': { revision: 1, data: { a: 1 } },
  'apps/v1 DaemonSet': workload,
  'apps/v1 Deployment': workload,
  'apps/v1 ReplicaSet': workload,
  'apps/v1 StatefulSet': workload,
  'events.k8s.io/v1 Event': {
    ...event,
    eventTime: '2026-01-01T00:00:00.000000Z',
    regarding: { kind: 'Pod', name: 'p', namespace: 'default' },
    reportingController: 'example.com/c',
    reportingInstance: 'c-1',
    action: 'Test',
  },
  'rbac.authorization.k8s.io/v1 ClusterRole': { rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }] },
  'rbac.authorization.k8s.io/v1 Role': { rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }] },
  'rbac.authorization.k8s.io/v1 ClusterRoleBinding': {
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
  },
  'rbac.authorization.k8s.io/v1 RoleBinding': {
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
  },
  'storage.k8s.io/v1 CSIDriver': { spec: {} },
  'storage.k8s.io/v1 CSINode': { spec: { drivers: [{ name: 'd.example.com', nodeID: 'n' }] } },
  'storage.k8s.io/v1 CSIStorageCapacity': { storageClassName: 'fast' },
  'storage.k8s.io/v1 StorageClass': { provisioner: 'p.example.com' },
  'storage.k8s.io/v1 VolumeAttachment': {
    spec: { attacher: 'd.example.com', nodeName: 'n', source: { persistentVolumeName: 'v' } },
  },
  'storage.k8s.io/v1 VolumeAttributesClass': { driverName: 'd.example.com', parameters: { iops: '1' } },
  'scheduling.k8s.io/v1 PriorityClass': { value: 10 },
  'coordination.k8s.io/v1 Lease': { spec: { holderIdentity: 'me' } },
  'discovery.k8s.io/v1 EndpointSlice': { addressType: 'IPv4', endpoints: [{ addresses: ['10.0.0.1'] }] },
  'policy/v1 PodDisruptionBudget': { spec: { minAvailable: 1, selector: { matchLabels: { app: 'a' } } } },
  'autoscaling/v1 HorizontalPodAutoscaler': autoscaler,
  'autoscaling/v2 HorizontalPodAutoscaler': autoscaler,
  'batch/v1 CronJob': {
    spec: { schedule: '0 3 * * *', suspend: true, jobTemplate: { spec: { template: jobTemplate } } },
  },
  'batch/v1 Job': { spec: { suspend: true, template: jobTemplate } },
  'networking.k8s.io/v1 IPAddress': { spec: { parentRef: { resource: 'services', name: 'a', namespace: 'default' } } },
  'networking.k8s.io/v1 Ingress': { spec: { defaultBackend: { service: { name: 'a', port: { number: 80 } } } } },
  'networking.k8s.io/v1 IngressClass': { spec: { controller: 'example.com/c' } },
  'networking.k8s.io/v1 NetworkPolicy': { spec: { podSelector: {} } },
  'networking.k8s.io/v1 ServiceCIDR': { spec: { cidrs: ['10.99.0.0/24'] } },
  'certificates.k8s.io/v1 CertificateSigningRequest': {
    spec: { request: pem, signerName: 'example.com/s', usages: ['client auth'] },
  },
  'node.k8s.io/v1 RuntimeClass': { handler: 'runc' },
  'resource.k8s.io/v1 DeviceClass': { spec: {} },
  'resource.k8s.io/v1 ResourceClaim': { spec: claim },
  'resource.k8s.io/v1 ResourceClaimTemplate': { spec: { spec: claim } },
  'resource.k8s.io/v1 ResourceSlice': {
    spec: { driver: 'd.example.com', nodeName: 'n', pool: { name: 'p', generation: 1, resourceSliceCount: 1 } },
  },
  'admissionregistration.k8s.io/v1 MutatingWebhookConfiguration': { webhooks: [webhook] },
  'admissionregistration.k8s.io/v1 ValidatingWebhookConfiguration': { webhooks: [webhook] },
  'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicy': {
    spec: { matchConstraints: constraints, validations: [{ expression: 'true' }] },
  },
  'admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyBinding': {
    spec: { ...policyBinding.spec, validationActions: ['Deny'] },
  },
  'admissionregistration.k8s.io/v1 MutatingAdmissionPolicy': {
    spec: {
      matchConstraints: constraints,
      reinvocationPolicy: 'Never',
      mutations: [{ patchType: 'JSONPatch', jsonPatch: { expression: '[]' } }],
    },
  },
  'admissionregistration.k8s.io/v1 MutatingAdmissionPolicyBinding': policyBinding,
  'flowcontrol.apiserver.k8s.io/v1 FlowSchema': {
    spec: { priorityLevelConfiguration: { name: 'none' }, matchingPrecedence: 9000 },
  },
  'flowcontrol.apiserver.k8s.io/v1 PriorityLevelConfiguration': {
    spec: { type: 'Limited', limited: { limitResponse: { type: 'Reject' } } },
  },
  'apiextensions.k8s.io/v1 CustomResourceDefinition': {
    metadata: { name: 'things.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Cluster',
      names: { plural: 'things', kind: 'Thing' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
    },
  },
  'apiregistration.k8s.io/v1 APIService': {
    metadata: { name: 'v1.far.example.com' },
    spec: {
      group: 'far.example.com',
      version: 'v1',
      groupPriorityMinimum: 100,
      versionPriority: 100,
      insecureSkipTLSVerify: true,
      service: { name: 'none', namespace: 'default' },
    },
  },
};

const names: Readonly<Record<string, string>> = { IPAddress: '192.0.2.7', Namespace: 'elsewhere' };

describe('every kind', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
    await server.call('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
  }, 120_000);
  afterAll(() => server.close());

  const stored = builtinKinds.all.filter((kind) => !kind.virtual && kind.verbs.includes('create'));
  const pathOf = (kind: KindInfo): string =>
    `${kind.group === '' ? '/api' : `/apis/${kind.group}`}/${kind.version}${kind.namespaced ? '/namespaces/default' : ''}/${kind.plural}`;

  test.each(stored.map((kind) => [`${apiVersionOf(kind)} ${kind.kind}`, kind] as const))(
    '%s: created from JSON and from protobuf, read, listed, shown, patched, deleted',
    async (key, kind) => {
      const path = pathOf(kind);
      const name = names[kind.kind] ?? 'example';
      const object: JsonObject = {
        apiVersion: apiVersionOf(kind),
        kind: kind.kind,
        metadata: { name },
        ...examples[key],
      };
      const own = String((object.metadata as JsonObject).name);
      const dry = await server.call('POST', `${path}?dryRun=All&fieldValidation=Strict`, object);
      expect({ status: dry.status, message: dry.body.message }).toEqual({ status: 201, message: undefined });

      const bytes = encodeProtobuf(object, kind.schema, builtinSchemas);
      expect(decodeProtobuf(bytes, kind.schema, builtinSchemas)).toMatchObject(object);
      const made = await server.api.fetch(
        new Request(`http://x${path}`, {
          method: 'POST',
          headers: { 'content-type': 'application/vnd.kubernetes.protobuf' },
          body: bytes,
        }),
        { identity: { name: 'test-admin', groups: ['system:masters'] } },
      );
      const body = (await made.json()) as JsonObject;
      expect({ status: made.status, message: body.message }).toMatchObject({ status: 201 });

      const read = await server.call('GET', `${path}/${own}`);
      expect(read.body).toEqual(body);
      const list = await server.call('GET', path);
      expect((list.body.items as JsonObject[]).map((item) => (item.metadata as JsonObject).name)).toContain(own);
      const table = await server.call('GET', path, undefined, {
        headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
      });
      for (const { cells } of table.body.rows) expect(cells).toHaveLength(table.body.columnDefinitions.length);
      const patched = await server.call(
        'PATCH',
        `${path}/${own}`,
        { metadata: { labels: { seen: 'yes' } } },
        { headers: { 'content-type': 'application/merge-patch+json' } },
      );
      expect({ status: patched.status, message: patched.body.message }).toEqual({ status: 200, message: undefined });
      expect(patched.body.metadata.generation).toBe(read.body.metadata.generation);
      const removed = await server.call('DELETE', `${path}/${own}`);
      expect(removed.status).toBeLessThan(300);
    },
  );
});
