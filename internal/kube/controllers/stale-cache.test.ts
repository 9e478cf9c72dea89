import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { builtinKinds } from '../api/builtin.ts';
import { adminClient, startTestServer, type TestServer } from '../apiserver/testing.ts';
import type { KubeClient, KubeObject, ResourceRef } from '../client/api.ts';
import {
  configMapsRef,
  namespacesRef,
  persistentVolumeClaimsRef,
  persistentVolumesRef,
  podsRef,
  replicaSetsRef,
  secretsRef,
  serviceAccountsRef,
  servicesRef,
  statefulSetsRef,
} from '../client/resources.ts';
import { isStatus } from '../machinery/status.ts';
import { runControllers, type SetUpController } from './context.ts';
import { garbageCollector } from './garbage-collector.ts';
import { persistentVolumeController, type VolumeProvisioner } from './persistent-volume.ts';
import { type PodObject, podAdopter } from './pod-control.ts';
import { replicaSetController } from './replica-set.ts';
import { serviceRangesController } from './service-ranges.ts';
import { statefulSetController } from './stateful-set.ts';

/** Controllers over a real API server whose caches fall behind at a moment of the test's choice: nothing that cannot be undone may come of it. */

let server: TestServer;
let client: KubeClient;

beforeAll(async () => {
  server = await startTestServer();
  client = adminClient(server);
}, 30_000);
afterAll(async () => {
  await server.close();
});

/** A client whose watches of `resource` stand still from `hold` to `release`. */
function lagging(resource: ResourceRef): { client: KubeClient; hold(): void; release(): void } {
  let gate = Promise.resolve();
  let open = (): void => {};
  const wrapped: KubeClient = Object.assign(Object.create(client) as KubeClient, {
    ...bound(client),
    watch: ((ref, options) => {
      const events = client.watch(ref, options);
      if (ref.resource !== resource.resource) return events;
      // A test that fails while it holds must still come to its end.
      const aborted = new Promise<void>((resolve) => options.signal?.addEventListener('abort', () => resolve()));
      return (async function* () {
        for await (const event of events) {
          await Promise.race([gate, aborted]);
          yield event;
        }
      })();
    }) as KubeClient['watch'],
  });
  return {
    client: wrapped,
    hold: () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      gate = promise;
      open = resolve;
    },
    release: () => open(),
  };
}

function bound(one: KubeClient): KubeClient {
  return {
    get: one.get.bind(one),
    list: one.list.bind(one),
    watch: one.watch.bind(one),
    create: one.create.bind(one),
    update: one.update.bind(one),
    patch: one.patch.bind(one),
    delete: one.delete.bind(one),
    raw: one.raw.bind(one),
  };
}

async function withControllers(
  controllers: readonly SetUpController[],
  through: KubeClient,
  body: () => Promise<void>,
  clock = systemClock,
): Promise<void> {
  const running = runControllers(controllers, {
    client: through,
    kinds: builtinKinds,
    clock,
    random: systemRandom,
    log: silentLogger,
    host: 'test',
  });
  try {
    await body();
  } finally {
    await running.stop();
  }
}

async function until<T>(what: string, check: () => Promise<T | undefined | false>): Promise<T> {
  for (let i = 0; i < 300; i++) {
    const value = await check().catch(() => undefined);
    if (value) return value;
    await Bun.sleep(20);
  }
  throw new Error(`never: ${what}`);
}

const gone = async (resource: ResourceRef, name: string, namespace?: string): Promise<boolean> => {
  try {
    await client.get(resource, name, namespace);
    return false;
  } catch (error) {
    if (isStatus(error, 'NotFound')) return true;
    throw error;
  }
};

