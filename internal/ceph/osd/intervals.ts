import { sameOsds } from '../maps/placement.ts';
import { touchedByPgNum } from '../maps/pg-num.ts';
import type { PastInterval, PgHistory } from '../wire/messages/osd_pg.ts';
import type { PgId } from '../wire/types.ts';
import type { MapView, Placement } from './map-view.ts';
import { noMember, placed } from './shards.ts';

/** What of the maps decides an interval. */
export interface IntervalKey extends Placement {
  seed: number;
  size: number;
  minSize: number;
  pgNum: number;
  pgNumPending: number;
  /** `up_from` of each acting OSD: a restart begins an interval, also when no map between shows the OSD down. */
  upFrom: readonly number[];
  exists: boolean;
}

export function intervalKey(map: MapView, pg: PgId): IntervalKey {
  const pool = map.pool(pg.pool);
  if (pool === undefined)
    return {
      seed: pg.seed,
      up: [],
      upPrimary: -1,
      acting: [],
      actingPrimary: -1,
      size: 0,
      minSize: 0,
      pgNum: 0,
      pgNumPending: 0,
      upFrom: [],
      exists: false,
    };
  const placement = map.place(pg);
  return {
    seed: pg.seed,
    up: placement.up,
    upPrimary: placement.upPrimary,
    acting: placement.acting,
    actingPrimary: placement.actingPrimary,
    size: pool.size,
    minSize: pool.minSize,
    pgNum: pool.pgNum,
    pgNumPending: pool.pgNumPending,
    upFrom: placement.acting.map((osd) => map.upFrom(osd)),
    exists: true,
  };
}

/** `PastIntervals::is_new_interval`: whether a PG must peer again between two consecutive maps. */
export function isNewInterval(before: IntervalKey, after: IntervalKey): boolean {
  return (
    before.actingPrimary !== after.actingPrimary ||
    before.upPrimary !== after.upPrimary ||
    before.size !== after.size ||
    before.minSize > after.minSize ||
    touchedByPgNum(before.seed, before.pgNum, after.pgNum) ||
    touchedByPgNum(before.seed, before.pgNumPending, after.pgNumPending) ||
    !sameOsds(before.acting, after.acting) ||
    !sameOsds(before.upFrom, after.upFrom) ||
    !sameOsds(before.up, after.up)
  );
}

/**
 * Whether the interval that began at `first` and ended before `last.epoch + 1` may have taken writes: enough OSDs, a primary, and that primary
 * had its up_thru recorded (without which no PG goes active).
 */
export function maybeWentRw(key: IntervalKey, first: number, last: MapView): boolean {
  const primary = key.actingPrimary;
  const members = placed(key.acting);
  if (primary < 0 || members === 0 || members < key.minSize) return false;
  return last.upThru(primary) >= first && last.upFrom(primary) <= first;
}

/** The interval that began at `first` with `key` and ended with `next`; `last` is a map of it, its newest. */
export function closedInterval(key: IntervalKey, first: number, last: MapView, next: number): PastInterval {
  return {
    first,
    last: next - 1,
    up: [...key.up],
    acting: [...key.acting],
    upPrimary: key.upPrimary,
    primary: key.actingPrimary,
    maybeWentRw: maybeWentRw(key, first, last),
  };
}

/** Removes intervals that end before the PG was last clean or last known started. */
export function trimIntervals(past: PastInterval[], history: PgHistory): PastInterval[] {
  const since = history.lastEpochClean;
  return past.filter((interval) => interval.last >= since);
}

/** Merges what another member remembers: the older start counts. Both lists describe the same epochs. */
export function mergeIntervals(ours: readonly PastInterval[], theirs: readonly PastInterval[]): PastInterval[] {
  if (ours.length === 0) return [...theirs];
  const oldest = ours[0]!.first;
  const earlier = theirs.filter((interval) => interval.last < oldest);
  return [...earlier, ...ours];
}

/** Whom peering must ask, and for whom it must wait. */
export interface PriorSet {
  /** Up OSDs to ask for their info. */
  probe: Set<number>;
  /** Down OSDs of past intervals: when one comes up the set is built anew. */
  down: Set<number>;
  /** Set when some past interval may have taken writes and none of its members can be asked. */
  blocked: boolean;
  /** The OSDs for which it waits, with the `lost_at` known when it was built. */
  blockedBy: Map<number, number>;
}

/**
 * `PeeringState::build_prior`: members of now, and of every past interval since the PG was last known active that may have taken writes. Of each such
 * interval at least `needed` members must be up (replicated: any one has everything; else as many shards as make an object), or be declared lost.
 */
export function buildPrior(
  map: MapView,
  past: readonly PastInterval[],
  history: PgHistory,
  up: readonly number[],
  acting: readonly number[],
  needed = 1,
): PriorSet {
  const prior: PriorSet = {
    probe: new Set([...up, ...acting].filter((osd) => osd !== noMember)),
    down: new Set(),
    blocked: false,
    blockedBy: new Map(),
  };
  for (let i = past.length - 1; i >= 0; i--) {
    const interval = past[i]!;
    if (interval.last < history.lastEpochStarted) break;
    if (!interval.maybeWentRw || placed(interval.acting) === 0) continue;
    let upNow = 0;
    const candidates: number[] = [];
    for (const osd of interval.acting) {
      if (osd === noMember) continue;
      if (map.isUp(osd)) {
        prior.probe.add(osd);
        upNow++;
      } else if (!map.exists(osd) || map.lostAt(osd) > interval.first) {
        prior.down.add(osd);
        // Lost: its operator said to go on without it, so it counts as asked.
        upNow++;
      } else {
        prior.down.add(osd);
        candidates.push(osd);
      }
    }
    if (upNow < needed) {
      prior.blocked = true;
      for (const osd of candidates) prior.blockedBy.set(osd, map.lostAt(osd));
    }
  }
  return prior;
}

/**
 * OSDs that are down and may still answer clients for an earlier interval, if their leases last (`prior_readable_down_osds`): those that could serve in an interval since
 * the last one of which it is known that nobody had to be waited for. Those that are up have said that they are in the present interval.
 */
export function readableDown(map: MapView, past: readonly PastInterval[], history: PgHistory): Set<number> {
  const down = new Set<number>();
  for (const interval of past) {
    if (interval.last < history.lastEpochReadable || !interval.maybeWentRw) continue;
    for (const osd of interval.acting) if (osd !== noMember && !map.isUp(osd)) down.add(osd);
  }
  return down;
}

/** `PriorSet::affected_by_map`: whether a newer map of the same interval changes the answer. */
export function priorChangedBy(prior: PriorSet, map: MapView): boolean {
  for (const osd of prior.probe) if (!map.isUp(osd)) return true;
  for (const osd of prior.down) if (map.isUp(osd) || !map.exists(osd)) return true;
  for (const [osd, lostAt] of prior.blockedBy) if (map.lostAt(osd) !== lostAt) return true;
  return false;
}
