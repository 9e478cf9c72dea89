import { AppError } from '../../base/errors.ts';
import { decodeCrushMap } from '../crush/codec.ts';
import type { EntityAddrVec } from '../wire/types.ts';
import { sameAddr } from '../wire/types.ts';
import {
  DEFAULT_PRIMARY_AFFINITY,
  MAP_LEGACY_REQUIRE,
  MAP_RECOVERY_DELETES,
  OSD_AUTOOUT,
  OSD_EXISTS,
  OSD_NEW,
  OSD_STOP,
  OSD_UP,
  RELEASE_LUMINOUS,
} from './constants.ts';
import type { OsdMapIncremental } from './incremental.ts';
import { intervalSubtract, intervalUnion } from './intervals.ts';
import { decodeOsdMap } from './osdmap-codec.ts';
import { type OsdInfo, type OsdMap, type OsdXInfo, zeroOsdInfo, zeroOsdXInfo, zeroUuid } from './osdmap.ts';
import type { PgMap } from './pg-map.ts';

/**
 * The map after `inc` (`OSDMap::apply_incremental`); `map` stays as it is. Its `crc` is `inc.fullCrc`. Errors: MAP_EPOCH when `inc` does not
 * follow `map`.
 */
export function applyIncremental(map: OsdMap, inc: OsdMapIncremental): OsdMap {
  if (inc.epoch !== map.epoch + 1)
    throw new AppError('MAP_EPOCH', `OSDMap increment ${inc.epoch} does not follow epoch ${map.epoch}`);
  if (inc.fullmap.length > 0) return decodeOsdMap(inc.fullmap);
  const next = map.copy();
  next.epoch = inc.epoch;
  next.modified = inc.modified;
  next.crc = inc.fullCrc;
  if (inc.epoch === 1) next.fsid = inc.fsid;
  if (inc.newFlags >= 0) next.flags = inc.newFlags;
  applyPools(next, inc);
  applyOsds(next, inc);
  applyPgs(next, inc);
  applyBlocklist(next, inc);
  applySettings(next, inc);
  if (inc.crush.length > 0) {
    next.crushBytes = inc.crush;
    next.crush = decodeCrushMap(inc.crush);
    next.crushVersion++;
  }
  return next;
}

function applyPools(next: OsdMap, inc: OsdMapIncremental): void {
  if (inc.newPoolMax !== -1) next.poolMax = inc.newPoolMax;
  if (inc.newPools.size > 0 || inc.oldPools.size > 0) {
    const pools = new Map(next.pools);
    for (const [id, pool] of inc.newPools) pools.set(id, { ...pool, lastChange: inc.epoch });
    for (const id of inc.oldPools) pools.delete(id);
    next.pools = pools;
  }
  if (inc.newPoolNames.size > 0 || inc.oldPools.size > 0) {
    const names = new Map(next.poolNames);
    for (const [id, name] of inc.newPoolNames) names.set(id, name);
    for (const id of inc.oldPools) names.delete(id);
    next.poolNames = names;
  }
  next.newRemovedSnaps = inc.newRemovedSnaps;
  next.newPurgedSnaps = inc.newPurgedSnaps;
  if (inc.newRemovedSnaps.size > 0 || inc.newPurgedSnaps.size > 0) {
    const queue = new Map(next.removedSnapsQueue);
    for (const [pool, set] of inc.newRemovedSnaps) queue.set(pool, intervalUnion(queue.get(pool) ?? [], set));
    for (const [pool, set] of inc.newPurgedSnaps) {
      const left = intervalSubtract(queue.get(pool) ?? [], set);
      if (left.length === 0) queue.delete(pool);
      else queue.set(pool, left);
    }
    next.removedSnapsQueue = queue;
  }
}

/** The per-OSD tables, copied when the first change comes. */
class OsdTables {
  readonly state: Uint32Array;
  readonly weight: Uint32Array;
  affinity: Uint32Array | undefined;
  readonly info: OsdInfo[];
  readonly xinfo: OsdXInfo[];
  readonly uuid: string[];
  readonly client: EntityAddrVec[];
  readonly cluster: EntityAddrVec[];
  readonly hbBack: EntityAddrVec[];
  readonly hbFront: EntityAddrVec[];

