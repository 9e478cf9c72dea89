import type { Clock, Timer } from '../../base/clock.ts';
import type { Allocator, Run } from './allocator.ts';
import type { DataFile } from './datafile.ts';

/** Shorter runs are not worth a hole in the file. */
const leastBlocks = 16;
/** Runs remembered; more are forgotten: their space is used again by later writes. */
const maxRuns = 8192;
/** A hole takes the file system some 50 us, and no other call of the process goes on meanwhile. */
const runsAtOnce = 16;
const pauseMs = 20;

/**
 * Gives the space of removed data in a sparse file back to the file system, while the store has nothing else to do: making a hole waits for
 * every write to the file that is on its way.
 */
export class Trimmer {
  readonly #clock: Clock;
  readonly #allocator: Allocator;
  readonly #data: DataFile;
  readonly #idle: () => boolean;
  #runs: Run[] = [];
  #timer: Timer | undefined;

  constructor(clock: Clock, allocator: Allocator, data: DataFile, idle: () => boolean) {
    this.#clock = clock;
    this.#allocator = allocator;
    this.#data = data;
    this.#idle = idle;
  }

  /** These blocks have no owner any more, on disk. */
  add(run: Run): void {
    if (run.count >= leastBlocks && this.#runs.length < maxRuns) this.#runs.push(run);
  }

  /** Begins, or goes on, when there is something to give back. */
  start(): void {
    if (this.#runs.length > 0) this.#timer ??= this.#clock.after(pauseMs, () => void this.#step());
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#runs = [];
  }

  async #step(): Promise<void> {
    this.#timer = undefined;
    // The end of the next checkpoint starts it again.
    if (!this.#idle()) return;
    // Nothing happens between the look and the call, so the blocks are still free when they are given back.
    for (const run of this.#runs.splice(0, runsAtOnce)) if (this.#allocator.isFree(run)) await this.#data.discard(run);
    this.start();
  }
}
