import { type Clock, sleep } from '../base/clock.ts';
import { AppError, errorText } from '../base/errors.ts';
import type { ProgramHealth } from './role-table.ts';
import type { Action } from './supervision.ts';

/** The processes of instances, from the decision to start one to its end: carries out what `Supervision` decides, and tells it what became of it. */

export interface InstanceProcess {
  /** Resolves when it has ended, however. */
  readonly exited: Promise<unknown>;
  /** Asks for an ordered stop. */
  stop(): void;
  kill(): void;
  /** How a program, which does not tell by itself, is now. */
  readonly ask?: () => Promise<ProgramHealth>;
}

export interface Running<P> {
  readonly handle: P;
  /** It was asked to stop. */
  asked: boolean;
  /** Why it was killed, when it was us. */
  killedFor: string | undefined;
}

export interface ProcessEvents<P> {
  /** Makes the process; may take its time. */
  start(name: string): Promise<P>;
  onReady(name: string): void;
  onHealth(name: string, ok: boolean, detail: string): void;
  onExit(name: string, running: Running<P>): void;
  /** No process was made. */
  onNoStart(name: string, error: unknown): void;
  onKill(name: string, why: string): void;
}

/** A program is asked so often whether it is ready yet, and then whether it still is. */
const readyEveryMs = 100;
/** After so many answers it is asked less often: what takes long to start may write each question into its log. */
const oftenAsked = 30;
const readyLaterEveryMs = 1000;
const healthEveryMs = 5000;

export class InstanceProcesses<P extends InstanceProcess> {
  readonly #events: ProcessEvents<P>;
  readonly #clock: Clock;
  readonly #running = new Map<string, Running<P>>();
  /** Those that are being made, with what was decided meanwhile. */
  readonly #starting = new Map<string, { asked: boolean; killedFor: string | undefined }>();

  constructor(events: ProcessEvents<P>, clock: Clock) {
    this.#events = events;
    this.#clock = clock;
  }

  get(name: string): Running<P> | undefined {
    return this.#running.get(name);
  }

  /** Those that run, by name. */
  entries(): IterableIterator<[string, Running<P>]> {
    return this.#running.entries();
  }

  /** There is a process, or there will be one. */
  has(name: string): boolean {
    return this.#running.has(name) || this.#starting.has(name);
  }

  act(action: Action): void {
    const { name } = action;
    if (action.do === 'start') {
      void this.#start(name);
      return;
    }
    const running = this.#running.get(name);
    const about = running ?? this.#starting.get(name);
    if (about === undefined) return;
    if (action.do === 'stop') {
      about.asked = true;
      running?.handle.stop();
      return;
    }
    about.killedFor = action.why;
    this.#events.onKill(name, action.why);
    running?.handle.kill();
  }

  async #start(name: string): Promise<void> {
    if (this.has(name)) {
      this.#events.onNoStart(name, new AppError('ROLE', `a process of ${name} runs still`));
      return;
    }
    const meanwhile = { asked: false, killedFor: undefined as string | undefined };
    this.#starting.set(name, meanwhile);
    let handle: P;
    try {
      handle = await this.#events.start(name);
    } catch (error) {
      this.#starting.delete(name);
      this.#events.onNoStart(name, error);
      return;
    }
    this.#starting.delete(name);
    const running: Running<P> = { handle, ...meanwhile };
    this.#running.set(name, running);
    const ended = new AbortController();
    void handle.exited.then(() => {
      ended.abort();
      this.#running.delete(name);
      this.#events.onExit(name, running);
    });
    if (running.killedFor !== undefined) handle.kill();
    else if (running.asked) handle.stop();
    if (handle.ask) void this.#watch(name, handle.ask, ended.signal);
  }

  /** Asks a program until it has ended. That it cannot be asked is an answer too: not ready. */
  async #watch(name: string, ask: () => Promise<ProgramHealth>, ended: AbortSignal): Promise<void> {
    let wasReady = false;
    let asked = 0;
    while (!ended.aborted) {
      const { serves, detail } = await ask().catch((error: unknown) => ({ serves: false, detail: errorText(error) }));
      if (ended.aborted) return;
      if (serves && !wasReady) this.#events.onReady(name);
      wasReady ||= serves;
      if (wasReady) this.#events.onHealth(name, serves, detail);
      asked++;
      const soonMs = asked < oftenAsked ? readyEveryMs : readyLaterEveryMs;
      await sleep(this.#clock, wasReady ? healthEveryMs : soonMs, ended);
    }
  }
}
