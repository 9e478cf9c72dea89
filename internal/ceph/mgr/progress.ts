import { type Random, uuid } from '../../base/random.ts';
import { timespanText } from '../mon/format/units.ts';
import type { ProgressDigest } from '../wire/messages/mgr_mon.ts';
import { hasPgState, PG_ACTIVE, PG_CLEAN, PG_CREATING } from '../wire/messages/osd_mgr.ts';
import type { ClusterStats } from './cluster-stats.ts';

interface ProgressEvent {
  id: string;
  startedMs: number;
  /** 0..1. */
  progress: number;
}

interface CompletedEvent {
  id: string;
  startedMs: number;
  finishedMs: number;
}

const message = 'Global Recovery Event';
const completedKept = 50;
const barWidth = 28;

/** The share of PGs that are as they should be; undefined while nothing was ever wrong: all are clean, new or unknown. */
function cleanShare(stats: ClusterStats): number | undefined {
  let clean = 0;
  let known = 0;
  for (const [, { state }] of stats.pgs.entries()) {
    if (state === 0 || hasPgState(state, PG_CREATING)) continue;
    known++;
    if (hasPgState(state, PG_ACTIVE) && hasPgState(state, PG_CLEAN)) clean++;
  }
  return known === 0 ? undefined : clean / known;
}

/** Follows recovery as one event from the moment PGs are not clean until all are again (the global event of upstream's module `progress`). */
export class ProgressTracker {
  readonly #random: Random;
  #event: ProgressEvent | undefined;
  readonly #completed: CompletedEvent[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  update(stats: ClusterStats, nowMs: number): void {
    const share = cleanShare(stats);
    if (share === undefined) return;
    if (share < 1) {
      this.#event ??= { id: uuid(this.#random), startedMs: nowMs, progress: 0 };
      this.#event.progress = share;
    } else if (this.#event !== undefined) {
      const { id, startedMs } = this.#event;
      this.#completed.push({ id, startedMs, finishedMs: nowMs });
      if (this.#completed.length > completedKept) this.#completed.shift();
      this.#event = undefined;
    }
  }

  /** Forgets everything. */
  clear(): void {
    this.#event = undefined;
    this.#completed.length = 0;
  }

  digest(nowMs: number): ProgressDigest[] {
    if (this.#event === undefined) return [];
    const { id, startedMs, progress } = this.#event;
    return [{ id, message: `${message} ${ago(nowMs - startedMs)}`, progress }];
  }

  /** `ceph progress`; empty when nothing happened. */
  text(nowMs: number): string {
    let out = '';
    if (this.#event !== undefined) {
      const { startedMs, progress } = this.#event;
      const rest = remainingSec(nowMs - startedMs, progress);
      out += `${message} ${ago(nowMs - startedMs)}\n    ${bar(progress)}${rest > 0 ? `(remaining: ${timespanText(rest)})` : ''}\n`;
    }
    for (const { finishedMs } of [...this.#completed].reverse())
      out += `[Complete]: ${message} ${ago(nowMs - finishedMs)}\n    ${bar(1)}\n`;
    return out;
  }

  /** `ceph progress json`; the odd name of the last member is upstream's. */
  json(nowMs: number): unknown {
    const refs = [['global', '']];
    const event = this.#event;
    return {
      completed: this.#completed.map(({ id, startedMs, finishedMs }) => ({
        'add_to_ceph_s:': true,
        finished_at: finishedMs / 1000,
        id,
        message,
        refs,
        started_at: startedMs / 1000,
      })),
      events:
        event === undefined
          ? []
          : [
              {
                duration: ago(nowMs - event.startedMs),
                id: event.id,
                message,
                progress: event.progress,
                refs,
                started_at: event.startedMs / 1000,
                time_remaining: remainingSec(nowMs - event.startedMs, event.progress),
              },
            ],
    };
  }
}

function ago(ms: number): string {
  return `(${timespanText(ms / 1000)})`;
}

function remainingSec(elapsedMs: number, progress: number): number {
  return progress > 0 ? Math.floor(((elapsedMs / 1000) * (1 - progress)) / progress) : 0;
}

function bar(progress: number): string {
  const filled = Math.max(0, Math.min(barWidth, Math.floor(progress * barWidth)));
  return `[${'='.repeat(filled)}${'.'.repeat(barWidth - filled)}] `;
}
