import { utimeText } from '../mon/format/units.ts';
import { utimeFromMs } from '../wire/encoding.ts';
import type { Osd } from './osd.ts';
import type { Pg } from './pg.ts';

/** Makes the next scrub of a PG due now, or so many seconds ago; gives the moment of the last one as it now stands. */
export function makeScrubDue(pg: Pg, deep: boolean, seconds: number): string {
  return utimeText(pg.scrubber.makeDue(deep, seconds));
}

/** When the PGs that the OSD leads are scrubbed next. */
export function scrubsDue(osd: Osd): Record<string, unknown>[] {
  return osd.scrubs.due().map(({ pg, atMs, deadlineMs }) => ({
    pgid: pg.core.text,
    sched_time: utimeText(utimeFromMs(atMs)),
    deadline: utimeText(utimeFromMs(Number.isFinite(deadlineMs) ? deadlineMs : 0)),
    forced: pg.scrubber.wanted !== undefined,
  }));
}

/** Scrubs that the OSD takes part in. */
export function scrubReservations(osd: Osd, maxScrubs: number): Record<string, number> {
  const scrubbers = [...osd.pgs.values()].map((pg) => pg.scrubber);
  return {
    scrubs_local: scrubbers.filter(({ busy }) => busy).length,
    scrubs_remote: scrubbers.filter(({ holdsRemoteSlot }) => holdsRemoteSlot).length,
    osd_max_scrubs: maxScrubs,
  };
}
