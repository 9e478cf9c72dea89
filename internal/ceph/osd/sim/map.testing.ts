import { crushHash2 } from '../../crush/hash.ts';
import { ITEM_NONE } from '../../crush/map.ts';
import { ErasureCode } from '../../erasure/code.ts';
import { jerasureVandermonde } from '../../erasure/matrix.ts';
import { stableMod } from '../../maps/object-hash.ts';
import { addrV2, type EntityAddr, type EntityAddrVec, eversionZero, type PgId, pgText } from '../../wire/types.ts';
import type { Logger } from '../../../base/log.ts';
import type { MapView, Placement, PoolCode, PoolView } from '../map-view.ts';
import type { MergeVersions } from '../pg-split.ts';
import type { OsdOptions } from '../osd-options.ts';
import type { ScrubOptions } from '../scrub-schedule.ts';

export interface SimOptions {
  /** The pool is erasure-coded, with chunks of so many bytes; `size` is k + m. */
  erasure?: { k: number; chunkBytes: number };
  seed: number;
  osds: number;
  size: number;
  minSize: number;
  pgNum: number;
  /** Entries that logs keep: few force backfill. */
  logEntries?: number;
  /** Memory for replies. */
  replyBytes?: number;
  /**
   * Planted faults, which the checks must find. `early-ack`: the disk says "done" before it is. `skipped-replica`: now and then a replica answers a write
   * that it never got. `stopped-clock`: the clock of an OSD that is cut off stands still. `rash-mon`: the mon takes every OSD that is down for dead.
   */
  fault?: 'early-ack' | 'skipped-replica' | 'stopped-clock' | 'rash-mon';
  /** What each OSD's disk takes; default: more than any test writes. */
  diskBytes?: number;
  /** How long read leases last; short, so that they end during partitions. */
  leaseMs?: number;
  log?: Logger;
  /** Where they are not the defaults. */
  scrub?: Partial<ScrubOptions>;
  osd?: Partial<OsdOptions>;
}

export interface OsdState {
  up: boolean;
  nonce: number;
  upFrom: number;
  upThru: number;
  downAt: number;
  /** Down, and nobody there answers any more. */
  dead: boolean;
  /** One of `FULLNESS_*`; none where it is not said. */
  fullness?: number;
  /** Of an erasure-coded pool: others take its places. */
  out: boolean;
}

const simCodes = new Map<string, PoolCode>();

function simCode({ erasure, size }: SimOptions): PoolCode | undefined {
  if (erasure === undefined) return undefined;
  const { k, chunkBytes } = erasure;
  const name = `${k}+${size - k} ${chunkBytes}`;
  let code = simCodes.get(name);
  if (code === undefined) {
    code = { code: new ErasureCode(k, jerasureVandermonde(k, size - k)), layout: { k, chunkBytes } };
    simCodes.set(name, code);
  }
  return code;
}

/** How many PGs the pool has, what of that is on its way, and whom OSDs must not serve. */
export interface SimPgs {
  pgNum: number;
  pgpNum: number;
  pgNumPending: number;
  lastMerge: MergeVersions;
  /** Nonces of clients that are on the blocklist. */
  fenced?: readonly number[];
}

export const simPool = 1;

/** Where objects belong; any function of the name does. */
export function simHash(name: string): number {
  return [...name].reduce((h, c) => (Math.imul(h, 31) + c.charCodeAt(0)) >>> 0, 7);
}

export class SimMap implements MapView {
  readonly epoch: number;
  readonly #options: SimOptions;
  readonly states: readonly OsdState[];
  readonly pgTemp: ReadonlyMap<string, readonly number[]>;
  readonly poolExists: boolean;
  readonly pgs: SimPgs;
  /** `MAP_*`. */
  readonly flags: number;

  constructor(
    epoch: number,
    options: SimOptions,
    states: readonly OsdState[],
    pgTemp: ReadonlyMap<string, readonly number[]>,
    poolExists: boolean,
    pgs?: SimPgs,
    flags = 0,
  ) {
    this.flags = flags;
    this.epoch = epoch;
    this.#options = options;
    this.states = states;
    this.pgTemp = pgTemp;
    this.poolExists = poolExists;
    const { pgNum } = options;
    this.pgs = pgs ?? {
      pgNum,
      pgpNum: pgNum,
      pgNumPending: pgNum,
      lastMerge: { sourceSeed: 0, sourceVersion: eversionZero, targetVersion: eversionZero },
    };
  }

