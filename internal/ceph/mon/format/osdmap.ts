import {
  DEFAULT_PRIMARY_AFFINITY,
  flagList,
  flagText,
  mapFlagNames,
  OSD_IN,
  osdStateNames,
  releaseName,
} from '../../maps/constants.ts';
import { minCompatClient } from './min-compat.ts';
import { intervalText } from '../../maps/intervals.ts';
import { type OsdMap, zeroUuid } from '../../maps/osdmap.ts';
import { type IntervalSet, addrVecText, pgText } from '../../wire/types.ts';
import { addrsJson, legacyAddr, legacyText } from './addrs.ts';
import { generalText, type Json } from './json.ts';
import { poolJson, poolText } from './pool.ts';
import { utimeText } from './units.ts';

/** A weight or affinity (16.16) as C's stream prints a float. */
export function fixedText(fixed: number): string {
  return generalText(Math.fround(fixed / OSD_IN), 6);
}

export function mapFlags(map: OsdMap): string {
  return flagText(map.flags, mapFlagNames);
}

export function osdStateText(map: OsdMap, osd: number): string {
  return flagText(map.osdState[osd] ?? 0, osdStateNames);
}

/** A member of `osds` in `osd dump`. */
export function osdJson(map: OsdMap, osd: number): { [name: string]: Json } {
  const info = map.infoOf(osd);
  const addrs = [
    map.clientAddrsOf(osd),
    map.clusterAddrsOf(osd),
    map.hbBackAddrs[osd] ?? [],
    map.hbFrontAddrs[osd] ?? [],
  ] as const;
  return {
    osd,
    uuid: map.osdUuid[osd] ?? zeroUuid,
    up: map.isUp(osd) ? 1 : 0,
    in: map.isIn(osd) ? 1 : 0,
    weight: Math.fround(map.osdWeight[osd]! / OSD_IN),
    primary_affinity: Math.fround(map.affinity(osd) / DEFAULT_PRIMARY_AFFINITY),
    last_clean_begin: info.lastCleanBegin,
    last_clean_end: info.lastCleanEnd,
    up_from: info.upFrom,
    up_thru: info.upThru,
    down_at: info.downAt,
    lost_at: info.lostAt,
    public_addrs: addrsJson(addrs[0]),
    cluster_addrs: addrsJson(addrs[1]),
    heartbeat_back_addrs: addrsJson(addrs[2]),
    heartbeat_front_addrs: addrsJson(addrs[3]),
    public_addr: legacyText(legacyAddr(addrs[0])),
    cluster_addr: legacyText(legacyAddr(addrs[1])),
    heartbeat_back_addr: legacyText(legacyAddr(addrs[2])),
    heartbeat_front_addr: legacyText(legacyAddr(addrs[3])),
    state: flagList(map.osdState[osd]!, osdStateNames),
  };
}

/** An OSD's line in `osd dump` and `osd info`, without a newline. */
export function osdText(map: OsdMap, osd: number): string {
  const info = map.infoOf(osd);
  let out = `osd.${osd} ${map.isUp(osd) ? 'up  ' : 'down'} ${map.isIn(osd) ? 'in ' : 'out'}`;
  out += ` weight ${fixedText(map.osdWeight[osd]!)}`;
  if (map.affinity(osd) !== DEFAULT_PRIMARY_AFFINITY) out += ` primary_affinity ${fixedText(map.affinity(osd))}`;
  out += ` up_from ${info.upFrom} up_thru ${info.upThru} down_at ${info.downAt}`;
  out += ` last_clean_interval [${info.lastCleanBegin},${info.lastCleanEnd})`;
  if (info.lostAt > 0) out += ` lost_at ${info.lostAt}`;
  for (const addrs of [map.clientAddrsOf(osd), map.clusterAddrsOf(osd)])
    out += ` ${addrs.length === 0 ? '' : addrVecText(addrs)}`;
  out += ` ${osdStateText(map, osd)}`;
  const uuid = map.osdUuid[osd] ?? zeroUuid;
  return uuid === zeroUuid ? out : `${out} ${uuid}`;
}

function snapSets(sets: ReadonlyMap<number, IntervalSet>): Json {
  return [...sets].map(([pool, set]) => ({
    pool,
    snaps: set.map(([begin, length]) => ({ begin, length })),
  }));
}