  constructor(
    map: OsdMap,
    readonly size: number,
  ) {
    const numbers = (old: Uint32Array, fill: number): Uint32Array => {
      const out = new Uint32Array(size).fill(fill);
      out.set(old.subarray(0, size));
      return out;
    };
    const list = <T>(old: readonly T[], fill: T): T[] =>
      Array.from({ length: size }, (_, osd) => (osd < old.length ? old[osd]! : fill));
    this.state = numbers(map.osdState, 0);
    this.weight = numbers(map.osdWeight, 0);
    this.affinity =
      map.primaryAffinity === undefined ? undefined : numbers(map.primaryAffinity, DEFAULT_PRIMARY_AFFINITY);
    this.info = list(map.osdInfo, zeroOsdInfo);
    this.xinfo = list(map.osdXInfo, zeroOsdXInfo);
    this.uuid = list(map.osdUuid, zeroUuid);
    this.client = list<EntityAddrVec>(map.clientAddrs, []);
    this.cluster = list<EntityAddrVec>(map.clusterAddrs, []);
    this.hbBack = list<EntityAddrVec>(map.hbBackAddrs, []);
    this.hbFront = list<EntityAddrVec>(map.hbFrontAddrs, []);
  }

  setAffinity(osd: number, value: number): void {
    this.affinity ??= new Uint32Array(this.size).fill(DEFAULT_PRIMARY_AFFINITY);
    this.affinity[osd] = value;
  }

  /** Forgets an OSD that was removed. */
  clear(osd: number): void {
    this.uuid[osd] = zeroUuid;
    this.info[osd] = zeroOsdInfo;
    this.xinfo[osd] = zeroOsdXInfo;
    this.setAffinity(osd, DEFAULT_PRIMARY_AFFINITY);
    this.client[osd] = [];
    this.cluster[osd] = [];
    this.hbBack[osd] = [];
    this.hbFront[osd] = [];
    this.state[osd] = 0;
  }
}

function changesOsds(inc: OsdMapIncremental): boolean {
  return (
    inc.newMaxOsd >= 0 ||
    [
      inc.newWeight,
      inc.newPrimaryAffinity,
      inc.newState,
      inc.newUpClient,
      inc.newUpCluster,
      inc.newUpThru,
      inc.newLastCleanInterval,
      inc.newLost,
      inc.newXInfo,
      inc.newUuid,
    ].some((map) => map.size > 0)
  );
}

function applyOsds(next: OsdMap, inc: OsdMapIncremental): void {
  if (inc.newLastUpChange.sec !== 0 || inc.newLastUpChange.nsec !== 0) next.lastUpChange = inc.newLastUpChange;
  if (inc.newLastInChange.sec !== 0 || inc.newLastInChange.nsec !== 0) next.lastInChange = inc.newLastInChange;
  if (!changesOsds(inc)) return;
  if (inc.newMaxOsd >= 0) next.maxOsd = inc.newMaxOsd;
  const t = new OsdTables(next, next.maxOsd);
  const known = <T>(map: ReadonlyMap<number, T>, fn: (osd: number, value: T) => void): void => {
    for (const [osd, value] of map) {
      if (osd < 0 || osd >= t.size)
        throw new AppError('MAP_OSD', `OSDMap increment ${inc.epoch} changes osd.${osd}, max_osd is ${t.size}`);
      fn(osd, value);
    }
  };
  known(inc.newWeight, (osd, weight) => {
    t.weight[osd] = weight;
    if (weight > 0) {
      t.state[osd] = (t.state[osd]! | OSD_EXISTS) & ~(OSD_AUTOOUT | OSD_NEW);
      t.xinfo[osd] = { ...t.xinfo[osd]!, oldWeight: 0 };
    }
  });
  known(inc.newPrimaryAffinity, (osd, affinity) => t.setAffinity(osd, affinity));
  known(inc.newState, (osd, given) => {
    const bits = given === 0 ? OSD_UP : given;
    const state = t.state[osd]!;
    if (state & OSD_UP && bits & OSD_UP) {
      t.info[osd] = { ...t.info[osd]!, downAt: inc.epoch };
      t.xinfo[osd] = { ...t.xinfo[osd]!, downStamp: inc.modified };
    }
    if (state & OSD_EXISTS && bits & OSD_EXISTS) t.clear(osd);
    else t.state[osd] = state ^ bits;
  });
  known(inc.newUpClient, (osd, addrs) => {
    t.state[osd] = (t.state[osd]! | OSD_EXISTS | OSD_UP) & ~OSD_STOP;
    t.client[osd] = addrs;
    t.hbBack[osd] = inc.newHbBackUp.get(osd) ?? [];
    t.hbFront[osd] = inc.newHbFrontUp.get(osd) ?? [];
    t.info[osd] = { ...t.info[osd]!, upFrom: inc.epoch };
  });
  known(inc.newUpCluster, (osd, addrs) => {
    t.cluster[osd] = addrs;
  });
  known(inc.newUpThru, (osd, upThru) => {
    t.info[osd] = { ...t.info[osd]!, upThru };
  });
  known(inc.newLastCleanInterval, (osd, [begin, end]) => {
    t.info[osd] = { ...t.info[osd]!, lastCleanBegin: begin, lastCleanEnd: end };
  });
  known(inc.newLost, (osd, lostAt) => {
    t.info[osd] = { ...t.info[osd]!, lostAt };
  });
  known(inc.newXInfo, (osd, xinfo) => {
    t.xinfo[osd] = xinfo;
  });
  known(inc.newUuid, (osd, uuid) => {
    t.uuid[osd] = uuid;
  });
  next.osdState = t.state;
  // Mappings are cached by the identity of the weights: keep it when nothing changed.
  if (inc.newMaxOsd >= 0 || inc.newWeight.size > 0) next.osdWeight = t.weight;
  next.primaryAffinity = t.affinity;
  next.osdInfo = t.info;
  next.osdXInfo = t.xinfo;
  next.osdUuid = t.uuid;
  next.clientAddrs = t.client;
  next.clusterAddrs = t.cluster;
  next.hbBackAddrs = t.hbBack;
  next.hbFrontAddrs = t.hbFront;
}

