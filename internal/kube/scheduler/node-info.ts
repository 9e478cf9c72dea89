import type { Container, ContainerStatus, Node, Pod } from '../api/types.ts';
import { parseQuantity, quantityMilli, quantityValue } from '../machinery/quantity.ts';

/** Amounts by resource name; cpu in thousandths, all others in units. */
export type Resources = ReadonlyMap<string, number>;

function amount(resource: string, quantity: string | number): number {
  const parsed = parseQuantity(quantity);
  return resource === 'cpu' ? quantityMilli(parsed) : quantityValue(parsed);
}

function amounts(list: Readonly<Record<string, unknown>> | undefined): Map<string, number> {
  return new Map(Object.entries(list ?? {}).map(([name, quantity]) => [name, amount(name, quantity as string)]));
}

/**
 * What a container, or a pod as a whole, asks for, or what its node keeps for it where that is more: while a resize is under way both sizes have to have room. What the node will
 * never do counts for nothing (KEP-1287, PodRequests with UseStatusResources).
 */
function requestsOf(
  { resources }: Pick<Container, 'resources'>,
  status: Pick<ContainerStatus, 'allocatedResources' | 'resources'> | undefined,
  infeasible: boolean,
): Map<string, number> {
  const wanted = amounts(resources?.requests);
  if (status === undefined) return wanted;
  const kept = amounts(status.allocatedResources);
  for (const [name, value] of amounts(status.resources?.requests)) kept.set(name, Math.max(kept.get(name) ?? 0, value));
  for (const [name, value] of wanted)
    if (!infeasible || !kept.has(name)) kept.set(name, Math.max(kept.get(name) ?? 0, value));
  return kept;
}

/**
 * What a pod asks for: the sum of its containers and sidecars, or the largest init container with the sidecars before it, whichever is more, plus
 * overhead (upstream's PodRequests).
 */
export function podRequests(pod: Pod): Resources {
  const total = new Map<string, number>();
  const add = (into: Map<string, number>, entries: Iterable<[string, number]>): void => {
    for (const [name, value] of entries) into.set(name, (into.get(name) ?? 0) + value);
  };
  const { containerStatuses, initContainerStatuses, conditions } = pod.status ?? {};
  const infeasible =
    conditions?.some(
      (one) => one.type === 'PodResizePending' && one.status === 'True' && one.reason === 'Infeasible',
    ) === true;
  const statusOf = (list: readonly ContainerStatus[] | undefined, { name }: Container): ContainerStatus | undefined =>
    list?.find((one) => one.name === name);
  for (const container of pod.spec?.containers ?? [])
    add(total, requestsOf(container, statusOf(containerStatuses, container), infeasible));
  const sidecars = new Map<string, number>();
  const init = new Map<string, number>();
  for (const container of pod.spec?.initContainers ?? []) {
    const own = requestsOf(container, statusOf(initContainerStatuses, container), infeasible);
    const during = new Map(sidecars);
    add(during, own);
    if (container.restartPolicy === 'Always') add(sidecars, own);
    for (const [name, value] of during) init.set(name, Math.max(init.get(name) ?? 0, value));
  }
  add(total, sidecars);
  for (const [name, value] of init) total.set(name, Math.max(total.get(name) ?? 0, value));
  // What the pod asks for as a whole stands for what its containers do (KEP-2837).
  const whole = pod.spec?.resources;
  if (whole !== undefined)
    for (const [name, value] of requestsOf({ resources: whole }, pod.status, infeasible)) total.set(name, value);
  add(
    total,
    Object.entries(pod.spec?.overhead ?? {}).map(([name, quantity]) => [name, amount(name, quantity as string)]),
  );
  return total;
}

/** Whether a node has more room since the pod was `before`: it was resized. */
export function asksForLess(pod: Pod, before: Pod): boolean {
  // Nearly all updates are of pods whose spec never changed.
  if (pod.metadata.generation === 1) return false;
  const now = podRequests(pod);
  return [...podRequests(before)].some(([name, value]) => (now.get(name) ?? 0) < value);
}

export interface HostPort {
  ip: string;
  protocol: string;
  port: number;
}

/** Ports of the node that a pod takes. */
export function hostPorts(pod: Pod): HostPort[] {
  return [
    ...(pod.spec?.initContainers ?? []).filter((container) => container.restartPolicy === 'Always'),
    ...(pod.spec?.containers ?? []),
  ].flatMap((container) =>
    (container.ports ?? [])
      .filter((port) => (port.hostPort ?? 0) > 0)
      .map((port) => ({ ip: port.hostIP || '0.0.0.0', protocol: port.protocol ?? 'TCP', port: port.hostPort! })),
  );
}

