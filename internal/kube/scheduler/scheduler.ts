import { type Clock, sleep, type Timer } from '../../base/clock.ts';
import { AppError, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod, StorageClass } from '../api/types.ts';
import type { KubeClient, KubeObject, ResourceRef } from '../client/api.ts';
import { EventRecorder } from '../client/events.ts';
import { Informer, objectKey } from '../client/informer.ts';
import {
  namespacesRef,
  nodesRef,
  persistentVolumeClaimsRef,
  persistentVolumesRef,
  podsRef,
  storageClassesRef,
} from '../client/resources.ts';
import { isStatus } from '../machinery/status.ts';
import { formatTime } from '../machinery/time.ts';
import type { Plugin } from './framework.ts';
import { asksForLess, NodeInfo } from './node-info.ts';
import { defaultPlugins } from './plugins/index.ts';
import type { VolumeBinder } from './plugins/volumes.ts';
import { SchedulingQueue } from './queue.ts';
import { schedule } from './schedule.ts';

export const defaultSchedulerName = 'default-scheduler';

export interface Scheduler {
  /** Pods that wait for a node. */
  readonly waiting: number;
  stop(): Promise<void>;
}

/** A claim that is not bound within this time takes its pod back to the queue (upstream's bindTimeoutSeconds). */
const claimTimeoutMs = 600_000;
/** Decisions made before the event loop gets its turn. */
const batch = 50;

const finished = (pod: Pod): boolean => pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
const wanted = (pod: Pod): boolean =>
  !pod.spec?.nodeName &&
  !finished(pod) &&
  !pod.metadata.deletionTimestamp &&
  (pod.spec?.schedulerName ?? defaultSchedulerName) === defaultSchedulerName &&
  (pod.spec?.schedulingGates?.length ?? 0) === 0;

