import { isIPv4 } from '../../../config/cidr.ts';
import type { EndpointSlice, Service } from '../../api/types.ts';
import { serviceNameLabel } from '../service-rules.ts';

/** A record of the cluster's zone, without its owner's name. */
export type ZoneRecord =
  | { readonly type: 'A'; readonly data: string }
  | { readonly type: 'AAAA'; readonly data: string }
  | { readonly type: 'CNAME'; readonly data: string }
  | { readonly type: 'PTR'; readonly data: string }
  | {
      readonly type: 'SRV';
      readonly data: {
        readonly priority: number;
        readonly weight: number;
        readonly port: number;
        readonly target: string;
      };
    };

/**
 * What the cluster's DNS knows, by lower-case name without the last dot (Kubernetes DNS-Based Service Discovery, version 1.1.0). Names that
 * only have others below them are in it with no records, so that they are answered with "no data" instead of "no such name".
 */
export type Zone = Map<string, ZoneRecord[]>;

function add(zone: Zone, name: string, record: ZoneRecord, root: string): void {
  let list = zone.get(name);
  if (!list) {
    list = [];
    zone.set(name, list);
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      const parent = name.slice(dot + 1);
      if (parent.length < root.length || zone.has(parent)) break;
      zone.set(parent, []);
    }
  }
  list.push(record);
}

/** The name under which an address is looked up backwards (RFC 1035, 3.5); undefined for what is no IPv4 address. */
export function reverseName(ip: string): string | undefined {
  return isIPv4(ip) ? `${ip.split('.').reverse().join('.')}.in-addr.arpa` : undefined;
}

const addressRecord = (ip: string): ZoneRecord => ({ type: ip.includes(':') ? 'AAAA' : 'A', data: ip });

/** The whole zone of `domain` from the cluster's services and endpoint slices. */
export function buildZone(services: readonly Service[], slices: readonly EndpointSlice[], domain: string): Zone {
  const zone: Zone = new Map();
  for (const name of [domain, `svc.${domain}`, `pod.${domain}`]) zone.set(name, []);
  const byService = new Map<string, EndpointSlice[]>();
  for (const slice of slices) {
    const name = slice.metadata.labels?.[serviceNameLabel];
    if (!name || slice.addressType === 'FQDN') continue;
    const key = `${slice.metadata.namespace ?? ''}/${name}`;
    const list = byService.get(key);
    if (list) list.push(slice);
    else byService.set(key, [slice]);
  }
  for (const service of services) {
    const namespace = service.metadata.namespace ?? '';
    const name = service.metadata.name ?? '';
    const { spec } = service;
    if (!spec) continue;
    const owner = `${name}.${namespace}.svc.${domain}`;
    if (spec.type === 'ExternalName') {
      const target = (spec.externalName ?? '').replace(/\.$/, '');
      if (target !== '')
        add(zone, owner, isIPv4(target) ? addressRecord(target) : { type: 'CNAME', data: target }, domain);
      continue;
    }
    if (spec.clusterIP === 'None') {
      addHeadless(
        zone,
        owner,
        byService.get(`${namespace}/${name}`) ?? [],
        domain,
        spec.publishNotReadyAddresses === true,
      );
      continue;
    }
    for (const ip of spec.clusterIPs ?? (spec.clusterIP ? [spec.clusterIP] : [])) {
      add(zone, owner, addressRecord(ip), domain);
      const back = reverseName(ip);
      if (back) add(zone, back, { type: 'PTR', data: owner }, back);
    }
    for (const port of spec.ports ?? []) {
      if (!port.name) continue;
      const srv = `_${port.name}._${(port.protocol ?? 'TCP').toLowerCase()}.${owner}`;
      add(zone, srv, { type: 'SRV', data: { priority: 0, weight: 100, port: port.port, target: owner } }, domain);
    }
  }
  return zone;
}

function addHeadless(
  zone: Zone,
  owner: string,
  slices: readonly EndpointSlice[],
  domain: string,
  unready: boolean,
): void {
  const seen = new Set<string>();
  for (const slice of slices) {
    for (const endpoint of slice.endpoints ?? []) {
      if (endpoint.conditions?.ready === false && !unready) continue;
      for (const ip of endpoint.addresses) {
        const label = endpoint.hostname || ip.replaceAll(/[.:]/g, '-');
        const host = `${label}.${owner}`;
        if (!seen.has(ip)) {
          seen.add(ip);
          add(zone, owner, addressRecord(ip), domain);
          add(zone, host, addressRecord(ip), domain);
          const back = reverseName(ip);
          if (back && endpoint.hostname) add(zone, back, { type: 'PTR', data: host }, back);
        }
        for (const port of slice.ports ?? []) {
          if (!port.name || !port.port) continue;
          const srv = `_${port.name}._${(port.protocol ?? 'TCP').toLowerCase()}.${owner}`;
          const key = `${srv} ${host} ${port.port}`;
          if (seen.has(key)) continue;
          seen.add(key);
          add(zone, srv, { type: 'SRV', data: { priority: 0, weight: 100, port: port.port, target: host } }, domain);
        }
      }
    }
  }
}
