import type { Json, JsonObject } from '../../mon/format/json.ts';
import { column, tableText } from '../../mon/format/table.ts';
import { bytesText, osdSetText, timespanText, utimeText } from '../../mon/format/units.ts';
import { utimeFromMs, utimeToMs } from '../../wire/encoding.ts';
import {
  addCompressed,
  addObjectSums,
  noCompressed,
  type ObjectSums,
  type PgStat,
  pgStateText,
  zeroObjectSums,
} from '../../wire/messages/osd_mgr.ts';
import { eversionText, pgText } from '../../wire/types.ts';
import type { ClusterStats } from '../cluster-stats.ts';
import { addSpace, poolDigests } from '../sums.ts';
import { zeroSpace } from '../../wire/messages/mgr_mon.ts';
import {
  noStore,
  osdStatJson,
  osdSumJson,
  pgBriefJson,
  pgJson,
  poolStatJson,
  type StoreNumbers,
  storeJson,
} from './stat-json.ts';

export const omapNote =
  '\n* NOTE: Omap statistics are gathered during deep scrub and may be inaccurate soon afterwards depending on utilization. See http://docs.ceph.com/en/latest/dev/placement-group/#omap-statistics for further details.\n';

/** Everything that the parts of `pg dump` need, made once. */
export interface DumpView {
  stats: ClusterStats;
  pgs: readonly PgStat[];
  /** Pools from the newest to the oldest, OSDs from the last to the first, as upstream lists them. */
  pools: ReturnType<typeof poolDigests>;
  poolIds: readonly number[];
  osds: readonly number[];
  sums: ObjectSums;
  log: { size: number; ondisk: number };
  sets: { up: number; acting: number };
  store: StoreNumbers;
}

export function dumpView(stats: ClusterStats): DumpView {
  const pools = poolDigests(stats);
  const sums = zeroObjectSums();
  const log = { size: 0, ondisk: 0 };
  const sets = { up: 0, acting: 0 };
  for (const pool of pools.values()) {
    addObjectSums(sums, pool.sums);
    log.size += pool.logSize;
    log.ondisk += pool.ondiskLogSize;
    sets.up += pool.up;
    sets.acting += pool.acting;
  }
  const space = zeroSpace();
  const compressed = { ...noCompressed };
  for (const [, stat] of stats.spaceOf()) {
    addSpace(space, stat);
    addCompressed(compressed, stat.compressed);
  }
  return {
    stats,
    pgs: [...stats.pgs.entries()].map(([, stat]) => stat),
    pools,
    poolIds: [...pools.keys()].sort((a, b) => b - a),
    osds: [...stats.osds.keys()].sort((a, b) => b - a),
    sums,
    log,
    sets,
    store: {
      total: space.totalBytes,
      available: space.availableBytes,
      allocated: space.allocatedBytes,
      stored: space.dataBytes,
      omap: space.omapBytes,
      meta: space.metaBytes,
      compressed,
    },
  };
}

// ---- JSON ----

function basicJson(view: DumpView): JsonObject {
  return {
    version: view.stats.version,
    stamp: utimeText(utimeFromMs(view.stats.stampMs)),
    last_osdmap_epoch: 0,
    last_pg_scan: 0,
    pg_stats_sum: poolStatJson(view.sums, noStore, view.log, view.sets, 0),
    osd_stats_sum: osdSumJson(
      view.store,
      [...view.stats.spaceOf()].map(([, stat]) => stat),
    ),
  };
}

/** What grew in the window of the rates; the shape of a `pool_stat_t`. */
function deltaJson(view: DumpView): JsonObject {
  const { sums, seconds } = view.stats.rates.window();
  const delta: ObjectSums = {
    ...zeroObjectSums(),
    read: sums.readOps,
    readKb: Math.floor(sums.readBytes / 1024),
    write: sums.writeOps,
    writeKb: Math.floor(sums.writeBytes / 1024),
    objectsRecovered: sums.recoveringObjects,
    bytesRecovered: sums.recoveringBytes,
    keysRecovered: sums.recoveringKeys,
  };
  return {
    ...poolStatJson(delta, noStore, { size: 0, ondisk: 0 }, { up: 0, acting: 0 }, 0),
    stamp_delta: seconds.toFixed(6),
  };
}

export function poolsJson(view: DumpView): Json[] {
  return view.poolIds.map((id) => {
    const p = view.pools.get(id)!;
    const { allocatedBytes: allocated, dataBytes: stored, omapBytes: omap, compressed } = p;
    const store = { ...noStore, allocated, stored, omap, compressed };
    return {
      poolid: id,
      num_pg: p.pgs,
      ...poolStatJson(p.sums, store, { size: p.logSize, ondisk: p.ondiskLogSize }, p, p.storeReports),
    };
  });
}

