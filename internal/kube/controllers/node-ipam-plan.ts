import { cidrAddress, cidrsOverlap, parseCidr } from '../../config/cidr.ts';

/** Size of a node's part of the pod network (upstream's `--node-cidr-mask-size`, 24). */
export const nodePrefix = 24;

/** The lowest part of `clusterPodCIDR` that nobody has; undefined when all are taken. What cannot be read in `taken` takes nothing. */
export function freePodCIDR(clusterPodCIDR: string, taken: readonly string[]): string | undefined {
  const cluster = parseCidr(clusterPodCIDR);
  const prefix = Math.max(nodePrefix, cluster.prefix);
  const size = 2 ** (32 - prefix);
  const others = taken.filter((text) => /^\d+(\.\d+){3}\/\d+$/.test(text)).map(parseCidr);
  for (let offset = 0; offset < cluster.size; offset += size) {
    const base = cluster.base + offset;
    if (!others.some((other) => cidrsOverlap(other, { base, prefix, size })))
      return `${cidrAddress(cluster, offset)}/${prefix}`;
  }
  return undefined;
}
