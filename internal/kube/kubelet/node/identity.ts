import { crc32c } from '../../../base/crc32c.ts';
import { utf8 } from '../../../base/bytes.ts';

/**
 * A short name that tells this appliance from others on the same machine: 8 hex digits from its data directory. It is part of the name
 * of everything that lives outside the data directory (cgroup, bridge, nftables table, CNI network).
 */
export function applianceId(config: { readonly dataDir: string }): string {
  return (crc32c(utf8(config.dataDir)) >>> 0).toString(16).padStart(8, '0');
}

/** The cgroup under which all pods of this appliance are, without controller or mount point. */
export function podsCgroupRoot(config: { readonly dataDir: string }): string {
  return `/appliance-${applianceId(config)}/kubepods`;
}

/** Interface names have at most 15 characters. */
export function bridgeName(config: { readonly dataDir: string }): string {
  return `cni-${applianceId(config)}`;
}

/** The tunnel device to other nodes. */
export function tunnelName(config: { readonly dataDir: string }): string {
  return `vxlan-${applianceId(config)}`;
}

export function cniNetworkName(config: { readonly dataDir: string }): string {
  return `appliance-${applianceId(config)}`;
}
