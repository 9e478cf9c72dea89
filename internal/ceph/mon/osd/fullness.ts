import { ruleWeights } from '../../crush/rules.ts';
import { OSD_BACKFILLFULL, OSD_FULL, OSD_NEARFULL } from '../../maps/constants.ts';
import type { OsdMapIncremental } from '../../maps/incremental.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { type PgPool, POOL_BACKFILLFULL, POOL_FULL, POOL_FULL_QUOTA, POOL_NEARFULL } from '../../maps/pool.ts';
import { toggleState } from './daemons.ts';

/** The fullest first: what the state of an OSD makes of the pools that have data there. */
const levels: readonly { osd: number; pool: number }[] = [
  { osd: OSD_FULL, pool: POOL_FULL },
  { osd: OSD_BACKFILLFULL, pool: POOL_BACKFILLFULL },
  { osd: OSD_NEARFULL, pool: POOL_NEARFULL },
];
const osdBits = OSD_FULL | OSD_BACKFILLFULL | OSD_NEARFULL;
const poolBits = POOL_FULL | POOL_BACKFILLFULL | POOL_NEARFULL;

/** An OSD says how full its disk is (`OSDMonitor::prepare_full`). False: the map says so already. */
export function setOsdFullness(inc: OsdMapIncremental, map: OsdMap, osd: number, state: number): boolean {
  const change = ((map.osdState[osd] ?? 0) ^ state) & osdBits;
  if (change !== 0) toggleState(inc, osd, change);
  return change !== 0;
}

/** Flags of pools that follow from how full the OSDs of their rules are, in the map that an increment leads to (`OSDMap::get_full_pools`). */
export function poolFullness(map: OsdMap): Map<number, number> {
  const levelOf = new Map<number, number>();
  for (const osd of map.osds()) {
    if (!map.isUp(osd) || !map.isIn(osd)) continue;
    const level = levels.findIndex((each) => (map.osdState[osd]! & each.osd) !== 0);
    if (level >= 0) levelOf.set(osd, level);
  }
  const ofRule = new Map<number, number>();
  const flagOf = (rule: number): number => {
    let flag = ofRule.get(rule);
    if (flag === undefined) {
      let fullest = levels.length;
      if (levelOf.size > 0)
        for (const osd of ruleWeights(map.crush, rule).keys()) fullest = Math.min(fullest, levelOf.get(osd) ?? fullest);
      flag = levels[fullest]?.pool ?? 0;
      ofRule.set(rule, flag);
    }
    return flag;
  };
  return new Map([...map.pools].map(([id, pool]) => [id, flagOf(pool.crushRule)]));
}

/** A pool that is over its quota stays full whatever its disks say. */
export function withFullness(pool: PgPool, flag: number): number {
  return (pool.flags & ~poolBits) | flag | (pool.flags & POOL_FULL_QUOTA ? POOL_FULL : 0);
}
