import type { Json, JsonObject } from '../../mon/format/json.ts';
import { column, tableText } from '../../mon/format/table.ts';
import { nodeJson, type TreeItem, treeItems } from '../../mon/format/tree.ts';
import { bytesText } from '../../mon/format/units.ts';
import { OSD_DESTROYED } from '../../maps/constants.ts';
import type { ClusterStats } from '../cluster-stats.ts';
import { kib } from './stat-json.ts';

/** Kibibytes of an OSD or of everything below a bucket. */
interface Usage {
  kb: number;
  used: number;
  data: number;
  omap: number;
  meta: number;
  available: number;
}

interface Row {
  item: TreeItem;
  usage: Usage;
  utilization: number;
  variance: number;
  pgs: number;
}

export interface OsdDf {
  rows: Row[];
  /** OSDs that are in no bucket. */
  stray: Row[];
  total: Usage;
  averageUtilization: number;
  minVariance: number;
  maxVariance: number;
  deviation: number;
}

const zero = (): Usage => ({ kb: 0, used: 0, data: 0, omap: 0, meta: 0, available: 0 });

function add(to: Usage, u: Usage): void {
  to.kb += u.kb;
  to.used += u.used;
  to.data += u.data;
  to.omap += u.omap;
  to.meta += u.meta;
  to.available += u.available;
}

/** What `osd df` shows (`OSDUtilizationDumper`); `only` picks OSDs. */
export function osdDf(stats: ClusterStats, only: (osd: number) => boolean): OsdDf {
  const { map } = stats;
  const counts = stats.pgsByOsd();
  const usageOf = (osd: number): Usage => {
    const stat = stats.shownStat(osd);
    if (stat === undefined) return zero();
    return {
      kb: kib(stat.totalBytes),
      used: kib(stat.totalBytes - stat.availableBytes),
      data: kib(stat.allocatedBytes),
      omap: kib(stat.omapBytes),
      meta: kib(stat.metaBytes),
      available: kib(stat.availableBytes),
    };
  };
  const shown = (osd: number): boolean => map.exists(osd) && only(osd);
  const total = zero();
  for (const osd of map.osds()) if (map.osdWeight[osd]! > 0 && shown(osd)) add(total, usageOf(osd));
  const averageUtilization = total.kb > 0 ? (100 * total.used) / total.kb : 0;
  const below = (id: number): Usage => {
    if (id >= 0) return shown(id) ? usageOf(id) : zero();
    const sum = zero();
    for (const child of map.crush.bucket(id)?.items ?? []) add(sum, below(child));
    return sum;
  };
  const holds = (id: number): boolean => (id >= 0 ? shown(id) : (map.crush.bucket(id)?.items.some(holds) ?? false));
  const row = (item: TreeItem): Row => {
    const usage = below(item.id);
    const utilization = usage.kb > 0 ? (100 * usage.used) / usage.kb : 0;
    const variance = averageUtilization > 0 ? utilization / averageUtilization : 1;
    return { item, usage, utilization, variance, pgs: counts.get(item.id)?.acting ?? 0 };
  };
  const items = treeItems(map.crush).filter(({ id }) => holds(id));
  const inTree = new Set(items.map(({ id }) => id));
  const rows = items.map(row);
  const stray = map
    .osds()
    .filter((osd) => shown(osd) && !inTree.has(osd))
    .map((osd) => row({ id: osd, weight: 0, depth: 0, children: [] }));
  let minVariance = -1;
  let maxVariance = -1;
  let squares = 0;
  let weights = 0;
  for (const r of [...rows, ...stray]) {
    const weight = r.item.id >= 0 ? map.osdWeight[r.item.id]! / 0x10000 : 0;
    if (weight === 0) continue;
    if (minVariance < 0 || r.variance < minVariance) minVariance = r.variance;
    if (maxVariance < 0 || r.variance > maxVariance) maxVariance = r.variance;
    squares += weight * (r.utilization - averageUtilization) ** 2;
    weights += weight;
  }
  const deviation = weights > 0 ? Math.sqrt(squares / weights) : 0;
  return { rows, stray, total, averageUtilization, minVariance, maxVariance, deviation };
}

