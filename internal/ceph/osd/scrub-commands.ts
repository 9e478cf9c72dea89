import { utimeText } from '../mon/format/units.ts';
import { utimeFromMs } from '../wire/encoding.ts';
import type { CommandTarget } from './commands.ts';
import type { Osd } from './osd.ts';
import type { ScrubOptions } from './scrub-schedule.ts';
import { parsePg } from '../wire/types.ts';
import { findPg } from './shards.ts';

/** What `ceph tell osd.N` learns of scrubs. */
export function scrubAnswers(
  osd: Osd,
  options: () => ScrubOptions,
): Pick<CommandTarget, 'makeScrubDue' | 'scrubsDue' | 'scrubReservations'> {
  return {
    makeScrubDue: (pgid, deep, seconds) => {
      const id = parsePg(pgid);
      const pg = id === undefined ? undefined : findPg(osd.pgs, id);
      if (pg === undefined || !pg.core.isPrimary) return undefined;
      return utimeText(pg.scrubber.makeDue(deep, seconds));
    },
    scrubsDue: () =>
      osd.scrubs.due().map(({ pg, atMs, deadlineMs }) => ({
        pgid: pg.core.text,
        sched_time: utimeText(utimeFromMs(atMs)),
        deadline: utimeText(utimeFromMs(Number.isFinite(deadlineMs) ? deadlineMs : 0)),
        forced: pg.scrubber.wanted !== undefined,
      })),
    scrubReservations: () => {
      const scrubbers = [...osd.pgs.values()].map((pg) => pg.scrubber);
      return {
        scrubs_local: scrubbers.filter(({ busy }) => busy).length,
        scrubs_remote: scrubbers.filter(({ holdsRemoteSlot }) => holdsRemoteSlot).length,
        osd_max_scrubs: options().maxScrubs,
      };
    },
  };
}
