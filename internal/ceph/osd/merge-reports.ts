import { pendingMerge, seedAt } from '../maps/pg-num.ts';
import { eversionZero, type PgId, pgText } from '../wire/types.ts';
import type { MapView } from './map-view.ts';
import type { MonRequests } from './mon-requests.ts';
import type { Pg } from './pg.ts';
import { sameActing } from './pg-split.ts';
import { leadingPg } from './shards.ts';

/** Tells the mon which PGs are ready to merge, or that they cannot be (`OSDService::_send_ready_to_merge`). */
export class MergeReports {
  readonly #pgs: ReadonlyMap<string, Pg>;
  readonly #requests: MonRequests;

  constructor(pgs: ReadonlyMap<string, Pg>, requests: MonRequests) {
    this.#pgs = pgs;
    this.#requests = requests;
  }

  /** Our copy of a PG, or of the shard that leads it. */
  #leader(map: MapView, pg: PgId): Pg | undefined {
    return this.#pgs.get(pgText(leadingPg(map, pg)));
  }

  /** Looks at the PG of each pool that goes next, if we lead it. */
  check(map: MapView): void {
    for (const id of map.pools()) {
      const pool = map.pool(id)!;
      const source = { pool: id, seed: pool.pgNum - 1 };
      if (pendingMerge(source.seed, pool) !== 'source') continue;
      const from = this.#leader(map, source);
      if (from?.core.isPrimary !== true || from.core.map.epoch !== map.epoch) continue;
      const target = { pool: id, seed: seedAt(source.seed, pool.pgNumPending) };
      const into = this.#leader(map, target);
      const states = [from.mergeable, into?.mergeable ?? 'wait'];
      if (into === undefined || states.includes('no') || !sameActing(map, source, target)) {
        if (from.peering.phase !== 'active') continue;
        this.#requests.mergeReady({
          source,
          sourceVersion: eversionZero,
          targetVersion: eversionZero,
          lastEpochStarted: 0,
          lastEpochClean: 0,
          ready: false,
        });
      } else if (states.every((state) => state === 'yes') && into.core.map.epoch === map.epoch)
        this.#requests.mergeReady({
          source,
          sourceVersion: from.core.info.lastUpdate,
          targetVersion: into.core.info.lastUpdate,
          lastEpochStarted: into.core.info.history.lastEpochStarted,
          lastEpochClean: into.core.info.history.lastEpochClean,
          ready: true,
        });
    }
  }
}
