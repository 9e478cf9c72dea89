import { findRoots } from '../../crush/build.ts';
import type { CrushBucket, CrushMap } from '../../crush/map.ts';
import { DEFAULT_PRIMARY_AFFINITY, OSD_IN } from '../../maps/constants.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import type { Json } from './json.ts';
import { column, tableText } from './table.ts';

export interface TreeItem {
  id: number;
  /** 16.16; of devices that are in no bucket 0. */
  weight: number;
  depth: number;
  children: number[];
}

/** The weight as CRUSH shows it: TiB. */
export function crushWeight(fixed: number): number {
  return Math.fround(fixed / 0x10000);
}

/** Keys by which upstream orders siblings: the class, then the name with its numbers by size. */
function sortKey(map: CrushMap, id: number): string {
  if (id >= 0) return `${map.itemClass(id) ?? ''}_osd.${id.toString().padStart(8, '0')}`;
  return `_${map.nameOf(id) ?? ''}`;
}

/** All items below the roots, parents first (`CrushTreeDumper`). Children are in the order in which they are shown. */
export function treeItems(map: CrushMap, options: { shadow?: boolean; root?: number } = {}): TreeItem[] {
  const out: TreeItem[] = [];
  const visit = (id: number, weight: number, depth: number): void => {
    const bucket = map.bucket(id);
    const children = bucket === undefined ? [] : sortedItems(map, bucket);
    // JSON lists children by their sort keys from the last to the first.
    out.push({ id, weight, depth, children: children.map((child) => child.id).reverse() });
    for (const child of children) visit(child.id, child.weight, depth + 1);
  };
  const roots = options.root !== undefined ? [options.root] : findRoots(map);
  for (const root of roots) {
    if (!options.shadow && map.isShadow(root)) continue;
    visit(root, map.bucket(root)?.weight ?? 0, 0);
  }
  return out;
}

function sortedItems(map: CrushMap, bucket: CrushBucket): { id: number; weight: number }[] {
  return bucket.items
    .map((id, i) => ({ id, weight: bucket.weights[i] ?? bucket.weights[0] ?? 0, key: sortKey(map, id) }))
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0));
}

function itemName(map: CrushMap, id: number): string {
  return map.nameOf(id) ?? (id >= 0 ? `osd.${id}` : `${id}`);
}

function typeName(map: CrushMap, id: number): string {
  return map.typeNames.get(map.typeOf(id)) ?? '';
}

/** Members of one node, without what only OSDs have. */
export function nodeJson(map: CrushMap, item: TreeItem): { [name: string]: Json | undefined } {
  const { id, depth } = item;
  const sets: [string, Json][] = [];
  return {
    id,
    device_class: map.itemClass(id),
    name: itemName(map, id),
    type: typeName(map, id),
    type_id: Math.max(0, map.typeOf(id)),
    ...(id >= 0 && { crush_weight: crushWeight(item.weight), depth }),
    ...(item.depth > 0 && { pool_weights: new Map(sets) }),
    ...(id < 0 && { children: item.children }),
  };
}

/** `osd tree` states. */
export type TreeFilter = ReadonlySet<'up' | 'down' | 'in' | 'out' | 'destroyed'>;

function osdMatches(map: OsdMap, osd: number, filter: TreeFilter): boolean {
  if (filter.size === 0) return true;
  const wants = (word: 'up' | 'down' | 'in' | 'out' | 'destroyed'): boolean => filter.has(word);
  if ((wants('up') || wants('down')) && !(map.isUp(osd) ? wants('up') : wants('down'))) return false;
  if ((wants('in') || wants('out')) && !(map.isIn(osd) ? wants('in') : wants('out'))) return false;
  return !wants('destroyed') || map.isDestroyed(osd);
}

/** Items to show: OSDs that match, and buckets above them. */
function filtered(map: OsdMap, items: readonly TreeItem[], filter: TreeFilter): TreeItem[] {
  if (filter.size === 0) return [...items];
  const keep = new Set<number>();
  const path: TreeItem[] = [];
  for (const item of items) {
    path.length = item.depth;
    path.push(item);
    if (item.id >= 0 && map.exists(item.id) && osdMatches(map, item.id, filter))
      for (const above of path) keep.add(above.id);
  }
  return items.filter(({ id }) => keep.has(id));
}

