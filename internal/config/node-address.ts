/** Which of a machine's addresses a node takes when its configuration names none. */

export interface MachineInterface {
  readonly name: string;
  /** IPv4, without loopback, in the system's order. */
  readonly addresses: readonly string[];
}

/** The interface of the default route; undefined without one. `table` is /proc/net/route: hexadecimal, little-endian. */
export function routeInterface(table: string): string | undefined {
  for (const line of table.split('\n').slice(1)) {
    const fields = line.split('\t');
    if (fields[1] === '00000000' && fields[7] === '00000000') return fields[0];
  }
  return undefined;
}

/** What a node makes for its pods (`bridgeName`, `tunnelName` of the kubelet): no other machine reaches it there. */
const made = /^(cni|vxlan)-[0-9a-f]{8}$/;

/**
 * The address that the running node has had so far, for as long as the machine has it: a route or an interface that comes and goes does not move a node. Else that of the interface with
 * the default route, else the first that is not the node's own making, else loopback.
 */
export function nodeAddress(
  interfaces: readonly MachineInterface[],
  routes: string,
  runsAt: string | undefined,
): string {
  const others = interfaces.filter(({ name }) => !made.test(name));
  if (runsAt !== undefined && others.some(({ addresses }) => addresses.includes(runsAt))) return runsAt;
  const preferred = others.find(({ name, addresses }) => name === routeInterface(routes) && addresses.length > 0);
  return (preferred ?? others.find(({ addresses }) => addresses.length > 0))?.addresses[0] ?? '127.0.0.1';
}
