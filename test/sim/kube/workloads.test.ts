import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type {
  DaemonSet,
  Deployment,
  PersistentVolumeClaim,
  Pod,
  PodDisruptionBudget,
  ReplicaSet,
  StatefulSet,
} from '../../../internal/kube/api/types.ts';
import type { KubeObject } from '../../../internal/kube/client/api.ts';
import { type Cluster, driverName, holds, ref, startCluster, until } from './cluster.ts';

type Any = KubeObject & { spec?: Record<string, unknown>; status?: Record<string, unknown> };
const pods = ref('', 'pods');
const deployments = ref('apps', 'deployments');
const replicaSets = ref('apps', 'replicasets');
const statefulSets = ref('apps', 'statefulsets');
const revisions = ref('apps', 'controllerrevisions');
const claims = ref('', 'persistentvolumeclaims');

let cluster: Cluster;
beforeAll(async () => {
  cluster = await startCluster(2);
}, 60_000);
afterAll(() => cluster.close(), 60_000);

async function namespace(name: string): Promise<string> {
  await cluster.client.create(ref('', 'namespaces'), { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  await until('its service account', () => cluster.client.get(ref('', 'serviceaccounts'), 'default', name));
  return name;
}

const template = (app: string, image = 'nginx'): Record<string, unknown> => ({
  metadata: { labels: { app } },
  spec: { containers: [{ name: 'c', image }], terminationGracePeriodSeconds: 1 },
});

function deployment(ns: string, name: string, spec: Record<string, unknown> = {}): Any {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, namespace: ns },
    spec: { replicas: 3, selector: { matchLabels: { app: name } }, template: template(name), ...spec },
  };
}

function statefulSet(ns: string, name: string, spec: Record<string, unknown> = {}): Any {
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name, namespace: ns },
    spec: {
      serviceName: name,
      replicas: 3,
      selector: { matchLabels: { app: name } },
      template: template(name),
      ...spec,
    },
  };
}

async function list<T extends KubeObject>(resource: typeof pods, ns: string): Promise<T[]> {
  return (await cluster.client.list<T>(resource, { namespace: ns })).items;
}

async function get<T>(resource: typeof pods, name: string, ns: string): Promise<T & KubeObject> {
  return cluster.client.get<T & KubeObject>(resource, name, ns);
}

