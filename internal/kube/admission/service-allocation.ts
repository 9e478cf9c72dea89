import { utf8, utf8Text } from '../../base/bytes.ts';
import type { Random } from '../../base/random.ts';
import { type Cidr, cidrAddress, ipv4Number, isIPv4 } from '../../config/cidr.ts';
import type { Compare, RequestOp, Store } from '../../store/api.ts';
import type { KindInfo } from '../api/kinds.ts';
import { getPath, isObject, type JsonObject, jsonEqual } from '../machinery/json.ts';
import { internalError, invalid, type StatusError } from '../machinery/status.ts';
import type { AdmissionPlugin } from './types.ts';

/**
 * Cluster IPs and node ports of Services. Each that is taken is one key of the store, written in the transaction that writes the Service: after
 * a crash both are there or neither. What is taken is decided by the transaction's comparison, so no memory can be wrong. An IP is also an IPAddress object
 * (KEP-1880), written and removed with it; one that somebody else made keeps its IP from Services.
 */
const ipPrefix = '/registry/ranges/serviceips/';
const portPrefix = '/registry/ranges/servicenodeports/';

/** What a write does beside the object; see `SideEffects` of the registry. */
export interface Allocation {
  readonly compare: Compare[];
  readonly ops: RequestOp[];
}

interface Taken {
  readonly ips: Set<string>;
  readonly ports: Set<number>;
}

const typeOf = (spec: JsonObject): string => (typeof spec.type === 'string' ? spec.type : 'ClusterIP');
const specOf = (service: JsonObject | undefined): JsonObject => (isObject(service?.spec) ? service.spec : {});
const portsOf = (spec: JsonObject): JsonObject[] => (Array.isArray(spec.ports) ? spec.ports.filter(isObject) : []);

function needsClusterIp(spec: JsonObject): boolean {
  return typeOf(spec) !== 'ExternalName' && spec.clusterIP !== 'None';
}

function needsNodePort(spec: JsonObject): boolean {
  const type = typeOf(spec);
  return type === 'NodePort' || (type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false);
}

function needsHealthPort(spec: JsonObject): boolean {
  return typeOf(spec) === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local';
}

/** Everything that a Service holds. */
function taken(spec: JsonObject): Taken {
  const ips = new Set<string>();
  const ports = new Set<number>();
  const list = Array.isArray(spec.clusterIPs) ? spec.clusterIPs : [];
  for (const ip of [spec.clusterIP, ...list]) if (typeof ip === 'string' && isIPv4(ip)) ips.add(ip);
  for (const port of portsOf(spec))
    if (typeof port.nodePort === 'number' && port.nodePort > 0) ports.add(port.nodePort);
  if (typeof spec.healthCheckNodePort === 'number' && spec.healthCheckNodePort > 0) ports.add(spec.healthCheckNodePort);
  return { ips, ports };
}

/** Whether a Service can have an address of a range: not its first nor its last. */
function usable(range: Cidr, ip: string): boolean {
  const at = ipv4Number(ip) - range.base;
  return at > 0 && at < range.size - 1;
}

function refuse(service: JsonObject, field: string, detail: string): StatusError {
  return invalid('', 'Service', String(getPath(service, 'metadata', 'name') ?? ''), [
    { type: 'FieldValueInvalid', field, detail },
  ]);
}

/** IPAddress objects, as they lie in the store. */
export interface AddressObjects {
  readonly prefix: string;
  /** The bytes of a new object for the address of a Service. */
  encode(ip: string, namespace: string, name: string): Uint8Array;
}

export interface AllocationOptions {
  readonly store: Store;
  /** The range that the cluster was made with. */
  readonly serviceCidr: Cidr;
  /** Ranges that are ready for use beyond it (ServiceCIDR objects). */
  moreRanges(): Promise<readonly Cidr[]>;
  readonly addresses: AddressObjects | undefined;
  readonly nodePorts: readonly [number, number];
  readonly random: Random;
}

export class ServiceAllocation {
  readonly #store: Store;
  readonly #cidr: Cidr;
  readonly #moreRanges: AllocationOptions['moreRanges'];
  readonly #addresses: AddressObjects | undefined;
  readonly #ports: readonly [number, number];
  readonly #random: Random;

  constructor(options: AllocationOptions) {
    this.#store = options.store;
    this.#cidr = options.serviceCidr;
    this.#moreRanges = options.moreRanges;
    this.#addresses = options.addresses;
    this.#ports = options.nodePorts;
    this.#random = options.random;
  }

  concerns(kind: KindInfo): boolean {
    return kind.group === '' && kind.plural === 'services';
  }