export function osdsJson(view: DumpView): Json[] {
  return view.osds.map((osd) => osdStatJson(osd, view.stats.osds.get(osd)!, view.stats.map.isOut(osd)));
}

function poolStatfsJson(view: DumpView): Json[] {
  const all = [...view.stats.osds].flatMap(([osd, { pools }]) =>
    [...pools].map(([pool, usage]) => ({ pool, osd, usage })),
  );
  return all
    .sort((a, b) => a.pool - b.pool || a.osd - b.osd)
    .map(({ pool, osd, usage: { allocatedBytes, dataBytes, omapBytes, compressed } }) => ({
      poolid: pool,
      osd,
      ...storeJson({ ...noStore, allocated: allocatedBytes, stored: dataBytes, omap: omapBytes, compressed }),
    }));
}

/** The parts of `pg dump` as JSON, by the words of the command. */
export function pgDumpJson(view: DumpView, what: ReadonlySet<string>): JsonObject {
  const all = what.has('all');
  if (all || what.has('sum') || what.has('delta')) {
    const body: JsonObject = {};
    if (all || what.has('sum')) Object.assign(body, basicJson(view));
    body.pg_stats_delta = deltaJson(view);
    if (all) {
      body.pg_stats = view.pgs.map(pgJson);
      body.pool_stats = poolsJson(view);
      body.osd_stats = osdsJson(view);
      body.pool_statfs = poolStatfsJson(view);
    }
    return { pg_map: body };
  }
  const out: JsonObject = {};
  if (what.has('pools')) out.pool_stats = poolsJson(view);
  if (what.has('osds')) {
    out.osd_stats = osdsJson(view);
    out.pool_statfs = poolStatfsJson(view);
  }
  if (what.has('pgs')) out.pg_stats = view.pgs.map(pgJson);
  if (what.has('pgs_brief')) out.pg_stats = view.pgs.map(pgBriefJson);
  return out;
}

// ---- plain text ----

const right = (name: string): ReturnType<typeof column> => column(name, 'left', 'right');

const sumColumns = [
  'OBJECTS',
  'MISSING_ON_PRIMARY',
  'DEGRADED',
  'MISPLACED',
  'UNFOUND',
  'BYTES',
  'OMAP_BYTES*',
  'OMAP_KEYS*',
  'LOG',
  'DISK_LOG',
];

function sumCells(s: Readonly<ObjectSums>, log: { size: number; ondisk: number }): string[] {
  return [
    s.objects,
    s.objectsMissingOnPrimary,
    s.objectsDegraded,
    s.objectsMisplaced,
    s.objectsUnfound,
    s.bytes,
    s.omapBytes,
    s.omapKeys,
    log.size,
    log.ondisk,
  ].map(String);
}

function basicText(view: DumpView): string {
  const stamp = utimeText(utimeFromMs(view.stats.stampMs));
  return `version ${view.stats.version}\nstamp ${stamp}\nlast_osdmap_epoch 0\nlast_pg_scan 0\n`;
}

const pgColumns = [
  column('PG_STAT'),
  ...sumColumns.map(right),
  ...[
    'STATE',
    'STATE_STAMP',
    'VERSION',
    'REPORTED',
    'UP',
    'UP_PRIMARY',
    'ACTING',
    'ACTING_PRIMARY',
    'LAST_SCRUB',
    'SCRUB_STAMP',
    'LAST_DEEP_SCRUB',
    'DEEP_SCRUB_STAMP',
    'SNAPTRIMQ_LEN',
  ].map(right),
];

export function pgsText(pgs: readonly PgStat[]): string {
  return tableText(
    pgColumns,
    pgs.map((s) => [
      pgText(s.pg),
      ...sumCells(s.sums, { size: s.logSize, ondisk: s.ondiskLogSize }),
      pgStateText(s.state),
      utimeText(s.lastChange),
      eversionText(s.version),
      `${s.reportedEpoch}:${s.reportedSeq}`,
      osdSetText(s.up),
      String(s.upPrimary),
      osdSetText(s.acting),
      String(s.actingPrimary),
      eversionText(s.lastScrub),
      utimeText(s.lastScrubStamp),
      eversionText(s.lastDeepScrub),
      utimeText(s.lastDeepScrubStamp),
      String(s.snaptrimqLen),
    ]),
  );
}

export function pgsBriefText(pgs: readonly PgStat[]): string {
  return tableText(
    [column('PG_STAT'), ...['STATE', 'UP', 'UP_PRIMARY', 'ACTING', 'ACTING_PRIMARY'].map(right)],
    pgs.map((s) => [
      pgText(s.pg),
      pgStateText(s.state),
      `[${s.up.join(',')}]`,
      String(s.upPrimary),
      `[${s.acting.join(',')}]`,
      String(s.actingPrimary),
    ]),
  );
}