  pool(id: number): PoolView | undefined {
    if (id !== simPool || !this.poolExists) return undefined;
    const { size, minSize } = this.#options;
    return {
      id,
      size,
      minSize,
      ...this.pgs,
      erasure: this.#options.erasure !== undefined,
      code: simCode(this.#options),
      overwrites: true,
      lastForceOpResend: 0,
      full: false,
      fullQuota: false,
      eio: false,
      noScrub: false,
      noDeepScrub: false,
      scrubMinSec: 0,
      scrubMaxSec: 0,
      deepScrubSec: 0,
      readLeaseSec: 0,
      compression: {
        mode: undefined,
        algorithm: undefined,
        requiredRatio: undefined,
        minBlobBytes: undefined,
        maxBlobBytes: undefined,
      },
      recoveryPriority: 0,
      poolSnaps: undefined,
      hasSelfManagedSnaps: false,
      applications: new Map(),
      name: 'sim',
    };
  }
  pools(): Iterable<number> {
    return this.poolExists ? [simPool] : [];
  }
  #order(seed: number): number[] {
    return this.states.map((_, osd) => osd).sort((a, b) => crushHash2(seed, a) - crushHash2(seed, b));
  }

  /** Each place is a shard's: while an OSD is out another one takes its places, and as few others as possible move. */
  #places(seed: number): number[] {
    const taken = new Set<number>();
    return Array.from({ length: this.#options.size }, (_, shard) => {
      const order = this.#order(seed * 64 + shard);
      const osd = order.find((each) => !taken.has(each) && !this.states[each]!.out) ?? ITEM_NONE;
      taken.add(osd);
      return osd;
    });
  }

  place(pg: PgId): Placement {
    if (pg.seed >= this.pgs.pgNum) return { up: [], upPrimary: -1, acting: [], actingPrimary: -1 };
    const seed = stableMod(pg.seed, this.pgs.pgpNum);
    const order =
      this.#options.erasure === undefined ? this.#order(seed).slice(0, this.#options.size) : this.#places(seed);
    const present = (osds: readonly number[]): number[] =>
      this.#options.erasure === undefined
        ? osds.filter((osd) => this.isUp(osd))
        : osds.map((osd) => (this.isUp(osd) ? osd : ITEM_NONE));
    const first = (osds: readonly number[]): number => osds.find((osd) => osd !== ITEM_NONE) ?? -1;
    const up = present(order);
    const temp = present(this.pgTemp.get(pgText({ pool: pg.pool, seed: pg.seed })) ?? []);
    const acting = temp.length > 0 ? temp : up;
    return { up, upPrimary: first(up), acting, actingPrimary: first(acting) };
  }
  changesPlacement(): boolean {
    return true;
  }
  hashOf(pool: number, name: string): number | undefined {
    return this.pool(pool) === undefined ? undefined : simHash(name);
  }
  pgOfHash(pool: number, hash: number): PgId {
    return { pool, seed: stableMod(hash, this.pgs.pgNum) };
  }
  exists(osd: number): boolean {
    return this.states[osd] !== undefined;
  }
  isUp(osd: number): boolean {
    return this.states[osd]?.up === true;
  }
  upFrom(osd: number): number {
    return this.states[osd]?.upFrom ?? 0;
  }
  upThru(osd: number): number {
    return this.states[osd]?.upThru ?? 0;
  }
  downAt(osd: number): number {
    return this.states[osd]?.downAt ?? 0;
  }
  lostAt(): number {
    return 0;
  }
  isDead(osd: number): boolean {
    return this.states[osd]?.dead === true;
  }
  storeUuid(): undefined {
    return undefined;
  }
  clientAddrs(osd: number): EntityAddrVec {
    return this.clusterAddrs(osd);
  }
  clusterAddrs(osd: number): EntityAddrVec {
    return [addrV2('10.0.0.1', 6800 + osd, this.states[osd]?.nonce ?? 0)];
  }
  heartbeatAddrs(osd: number): EntityAddrVec {
    return this.clusterAddrs(osd);
  }
  heartbeatFrontAddrs(osd: number): EntityAddrVec {
    return this.clusterAddrs(osd);
  }
  osds(): Iterable<number> {
    return this.states.keys();
  }
  hasFlag(flag: number): boolean {
    return (this.flags & flag) !== 0;
  }
  isBlocklisted({ nonce }: EntityAddr): boolean {
    return this.pgs.fenced?.includes(nonce) === true;
  }
  blocklist(): [] {
    return [];
  }
  isSnapRemoved(): boolean {
    return false;
  }
  removedSnaps(): [] {
    return [];
  }
  fullness(osd: number): number {
    return this.states[osd]?.fullness ?? 0;
  }
  fullRatio = 0.95;
  backfillfullRatio = 0.9;
  nearfullRatio = 0.85;
  releases = { osd: 16, minCompatClient: 12 };
}
