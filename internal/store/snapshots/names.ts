/** Names of snapshot files: `scheduled-<node>-<time>.db` are made and removed by the schedule, all others are their maker's. */

/** UTC to the second, without what file systems and S3 do not like; sorts by time. */
export function timeText(nowMs: number): string {
  return new Date(nowMs).toISOString().replace(/[-:]/g, '').replace(/\.\d+/, '');
}

export function scheduledName(node: string, nowMs: number): string {
  return `scheduled-${node}-${timeText(nowMs)}.db`;
}

/** When a scheduled snapshot of this node was made, in milliseconds; undefined for any other name. */
export function scheduledTime(node: string, name: string): number | undefined {
  const prefix = `scheduled-${node}-`;
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\.db$/.exec(
    name.startsWith(prefix) ? name.slice(prefix.length) : '',
  );
  if (!match) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  return Date.UTC(year, month - 1, day, hour, minute, second);
}

/** The scheduled snapshots of this node that are beyond the newest `keep`. */
export function beyondRetention(node: string, names: readonly string[], keep: number): string[] {
  return names
    .filter((name) => scheduledTime(node, name) !== undefined)
    .sort()
    .reverse()
    .slice(keep);
}
