import { formatTime } from '../../machinery/time.ts';
import type { CriContainerStats } from '../cri/types.ts';
import type { NodeFacts } from '../node/node-status.ts';
import { labelContainerName, labelPodName, labelPodNamespace, labelPodUid } from '../pod/sandbox-config.ts';

/** One container's use of the machine. */
export interface ContainerUse {
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string;
  readonly container: string;
  readonly startedAtMs: number;
  readonly atMs: number;
  /** Nanoseconds of cpu since its start. */
  readonly cpuNs: number;
  readonly memoryBytes: number;
  readonly rssBytes: number;
  readonly diskBytes: number;
  /** Cores times 10^9 over the last interval; undefined at the first look. */
  readonly nanoCores?: number;
}

export function containerUses(
  stats: readonly CriContainerStats[],
  before: ReadonlyMap<string, ContainerUse>,
  startedAt: (containerId: string) => number,
): Map<string, ContainerUse> {
  const out = new Map<string, ContainerUse>();
  for (const one of stats) {
    const labels = one.attributes?.labels ?? {};
    const uid = labels[labelPodUid];
    if (!uid || !one.attributes || !one.cpu) continue;
    const id = one.attributes.id;
    const last = before.get(id);
    const atMs = Math.floor((one.cpu.timestamp || 0) / 1e6);
    const cpuNs = one.cpu.usageCoreNanoSeconds?.value ?? 0;
    const nanoCores =
      last && atMs > last.atMs
        ? Math.max(0, Math.floor(((cpuNs - last.cpuNs) * 1000) / (atMs - last.atMs)))
        : last?.nanoCores;
    out.set(id, {
      namespace: labels[labelPodNamespace] ?? '',
      pod: labels[labelPodName] ?? '',
      uid,
      container: labels[labelContainerName] ?? '',
      startedAtMs: startedAt(id),
      atMs,
      cpuNs,
      memoryBytes: one.memory?.workingSetBytes?.value ?? 0,
      rssBytes: one.memory?.rssBytes?.value ?? 0,
      diskBytes: one.writableLayer?.usedBytes?.value ?? 0,
      ...(nanoCores === undefined ? {} : { nanoCores }),
    });
  }
  return out;
}

function cpu(use: { atMs: number; cpuNs: number; nanoCores?: number }): object {
  return {
    time: formatTime(use.atMs),
    usageCoreNanoSeconds: use.cpuNs,
    ...(use.nanoCores === undefined ? {} : { usageNanoCores: use.nanoCores }),
  };
}

/** stats.k8s.io/v1alpha1 Summary, which `kubectl top` and autoscalers are fed from. */
export function summary(
  nodeName: string,
  facts: NodeFacts,
  uses: Iterable<ContainerUse>,
  nowMs: number,
  bootMs: number,
): object {
  const pods = new Map<string, ContainerUse[]>();
  for (const use of uses) {
    const list = pods.get(use.uid);
    if (list) list.push(use);
    else pods.set(use.uid, [use]);
  }
  const time = formatTime(nowMs);
  return {
    node: {
      nodeName,
      systemContainers: [],
      startTime: formatTime(bootMs),
      memory: {
        time,
        availableBytes: facts.memoryAvailableBytes,
        workingSetBytes: facts.memoryBytes - facts.memoryAvailableBytes,
        usageBytes: facts.memoryBytes - facts.memoryAvailableBytes,
      },
      fs: {
        time,
        availableBytes: facts.diskAvailableBytes,
        capacityBytes: facts.diskBytes,
        usedBytes: facts.diskBytes - facts.diskAvailableBytes,
        inodes: facts.diskInodes,
        inodesFree: facts.diskInodesFree,
      },
    },
    pods: [...pods.values()].map((list) => ({
      podRef: { name: list[0]!.pod, namespace: list[0]!.namespace, uid: list[0]!.uid },
      startTime: formatTime(Math.min(...list.map((use) => use.startedAtMs))),
      containers: list.map((use) => ({
        name: use.container,
        startTime: formatTime(use.startedAtMs),
        cpu: cpu(use),
        memory: { time: formatTime(use.atMs), workingSetBytes: use.memoryBytes, rssBytes: use.rssBytes },
        rootfs: { time: formatTime(use.atMs), usedBytes: use.diskBytes },
      })),
      cpu: cpu({
        atMs: Math.max(...list.map((u) => u.atMs)),
        cpuNs: list.reduce((sum, u) => sum + u.cpuNs, 0),
        nanoCores: list.reduce((sum, u) => sum + (u.nanoCores ?? 0), 0),
      }),
      memory: { time, workingSetBytes: list.reduce((sum, u) => sum + u.memoryBytes, 0) },
    })),
  };
}

const labelText = (text: string): string =>
  text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

/** `/metrics/resource`, the metrics of KEP-727 that a metrics server reads. */
export function resourceMetrics(
  uses: Iterable<ContainerUse>,
  node: { cpuSeconds: number; memoryBytes: number },
): string {
  const cpuLines: string[] = [];
  const memoryLines: string[] = [];
  for (const use of uses) {
    const labels = `{container="${labelText(use.container)}",namespace="${labelText(use.namespace)}",pod="${labelText(use.pod)}"}`;
    cpuLines.push(`container_cpu_usage_seconds_total${labels} ${use.cpuNs / 1e9} ${use.atMs}`);
    memoryLines.push(`container_memory_working_set_bytes${labels} ${use.memoryBytes} ${use.atMs}`);
  }
  return [
    '# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds',
    '# TYPE container_cpu_usage_seconds_total counter',
    ...cpuLines,
    '# HELP container_memory_working_set_bytes [STABLE] Current working set of the container in bytes',
    '# TYPE container_memory_working_set_bytes gauge',
    ...memoryLines,
    '# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds',
    '# TYPE node_cpu_usage_seconds_total counter',
    `node_cpu_usage_seconds_total ${node.cpuSeconds}`,
    '# HELP node_memory_working_set_bytes [STABLE] Current working set of the node in bytes',
    '# TYPE node_memory_working_set_bytes gauge',
    `node_memory_working_set_bytes ${node.memoryBytes}`,
    '# HELP resource_scrape_error [ALPHA] 1 if there was an error while getting container metrics, 0 otherwise',
    '# TYPE resource_scrape_error gauge',
    'resource_scrape_error 0',
    '',
  ].join('\n');
}