let count = 0;
const newNamespace = async (): Promise<string> => {
  const name = `stale-${++count}`;
  await client.create(namespacesRef, { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  const metadata = { name: 'default', namespace: name };
  await client.create(serviceAccountsRef, { apiVersion: 'v1', kind: 'ServiceAccount', metadata });
  return name;
};
const owned = (kind: 'Secret', owner: KubeObject) => ({
  apiVersion: 'v1',
  kind,
  name: owner.metadata.name,
  uid: owner.metadata.uid!,
});
const makeSecret = (name: string, namespace: string): Promise<KubeObject> =>
  client.create(secretsRef, { apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace } });

describe('the garbage collector behind the times', () => {
  test('an orphan whose old reference still shows is not deleted', async () => {
    const namespace = await newNamespace();
    const owner = await makeSecret('owner', namespace);
    const metadata = { name: 'child', namespace, ownerReferences: [owned('Secret', owner)] };
    await client.create(configMapsRef, { apiVersion: 'v1', kind: 'ConfigMap', metadata });
    const lag = lagging(configMapsRef);
    await withControllers([garbageCollector], lag.client, async () => {
      await Bun.sleep(300);
      lag.hold();
      await client.delete(secretsRef, 'owner', namespace, { propagationPolicy: 'Orphan' });
      await until('the owner is gone', () => gone(secretsRef, 'owner', namespace));
      await Bun.sleep(300);
      expect((await client.get(configMapsRef, 'child', namespace)).metadata.ownerReferences ?? []).toEqual([]);
      lag.release();
      await Bun.sleep(200);
      expect(await gone(configMapsRef, 'child', namespace)).toBe(false);
    });
  });

  test('a change between the decision and the deletion is looked at anew', async () => {
    const namespace = await newNamespace();
    const owner = await makeSecret('owner', namespace);
    const next = await makeSecret('next', namespace);
    const metadata = { name: 'child', namespace, ownerReferences: [owned('Secret', owner)] };
    await client.create(configMapsRef, { apiVersion: 'v1', kind: 'ConfigMap', metadata });
    let adopted = false;
    const through: KubeClient = {
      ...bound(client),
      delete: async (resource, name, where, options) => {
        if (name === 'child' && !adopted) {
          adopted = true;
          await client.patch(configMapsRef, 'child', namespace, 'merge', {
            metadata: { ownerReferences: [owned('Secret', next)] },
          });
        }
        return client.delete(resource, name, where, options);
      },
    };
    await withControllers([garbageCollector], through, async () => {
      await client.delete(secretsRef, 'owner', namespace);
      await until('the deletion was tried', () => Promise.resolve(adopted));
      await Bun.sleep(300);
      expect((await client.get(configMapsRef, 'child', namespace)).metadata.ownerReferences).toMatchObject([
        { uid: next.metadata.uid! },
      ]);
    });
  });

  test('dropping a reference keeps an adoption that came meanwhile', async () => {
    const namespace = await newNamespace();
    const [first, second, third] = await Promise.all(['a', 'b', 'c'].map((name) => makeSecret(name, namespace)));
    const references = [owned('Secret', first!), owned('Secret', second!)];
    const metadata = { name: 'child', namespace, ownerReferences: references };
    await client.create(configMapsRef, { apiVersion: 'v1', kind: 'ConfigMap', metadata });
    let adopted = false;
    const through: KubeClient = {
      ...bound(client),
      patch: async (resource, name, where, type, patch, options) => {
        if (name === 'child' && !adopted) {
          adopted = true;
          await client.patch(configMapsRef, 'child', namespace, 'merge', {
            metadata: { ownerReferences: [...references, owned('Secret', third!)] },
          });
        }
        return client.patch(resource, name, where, type, patch, options);
      },
    };
    await withControllers([garbageCollector], through, async () => {
      await client.delete(secretsRef, 'a', namespace);
      const names = await until('the reference is dropped', async () => {
        const child = await client.get(configMapsRef, 'child', namespace);
        const now = child.metadata.ownerReferences!.map((reference) => reference.name);
        return !now.includes('a') && now;
      });
      expect(names).toEqual(['b', 'c']);
    });
  });
});

describe('the volume controller behind the times', () => {
  const destroyed: string[] = [];
  const provisioner: VolumeProvisioner = {
    name: 'fake.csi',
    createVolume: () => Promise.reject(new Error('not in this test')),
    deleteVolume: async (handle) => void destroyed.push(handle),
  };
  const controller = persistentVolumeController([provisioner]);
  type Volume = KubeObject & {
    spec: { persistentVolumeReclaimPolicy: string };
    status?: { phase?: string };
  };

  /** A claim and a volume that are bound to each other. */
  const makePair = async (namespace: string): Promise<string> => {
    const name = `pv-${namespace}`;
    const spec = { accessModes: ['ReadWriteOnce'], storageClassName: 'x' };
    const claim = await client.create(persistentVolumeClaimsRef, {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'data', namespace },
      spec: { ...spec, volumeName: name, resources: { requests: { storage: '1Gi' } } },
    } as KubeObject);
    await client.create(persistentVolumesRef, {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: {
        name,
        annotations: { 'pv.kubernetes.io/provisioned-by': 'fake.csi' },
        finalizers: ['external-provisioner.volume.kubernetes.io/finalizer'],
      },
      spec: {
        ...spec,
        capacity: { storage: '1Gi' },
        persistentVolumeReclaimPolicy: 'Delete',
        claimRef: { namespace, name: 'data', uid: claim.metadata.uid },
        csi: { driver: 'fake.csi', volumeHandle: name },
      },
    } as KubeObject);
    return name;
  };
  const phase = async (name: string, wanted: string): Promise<Volume> =>
    until(`${name} is ${wanted}`, async () => {
      const volume = await client.get<Volume>(persistentVolumesRef, name);
      return volume.status?.phase === wanted && volume;
    });

  test('a policy that was set to Retain before the claim went saves the data', async () => {
    const namespace = await newNamespace();
    const name = await makePair(namespace);
    const lag = lagging(persistentVolumesRef);
    await withControllers([controller], lag.client, async () => {
      await phase(name, 'Bound');
      await Bun.sleep(100);
      lag.hold();
      await client.patch(persistentVolumesRef, name, undefined, 'merge', {
        spec: { persistentVolumeReclaimPolicy: 'Retain' },
      });
      await client.delete(persistentVolumeClaimsRef, 'data', namespace);
      await phase(name, 'Released');
      await Bun.sleep(200);
      lag.release();
      await Bun.sleep(200);
      expect(destroyed).not.toContain(name);
      expect((await client.get(persistentVolumesRef, name)).metadata.deletionTimestamp).toBeUndefined();

      // The object may go; the data stays.
      await client.delete(persistentVolumesRef, name);
      await until('the volume is gone', () => gone(persistentVolumesRef, name));
      expect(destroyed).not.toContain(name);
    });
  });

  test('a claim of the same name that the cache still shows does not condemn the volume of the one after it', async () => {
    const namespace = await newNamespace();
    await client.create(persistentVolumeClaimsRef, {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'data', namespace },
      spec: { accessModes: ['ReadWriteOnce'], storageClassName: 'x', resources: { requests: { storage: '1Gi' } } },
    } as KubeObject);
    const lag = lagging(persistentVolumeClaimsRef);
    await withControllers([controller], lag.client, async () => {
      await Bun.sleep(200);
      lag.hold();
      await client.delete(persistentVolumeClaimsRef, 'data', namespace);
      await client.patch(persistentVolumeClaimsRef, 'data', namespace, 'merge', { metadata: { finalizers: null } });
      const name = await makePair(namespace);
      await Bun.sleep(300);
      expect(destroyed).not.toContain(name);
      lag.release();
      await phase(name, 'Bound');

      await client.delete(persistentVolumeClaimsRef, 'data', namespace);
      await until('data and volume are gone', () => gone(persistentVolumesRef, name));
      expect(destroyed).toContain(name);
    });
  });

  test('a volume that is deleted while its claim lives, which the cache does not show, keeps its data', async () => {
    const namespace = await newNamespace();
    const lag = lagging(persistentVolumeClaimsRef);
    await withControllers([controller], lag.client, async () => {
      await Bun.sleep(200);
      lag.hold();
      const name = await makePair(namespace);
      await Bun.sleep(200);
      await client.delete(persistentVolumesRef, name);
      await Bun.sleep(300);
      expect(destroyed).not.toContain(name);
      expect((await client.get(persistentVolumesRef, name)).metadata.finalizers).toContain(
        'external-provisioner.volume.kubernetes.io/finalizer',
      );
      lag.release();
      // Once the claim goes for good, the volume follows with its data, as its policy says.
      await client.delete(persistentVolumeClaimsRef, 'data', namespace);
      await until('the volume is gone', () => gone(persistentVolumesRef, name));
      expect(destroyed).toContain(name);
    });
  });
});

