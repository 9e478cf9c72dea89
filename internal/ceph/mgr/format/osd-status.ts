import { osdStateNames } from '../../maps/constants.ts';
import type { ClusterStats } from '../cluster-stats.ts';

const units = [' ', 'k', 'M', 'G', 'T', 'P', 'E'];

/** As upstream's mgr modules print numbers in `width` characters: digits, then a letter. */
export function fixedWidth(value: number, width: number, step: number): string {
  let unit = 0;
  while (String(Math.floor(Math.trunc(value) / step ** unit)).length > width - 1) unit++;
  let digits: string;
  if (unit > 0) {
    digits = (value / step ** unit).toFixed(6).slice(0, width - 1);
    if (digits.endsWith('.')) digits = ` ${digits.slice(0, -1)}`;
  } else digits = String(Math.trunc(value)).padStart(width - 1);
  return digits + units[unit]!;
}

/** `osd status`: OSDs with what clients do on them; `hosts` says where each runs. */
export function osdStatusText(
  stats: ClusterStats,
  osds: readonly number[],
  hosts: ReadonlyMap<number, string>,
): string {
  const { map } = stats;
  const headings = ['ID', 'HOST', 'USED', 'AVAIL', 'WR OPS', 'WR DATA', 'RD OPS', 'RD DATA', 'STATE'];
  const rows = osds.map((osd) => {
    const stat = stats.shownStat(osd);
    const io = stats.osdRates.get(osd)?.rates();
    const used = stat === undefined ? 0 : Math.floor((stat.totalBytes - stat.availableBytes) / 1024) * 1024;
    const available = stat === undefined ? 0 : Math.floor(stat.availableBytes / 1024) * 1024;
    const states = osdStateNames.filter(([bit]) => (map.osdState[osd]! & bit) !== 0).map(([, name]) => name);
    return [
      String(osd),
      hosts.get(osd) ?? '',
      fixedWidth(used, 5, 1024),
      fixedWidth(available, 5, 1024),
      fixedWidth(io?.writeOps ?? 0, 5, 1000),
      fixedWidth(io?.writeBytes ?? 0, 5, 1024),
      fixedWidth(io?.readOps ?? 0, 5, 1000),
      fixedWidth(io?.readBytes ?? 0, 5, 1024),
      states.join(','),
    ];
  });
  const widths = headings.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]!.length)));
  const leftColumns = new Set([1, 8]);
  const line = (cells: readonly string[]): string =>
    `${cells
      .map((cell, i) => `${leftColumns.has(i) ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)}  `)
      .join('')}`;
  return [headings, ...rows].map(line).join('\n');
}
