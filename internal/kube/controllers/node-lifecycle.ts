import type { Lease, Node, Pod, Taint } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { objectKey, splitKey } from '../client/informer.ts';
import { leasesRef, nodesRef, podsRef } from '../client/resources.ts';
import { formatTime } from '../machinery/time.ts';
import { tolerates } from '../scheduler/plugins/node.ts';
import type { ControllerContext } from './context.ts';
import { unlessGone } from './unless-gone.ts';

/** A node whose lease was not renewed for so long is not trusted (upstream's node-monitor-grace-period). */
const graceMs = 50_000;
const checkEveryMs = 5000;
const notReadyTaint = 'node.kubernetes.io/not-ready';
const unreachableTaint = 'node.kubernetes.io/unreachable';
const lifecycleTaints: readonly string[] = [notReadyTaint, unreachableTaint];

/** The taints that a node's Ready condition asks for. */
export function taintsFor(ready: string | undefined): Taint[] {
  if (ready === 'True') return [];
  const key = ready === 'Unknown' ? unreachableTaint : notReadyTaint;
  return [
    { key, effect: 'NoSchedule' },
    { key, effect: 'NoExecute' },
  ];
}

/** Milliseconds until a pod must leave a node with these taints: undefined for never. */
export function evictionDelayMs(pod: Pod, taints: readonly Taint[]): number | undefined {
  let delay: number | undefined;
  for (const taint of taints) {
    if (taint.effect !== 'NoExecute') continue;
    const fitting = (pod.spec?.tolerations ?? []).filter((toleration) => tolerates(toleration, taint));
    if (fitting.length === 0) return 0;
    const bounds = fitting.map((toleration) => toleration.tolerationSeconds).filter((seconds) => seconds !== undefined);
    if (bounds.length > 0) delay = Math.min(delay ?? Number.MAX_SAFE_INTEGER, Math.max(0, Math.min(...bounds)) * 1000);
  }
  return delay;
}

