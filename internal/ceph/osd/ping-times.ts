import type { PingTimes } from '../wire/messages/osd_mgr.ts';

const minuteMs = 60_000;
const minutesKept = 15;

/** Of some pings, in microseconds. */
interface Minute {
  average: number;
  least: number;
  most: number;
}

/**
 * How long the pings to a peer took over the last minute, five and fifteen (`HeartbeatInfo`, `osd_stat_t::Interfaces`): averages of whole minutes, of which the first
 * is known after a minute.
 */
export class PingStatistics {
  readonly #minutes: Minute[] = [];
  #beganMs = Number.NaN;
  #sum = 0;
  #count = 0;
  #least = Number.POSITIVE_INFINITY;
  #most = 0;
  #last = 0;
  #updatedMs = 0;

  /** `nowMs`: since 1970. */
  add(roundTripMs: number, nowMs: number): void {
    const micros = Math.max(0, Math.round(roundTripMs * 1000));
    if (Number.isNaN(this.#beganMs)) this.#beganMs = nowMs;
    this.#sum += micros;
    this.#count++;
    this.#least = Math.min(this.#least, micros);
    this.#most = Math.max(this.#most, micros);
    if (nowMs - this.#beganMs < minuteMs) return;
    this.#last = micros;
    this.#updatedMs = nowMs;
    this.#minutes.unshift({ average: Math.floor(this.#sum / this.#count), least: this.#least, most: this.#most });
    this.#minutes.length = Math.min(this.#minutes.length, minutesKept);
    this.#beganMs = nowMs;
    this.#sum = 0;
    this.#count = 0;
    this.#least = Number.POSITIVE_INFINITY;
    this.#most = 0;
  }

  get times(): PingTimes {
    const over = (count: number, of: (some: readonly Minute[]) => number): number => {
      const some = this.#minutes.slice(0, count);
      return some.length === 0 ? 0 : of(some);
    };
    const each = (of: (some: readonly Minute[]) => number): [number, number, number] => [
      over(1, of),
      over(5, of),
      over(15, of),
    ];
    return {
      updatedSec: Math.floor(this.#updatedMs / 1000),
      average: each((some) => Math.floor(some.reduce((sum, { average }) => sum + average, 0) / some.length)),
      least: each((some) => Math.min(...some.map(({ least }) => least))),
      most: each((some) => Math.max(...some.map(({ most }) => most))),
      last: this.#last,
    };
  }
}
