import { expect, test } from 'vitest';
import { emptyPgInfo, type PgInfo } from '../wire/messages/osd_pg.ts';
import { hobjectMin } from '../wire/types.ts';
import { chooseShards, findBestInfo } from './choose-acting.ts';
import { buildPrior } from './intervals.ts';
import type { MapView } from './map-view.ts';
import { memberOf, noMember } from './shards.ts';

function info(started: number, version: number, more: Partial<PgInfo> = {}): PgInfo {
  return {
    ...emptyPgInfo(),
    lastEpochStarted: started,
    lastUpdate: { epoch: started, version },
    lastComplete: { epoch: started, version },
    ...more,
  };
}

const [a, b, c, d] = [0, 1, 2, 3].map((shard) => memberOf(10 + shard, shard)) as [number, number, number, number];

test('of shards the shortest log of the newest interval is right, of copies the longest', () => {
  const infos = new Map([
    [a, info(5, 12)],
    [b, info(5, 11)],
    [c, info(5, 12)],
    // Not there when the PG was last active: its end counts for nothing.
    [d, info(4, 9)],
  ]);
  expect(findBestInfo(infos, a, true)).toBe(b);
  expect(findBestInfo(infos, a, false)).toBe(a);
});

test('each place: whom CRUSH wants, else who serves, else a stray with that shard, else nobody', () => {
  const stray = memberOf(30, 2);
  const infos = new Map([
    [a, info(5, 12)],
    [b, info(5, 12, { lastBackfill: hobjectMin })],
    [stray, info(5, 12)],
    [memberOf(20, 1), info(5, 12)],
  ]);
  const choice = chooseShards(infos, a, [a, b, c, noMember], [a, memberOf(20, 1), c, noMember], 4);
  expect(choice).toEqual({ want: [a, memberOf(20, 1), stray, noMember], backfill: [b, c] });
});

test('a past interval that may have taken writes needs k shards, or the PG is down', () => {
  const up = new Set([10, 11]);
  const map = { isUp: (m: number) => up.has(m % 2 ** 24), exists: () => true, lostAt: () => 0 } as unknown as MapView;
  const past = [
    { first: 3, last: 4, up: [a, b, c], acting: [a, b, c, noMember], upPrimary: a, primary: a, maybeWentRw: true },
  ];
  const history = { ...emptyPgInfo().history };
  expect(buildPrior(map, past, history, [a, noMember], [a, noMember], 2)).toMatchObject({
    blocked: false,
    probe: new Set([a, b]),
    down: new Set([c]),
  });
  up.delete(11);
  expect(buildPrior(map, past, history, [a], [a], 2).blocked).toBe(true);
});