  /**
   * Fills cluster IPs and node ports into `service` and gives the keys to take and to free. Throws 422 for what cannot be had. The write fails
   * with SideConflict when another writer was faster: call again with a fresh copy.
   */
  async allocate(service: JsonObject, old: JsonObject | undefined): Promise<Allocation> {
    const spec = specOf(service);
    const before = taken(specOf(old));
    await this.#fillClusterIps(service, spec, before);
    await this.#fillNodePorts(service, spec, before);
    const after = taken(spec);
    const namespace = String(getPath(service, 'metadata', 'namespace'));
    const name = String(getPath(service, 'metadata', 'name'));
    const owner = utf8(`${namespace}/${name}`);
    const allocation: Allocation = { compare: [], ops: [] };
    const take = (key: string, value = owner): void => {
      allocation.compare.push({ key: utf8(key), target: 'create', result: 'equal', value: 0 });
      allocation.ops.push({ op: 'put', request: { key: utf8(key), value } });
    };
    const free = (key: string): void => void allocation.ops.push({ op: 'delete', request: { key: utf8(key) } });
    for (const ip of after.ips) {
      if (before.ips.has(ip)) continue;
      take(ipPrefix + ip);
      if (this.#addresses) take(this.#addresses.prefix + ip, this.#addresses.encode(ip, namespace, name));
    }
    for (const port of after.ports) if (!before.ports.has(port)) take(portPrefix + port);
    for (const ip of before.ips) if (!after.ips.has(ip)) for (const key of this.#keysOf(ip)) free(key);
    for (const port of before.ports) if (!after.ports.has(port)) free(portPrefix + port);
    return allocation;
  }

  /** Frees what a Service holds, in the transaction that removes it. */
  release(service: JsonObject): Allocation {
    const { ips, ports } = taken(specOf(service));
    const keys = [...[...ips].flatMap((ip) => this.#keysOf(ip)), ...[...ports].map((port) => portPrefix + port)];
    return { compare: [], ops: keys.map((key) => ({ op: 'delete', request: { key: utf8(key) } })) };
  }

  #keysOf(ip: string): string[] {
    return [ipPrefix + ip, ...(this.#addresses ? [this.#addresses.prefix + ip] : [])];
  }

  async #taken(ip: string): Promise<boolean> {
    for (const key of this.#keysOf(ip)) if (await this.#exists(key)) return true;
    return false;
  }

  exhausted(service: JsonObject): StatusError {
    return internalError(
      `failed to allocate an address or port for service ${String(getPath(service, 'metadata', 'name'))}: too many writers at once`,
    );
  }

  async #fillClusterIps(service: JsonObject, spec: JsonObject, before: Taken): Promise<void> {
    if (!needsClusterIp(spec)) {
      if (typeOf(spec) === 'ExternalName') {
        delete spec.clusterIP;
        delete spec.clusterIPs;
      } else spec.clusterIPs = ['None'];
      return;
    }
    const list = Array.isArray(spec.clusterIPs) ? spec.clusterIPs : [];
    let ip = typeof spec.clusterIP === 'string' ? spec.clusterIP : '';
    if (ip === '' && typeof list[0] === 'string') ip = list[0];
    const field = 'spec.clusterIPs';
    const bad = (why: string): StatusError => refuse(service, field, `Invalid value: ${JSON.stringify([ip])}: ${why}`);
    if (ip === '') ip = await this.#freeIp();
    else if (!before.ips.has(ip)) {
      if (!isIPv4(ip)) throw bad('must be a valid IPv4 address');
      const ranges = [this.#cidr, ...(usable(this.#cidr, ip) ? [] : await this.#moreRanges())];
      if (!ranges.some((range) => usable(range, ip)))
        throw bad(
          `failed to allocate IP ${ip}: the provided IP (${ip}) is not in the valid range. The range of valid IPs is ${ranges.map((range) => `${cidrAddress(range, 0)}/${range.prefix}`).join(',')}`,
        );
      if (await this.#taken(ip)) throw bad(`failed to allocate IP ${ip}: provided IP is already allocated`);
    }
    spec.clusterIP = ip;
    spec.clusterIPs = [ip, ...list.slice(1)];
  }

  async #fillNodePorts(service: JsonObject, spec: JsonObject, before: Taken): Promise<void> {
    const ports = portsOf(spec);
    const fresh = new Set<number>();
    if (needsNodePort(spec)) {
      // One number may serve the same port on TCP and UDP.
      const shared = new Map<unknown, { nodePort: number; protocols: Set<unknown> }>();
      for (let i = 0; i < ports.length; i++) {
        const port = ports[i]!;
        const protocol = port.protocol ?? 'TCP';
        const wanted = typeof port.nodePort === 'number' ? port.nodePort : 0;
        const other = shared.get(port.port);
        if (wanted > 0) await this.#checkPort(service, `spec.ports[${i}].nodePort`, wanted, before, fresh);
        else if (other !== undefined && !other.protocols.has(protocol)) port.nodePort = other.nodePort;
        else port.nodePort = await this.#freePort(before, fresh);
        const number = port.nodePort as number;
        fresh.add(number);
        const entry = shared.get(port.port);
        if (entry === undefined) shared.set(port.port, { nodePort: number, protocols: new Set([protocol]) });
        else entry.protocols.add(protocol);
      }
    } else if (typeOf(spec) !== 'LoadBalancer') {
      for (const port of ports) delete port.nodePort;
    }
    if (!needsHealthPort(spec)) {
      delete spec.healthCheckNodePort;
      return;
    }
    const wanted = spec.healthCheckNodePort;
    if (typeof wanted === 'number' && wanted > 0)
      await this.#checkPort(service, 'spec.healthCheckNodePort', wanted, before, fresh);
    else spec.healthCheckNodePort = await this.#freePort(before, fresh);
  }

  async #checkPort(service: JsonObject, field: string, port: number, before: Taken, fresh: Set<number>): Promise<void> {
    if (before.ports.has(port) || fresh.has(port)) return;
    const [low, high] = this.#ports;
    if (port < low || port > high)
      throw refuse(
        service,
        field,
        `Invalid value: ${port}: provided port is not in the valid range. The range of valid ports is ${low}-${high}`,
      );
    if (await this.#exists(portPrefix + port))
      throw refuse(service, field, `Invalid value: ${port}: provided port is already allocated`);
  }

  async #exists(key: string): Promise<boolean> {
    return (await this.#store.range({ key: utf8(key), keysOnly: true })).kvs.length > 0;
  }

  async #all(prefix: string): Promise<Set<string>> {
    const end = utf8(prefix);
    end[end.length - 1] = 0x30;
    const { kvs } = await this.#store.range({ key: utf8(prefix), rangeEnd: end, keysOnly: true });
    return new Set(kvs.map((kv) => utf8Text(kv.key).slice(prefix.length)));
  }

  /** The low part of the range is left to those who choose an address themselves (KEP-3070). */
  #staticBand(size: number): number {
    return Math.min(Math.max(16, Math.floor(size / 16)), 256, Math.max(0, size - 2));
  }

  async #freeIp(): Promise<string> {
    const first = await this.#freeIn(this.#cidr);
    if (first !== undefined) return first;
    for (const range of await this.#moreRanges()) {
      const ip = await this.#freeIn(range);
      if (ip !== undefined) return ip;
    }
    throw internalError('failed to allocate a serviceIP: range is full');
  }

  async #freeIn(range: Cidr): Promise<string | undefined> {
    const { size } = range;
    const low = size > 32 ? this.#staticBand(size) : 1;
    for (let i = 0; i < 8 && size > 2; i++) {
      const ip = cidrAddress(range, low + (this.#random.uint32() % Math.max(1, size - 1 - low)));
      if (!(await this.#taken(ip))) return ip;
    }
    const used = await this.#all(ipPrefix);
    if (this.#addresses) for (const ip of await this.#all(this.#addresses.prefix)) used.add(ip);
    for (let n = 0; n < size - 2; n++) {
      const at = ((low - 1 + n) % (size - 2)) + 1;
      const ip = cidrAddress(range, at);
      if (!used.has(ip)) return ip;
    }
    return undefined;
  }

  async #freePort(before: Taken, fresh: Set<number>): Promise<number> {
    const [low, high] = this.#ports;
    const size = high - low + 1;
    const band = size > 32 ? Math.min(Math.max(16, Math.floor(size / 32)), 128) : 0;
    const free = (port: number): boolean => !before.ports.has(port) && !fresh.has(port);
    for (let i = 0; i < 8; i++) {
      const port = low + band + (this.#random.uint32() % (size - band));
      if (free(port) && !(await this.#exists(portPrefix + port))) return port;
    }
    const used = await this.#all(portPrefix);
    for (let n = 0; n < size; n++) {
      const port = low + ((band + n) % size);
      if (free(port) && !used.has(String(port))) return port;
    }
    throw internalError('failed to allocate a nodePort: range is full');
  }
}

/**
 * Service: IP families of a single-stack IPv4 cluster on create; on update, what the client left out is carried over from the stored Service, so
 * that `kubectl apply` and PUT of an older manifest keep the addresses.
 */
export const serviceDefaults: AdmissionPlugin = {
  name: 'Service',
  admit(request) {
    if (request.kind.group !== '' || request.kind.plural !== 'services' || request.subresource !== '') return;
    if (request.object === undefined) return;
    const spec = specOf(request.object);
    if (request.operation === 'UPDATE') {
      carryOver(spec, specOf(request.old));
      dropOfOldType(spec, specOf(request.old));
    }
    if (request.operation === 'CREATE' || request.operation === 'UPDATE') fillFamilies(spec);
  },
};

function fillFamilies(spec: JsonObject): void {
  if (typeOf(spec) === 'ExternalName') {
    delete spec.ipFamilies;
    delete spec.ipFamilyPolicy;
    return;
  }
  const families = Array.isArray(spec.ipFamilies) ? spec.ipFamilies : [];
  const selector = isObject(spec.selector) && Object.keys(spec.selector).length > 0;
  if (spec.clusterIP === 'None' && !selector && spec.ipFamilyPolicy === undefined && families.length === 0) {
    // Somebody else writes the endpoints of such a Service: they may be of any family, also here.
    spec.ipFamilyPolicy = 'RequireDualStack';
    spec.ipFamilies = ['IPv4', 'IPv6'];
    return;
  }
  spec.ipFamilyPolicy ??= families.length > 1 ? 'RequireDualStack' : 'SingleStack';
  if (families.length === 0) spec.ipFamilies = ['IPv4'];
}

function carryOver(spec: JsonObject, old: JsonObject): void {
  if (needsClusterIp(spec) && needsClusterIp(old)) {
    if (spec.clusterIP === undefined || spec.clusterIP === '') {
      if (old.clusterIP !== undefined) spec.clusterIP = old.clusterIP;
    }
    if (!Array.isArray(spec.clusterIPs) || spec.clusterIPs.length === 0) {
      if (old.clusterIPs !== undefined) spec.clusterIPs = old.clusterIPs;
    }
  }
  if (spec.ipFamilyPolicy === undefined && old.ipFamilyPolicy !== undefined) spec.ipFamilyPolicy = old.ipFamilyPolicy;
  if (spec.ipFamilies === undefined && old.ipFamilies !== undefined) spec.ipFamilies = old.ipFamilies;
  if (needsNodePort(spec) && needsNodePort(old)) {
    const known = new Map(
      portsOf(old).map((port) => [`${String(port.protocol ?? 'TCP')}/${String(port.port)}`, port.nodePort]),
    );
    const used = new Set(portsOf(spec).map((port) => port.nodePort));
    for (const port of portsOf(spec)) {
      if (typeof port.nodePort === 'number' && port.nodePort > 0) continue;
      const nodePort = known.get(`${String(port.protocol ?? 'TCP')}/${String(port.port)}`);
      if (nodePort !== undefined && !used.has(nodePort)) port.nodePort = nodePort;
    }
  }
  if (
    needsHealthPort(spec) &&
    needsHealthPort(old) &&
    spec.healthCheckNodePort === undefined &&
    old.healthCheckNodePort !== undefined
  )
    spec.healthCheckNodePort = old.healthCheckNodePort;
}

/** A change of type takes along what only the old type has, where the client did not change it itself. */
function dropOfOldType(spec: JsonObject, old: JsonObject): void {
  const unchanged = (key: string): boolean => jsonEqual(spec[key], old[key]);
  if (typeOf(old) !== 'ExternalName' && typeOf(spec) === 'ExternalName') {
    for (const key of ['clusterIP', 'clusterIPs', 'ipFamilies', 'ipFamilyPolicy']) if (unchanged(key)) delete spec[key];
  }
  if (needsNodePort(old) && !needsNodePort(spec)) {
    const numbers = (of: JsonObject): unknown[] => portsOf(of).map((port) => port.nodePort ?? 0);
    if (jsonEqual(numbers(spec), numbers(old))) for (const port of portsOf(spec)) delete port.nodePort;
  }
  if (needsHealthPort(old) && !needsHealthPort(spec) && unchanged('healthCheckNodePort'))
    delete spec.healthCheckNodePort;
  if (typeOf(old) === 'LoadBalancer' && typeOf(spec) !== 'LoadBalancer') {
    for (const key of ['allocateLoadBalancerNodePorts', 'loadBalancerClass']) if (unchanged(key)) delete spec[key];
  }
  const external = (of: JsonObject): boolean => ['NodePort', 'LoadBalancer'].includes(typeOf(of));
  if (external(old) && !external(spec) && unchanged('externalTrafficPolicy')) delete spec.externalTrafficPolicy;
}
