import { readdirSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { utf8 } from '../../base/bytes.ts';
import { itemWeight, reweightItem } from '../crush/build.ts';
import { haveRecorded, recordedBytes, recordedText } from '../crush/recorded.testing.ts';
import { OSD_EXISTS, OSD_UP } from './constants.ts';
import { objectHash, rjenkinsHash, stableMod } from './object-hash.ts';
import type { OsdMap } from './osdmap.ts';
import { decodeOsdMap } from './osdmap-codec.ts';
import { type PgMapping, Placement } from './placement.ts';

const root = new URL('../../../../shared/data/ceph-16.2.15/maps/', import.meta.url).pathname;

function recordedMaps(): string[] {
  if (!haveRecorded) return [];
  const out: string[] = [];
  for (const dir of ['osdmap-w1', 'osdmap-c1'])
    for (const name of readdirSync(root + dir)) if (name.endsWith('.bin')) out.push(`${dir}/${name.slice(0, -4)}`);
  return out;
}

const text = (osds: readonly number[]): string => `[${osds.join(',')}]`;

function checkDump(map: OsdMap, dump: string): number {
  const placement = new Placement(map);
  let checked = 0;
  for (const line of dump.split('\n')) {
    const m = /^(\d+)\.([0-9a-f]+)\t(\[[-\d,]*\])\t(-?\d+)$/.exec(line);
    if (m === null) continue;
    const pg: PgMapping = placement.mapPg(Number(m[1]), Number.parseInt(m[2]!, 16));
    expect([m[1], m[2], text(pg.acting), pg.actingPrimary]).toEqual([m[1], m[2], m[3], Number(m[4])]);
    checked++;
  }
  return checked;
}

function checkDumpAll(map: OsdMap, dump: string): void {
  const placement = new Placement(map);
  for (const line of dump.split('\n')) {
    const m =
      /^(\d+)\.([0-9a-f]+) raw \((\[.*?\]), p-?\d+\) up \((\[.*?\]), p(-?\d+)\) acting \((\[.*?\]), p(-?\d+)\)$/.exec(
        line,
      );
    if (m === null) continue;
    const [pool, seed] = [Number(m[1]), Number.parseInt(m[2]!, 16)];
    const pg = placement.mapPg(pool, seed);
    expect([line, text(pg.up), pg.upPrimary, text(pg.acting), pg.actingPrimary]).toEqual([
      line,
      m[4],
      Number(m[5]),
      m[6],
      Number(m[7]),
    ]);
  }
}

describe('placement', () => {
  test('object names hash as upstream', () => {
    expect(objectHash(2, 'foo', '')).toBe(0x7fc1f406);
    expect(objectHash(2, 'é', 'ns')).toBe(rjenkinsHash(utf8('ns\x1fé')));
    expect(objectHash(2, 'x'.repeat(5000), '')).toBe(rjenkinsHash(utf8('x'.repeat(5000))));
  });

  test('stable_mod splits one bucket at a time', () => {
    for (let b = 1; b < 40; b++) {
      for (let x = 0; x < 200; x++) {
        const before = stableMod(x, b);
        const after = stableMod(x, b + 1);
        expect(before).toBeLessThan(b);
        if (after !== before) expect(after).toBe(b);
      }
    }
    expect(stableMod(0xffffffff, 1)).toBe(0);
    expect(stableMod(0xffffffff, 2 ** 31)).toBe(0x7fffffff);
  });

  for (const name of recordedMaps()) {
    test(`${name}: every PG is where osdmaptool puts it`, () => {
      const map = decodeOsdMap(recordedBytes(`maps/${name}.bin`));
      let pgs = 0;
      for (const pool of map.pools.values()) pgs += pool.pgNum;
      expect(checkDump(map, recordedText(`maps/${name}.pgs-dump.txt.gz`))).toBe(pgs);
      checkDumpAll(map, recordedText(`maps/${name}.pgs-dump-all.txt.gz`));
    });
  }

  for (const name of haveRecorded
    ? ['mixed-algs', 'straw-argonaut', 'straw2-jewel', 'straw2-weird', 'tree-straw']
    : []) {
    test(`synthetic ${name}: every PG is where osdmaptool puts it`, () => {
      const map = decodeOsdMap(recordedBytes(`maps/synthetic/${name}.osdmap.bin`));
      map.osdState.fill(OSD_EXISTS | OSD_UP);
      map.osdWeight.fill(0x10000);
      map.osdWeight[5] = 0;
      // --mark-up-in also gives devices without a CRUSH weight one.
      for (let osd = 0; osd < map.maxOsd; osd++)
        if (itemWeight(map.crush, osd) === 0) reweightItem(map.crush, osd, 0x10000);
      expect(checkDump(map, recordedText(`maps/synthetic/${name}.osdmap-map-pgs-dump.txt.gz`))).toBeGreaterThan(100);
      checkDumpAll(map, recordedText(`maps/synthetic/${name}.osdmap-map-pgs-dump-all.txt.gz`));
    });
  }

  test.skipIf(!haveRecorded)('the next epoch takes over what did not change', () => {
    const map = decodeOsdMap(recordedBytes('maps/osdmap-w1/e0150.bin'));
    const first = new Placement(map);
    const next = new Placement(Object.assign(map.copy(), { epoch: 151 }), first);
    for (const [id, pool] of map.pools)
      for (let seed = 0; seed < pool.pgNum; seed++) expect(next.mapPg(id, seed)).toEqual(first.mapPg(id, seed));
    expect(first.mapPg(99, 0).acting).toEqual([]);
    expect(first.mapPg(1, 7).actingPrimary).toBe(-1);
  });
});
