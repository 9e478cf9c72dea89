import { describe, expect, test } from 'vitest';
import { addRule, addSimpleRule } from '../crush/rules.ts';
import { createOrMoveItem } from '../crush/build.ts';
import { encodeCrushMap } from '../crush/codec.ts';
import { newCrushMap } from '../crush/default-map.ts';
import { RULE_CHOOSE_FIRSTN, RULE_CHOOSELEAF_FIRSTN, RULE_EMIT, RULE_TAKE, WEIGHT_ONE } from '../crush/map.ts';
import { applyIncremental } from '../maps/apply.ts';
import { OsdMapIncremental } from '../maps/incremental.ts';
import { OsdMap } from '../maps/osdmap.ts';
import { Placement } from '../maps/placement.ts';
import { newPool } from '../maps/pool.ts';
import { addrV2 } from '../wire/types.ts';
import { nextMap } from './small-cluster.testing.ts';
import { calcPgUpmaps, type UpmapChanges } from './upmap.ts';

const hostOf = (osd: number): number => Math.floor(osd / 3);
const rackOf = (osd: number): number => Math.floor(hostOf(osd) / 3);
const osds = [...Array(36).keys()];

/** Four racks of three hosts of three OSDs; rule 0 wants hosts, 1 wants racks, 2 wants two racks with two hosts each. */
function bigMap(rule: number, size: number, pgNum: number): OsdMap {
  const crush = newCrushMap('host');
  for (const osd of osds)
    createOrMoveItem(crush, osd, WEIGHT_ONE, `osd.${osd}`, {
      root: 'default',
      rack: `r${rackOf(osd)}`,
      host: `h${hostOf(osd)}`,
    });
  addSimpleRule(crush, {
    name: 'racks',
    root: 'default',
    failureDomain: 'rack',
    mode: 'firstn',
    type: 1,
  });
  const [root, rack, host] = [crush.idOfName('default')!, crush.typeOfName('rack')!, crush.typeOfName('host')!];
  addRule(crush, 2, 'two-by-two', {
    ruleset: 2,
    type: 1,
    minSize: 1,
    maxSize: 10,
    steps: [
      { op: RULE_TAKE, arg1: root, arg2: 0 },
      { op: RULE_CHOOSE_FIRSTN, arg1: 2, arg2: rack },
      { op: RULE_CHOOSELEAF_FIRSTN, arg1: 2, arg2: host },
      { op: RULE_EMIT, arg1: 0, arg2: 0 },
    ],
  });
  const inc = new OsdMapIncremental(1);
  inc.fsid = '0e14f8b8-0f1c-4b02-8d4a-0d7a36b1ff8e';
  inc.crush = encodeCrushMap(crush);
  inc.newMaxOsd = osds.length;
  for (const osd of osds) {
    inc.newUpClient.set(osd, [addrV2('10.0.0.1', 6800 + osd, 1)]);
    inc.newWeight.set(osd, WEIGHT_ONE);
  }
  inc.newPoolMax = 1;
  inc.newPoolNames.set(1, 'data');
  const numbers = { pgNum, pgpNum: pgNum, pgNumTarget: pgNum, pgpNumTarget: pgNum };
  inc.newPools.set(1, newPool({ size, minSize: 1, ...numbers, crushRule: rule }));
  return applyIncremental(new OsdMap(), inc);
}

function applied(map: OsdMap, changes: UpmapChanges): OsdMap {
  return nextMap(map, (inc) => {
    for (const [seed, items] of changes)
      if (items === undefined) inc.oldPgUpmapItems.set(1, seed, true);
      else
        inc.newPgUpmapItems.set(
          1,
          seed,
          items.map(([from, to]): [number, number] => [from, to]),
        );
  });
}

function places(map: OsdMap): (readonly number[])[] {
  const placement = new Placement(map);
  return [...Array(map.pools.get(1)!.pgNum).keys()].map((seed) => placement.mapPg(1, seed).up);
}

/** PGs by which the OSD that is off most is off. */
function worst(map: OsdMap, weightOf: (osd: number) => number = () => 1): number {
  const counts = new Map(osds.map((osd) => [osd, 0]));
  for (const up of places(map)) for (const osd of up) counts.set(osd, counts.get(osd)! + 1);
  const all = [...counts.values()].reduce((a, b) => a + b, 0);
  const weights = osds.reduce((sum, osd) => sum + weightOf(osd), 0);
  return Math.max(...osds.map((osd) => Math.abs(counts.get(osd)! - (all * weightOf(osd)) / weights)));
}

