import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { builtinKinds } from '../api/builtin.ts';
import type { Deployment, PersistentVolumeClaim, Pod } from '../api/types.ts';
import { startTestServer, type TestServer } from '../apiserver/testing.ts';
import type { KubeClient, KubeObject } from '../client/api.ts';
import { createKubeClient } from '../client/client.ts';
import {
  configMapsRef,
  deploymentsRef,
  endpointSlicesRef,
  namespacesRef,
  nodesRef,
  persistentVolumeClaimsRef,
  persistentVolumesRef,
  podsRef,
  replicaSetsRef,
  serviceAccountsRef,
  servicesRef,
  statefulSetsRef,
  storageClassesRef,
} from '../client/resources.ts';
import { startScheduler } from '../scheduler/scheduler.ts';
import { startControllers } from './index.ts';
import type { VolumeProvisioner } from './persistent-volume.ts';

/** Controllers and scheduler over a real API server in one process; a fake kubelet makes bound pods ready. */

const made = new Map<string, number>();
const provisioner: VolumeProvisioner = {
  name: 'fake.csi',
  createVolume: async (request) => {
    made.set(request.name, request.bytes);
    return { handle: `handle-${request.name}`, bytes: request.bytes, attributes: { pool: 'p' } };
  },
  deleteVolume: async (handle) => void made.delete(handle.replace('handle-', '')),
};

let server: TestServer;
let client: KubeClient;
const stops: (() => Promise<void>)[] = [];
const kubelet = new AbortController();

beforeAll(async () => {
  server = await startTestServer();
  client = createKubeClient({
    transport: (request) =>
      server.api.fetch(request, { identity: { name: 'test', groups: ['system:masters', 'system:authenticated'] } }),
    baseUrl: 'https://in-process',
    userAgent: 'test',
  });
  const shared = { client, clock: systemClock, log: silentLogger, host: 'test' };
  const controllers = startControllers({
    authorities: undefined,
    signToken: undefined,
    ...shared,
    kinds: builtinKinds,
    random: systemRandom,
    rootCa: 'CA',
    podCIDR: '10.42.0.0/16',
    dnsPort: 10053,
    provisioners: [provisioner],
  });
  const scheduler = startScheduler(shared);
  stops.push(
    () => controllers.stop(),
    () => scheduler.stop(),
  );
  await client.create(nodesRef, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1' } });
  await client.patch(
    nodesRef,
    'n1',
    undefined,
    'merge',
    {
      status: {
        allocatable: { cpu: '4', memory: '4Gi', pods: '110' },
        conditions: [{ type: 'Ready', status: 'True' }],
      },
    },
    { subresource: 'status' },
  );
  void runKubelet();
}, 30_000);

afterAll(async () => {
  kubelet.abort();
  for (const stop of stops) await stop();
  await server.close();
});

async function runKubelet(): Promise<void> {
  let address = 1;
  while (!kubelet.signal.aborted) {
    for (const pod of (await client.list<Pod & KubeObject>(podsRef)).items) {
      const { name, namespace } = pod.metadata;
      try {
        if (pod.metadata.deletionTimestamp) await client.delete(podsRef, name, namespace, { gracePeriodSeconds: 0 });
        else if (pod.spec?.nodeName && pod.status?.phase !== 'Running')
          await client.patch(
            podsRef,
            name,
            namespace,
            'merge',
            {
              status: {
                phase: 'Running',
                podIP: `10.42.0.${++address}`,
                conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: new Date().toISOString() }],
              },
            },
            { subresource: 'status' },
          );
      } catch {
        // It went meanwhile.
      }
    }
    await Bun.sleep(20);
  }
}

async function until<T>(what: string, check: () => Promise<T | undefined | false>): Promise<T> {
  for (let i = 0; i < 500; i++) {
    const value = await check().catch(() => undefined);
    if (value) return value;
    await Bun.sleep(20);
  }
  throw new Error(`never: ${what}`);
}

