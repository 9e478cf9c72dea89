import { applyIncremental } from '../../maps/apply.ts';
import { OSD_BACKFILLFULL, OSD_FULL, OSD_NEARFULL, OSD_OUT, OSD_UP } from '../../maps/constants.ts';
import type { OsdMapIncremental } from '../../maps/incremental.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { Placement } from '../../maps/placement.ts';
import type { UTime } from '../../wire/encoding.ts';
import { poolFullness, withFullness } from './fullness.ts';

/** What every increment gets before it is written: time stamps, what full disks mean for pools, and the removal of temporary mappings that mean nothing any more. */
export function finishIncremental(inc: OsdMapIncremental, map: OsdMap, now: UTime): void {
  if (changesUp(inc)) inc.newLastUpChange = now;
  if (changesIn(inc, map)) inc.newLastInChange = now;
  markFullPools(inc, map);
  dropPgs(inc, map);
  dropTemps(inc, map);
}

function changesUp(inc: OsdMapIncremental): boolean {
  if (inc.newUpClient.size > 0) return true;
  for (const bits of inc.newState.values()) if (bits === 0 || (bits & OSD_UP) !== 0) return true;
  return false;
}

/** Pools of which a disk is full, and which are no more. */
function markFullPools(inc: OsdMapIncremental, map: OsdMap): void {
  const bits = OSD_FULL | OSD_BACKFILLFULL | OSD_NEARFULL;
  const wasFull = map.osds().some((osd) => (map.osdState[osd]! & bits) !== 0);
  const changes = [...inc.newState.values()].some((state) => (state & bits) !== 0);
  if (!wasFull && !changes) return;
  const next = applyIncremental(map, inc);
  for (const [id, flag] of poolFullness(next)) {
    const pool = next.pools.get(id)!;
    const flags = withFullness(pool, flag);
    if (flags !== pool.flags) inc.newPools.set(id, { ...pool, flags, lastChange: inc.epoch });
  }
}

function changesIn(inc: OsdMapIncremental, map: OsdMap): boolean {
  for (const [osd, weight] of inc.newWeight) if ((weight === OSD_OUT) !== map.isOut(osd)) return true;
  return false;
}

/** What is said of PGs of removed pools, and of PGs that merged into others. */
function dropPgs(inc: OsdMapIncremental, map: OsdMap): void {
  const shrunk = [...inc.newPools].some(([id, pool]) => pool.pgNum < (map.pools.get(id)?.pgNum ?? 0));
  if (inc.oldPools.size === 0 && !shrunk) return;
  const gone = (pool: number, seed: number): boolean =>
    inc.oldPools.has(pool) || seed >= (inc.newPools.get(pool)?.pgNum ?? Number.POSITIVE_INFINITY);
  for (const [{ pool, seed }] of map.pgTemp.entries()) if (gone(pool, seed)) inc.newPgTemp.set(pool, seed, []);
  for (const [{ pool, seed }] of map.primaryTemp.entries())
    if (gone(pool, seed)) inc.newPrimaryTemp.set(pool, seed, -1);
  for (const [{ pool, seed }] of map.pgUpmap.entries()) if (gone(pool, seed)) inc.oldPgUpmap.set(pool, seed, true);
  for (const [{ pool, seed }] of map.pgUpmapItems.entries())
    if (gone(pool, seed)) inc.oldPgUpmapItems.set(pool, seed, true);
}

/** A pg_temp of OSDs that are all gone, or that says what CRUSH says anyway, is taken back (`OSDMap::clean_temps`). */
function dropTemps(inc: OsdMapIncremental, map: OsdMap): void {
  if (map.pgTemp.size === 0 && inc.newPgTemp.size === 0) return;
  const next = applyIncremental(map, inc);
  if (next.pgTemp.size === 0) return;
  const placement = new Placement(next);
  for (const [{ pool, seed }, osds] of next.pgTemp.entries()) {
    const { up } = placement.mapPg(pool, seed);
    const same = osds.length === up.length && osds.every((osd, i) => osd === up[i]);
    if (!same && osds.some((osd) => next.isUp(osd))) continue;
    inc.newPgTemp.set(pool, seed, []);
    if (next.primaryTemp.get(pool, seed) !== undefined) inc.newPrimaryTemp.set(pool, seed, -1);
  }
}
