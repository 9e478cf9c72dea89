import { leavesOf, parentOf } from '../../crush/build.ts';
import { MAP_NOOUT, OSD_NOOUT } from '../../maps/constants.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { osdFlags } from './daemons.ts';

export interface DownOutLimits {
  /** Down for so long, then out; 0: never. */
  intervalMs: number;
  /** OSDs that must stay in, as a share of all. */
  minInRatio: number;
  /** When a whole subtree of this type is down, it is not marked out: somebody is working there. */
  subtreeLimit: string;
}

/** Since when OSDs that are down and in have been so, by the mon's own clock: a mon that just started gives them the whole time again. */
export class DownTimes {
  readonly #since = new Map<number, number>();

  /** Follows the map; gives OSDs that are to be marked out. */
  due(map: OsdMap, nowMs: number, limits: DownOutLimits): { osd: number; downMs: number }[] {
    for (const osd of this.#since.keys())
      if (!map.exists(osd) || map.isUp(osd) || map.isOut(osd)) this.#since.delete(osd);
    const out: { osd: number; downMs: number }[] = [];
    let leaving = 0;
    for (const osd of map.osds()) {
      if (map.isUp(osd) || map.isOut(osd)) continue;
      const since = this.#since.get(osd);
      if (since === undefined) {
        this.#since.set(osd, nowMs);
        continue;
      }
      if (limits.intervalMs === 0 || nowMs - since < limits.intervalMs) continue;
      if (map.hasFlag(MAP_NOOUT) || (osdFlags(map, osd) & OSD_NOOUT) !== 0) continue;
      const all = map.osds().length;
      if ((map.countIn() - leaving) / all < limits.minInRatio) continue;
      if (subtreeIsDown(map, osd, limits.subtreeLimit)) continue;
      leaving++;
      out.push({ osd, downMs: nowMs - since });
    }
    return out;
  }

  clear(): void {
    this.#since.clear();
  }

  forgive(ms: number): void {
    for (const [osd, since] of this.#since) this.#since.set(osd, since + ms);
  }
}

/** Whether everything in the lowest bucket at or above the limit's type is down. */
function subtreeIsDown(map: OsdMap, osd: number, limit: string): boolean {
  const type = map.crush.typeOfName(limit);
  if (type === undefined) return false;
  for (let at = parentOf(map.crush, osd); at !== undefined; at = parentOf(map.crush, at.id)) {
    if (leavesOf(map.crush, at.id).some((leaf) => map.isUp(leaf))) return false;
    if (at.type >= type) return true;
  }
  return false;
}
