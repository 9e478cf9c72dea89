import type { CrushMap } from '../crush/map.ts';
import { CrushMap as EmptyCrushMap } from '../crush/map.ts';
import { type UTime, utimeZero } from '../wire/encoding.ts';
import { type EntityAddr, type EntityAddrVec, type IntervalSet, sameAddr } from '../wire/types.ts';
import {
  DEFAULT_PRIMARY_AFFINITY,
  MAP_FLAGS_PACIFIC,
  OSD_DESTROYED,
  OSD_EXISTS,
  OSD_OUT,
  OSD_UP,
  RELEASE_LUMINOUS,
  RELEASE_PACIFIC,
} from './constants.ts';
import { PgMap } from './pg-map.ts';
import type { PgPool } from './pool.ts';

/** `osd_info_t`: epochs. */
export interface OsdInfo {
  lastCleanBegin: number;
  lastCleanEnd: number;
  upFrom: number;
  upThru: number;
  downAt: number;
  lostAt: number;
}

/** `osd_xinfo_t`. */
export interface OsdXInfo {
  downStamp: UTime;
  /** Probability times 2^32. */
  laggyProbability: number;
  laggyInterval: number;
  features: bigint;
  /** Weight before it was marked out automatically. */
  oldWeight: number;
  lastPurgedSnapsScrub: UTime;
  deadEpoch: number;
}

export const zeroOsdInfo: OsdInfo = Object.freeze({
  lastCleanBegin: 0,
  lastCleanEnd: 0,
  upFrom: 0,
  upThru: 0,
  downAt: 0,
  lostAt: 0,
});

export const zeroOsdXInfo: OsdXInfo = Object.freeze({
  downStamp: utimeZero,
  laggyProbability: 0,
  laggyInterval: 0,
  features: 0n,
  oldWeight: 0,
  lastPurgedSnapsScrub: utimeZero,
  deadEpoch: 0,
});

export const zeroUuid = '00000000-0000-0000-0000-000000000000';

const noAddrs: EntityAddrVec = Object.freeze([]);

export interface BlocklistEntry {
  addr: EntityAddr;
  until: UTime;
}

/** Fields that a newer minor encoding has behind those we know (stretch mode, range blocklist): kept for an exact copy. */
export interface SectionTail {
  version: number;
  bytes: Uint8Array;
}

/**
 * The OSD map of one epoch. Treat it as immutable: `applyIncremental` makes the next one and shares whatever did not change, so that caches may
 * compare parts by reference (`crush`, `osdWeight`, `pools`, the pg maps).
 */
export class OsdMap {
  fsid = zeroUuid;
  epoch = 0;
  created: UTime = utimeZero;
  modified: UTime = utimeZero;
  pools: ReadonlyMap<number, PgPool> = new Map();
  poolNames: ReadonlyMap<number, string> = new Map();
  poolMax = 0;
  flags = MAP_FLAGS_PACIFIC;
  maxOsd = 0;
  /** Bits OSD_*; index is the OSD's id. */
  osdState: Uint32Array = new Uint32Array(0);
  /** In/out weight, 16.16. */
  osdWeight: Uint32Array = new Uint32Array(0);
  /** undefined: all have the default. */
  primaryAffinity: Uint32Array | undefined;
  clientAddrs: readonly EntityAddrVec[] = [];
  clusterAddrs: readonly EntityAddrVec[] = [];
  hbBackAddrs: readonly EntityAddrVec[] = [];
  hbFrontAddrs: readonly EntityAddrVec[] = [];
  osdInfo: readonly OsdInfo[] = [];
  osdXInfo: readonly OsdXInfo[] = [];
  osdUuid: readonly string[] = [];
  pgTemp: PgMap<readonly number[]> = new PgMap();
  primaryTemp: PgMap<number> = new PgMap();
  pgUpmap: PgMap<readonly number[]> = new PgMap();
  pgUpmapItems: PgMap<readonly (readonly [number, number])[]> = new PgMap();
  crush: CrushMap = new EmptyCrushMap();
  /** The compiled crush map as it came or was made: `crush` is its decoded form. */
  crushBytes: Uint8Array = new Uint8Array(0);
  crushVersion = 1;
  erasureCodeProfiles: ReadonlyMap<string, ReadonlyMap<string, string>> = new Map();
  newRemovedSnaps: ReadonlyMap<number, IntervalSet> = new Map();
  newPurgedSnaps: ReadonlyMap<number, IntervalSet> = new Map();
  removedSnapsQueue: ReadonlyMap<number, IntervalSet> = new Map();
  lastUpChange: UTime = utimeZero;
  lastInChange: UTime = utimeZero;
  blocklist: readonly BlocklistEntry[] = [];
  clusterSnapshotEpoch = 0;
  clusterSnapshot = '';
  nearfullRatio = Math.fround(0.85);
  fullRatio = Math.fround(0.95);
  backfillfullRatio = Math.fround(0.9);
  requireMinCompatClient = RELEASE_LUMINOUS;
  requireOsdRelease = RELEASE_PACIFIC;
  crushNodeFlags: ReadonlyMap<number, number> = new Map();
  deviceClassFlags: ReadonlyMap<number, number> = new Map();
  clientTail: SectionTail = { version: 9, bytes: new Uint8Array(0) };
  osdTail: SectionTail = { version: 9, bytes: new Uint8Array(0) };
  /** CRC-32C of the encoding this map was read from or last encoded to. */
  crc = 0;