/** Assigns pods to nodes until it is stopped. */
export function startScheduler(options: { client: KubeClient; clock: Clock; log: Logger; host: string }): Scheduler {
  const { client, clock, log } = options;
  const stopping = new AbortController();
  const informer = <T extends KubeObject>(resource: ResourceRef): Informer<T> =>
    new Informer<T>({ client, resource, clock, log });
  const pods = informer<Pod & KubeObject>(podsRef);
  const nodes = informer<Node & KubeObject>(nodesRef);
  const claims = informer<PersistentVolumeClaim & KubeObject>(persistentVolumeClaimsRef);
  const volumes = informer<PersistentVolume & KubeObject>(persistentVolumesRef);
  const classes = informer<StorageClass & KubeObject>(storageClassesRef);
  const namespaces = informer<KubeObject>(namespacesRef);
  const recorder = new EventRecorder(client, clock, log, { component: defaultSchedulerName, host: options.host });

  const queue = new SchedulingQueue();
  const infos = new Map<string, NodeInfo>();
  /** Pods that have a node by our decision while the server does not say so yet. */
  const assumed = new Map<string, string>();
  let timer: Timer | undefined;
  let synced = false;

  const binder: VolumeBinder = {
    selectNode: async (claim, nodeName) => {
      await client.patch(persistentVolumeClaimsRef, claim.metadata.name!, claim.metadata.namespace, 'merge', {
        metadata: { annotations: { 'volume.kubernetes.io/selected-node': nodeName } },
      });
    },
    untilBound: (namespace, name, signal) => untilBound(claims, `${namespace}/${name}`, signal, clock),
  };
  const plugins: Plugin[] = defaultPlugins(
    {
      claim: (namespace, name) => claims.get(`${namespace}/${name}`),
      volume: (name) => volumes.get(name),
      storageClass: (name) => classes.get(name),
    },
    binder,
    (name) => namespaces.get(name)?.metadata.labels,
  );

  const wake = (): void => {
    queue.wake(clock.monotonic());
    kick();
  };
  /** A pod got its node or other labels: that helps only pods that look at other pods. */
  const neighbourCame = (): void => {
    queue.wake(
      clock.monotonic(),
      (pod) => pod.spec?.affinity?.podAffinity !== undefined || (pod.spec?.topologySpreadConstraints?.length ?? 0) > 0,
    );
    kick();
  };
  const assign = (pod: Pod, nodeName: string): void => {
    const info = infos.get(nodeName);
    if (info) info.addPod(pod);
  };
  const unassign = (pod: Pod, nodeName: string | undefined): void => {
    if (nodeName) infos.get(nodeName)?.removePod(pod);
  };

  pods.handle({
    onAdd: (pod) => {
      if (pod.spec?.nodeName && !finished(pod)) assign(pod, pod.spec.nodeName);
      else if (wanted(pod)) {
        queue.add(objectKey(pod), pod, clock.monotonic());
        kick();
      }
    },
    onUpdate: (pod, before) => {
      const key = objectKey(pod);
      if (pod.spec?.nodeName) {
        queue.delete(key);
        assumed.delete(key);
        if (!before.spec?.nodeName || !sameLabels(before, pod)) neighbourCame();
        if (finished(pod)) {
          unassign(pod, pod.spec.nodeName);
          if (!finished(before)) wake();
        } else {
          assign(pod, pod.spec.nodeName);
          if (asksForLess(pod, before)) wake();
        }
      } else if (!assumed.has(key)) {
        if (wanted(pod)) {
          queue.add(key, pod, clock.monotonic());
          kick();
        } else queue.delete(key);
      }
    },
    onDelete: (pod) => {
      const key = objectKey(pod);
      queue.delete(key);
      unassign(pod, pod.spec?.nodeName ?? assumed.get(key));
      assumed.delete(key);
      wake();
    },
  });
  nodes.handle({
    onAdd: (node) => {
      const info = new NodeInfo(node);
      infos.set(info.name, info);
      for (const pod of pods.list()) if (pod.spec?.nodeName === info.name && !finished(pod)) info.addPod(pod);
      wake();
    },
    onUpdate: (node, before) => {
      infos.get(node.metadata.name)?.setNode(node);
      // Heartbeats come every few seconds and help no pod.
      if (nodeMatters(node) !== nodeMatters(before)) wake();
    },
    onDelete: (node) => {
      infos.delete(node.metadata.name);
    },
  });
  claims.handle({ onAdd: wake, onUpdate: wake });
  volumes.handle({ onAdd: wake, onUpdate: wake });
  classes.handle({ onAdd: wake });

  function kick(): void {
    if (!synced || stopping.signal.aborted) return;
    timer?.cancel();
    timer = clock.after(0, tick);
  }

  function tick(): void {
    const now = clock.monotonic();
    queue.expire(now);
    for (let made = 0; made < batch; made++) {
      const next = queue.next(now);
      if (!next) break;
      decide(next.key, next.pod, next.changes);
    }
    const soonest = queue.nextReadyMs();
    timer?.cancel();
    if (soonest !== undefined && !stopping.signal.aborted)
      timer = clock.after(Math.max(1, Math.min(soonest - now, 60_000)), tick);
  }

  function decide(key: string, pod: Pod, changes: number): void {
    const decision = schedule(pod, infos.values(), plugins);
    if ('message' in decision) {
      queue.failed(key, changes, clock.monotonic());
      recorder.record(subject(pod), 'Warning', 'FailedScheduling', decision.message);
      void tellUnschedulable(pod, decision.message);
      return;
    }
    queue.delete(key);
    assumed.set(key, decision.node);
    assign(pod, decision.node);
    void bind(key, pod, decision.node);
  }

  async function bind(key: string, pod: Pod, nodeName: string): Promise<void> {
    const { namespace, name, uid } = pod.metadata;
    try {
      for (const plugin of plugins) await plugin.preBind?.(pod, nodeName, stopping.signal);
      await client.create(
        podsRef,
        {
          apiVersion: 'v1',
          kind: 'Binding',
          metadata: { name: name!, namespace: namespace!, ...(uid === undefined ? {} : { uid }) },
          target: { apiVersion: 'v1', kind: 'Node', name: nodeName },
        } as KubeObject,
        { subresource: 'binding' },
      );
      recorder.record(subject(pod), 'Normal', 'Scheduled', `Successfully assigned ${namespace}/${name} to ${nodeName}`);
    } catch (error) {
      if (stopping.signal.aborted) return;
      unassign(pod, assumed.get(key));
      assumed.delete(key);
      if (isStatus(error, 'NotFound')) return;
      const current = pods.get(key);
      if (!current || !wanted(current)) return;
      recorder.record(subject(pod), 'Warning', 'FailedScheduling', `binding rejected: ${errorText(error)}`);
      const now = clock.monotonic();
      queue.add(key, current, now);
      queue.failed(key, -1, now);
      kick();
    }
  }

  async function tellUnschedulable(pod: Pod, message: string): Promise<void> {
    const told = pod.status?.conditions?.find((condition) => condition.type === 'PodScheduled');
    if (told?.status === 'False' && told.message === message) return;
    try {
      await client.patch(
        podsRef,
        pod.metadata.name!,
        pod.metadata.namespace,
        'strategic',
        {
          status: {
            conditions: [
              {
                type: 'PodScheduled',
                status: 'False',
                reason: 'Unschedulable',
                message,
                lastProbeTime: null,
                lastTransitionTime: formatTime(clock.now()),
              },
            ],
          },
        },
        { subresource: 'status' },
      );
    } catch (error) {
      if (!isStatus(error, 'NotFound'))
        log.debug('scheduler: condition not written', { pod: pod.metadata.name, error: errorText(error) });
    }
  }

  const following = [pods, nodes, claims, volumes, classes, namespaces].map((one) =>
    (one as Informer<KubeObject>).run(stopping.signal),
  );
  void Promise.all([pods.synced, nodes.synced, claims.synced, volumes.synced, classes.synced, namespaces.synced]).then(
    () => {
      synced = true;
      kick();
    },
  );
  return {
    get waiting() {
      return queue.length;
    },
    stop: async () => {
      stopping.abort();
      timer?.cancel();
      await Promise.all(following);
    },
  };
}

