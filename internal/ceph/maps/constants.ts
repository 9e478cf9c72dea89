/** Facts of `src/include/rados.h` and `src/osd/osd_types.h`. */

export const OSD_EXISTS = 1;
export const OSD_UP = 2;
/** Marked out by the mon, not by a person: comes in again by itself. */
export const OSD_AUTOOUT = 4;
export const OSD_NEW = 8;
export const OSD_FULL = 16;
export const OSD_NEARFULL = 32;
export const OSD_BACKFILLFULL = 64;
export const OSD_DESTROYED = 128;
export const OSD_NOUP = 256;
export const OSD_NODOWN = 512;
export const OSD_NOIN = 1024;
export const OSD_NOOUT = 2048;
export const OSD_STOP = 4096;

export const osdStateNames: readonly (readonly [number, string])[] = [
  [OSD_EXISTS, 'exists'],
  [OSD_UP, 'up'],
  [OSD_AUTOOUT, 'autoout'],
  [OSD_NEW, 'new'],
  [OSD_FULL, 'full'],
  [OSD_NEARFULL, 'nearfull'],
  [OSD_BACKFILLFULL, 'backfillfull'],
  [OSD_DESTROYED, 'destroyed'],
  [OSD_NOUP, 'noup'],
  [OSD_NODOWN, 'nodown'],
  [OSD_NOIN, 'noin'],
  [OSD_NOOUT, 'noout'],
  [OSD_STOP, 'stop'],
];

/** Weight of an OSD that is in (16.16). */
export const OSD_IN = 0x10000;
export const OSD_OUT = 0;
export const DEFAULT_PRIMARY_AFFINITY = 0x10000;
export const MAX_PRIMARY_AFFINITY = 0x10000;

export const MAP_NEARFULL = 1;
export const MAP_FULL = 2;
export const MAP_PAUSERD = 4;
export const MAP_PAUSEWR = 8;
export const MAP_PAUSEREC = 16;
export const MAP_NOUP = 32;
export const MAP_NODOWN = 64;
export const MAP_NOOUT = 128;
export const MAP_NOIN = 256;
export const MAP_NOBACKFILL = 512;
export const MAP_NORECOVER = 1024;
export const MAP_NOSCRUB = 2048;
export const MAP_NODEEP_SCRUB = 4096;
export const MAP_NOTIERAGENT = 8192;
export const MAP_NOREBALANCE = 1 << 14;
export const MAP_SORTBITWISE = 1 << 15;
export const MAP_REQUIRE_JEWEL = 1 << 16;
export const MAP_REQUIRE_KRAKEN = 1 << 17;
export const MAP_REQUIRE_LUMINOUS = 1 << 18;
export const MAP_RECOVERY_DELETES = 1 << 19;
export const MAP_PURGED_SNAPDIRS = 1 << 20;
export const MAP_NOSNAPTRIM = 1 << 21;
export const MAP_PGLOG_HARDLIMIT = 1 << 22;

/** Bits that only old releases set: a map that requires Luminous drops them. */
export const MAP_LEGACY_REQUIRE = MAP_REQUIRE_JEWEL | MAP_REQUIRE_KRAKEN | MAP_REQUIRE_LUMINOUS;

/** Flags of a new Pacific cluster. */
export const MAP_FLAGS_PACIFIC = MAP_SORTBITWISE | MAP_RECOVERY_DELETES | MAP_PURGED_SNAPDIRS | MAP_PGLOG_HARDLIMIT;

/** In the order in which upstream writes them. */
export const mapFlagNames: readonly (readonly [number, string])[] = [
  [MAP_NEARFULL, 'nearfull'],
  [MAP_FULL, 'full'],
  [MAP_PAUSERD, 'pauserd'],
  [MAP_PAUSEWR, 'pausewr'],
  [MAP_PAUSEREC, 'pauserec'],
  [MAP_NOUP, 'noup'],
  [MAP_NODOWN, 'nodown'],
  [MAP_NOOUT, 'noout'],
  [MAP_NOIN, 'noin'],
  [MAP_NOBACKFILL, 'nobackfill'],
  [MAP_NOREBALANCE, 'norebalance'],
  [MAP_NORECOVER, 'norecover'],
  [MAP_NOSCRUB, 'noscrub'],
  [MAP_NODEEP_SCRUB, 'nodeep-scrub'],
  [MAP_NOTIERAGENT, 'notieragent'],
  [MAP_NOSNAPTRIM, 'nosnaptrim'],
  [MAP_SORTBITWISE, 'sortbitwise'],
  [MAP_REQUIRE_JEWEL, 'require_jewel_osds'],
  [MAP_REQUIRE_KRAKEN, 'require_kraken_osds'],
  [MAP_REQUIRE_LUMINOUS, 'require_luminous_osds'],
  [MAP_RECOVERY_DELETES, 'recovery_deletes'],
  [MAP_PURGED_SNAPDIRS, 'purged_snapdirs'],
  [MAP_PGLOG_HARDLIMIT, 'pglog_hardlimit'],
];

/** `noout,sortbitwise`; empty when no flag is set. */
export function flagText(flags: number, names: readonly (readonly [number, string])[]): string {
  return flagList(flags, names).join(',');
}

export function flagList(flags: number, names: readonly (readonly [number, string])[]): string[] {
  const out: string[] = [];
  for (const [bit, name] of names) if (flags & bit) out.push(name);
  return out;
}

/** `ceph_release_t` by number. */
export const releaseNames: readonly string[] = [
  'unknown',
  'argonaut',
  'bobtail',
  'cuttlefish',
  'dumpling',
  'emperor',
  'firefly',
  'giant',
  'hammer',
  'infernalis',
  'jewel',
  'kraken',
  'luminous',
  'mimic',
  'nautilus',
  'octopus',
  'pacific',
  'quincy',
  'reef',
];

export const RELEASE_LUMINOUS = 12;
export const RELEASE_PACIFIC = 16;

export function releaseName(release: number): string {
  return releaseNames[release] ?? 'unknown';
}