/** OSDs that exist and are nowhere in CRUSH. */
function strays(map: OsdMap, filter: TreeFilter): number[] {
  const placed = new Set(map.crush.buckets.flatMap((bucket) => bucket?.items ?? []));
  return map.osds().filter((osd) => !placed.has(osd) && osdMatches(map, osd, filter));
}

function statusText(map: OsdMap, osd: number): string {
  if (map.isDestroyed(osd)) return 'destroyed';
  return map.isUp(osd) ? 'up' : 'down';
}

function osdNode(map: OsdMap, item: TreeItem): { [name: string]: Json | undefined } {
  const node = nodeJson(map.crush, item);
  const osd = item.id;
  if (osd < 0) return node;
  const { depth, crush_weight, pool_weights, ...first } = node;
  const exists = map.exists(osd);
  return {
    ...first,
    crush_weight,
    depth,
    ...(pool_weights !== undefined && { pool_weights }),
    exists: exists ? 1 : 0,
    status: statusText(map, osd),
    reweight: exists ? Math.fround(map.osdWeight[osd]! / OSD_IN) : 0,
    primary_affinity: exists ? Math.fround(map.affinity(osd) / DEFAULT_PRIMARY_AFFINITY) : 0,
  };
}

/** `osd tree -f json`. */
export function osdTreeJson(map: OsdMap, filter: TreeFilter = new Set(), root?: number): Json {
  const items = filtered(map, treeItems(map.crush, root === undefined ? {} : { root }), filter);
  const shown = new Set(items.map(({ id }) => id));
  return {
    nodes: items.map((item) =>
      osdNode(map, {
        ...item,
        children: filter.size === 0 ? item.children : item.children.filter((id) => shown.has(id)),
      }),
    ),
    stray:
      root === undefined
        ? strays(map, filter).map((id) => osdNode(map, { id, weight: 0, depth: 0, children: [] }))
        : [],
  };
}

const five = (value: number): string => value.toFixed(5);
/** `weightf_t`: a dash below zero, `0` for none. */
const weightText = (value: number): string => (value < -0.01 ? '-' : value < 0.000001 ? '0' : five(value));

/** `osd tree`. */
export function osdTreeText(map: OsdMap, filter: TreeFilter = new Set(), root?: number): string {
  const { crush } = map;
  const columns = [
    column('ID', 'left', 'right'),
    column('CLASS', 'left', 'right'),
    column('WEIGHT', 'left', 'right'),
    column('TYPE NAME'),
    column('STATUS', 'left', 'right'),
    column('REWEIGHT', 'left', 'right'),
    column('PRI-AFF', 'left', 'right'),
  ];
  const row = (item: TreeItem): string[] => {
    const { id, depth } = item;
    const name = id >= 0 ? itemName(crush, id) : `${typeName(crush, id)} ${itemName(crush, id)}`;
    const cells = [
      String(id),
      (id >= 0 && crush.itemClass(id)) || '',
      weightText(crushWeight(item.weight)),
      '    '.repeat(depth) + name,
    ];
    if (id < 0) return cells;
    if (!map.exists(id)) return [...cells, 'DNE', '0'];
    return [
      ...cells,
      statusText(map, id),
      weightText(Math.fround(map.osdWeight[id]! / OSD_IN)),
      weightText(Math.fround(map.affinity(id) / DEFAULT_PRIMARY_AFFINITY)),
    ];
  };
  const rows = filtered(map, treeItems(crush, root === undefined ? {} : { root }), filter).map(row);
  if (root === undefined)
    for (const id of strays(map, filter)) rows.push(row({ id, weight: 0, depth: 0, children: [] }));
  return tableText(columns, rows);
}

/** `osd crush tree -f json`. */
export function crushTreeJson(map: CrushMap, shadow: boolean): Json {
  return { nodes: treeItems(map, { shadow }).map((item) => nodeJson(map, item)), stray: [] };
}

/** `osd crush tree`. */
export function crushTreeText(map: CrushMap, shadow: boolean): string {
  const columns = [
    column('ID', 'left', 'right'),
    column('CLASS', 'left', 'right'),
    column('WEIGHT', 'left', 'right'),
    column('TYPE NAME'),
  ];
  const rows = treeItems(map, { shadow }).map((item) => {
    const { id } = item;
    const cls = map.itemClass(id);
    const name = id >= 0 ? itemName(map, id) : `${typeName(map, id)} ${itemName(map, id)}`;
    return [String(id), cls ?? '', weightText(crushWeight(item.weight)), '    '.repeat(item.depth) + name];
  });
  return tableText(columns, rows);
}
