import type { IoRates } from '../wire/messages/mgr_mon.ts';
import type { ObjectSums } from '../wire/messages/osd_mgr.ts';

/** Counters that only grow, of which rates are made. */
export interface IoTotals {
  readOps: number;
  readBytes: number;
  writeOps: number;
  writeBytes: number;
  recoveringObjects: number;
  recoveringBytes: number;
  recoveringKeys: number;
}

export const ioFields = [
  'readOps',
  'readBytes',
  'writeOps',
  'writeBytes',
  'recoveringObjects',
  'recoveringBytes',
  'recoveringKeys',
] as const satisfies readonly (keyof IoTotals)[];

export function zeroTotals(): IoTotals {
  return {
    readOps: 0,
    readBytes: 0,
    writeOps: 0,
    writeBytes: 0,
    recoveringObjects: 0,
    recoveringBytes: 0,
    recoveringKeys: 0,
  };
}

/** What grew from one report of a PG to the next. Counters go back when a PG moves to an OSD that knows less: that counts as nothing. */
export function growth(before: Readonly<ObjectSums>, after: Readonly<ObjectSums>): IoTotals {
  const grew = (field: keyof ObjectSums): number => Math.max(0, after[field] - before[field]);
  return {
    readOps: grew('read'),
    readBytes: grew('readKb') * 1024,
    writeOps: grew('write'),
    writeBytes: grew('writeKb') * 1024,
    recoveringObjects: grew('objectsRecovered'),
    recoveringBytes: grew('bytesRecovered'),
    recoveringKeys: grew('keysRecovered'),
  };
}

export function addTotals(to: IoTotals, more: Readonly<IoTotals>): void {
  for (const field of ioFields) to[field] += more[field];
}

/** Samples over which a rate is taken (`mon_stat_smooth_intervals` 6, every 2 s). */
const samplesKept = 7;

/** Rates over the last few seconds. */
export class RateMeter {
  readonly total = zeroTotals();
  readonly #samples: { ms: number; totals: IoTotals }[] = [];

  add(more: Readonly<IoTotals>): void {
    addTotals(this.total, more);
  }

  sample(nowMs: number): void {
    this.#samples.push({ ms: nowMs, totals: { ...this.total } });
    if (this.#samples.length > samplesKept) this.#samples.shift();
  }

  /** What grew between the oldest and the newest sample. */
  window(): { sums: IoTotals; seconds: number } {
    const first = this.#samples[0];
    const last = this.#samples[this.#samples.length - 1];
    const sums = zeroTotals();
    if (first === undefined || last === undefined || last.ms <= first.ms) return { sums, seconds: 0 };
    for (const field of ioFields) sums[field] = last.totals[field] - first.totals[field];
    return { sums, seconds: (last.ms - first.ms) / 1000 };
  }

  rates(): IoRates {
    const { sums, seconds } = this.window();
    const out: IoRates = {
      readBytes: 0,
      writeBytes: 0,
      readOps: 0,
      writeOps: 0,
      recoveringBytes: 0,
      recoveringObjects: 0,
      recoveringKeys: 0,
    };
    if (seconds > 0) for (const field of ioFields) out[field] = sums[field] / seconds;
    return out;
  }
}
