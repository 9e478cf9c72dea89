import { seedAt } from '../maps/pg-num.ts';
import { emptyPgHistory, type PastInterval, type PgHistory } from '../wire/messages/osd_pg.ts';
import type { PgId } from '../wire/types.ts';
import { closedInterval, type IntervalKey, intervalKey, isNewInterval } from './intervals.ts';
import type { MapView } from './map-view.ts';
import { viewFor } from './shards.ts';

/** The maps that the OSD keeps. */
export interface MapHistory {
  readonly oldest: number;
  readonly newest: number;
  get(epoch: number): MapView | undefined;
  /** Epoch in which a pool first appeared, when all maps since then are known here. */
  poolCreated(pool: number): number | undefined;
}

/** Where the PG's objects were in a map: before a split, in the PG that it split from. */
function keyIn(view: MapView, pg: PgId): IntervalKey {
  const pool = view.pool(pg.pool);
  return intervalKey(view, pool === undefined ? pg : { ...pg, seed: seedAt(pg.seed, pool.pgNum) });
}

/**
 * What a PG has been through from the epoch `created` to `until`, with the PGs that it split from; undefined: the maps since then are not kept.
 */
export function historySince(
  maps: MapHistory,
  pg: PgId,
  created: number,
  until: number,
): { history: PgHistory; past: PastInterval[] } | undefined {
  const history: PgHistory = {
    ...emptyPgHistory(),
    epochCreated: created,
    sameIntervalSince: created,
    sameUpSince: created,
    samePrimarySince: created,
  };
  const past: PastInterval[] = [];
  const first = maps.get(created);
  if (first === undefined) return undefined;
  let last = viewFor(first, pg);
  let key = keyIn(last, pg);
  for (let epoch = created + 1; epoch <= until; epoch++) {
    const found = maps.get(epoch);
    if (found === undefined) continue;
    const next = viewFor(found, pg);
    const nextKey = keyIn(next, pg);
    if (key.seed !== nextKey.seed || isNewInterval(key, nextKey)) {
      past.push(closedInterval(key, history.sameIntervalSince, last, epoch));
      if (key.pgNum < nextKey.pgNum) history.lastEpochSplit = epoch;
      history.sameIntervalSince = epoch;
      if (key.up.length !== nextKey.up.length || key.up.some((osd, i) => osd !== nextKey.up[i]))
        history.sameUpSince = epoch;
      if (key.actingPrimary !== nextKey.actingPrimary) history.samePrimarySince = epoch;
    }
    key = nextKey;
    last = next;
  }
  return { history, past };
}

/** Whether no interval of the PG began after `epoch` up to `until`, as far as the maps that are kept tell. */
export function intervalLasts(maps: MapHistory, pg: PgId, epoch: number, until: number): boolean {
  const first = maps.get(epoch);
  if (first === undefined) return false;
  let key = intervalKey(viewFor(first, pg), pg);
  for (let e = epoch + 1; e <= until; e++) {
    const next = maps.get(e);
    if (next === undefined) return false;
    const nextKey = intervalKey(viewFor(next, pg), pg);
    if (isNewInterval(key, nextKey)) return false;
    key = nextKey;
  }
  return true;
}
