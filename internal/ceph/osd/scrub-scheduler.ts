import type { Clock, Timer } from '../../base/clock.ts';
import type { Random } from '../../base/random.ts';
import type { PgId } from '../wire/types.ts';
import { findPg } from './shards.ts';
import type { Pg } from './pg.ts';
import {
  type LocalTime,
  loadPermits,
  type ScrubDue,
  scrubDue,
  scrubKind,
  type ScrubOptions,
  type SystemLoad,
  timePermits,
} from './scrub-schedule.ts';
import type { ScrubTask } from './scrubber.ts';

/** What the scheduler knows of its OSD. */
export interface ScrubHost {
  readonly clock: Clock;
  readonly random: Random;
  readonly pgs: ReadonlyMap<string, Pg>;
  options(): ScrubOptions;
  load(): SystemLoad;
  localTime(): LocalTime;
  /** PGs of this OSD recover or backfill. */
  recovering(): boolean;
}

/** Between the end of one scrub, or a refusal, and the next try. */
const retryMinMs = 100;
const retryMaxMs = 1000;

/** Chooses which PG of an OSD is scrubbed next, and counts the places that its own scrubs and those led by others take (`OSD::sched_scrub`). */
export class ScrubScheduler {
  readonly #host: ScrubHost;
  #taken = 0;
  #timer: Timer | undefined;

  constructor(host: ScrubHost) {
    this.#host = host;
  }

  get taken(): number {
    return this.#taken;
  }

  stop(): void {
    this.#timer?.cancel();
  }

  /** A place for one scrub, with a way to give it back; undefined: all `osd_max_scrubs` are taken. */
  slot(): (() => void) | undefined {
    if (this.#taken >= this.#host.options().maxScrubs) return undefined;
    this.#taken++;
    let held = true;
    return () => {
      if (held) this.#taken--;
      held = false;
    };
  }

  /** An operator wants PGs scrubbed that this OSD leads; others are left out. */
  request(pgs: Iterable<PgId>, task: { deep: boolean; repair: boolean }): void {
    for (const id of pgs) {
      const pg = findPg(this.#host.pgs, id);
      if (pg === undefined || !pg.core.isPrimary) continue;
      const before = pg.scrubber.wanted;
      const repair = task.repair || before?.repair === true;
      pg.scrubber.wanted = { deep: task.deep || repair || before?.deep === true, repair, forced: true };
    }
    this.#again(0);
  }

  /** A place may be free again. */
  ended(): void {
    this.#again(retryMinMs + this.#host.random.float() * (retryMaxMs - retryMinMs));
  }

  #again(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#host.clock.after(delayMs, () => {
      this.#timer = undefined;
      if (!this.#beginWanted()) this.#beginDue();
    });
  }

  /** Every few seconds. */
  tick(): void {
    const { random } = this.#host;
    if (this.#timer !== undefined || this.#beginWanted()) return;
    // OSDs that look at the same moment would refuse each other for ever.
    if (random.float() >= this.#host.options().scrubBackoffRatio) this.#beginDue();
  }

  /** True: one began, or no place is free. */
  #beginWanted(): boolean {
    for (const pg of this.#host.pgs.values()) {
      const { wanted, possible } = pg.scrubber;
      if (wanted !== undefined && possible) {
        pg.scrubber.begin(wanted);
        return true;
      }
    }
    return false;
  }

  #beginDue(): void {
    const { clock, random } = this.#host;
    const options = this.#host.options();
    if (this.#taken >= options.maxScrubs) return;
    const nowMs = clock.now();
    const due = this.due().filter(({ pg, atMs }) => atMs <= nowMs && pg.scrubber.possible);
    if (due.length === 0) return;
    const permitted =
      timePermits(options, this.#host.localTime()) &&
      loadPermits(options, this.#host.load()) &&
      (options.scrubDuringRecovery || !this.#host.recovering());
    for (const { pg, deadlineMs } of due) {
      if (!permitted && nowMs < deadlineMs) continue;
      const { map, id, info } = pg.core;
      const { history, sums } = info;
      const kind = scrubKind(options, map, map.pool(id.pool)!, history, sums.deepScrubErrors, nowMs, random.float());
      if (kind === undefined) continue;
      const task: ScrubTask = { deep: kind === 'deep', repair: false, forced: false };
      pg.scrubber.begin(task);
      return;
    }
  }

  /** The PGs that this OSD leads, by when their next scrub is due. */
  due(): ({ pg: Pg } & ScrubDue)[] {
    const options = this.#host.options();
    const out: ({ pg: Pg } & ScrubDue)[] = [];
    for (const pg of this.#host.pgs.values()) {
      const pool = pg.core.map.pool(pg.id.pool);
      if (!pg.core.isPrimary || pool === undefined) continue;
      out.push({ pg, ...scrubDue(options, pool, pg.core.info.history, pg.scrubber.draw) });
    }
    return out.sort((a, b) => a.atMs - b.atMs);
  }
}
