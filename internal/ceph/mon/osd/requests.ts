import { ITEM_NONE } from '../../crush/map.ts';
import { sameOsds } from '../../maps/placement.ts';
import { isErasure } from '../../maps/pool.ts';
import type { MOSDAlive, MOSDPGTemp } from '../../wire/messages/osd_mon.ts';
import type { Draft } from '../draft.ts';

/**
 * Requests of OSDs that change the map and come in swarms while PGs peer: collected for a moment, then answered by one epoch.
 */
export class OsdRequests {
  readonly #upThru = new Map<number, number>();
  readonly #pgTemp = new Map<string, MOSDPGTemp['pgTemp'][number]>();

  get empty(): boolean {
    return this.#upThru.size === 0 && this.#pgTemp.size === 0;
  }

  alive(request: MOSDAlive): void {
    const want = Math.max(request.wantUpThru, request.epoch);
    this.#upThru.set(request.osdId, Math.max(this.#upThru.get(request.osdId) ?? 0, want));
  }

  pgTemp(request: MOSDPGTemp): void {
    for (const item of request.pgTemp) this.#pgTemp.set(`${item.pg.pool}.${item.pg.seed}`, item);
    // Whoever asks for an acting set has been alive up to its map.
    this.#upThru.set(request.osdId, Math.max(this.#upThru.get(request.osdId) ?? 0, request.epoch));
  }

  /** Whoever asked asks somebody else. */
  forget(): void {
    this.#upThru.clear();
    this.#pgTemp.clear();
  }

  /** Makes the epoch that grants what still makes sense, if anything does; forgets the requests. */
  apply(draft: Draft): void {
    const upThru = [...this.#upThru];
    const pgTemp = [...this.#pgTemp.values()];
    this.#upThru.clear();
    this.#pgTemp.clear();
    draft.osdmap((inc, map) => {
      for (const [osd, want] of upThru) {
        const known = Math.min(want, map.epoch);
        if (map.isUp(osd) && map.infoOf(osd).upThru < known) inc.newUpThru.set(osd, known);
      }
      for (const { pg, osds } of pgTemp) {
        const pool = map.pools.get(pg.pool);
        if (pool === undefined || pg.seed >= pool.pgNum) continue;
        const hole = isErasure(pool) ? ITEM_NONE : -1;
        if (osds.some((osd) => osd !== hole && (!map.exists(osd) || !map.isUp(osd)))) continue;
        const old = map.pgTemp.get(pg.pool, pg.seed);
        if (osds.length === 0 ? old === undefined : old !== undefined && sameOsds(old, osds)) continue;
        inc.newPgTemp.set(pg.pool, pg.seed, osds);
        if (map.primaryTemp.get(pg.pool, pg.seed) !== undefined) inc.newPrimaryTemp.set(pg.pool, pg.seed, -1);
      }
      return inc.newUpThru.size > 0 || inc.newPgTemp.size > 0;
    });
  }
}