describe('adoption behind the times', () => {
  const template = { metadata: { labels: { app: 'a' } }, spec: { containers: [{ name: 'c', image: 'x' }] } };
  const set = (kind: string, namespace: string): KubeObject =>
    ({
      apiVersion: 'apps/v1',
      kind,
      metadata: { name: 'web', namespace },
      spec: {
        replicas: 0,
        selector: { matchLabels: { app: 'a' } },
        template,
        ...(kind === 'StatefulSet' ? { serviceName: 'web' } : {}),
      },
    }) as unknown as KubeObject;
  const makePod = (namespace: string): Promise<PodObject> =>
    client.create<PodObject>(podsRef, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'web-0', namespace, labels: { app: 'a' } },
      spec: { containers: [{ name: 'c', image: 'x' }] },
    } as PodObject);

  test('an owner that the server no longer has, has anew, or is deleting adopts nothing', async () => {
    const namespace = await newNamespace();
    const pod = await makePod(namespace);
    const old = await client.create(replicaSetsRef, set('ReplicaSet', namespace));
    await client.delete(replicaSetsRef, 'web', namespace);
    await expect(podAdopter(client, replicaSetsRef, old)(pod)).rejects.toThrow(/the server has none/);
    const second = await client.create(replicaSetsRef, set('ReplicaSet', namespace));
    await expect(podAdopter(client, replicaSetsRef, old)(pod)).rejects.toThrow(second.metadata.uid!);
    await client.delete(replicaSetsRef, 'web', namespace, { propagationPolicy: 'Orphan' });
    await expect(podAdopter(client, replicaSetsRef, second)(pod)).rejects.toThrow(/deleted at/);
    expect((await client.get(podsRef, 'web-0', namespace)).metadata.ownerReferences ?? []).toEqual([]);
    const replaced = { ...pod, metadata: { ...pod.metadata, uid: '00000000-0000-4000-8000-000000000000' } };
    const third = await client.create(statefulSetsRef, set('StatefulSet', namespace));
    expect(await podAdopter(client, statefulSetsRef, third)(replaced)).toBe(false);
    expect(await podAdopter(client, statefulSetsRef, third)(pod)).toBe(true);
  });

  for (const [kind, resource, controller] of [
    ['StatefulSet', statefulSetsRef, statefulSetController],
    ['ReplicaSet', replicaSetsRef, replicaSetController],
  ] as const)
    test(`a ${kind} made anew adopts and keeps the orphans that its cached predecessor must leave alone`, async () => {
      const namespace = await newNamespace();
      const object = set(kind, namespace);
      const wanted = { ...object, spec: { ...(object as unknown as { spec: object }).spec, replicas: 1 } };
      await client.create(resource, wanted);
      const lag = lagging(resource);
      await withControllers([controller], lag.client, async () => {
        const pods = () => client.list<PodObject>(podsRef, { namespace });
        const pod = await until('a pod', async () => (await pods()).items[0]);
        await Bun.sleep(100);
        lag.hold();
        await client.delete(resource, 'web', namespace, { propagationPolicy: 'Orphan' });
        await client.patch(podsRef, pod.metadata.name, namespace, 'merge', { metadata: { ownerReferences: null } });
        await client.patch(resource, 'web', namespace, 'merge', { metadata: { finalizers: null } });
        const next = await client.create(resource, wanted);
        await Bun.sleep(300);
        const [one, ...more] = (await pods()).items;
        expect(more).toEqual([]);
        expect(one!.metadata.ownerReferences ?? []).toEqual([]);
        lag.release();
        await until('adopted', async () => {
          const { metadata } = await client.get(podsRef, pod.metadata.name, namespace);
          return metadata.ownerReferences?.[0]?.uid === next.metadata.uid;
        });
        expect((await pods()).items.map(({ metadata }) => metadata.uid)).toEqual([pod.metadata.uid!]);
      });
    });
});