function subject(pod: Pod): { apiVersion: string; kind: string; namespace: string; name: string; uid: string } {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    namespace: pod.metadata.namespace!,
    name: pod.metadata.name!,
    uid: pod.metadata.uid!,
  };
}

/** What of a node may make a pod fit. */
function nodeMatters(node: Node): string {
  return JSON.stringify([node.spec?.unschedulable, node.spec?.taints, node.metadata.labels, node.status?.allocatable]);
}

async function untilBound(
  claims: Informer<PersistentVolumeClaim & KubeObject>,
  key: string,
  signal: AbortSignal,
  clock: Clock,
): Promise<void> {
  const deadline = clock.monotonic() + claimTimeoutMs;
  for (;;) {
    const claim = claims.get(key);
    if (claim?.status?.phase === 'Bound') return;
    if (!claim) throw new AppError('CLAIM_GONE', `persistentvolumeclaim "${key}" was deleted`);
    if (signal.aborted) throw new AppError('STOPPING', 'the scheduler stops');
    if (clock.monotonic() > deadline)
      throw new AppError(
        'CLAIM_TIMEOUT',
        `persistentvolumeclaim "${key}" was not bound within ${claimTimeoutMs / 1000} s`,
      );
    await sleep(clock, 100, signal);
  }
}

function sameLabels(a: Pod, b: Pod): boolean {
  const left = a.metadata.labels ?? {};
  const right = b.metadata.labels ?? {};
  const keys = Object.keys(left);
  return keys.length === Object.keys(right).length && keys.every((key) => left[key] === right[key]);
}
