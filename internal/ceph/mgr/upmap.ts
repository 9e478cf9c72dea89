import { RULE_CHOOSE_FIRSTN, RULE_CHOOSE_INDEP, RULE_CHOOSELEAF_FIRSTN, RULE_CHOOSELEAF_INDEP } from '../crush/map.ts';
import { ITEM_NONE, RULE_EMIT, RULE_TAKE, WEIGHT_ONE } from '../crush/map.ts';
import { ruleWeights } from '../crush/rules.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { applyUpmapItems, Placement } from '../maps/placement.ts';

/** From an OSD to another one, as `osd pg-upmap-items` has it. */
export type UpmapItem = readonly [from: number, to: number];

/** Exceptions of a pool's PGs by seed; undefined: the PG has none any more. */
export type UpmapChanges = Map<number, readonly UpmapItem[] | undefined>;

export interface UpmapOptions {
  /** PGs by which an OSD may be off. */
  maxDeviation: number;
  /** Changes at most. */
  max: number;
}

/** Attempts that make it no better, in one step, before another kind is tried (`osd_calc_pg_upmaps_local_fallback_retries`). */
const fruitlessMax = 100;

/** One take of a rule: the OSDs below it, each with its buckets of the types that the rule chooses, from the top. */
interface Take {
  readonly above: ReadonlyMap<number, readonly number[]>;
}

/** What a rule asks of the OSDs of a PG. */
class RuleShape {
  readonly #takes: Take[] = [];

  constructor(map: OsdMap, ruleId: number) {
    const { crush } = map;
    const choosing = new Set([RULE_CHOOSE_FIRSTN, RULE_CHOOSE_INDEP, RULE_CHOOSELEAF_FIRSTN, RULE_CHOOSELEAF_INDEP]);
    let root: number | undefined;
    let types: number[] = [];
    for (const { op, arg1, arg2 } of crush.rules[ruleId]?.steps ?? []) {
      if (op === RULE_TAKE) {
        root = arg1;
        types = [];
      } else if (choosing.has(op)) types.push(arg2);
      else if (op === RULE_EMIT && root !== undefined) {
        const above = new Map<number, readonly number[]>();
        const visit = (id: number, path: readonly number[]): void => {
          if (id >= 0) {
            above.set(
              id,
              types.map((type) => (type === 0 ? id : (path.find((b) => crush.typeOf(b) === type) ?? id))),
            );
            return;
          }
          for (const item of crush.bucket(id)?.items ?? []) visit(item, [...path, id]);
        };
        visit(root, []);
        this.#takes.push({ above });
      }
    }
  }

  /** Whether `to` may stand in for `from` among `osds`: below the same take, and no place that the rule wants different ones of is there twice. */
  allows(osds: readonly number[], from: number, to: number): boolean {
    return this.#takes.some(({ above }) => {
      const here = above.get(from);
      const there = above.get(to);
      if (here === undefined || there === undefined) return false;
      const others = osds.filter((osd) => osd !== from && osd !== ITEM_NONE).map((osd) => above.get(osd) ?? []);
      return here.every((bucket, level) => {
        if (there[level] === bucket) return true;
        // Where several OSDs share a place the rule wants that many of them there.
        if (others.some((other) => other[level] === bucket)) return false;
        return others.every((other) => other[level] !== there[level]);
      });
    });
  }
}

interface Change {
  seed: number;
  items: readonly UpmapItem[];
  /** What it does to the OSDs' shares. */
  moves: readonly UpmapItem[];
}

/**
 * Exceptions (`pg_upmap_items`) that even out how many PGs of a pool its OSDs have, a few at a time: the fullest gives to the emptiest, within what the pool's rule asks; exceptions that are
 * the reason go first (`OSDMap::calc_pg_upmaps`). Each makes the sum of squared deviations smaller. Empty: all OSDs are within `maxDeviation`, or nothing helps.
 */
