import { monFeatureNames, type MonMap } from '../../maps/monmap.ts';
import { addrVecText } from '../../wire/types.ts';
import type { Mon } from '../mon.ts';
import { cephRelease } from '../version.ts';
import { addrsJson, legacyAddr, legacyText } from './addrs.ts';
import type { Json } from './json.ts';
import { utimeText } from './units.ts';

/** Upstream counts elections up: odd while one is held and for a mon that is alone, even when several agree. Ours is made of the group's term. */
export function electionEpoch(mon: Mon): number {
  const { alone, cluster } = mon.group;
  return 2 * cluster.term + (alone ? 1 : 0);
}

function isoTime(time: { sec: number; nsec: number }): string {
  return utimeText(time).replace('+0000', 'Z');
}

export function featureNames(bits: bigint): string[] {
  return monFeatureNames.filter(([bit]) => (bits & bit) !== 0n).map(([, name]) => name);
}

export function monMapJson(map: MonMap): { [name: string]: Json } {
  return {
    epoch: map.epoch,
    fsid: map.fsid,
    modified: isoTime(map.lastChanged),
    created: isoTime(map.created),
    min_mon_release: map.minMonRelease,
    min_mon_release_name: cephRelease,
    election_strategy: map.strategy,
    'disallowed_leaders: ': map.disallowedLeaders.join(','),
    stretch_mode: map.stretchMode,
    tiebreaker_mon: map.tiebreaker,
    'removed_ranks: ': map.removedRanks.join(','),
    features: { persistent: featureNames(map.persistentFeatures), optional: featureNames(map.optionalFeatures) },
    mons: map.mons.map((mon, rank) => ({
      rank,
      name: mon.name,
      public_addrs: addrsJson(mon.addrs),
      addr: legacyText(legacyAddr(mon.addrs)),
      public_addr: legacyText(legacyAddr(mon.addrs)),
      priority: mon.priority,
      weight: mon.weight,
      crush_location: `{${[...mon.crushLocation].map(([type, name]) => `${type}=${name}`).join(',')}}`,
    })),
  };
}

export function monMapText(map: MonMap): string {
  let out = `epoch ${map.epoch}\nfsid ${map.fsid}\nlast_changed ${utimeText(map.lastChanged)}\n`;
  out += `created ${utimeText(map.created)}\nmin_mon_release ${map.minMonRelease} (${cephRelease})\nelection_strategy: ${map.strategy}\n`;
  for (const [rank, mon] of map.mons.entries()) out += `${rank}: ${addrVecText(mon.addrs)} mon.${mon.name}\n`;
  return out;
}
