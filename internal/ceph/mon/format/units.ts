import { ITEM_NONE } from '../../crush/map.ts';
import type { UTime } from '../../wire/encoding.ts';

const binary = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const decimal = ['', 'k', 'M', 'G', 'T', 'P', 'E'];

/**
 * As `byte_u_t` and `si_u_t` print (`src/include/types.h`): whole multiples exactly, others with as many of two decimals as fit seven characters.
 */
function scaled(value: number, step: number, names: readonly string[], unit: string): string {
  let index = 0;
  let divisor = 1;
  while (value / divisor >= step && index < names.length - 1) {
    divisor *= step;
    index++;
  }
  const suffix = (unit === '' ? '' : ' ') + names[index]! + unit;
  if (value % divisor === 0) return `${value / divisor}${suffix}`;
  for (let digits = 2; digits > 0; digits--) {
    const text = `${(value / divisor).toFixed(digits)}${suffix}`;
    if (text.length <= 7) return text;
  }
  return `${(value / divisor).toFixed(0)}${suffix}`;
}

/** `5.8 MiB`. */
export function bytesText(value: number): string {
  return scaled(value, 1024, binary, 'B');
}

/** `12k`: counts of objects. */
export function countText(value: number): string {
  return scaled(value, 1000, decimal, '');
}

/** Percents of a ratio as `df` shows them. */
export function percentText(ratio: number): string {
  const percent = ratio * 100;
  if (percent === 0) return '0';
  return percent.toFixed(2).replace(/^0\.00$/, '0');
}

const two = (n: number): string => n.toString().padStart(2, '0');

/** Local time is UTC for us: `2026-11-21T00:36:50.320408+0000`. */
export function utimeText(time: UTime): string {
  if (time.sec < 60 * 60 * 24 * 365 * 10)
    return `${time.sec}.${Math.floor(time.nsec / 1000)
      .toString()
      .padStart(6, '0')}`;
  return `${dateText(time, 'T')}+0000`;
}

function dateText({ sec, nsec }: UTime, between: string): string {
  const d = new Date(sec * 1000);
  const date = `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`;
  const time = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}:${two(d.getUTCSeconds())}`;
  return `${date}${between}${time}.${Math.floor(nsec / 1000)
    .toString()
    .padStart(6, '0')}`;
}

/** `timespan_str`: the largest units that fit, `6m`, `3h`, `2d`, `5w`. */
export function timespanText(seconds: number): string {
  let n = Math.max(0, Math.floor(seconds));
  if (n < 120) return `${n}s`;
  n = Math.floor(n / 60);
  if (n < 120) return `${n}m`;
  n = Math.floor(n / 60);
  if (n < 48) return `${n}h`;
  n = Math.floor(n / 24);
  if (n < 14) return `${n}d`;
  n = Math.floor(n / 7);
  if (n < 12) return `${n}w`;
  n = Math.floor(n / 4);
  if (n < 24) return `${n}M`;
  return `${Math.floor(n / 12)}y`;
}

/** OSDs of a PG; a place that nobody has is NONE (`pg_vector_string`). */
export function osdSetText(osds: readonly number[]): string {
  return `[${osds.map((osd) => (osd === ITEM_NONE ? 'NONE' : osd)).join(',')}]`;
}
