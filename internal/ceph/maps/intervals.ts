import type { IntervalSet } from '../wire/types.ts';

/** Both sets together; touching intervals become one. */
export function intervalUnion(a: IntervalSet, b: IntervalSet): IntervalSet {
  const all = [...a, ...b].sort((x, y) => (x[0] < y[0] ? -1 : x[0] > y[0] ? 1 : 0));
  const out: [bigint, bigint][] = [];
  for (const [start, length] of all) {
    const last = out[out.length - 1];
    if (last !== undefined && start <= last[0] + last[1]) {
      const end = start + length;
      if (end > last[0] + last[1]) last[1] = end - last[0];
    } else out.push([start, length]);
  }
  return out;
}

/** What of `a` is not in `b`. */
export function intervalSubtract(a: IntervalSet, b: IntervalSet): IntervalSet {
  const out: [bigint, bigint][] = [];
  for (const [start, length] of a) {
    let at = start;
    const end = start + length;
    for (const [cutStart, cutLength] of b) {
      const cutEnd = cutStart + cutLength;
      if (cutEnd <= at || cutStart >= end) continue;
      if (cutStart > at) out.push([at, cutStart - at]);
      if (cutEnd > at) at = cutEnd;
    }
    if (at < end) out.push([at, end - at]);
  }
  return out;
}

export function intervalContains(set: IntervalSet, value: bigint): boolean {
  return set.some(([start, length]) => value >= start && value < start + length);
}

/** `[1~3,7~1]` in hexadecimal, as Ceph prints sets of snapshots. */
export function intervalText(set: IntervalSet): string {
  return `[${set.map(([start, length]) => `${start.toString(16)}~${length.toString(16)}`).join(',')}]`;
}
