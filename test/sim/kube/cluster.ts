import { silentLogger } from '../../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../../internal/base/system.ts';
import type { Node, Pod } from '../../../internal/kube/api/types.ts';
import { builtinKinds } from '../../../internal/kube/api/builtin.ts';
import { admin, startTestServer, type TestServer } from '../../../internal/kube/apiserver/testing.ts';
import type { KubeClient, KubeObject, ResourceRef } from '../../../internal/kube/client/api.ts';
import { createKubeClient } from '../../../internal/kube/client/client.ts';
import { Informer } from '../../../internal/kube/client/informer.ts';
import { nodesRef, podsRef } from '../../../internal/kube/client/resources.ts';
import { startControllers } from '../../../internal/kube/controllers/index.ts';
import type { VolumeProvisioner } from '../../../internal/kube/controllers/persistent-volume.ts';
import { isStatus } from '../../../internal/kube/machinery/status.ts';
import { formatTime } from '../../../internal/kube/machinery/time.ts';
import { startScheduler } from '../../../internal/kube/scheduler/scheduler.ts';

type PodObject = Pod & KubeObject;

/** A control plane in this process: real API server, controllers and scheduler; nodes whose kubelet only reports. */
export interface Cluster {
  server: TestServer;
  client: KubeClient;
  /** Volumes that the fake driver has, by handle. */
  volumes: Map<string, { bytes: number }>;
  /** Whether a pod becomes ready; default: all do. */
  readiness: { of: (pod: PodObject) => boolean };
  /** Ends a pod's containers: phase Succeeded or Failed. */
  finish(pod: PodObject, phase: 'Succeeded' | 'Failed'): Promise<void>;
  addNode(name: string, options?: { cpu?: string; labels?: Record<string, string> }): Promise<void>;
  /** Looks again at the readiness of every pod. */
  recheck(): Promise<void>;
  close(): Promise<void>;
}

export const driverName = 'fake.csi.test';

function fakeProvisioner(volumes: Map<string, { bytes: number }>): VolumeProvisioner {
  const provisioner: VolumeProvisioner = {
    name: driverName,
    createVolume: ({ name, bytes }) => {
      volumes.set(name, { bytes });
      return Promise.resolve({ handle: name, bytes, attributes: { pool: 'test' } });
    },
    deleteVolume: (handle) => {
      volumes.delete(handle);
      return Promise.resolve();
    },
  };
  return provisioner;
}