test('a ServiceCIDR does not go under a Service whose address has not been seen yet', async () => {
  const group = { group: 'networking.k8s.io', version: 'v1' };
  const [addresses, ranges] = [
    { ...group, resource: 'ipaddresses' },
    { ...group, resource: 'servicecidrs' },
  ];
  const namespace = await newNamespace();
  const lag = lagging(addresses);
  // Past the ten seconds that a range stays in any case.
  const later = { ...systemClock, now: () => systemClock.now() + 11_000 };
  const body = async (): Promise<void> => {
    type Range = KubeObject & { status?: { conditions?: { status: string; reason: string }[] } };
    const condition = async () => (await client.get<Range>(ranges, 'late')).status?.conditions?.[0];
    const spec = { cidrs: ['10.98.0.0/24'] };
    const made = { apiVersion: 'networking.k8s.io/v1', kind: 'ServiceCIDR', metadata: { name: 'late' }, spec };
    await client.create<KubeObject>(ranges, made);
    await until('ready', async () => (await condition())?.status === 'True');
    lag.hold();
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'late', namespace },
      spec: { clusterIP: '10.98.0.5', ports: [{ port: 80 }] },
    };
    await client.create<KubeObject>(servicesRef, service);
    await client.delete(ranges, 'late');
    await until('held', async () => (await condition())?.reason === 'Terminating');
    lag.release();
    await client.delete(servicesRef, 'late', namespace);
    await until('gone', () => gone(ranges, 'late'));
  };
  await withControllers([serviceRangesController], lag.client, body, later);
});