/** Silent nodes are told to be unreachable, tainted by their readiness, and emptied of pods that do not tolerate that (taint manager). */
export function nodeLifecycleController(context: ControllerContext): void {
  const { client, clock, signal } = context;
  const nodes = context.informers.of<Node & KubeObject>(nodesRef);
  const leases = context.informers.of<Lease & KubeObject>(leasesRef);
  const pods = context.informers.of<Pod & KubeObject>(podsRef);
  const recorder = context.recorder('node-controller');
  pods.index('node', (pod) => (pod.spec?.nodeName ? [pod.spec.nodeName] : []));
  /** When each lease was last seen to change, on our own clock: nodes' clocks are not trusted. */
  const renewed = new Map<string, { renewTime: string | undefined; atMs: number }>();
  const evictAt = new Map<string, number>();

  const nodeQueue = context.queue('nodes', reconcileNode);
  const evictions = context.queue('evictions', evict);
  const onNode = (node: Node & KubeObject): void => nodeQueue.add(node.metadata.name);
  nodes.handle({ onAdd: onNode, onUpdate: onNode, onDelete: onNode });
  const onPod = (pod: Pod & KubeObject): void => {
    if (pod.spec?.nodeName) nodeQueue.add(pod.spec.nodeName);
  };
  pods.handle({ onAdd: onPod });

  let lastTickMs = clock.monotonic();
  const tick = (): void => {
    if (signal.aborted) return;
    const now = clock.monotonic();
    // After a stall of our own the silence of others proves nothing.
    if (now - lastTickMs > 3 * checkEveryMs) for (const entry of renewed.values()) entry.atMs = now;
    lastTickMs = now;
    for (const node of nodes.list()) nodeQueue.add(node.metadata.name);
    clock.after(checkEveryMs, tick);
  };
  clock.after(checkEveryMs, tick);

  async function reconcileNode(name: string): Promise<void> {
    const node = nodes.get(name);
    if (!node) {
      renewed.delete(name);
      for (const pod of pods.by('node', name)) await removePod(pod);
      return;
    }
    const now = clock.monotonic();
    const renewTime = leases.get(`kube-node-lease/${name}`)?.spec?.renewTime;
    const seen = renewed.get(name);
    if (!seen || seen.renewTime !== renewTime) renewed.set(name, { renewTime, atMs: now });
    let ready = node.status?.conditions?.find((condition) => condition.type === 'Ready')?.status;
    if (now - renewed.get(name)!.atMs > graceMs && ready !== 'Unknown') {
      ready = 'Unknown';
      await tellUnknown(node);
    }
    const taints = taintsFor(ready);
    await setTaints(node, taints);
    const all = [...(node.spec?.taints ?? []).filter((taint) => !lifecycleTaints.includes(taint.key)), ...taints];
    for (const pod of pods.by('node', name)) {
      const key = objectKey(pod);
      const delay = pod.metadata.deletionTimestamp ? undefined : evictionDelayMs(pod, all);
      if (delay === undefined) evictAt.delete(key);
      else {
        if (!evictAt.has(key)) evictAt.set(key, now + delay);
        evictions.addAfter(key, evictAt.get(key)! - now);
      }
      if (ready !== 'True' && ready !== undefined) await tellNotReady(pod);
    }
  }

  async function tellUnknown(node: Node & KubeObject): Promise<void> {
    recorder.record(
      { apiVersion: 'v1', kind: 'Node', name: node.metadata.name, uid: node.metadata.name },
      'Normal',
      'NodeNotReady',
      `Node ${node.metadata.name} status is now: NodeNotReady`,
    );
    const time = formatTime(clock.now());
    const conditions = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'].map((type) => ({
      type,
      status: 'Unknown',
      reason: 'NodeStatusUnknown',
      message: 'Kubelet stopped posting node status.',
      lastTransitionTime: time,
    }));
    await client.patch(
      nodesRef,
      node.metadata.name,
      undefined,
      'strategic',
      { status: { conditions } },
      { subresource: 'status' },
    );
  }

  async function setTaints(node: Node & KubeObject, wanted: readonly Taint[]): Promise<void> {
    const current = node.spec?.taints ?? [];
    const id = (taint: Taint): string => `${taint.key}:${taint.effect}`;
    const kept = current.filter(
      (taint) => !lifecycleTaints.includes(taint.key) || wanted.some((one) => id(one) === id(taint)),
    );
    const missing = wanted.filter((one) => !current.some((taint) => id(taint) === id(one)));
    if (missing.length === 0 && kept.length === current.length) return;
    const time = formatTime(clock.now());
    await client.patch(nodesRef, node.metadata.name, undefined, 'merge', {
      metadata: { resourceVersion: node.metadata.resourceVersion },
      spec: {
        taints: [
          ...kept,
          ...missing.map((taint) => (taint.effect === 'NoExecute' ? { ...taint, timeAdded: time } : taint)),
        ],
      },
    });
  }

  async function tellNotReady(pod: Pod & KubeObject): Promise<void> {
    const condition = pod.status?.conditions?.find((one) => one.type === 'Ready');
    if (condition?.status !== 'True') return;
    await unlessGone(
      client.patch(
        podsRef,
        pod.metadata.name,
        pod.metadata.namespace,
        'strategic',
        {
          metadata: { uid: pod.metadata.uid },
          status: { conditions: [{ type: 'Ready', status: 'False', lastTransitionTime: formatTime(clock.now()) }] },
        },
        { subresource: 'status' },
      ),
      { orReplaced: true },
    );
  }

  async function evict(key: string): Promise<void> {
    const due = evictAt.get(key);
    const pod = pods.get(key);
    if (due === undefined || !pod) {
      evictAt.delete(key);
      return;
    }
    if (clock.monotonic() < due) return;
    evictAt.delete(key);
    recorder.record(
      {
        apiVersion: 'v1',
        kind: 'Pod',
        name: pod.metadata.name,
        namespace: pod.metadata.namespace!,
        uid: pod.metadata.uid!,
      },
      'Normal',
      'TaintManagerEviction',
      `Marking for deletion Pod ${key}`,
    );
    const { namespace, name } = splitKey(key);
    await unlessGone(client.delete(podsRef, name, namespace, { preconditions: { uid: pod.metadata.uid! } }), {
      orReplaced: true,
    });
  }

  /** A pod on a node that no longer exists: nobody else will confirm its end. */
  async function removePod(pod: Pod & KubeObject): Promise<void> {
    // The cache of nodes may be behind the cache of pods.
    if (await unlessGone(client.get(nodesRef, pod.spec!.nodeName!))) return;
    await unlessGone(
      client.delete(podsRef, pod.metadata.name, pod.metadata.namespace, {
        gracePeriodSeconds: 0,
        preconditions: { uid: pod.metadata.uid! },
      }),
      { orReplaced: true },
    );
  }
}
