/** Addresses of Services as objects: how IPAddresses are made beside them, and which ServiceCIDRs are ready (KEP-1880). */
import { type Random, uuid } from '../../base/random.ts';
import { type Cidr, isIPv4, parseCidr } from '../../config/cidr.ts';
import type { AddressObjects } from '../admission/service-allocation.ts';
import type { KindInfo } from '../api/kinds.ts';
import { getPath, isObject, type JsonObject } from '../machinery/json.ts';
import { formatTime } from '../machinery/time.ts';
import { resourcePrefix } from './keys.ts';
import { encodeRecord } from './record.ts';

/** IPAddresses as the allocator of upstream's API server makes them. */
export function addressObjects(
  kind: KindInfo | undefined,
  context: { now(): number; random: Random },
): AddressObjects | undefined {
  if (kind === undefined) return undefined;
  return {
    prefix: resourcePrefix(kind),
    encode: (ip, namespace, name) =>
      encodeRecord(
        {
          kind: 'IPAddress',
          apiVersion: 'networking.k8s.io/v1',
          metadata: {
            name: ip,
            uid: uuid(context.random),
            creationTimestamp: formatTime(context.now()),
            labels: {
              'ipaddress.kubernetes.io/ip-family': 'IPv4',
              'ipaddress.kubernetes.io/managed-by': 'ipallocator.k8s.io',
            },
          },
          spec: { parentRef: { resource: 'services', namespace, name } },
        },
        undefined,
      ),
  };
}

/** The IPv4 ranges of ServiceCIDRs that are ready and stay, but for the cluster's own, the oldest first. */
export function readyRanges(objects: readonly JsonObject[]): Cidr[] {
  return objects
    .filter((one) => {
      const conditions = getPath(one, 'status', 'conditions');
      const ready =
        Array.isArray(conditions) &&
        conditions.some(
          (condition) => isObject(condition) && condition.type === 'Ready' && condition.status === 'True',
        );
      const name = getPath(one, 'metadata', 'name');
      return ready && name !== 'kubernetes' && getPath(one, 'metadata', 'deletionTimestamp') === undefined;
    })
    .sort((a, b) => (createdAt(a) < createdAt(b) ? -1 : 1))
    .flatMap((one) => {
      const cidrs = getPath(one, 'spec', 'cidrs');
      return (Array.isArray(cidrs) ? cidrs : [])
        .filter((cidr): cidr is string => typeof cidr === 'string' && isIPv4(cidr.split('/')[0]!))
        .map(parseCidr);
    });
}

const createdAt = (object: JsonObject): string =>
  `${String(getPath(object, 'metadata', 'creationTimestamp'))} ${String(getPath(object, 'metadata', 'name'))}`;