function applyPgs(next: OsdMap, inc: OsdMapIncremental): void {
  next.pgTemp = merged(next.pgTemp, inc.newPgTemp, (osds) => osds.length === 0);
  next.primaryTemp = merged(next.primaryTemp, inc.newPrimaryTemp, (osd) => osd === -1);
  next.pgUpmap = without(merged(next.pgUpmap, inc.newPgUpmap), inc.oldPgUpmap);
  next.pgUpmapItems = without(merged(next.pgUpmapItems, inc.newPgUpmapItems), inc.oldPgUpmapItems);
}

function merged<V>(old: PgMap<V>, changes: PgMap<V>, removes: (value: V) => boolean = () => false): PgMap<V> {
  if (changes.size === 0) return old;
  const out = old.clone();
  for (const [{ pool, seed }, value] of changes.entries()) {
    if (removes(value)) out.delete(pool, seed);
    else out.set(pool, seed, value);
  }
  return out;
}

function without<V>(old: PgMap<V>, removed: PgMap<true>): PgMap<V> {
  if (removed.size === 0) return old;
  const out = old.clone();
  for (const [{ pool, seed }] of removed.entries()) out.delete(pool, seed);
  return out;
}

function applyBlocklist(next: OsdMap, inc: OsdMapIncremental): void {
  if (inc.newBlocklist.length === 0 && inc.oldBlocklist.length === 0) return;
  const list = [...next.blocklist];
  for (const entry of inc.newBlocklist) if (!list.some((old) => sameAddr(old.addr, entry.addr))) list.push(entry);
  next.blocklist = list.filter((entry) => !inc.oldBlocklist.some((addr) => sameAddr(addr, entry.addr)));
}

function applySettings(next: OsdMap, inc: OsdMapIncremental): void {
  if (inc.newErasureCodeProfiles.size > 0 || inc.oldErasureCodeProfiles.length > 0) {
    const profiles = new Map(next.erasureCodeProfiles);
    for (const name of inc.oldErasureCodeProfiles) profiles.delete(name);
    for (const [name, profile] of inc.newErasureCodeProfiles) profiles.set(name, profile);
    next.erasureCodeProfiles = profiles;
  }
  next.crushNodeFlags = mergedFlags(next.crushNodeFlags, inc.newCrushNodeFlags);
  next.deviceClassFlags = mergedFlags(next.deviceClassFlags, inc.newDeviceClassFlags);
  next.clusterSnapshot = inc.clusterSnapshot;
  next.clusterSnapshotEpoch = inc.clusterSnapshot === '' ? 0 : inc.epoch;
  if (inc.newNearfullRatio >= 0) next.nearfullRatio = inc.newNearfullRatio;
  if (inc.newBackfillfullRatio >= 0) next.backfillfullRatio = inc.newBackfillfullRatio;
  if (inc.newFullRatio >= 0) next.fullRatio = inc.newFullRatio;
  if (inc.newRequireMinCompatClient !== 0xff) next.requireMinCompatClient = inc.newRequireMinCompatClient;
  if (inc.newRequireOsdRelease !== 0xff) {
    next.requireOsdRelease = inc.newRequireOsdRelease;
    if (next.requireOsdRelease >= RELEASE_LUMINOUS)
      next.flags = (next.flags & ~MAP_LEGACY_REQUIRE) | MAP_RECOVERY_DELETES;
  }
}

function mergedFlags(
  old: ReadonlyMap<number, number>,
  changes: ReadonlyMap<number, number>,
): ReadonlyMap<number, number> {
  if (changes.size === 0) return old;
  const out = new Map(old);
  for (const [id, flags] of changes) {
    if (flags === 0) out.delete(id);
    else out.set(id, flags);
  }
  return out;
}