function status(stats: ClusterStats, osd: number): string {
  const { map } = stats;
  if (map.isUp(osd)) return 'up';
  return (map.osdState[osd] ?? 0) & OSD_DESTROYED ? 'destroyed' : 'down';
}

function rowJson(stats: ClusterStats, { item, usage, utilization, variance, pgs }: Row): JsonObject {
  const osd = item.id >= 0;
  const { children, ...node } = nodeJson(stats.map.crush, item);
  return {
    ...node,
    reweight: osd ? Math.fround((stats.map.osdWeight[item.id] ?? 0) / 0x10000) : -1,
    kb: usage.kb,
    kb_used: usage.used,
    kb_used_data: usage.data,
    kb_used_omap: usage.omap,
    kb_used_meta: usage.meta,
    kb_avail: usage.available,
    utilization,
    var: variance,
    pgs: osd ? pgs : 0,
    ...(osd ? { status: status(stats, item.id) } : { children: (children ?? []) as Json }),
  };
}

export function osdDfJson(stats: ClusterStats, df: OsdDf, tree: boolean): JsonObject {
  return {
    nodes: df.rows.filter(({ item }) => tree || item.id >= 0).map((row) => rowJson(stats, row)),
    stray: df.stray.map((row) => rowJson(stats, row)),
    summary: {
      total_kb: df.total.kb,
      total_kb_used: df.total.used,
      total_kb_used_data: df.total.data,
      total_kb_used_omap: df.total.omap,
      total_kb_used_meta: df.total.meta,
      total_kb_avail: df.total.available,
      average_utilization: df.averageUtilization,
      min_var: df.minVariance,
      max_var: df.maxVariance,
      dev: df.deviation,
    },
  };
}

/** Two decimals; small numbers are 0 (`lowprecision_t`). */
function low(value: number): string {
  return Math.abs(value) < 0.01 ? '0' : value.toFixed(2);
}

const headings = [
  'ID',
  'CLASS',
  'WEIGHT',
  'REWEIGHT',
  'SIZE',
  'RAW USE',
  'DATA',
  'OMAP',
  'META',
  'AVAIL',
  '%USE',
  'VAR',
  'PGS',
  'STATUS',
];

function usageCells(u: Usage): string[] {
  return [u.kb, u.used, u.data, u.omap, u.meta, u.available].map((kb) => bytesText(kb * 1024));
}

export function osdDfText(stats: ClusterStats, df: OsdDf, tree: boolean): string {
  const { crush, osdWeight } = stats.map;
  const columns = headings.map((name) => column(name, 'left', 'right'));
  if (tree) columns.push(column('TYPE NAME'));
  const rows: string[][] = [];
  for (const row of [...df.rows, ...df.stray]) {
    const { id, depth, weight } = row.item;
    if (!tree && id < 0) continue;
    const osd = id >= 0;
    const cells = [
      String(id),
      crush.itemClass(id) ?? '',
      (weight / 0x10000).toFixed(5),
      osd ? ((osdWeight[id] ?? 0) / 0x10000).toFixed(5) : '-',
      ...usageCells(row.usage),
      low(row.utilization),
      low(row.variance),
      osd ? String(row.pgs) : '-',
      osd ? status(stats, id) : '',
    ];
    if (tree) {
      const name = crush.nameOf(id) ?? `osd.${id}`;
      const type = osd ? '' : `${crush.typeNames.get(crush.typeOf(id)) ?? ''} `;
      cells.push(`${'    '.repeat(depth)}${type}${name}`);
    }
    rows.push(cells);
  }
  rows.push(['', '', '', 'TOTAL', ...usageCells(df.total), low(df.averageUtilization)]);
  return `${tableText(columns, rows)}MIN/MAX VAR: ${low(df.minVariance)}/${low(df.maxVariance)}  STDDEV: ${low(df.deviation)}\n`;
}
