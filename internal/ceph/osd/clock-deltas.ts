import type { MOSDPing } from '../wire/messages/osd_ping.ts';

/** How far another OSD's monotonic clock is ahead of ours, in milliseconds: no less than `lb`, no more than `ub`; undefined: not known. */
export interface ClockDelta {
  lb: number | undefined;
  ub: number | undefined;
}

interface Known extends ClockDelta {
  upFrom: number;
}

type Stamps = Pick<MOSDPing, 'upFrom' | 'monoSendStampMs' | 'deltaUbMs'>;

/**
 * Bounds on the distance of other OSDs' monotonic clocks from ours (`HeartbeatStamps` of `src/osd/osd_types.h`). Each message takes some time, so that the stamp of its
 * sending is a lower bound of the sender's clock when it is received; what one side knows as a lower bound is, negated, the other's upper bound.
 */
export class ClockDeltas {
  readonly #known = new Map<number, Known>();

  /** Of the OSD in the life that began with `upFrom`. */
  get(osd: number, upFrom: number): ClockDelta {
    const known = this.#known.get(osd);
    return known?.upFrom === upFrom ? known : { lb: undefined, ub: undefined };
  }

  /** What we tell the OSD with a ping or its answer: the most by which our clock may be ahead of its. */
  ourUb(osd: number): number | undefined {
    const lb = this.#known.get(osd)?.lb;
    return lb === undefined ? undefined : -lb;
  }

  /** A ping of the OSD, or its answer to ours, came at `nowMs`. One of an earlier life of it says nothing, nor one that does not know its own (0). */
  heard(osd: number, { upFrom, monoSendStampMs, deltaUbMs }: Stamps, nowMs: number): void {
    const known = this.#known.get(osd);
    if (upFrom === 0 || (known !== undefined && upFrom < known.upFrom)) return;
    this.#known.set(osd, { upFrom, lb: monoSendStampMs - nowMs, ub: deltaUbMs });
  }
}
