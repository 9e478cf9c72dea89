/** The objects of dynamic resource allocation. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Cluster, unique } from './harness.ts';
import { everyVerb } from './verbs.ts';

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster.close());

const groupVersion = 'resource.k8s.io/v1';
const devices = { requests: [{ name: 'req-0', exactly: { deviceClassName: 'example.com' } }] };

test('conformance: dra-deviceclass-crud: discovery and every verb of device classes', async () => {
  await everyVerb(cluster, {
    groupVersion,
    plural: 'deviceclasses',
    kind: 'DeviceClass',
    object: () => ({ spec: { selectors: [{ cel: { expression: 'device.driver == "dra.example.com"' } }] } }),
  });
});

test('conformance: dra-resourceclaim-crud: discovery, every verb and the status of resource claims', async () => {
  const devicesOf = (driver: string) => [{ driver, pool: 'pool', device: 'device-0' }];
  const allocation = {
    devices: { results: [{ request: 'req-0', driver: 'dra.example.com', pool: 'pool', device: 'device-0' }] },
  };
  await everyVerb(cluster, {
    groupVersion,
    plural: 'resourceclaims',
    kind: 'ResourceClaim',
    namespaced: true,
    object: () => ({ spec: { devices } }),
    status: {
      patch: { allocation, devices: devicesOf('dra.example.com') },
      change: ({ status }) => {
        status.devices[0].data = { some: 'status' };
      },
      check: (status) => {
        expect(status.allocation.devices.results).toEqual([expect.objectContaining(allocation.devices.results[0]!)]);
        expect(status.devices).toEqual([expect.objectContaining(devicesOf('dra.example.com')[0]!)]);
      },
    },
  });
});

test('conformance: dra-resourceclaimtemplate-crud: discovery and every verb of claim templates', async () => {
  await everyVerb(cluster, {
    groupVersion,
    plural: 'resourceclaimtemplates',
    kind: 'ResourceClaimTemplate',
    namespaced: true,
    object: () => ({ spec: { spec: { devices } } }),
  });
});

test('conformance: dra-resourceslice-crud: discovery and every verb of resource slices', async () => {
  await everyVerb(cluster, {
    groupVersion,
    plural: 'resourceslices',
    kind: 'ResourceSlice',
    object: () => ({
      spec: {
        nodeName: 'node-a',
        driver: 'dra.example.com',
        pool: { name: unique('pool'), generation: 1, resourceSliceCount: 1 },
        devices: [{ name: 'device-0', attributes: { model: { string: 'x' } }, capacity: { memory: { value: '1Gi' } } }],
      },
    }),
  });
});
