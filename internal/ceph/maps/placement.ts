import { crushHash2 } from '../crush/hash.ts';
import { ITEM_NONE } from '../crush/map.ts';
import { CrushMapper } from '../crush/mapper.ts';
import type { PgId } from '../wire/types.ts';
import { DEFAULT_PRIMARY_AFFINITY, MAX_PRIMARY_AFFINITY } from './constants.ts';
import { objectHash, stableMod } from './object-hash.ts';
import type { OsdMap } from './osdmap.ts';
import { canShiftOsds, type PgPool, placementSeed } from './pool.ts';

/** Where a PG lives in one epoch. The arrays must not be changed; ITEM_NONE marks a shard without an OSD. */
export interface PgMapping {
  /** What CRUSH and the upmaps want, of those that are up. */
  readonly up: readonly number[];
  /** -1: none. */
  readonly upPrimary: number;
  /** Who serves now: `up` unless a pg_temp says otherwise. */
  readonly acting: readonly number[];
  readonly actingPrimary: number;
}

const nowhere: PgMapping = Object.freeze({ up: [], upPrimary: -1, acting: [], actingPrimary: -1 });

/** CRUSH results of one pool; valid as long as the inputs are the same objects. */
interface RawTable {
  readonly pool: PgPool;
  readonly raw: (Int32Array | undefined)[];
}

function markedOut(map: OsdMap, osd: number): boolean {
  return osd !== ITEM_NONE && osd >= 0 && osd < map.maxOsd && map.osdWeight[osd] === 0;
}

/** Puts each pair's second OSD into the place of its first one, in `raw` itself, unless it is out or there already. */
export function applyUpmapItems(
  map: OsdMap,
  raw: number[],
  items: readonly (readonly [from: number, to: number])[],
): number[] {
  for (const [from, to] of items) {
    if (raw.includes(to) || markedOut(map, to)) continue;
    const at = raw.indexOf(from);
    if (at >= 0) raw[at] = to;
  }
  return raw;
}

/**
 * Answers "which OSDs" for an OSD map. PGs are mapped when first asked for and remembered; results of CRUSH are taken over from the previous
 * epoch's placement where CRUSH map, weights and pool are unchanged. After the first call for a PG, `mapPg` is two array look-ups.
 */
export class Placement {
  readonly map: OsdMap;
  readonly #mapper: CrushMapper;
  readonly #raw = new Map<number, RawTable>();
  readonly #mapped = new Map<number, (PgMapping | undefined)[]>();

  constructor(map: OsdMap, previous?: Placement) {
    this.map = map;
    const same = previous !== undefined && previous.map.crush === map.crush;
    this.#mapper = same ? previous.#mapper : new CrushMapper(map.crush);
    if (!same || previous.map.osdWeight !== map.osdWeight) return;
    for (const [id, table] of previous.#raw) if (map.pools.get(id) === table.pool) this.#raw.set(id, table);
  }

  /** Hash of an object: of its key when it has one, else its name. 0 for an unknown pool. */
  hashOf(poolId: number, name: string, key: string, nspace: string): number {
    const pool = this.map.pools.get(poolId);
    return pool === undefined ? 0 : objectHash(pool.objectHash, key === '' ? name : key, nspace);
  }

  /** Seed of the PG that holds objects with this hash; -1 when the pool does not exist. */
  seedOf(poolId: number, hash: number): number {
    const pool = this.map.pools.get(poolId);
    return pool === undefined ? -1 : stableMod(hash, pool.pgNum);
  }

  /** The PG of an object, undefined when the pool does not exist. */
  pgOf(poolId: number, name: string, key = '', nspace = ''): PgId | undefined {
    const pool = this.map.pools.get(poolId);
    if (pool === undefined) return undefined;
    return { pool: poolId, seed: stableMod(objectHash(pool.objectHash, key === '' ? name : key, nspace), pool.pgNum) };
  }

  /** OSDs of a PG; empty sets when pool or PG do not exist. */
  mapPg(poolId: number, seed: number): PgMapping {
    const known = this.#mapped.get(poolId)?.[seed];
    return known ?? this.#mapAndKeep(poolId, seed);
  }

  /** OSDs as CRUSH gives them, without upmaps and regardless of up or down; ITEM_NONE or absent where it found none. */
  rawOsds(poolId: number, seed: number): readonly number[] {
    const pool = this.map.pools.get(poolId);
    return pool === undefined ? [] : [...this.#rawOf(poolId, pool, seed)];
  }

  #mapAndKeep(poolId: number, seed: number): PgMapping {
    const pool = this.map.pools.get(poolId);
    if (pool === undefined || seed >= pool.pgNum) return nowhere;
    let table = this.#mapped.get(poolId);
    if (table === undefined) {
      table = new Array<PgMapping | undefined>(pool.pgNum).fill(undefined);
      this.#mapped.set(poolId, table);
    }
    const mapping = this.#compute(poolId, pool, seed);
    table[seed] = mapping;
    return mapping;
  }

  #rawOf(poolId: number, pool: PgPool, seed: number): Int32Array {
    let table = this.#raw.get(poolId);
    if (table === undefined) {
      table = { pool, raw: new Array<Int32Array | undefined>(pool.pgNum).fill(undefined) };
      this.#raw.set(poolId, table);
    }
    let raw = table.raw[seed];
    if (raw === undefined) {
      const crush = this.map.crush;
      const rule = crush.findRule(pool.crushRule, pool.type, pool.size);
      const out = new Int32Array(pool.size);
      const pps = placementSeed(pool, poolId, seed);
      const n =
        rule < 0 ? 0 : this.#mapper.doRule(rule, pps, out, pool.size, this.map.osdWeight, crush.chooseArgsFor(poolId));
      raw = out.subarray(0, n);
      table.raw[seed] = raw;
    }
    return raw;
  }

