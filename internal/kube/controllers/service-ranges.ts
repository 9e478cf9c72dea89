import { cidrContains, isIPv4, parseCidr } from '../../config/cidr.ts';
import type { KubeObject, ResourceRef } from '../client/api.ts';
import { objectKey, splitKey } from '../client/informer.ts';
import { servicesRef } from '../client/resources.ts';
import { isStatus } from '../machinery/status.ts';
import { formatTime, parseTime } from '../machinery/time.ts';
import type { ControllerContext } from './context.ts';
import { unlessGone } from './unless-gone.ts';

const addressesRef: ResourceRef = { group: 'networking.k8s.io', version: 'v1', resource: 'ipaddresses' };
const rangesRef: ResourceRef = { group: 'networking.k8s.io', version: 'v1', resource: 'servicecidrs' };

interface ServiceObject extends KubeObject {
  spec?: { clusterIP?: string; clusterIPs?: string[] };
}
interface AddressObject extends KubeObject {
  spec: { parentRef: { group?: string; resource: string; namespace?: string; name: string } };
}
interface Condition {
  type: string;
  status: string;
  reason: string;
  message: string;
  lastTransitionTime: string;
}
interface RangeObject extends KubeObject {
  spec: { cidrs?: string[] };
  status?: { conditions?: Condition[] };
}

const managedBy = 'ipaddress.kubernetes.io/managed-by';
const finalizer = 'networking.k8s.io/service-cidr-finalizer';
/** An address whose Service is not to be seen may be of one that is being made. */
const orphanMs = 60_000;

/** A range stays this long after its deletion: allocators on every server must have seen it (upstream's deletionGracePeriod). */
const deletionGraceMs = 10_000;

/** The addresses that a Service has. */
export function addressesOf(service: ServiceObject): string[] {
  const { clusterIP, clusterIPs = [] } = service.spec ?? {};
  return [...new Set([...(clusterIP === undefined ? [] : [clusterIP]), ...clusterIPs])].filter(isIPv4);
}

/** Whether an address is in the range and in no other that stays. */
function stillNeeded(range: RangeObject, addresses: readonly AddressObject[], ranges: readonly RangeObject[]): boolean {
  const cidrsOf = (one: RangeObject): ReturnType<typeof parseCidr>[] =>
    (one.spec.cidrs ?? []).filter((cidr) => isIPv4(cidr.split('/')[0]!)).map(parseCidr);
  const own = cidrsOf(range);
  const others = ranges
    .filter(({ metadata }) => metadata.name !== range.metadata.name && metadata.deletionTimestamp === undefined)
    .flatMap(cidrsOf);
  return addresses
    .map((address) => address.metadata.name)
    .filter(isIPv4)
    .some((ip) => own.some((cidr) => cidrContains(cidr, ip)) && !others.some((cidr) => cidrContains(cidr, ip)));
}

/**
 * Repairs IPAddresses: each address of a Service has its object, and none of the allocator's is of a Service that does not have it. ServiceCIDRs become ready
 * and, when they are deleted, stay until no address in them needs them (upstream's repair loop and its service-cidr controller, KEP-1880).
 */