describe('Deployment', () => {
  test('rolls to a new template, keeps a history, and rolls back', async () => {
    const ns = await namespace('deploy-roll');
    await cluster.client.create(deployments, deployment(ns, 'web'));
    await until(
      '3 available',
      async () => (await get<Deployment>(deployments, 'web', ns)).status?.availableReplicas === 3,
    );
    const first = (await list<ReplicaSet & KubeObject>(replicaSets, ns))[0]!;
    expect(first.metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('1');
    await cluster.client.patch(deployments, 'web', ns, 'strategic', {
      spec: { template: { spec: { containers: [{ name: 'c', image: 'nginx:2' }] } } },
    });
    const rolled = await until('the new revision', async () => {
      const object = await get<Deployment>(deployments, 'web', ns);
      return (
        object.status?.observedGeneration === object.metadata.generation &&
        object.status?.updatedReplicas === 3 &&
        object.status.availableReplicas === 3 &&
        object.status.replicas === 3 &&
        object
      );
    });
    expect(rolled.metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('2');
    expect(rolled.status?.conditions?.find((c) => c.type === 'Progressing')?.reason).toBe('NewReplicaSetAvailable');
    expect(rolled.status?.conditions?.find((c) => c.type === 'Available')?.status).toBe('True');
    const sets = await list<ReplicaSet & KubeObject>(replicaSets, ns);
    expect(sets.map((set) => set.spec?.replicas).sort()).toEqual([0, 3]);
    // As kubectl rollout undo does it: the old template again.
    await cluster.client.patch(deployments, 'web', ns, 'strategic', {
      spec: { template: { spec: { containers: [{ name: 'c', image: 'nginx' }] } } },
    });
    await until(
      'the old set again',
      async () => (await get<ReplicaSet>(replicaSets, first.metadata.name, ns)).status?.availableReplicas === 3,
    );
    expect((await list(replicaSets, ns)).length).toBe(2);
    await until(
      'revision 3',
      async () =>
        (await get<Deployment>(deployments, 'web', ns)).metadata.annotations?.['deployment.kubernetes.io/revision'] ===
        '3',
    );
  });

  test('Recreate never runs two templates at once', async () => {
    const ns = await namespace('deploy-recreate');
    await cluster.client.create(deployments, deployment(ns, 'web', { strategy: { type: 'Recreate' } }));
    await until('3 ready', async () => (await get<Deployment>(deployments, 'web', ns)).status?.readyReplicas === 3);
    await cluster.client.patch(deployments, 'web', ns, 'strategic', {
      spec: { template: { spec: { containers: [{ name: 'c', image: 'nginx:2' }] } } },
    });
    await until('only new pods', async () => {
      const all = await list<Pod & KubeObject>(pods, ns);
      const images = new Set(all.map((pod) => pod.spec?.containers[0]?.image));
      expect(images.size, 'images at one time').toBeLessThanOrEqual(1);
      return all.length === 3 && images.has('nginx:2');
    });
  });

  test('a stuck rollout keeps enough old pods and is scaled in proportion', async () => {
    const ns = await namespace('deploy-stuck');
    cluster.readiness.of = (pod) => pod.spec?.containers[0]?.image !== 'broken';
    const rolling = { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } } };
    await cluster.client.create(deployments, deployment(ns, 'web', { replicas: 10, ...rolling }));
    await until(
      '10 available',
      async () => (await get<Deployment>(deployments, 'web', ns)).status?.availableReplicas === 10,
    );
    await cluster.client.patch(deployments, 'web', ns, 'strategic', {
      spec: { template: { spec: { containers: [{ name: 'c', image: 'broken' }] } } },
    });
    const replicasBy = async (): Promise<Record<string, number>> =>
      Object.fromEntries(
        (await list<ReplicaSet & KubeObject>(replicaSets, ns)).map((set) => [
          set.spec?.template?.spec?.containers[0]?.image ?? '',
          set.spec?.replicas ?? 0,
        ]),
      );
    await until('8 old and 5 new', async () => {
      const by = await replicasBy();
      return by.nginx === 8 && by.broken === 5;
    });
    await cluster.client.patch(deployments, 'web', ns, 'merge', { spec: { replicas: 30 } }, { subresource: 'scale' });
    await until('20 old and 13 new', async () => {
      const by = await replicasBy();
      return by.nginx === 20 && by.broken === 13;
    });
    cluster.readiness.of = () => true;
  });
});

describe('ReplicaSet', () => {
  test('adopts a matching pod and releases one whose labels change', async () => {
    const ns = await namespace('rs-adopt');
    await cluster.client.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'bare', namespace: ns, labels: { app: 'rs' } },
      spec: { containers: [{ name: 'c', image: 'nginx' }] },
    } as KubeObject);
    await cluster.client.create(replicaSets, {
      ...deployment(ns, 'rs'),
      kind: 'ReplicaSet',
      spec: { replicas: 1, selector: { matchLabels: { app: 'rs' } }, template: template('rs') },
    } as Any);
    await until(
      'adoption',
      async () => (await get<Pod>(pods, 'bare', ns)).metadata.ownerReferences?.[0]?.kind === 'ReplicaSet',
    );
    await cluster.client.patch(pods, 'bare', ns, 'merge', { metadata: { labels: { app: 'other' } } });
    await until('release', async () => (await get<Pod>(pods, 'bare', ns)).metadata.ownerReferences === undefined);
    await until('a replacement', async () => (await list(pods, ns)).length === 2);
  });
});

