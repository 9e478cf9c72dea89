import type { OsdMap } from '../../maps/osdmap.ts';
import { type PgPool, rawUsedRate } from '../../maps/pool.ts';
import type { MMonMgrReportValue, PoolDigest, SpaceDigest } from '../../wire/messages/mgr_mon.ts';
import { emptyPoolDigest, zeroSpace } from '../../wire/messages/mgr_mon.ts';
import type { Json } from './json.ts';
import { column, tableText } from './table.ts';
import { bytesText, countText, percentText } from './units.ts';

/** Numbers of one pool as `df` shows them, in bytes (`PGMapDigest::dump_object_stat_sum`). */
export function poolNumbers(map: OsdMap, pool: PgPool, stats: PoolDigest = emptyPoolDigest()) {
  const { objectCopies, objectsDegraded } = stats.sums;
  // A degraded pool holds fewer copies than it should: what a client's byte costs now, not when all is well.
  const share = objectCopies > 0 ? Math.max(0, (objectCopies - objectsDegraded) / objectCopies) : 1;
  const rate = Math.fround(rawUsedRate(map, pool) * Math.fround(share));
  const used = stats.allocatedBytes + stats.omapBytes;
  const rawAvail = stats.maxAvailBytes * rawUsedRate(map, pool);
  const normal = (bytes: number): number => (rate > 0 ? Math.floor(bytes / rate) : 0);
  const storedData = normal(stats.dataBytes);
  const storedOmap = normal(stats.omapBytes);
  const stored = storedData + storedOmap;
  return {
    stats,
    used,
    storedData,
    storedOmap,
    stored,
    storedRaw: Math.floor(stored * rate),
    rawAvail: Math.round(rawAvail),
    percentUsed: rawAvail > 0 ? used / (used + rawAvail) : used > 0 ? 1 : 0,
    available: normal(rawAvail),
  };
}

function spaceJson(space: SpaceDigest): { [name: string]: Json } {
  const used = space.totalBytes - space.availableBytes;
  return {
    total_bytes: space.totalBytes,
    total_avail_bytes: space.availableBytes,
    total_used_bytes: used,
    total_used_raw_bytes: used,
    total_used_raw_ratio: space.totalBytes > 0 ? Math.fround(used / space.totalBytes) : 0,
  };
}

/** `df -f json`. */
export function dfJson(map: OsdMap, digest: MMonMgrReportValue | undefined, detail: boolean): Json {
  const osds = digest?.osds.size ?? 0;
  return {
    stats: {
      ...spaceJson(digest?.space ?? zeroSpace()),
      num_osds: osds,
      num_per_pool_osds: osds,
      num_per_pool_omap_osds: osds,
    },
    stats_by_class: new Map(
      [...(digest?.spaceByClass ?? [])].map(([name, space]): [string, Json] => [name, spaceJson(space)]),
    ),
    pools: [...map.pools].map(([id, pool]) => ({
      name: map.poolNames.get(id) ?? '',
      id,
      stats: poolJson(map, id, pool, digest, detail),
    })),
  };
}

function poolJson(
  map: OsdMap,
  id: number,
  pool: PgPool,
  digest: MMonMgrReportValue | undefined,
  detail: boolean,
): Json {
  const n = poolNumbers(map, pool, digest?.pools.get(id));
  const { sums } = n.stats;
  return {
    stored: n.stored,
    ...(detail && { stored_data: n.storedData, stored_omap: n.storedOmap }),
    objects: sums.objects,
    kb_used: Math.ceil(n.used / 1024),
    bytes_used: n.used,
    ...(detail && { data_bytes_used: n.stats.allocatedBytes, omap_bytes_used: n.stats.omapBytes }),
    percent_used: Math.fround(n.percentUsed),
    max_avail: n.available,
    ...(detail && {
      quota_objects: pool.quotaMaxObjects,
      quota_bytes: pool.quotaMaxBytes,
      dirty: pool.tierOf >= 0 ? sums.objectsDirty : 0,
      rd: sums.read,
      rd_bytes: sums.readKb * 1024,
      wr: sums.write,
      wr_bytes: sums.writeKb * 1024,
      compress_bytes_used: n.stats.compressed.allocated,
      compress_under_bytes: n.stats.compressed.original,
      stored_raw: n.storedRaw,
      avail_raw: n.rawAvail,
    }),
  };
}

/** `df [detail]`. */
export function dfText(map: OsdMap, digest: MMonMgrReportValue | undefined, detail: boolean): string {
  const raw = [
    column('CLASS', 'left', 'left'),
    ...['SIZE', 'AVAIL', 'USED', 'RAW USED', '%RAW USED'].map((name) => column(name, 'right', 'right')),
  ];
  const row = (name: string, space: SpaceDigest): string[] => {
    const used = space.totalBytes - space.availableBytes;
    return [
      name,
      bytesText(space.totalBytes),
      bytesText(space.availableBytes),
      bytesText(used),
      bytesText(used),
      percentText(space.totalBytes > 0 ? used / space.totalBytes : 0),
    ];
  };
  const rows = [...(digest?.spaceByClass ?? [])].map(([name, space]) => row(name, space));
  rows.push(row('TOTAL', digest?.space ?? zeroSpace()));
  return `--- RAW STORAGE ---\n${tableText(raw, rows)} \n--- POOLS ---\n${poolsTable(map, digest, detail)}`;
}

function poolsTable(map: OsdMap, digest: MMonMgrReportValue | undefined, detail: boolean): string {
  const numbers = detail
    ? [
        'STORED',
        '(DATA)',
        '(OMAP)',
        'OBJECTS',
        'USED',
        '(DATA)',
        '(OMAP)',
        '%USED',
        'MAX AVAIL',
        'QUOTA OBJECTS',
        'QUOTA BYTES',
        'DIRTY',
        'USED COMPR',
        'UNDER COMPR',
      ]
    : ['STORED', 'OBJECTS', 'USED', '%USED', 'MAX AVAIL'];
  const columns = [column('POOL'), ...['ID', 'PGS', ...numbers].map((name) => column(name, 'right', 'right'))];
  const rows = [...map.pools].map(([id, pool]): string[] => {
    const n = poolNumbers(map, pool, digest?.pools.get(id));
    const head = [map.poolNames.get(id) ?? '', String(id), String(pool.pgNum), bytesText(n.stored)];
    const { objects, objectsDirty } = n.stats.sums;
    const tail = [percentText(n.percentUsed), bytesText(n.available)];
    if (!detail) return [...head, countText(objects), bytesText(n.used), ...tail];
    return [
      ...head,
      bytesText(n.storedData),
      bytesText(n.storedOmap),
      countText(objects),
      bytesText(n.used),
      bytesText(n.stats.allocatedBytes),
      bytesText(n.stats.omapBytes),
      ...tail,
      pool.quotaMaxObjects > 0 ? countText(pool.quotaMaxObjects) : 'N/A',
      pool.quotaMaxBytes > 0 ? bytesText(pool.quotaMaxBytes) : 'N/A',
      pool.tierOf >= 0 ? countText(objectsDirty) : 'N/A',
      bytesText(n.stats.compressed.allocated),
      bytesText(n.stats.compressed.original),
    ];
  });
  return tableText(columns, rows);
}