/** `pg ls`. */
export function pgListText(pgs: readonly PgStat[], nowMs: number): string {
  const columns = [
    column('PG'),
    ...[
      'OBJECTS',
      'DEGRADED',
      'MISPLACED',
      'UNFOUND',
      'BYTES',
      'OMAP_BYTES*',
      'OMAP_KEYS*',
      'LOG',
      'STATE',
      'SINCE',
      'VERSION',
      'REPORTED',
      'UP',
      'ACTING',
      'SCRUB_STAMP',
      'DEEP_SCRUB_STAMP',
    ].map(right),
  ];
  const rows = pgs.map((s) => [
    pgText(s.pg),
    ...[
      s.sums.objects,
      s.sums.objectsDegraded,
      s.sums.objectsMisplaced,
      s.sums.objectsUnfound,
      s.sums.bytes,
      s.sums.omapBytes,
      s.sums.omapKeys,
      s.logSize,
    ].map(String),
    pgStateText(s.state),
    timespanText((nowMs - utimeToMs(s.lastChange)) / 1000),
    eversionText(s.version),
    `${s.reportedEpoch}:${s.reportedSeq}`,
    `${osdSetText(s.up)}p${s.upPrimary}`,
    `${osdSetText(s.acting)}p${s.actingPrimary}`,
    utimeText(s.lastScrubStamp),
    utimeText(s.lastDeepScrubStamp),
  ]);
  return `${tableText(columns, rows)}${omapNote}`;
}

function poolsText(view: DumpView, header: boolean): string {
  const rows = view.poolIds.map((id) => {
    const p = view.pools.get(id)!;
    return [String(id), ...sumCells(p.sums, { size: p.logSize, ondisk: p.ondiskLogSize })];
  });
  const names = ['POOLID', ...sumColumns];
  return tableText(
    names.map((name, i) => column(header ? name : '', 'left', i === 0 ? 'left' : 'right')),
    rows,
  );
}

function sumText(view: DumpView, header: boolean): string {
  const names = ['PG_STAT', ...sumColumns];
  return tableText(
    names.map((name, i) => column(header ? name : '', 'left', i === 0 ? 'left' : 'right')),
    [['sum', ...sumCells(view.sums, view.log)]],
  );
}

function osdsText(view: DumpView): string {
  const counts = view.stats.pgsByOsd();
  const rows = view.osds.map((osd) => {
    const stat = view.stats.shownStat(osd)!;
    const used = bytesText(stat.totalBytes - stat.availableBytes);
    return [
      String(osd),
      used,
      bytesText(stat.availableBytes),
      used,
      bytesText(stat.totalBytes),
      osdSetText(stat.hbPeers),
      String(counts.get(osd)?.acting ?? 0),
      String(counts.get(osd)?.primary ?? 0),
    ];
  });
  return tableText(
    [column('OSD_STAT'), ...['USED', 'AVAIL', 'USED_RAW', 'TOTAL', 'HB_PEERS', 'PG_SUM', 'PRIMARY_PG_SUM'].map(right)],
    [...rows, osdSumCells(view)],
  );
}

function osdSumCells(view: DumpView): string[] {
  const used = bytesText(view.store.total - view.store.available);
  return ['sum', used, bytesText(view.store.available), used, bytesText(view.store.total)];
}

function osdSumText(view: DumpView): string {
  return tableText([column('OSD_STAT'), ...['USED', 'AVAIL', 'USED_RAW', 'TOTAL'].map(right)], [osdSumCells(view)]);
}

/** The parts of `pg dump` as text. */
export function pgDumpText(view: DumpView, what: ReadonlySet<string>): string {
  if (what.has('all'))
    return `${basicText(view)}${pgsText(view.pgs)}${poolsText(view, false)}${sumText(view, false)}${osdsText(view)}${omapNote}`;
  let out = '';
  let sums = false;
  if (what.has('sum') || what.has('delta')) {
    out += basicText(view);
    if (what.has('sum')) {
      out += `${sumText(view, true)}${osdSumText(view)}`;
      sums = true;
    }
  }
  if (what.has('pools')) {
    out += poolsText(view, true);
    sums = true;
  }
  if (what.has('osds')) out += osdsText(view);
  if (what.has('pgs')) {
    out += pgsText(view.pgs);
    sums = true;
  }
  if (what.has('pgs_brief')) out += pgsBriefText(view.pgs);
  return sums ? out + omapNote : out;
}
