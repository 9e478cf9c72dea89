import type { JsonObject } from '../../mon/format/json.ts';
import { bytesText, countText } from '../../mon/format/units.ts';
import type { IoRates } from '../../wire/messages/mgr_mon.ts';
import type { ObjectSums } from '../../wire/messages/osd_mgr.ts';
import { pgStateText } from '../../wire/messages/osd_mgr.ts';
import { pgsByState } from '../digest.ts';
import { shareText } from '../health.ts';
import type { DumpView } from './pg-dump.ts';

const whole = Math.trunc;

/** How much is degraded, misplaced, unfound: lines of text. */
export function recoveryLines(s: Readonly<ObjectSums>): string[] {
  const out: string[] = [];
  if (s.objectsDegraded > 0 && s.objectCopies > 0) out.push(shareText(s.objectsDegraded, s.objectCopies, 'degraded'));
  if (s.objectsMisplaced > 0 && s.objectCopies > 0)
    out.push(shareText(s.objectsMisplaced, s.objectCopies, 'misplaced'));
  if (s.objectsUnfound > 0 && s.objects > 0) out.push(shareText(s.objectsUnfound, s.objects, 'unfound'));
  return out;
}

export function recoveryJson(s: Readonly<ObjectSums>): JsonObject {
  const out: JsonObject = {};
  const add = (name: string, part: number, all: number): void => {
    if (part === 0 || all <= 0) return;
    out[`${name}_objects`] = part;
    out[`${name}_total`] = all;
    out[`${name}_ratio`] = ((part / all) * 100) / 100;
  };
  add('degraded', s.objectsDegraded, s.objectCopies);
  add('misplaced', s.objectsMisplaced, s.objectCopies);
  add('unfound', s.objectsUnfound, s.objects);
  return out;
}

/** `12 MiB/s, 3 objects/s`; empty when nothing recovers. */
export function recoveryRateText(r: IoRates): string {
  if (r.recoveringObjects === 0 && r.recoveringBytes === 0 && r.recoveringKeys === 0) return '';
  const keys = r.recoveringKeys > 0 ? `, ${countText(whole(r.recoveringKeys))} keys/s` : '';
  return `${bytesText(whole(r.recoveringBytes))}/s${keys}, ${countText(whole(r.recoveringObjects))} objects/s`;
}

export function recoveryRateJson(r: IoRates, seconds: number): JsonObject {
  if (r.recoveringObjects === 0 && r.recoveringBytes === 0 && r.recoveringKeys === 0) return {};
  return {
    recovering_objects_per_sec: whole(r.recoveringObjects),
    recovering_bytes_per_sec: whole(r.recoveringBytes),
    recovering_keys_per_sec: whole(r.recoveringKeys),
    num_objects_recovered: Math.round(r.recoveringObjects * seconds),
    num_bytes_recovered: Math.round(r.recoveringBytes * seconds),
    num_keys_recovered: Math.round(r.recoveringKeys * seconds),
  };
}

/** `1.2 MiB/s rd, 16 KiB/s wr, 30 op/s rd, 4 op/s wr`; empty when clients do nothing. */
export function clientRateText(r: IoRates): string {
  if (r.readOps === 0 && r.writeOps === 0) return '';
  const read = r.readOps > 0 ? `${bytesText(whole(r.readBytes))}/s rd, ` : '';
  const write = r.writeOps > 0 ? `${bytesText(whole(r.writeBytes))}/s wr, ` : '';
  return `${read}${write}${countText(whole(r.readOps))} op/s rd, ${countText(whole(r.writeOps))} op/s wr`;
}

export function clientRateJson(r: IoRates): JsonObject {
  if (r.readOps === 0 && r.writeOps === 0) return {};
  return {
    ...(r.readOps > 0 ? { read_bytes_sec: whole(r.readBytes) } : {}),
    ...(r.writeOps > 0 ? { write_bytes_sec: whole(r.writeBytes) } : {}),
    read_op_per_sec: whole(r.readOps),
    write_op_per_sec: whole(r.writeOps),
  };
}

/** `pg stat`. */
export function pgStatText(view: DumpView): string {
  const { stats } = view;
  const states = [...pgsByState(stats)].map(([state, n]) => `${n} ${pgStateText(state)}`).join(', ');
  const used = bytesText(view.store.total - view.store.available);
  let out = `${stats.pgs.size} pgs: ${states}; ${bytesText(view.sums.bytes)} data, ${used} used, ${bytesText(
    view.store.available,
  )} / ${bytesText(view.store.total)} avail`;
  const r = stats.rates.rates();
  if (r.readOps > 0 || r.writeOps > 0) {
    out += '; ';
    if (r.readOps > 0) out += `${bytesText(whole(r.readBytes))}/s rd, `;
    if (r.writeOps > 0) out += `${bytesText(whole(r.writeBytes))}/s wr, `;
    out += `${countText(whole(r.readOps + r.writeOps))} op/s`;
  }
  for (const line of recoveryLines(view.sums)) out += `; ${line}`;
  const recovering = recoveryRateText(r);
  return recovering === '' ? out : `${out}; ${recovering} recovering`;
}

export function pgStatJson(view: DumpView): JsonObject {
  const { stats } = view;
  const used = view.store.total - view.store.available;
  const { seconds } = stats.rates.window();
  const r = stats.rates.rates();
  const io: JsonObject =
    r.readOps === 0 && r.writeOps === 0
      ? {}
      : {
          ...(r.readOps > 0 ? { read_bytes_sec: whole(r.readBytes) } : {}),
          ...(r.writeOps > 0 ? { write_bytes_sec: whole(r.writeBytes) } : {}),
          io_sec: whole(r.readOps + r.writeOps),
        };
  return {
    num_pg_by_state: [...pgsByState(stats)].map(([state, num]) => ({ name: pgStateText(state), num })),
    num_pgs: stats.pgs.size,
    num_bytes: view.sums.bytes,
    total_bytes: view.store.total,
    total_avail_bytes: view.store.available,
    total_used_bytes: used,
    total_used_raw_bytes: used,
    ...io,
    ...recoveryJson(view.sums),
    ...recoveryRateJson(r, seconds),
  };
}

/** `osd pool stats`, of the pools given. */
export function poolStatsText(view: DumpView, ids: readonly number[]): string {
  let out = '';
  for (const id of ids) {
    const p = view.pools.get(id)!;
    const lines = recoveryLines(p.sums).map((line) => `  ${line}\n`);
    const recovering = recoveryRateText(p.rates);
    if (recovering !== '') lines.push(`  recovery io ${recovering}\n`);
    const client = clientRateText(p.rates);
    if (client !== '') lines.push(`  client io ${client}\n`);
    out += `pool ${view.stats.map.poolNames.get(id) ?? ''} id ${id}\n`;
    out += lines.length === 0 ? '  nothing is going on\n\n' : `${lines.join('')}\n`;
  }
  return out;
}

export function poolStatsJson(view: DumpView, ids: readonly number[]): JsonObject[] {
  const { seconds } = view.stats.rates.window();
  return ids.map((id) => {
    const p = view.pools.get(id)!;
    return {
      pool_name: view.stats.map.poolNames.get(id) ?? '',
      pool_id: id,
      recovery: recoveryJson(p.sums),
      recovery_rate: recoveryRateJson(p.rates, seconds),
      client_io_rate: clientRateJson(p.rates),
    };
  });
}