const template = (image: string) => ({
  metadata: { labels: { app: 'a' } },
  spec: { containers: [{ name: 'c', image }] },
});
const selector = { matchLabels: { app: 'a' } };
const namespaceOf = async (name: string): Promise<void> => {
  await client.create(namespacesRef, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  await until(
    'what pods of the namespace need',
    async () =>
      (await client.get(configMapsRef, 'kube-root-ca.crt', name)) &&
      (await client.get(serviceAccountsRef, 'default', name)),
  );
};
const podsOf = async (namespace: string): Promise<(Pod & KubeObject)[]> =>
  (await client.list<Pod & KubeObject>(podsRef, { namespace })).items;

describe('controllers', () => {
  test('a Deployment rolls out, rolls over and cleans up behind its deletion', async () => {
    await namespaceOf('d');
    await client.create(deploymentsRef, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'd' },
      spec: { replicas: 3, selector, template: template('one') },
    } as KubeObject);
    const complete = async (image: string) => {
      const one = await client.get<Deployment & KubeObject>(deploymentsRef, 'web', 'd');
      const pods = await podsOf('d');
      return (
        one.status?.observedGeneration === one.metadata.generation &&
        one.status?.availableReplicas === 3 &&
        one.status.updatedReplicas === 3 &&
        one.status.replicas === 3 &&
        pods.length === 3 &&
        pods.every((pod) => pod.spec!.containers[0]!.image === image)
      );
    };
    await until('3 available', () => complete('one'));
    await client.patch(deploymentsRef, 'web', 'd', 'strategic', {
      spec: { template: { spec: { containers: [{ name: 'c', image: 'two' }] } } },
    });
    await until('rolled over', () => complete('two'));
    expect((await client.list(replicaSetsRef, { namespace: 'd' })).items).toHaveLength(2);
    expect(
      (await client.get(deploymentsRef, 'web', 'd')).metadata.annotations?.['deployment.kubernetes.io/revision'],
    ).toBe('2');
    await client.delete(deploymentsRef, 'web', 'd', { propagationPolicy: 'Foreground' });
    await until(
      'all gone',
      async () =>
        (await podsOf('d')).length === 0 && (await client.list(deploymentsRef, { namespace: 'd' })).items.length === 0,
    );
  });

  test('orphaned pods stay, and are adopted by the next ReplicaSet that selects them', async () => {
    await namespaceOf('o');
    const replicaSet = {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      metadata: { name: 'one', namespace: 'o' },
      spec: { replicas: 2, selector, template: template('x') },
    } as KubeObject;
    await client.create(replicaSetsRef, replicaSet);
    const before = await until('2 pods', async () => (await podsOf('o')).length === 2 && podsOf('o'));
    await client.delete(replicaSetsRef, 'one', 'o', { propagationPolicy: 'Orphan' });
    await until('orphans', async () => (await podsOf('o')).every((pod) => !pod.metadata.ownerReferences?.length));
    await client.create(replicaSetsRef, { ...replicaSet, metadata: { name: 'two', namespace: 'o' } });
    await until('adopted', async () =>
      (await podsOf('o')).every((pod) => pod.metadata.ownerReferences?.[0]?.name === 'two'),
    );
    expect((await podsOf('o')).map((pod) => pod.metadata.name).sort()).toEqual(
      before.map((pod) => pod.metadata.name).sort(),
    );
  });

  test('a StatefulSet comes up in order on provisioned volumes; its claims outlive it; a deleted claim takes its volume along', async () => {
    await namespaceOf('s');
    await client.create(storageClassesRef, {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: 'fast' },
      provisioner: 'fake.csi',
    } as KubeObject);
    await client.create(statefulSetsRef, {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: { name: 'db', namespace: 's' },
      spec: {
        replicas: 2,
        serviceName: 'db',
        selector,
        template: template('x'),
        volumeClaimTemplates: [
          {
            metadata: { name: 'data' },
            spec: {
              accessModes: ['ReadWriteOnce'],
              storageClassName: 'fast',
              resources: { requests: { storage: '1Gi' } },
            },
          },
        ],
      },
    } as KubeObject);
    await until(
      '2 ready',
      async () =>
        ((await client.get(statefulSetsRef, 'db', 's')) as KubeObject & { status?: { readyReplicas?: number } }).status
          ?.readyReplicas === 2,
    );
    expect((await podsOf('s')).map((pod) => pod.metadata.name).sort()).toEqual(['db-0', 'db-1']);
    expect([...made.values()]).toEqual([2 ** 30, 2 ** 30]);
    const claim = await client.get<PersistentVolumeClaim & KubeObject>(persistentVolumeClaimsRef, 'data-db-1', 's');
    expect(claim.status).toMatchObject({ phase: 'Bound', capacity: { storage: '1Gi' } });

    // In use: it waits for the pod.
    await client.delete(persistentVolumeClaimsRef, 'data-db-1', 's');
    await Bun.sleep(200);
    expect((await client.get(persistentVolumeClaimsRef, 'data-db-1', 's')).metadata.deletionTimestamp).toBeDefined();
    await client.patch(statefulSetsRef, 'db', 's', 'merge', { spec: { replicas: 1 } });
    await until(
      'the volume is gone',
      async () => made.size === 1 && (await client.list(persistentVolumesRef)).items.length === 1,
    );
    await client.delete(statefulSetsRef, 'db', 's');
    await until('no pods', async () => (await podsOf('s')).length === 0);
    expect(
      (await client.get<PersistentVolumeClaim & KubeObject>(persistentVolumeClaimsRef, 'data-db-0', 's')).status?.phase,
    ).toBe('Bound');
  });

  test('a service has the addresses of its ready pods', async () => {
    await namespaceOf('e');
    await client.create(servicesRef, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'svc', namespace: 'e' },
      spec: { selector: { app: 'a' }, ports: [{ port: 80, targetPort: 8080 }] },
    } as KubeObject);
    await client.create(replicaSetsRef, {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      metadata: { name: 'web', namespace: 'e' },
      spec: { replicas: 2, selector, template: template('x') },
    } as KubeObject);
    type Slice = KubeObject & {
      endpoints: { addresses: string[]; conditions: { ready: boolean } }[];
      ports: { port: number }[];
    };
    const slice = await until('2 endpoints', async () => {
      const [one] = (await client.list<Slice>(endpointSlicesRef, { namespace: 'e' })).items;
      return one?.endpoints?.filter((endpoint) => endpoint.conditions.ready).length === 2 && one;
    });
    expect(slice.ports[0]!.port).toBe(8080);
    expect(slice.endpoints.flatMap((endpoint) => endpoint.addresses).sort()).toEqual(
      (await podsOf('e')).map((pod) => pod.status!.podIP!).sort(),
    );
  });

  test('a deleted namespace takes everything in it along', { timeout: 30_000 }, async () => {
    await namespaceOf('gone');
    await client.create(configMapsRef, {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'c', namespace: 'gone' },
    });
    await client.create(replicaSetsRef, {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      metadata: { name: 'web', namespace: 'gone' },
      spec: { replicas: 2, selector, template: template('x') },
    } as KubeObject);
    await client.delete(namespacesRef, 'gone');
    await until(
      'the namespace is gone',
      async () => !(await client.list(namespacesRef)).items.some((one) => one.metadata.name === 'gone'),
    );
    expect(await podsOf('gone')).toEqual([]);
  });

  test('a node that falls silent is told unreachable by its taints when its condition says so, and its pods go when it is removed', async () => {
    await client.create(nodesRef, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n2' } });
    await client.patch(
      nodesRef,
      'n2',
      undefined,
      'merge',
      { status: { conditions: [{ type: 'Ready', status: 'Unknown' }] } },
      { subresource: 'status' },
    );
    await until('taints', async () => {
      const node = await client.get<KubeObject & { spec?: { taints?: { key: string }[] } }>(nodesRef, 'n2');
      return node.spec?.taints?.some((taint) => taint.key === 'node.kubernetes.io/unreachable');
    });
    await namespaceOf('lost');
    await client.create(podsRef, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'p', namespace: 'lost' },
      spec: { nodeName: 'n2', containers: [{ name: 'c', image: 'x' }], tolerations: [{ operator: 'Exists' }] },
    } as KubeObject);
    await client.delete(nodesRef, 'n2');
    await until('the pod is gone', async () => (await podsOf('lost')).length === 0);
  });
});