const distinct = (list: readonly number[]): number => new Set(list).size;

describe('exceptions that even out PGs', () => {
  test.each([
    ['hosts', 0, 3, 1.5, (up: readonly number[]) => distinct(up.map(hostOf)) === 3],
    ['racks', 1, 3, 1.5, (up: readonly number[]) => distinct(up.map(rackOf)) === 3],
    [
      'two hosts in each of two racks',
      2,
      4,
      // What a rack has altogether stays as it is.
      6,
      (up: readonly number[]) =>
        distinct(up.map(hostOf)) === 4 &&
        distinct(up.map(rackOf)) === 2 &&
        up.every((osd) => up.filter((other) => rackOf(other) === rackOf(osd)).length === 2),
    ],
  ] as const)('%s: nearly even, and every PG as its rule wants it', (_name, rule, size, left, right) => {
    const map = bigMap(rule, size, 256);
    expect(places(map).every(right)).toBe(true);
    const before = worst(map);
    expect(before).toBeGreaterThan(4);
    const changes = calcPgUpmaps(map, 1, { maxDeviation: 1, max: 1000 });
    const after = applied(map, changes);
    expect(places(after).every((up) => up.length === size && right(up))).toBe(true);
    expect(worst(after)).toBeLessThanOrEqual(left);
    expect(worst(after)).toBeLessThan(before);
    expect(calcPgUpmaps(after, 1, { maxDeviation: 1, max: 1000 }).size).toBe(0);
  });

  test('a few at a time: no more than asked for, each makes it better; within the deviation nothing is done', () => {
    let map = bigMap(0, 3, 256);
    let last = worst(map);
    expect(calcPgUpmaps(map, 1, { maxDeviation: Math.ceil(last), max: 10 }).size).toBe(0);
    for (let round = 0; round < 30; round++) {
      const changes = calcPgUpmaps(map, 1, { maxDeviation: 2, max: 5 });
      if (changes.size === 0) break;
      expect(changes.size).toBeLessThanOrEqual(5);
      map = applied(map, changes);
      expect(worst(map)).toBeLessThanOrEqual(last + 1e-9);
      last = worst(map);
    }
    expect(last).toBeLessThanOrEqual(2);
  });

  test('an exception that makes an OSD too full is taken back, and one that is a person’s whole placement is left alone', () => {
    const even = bigMap(0, 3, 256);
    const balanced = applied(even, calcPgUpmaps(even, 1, { maxDeviation: 1, max: 1000 }));
    const crowded = nextMap(balanced, (inc) => {
      let moved = 0;
      for (const [seed, up] of places(balanced).entries()) {
        if (moved === 12 || balanced.pgUpmapItems.get(1, seed) !== undefined || up.some((osd) => hostOf(osd) === 0))
          continue;
        inc.newPgUpmapItems.set(1, seed, [[up[0]!, 0]]);
        moved++;
      }
    });
    expect(worst(crowded)).toBeGreaterThan(10);
    const changes = calcPgUpmaps(crowded, 1, { maxDeviation: 1, max: 1000 });
    expect([...changes.values()].filter((items) => items === undefined).length).toBeGreaterThan(8);
    expect(worst(applied(crowded, changes))).toBeLessThanOrEqual(1.5);

    const fixed = nextMap(even, (inc) => {
      for (let seed = 0; seed < 40; seed++) inc.newPgUpmap.set(1, seed, [0, 12, 24]);
    });
    const around = calcPgUpmaps(fixed, 1, { maxDeviation: 1, max: 1000 });
    expect([...around.keys()].filter((seed) => seed < 40)).toEqual([]);
  });

  test('weights count: an OSD of half the weight gets half the PGs; one that is out gets none', () => {
    const map = nextMap(bigMap(0, 3, 256), (inc) => {
      inc.newWeight.set(4, WEIGHT_ONE / 2);
      inc.newWeight.set(20, 0);
    });
    const after = applied(map, calcPgUpmaps(map, 1, { maxDeviation: 1, max: 1000 }));
    expect(worst(after, (osd) => (osd === 4 ? 0.5 : osd === 20 ? 0 : 1))).toBeLessThanOrEqual(1.5);
    expect(places(after).flat()).not.toContain(20);
  });
});