describe('StatefulSet', () => {
  test('makes pods in order, one at a time, and waits for an unready one', async () => {
    const ns = await namespace('sts-order');
    cluster.readiness.of = (pod) => pod.metadata.namespace !== ns || pod.metadata.name === 'db-0';
    await cluster.client.create(statefulSets, statefulSet(ns, 'db'));
    await until('db-1', () => get(pods, 'db-1', ns));
    await holds('no third pod while db-1 is unready', async () => (await list(pods, ns)).length === 2, 500);
    cluster.readiness.of = () => true;
    await cluster.recheck();
    await until('3 ready', async () => (await get<StatefulSet>(statefulSets, 'db', ns)).status?.readyReplicas === 3);
    await cluster.client.patch(statefulSets, 'db', ns, 'merge', { spec: { replicas: 1 } }, { subresource: 'scale' });
    await until('one pod', async () => (await list(pods, ns)).map((pod) => pod.metadata.name).join() === 'db-0');
  });

  test('updates from the highest ordinal down to the partition and knows the old revision again', async () => {
    const ns = await namespace('sts-update');
    await cluster.client.create(
      statefulSets,
      statefulSet(ns, 'db', { updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 2 } } }),
    );
    const start = await until('3 ready', async () => {
      const set = await get<StatefulSet>(statefulSets, 'db', ns);
      return set.status?.readyReplicas === 3 && set.status.currentRevision === set.status.updateRevision && set;
    });
    const image = async (name: string): Promise<string | undefined> =>
      (await get<Pod>(pods, name, ns)).spec?.containers[0]?.image;
    await cluster.client.patch(statefulSets, 'db', ns, 'strategic', {
      spec: { template: { spec: { containers: [{ name: 'c', image: 'nginx:2' }] } } },
    });
    await until('db-2 is new', async () => (await image('db-2')) === 'nginx:2');
    await until('3 ready', async () => (await get<StatefulSet>(statefulSets, 'db', ns)).status?.readyReplicas === 3);
    expect(await image('db-1')).toBe('nginx');
    // Deleted pods come back at the revision that their ordinal deserves.
    await cluster.client.delete(pods, 'db-0', ns);
    await until(
      'db-0 again',
      async () =>
        (await get<StatefulSet>(statefulSets, 'db', ns)).status?.readyReplicas === 3 &&
        (await image('db-0')) === 'nginx',
    );
    await cluster.client.patch(statefulSets, 'db', ns, 'merge', {
      spec: { updateStrategy: { rollingUpdate: { partition: 0 } } },
    });
    const rolled = await until('all new', async () => {
      const set = await get<StatefulSet>(statefulSets, 'db', ns);
      return (
        set.status?.updatedReplicas === 3 &&
        set.status.readyReplicas === 3 &&
        set.status.currentRevision === set.status.updateRevision &&
        set
      );
    });
    expect(rolled.status?.currentRevision).not.toBe(start.status?.currentRevision);
    await cluster.client.patch(statefulSets, 'db', ns, 'strategic', {
      spec: { template: { spec: { containers: [{ name: 'c', image: 'nginx' }] } } },
    });
    await until('back', async () => {
      const set = await get<StatefulSet>(statefulSets, 'db', ns);
      return (
        set.status?.currentRevision === start.status?.currentRevision &&
        set.status?.updateRevision === start.status?.updateRevision
      );
    });
    expect((await list(revisions, ns)).length).toBe(2);
  });

  test('its claims are provisioned, bound, kept when it goes, and volumes go with the claims', async () => {
    const ns = await namespace('sts-claims');
    await cluster.client.create(ref('storage.k8s.io', 'storageclasses'), {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'StorageClass',
      metadata: { name: 'fast' },
      provisioner: driverName,
      volumeBindingMode: 'WaitForFirstConsumer',
    } as KubeObject);
    const claimTemplate = {
      metadata: { name: 'data' },
      spec: { accessModes: ['ReadWriteOnce'], storageClassName: 'fast', resources: { requests: { storage: '1Gi' } } },
    };
    await cluster.client.create(
      statefulSets,
      statefulSet(ns, 'db', { replicas: 2, volumeClaimTemplates: [claimTemplate] }),
    );
    await until('2 ready', async () => (await get<StatefulSet>(statefulSets, 'db', ns)).status?.readyReplicas === 2);
    const claim = await get<PersistentVolumeClaim>(claims, 'data-db-1', ns);
    expect(claim.status?.phase).toBe('Bound');
    expect(claim.status?.capacity).toEqual({ storage: '1Gi' });
    expect(claim.spec?.volumeName).toBe(`pvc-${claim.metadata.uid}`);
    expect(cluster.volumes.size).toBe(2);
    await expect(
      cluster.client.patch(claims, 'data-db-1', ns, 'merge', { spec: { resources: { requests: { storage: '2Gi' } } } }),
    ).rejects.toMatchObject({
      reason: 'Forbidden',
      message: expect.stringContaining('the storageclass that provisions the pvc must support resize'),
    });
    await cluster.client.delete(statefulSets, 'db', ns, { propagationPolicy: 'Foreground' });
    await until('no set', async () => (await list(statefulSets, ns)).length === 0);
    await until('no pods', async () => (await list(pods, ns)).length === 0);
    expect((await list(claims, ns)).length).toBe(2);
    await cluster.client.delete(ref('', 'namespaces'), ns);
    await until('the namespace is gone', async () =>
      (await list(ref('', 'namespaces'), '')).every((item) => item.metadata.name !== ns),
    );
    await until('the volumes are gone', () => cluster.volumes.size === 0);
  });
});

