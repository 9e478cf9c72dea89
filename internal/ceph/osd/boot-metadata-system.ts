import { arch, cpus, hostname, release, totalmem } from 'node:os';
import { addrVecText, type EntityAddrVec } from '../wire/types.ts';

/** What `ceph osd metadata` shows of an OSD on this machine; `more` goes over the rest. */
export function bootMetadata(
  data: EntityAddrVec,
  heartbeat: EntityAddrVec,
  version: string,
  more: Readonly<Record<string, string>>,
): Map<string, string> {
  const addrs = addrVecText(data);
  const beats = addrVecText(heartbeat);
  return new Map(
    Object.entries({
      arch: arch(),
      back_addr: addrs,
      ceph_release: 'pacific',
      ceph_version: version,
      ceph_version_short: version,
      cpu: cpus()[0]?.model ?? '',
      distro: 'linux',
      front_addr: addrs,
      hb_back_addr: beats,
      hb_front_addr: beats,
      hostname: hostname(),
      kernel_version: release(),
      mem_total_kb: String(Math.floor(totalmem() / 1024)),
      os: 'Linux',
      osd_objectstore: 'blockstore',
      ...more,
    }).sort(([a], [b]) => (a < b ? -1 : 1)),
  );
}
