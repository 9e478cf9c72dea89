import { compareUTime } from '../wire/encoding.ts';
import type { PgHistory } from '../wire/messages/osd_pg.ts';
import { sumsSeen } from './scrub-sums.ts';

/** Sums that scrubs set. */
export const scrubSums = [
  ...sumsSeen,
  'scrubErrors',
  'shallowScrubErrors',
  'deepScrubErrors',
  'largeOmapObjects',
  'omapBytes',
  'omapKeys',
] as const;

/** Takes over when the PG was scrubbed last, where the other knows of a later time. */
export function mergeScrubs(history: PgHistory, other: PgHistory): boolean {
  let changed = false;
  if (compareUTime(other.lastScrubStamp, history.lastScrubStamp) > 0) {
    history.lastScrubStamp = other.lastScrubStamp;
    history.lastScrub = other.lastScrub;
    changed = true;
  }
  if (compareUTime(other.lastDeepScrubStamp, history.lastDeepScrubStamp) > 0) {
    history.lastDeepScrubStamp = other.lastDeepScrubStamp;
    history.lastDeepScrub = other.lastDeepScrub;
    changed = true;
  }
  if (compareUTime(other.lastCleanScrubStamp, history.lastCleanScrubStamp) > 0) {
    history.lastCleanScrubStamp = other.lastCleanScrubStamp;
    changed = true;
  }
  return changed;
}
