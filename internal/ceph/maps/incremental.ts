import { type UTime, utimeZero } from '../wire/encoding.ts';
import type { EntityAddr, EntityAddrVec, IntervalSet } from '../wire/types.ts';
import type { BlocklistEntry, OsdXInfo, SectionTail } from './osdmap.ts';
import { zeroUuid } from './osdmap.ts';
import { PgMap } from './pg-map.ts';
import type { PgPool } from './pool.ts';

/** `OSDMap::Incremental`: what changes from `epoch - 1` to `epoch`. Make one, fill in the changes, give it to `applyIncremental`. */
export class OsdMapIncremental {
  fsid = zeroUuid;
  epoch: number;
  modified: UTime = utimeZero;
  /** -1: unchanged. */
  newPoolMax = -1;
  /** -1: unchanged. */
  newFlags = -1;
  /** A whole map instead of changes; only used for epoch 1. */
  fullmap: Uint8Array = new Uint8Array(0);
  /** A new compiled CRUSH map; empty: unchanged. */
  crush: Uint8Array = new Uint8Array(0);
  newMaxOsd = -1;
  newPools = new Map<number, PgPool>();
  newPoolNames = new Map<number, string>();
  oldPools = new Set<number>();
  /** OSDs that came up, with their client addresses. */
  newUpClient = new Map<number, EntityAddrVec>();
  newUpCluster = new Map<number, EntityAddrVec>();
  newHbBackUp = new Map<number, EntityAddrVec>();
  newHbFrontUp = new Map<number, EntityAddrVec>();
  /** Bits to toggle (XOR); 0 means OSD_UP. */
  newState = new Map<number, number>();
  newWeight = new Map<number, number>();
  /** An empty list removes. */
  newPgTemp = new PgMap<readonly number[]>();
  /** -1 removes. */
  newPrimaryTemp = new PgMap<number>();
  newPrimaryAffinity = new Map<number, number>();
  newErasureCodeProfiles = new Map<string, ReadonlyMap<string, string>>();
  oldErasureCodeProfiles: string[] = [];
  newPgUpmap = new PgMap<readonly number[]>();
  oldPgUpmap = new PgMap<true>();
  newPgUpmapItems = new PgMap<readonly (readonly [number, number])[]>();
  oldPgUpmapItems = new PgMap<true>();
  newRemovedSnaps = new Map<number, IntervalSet>();
  newPurgedSnaps = new Map<number, IntervalSet>();
  newLastUpChange: UTime = utimeZero;
  newLastInChange: UTime = utimeZero;
  newUpThru = new Map<number, number>();
  newLastCleanInterval = new Map<number, readonly [begin: number, end: number]>();
  newLost = new Map<number, number>();
  newBlocklist: BlocklistEntry[] = [];
  oldBlocklist: EntityAddr[] = [];
  clusterSnapshot = '';
  newUuid = new Map<number, string>();
  newXInfo = new Map<number, OsdXInfo>();
  /** Features that the encoding of the full map assumes; part of the bytes. */
  encodeFeatures = 0xf00088010212a04n;
  /** -1: unchanged. */
  newNearfullRatio = -1;
  newFullRatio = -1;
  newBackfillfullRatio = -1;
  /** 0xff: unchanged. */
  newRequireMinCompatClient = 0xff;
  newRequireOsdRelease = 0xff;
  /** 0 removes the node's flags. */
  newCrushNodeFlags = new Map<number, number>();
  newDeviceClassFlags = new Map<number, number>();
  clientTail: SectionTail = { version: 8, bytes: new Uint8Array(0) };
  osdTail: SectionTail = { version: 9, bytes: new Uint8Array(0) };
  /** CRC of the full map that results; 0 until it is known. */
  fullCrc = 0;
  incCrc = 0;

  constructor(epoch = 0) {
    this.epoch = epoch;
  }
}
