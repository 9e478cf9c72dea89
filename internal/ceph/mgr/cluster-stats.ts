import type { OsdMap } from '../maps/osdmap.ts';
import { PgMap } from '../maps/pg-map.ts';
import { Placement } from '../maps/placement.ts';
import { utimeFromMs } from '../wire/encoding.ts';
import {
  emptyOsdStat,
  emptyPgStat,
  hasPgState,
  type MPGStats,
  type OsdStat,
  PG_STALE,
  type PgStat,
  type PoolUsage,
} from '../wire/messages/osd_mgr.ts';
import type { PgId } from '../wire/types.ts';
import { growth, RateMeter } from './rates.ts';

/** What one OSD last said of itself. */
export interface OsdReport {
  stat: OsdStat;
  upFrom: number;
  seq: number;
  pools: ReadonlyMap<number, PoolUsage>;
}

/**
 * Everything that OSDs report, together with the OSDMap that says which of it still counts. Pure: time is given. Every PG of the map is here; one that
 * nobody reported has state 0, `unknown`.
 */
export class ClusterStats {
  #map: OsdMap;
  #placement: Placement;
  readonly pgs = new PgMap<PgStat>();
  readonly osds = new Map<number, OsdReport>();
  readonly rates = new RateMeter();
  readonly poolRates = new Map<number, RateMeter>();
  /** By the OSD that leads the PG. */
  readonly osdRates = new Map<number, RateMeter>();
  /** Counts up with every sample. */
  version = 0;
  stampMs = 0;
  /** Something changed since the last sample was taken. */
  dirty = true;

  constructor(map: OsdMap) {
    this.#map = map;
    this.#placement = new Placement(map);
  }

  get map(): OsdMap {
    return this.#map;
  }
  get placement(): Placement {
    return this.#placement;
  }

  /** A newer map: forgets what is gone, registers new PGs, marks PGs stale whose primary is down. */
  applyMap(map: OsdMap, nowMs: number): void {
    this.#map = map;
    this.#placement = new Placement(map, this.#placement);
    this.dirty = true;
    for (const [{ pool, seed }] of [...this.pgs.entries()]) {
      const p = map.pools.get(pool);
      if (p === undefined || seed >= p.pgNum) this.pgs.delete(pool, seed);
    }
    for (const pool of [...this.poolRates.keys()]) if (!map.pools.has(pool)) this.poolRates.delete(pool);
    for (const osd of [...this.osds.keys()]) {
      if (map.exists(osd)) continue;
      this.osds.delete(osd);
      this.osdRates.delete(osd);
    }
    for (const [id, pool] of map.pools)
      for (let seed = 0; seed < pool.pgNum; seed++) {
        const stat = this.pgs.get(id, seed);
        if (stat === undefined) this.#register({ pool: id, seed }, pool.createTime.sec === 0 ? nowMs : undefined);
        else this.#markStale(stat, nowMs);
      }
  }

  #register(pg: PgId, nowMs: number | undefined): void {
    const stat = emptyPgStat(pg);
    const pool = this.#map.pools.get(pg.pool)!;
    const place = this.#placement.mapPg(pg.pool, pg.seed);
    const since = nowMs === undefined ? pool.createTime : utimeFromMs(nowMs);
    stat.up = [...place.up];
    stat.acting = [...place.acting];
    stat.upPrimary = place.upPrimary;
    stat.actingPrimary = place.actingPrimary;
    stat.createdEpoch = pool.lastChange;
    stat.lastFresh = since;
    stat.lastChange = since;
    stat.lastScrubStamp = since;
    stat.lastDeepScrubStamp = since;
    stat.lastCleanScrubStamp = since;
    this.pgs.set(pg.pool, pg.seed, stat);
  }

  #markStale(stat: PgStat, nowMs: number): void {
    if (stat.actingPrimary < 0 || this.#map.isUp(stat.actingPrimary) || hasPgState(stat.state, PG_STALE)) return;
    stat.state += PG_STALE;
    stat.lastUnstale = utimeFromMs(nowMs);
    stat.lastChange = utimeFromMs(nowMs);
  }

  /** A report; one of an older incarnation or older than what is known changes nothing. Returns whether a PG changed its state. */
  applyReport(report: MPGStats): boolean {
    const { osdId, upFrom, seq } = report;
    const known = this.osds.get(osdId);
    if (report.fsid !== this.#map.fsid) return false;
    if (known !== undefined && (upFrom < known.upFrom || (upFrom === known.upFrom && seq < known.seq))) return false;
    this.osds.set(osdId, { stat: report.osd, upFrom, seq, pools: report.pools });
    this.dirty = true;
    let changed = known === undefined;
    for (const stat of report.pgs) changed = this.#applyPg(stat) || changed;
    return changed;
  }

  #applyPg(stat: PgStat): boolean {
    const { pool, seed } = stat.pg;
    const inMap = this.#map.pools.get(pool);
    if (inMap === undefined || seed >= inMap.pgNum) return false;
    const before = this.pgs.get(pool, seed);
    if (before !== undefined && before.reportedEpoch > 0) {
      if (
        stat.reportedEpoch < before.reportedEpoch ||
        (stat.reportedEpoch === before.reportedEpoch && stat.reportedSeq < before.reportedSeq)
      )
        return false;
      const grew = growth(before.sums, stat.sums);
      this.rates.add(grew);
      meter(this.poolRates, pool).add(grew);
      if (stat.actingPrimary >= 0) meter(this.osdRates, stat.actingPrimary).add(grew);
    }
    this.pgs.set(pool, seed, stat);
    return before?.state !== stat.state;
  }

  /** Takes a sample for the rates; call it regularly. */
  sample(nowMs: number): void {
    this.version++;
    this.stampMs = nowMs;
    this.rates.sample(nowMs);
    for (const m of this.poolRates.values()) m.sample(nowMs);
    for (const m of this.osdRates.values()) m.sample(nowMs);
  }

  /** What is shown of an OSD: nothing of one that is out counts (`ClusterState::ingest_pgstats`). Undefined: it never reported. */
  shownStat(osd: number): OsdStat | undefined {
    const stat = this.osds.get(osd)?.stat;
    return stat === undefined || !this.#map.isOut(osd) ? stat : emptyOsdStat;
  }

  /** Sizes of OSDs that hold data: those that are in. */
  *spaceOf(): Generator<[osd: number, stat: OsdStat]> {
    for (const osd of [...this.osds.keys()].sort((a, b) => a - b))
      if (this.#map.isIn(osd)) yield [osd, this.osds.get(osd)!.stat];
  }

  /** PGs by OSD: how many it acts in and how many it leads. */
  pgsByOsd(): Map<number, { acting: number; primary: number }> {
    const out = new Map<number, { acting: number; primary: number }>();
    const of = (osd: number): { acting: number; primary: number } => {
      const known = out.get(osd) ?? { acting: 0, primary: 0 };
      out.set(osd, known);
      return known;
    };
    for (const [, stat] of this.pgs.entries()) {
      for (const osd of stat.acting) if (osd >= 0 && osd < this.#map.maxOsd) of(osd).acting++;
      if (stat.actingPrimary >= 0) of(stat.actingPrimary).primary++;
    }
    return out;
  }
}

function meter(map: Map<number, RateMeter>, key: number): RateMeter {
  const known = map.get(key) ?? new RateMeter();
  map.set(key, known);
  return known;
}