export function calcPgUpmaps(map: OsdMap, poolId: number, { max, maxDeviation }: UpmapOptions): UpmapChanges {
  const pool = map.pools.get(poolId);
  const rule = pool === undefined ? -1 : map.crush.findRule(pool.crushRule, pool.type, pool.size);
  if (pool === undefined || rule < 0) return new Map();
  return new Search(map, poolId, rule, Math.max(1, maxDeviation)).run(max);
}

class Search {
  readonly #map: OsdMap;
  readonly #pool: number;
  readonly #size: number;
  readonly #limit: number;
  readonly #shape: RuleShape;
  readonly #placement: Placement;
  /** PGs that each OSD should have. */
  readonly #targets = new Map<number, number>();
  /** Seeds of the PGs that each OSD has. */
  readonly #pgs = new Map<number, Set<number>>();
  readonly #items = new Map<number, readonly UpmapItem[]>();

  constructor(map: OsdMap, poolId: number, rule: number, maxDeviation: number) {
    this.#map = map;
    this.#pool = poolId;
    this.#limit = maxDeviation;
    this.#shape = new RuleShape(map, rule);
    this.#placement = new Placement(map);
    const { pgNum, size } = map.pools.get(poolId)!;
    this.#size = size;
    const weights = new Map<number, number>();
    for (const [osd, share] of ruleWeights(map.crush, rule)) {
      const weight = ((map.osdWeight[osd] ?? 0) / WEIGHT_ONE) * share;
      if (weight > 0) weights.set(osd, weight);
    }
    const all = [...weights.values()].reduce((a, b) => a + b, 0);
    for (const [osd, weight] of weights) {
      this.#targets.set(osd, (weight / all) * size * pgNum);
      this.#pgs.set(osd, new Set());
    }
    for (let seed = 0; seed < pgNum; seed++) {
      for (const osd of this.#placement.mapPg(poolId, seed).up) this.#pgs.get(osd)?.add(seed);
      const items = map.pgUpmapItems.get(poolId, seed);
      if (items !== undefined) this.#items.set(seed, items);
    }
  }

  run(max: number): UpmapChanges {
    const changes: UpmapChanges = new Map();
    let skipOverfull = false;
    for (let left = max; left > 0; left--) {
      const deviations = this.#deviations();
      if (deviations.every(([, deviation]) => Math.abs(deviation) <= this.#limit)) break;
      const before = badness(deviations);
      const skip = new Set<number>();
      let change: Change | undefined;
      let tried = 0;
      for (; tried < fruitlessMax; tried++) {
        change =
          (skipOverfull ? undefined : this.#fromOverfull(deviations, skip)) ?? this.#fromUnderfull(deviations, skip);
        if (change === undefined || this.#badnessWith(change, deviations) < before) break;
        skip.add(change.seed);
      }
      if (tried === fruitlessMax) {
        // Both ends get the same attention.
        skipOverfull = !skipOverfull;
        continue;
      }
      if (change === undefined) {
        if (!skipOverfull) break;
        skipOverfull = false;
        continue;
      }
      this.#apply(change);
      changes.set(change.seed, change.items.length === 0 ? undefined : change.items);
    }
    // What came back to what it was is no change.
    for (const [seed, items] of changes) {
      const known = this.#map.pgUpmapItems.get(this.#pool, seed);
      if (String(known ?? '') === String(items ?? '')) changes.delete(seed);
    }
    return changes;
  }

  /** PGs that each OSD has too many, the emptiest first. */
  #deviations(): [osd: number, deviation: number][] {
    return [...this.#pgs]
      .map(([osd, pgs]): [number, number] => [osd, pgs.size - this.#targets.get(osd)!])
      .sort((a, b) => a[1] - b[1] || a[0] - b[0]);
  }

  #badnessWith({ moves }: Change, deviations: readonly [number, number][]): number {
    const now = new Map(deviations);
    for (const [from, to] of moves) {
      if (now.has(from)) now.set(from, now.get(from)! - 1);
      if (now.has(to)) now.set(to, now.get(to)! + 1);
    }
    return badness([...now]);
  }

  #apply({ seed, items, moves }: Change): void {
    for (const [from, to] of moves) {
      this.#pgs.get(from)?.delete(seed);
      this.#pgs.get(to)?.add(seed);
    }
    if (items.length === 0) this.#items.delete(seed);
    else this.#items.set(seed, items);
  }

  /** Without the pairs that `gone` tells of; undefined when it tells of none. */
  #without(seed: number, gone: (item: UpmapItem) => boolean): Change | undefined {
    const items = this.#items.get(seed) ?? [];
    const moves = items.filter(gone).map(([from, to]): UpmapItem => [to, from]);
    return moves.length === 0 ? undefined : { seed, items: items.filter((item) => !gone(item)), moves };
  }

  #fromOverfull(deviations: readonly [number, number][], skip: ReadonlySet<number>): Change | undefined {
    const fullest = [...deviations].reverse();
    const over = fullest.filter(([, deviation]) => deviation > this.#limit);
    const under = deviations.filter(([, deviation]) => deviation < -this.#limit);
    // Those that are only a little too full give when somebody has much too little.
    const givers = over.length > 0 ? over : under.length > 0 ? fullest.filter(([, deviation]) => deviation > 0) : [];
    const few = deviations.filter(([, deviation]) => deviation < 0 && deviation >= -this.#limit);
    const takers = [...under, ...few].map(([osd]) => osd);
    const by = new Map(deviations);
    const giving = new Set(givers.map(([osd]) => osd));
    for (const [osd] of givers) {
      const seeds = [...this.#pgs.get(osd)!].filter((seed) => !skip.has(seed)).sort((a, b) => a - b);
      for (const seed of seeds) {
        const change = this.#without(seed, ([, to]) => to === osd);
        if (change !== undefined) return change;
      }
      for (const seed of seeds) {
        const change = this.#moved(seed, giving, takers, by);
        if (change !== undefined) return change;
      }
    }
    return undefined;
  }

  /** Another place for the copy of a PG on the fullest of `giving`. */
  #moved(
    seed: number,
    giving: ReadonlySet<number>,
    takers: readonly number[],
    deviations: ReadonlyMap<number, number>,
  ): Change | undefined {
    // A whole placement by hand is left alone.
    if (this.#map.pgUpmap.get(this.#pool, seed) !== undefined) return undefined;
    const items = this.#items.get(seed) ?? [];
    if (items.length >= this.#size) return undefined;
    const osds = applyUpmapItems(this.#map, [...this.#placement.rawOsds(this.#pool, seed)], items);
    const touched = new Set(items.flat());
    const from = osds
      .filter((osd) => giving.has(osd) && !touched.has(osd))
      .sort((a, b) => deviations.get(b)! - deviations.get(a)!);
    for (const one of from)
      for (const to of takers)
        if (!osds.includes(to) && !touched.has(to) && this.#map.isUp(to) && this.#shape.allows(osds, one, to))
          return { seed, items: [...items, [one, to]], moves: [[one, to]] };
    return undefined;
  }

  #fromUnderfull(deviations: readonly [number, number][], skip: ReadonlySet<number>): Change | undefined {
    for (const [osd, deviation] of deviations) {
      if (deviation >= -this.#limit) return undefined;
      for (const seed of [...this.#items.keys()].sort((a, b) => a - b)) {
        if (skip.has(seed)) continue;
        const change = this.#without(seed, ([from]) => from === osd);
        if (change !== undefined) return change;
      }
    }
    return undefined;
  }
}

function badness(deviations: readonly (readonly [number, number])[]): number {
  return deviations.reduce((sum, [, deviation]) => sum + deviation * deviation, 0);
}
