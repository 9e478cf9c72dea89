/** What the server says that it serves: old and aggregated discovery, its version, the service that leads to it. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, unique } from './harness.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

const aggregatedType = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';

/** `group/version/resource` of everything in an aggregated document. */
async function aggregated(path: '/api' | '/apis', accept = aggregatedType): Promise<string[]> {
  const { status, body, headers } = await cluster.call('GET', path, undefined, { accept });
  expect(status).toBe(200);
  expect(headers.get('content-type')).toBe(aggregatedType);
  expect(body).toMatchObject({ kind: 'APIGroupDiscoveryList', apiVersion: 'apidiscovery.k8s.io/v2' });
  return body.items.flatMap((group: Any) =>
    group.versions.flatMap(({ version, freshness, resources }: Any) => {
      expect(freshness).toBe('Current');
      return resources.map(({ resource, responseKind, scope }: Any) => {
        expect(responseKind.kind).not.toBe('');
        expect(['Namespaced', 'Cluster']).toContain(scope);
        return [group.metadata.name, version, resource].filter(Boolean).join('/');
      });
    }),
  );
}

const builtin = [
  'admissionregistration.k8s.io/v1/mutatingwebhookconfigurations',
  'admissionregistration.k8s.io/v1/validatingwebhookconfigurations',
  'apiextensions.k8s.io/v1/customresourcedefinitions',
  'apiregistration.k8s.io/v1/apiservices',
  'apps/v1/deployments',
  'authentication.k8s.io/v1/tokenreviews',
  'authorization.k8s.io/v1/selfsubjectaccessreviews',
  'autoscaling/v1/horizontalpodautoscalers',
  'autoscaling/v2/horizontalpodautoscalers',
  'batch/v1/jobs',
  'certificates.k8s.io/v1/certificatesigningrequests',
  'coordination.k8s.io/v1/leases',
  'discovery.k8s.io/v1/endpointslices',
  'events.k8s.io/v1/events',
  'networking.k8s.io/v1/ingresses',
  'node.k8s.io/v1/runtimeclasses',
  'policy/v1/poddisruptionbudgets',
  'scheduling.k8s.io/v1/priorityclasses',
  'storage.k8s.io/v1/csinodes',
];

/** What client-go sends when it wants groups and resources in one call. */
const clientAccept = `${aggregatedType},application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json`;

async function definition(): Promise<string> {
  const group = `${unique('aggregated')}.example.com`;
  await cluster.resource('apiextensions.k8s.io/v1', 'customresourcedefinitions').create({
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: `gizmos.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural: 'gizmos', kind: 'Gizmo' },
      versions: [{ name: 'v1alpha1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
    },
  });
  return `${group}/v1alpha1/gizmos`;
}

test('conformance: aggdisc-raw: /apis and /api in aggregated form hold the built-in resources', async () => {
  expect(await aggregated('/apis')).toEqual(expect.arrayContaining(builtin));
  expect(await aggregated('/api')).toContain('v1/namespaces');
});

test('conformance: aggdisc-raw-crd: the resource of a new definition appears in the aggregated document', async () => {
  const resource = await definition();
  await eventually(resource, async () => (await aggregated('/apis')).includes(resource));
});

test('conformance: aggdisc-client: the Accept header of clients gives groups and their resources in one call each', async () => {
  const all = [...(await aggregated('/api', clientAccept)), ...(await aggregated('/apis', clientAccept))];
  expect(all).toEqual(expect.arrayContaining(builtin));
  // The same as by the old way of one call a version.
  const groups = (await cluster.must('GET', '/apis')).groups;
  const old: string[] = [];
  for (const path of [
    '/api/v1',
    ...groups.flatMap((one: Any) => one.versions.map((v: Any) => `/apis/${v.groupVersion}`)),
  ])
    for (const { name } of (await cluster.must('GET', path)).resources)
      if (!name.includes('/')) old.push(`${path.replace(/^\/apis?\//, '')}/${name}`);
  expect(all.sort()).toEqual(old.sort());
});

test('conformance: aggdisc-client-crd: the same call shows the resource of a new definition', async () => {
  const resource = await definition();
  await eventually(resource, async () => (await aggregated('/apis', clientAccept)).includes(resource));
});

test('conformance: discovery-preferred-version: every group prefers one of its versions', async () => {
  const { groups } = await cluster.must('GET', '/apis');
  expect(groups.length).toBeGreaterThan(15);
  for (const { name, versions, preferredVersion } of groups) {
    expect(versions, name).toContainEqual(preferredVersion);
    const own = await cluster.must('GET', `/apis/${name}`);
    expect(own).toMatchObject({ kind: 'APIGroup', name, versions, preferredVersion });
  }
});

test('conformance: discovery-group-resource: every version of every group lists its resources', async () => {
  const { groups } = await cluster.must('GET', '/apis');
  for (const { groupVersion } of groups.flatMap((group: Any) => group.versions)) {
    const list = await cluster.must('GET', `/apis/${groupVersion}`);
    expect(list).toMatchObject({ kind: 'APIResourceList', groupVersion });
    expect(list.resources.length, groupVersion).toBeGreaterThan(0);
  }
});

test('conformance: server-version: major and minor are digits', async () => {
  const version = await cluster.must('GET', '/version');
  expect(version.major).toMatch(/^\d+$/);
  expect(version.minor).toMatch(/^\d+$/);
  expect(version).toMatchObject({ gitVersion: expect.stringMatching(/^v\d+\.\d+\.\d+/), platform: expect.any(String) });
});

test('conformance: kubernetes-service: the service kubernetes is in the default namespace', async () => {
  const service = await cluster.resource('v1', 'services', 'default').get('kubernetes');
  expect(service.spec).toMatchObject({ type: 'ClusterIP', ports: [{ name: 'https', port: 443, protocol: 'TCP' }] });
});

test('conformance: svc-find-kubernetes: a list of all services contains default/kubernetes', async () => {
  const { items } = await cluster.resource('v1', 'services').list();
  const names = items.map(({ metadata }: Any) => `${metadata.namespace}/${metadata.name}`);
  expect(names).toContain('default/kubernetes');
});
