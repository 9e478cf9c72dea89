import type { Container, Node, Pod } from '../api/types.ts';
import { parseQuantity, quantityMilli, quantityValue } from '../machinery/quantity.ts';

/** Amounts by resource name; cpu in thousandths, all others in units. */
export type Resources = ReadonlyMap<string, number>;

function amount(resource: string, quantity: string | number): number {
  const parsed = parseQuantity(quantity);
  return resource === 'cpu' ? quantityMilli(parsed) : quantityValue(parsed);
}

function requestsOf(container: Container): [string, number][] {
  return Object.entries(container.resources?.requests ?? {}).map(([name, quantity]) => [
    name,
    amount(name, quantity as string),
  ]);
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
  for (const container of pod.spec?.containers ?? []) add(total, requestsOf(container));
  const sidecars = new Map<string, number>();
  const init = new Map<string, number>();
  for (const container of pod.spec?.initContainers ?? []) {
    const own = requestsOf(container);
    const during = new Map(sidecars);
    add(during, own);
    if (container.restartPolicy === 'Always') add(sidecars, own);
    for (const [name, value] of during) init.set(name, Math.max(init.get(name) ?? 0, value));
  }
  add(total, sidecars);
  for (const [name, value] of init) total.set(name, Math.max(total.get(name) ?? 0, value));
  add(
    total,
    Object.entries(pod.spec?.overhead ?? {}).map(([name, quantity]) => [name, amount(name, quantity as string)]),
  );
  return total;
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

const podKey = (pod: Pod): string => `${pod.metadata.namespace}/${pod.metadata.name}`;

/** A node with what runs on it, kept up to date pod by pod. */
export class NodeInfo {
  node: Node;
  readonly #allocatable = new Map<string, number>();
  readonly #requested = new Map<string, number>();
  readonly #pods = new Map<string, { pod: Pod; requests: Resources; ports: HostPort[] }>();

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
    this.#pods.set(podKey(pod), { pod, requests, ports: hostPorts(pod) });
    for (const [name, value] of requests) this.#requested.set(name, this.requested(name) + value);
  }

  removePod(pod: Pod): void {
    const entry = this.#pods.get(podKey(pod));
    if (!entry) return;
    this.#pods.delete(podKey(pod));
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
