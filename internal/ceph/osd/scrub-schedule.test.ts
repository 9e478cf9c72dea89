import { describe, expect, test } from 'vitest';
import { utimeFromMs } from '../wire/encoding.ts';
import { emptyPgHistory } from '../wire/messages/osd_pg.ts';
import { MAP_NODEEP_SCRUB, MAP_NOSCRUB, type MapView, type PoolView } from './map-view.ts';
import { defaultOsdOptions, osdOptionName, osdOptions } from './osd-options.ts';
import { defaultScrubOptions, loadPermits, scrubDue, scrubKind, timePermits } from './scrub-schedule.ts';

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const nowMs = 1_700_000_000_000;
const plainPool = {
  noScrub: false,
  noDeepScrub: false,
  scrubMinSec: 0,
  scrubMaxSec: 0,
  deepScrubSec: 0,
} as PoolView;

function mapWith(...flags: number[]): MapView {
  return { hasFlag: (flag: number) => flags.includes(flag) } as MapView;
}

/** Scrubbed and scrubbed deeply so many days ago. */
function history(days: number, deepDays = days) {
  return {
    ...emptyPgHistory(),
    lastScrubStamp: utimeFromMs(nowMs - days * dayMs),
    lastDeepScrubStamp: utimeFromMs(nowMs - deepDays * dayMs),
  };
}

describe('when PGs are scrubbed', () => {
  test('options have the names of upstream; what cannot be read is the default', () => {
    expect(osdOptionName('scrubMinInterval')).toBe('osd_scrub_min_interval');
    const given = new Map([
      ['osd_max_scrubs', '3'],
      ['osd_scrub_sleep', 'soon'],
      ['osd_scrub_auto_repair', 'true'],
    ]);
    expect(osdOptions(given)).toEqual({ ...defaultOsdOptions, maxScrubs: 3, scrubAutoRepair: true });
  });

  test('hours and days: from begin until before end, also over midnight; equal ones are always', () => {
    const permitted = (change: object, hour: number, weekDay = 0): boolean =>
      timePermits({ ...defaultScrubOptions, ...change }, { hour, weekDay });
    expect(permitted({}, 13)).toBe(true);
    expect(permitted({ scrubBeginHour: 1, scrubEndHour: 5 }, 1)).toBe(true);
    expect(permitted({ scrubBeginHour: 1, scrubEndHour: 5 }, 5)).toBe(false);
    expect(permitted({ scrubBeginHour: 22, scrubEndHour: 4 }, 23)).toBe(true);
    expect(permitted({ scrubBeginHour: 22, scrubEndHour: 4 }, 3)).toBe(true);
    expect(permitted({ scrubBeginHour: 22, scrubEndHour: 4 }, 12)).toBe(false);
    expect(permitted({ scrubBeginHour: 0, scrubEndHour: 24 }, 12)).toBe(true);
    expect(permitted({ scrubBeginWeekDay: 5, scrubEndWeekDay: 0 }, 12, 6)).toBe(true);
    expect(permitted({ scrubBeginWeekDay: 5, scrubEndWeekDay: 0 }, 12, 1)).toBe(false);
  });

  test('load: below the threshold, or sinking', () => {
    const permits = (oneMinute: number, fifteenMinutes: number): boolean =>
      loadPermits(defaultScrubOptions, { oneMinute, fifteenMinutes, processors: 4 });
    expect(permits(1.9, 0)).toBe(true);
    expect(permits(2.1, 2)).toBe(false);
    expect(permits(2.1, 3)).toBe(true);
  });

  test('due after the least interval and a share of chance, past waiting after the most; pools have their own', () => {
    const past = history(0);
    expect(scrubDue(defaultScrubOptions, plainPool, past, 0).atMs).toBe(nowMs + dayMs);
    expect(scrubDue(defaultScrubOptions, plainPool, past, 0.5)).toEqual({
      atMs: nowMs + 1.25 * dayMs,
      deadlineMs: nowMs + 7 * dayMs,
    });
    const pool = { ...plainPool, scrubMinSec: 3600, scrubMaxSec: 7200 };
    expect(scrubDue(defaultScrubOptions, pool, past, 0)).toEqual({
      atMs: nowMs + hourMs,
      deadlineMs: nowMs + 2 * hourMs,
    });
  });

  test.each([
    ['shallow while the deep one is young', [], {}, 1, 0, 0.5, 'shallow'],
    ['deep by chance', [], {}, 1, 0, 0.1, 'deep'],
    ['deep when it is time', [], {}, 8, 0, 0.5, 'deep'],
    ['deep when the last one found something', [], {}, 1, 2, 0.5, 'deep'],
    ['the pool wants deep ones more often', [], { deepScrubSec: 3600 }, 1, 0, 0.5, 'deep'],
    ['nodeep-scrub makes it shallow', [MAP_NODEEP_SCRUB], {}, 8, 0, 0.5, 'shallow'],
    ['nodeep-scrub does not hide what a deep one found', [MAP_NODEEP_SCRUB], {}, 8, 2, 0.5, undefined],
    ['noscrub leaves deep ones that are due', [MAP_NOSCRUB], {}, 8, 0, 0.5, 'deep'],
    ['noscrub stops the others', [MAP_NOSCRUB], {}, 1, 0, 0.1, undefined],
    ['the pool wants none', [], { noScrub: true, noDeepScrub: true }, 8, 0, 0.5, undefined],
  ] as const)('%s', (_name, flags, pool, deepDays, deepErrors, draw, kind) => {
    const found = scrubKind(
      defaultScrubOptions,
      mapWith(...flags),
      { ...plainPool, ...pool },
      history(1, deepDays),
      deepErrors,
      nowMs,
      draw,
    );
    expect(found).toBe(kind);
  });
});