export function serviceRangesController(context: ControllerContext): void {
  const { client, clock } = context;
  const services = context.informers.of<ServiceObject>(servicesRef);
  const addresses = context.informers.of<AddressObject>(addressesRef);
  const ranges = context.informers.of<RangeObject>(rangesRef);
  const repair = context.queue('ip-addresses', repairOne);
  const ready = context.queue('service-cidrs', reconcileRange);
  services.index('ip', addressesOf);
  const ofService = (service: ServiceObject): void => addressesOf(service).forEach((ip) => void repair.add(ip));
  services.handle({
    onAdd: ofService,
    onUpdate: (service, before) => {
      if (addressesOf(service).join() === addressesOf(before).join()) return;
      ofService(service);
      ofService(before);
    },
    onDelete: ofService,
  });
  const ofAddress = (address: AddressObject): void => {
    repair.add(address.metadata.name);
    for (const range of ranges.list()) if (range.metadata.deletionTimestamp) ready.add(range.metadata.name);
  };
  addresses.handle({ onAdd: ofAddress, onUpdate: ofAddress, onDelete: ofAddress });
  const ofRange = (range: RangeObject): void => {
    for (const { metadata } of ranges.list()) ready.add(metadata.name);
    ready.add(range.metadata.name);
  };
  ranges.handle({ onAdd: ofRange, onUpdate: ofRange, onDelete: ofRange });

  async function repairOne(ip: string): Promise<void> {
    const address = addresses.get(ip);
    const owner = services.by('ip', ip)[0];
    if (address === undefined) {
      // The caches may be behind: what the Service has is read before its object is made.
      const live = owner && (await read<ServiceObject>(servicesRef, objectKey(owner)));
      if (live && addressesOf(live).includes(ip)) await make(ip, live);
      return;
    }
    const { parentRef } = address.spec;
    if (parentRef.resource !== 'services' || (parentRef.group ?? '') !== '') return;
    const named = `${parentRef.namespace ?? ''}/${parentRef.name}`;
    const held = services.get(named);
    if (held && addressesOf(held).includes(ip)) return;
    if (address.metadata.labels?.[managedBy] !== 'ipallocator.k8s.io') return;
    const age = clock.now() - (parseTime(address.metadata.creationTimestamp ?? '') ?? 0);
    if (age < orphanMs) {
      repair.addAfter(ip, orphanMs - age);
      return;
    }
    const live = await read<ServiceObject>(servicesRef, named);
    if (live && addressesOf(live).includes(ip)) return;
    const { uid } = address.metadata;
    await unlessGone(client.delete(addressesRef, ip, undefined, uid === undefined ? {} : { preconditions: { uid } }), {
      orReplaced: true,
    });
  }

  function read<T extends KubeObject>(resource: ResourceRef, key: string): Promise<T | undefined> {
    const { namespace, name } = splitKey(key);
    return unlessGone(client.get<T>(resource, name, namespace));
  }

  async function make(ip: string, service: ServiceObject): Promise<void> {
    const { name, namespace } = service.metadata;
    try {
      await client.create<AddressObject>(addressesRef, {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'IPAddress',
        metadata: {
          name: ip,
          labels: { 'ipaddress.kubernetes.io/ip-family': 'IPv4', [managedBy]: 'ipallocator.k8s.io' },
        },
        spec: { parentRef: { resource: 'services', name, ...(namespace === undefined ? {} : { namespace }) } },
      });
    } catch (error) {
      if (!isStatus(error, 'AlreadyExists')) throw error;
    }
  }

  async function reconcileRange(name: string): Promise<void> {
    const range = ranges.get(name);
    if (range === undefined) return;
    const { deletionTimestamp, finalizers = [] } = range.metadata;
    if (deletionTimestamp === undefined) {
      if (!finalizers.includes(finalizer)) {
        const metadata = { ...range.metadata, finalizers: [...finalizers, finalizer] };
        await unlessGone(client.update<RangeObject>(rangesRef, { ...range, metadata }));
        return;
      }
      await tell(range, 'True', '', `Kubernetes ${name === 'kubernetes' ? 'default ' : ''}Service CIDR is ready`);
      return;
    }
    if (!finalizers.includes(finalizer)) return;
    const age = clock.now() - (parseTime(deletionTimestamp) ?? 0);
    const needed = stillNeeded(range, addresses.list(), ranges.list());
    if (!needed && age < deletionGraceMs) {
      ready.addAfter(name, deletionGraceMs - age);
      return;
    }
    // A cache that is behind does not show the last Service that was made.
    if (needed || (await stillNeededNow(range))) {
      await tell(
        range,
        'False',
        'Terminating',
        'There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR',
      );
      return;
    }
    const metadata = { ...range.metadata, finalizers: finalizers.filter((one) => one !== finalizer) };
    await unlessGone(client.update<RangeObject>(rangesRef, { ...range, metadata }));
  }

  async function stillNeededNow(range: RangeObject): Promise<boolean> {
    const live = await client.list<AddressObject>(addressesRef);
    return stillNeeded(range, live.items, (await client.list<RangeObject>(rangesRef)).items);
  }

  async function tell(range: RangeObject, status: string, reason: string, message: string): Promise<void> {
    const conditions = range.status?.conditions ?? [];
    const have = conditions.find((one) => one.type === 'Ready');
    if (have?.status === status && have.reason === reason) return;
    const at = formatTime(clock.now());
    const next: Condition = { type: 'Ready', status, reason, message, lastTransitionTime: at };
    const others = conditions.filter((one) => one.type !== 'Ready');
    const body = { ...range, status: { ...range.status, conditions: [...others, next] } };
    await unlessGone(client.update<RangeObject>(rangesRef, body, { subresource: 'status' }));
  }
}
