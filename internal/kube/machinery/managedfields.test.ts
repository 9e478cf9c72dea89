import { describe, expect, test } from 'vitest';
import { builtinSchemas } from '../api/schema/structure.ts';
import type { JsonObject } from './json.ts';
import { type FieldManagement, serverSideApply, trackUpdate } from './managedfields.ts';

const options = (
  manager: string,
  schema = 'io.k8s.api.apps.v1.Deployment',
  time = '2026-01-01T00:00:00Z',
): FieldManagement => ({
  schema,
  source: builtinSchemas,
  apiVersion: schema.includes('apps') ? 'apps/v1' : 'v1',
  manager,
  subresource: '',
  time,
  ignored: ['status'],
});

const deployment = (): JsonObject => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace: 'default', labels: { app: 'web' } },
  spec: {
    replicas: 3,
    selector: { matchLabels: { app: 'web' } },
    strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: {
        containers: [{ name: 'web', image: 'nginx', resources: {}, ports: [{ containerPort: 80, protocol: 'TCP' }] }],
        dnsPolicy: 'ClusterFirst',
        volumes: [{ name: 'data', emptyDir: {} }],
      },
    },
  },
});

const fieldsOf = (object: JsonObject, index = 0): unknown =>
  ((object.metadata as JsonObject).managedFields as JsonObject[])[index]?.fieldsV1;
const managersOf = (object: JsonObject): unknown =>
  (((object.metadata as JsonObject).managedFields ?? []) as JsonObject[]).map(
    (entry) => `${String(entry.operation)} ${String(entry.manager)}`,
  );

describe('managedFields of creates and updates', () => {
  test('a created Deployment has the entry that kubectl create gives it', () => {
    const object = deployment();
    trackUpdate(undefined, object, options('kubectl-create'));
    expect(fieldsOf(object)).toEqual({
      'f:metadata': { 'f:labels': { '.': {}, 'f:app': {} } },
      'f:spec': {
        'f:replicas': {},
        'f:selector': {},
        'f:strategy': { 'f:rollingUpdate': { '.': {}, 'f:maxSurge': {}, 'f:maxUnavailable': {} }, 'f:type': {} },
        'f:template': {
          'f:metadata': { 'f:labels': { '.': {}, 'f:app': {} } },
          'f:spec': {
            'f:containers': {
              'k:{"name":"web"}': {
                '.': {},
                'f:image': {},
                'f:name': {},
                'f:ports': {
                  '.': {},
                  'k:{"containerPort":80,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {}, 'f:protocol': {} },
                },
                'f:resources': {},
              },
            },
            'f:dnsPolicy': {},
            'f:volumes': { '.': {}, 'k:{"name":"data"}': { '.': {}, 'f:emptyDir': {}, 'f:name': {} } },
          },
        },
      },
    });
  });
  test('an update moves ownership of what it changes', () => {
    const live = deployment();
    trackUpdate(undefined, live, options('creator'));
    const next = structuredClone(live);
    (next.spec as JsonObject).replicas = 5;
    trackUpdate(live, next, options('scaler', undefined, '2026-01-01T00:00:01Z'));
    expect(managersOf(next)).toEqual(['Update creator', 'Update scaler']);
    expect(fieldsOf(next, 1)).toEqual({ 'f:spec': { 'f:replicas': {} } });
    expect((fieldsOf(next) as JsonObject)['f:spec']).not.toHaveProperty('f:replicas');
  });
  test('an update without change leaves everything, the time too', () => {
    const live = deployment();
    trackUpdate(undefined, live, options('creator'));
    const next = structuredClone(live);
    trackUpdate(live, next, options('creator', undefined, '2026-02-02T00:00:00Z'));
    expect(next).toEqual(live);
  });
  test('the eleventh updater folds the oldest ones', () => {
    let live: JsonObject = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c' }, data: {} };
    for (let i = 0; i < 13; i++) {
      const next = structuredClone(live);
      (next.data as JsonObject)[`k${i}`] = 'v';
      trackUpdate(
        i === 0 ? undefined : live,
        next,
        options(`m${i}`, 'io.k8s.api.core.v1.ConfigMap', `2026-01-01T00:00:${10 + i}Z`),
      );
      live = next;
    }
    expect(managersOf(live)).toHaveLength(10);
    expect(managersOf(live)).toContain('Update ancient-changes');
  });
});

