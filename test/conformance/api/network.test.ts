/** Services, their addresses and endpoints, and ingresses as objects. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Any, Cluster, eventually, unique } from './harness.ts';
import { discovered, everyVerb } from './verbs.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

test('conformance: endpointslice-api: discovery and every verb, in a namespace and across all', async () => {
  await everyVerb(cluster, {
    groupVersion: 'discovery.k8s.io/v1',
    plural: 'endpointslices',
    kind: 'EndpointSlice',
    namespaced: true,
    object: (index) => ({
      addressType: 'IPv4',
      endpoints: [{ addresses: [`1.2.3.${index + 4}`, '5.6.7.8'] }],
    }),
  });
});

test('conformance: endpoints-lifecycle: endpoints are listed everywhere by label, updated, patched and removed, as a watch tells', async () => {
  const endpoints = cluster.resource('v1', 'endpoints', await cluster.namespace());
  const label = unique('testservice');
  const selected = `labelSelector=test-endpoint-static%3D${label}`;
  const watch = await endpoints.watch(`&${selected}`);
  await endpoints.create({
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name: 'testservice', labels: { 'test-endpoint-static': label } },
    subsets: [{ addresses: [{ ip: '10.0.0.24' }], ports: [{ name: 'http', port: 80, protocol: 'TCP' }] }],
  });
  expect(await endpoints.everywhere().names(`?${selected}`)).toEqual(['testservice']);
  const updated = await endpoints.change('testservice', ({ metadata }) => {
    metadata.labels['test-service'] = 'updated';
  });
  expect(updated.metadata.labels['test-service']).toBe('updated');
  const subsets = [{ addresses: [{ ip: '10.0.0.25' }], ports: [{ name: 'http-test', port: 8080, protocol: 'TCP' }] }];
  const patched = await endpoints.patch('testservice', 'strategic', {
    metadata: { labels: { 'test-service': 'patched' } },
    subsets,
  });
  expect(patched.subsets).toEqual(subsets);
  expect((await endpoints.get('testservice')).subsets).toEqual(subsets);
  await endpoints.deleteCollection(`?${selected}`);
  await watch.first(4);
  expect(watch.summary()).toEqual(['ADDED', 'MODIFIED', 'MODIFIED', 'DELETED'].map((type) => `${type} testservice`));
  expect(await endpoints.gone('testservice')).toBe(true);
});

test('conformance: servicecidr-api: the range of the cluster is an object, with a status, listed and watched', async () => {
  const ranges = cluster.resource('networking.k8s.io/v1', 'servicecidrs');
  await discovered(cluster, 'networking.k8s.io/v1', 'servicecidrs', {
    kind: 'ServiceCIDR',
    namespaced: false,
    subresources: { status: ['get', 'patch', 'update'] },
  });
  const range = await ranges.get('kubernetes');
  expect(range.spec.cidrs).toEqual(['10.43.0.0/16']);
  expect(await ranges.get('kubernetes', 'status')).toMatchObject({
    kind: 'ServiceCIDR',
    metadata: { uid: range.metadata.uid },
    status: { conditions: [{ type: 'Ready', status: 'True' }] },
  });
  expect((await ranges.names()).length).toBeGreaterThanOrEqual(1);
  const watch = await ranges.watch('');
  await watch.find('the range', ({ type, object }) => type === 'ADDED' && object.metadata.name === 'kubernetes');
});

test('conformance: ipaddress-api: addresses are objects of any parent, patched, updated, listed and removed', async () => {
  const addresses = cluster.resource('networking.k8s.io/v1', 'ipaddresses');
  await discovered(cluster, 'networking.k8s.io/v1', 'ipaddresses', { kind: 'IPAddress', namespaced: false });
  const label = unique('ipaddresses');
  const selected = `?labelSelector=ip-e2e%3D${label}`;
  const parentRef = { group: 'foo', name: 'test', namespace: 'bar', resource: 'widgets' };
  const create = (name: string): Promise<Any> =>
    addresses.create({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'IPAddress',
      metadata: { name, labels: { 'ip-e2e': label } },
      spec: { parentRef },
    });
  const v4 = await create('255.255.255.255');
  expect(v4.spec).toEqual({ parentRef });
  await create('fe80::42:1dff:fe84:f9e2');
  const patched = await addresses.patch('255.255.255.255', 'merge', { metadata: { labels: { patched: 'true' } } });
  expect(Number(patched.metadata.resourceVersion)).toBeGreaterThan(Number(v4.metadata.resourceVersion));
  const updated = await addresses.change('fe80::42:1dff:fe84:f9e2', ({ metadata }) => {
    metadata.labels.updated = 'true';
  });
  expect(updated.metadata.labels.updated).toBe('true');
  expect((await addresses.names(selected)).sort()).toEqual(['255.255.255.255', 'fe80::42:1dff:fe84:f9e2']);
  await addresses.delete('255.255.255.255');
  expect(await addresses.gone('255.255.255.255')).toBe(true);
  await addresses.deleteCollection(selected);
  await eventually('none is left', async () => (await addresses.names(selected)).length === 0);
});

const service = (name: string, spec: Any, labels: Any = {}): Any => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, labels },
  spec: { ports: [{ name: 'http', protocol: 'TCP', port: 80, targetPort: 80 }], ...spec },
});

test('conformance: svc-status-lifecycle: the status of a LoadBalancer is patched and updated, then its spec, as a watch tells', async () => {
  const services = cluster.resource('v1', 'services', await cluster.namespace());
  const label = unique('test-service');
  const watch = await services.watch(`&labelSelector=test-service-static%3D${label}`);
  const made = await services.create(
    service('test-service', { type: 'LoadBalancer' }, { 'test-service-static': label }),
  );
  expect(await services.everywhere().names(`?labelSelector=test-service-static%3D${label}`)).toEqual(['test-service']);
  const read = await services.get('test-service', 'status');
  expect(read).toMatchObject({ kind: 'Service', metadata: { uid: made.metadata.uid }, status: { loadBalancer: {} } });
  const patched = await services.patch(
    'test-service',
    'merge',
    {
      metadata: { annotations: { patchedstatus: 'true' } },
      status: { loadBalancer: { ingress: [{ ip: '203.0.113.1' }] } },
    },
    'status',
  );
  expect(patched.status.loadBalancer.ingress).toEqual([{ ip: '203.0.113.1', ipMode: 'VIP' }]);
  const condition = { type: 'StatusUpdate', status: 'True', reason: 'E2E', message: 'Set from e2e test' };
  await services.change(
    'test-service',
    ({ status }) => {
      status.conditions = [{ ...condition, lastTransitionTime: '2026-01-01T00:00:00Z' }];
    },
    'status',
  );
  const respec = await services.patch('test-service', 'strategic', {
    metadata: { labels: { 'test-service': 'patched' } },
    spec: { externalTrafficPolicy: 'Local' },
  });
  expect(respec.spec.externalTrafficPolicy).toBe('Local');
  expect(respec.status).toMatchObject({
    loadBalancer: { ingress: [{ ip: '203.0.113.1' }] },
    conditions: [expect.objectContaining(condition)],
  });
  await services.delete('test-service');
  await watch.find('DELETED', ({ type }) => type === 'DELETED');
  expect(watch.summary().map((line) => line.split(' ')[0])).toEqual([
    'ADDED',
    'MODIFIED',
    'MODIFIED',
    'MODIFIED',
    'DELETED',
  ]);
  expect(watch.events[1]!.object.metadata.annotations.patchedstatus).toBe('true');
});

test('conformance: svc-deletecollection: of three services the two with the label are removed', async () => {
  const services = cluster.resource('v1', 'services', await cluster.namespace());
  for (const [name, labels] of [
    ['e2e-svc-a', { 'e2e-svc': 'one' }],
    ['e2e-svc-b', { 'e2e-svc': 'one' }],
    ['e2e-svc-c', {}],
  ] as const)
    await services.create(service(name, { type: 'ClusterIP' }, labels));
  expect(await services.names()).toHaveLength(3);
  await services.deleteCollection('?labelSelector=e2e-svc%3Done');
  await eventually('one is left', async () => (await services.names()).length === 1);
  expect(await services.names()).toEqual(['e2e-svc-c']);
});

test('conformance: ingress-api: discovery, every verb and the load balancer in the status of ingresses', async () => {
  const ingress = [{ ip: '169.1.1.1' }];
  await everyVerb(cluster, {
    groupVersion: 'networking.k8s.io/v1',
    plural: 'ingresses',
    kind: 'Ingress',
    namespaced: true,
    object: () => ({
      spec: { defaultBackend: { service: { name: 'default-backend', port: { number: 8080 } } } },
    }),
    status: {
      patch: { loadBalancer: { ingress } },
      change: ({ status }) => {
        status.loadBalancer = { ingress: [...ingress, { hostname: 'test.example.com' }] };
      },
      check: (status) => expect(status.loadBalancer.ingress).toContainEqual({ ip: '169.1.1.1' }),
    },
  });
});

test('conformance: ingressclass-api: discovery and every verb of ingress classes', async () => {
  await everyVerb(cluster, {
    groupVersion: 'networking.k8s.io/v1',
    plural: 'ingressclasses',
    kind: 'IngressClass',
    object: () => ({ spec: { controller: 'example.com/controller' } }),
  });
});