  #compute(poolId: number, pool: PgPool, seed: number): PgMapping {
    const map = this.map;
    const shift = canShiftOsds(pool);
    let raw: number[] = [];
    for (const osd of this.#rawOf(poolId, pool, seed)) {
      if (map.exists(osd)) raw.push(osd);
      else if (!shift) raw.push(ITEM_NONE);
    }
    raw = this.#applyUpmap(poolId, seed, raw);
    const up: number[] = [];
    for (const osd of raw) {
      if (map.isUp(osd)) up.push(osd);
      else if (!shift) up.push(ITEM_NONE);
    }
    const upPrimary = this.#choosePrimary(up, placementSeed(pool, poolId, seed), shift);
    const { acting, actingPrimary } = this.#temporary(poolId, seed, shift);
    if (acting.length > 0) return { up, upPrimary, acting, actingPrimary };
    return { up, upPrimary, acting: up, actingPrimary: actingPrimary === -1 ? upPrimary : actingPrimary };
  }

  /** An explicit mapping counts only while none of its targets is out. */
  #applyUpmap(poolId: number, seed: number, raw: number[]): number[] {
    const map = this.map;
    const whole = map.pgUpmap.get(poolId, seed);
    if (whole !== undefined) {
      // Ignoring it means that the item mappings are ignored too.
      if (whole.some((osd) => markedOut(map, osd))) return raw;
      raw = [...whole];
    }
    const items = map.pgUpmapItems.get(poolId, seed);
    return items === undefined ? raw : applyUpmapItems(map, raw, items);
  }

  /** First OSD, unless primary affinity passes it over; where ranks close it also moves to the front. */
  #choosePrimary(osds: number[], pps: number, shift: boolean): number {
    const map = this.map;
    const first = osds.find((osd) => osd !== ITEM_NONE) ?? -1;
    if (map.primaryAffinity === undefined) return first;
    if (osds.every((osd) => osd === ITEM_NONE || map.affinity(osd) === DEFAULT_PRIMARY_AFFINITY)) return first;
    let at = -1;
    for (let i = 0; i < osds.length; i++) {
      const osd = osds[i]!;
      if (osd === ITEM_NONE) continue;
      const affinity = map.affinity(osd);
      if (affinity < MAX_PRIMARY_AFFINITY && crushHash2(pps, osd) >>> 16 >= affinity) {
        // Passed over, but better than none.
        if (at < 0) at = i;
      } else {
        at = i;
        break;
      }
    }
    if (at < 0) return first;
    const primary = osds[at]!;
    if (shift && at > 0) {
      osds.copyWithin(1, 0, at);
      osds[0] = primary;
    }
    return primary;
  }

  #temporary(poolId: number, seed: number, shift: boolean): { acting: number[]; actingPrimary: number } {
    const map = this.map;
    const acting: number[] = [];
    for (const osd of map.pgTemp.get(poolId, seed) ?? []) {
      if (map.isUp(osd)) acting.push(osd);
      else if (!shift) acting.push(ITEM_NONE);
    }
    const primary = map.primaryTemp.get(poolId, seed);
    return { acting, actingPrimary: primary ?? acting.find((osd) => osd !== ITEM_NONE) ?? -1 };
  }
}

/** Whether two lists are of the same OSDs in the same order. */
export function sameOsds(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((osd, i) => osd === b[i]);
}