/** What a container without requests counts for when nodes are compared (upstream's non-zero requests). */
const assumedCpuMilli = 100;
const assumedMemoryBytes = 200 * 1024 * 1024;

/** cpu (thousandths) and memory (bytes) that a pod probably uses: for scores, never for filters. */
export function probableUse(pod: Pod, requests: Resources): { cpu: number; memory: number } {
  const containers = pod.spec?.containers ?? [];
  const without = (name: string): number =>
    pod.spec?.resources?.requests?.[name] !== undefined
      ? 0
      : containers.filter((container) => container.resources?.requests?.[name] === undefined).length;
  return {
    cpu: (requests.get('cpu') ?? 0) + without('cpu') * assumedCpuMilli,
    memory: (requests.get('memory') ?? 0) + without('memory') * assumedMemoryBytes,
  };
}

/** Whether a pod says where it wants to be in relation to other pods. */
function hasPodAffinity(pod: Pod): boolean {
  return pod.spec?.affinity?.podAffinity !== undefined || pod.spec?.affinity?.podAntiAffinity !== undefined;
}

const podKey = (pod: Pod): string => `${pod.metadata.namespace}/${pod.metadata.name}`;

/** A node with what runs on it, kept up to date pod by pod. */
export class NodeInfo {
  node: Node;
  readonly #allocatable = new Map<string, number>();
  readonly #requested = new Map<string, number>();
  readonly #pods = new Map<
    string,
    { pod: Pod; requests: Resources; ports: HostPort[]; use: { cpu: number; memory: number } }
  >();
  readonly #withAffinity = new Map<string, Pod>();
  readonly #use = { cpu: 0, memory: 0 };

  constructor(node: Node) {
    this.node = node;
    this.setNode(node);
  }

  get name(): string {
    return this.node.metadata.name!;
  }
  get podCount(): number {
    return this.#pods.size;
  }

  /** Labels of the node. */
  get labels(): Readonly<Record<string, string>> {
    return this.node.metadata.labels ?? {};
  }
  /** Pods on the node, assumed ones included. */
  *pods(): Generator<Pod> {
    for (const { pod } of this.#pods.values()) yield pod;
  }
  /** Those of them that have inter-pod affinity or anti-affinity. */
  get podsWithAffinity(): Iterable<Pod> {
    return this.#withAffinity.values();
  }
  get hasPodsWithAffinity(): boolean {
    return this.#withAffinity.size > 0;
  }
  /** What the pods probably use of a resource. */
  probable(resource: 'cpu' | 'memory'): number {
    return this.#use[resource];
  }

  setNode(node: Node): void {
    this.node = node;
    this.#allocatable.clear();
    for (const [name, quantity] of Object.entries(node.status?.allocatable ?? {}))
      this.#allocatable.set(name, amount(name, quantity as string));
  }

  allocatable(resource: string): number {
    return this.#allocatable.get(resource) ?? 0;
  }
  requested(resource: string): number {
    return this.#requested.get(resource) ?? 0;
  }

  /** Counts a pod in; one that is there already is replaced. */
  addPod(pod: Pod): void {
    this.removePod(pod);
    const requests = podRequests(pod);
    const use = probableUse(pod, requests);
    this.#pods.set(podKey(pod), { pod, requests, ports: hostPorts(pod), use });
    if (hasPodAffinity(pod)) this.#withAffinity.set(podKey(pod), pod);
    this.#use.cpu += use.cpu;
    this.#use.memory += use.memory;
    for (const [name, value] of requests) this.#requested.set(name, this.requested(name) + value);
  }

  removePod(pod: Pod): void {
    const entry = this.#pods.get(podKey(pod));
    if (!entry) return;
    this.#pods.delete(podKey(pod));
    this.#withAffinity.delete(podKey(pod));
    this.#use.cpu -= entry.use.cpu;
    this.#use.memory -= entry.use.memory;
    for (const [name, value] of entry.requests) this.#requested.set(name, this.requested(name) - value);
  }

  portTaken(wanted: HostPort): boolean {
    for (const { ports } of this.#pods.values())
      for (const port of ports)
        if (
          port.port === wanted.port &&
          port.protocol === wanted.protocol &&
          (port.ip === '0.0.0.0' || wanted.ip === '0.0.0.0' || port.ip === wanted.ip)
        )
          return true;
    return false;
  }
}