describe('garbage collection', () => {
  test('Background removes dependents, Orphan leaves them without an owner', async () => {
    const ns = await namespace('gc');
    await cluster.client.create(deployments, deployment(ns, 'one', { replicas: 2 }));
    await cluster.client.create(deployments, deployment(ns, 'two', { replicas: 2 }));
    await until('4 pods', async () => (await list(pods, ns)).length === 4);
    await cluster.client.delete(deployments, 'one', ns, { propagationPolicy: 'Background' });
    await until('2 pods', async () => (await list(pods, ns)).length === 2);
    await cluster.client.delete(deployments, 'two', ns, { propagationPolicy: 'Orphan' });
    const [orphan] = await until('an ownerless set', async () => {
      const sets = await list(replicaSets, ns);
      return sets.length === 1 && sets[0]!.metadata.ownerReferences === undefined && sets;
    });
    await holds('the orphans stay', async () => (await list(pods, ns)).length === 2, 500);
    expect(orphan).toBeDefined();
  });

  test('a ring of owners goes when one of it is deleted', async () => {
    const ns = await namespace('gc-ring');
    const uids: string[] = [];
    for (const name of ['a', 'b', 'c']) {
      const made = await cluster.client.create<KubeObject>(ref('', 'configmaps'), {
        apiVersion: 'v1',
        kind: 'ConfigMap',
        metadata: { name, namespace: ns },
      });
      uids.push(made.metadata.uid!);
    }
    for (const [index, name] of ['a', 'b', 'c'].entries()) {
      const owner = (index + 2) % 3;
      await cluster.client.patch(ref('', 'configmaps'), name, ns, 'merge', {
        metadata: {
          ownerReferences: [{ apiVersion: 'v1', kind: 'ConfigMap', name: ['a', 'b', 'c'][owner], uid: uids[owner] }],
        },
      });
    }
    await cluster.client.delete(ref('', 'configmaps'), 'a', ns);
    await until('all gone', async () =>
      (await list(ref('', 'configmaps'), ns)).every((item) => item.metadata.name === 'kube-root-ca.crt'),
    );
  });
});

describe('scheduler', () => {
  test('a pod that fits nowhere says why, and runs once it does', async () => {
    const ns = await namespace('sched');
    await cluster.client.create(pods, {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'big', namespace: ns },
      spec: { containers: [{ name: 'c', image: 'nginx', resources: { requests: { cpu: '100' } } }] },
    } as KubeObject);
    const condition = await until('unschedulable', async () =>
      (await get<Pod>(pods, 'big', ns)).status?.conditions?.find(
        (c) => c.type === 'PodScheduled' && c.status === 'False',
      ),
    );
    expect(condition.reason).toBe('Unschedulable');
    expect(condition.message).toMatch(/^0\/2 nodes are available: 2 Insufficient cpu\./);
    const event = await until('its event', async () =>
      (await list<Any & { reason?: string; message?: string }>(ref('', 'events'), ns)).find(
        (item) => item.reason === 'FailedScheduling',
      ),
    );
    expect(event.message).toBe(condition.message);
    await cluster.addNode('huge', { cpu: '200' });
    await until('it runs', async () => (await get<Pod>(pods, 'big', ns)).status?.phase === 'Running');
    expect((await get<Pod>(pods, 'big', ns)).spec?.nodeName).toBe('huge');
  });
});

