import * as fs from 'node:fs';
import type { Clock, Timer } from '../../base/clock.ts';
import { errorCode, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Store } from '../api.ts';
import { beyondRetention, scheduledName, scheduledTime } from './names.ts';
import { saveSnapshot } from './save-system.ts';

/** Where snapshots go beside the directory. */
export interface SnapshotTarget {
  readonly name: string;
  put(name: string, path: string): Promise<void>;
  list(): Promise<string[]>;
  remove(name: string): Promise<void>;
}

export interface ScheduleOptions {
  readonly store: Store;
  readonly node: string;
  readonly dir: string;
  readonly everyMs: number;
  readonly keep: number;
  readonly target?: SnapshotTarget;
  readonly clock: Clock;
  readonly log: Logger;
}

/** After a start, and after one that failed, the next attempt is not before this. */
const soonestMs = 5 * 60_000;
/** Timers hold no more than 2^31 ms. */
const longestTimerMs = 86_400_000;

/** Makes snapshots from time to time, reckoned from the newest that is there, and removes those beyond what is kept. */
export class SnapshotSchedule {
  readonly #options: ScheduleOptions;
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: ScheduleOptions) {
    this.#options = options;
    this.#plan(Math.max(soonestMs, this.#dueIn()));
  }

  /** Milliseconds until the next one is due. */
  #dueIn(): number {
    const { node, everyMs, clock } = this.#options;
    const times = this.#names().flatMap((name) => scheduledTime(node, name) ?? []);
    // A clock that was wrong may have left one from the future.
    const newest = Math.max(0, ...times.filter((time) => time <= clock.now()));
    return Math.max(0, newest + everyMs - clock.now());
  }

  /** What is in the directory; one that cannot be read is told, and snapshots are tried all the same: the store serves without them. */
  #names(): string[] {
    const { dir, log } = this.#options;
    try {
      return fs.readdirSync(dir);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT')
        log.error('the directory of snapshots cannot be read', { dir, error: errorText(error) });
      return [];
    }
  }

  #plan(ms: number): void {
    if (this.#closed) return;
    this.#timer = this.#options.clock.after(Math.min(ms, longestTimerMs), () => {
      const dueMs = this.#dueIn();
      if (dueMs > 0) this.#plan(dueMs);
      else
        this.run().then(
          () => this.#plan(Math.max(soonestMs, this.#dueIn())),
          (error: unknown) => {
            this.#options.log.error('no snapshot of the store was made', { error: errorText(error) });
            this.#plan(soonestMs);
          },
        );
    });
  }

  /** Makes one now. */
  async run(): Promise<string> {
    const { store, node, dir, keep, target, clock, log } = this.#options;
    const name = scheduledName(node, clock.now());
    const { revision, bytes } = await saveSnapshot(store, `${dir}/${name}`);
    for (const old of beyondRetention(node, fs.readdirSync(dir), keep)) fs.rmSync(`${dir}/${old}`, { force: true });
    log.info('a snapshot of the store was made', { file: `${dir}/${name}`, revision, bytes });
    if (target !== undefined) {
      try {
        await target.put(name, `${dir}/${name}`);
        for (const old of beyondRetention(node, await target.list(), keep)) await target.remove(old);
      } catch (error) {
        // The one in the directory is good.
        log.error('the snapshot was not sent', { to: target.name, file: name, error: errorText(error) });
      }
    }
    return name;
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
  }
}