/** `osd dump -f json`. */
export function osdMapJson(map: OsdMap): Json {
  const sortedFlags = [...flagList(map.flags, mapFlagNames)].sort();
  return {
    epoch: map.epoch,
    fsid: map.fsid,
    created: utimeText(map.created),
    modified: utimeText(map.modified),
    last_up_change: utimeText(map.lastUpChange),
    last_in_change: utimeText(map.lastInChange),
    flags: mapFlags(map),
    flags_num: map.flags,
    flags_set: sortedFlags,
    crush_version: map.crushVersion,
    full_ratio: map.fullRatio,
    backfillfull_ratio: map.backfillfullRatio,
    nearfull_ratio: map.nearfullRatio,
    cluster_snapshot: map.clusterSnapshot,
    pool_max: map.poolMax,
    max_osd: map.maxOsd,
    require_min_compat_client: releaseName(map.requireMinCompatClient),
    min_compat_client: releaseName(minCompatClient(map)),
    require_osd_release: releaseName(map.requireOsdRelease),
    pools: [...map.pools].map(([id, pool]) => ({
      pool: id,
      pool_name: map.poolNames.get(id) ?? '<unknown>',
      ...poolJson(pool),
    })),
    osds: map.osds().map((osd) => osdJson(map, osd)),
    osd_xinfo: map.osds().map((osd) => {
      const x = map.xinfoOf(osd);
      return {
        osd,
        down_stamp: utimeText(x.downStamp),
        laggy_probability: Math.fround(x.laggyProbability / 0xffffffff),
        laggy_interval: x.laggyInterval,
        features: x.features,
        old_weight: x.oldWeight,
        last_purged_snaps_scrub: utimeText(x.lastPurgedSnapsScrub),
        dead_epoch: x.deadEpoch,
      };
    }),
    pg_upmap: [...map.pgUpmap.entries()].map(([pg, osds]) => ({ pgid: pgText(pg), osds: [...osds] })),
    pg_upmap_items: [...map.pgUpmapItems.entries()].map(([pg, pairs]) => ({
      pgid: pgText(pg),
      mappings: pairs.map(([from, to]) => ({ from, to })),
    })),
    pg_temp: [...map.pgTemp.entries()].map(([pg, osds]) => ({ pgid: pgText(pg), osds: [...osds] })),
    primary_temp: [...map.primaryTemp.entries()].flatMap(([pg, osd]): Json[] => [pgText(pg), osd]),
    blocklist: new Map(map.blocklist.map(({ addr, until }) => [legacyText(addr), utimeText(until)])),
    range_blocklist: {},
    erasure_code_profiles: new Map(
      [...map.erasureCodeProfiles].map(([name, profile]) => [name, new Map<string, Json>(profile)]),
    ),
    removed_snaps_queue: snapSets(map.removedSnapsQueue),
    new_removed_snaps: snapSets(map.newRemovedSnaps),
    new_purged_snaps: snapSets(map.newPurgedSnaps),
    crush_node_flags: new Map(
      [...map.crushNodeFlags].map(([id, flags]) => [
        map.crush.nameOf(id) ?? String(id),
        flagList(flags, osdStateNames),
      ]),
    ),
    device_class_flags: new Map(
      [...map.deviceClassFlags].map(([id, flags]) => [
        map.crush.classNames.get(id) ?? String(id),
        flagList(flags, osdStateNames),
      ]),
    ),
    stretch_mode: {
      stretch_mode_enabled: false,
      stretch_bucket_count: 0,
      degraded_stretch_mode: 0,
      recovering_stretch_mode: 0,
      stretch_mode_bucket: 0,
    },
  };
}

export function poolsText(map: OsdMap): string {
  let out = '';
  for (const [id, pool] of map.pools) {
    out += poolText(id, map.poolNames.get(id) ?? '<unknown>', pool);
    const queue = map.removedSnapsQueue.get(id);
    if (queue !== undefined && queue.length > 0) out += `\tremoved_snaps_queue ${intervalText(queue)}\n`;
  }
  return out;
}

/** `osd dump`. */
export function osdMapText(map: OsdMap): string {
  const lines = [
    `epoch ${map.epoch}`,
    `fsid ${map.fsid}`,
    `created ${utimeText(map.created)}`,
    `modified ${utimeText(map.modified)}`,
    `flags ${mapFlags(map)}`,
    `crush_version ${map.crushVersion}`,
    `full_ratio ${generalText(map.fullRatio, 6)}`,
    `backfillfull_ratio ${generalText(map.backfillfullRatio, 6)}`,
    `nearfull_ratio ${generalText(map.nearfullRatio, 6)}`,
    `require_min_compat_client ${releaseName(map.requireMinCompatClient)}`,
    `min_compat_client ${releaseName(minCompatClient(map))}`,
    `require_osd_release ${releaseName(map.requireOsdRelease)}`,
    'stretch_mode_enabled false',
  ];
  let out = `${lines.join('\n')}\n${poolsText(map)}max_osd ${map.maxOsd}\n`;
  for (const osd of map.osds()) out += `${osdText(map, osd)}\n`;
  for (const [pg, osds] of map.pgUpmap.entries()) out += `pg_upmap ${pgText(pg)} [${osds.join(',')}]\n`;
  for (const [pg, pairs] of map.pgUpmapItems.entries())
    out += `pg_upmap_items ${pgText(pg)} [${pairs.map(([from, to]) => `${from},${to}`).join(',')}]\n`;
  for (const [pg, osds] of map.pgTemp.entries()) out += `pg_temp ${pgText(pg)} [${osds.join(',')}]\n`;
  for (const [pg, osd] of map.primaryTemp.entries()) out += `primary_temp ${pgText(pg)} ${osd}\n`;
  for (const { addr, until } of map.blocklist) out += `blocklist ${legacyText(addr)} expires ${utimeText(until)}\n`;
  return out;
}