  exists(osd: number): boolean {
    return osd >= 0 && osd < this.maxOsd && (this.osdState[osd]! & OSD_EXISTS) !== 0;
  }

  isUp(osd: number): boolean {
    return osd >= 0 && osd < this.maxOsd && (this.osdState[osd]! & (OSD_EXISTS | OSD_UP)) === (OSD_EXISTS | OSD_UP);
  }

  isDown(osd: number): boolean {
    return !this.isUp(osd);
  }

  isOut(osd: number): boolean {
    return !this.exists(osd) || this.osdWeight[osd] === OSD_OUT;
  }

  isIn(osd: number): boolean {
    return !this.isOut(osd);
  }

  isDestroyed(osd: number): boolean {
    return this.exists(osd) && (this.osdState[osd]! & OSD_DESTROYED) !== 0;
  }

  hasFlag(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }

  affinity(osd: number): number {
    return this.primaryAffinity?.[osd] ?? DEFAULT_PRIMARY_AFFINITY;
  }

  /** Ids of all OSDs that exist. */
  osds(): number[] {
    const out: number[] = [];
    for (let osd = 0; osd < this.maxOsd; osd++) if (this.exists(osd)) out.push(osd);
    return out;
  }

  countUp(): number {
    let n = 0;
    for (let osd = 0; osd < this.maxOsd; osd++) if (this.isUp(osd)) n++;
    return n;
  }

  countIn(): number {
    let n = 0;
    for (let osd = 0; osd < this.maxOsd; osd++) if (this.isIn(osd)) n++;
    return n;
  }

  poolId(name: string): number | undefined {
    for (const [id, text] of this.poolNames) if (text === name) return id;
    return undefined;
  }

  clientAddrsOf(osd: number): EntityAddrVec {
    return this.clientAddrs[osd] ?? noAddrs;
  }

  clusterAddrsOf(osd: number): EntityAddrVec {
    return this.clusterAddrs[osd] ?? noAddrs;
  }

  infoOf(osd: number): OsdInfo {
    return this.osdInfo[osd] ?? zeroOsdInfo;
  }

  xinfoOf(osd: number): OsdXInfo {
    return this.osdXInfo[osd] ?? zeroOsdXInfo;
  }

  /**
   * Whether a client address is blocked: the entry's address itself, or one of the whole host (port and nonce 0). Entries carry type ANY, so
   * types are not compared (`OSDMap::is_blocklisted`).
   */
  isBlocklisted(addr: EntityAddr): boolean {
    if (this.blocklist.length === 0) return false;
    const exact: EntityAddr = { ...addr, type: 0 };
    const host: EntityAddr = { ...exact, port: 0, nonce: 0 };
    for (const entry of this.blocklist) {
      const blocked = { ...entry.addr, type: 0 };
      if (sameAddr(blocked, exact) || sameAddr(blocked, host)) return true;
    }
    return false;
  }

  /** A copy whose parts are shared; for `applyIncremental` and tests. */
  copy(): OsdMap {
    return Object.assign(new OsdMap(), this);
  }
}