describe('server-side apply', () => {
  const apply = (live: JsonObject | undefined, intent: JsonObject, manager: string, force = false): JsonObject =>
    serverSideApply(live, intent, { ...options(manager, 'io.k8s.api.core.v1.ConfigMap'), force });
  const map = (data: JsonObject, labels?: JsonObject): JsonObject => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'c', namespace: 'default', ...(labels ? { labels } : {}) },
    data,
  });
  test('creates with exactly the applied fields', () => {
    const object = apply(undefined, map({ a: '1' }), 'me');
    expect(object.data).toEqual({ a: '1' });
    expect(managersOf(object)).toEqual(['Apply me']);
    expect(fieldsOf(object)).toEqual({ 'f:data': { 'f:a': {} } });
  });
  test('a field no longer applied goes, unless another manager owns it', () => {
    const first = apply(undefined, map({ a: '1', b: '2' }), 'me');
    const second = apply(first, map({ b: '2', c: '3' }), 'other');
    const third = apply(second, map({ a: '1' }), 'me');
    expect(third.data).toEqual({ a: '1', b: '2', c: '3' });
    const fourth = apply(third, map({ c: '3' }), 'other');
    expect(fourth.data).toEqual({ a: '1', c: '3' });
  });
  test('conflicts name manager and field; force takes over', () => {
    const live = apply(undefined, map({ a: '1' }), 'me');
    expect(() => apply(live, map({ a: '2' }), 'other')).toThrow(
      expect.objectContaining({
        httpCode: 409,
        message: 'Apply failed with 1 conflict: conflict with "me": .data.a',
        status: expect.objectContaining({
          details: { causes: [{ reason: 'FieldManagerConflict', message: 'conflict with "me"', field: '.data.a' }] },
        }),
      }),
    );
    const forced = apply(live, map({ a: '2' }), 'other', true);
    expect(forced.data).toEqual({ a: '2' });
    expect(managersOf(forced)).toEqual(['Apply other']);
  });
  test('several conflicts are listed by manager', () => {
    const live = map({ a: '1', b: '1' });
    trackUpdate(undefined, live, options('writer', 'io.k8s.api.core.v1.ConfigMap'));
    expect(() => apply(live, map({ a: '2', b: '2' }), 'me')).toThrow(
      'Apply failed with 2 conflicts: conflicts with "writer" using v1 at 2026-01-01T00:00:00Z:\n- .data.a\n- .data.b',
    );
  });
  test('the same value is shared, not fought over', () => {
    const live = apply(undefined, map({ a: '1' }), 'me');
    expect(managersOf(apply(live, map({ a: '1' }), 'other'))).toEqual(['Apply me', 'Apply other']);
  });
  test('applying the same again changes nothing, not even the time', () => {
    const live = apply(undefined, map({ a: '1' }, { app: 'x' }), 'me');
    const again = serverSideApply(live, map({ a: '1' }, { app: 'x' }), {
      ...options('me', 'io.k8s.api.core.v1.ConfigMap', '2027-01-01T00:00:00Z'),
      force: false,
    });
    expect(again).toEqual(live);
  });
  test('list items are owned by key: an unapplied container goes, others stay', () => {
    const pod = (containers: JsonObject[]): JsonObject => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p' },
      spec: { containers },
    });
    const podOptions = (manager: string): FieldManagement & { force: boolean } => ({
      ...options(manager, 'io.k8s.api.core.v1.Pod'),
      force: false,
    });
    const one = serverSideApply(
      undefined,
      pod([
        { name: 'a', image: '1' },
        { name: 'b', image: '1' },
      ]),
      podOptions('me'),
    );
    const two = serverSideApply(one, pod([{ name: 'c', image: '1' }]), podOptions('sidecar'));
    expect((two.spec as JsonObject).containers).toEqual([
      { name: 'a', image: '1' },
      { name: 'b', image: '1' },
      { name: 'c', image: '1' },
    ]);
    const three = serverSideApply(two, pod([{ name: 'b', image: '2' }]), podOptions('me'));
    expect((three.spec as JsonObject).containers).toEqual([
      { name: 'b', image: '2' },
      { name: 'c', image: '1' },
    ]);
  });
  test('fields that the server defaulted survive an apply that does not name them', () => {
    const live = apply(undefined, map({ a: '1' }), 'me');
    (live.data as JsonObject).defaulted = 'x';
    expect(apply(live, map({ a: '2' }), 'me').data).toEqual({ a: '2', defaulted: 'x' });
  });
  test('managedFields in the request are refused', () => {
    const intent = map({ a: '1' });
    (intent.metadata as JsonObject).managedFields = [];
    expect(() => apply(undefined, intent, 'me')).toThrow('metadata.managedFields must be nil');
  });
});