describe('DaemonSet', () => {
  const daemonSets = ref('apps', 'daemonsets');
  test('one pod a node, also on a new one; an update rolls; an older template is known again', async () => {
    const ns = await namespace('ds');
    const set: Any = {
      ...deployment(ns, 'agent'),
      kind: 'DaemonSet',
      spec: { selector: { matchLabels: { app: 'agent' } }, template: template('agent') },
    };
    await cluster.client.create(daemonSets, set);
    const count = (await cluster.client.list(ref('', 'nodes'))).items.length;
    const ready = async (nodes: number): Promise<boolean> => {
      const { status, metadata } = await get<DaemonSet>(daemonSets, 'agent', ns);
      return (
        status?.observedGeneration === metadata.generation &&
        status?.numberAvailable === nodes &&
        status.updatedNumberScheduled === nodes &&
        (await list(pods, ns)).length === nodes
      );
    };
    await until('all nodes', () => ready(count));
    await cluster.addNode('late');
    await until('the late one', () => ready(count + 1));
    await cluster.client.patch(daemonSets, 'agent', ns, 'strategic', {
      spec: { template: { spec: { containers: [{ name: 'c', image: 'nginx:2' }] } } },
    });
    await until(
      'all updated',
      async () =>
        (await ready(count + 1)) &&
        (await list<Pod & KubeObject>(pods, ns)).every((pod) => pod.spec?.containers[0]?.image === 'nginx:2'),
    );
    expect((await list(revisions, ns)).length).toBe(2);
    await cluster.client.patch(daemonSets, 'agent', ns, 'strategic', {
      spec: { template: { spec: { containers: [{ name: 'c', image: 'nginx' }] } } },
    });
    await until(
      'back',
      async () =>
        (await ready(count + 1)) &&
        (await list<Pod & KubeObject>(pods, ns)).every((pod) => pod.spec?.containers[0]?.image === 'nginx'),
    );
    const kept = await list<KubeObject & { revision?: number }>(revisions, ns);
    expect(kept.map((revision) => revision.revision).sort()).toEqual([2, 3]);
    await cluster.client.delete(ref('', 'nodes'), 'late');
    await until('one pod less', () => ready(count));
  });
});

describe('PodDisruptionBudget', () => {
  test('refuses an eviction that would go below it, allows one that does not', async () => {
    const ns = await namespace('pdb');
    await cluster.client.create(deployments, deployment(ns, 'web', { replicas: 2 }));
    await cluster.client.create(ref('policy', 'poddisruptionbudgets'), {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: { name: 'b', namespace: ns },
      spec: { minAvailable: 1, selector: { matchLabels: { app: 'web' } } },
    } as Any);
    await until(
      'an allowance',
      async () =>
        (await get<PodDisruptionBudget>(ref('policy', 'poddisruptionbudgets'), 'b', ns)).status?.disruptionsAllowed ===
        1,
    );
    const evict = (name: string): Promise<unknown> =>
      cluster.client.create(
        pods,
        { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace: ns } } as KubeObject,
        { subresource: 'eviction' },
      );
    cluster.readiness.of = (pod) => pod.metadata.namespace !== ns;
    const [first, second] = await list(pods, ns);
    await evict(first!.metadata.name);
    await expect(evict(second!.metadata.name)).rejects.toMatchObject({ reason: 'TooManyRequests' });
    cluster.readiness.of = () => true;
    await cluster.recheck();
    await until(
      'an allowance again',
      async () =>
        (await get<PodDisruptionBudget>(ref('policy', 'poddisruptionbudgets'), 'b', ns)).status?.disruptionsAllowed ===
        1,
    );
    await evict(second!.metadata.name);
  });
});
