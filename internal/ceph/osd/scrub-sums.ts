import type { ObjectSums } from '../wire/messages/osd_mgr.ts';
import type { ScrubObject } from '../wire/messages/osd_scrub.ts';
import { SNAP_HEAD } from '../wire/types.ts';
import type { ObjectInfo } from './object-info.ts';
import type { ScrubOptions } from './scrub-schedule.ts';

/** The PG's sums that follow from its objects. */
export const sumsSeen = ['objects', 'objectClones', 'bytes', 'whiteouts', 'objectsOmap'] as const;
export type SumsSeen = Record<(typeof sumsSeen)[number], number>;

export function copySums(sums: Readonly<SumsSeen>): SumsSeen {
  const { objects, objectClones, bytes, whiteouts, objectsOmap } = sums;
  return { objects, objectClones, bytes, whiteouts, objectsOmap };
}

export function isLargeOmap(object: ScrubObject, options: ScrubOptions): boolean {
  return (
    object.omapKeys > options.deepScrubLargeOmapObjectKeyThreshold ||
    object.omapBytes > options.deepScrubLargeOmapObjectValueSumThreshold
  );
}

/** What a scrub counts on its way through a PG, with writes to what it has passed. */
export class ScrubSums {
  readonly #seen: SumsSeen = { objects: 0, objectClones: 0, bytes: 0, whiteouts: 0, objectsOmap: 0 };
  omapKeys = 0;
  omapBytes = 0;
  largeOmapObjects = 0;
  /** Some objects were left out. */
  incomplete = false;

  addObject(object: ScrubObject, info: ObjectInfo, options: ScrubOptions): void {
    const seen = this.#seen;
    if (info.whiteout) seen.whiteouts++;
    else {
      seen.objects++;
      if (object.oid.snap !== SNAP_HEAD) seen.objectClones++;
      seen.bytes += info.size;
      if (info.omap) seen.objectsOmap++;
    }
    this.omapKeys += object.omapKeys;
    this.omapBytes += object.omapBytes;
    if (!isLargeOmap(object, options)) return;
    this.largeOmapObjects++;
  }

  addDelta(delta: SumsSeen): void {
    for (const field of sumsSeen) this.#seen[field] += delta[field];
  }

  /** What is wrong with the PG's sums, in words; undefined: nothing. */
  difference(sums: Readonly<ObjectSums>): string | undefined {
    const wrong = sumsSeen.filter((field) => sums[field] !== this.#seen[field]);
    if (wrong.length === 0) return undefined;
    return wrong.map((field) => `got ${this.#seen[field]}/${sums[field]} ${field}`).join(', ');
  }

  applyTo(sums: ObjectSums): void {
    Object.assign(sums, this.#seen);
  }
}
