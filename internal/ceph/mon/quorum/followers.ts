import type { Clock } from '../../../base/clock.ts';
import type { RawMessage } from '../../wire/messenger.ts';
import type { FeatureCount, Hello, HelloAnswer } from './wire.ts';

/** A hello is answered after so long at the latest. */
const holdMs = 1000;
/** Messages that wait for a mon at most. */
const maxPushes = 256;

export interface Follower {
  /** Monotonic. */
  heardMs: number;
  skewMs: number;
  latencyMs: number;
  /** Of who is connected with it. */
  features: readonly FeatureCount[];
}

type Push = HelloAnswer['pushes'][number];

/** What the leader knows of the mons that follow it. */
export class Followers {
  readonly #clock: Clock;
  readonly #leaseMs: number;
  readonly #followers = new Map<string, Follower>();
  /** With which mon a session is connected, by its global id. */
  readonly #homes = new Map<bigint, string>();
  readonly #mail = new Map<string, { pushes: Push[]; wake: () => void }>();

  constructor(clock: Clock, leaseMs: number) {
    this.#clock = clock;
    this.#leaseMs = leaseMs;
  }

  /** Mons heard of within a lease, by name. */
  get names(): string[] {
    const now = this.#clock.monotonic();
    return [...this.#followers].filter(([, { heardMs }]) => now - heardMs < this.#leaseMs).map(([name]) => name);
  }

  get(name: string): Follower | undefined {
    return this.#followers.get(name);
  }

  /** Somebody else leads. */
  forget(): void {
    this.#followers.clear();
    this.#homes.clear();
    this.close();
  }

  close(): void {
    for (const { wake } of this.#mail.values()) wake();
    this.#mail.clear();
  }

  /** Resolves when there is something to tell the mon, or a moment later. */
  async hello({ name, skewMs, latencyMs, features }: Hello): Promise<Push[]> {
    this.#followers.set(name, { heardMs: this.#clock.monotonic(), skewMs, latencyMs, features });
    const mail = this.#mail.get(name) ?? { pushes: [], wake: () => undefined };
    // Its last hello, if that still waits, was lost on the way.
    mail.wake();
    this.#mail.set(name, mail);
    if (mail.pushes.length === 0)
      await new Promise<void>((resolve) => {
        const timer = this.#clock.after(holdMs, resolve);
        mail.wake = () => {
          timer.cancel();
          resolve();
        };
      });
    return mail.pushes.splice(0);
  }

  noteHome(globalId: bigint, name: string): void {
    this.#homes.delete(globalId);
    this.#homes.set(globalId, name);
    if (this.#homes.size > maxPushes) this.#homes.delete(this.#homes.keys().next().value!);
  }

  /** False: nobody knows where the session is. */
  push(globalId: bigint, message: RawMessage): boolean {
    const name = this.#homes.get(globalId);
    if (name === undefined) return false;
    const mail = this.#mail.get(name);
    if (mail === undefined || mail.pushes.length >= maxPushes) return false;
    mail.pushes.push({ globalId, message });
    mail.wake();
    return true;
  }
}