export async function startCluster(
  nodeCount = 1,
  options: Parameters<typeof startTestServer>[0] = {},
): Promise<Cluster> {
  const server = await startTestServer(options);
  const client = createKubeClient({
    transport: (request) => server.api.fetch(request, { identity: admin }) as Promise<Response>,
    baseUrl: 'http://apiserver',
    userAgent: 'sim/1',
  });
  const volumes = new Map<string, { bytes: number }>();
  const readiness: Cluster['readiness'] = { of: () => true };
  const stopping = new AbortController();
  const common = { client, clock: systemClock, log: silentLogger, host: 'sim' };
  const controllers = startControllers({
    authorities: undefined,
    signToken: undefined,
    ...common,
    kinds: builtinKinds,
    random: systemRandom,
    rootCa: 'test-ca',
    podCIDR: '10.42.0.0/16',
    dnsPort: undefined,
    provisioners: [fakeProvisioner(volumes)],
  });
  const scheduler = startScheduler(common);
  const pods = new Informer<PodObject>({ client, resource: podsRef, clock: systemClock, log: silentLogger });
  const nodeNames = new Set<string>();
  let lastIp = 0;

  const report = async (pod: PodObject): Promise<void> => {
    if (!pod.spec?.nodeName || !nodeNames.has(pod.spec.nodeName)) return;
    if (pod.metadata.deletionTimestamp) {
      await ignoreGone(
        client.delete(podsRef, pod.metadata.name, pod.metadata.namespace, {
          gracePeriodSeconds: 0,
          preconditions: { uid: pod.metadata.uid! },
        }),
      );
      return;
    }
    if (pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return;
    const ready = readiness.of(pod);
    const was = pod.status?.conditions?.find((condition) => condition.type === 'Ready')?.status === 'True';
    if (pod.status?.phase === 'Running' && was === ready) return;
    const now = formatTime(Date.now());
    const condition = (type: string, value: boolean): object => ({
      type,
      status: value ? 'True' : 'False',
      lastTransitionTime: now,
    });
    await ignoreGone(
      client.patch(
        podsRef,
        pod.metadata.name,
        pod.metadata.namespace,
        'strategic',
        {
          metadata: { uid: pod.metadata.uid },
          status: {
            phase: 'Running',
            podIP: pod.status?.podIP ?? `10.42.0.${++lastIp}`,
            podIPs: [{ ip: pod.status?.podIP ?? `10.42.0.${lastIp}` }],
            startTime: pod.status?.startTime ?? now,
            conditions: [
              condition('Initialized', true),
              condition('Ready', ready),
              condition('ContainersReady', ready),
            ],
            containerStatuses: (pod.spec.containers ?? []).map((container) => ({
              name: container.name,
              image: container.image,
              imageID: '',
              ready,
              started: true,
              restartCount: 0,
              state: { running: { startedAt: now } },
            })),
          },
        },
        { subresource: 'status' },
      ),
    );
  };
  const onPod = (pod: PodObject): void => void report(pod).catch(() => undefined);
  pods.handle({ onAdd: onPod, onUpdate: onPod });
  const following = pods.run(stopping.signal);
  await pods.synced;

  const cluster: Cluster = {
    server,
    client,
    volumes,
    readiness,
    async finish(pod, phase) {
      await client.patch(
        podsRef,
        pod.metadata.name,
        pod.metadata.namespace,
        'merge',
        { status: { phase } },
        { subresource: 'status' },
      );
    },
    async addNode(name, { cpu = '8', labels = {} } = {}) {
      nodeNames.add(name);
      const now = formatTime(Date.now());
      const capacity = { cpu, memory: '16Gi', pods: '110', 'ephemeral-storage': '100Gi' };
      await client.create<Node & KubeObject>(nodesRef, {
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name, labels: { 'kubernetes.io/hostname': name, ...labels } },
        spec: {},
        status: {
          capacity,
          allocatable: capacity,
          conditions: [
            { type: 'Ready', status: 'True', lastHeartbeatTime: now, lastTransitionTime: now, reason: 'KubeletReady' },
          ],
          addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
        },
      });
    },
    async recheck() {
      await Promise.all(pods.list().map(report));
    },
    async close() {
      await scheduler.stop();
      await controllers.stop();
      stopping.abort();
      await following;
      await server.close();
    },
  };
  for (let i = 0; i < nodeCount; i++) await cluster.addNode(`node-${i}`);
  await until('the default service account', async () => {
    const found = await client.get({ group: '', version: 'v1', resource: 'serviceaccounts' }, 'default', 'default');
    return found.metadata.uid;
  });
  return cluster;
}

async function ignoreGone(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isStatus(error, 'NotFound', 'Conflict')) throw error;
  }
}

/** Asks again until the answer is truthy; NotFound counts as no answer. */
export async function until<T>(
  what: string,
  ask: () => Promise<T> | T,
  timeoutMs = 15_000,
): Promise<Exclude<T, false | undefined | null>> {
  const end = Date.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const answer = await ask();
      if (answer) return answer as Exclude<T, false | undefined | null>;
      last = answer;
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited in vain for ${what}: ${String(last)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Resolves when `stays` has been true for `ms`. */
export async function holds(what: string, stays: () => Promise<boolean>, ms: number): Promise<void> {
  const end = Date.now() + ms;
  while (Date.now() < end) {
    if (!(await stays())) throw new Error(`${what} did not hold`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

export function ref(group: string, resource: string): ResourceRef {
  return { group, version: 'v1', resource };
}
