/** Bodies of requests as they arrive from a network: bounded each, all together, and in time. */
import { badRequest, failure, tooLarge, tooManyRequests } from '../machinery/status.ts';
import { bodyBytesMax } from './context.ts';
import type { RequestCaller } from './request-caller.ts';

/** Bytes of bodies that all connections together may have in memory. */
export class BodyBudget {
  readonly #max: number;
  #held = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get held(): number {
    return this.#held;
  }

  /** False, and nothing taken, when there is not so much left. */
  take(bytes: number): boolean {
    if (this.#held + bytes > this.#max) return false;
    this.#held += bytes;
    return true;
  }

  give(bytes: number): void {
    this.#held -= bytes;
  }
}

/** What is used of node's incoming messages. */
export interface BodySource {
  on(event: 'data', listener: (piece: Uint8Array) => void): unknown;
  on(event: 'end' | 'aborted' | 'close', listener: () => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
}

/** One request's body. What it takes from the budget it keeps until `release`. */
export class IncomingBody {
  readonly #source: BodySource;
  readonly #length: number;
  readonly #budget: BodyBudget;
  readonly #timeMs: number;
  #held = 0;
  #released = false;

  /** `length` is what the headers announce, 0 when they do not. */
  constructor(source: BodySource, length: number, budget: BodyBudget, timeMs: number) {
    this.#source = source;
    this.#length = length;
    this.#budget = budget;
    this.#timeMs = timeMs;
  }

  /**
   * The whole body; call it once. Throws 413 (too large), 429 (too much at once), 408 (too slow), 400 (broke off, also when nobody waits for an answer any
   * more: a source that was closed before tells of nothing). What follows a failure is dropped.
   */
  read(caller: RequestCaller): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const brokeOff = (): Error => badRequest('the request body broke off');
      if (caller.gone) {
        reject(brokeOff());
        return;
      }
      const tooMuch = (): Error => tooLarge(`limit is ${bodyBytesMax}`);
      if (this.#length > bodyBytesMax) {
        reject(tooMuch());
        return;
      }
      const pieces: Uint8Array[] = [];
      let size = 0;
      let over = false;
      const finish = (error?: Error): void => {
        if (over) return;
        over = true;
        clearTimeout(timer);
        stays();
        if (error === undefined) {
          resolve(pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
          return;
        }
        pieces.length = 0;
        this.release();
        reject(error);
      };
      const late = (): Error =>
        failure(408, 'Timeout', `Timeout: the request body did not arrive within ${this.#timeMs / 1000} s`);
      const timer = setTimeout(() => finish(late()), this.#timeMs);
      const stays = caller.onGone(() => finish(brokeOff()));
      this.#source.on('data', (piece) => {
        if (over) return;
        size += piece.length;
        if (size > bodyBytesMax) return finish(tooMuch());
        if (this.#released || !this.#budget.take(piece.length))
          return finish(tooManyRequests('Too much request data at once, please try again later.', 1));
        this.#held += piece.length;
        pieces.push(piece);
      });
      this.#source.on('end', () => finish());
      this.#source.on('error', () => finish(brokeOff()));
      this.#source.on('aborted', () => finish(brokeOff()));
      this.#source.on('close', () => finish(brokeOff()));
    });
  }

  /** Gives the budget back: the request is answered. */
  release(): void {
    this.#released = true;
    this.#budget.give(this.#held);
    this.#held = 0;
  }
}
