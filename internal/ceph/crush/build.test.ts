import { describe, expect, test } from 'vitest';
import { DEFAULT_CHOOSE_ARGS } from './map.ts';
import { makeBucket } from './bucket.ts';
import {
  addEmptyBucket,
  createOrMoveItem,
  fullLocation,
  insertItem,
  moveBucket,
  parentOf,
  removeItem,
  renameBucket,
  reweightItem,
  swapBuckets,
  weightToFixed,
} from './build.ts';
import { createWeightSet, removeDeviceClass, removeWeightSet, setDeviceClass } from './classes.ts';
import { decodeCrushMap, encodeCrushMap } from './codec.ts';
import { newCrushMap } from './default-map.ts';
import { CrushMap } from './map.ts';
import { haveRecorded, recordedBytes, recordedLines } from './recorded.testing.ts';
import { addRule, addSimpleRule, removeRule } from './rules.ts';

interface Recorded {
  epoch: number;
  kind: string;
  hex: string;
}

/** The compiled CRUSH map inside a full OSDMap: found by its length and magic, so that this test needs no map decoder. */
function crushIn(osdmap: Buffer): Buffer {
  for (let at = 4; at < osdmap.length - 8; at++) {
    if (osdmap.readUInt32LE(at) !== 0x10000) continue;
    const length = osdmap.readUInt32LE(at - 4);
    if (length < 40 || at + length > osdmap.length) continue;
    const bytes = osdmap.subarray(at, at + length);
    try {
      if (Buffer.from(encodeCrushMap(decodeCrushMap(bytes))).equals(bytes)) return bytes;
    } catch {
      // Not here.
    }
  }
  throw new Error('no CRUSH map found');
}

describe('crush building', () => {
  test.skipIf(!haveRecorded)('the history of a cluster, change by change, gives the same bytes', () => {
    const recorded = new Map<number, Buffer>();
    for (const line of recordedLines<Recorded>('maps/osdmap-c1/all-epochs.jsonl.gz'))
      if (line.kind === 'full') recorded.set(line.epoch, crushIn(Buffer.from(line.hex, 'hex')));
    const map = newCrushMap('osd');
    const check = (epoch: number): void => {
      const got = decodeCrushMap(encodeCrushMap(map));
      expect([epoch, got]).toEqual([epoch, decodeCrushMap(recorded.get(epoch)!)]);
      expect([epoch, Buffer.from(encodeCrushMap(map)).toString('hex')]).toEqual([
        epoch,
        recorded.get(epoch)!.toString('hex'),
      ]);
    };
    check(1);
    const newOsd = (osd: number): void => {
      map.maxDevices = Math.max(map.maxDevices, osd + 1);
      map.names.set(osd, `osd.${osd}`);
      setDeviceClass(map, osd, 'hdd');
    };
    const weight = map2Weight(decodeCrushMap(recorded.get(10)!), 0);
    const here = { host: 'vm', root: 'default' };
    newOsd(0);
    check(4);
    createOrMoveItem(map, 0, weight, 'osd.0', here);
    check(5);
    newOsd(1);
    check(6);
    createOrMoveItem(map, 1, weight, 'osd.1', here);
    check(7);
    newOsd(2);
    check(9);
    createOrMoveItem(map, 2, weight, 'osd.2', here);
    check(10);
    expect(createOrMoveItem(map, 2, weight, 'osd.2', here)).toBe(false);
    addRule(map, 1, 'ecpool', decodeCrushMap(recorded.get(22)!).rules[1]!);
    check(22);
    createOrMoveItem(map, 0, 0, 'osd.0', { rack: 'nosuch' });
    check(54);
    const rack = addEmptyBucket(map, 'rack1', 3);
    check(79);
    moveBucket(map, rack, { root: 'default' });
    check(80);
    renameBucket(map, 'rack1', 'rack9');
    check(81);
    removeItem(map, rack);
    check(82);
    reweightItem(map, 2, weightToFixed(0.01));
    check(83);
    const rule = { root: 'default', failureDomain: 'osd', mode: 'firstn' as const, type: 1 };
    addSimpleRule(map, { ...rule, name: 'byosd' });
    check(84);
    expect(addSimpleRule(map, { ...rule, name: 'hddrule', deviceClass: 'hdd' })).toBe(3);
    check(85);
    map.ruleNames.set(3, 'hddr2');
    check(86);
    removeRule(map, 3);
    check(87);
    removeDeviceClass(map, 2);
    check(88);
    setDeviceClass(map, 2, 'ssd');
    check(89);
    removeDeviceClass(map, 2);
    check(90);
    setDeviceClass(map, 2, 'hdd');
    check(91);
    createWeightSet(map, DEFAULT_CHOOSE_ARGS, 1);
    check(92);
    removeWeightSet(map, DEFAULT_CHOOSE_ARGS);
    check(93);
  });

  test.skipIf(!haveRecorded)('buckets of every algorithm are derived from their weights as crushtool does', () => {
    for (const name of ['mixed-algs', 'straw-argonaut', 'tree-straw', 'straw2-weird', 'straw2-jewel']) {
      const map = decodeCrushMap(recordedBytes(`maps/synthetic/${name}.bin`));
      for (const bucket of map.buckets) {
        if (bucket === undefined) continue;
        const made = makeBucket(map.tunables, bucket.alg, bucket.hash, bucket.type, bucket.items, bucket.weights);
        expect([name, { ...made, id: bucket.id }]).toEqual([name, bucket]);
      }
    }
  });

  test('moving keeps weights; names and loops are checked', () => {
    const map = newCrushMap('host');
    for (let osd = 0; osd < 4; osd++)
      createOrMoveItem(map, osd, 0x10000, `osd.${osd}`, { host: `h${osd >> 1}`, root: 'default' });
    const h0 = map.idOfName('h0')!;
    expect(map.bucket(-1)!.weight).toBe(0x40000);
    moveBucket(map, h0, { rack: 'r1', root: 'default' });
    expect(fullLocation(map, 0)).toEqual([
      ['host', 'h0'],
      ['rack', 'r1'],
      ['root', 'default'],
    ]);
    expect(map.bucket(-1)!.weight).toBe(0x40000);
    expect(() => moveBucket(map.clone(), map.idOfName('r1')!, { rack: 'r1' })).toThrow();
    expect(() => insertItem(map, 9, 0x10000, 'osd.0', { host: 'h0' })).toThrow(/already exists/);
    expect(() => insertItem(map, 9, 0x10000, 'bad name', { host: 'h0' })).toThrow();
    expect(() => removeItem(map, h0)).toThrow(/not empty/);
    reweightItem(map, 3, 0x8000);
    swapBuckets(map, h0, map.idOfName('h1')!);
    expect(parentOf(map, 3)!.id).toBe(h0);
    expect(map.nameOf(h0)).toBe('h1');
    expect(map.bucket(-1)!.weight).toBe(0x38000);
    expect(new CrushMap().buckets.length).toBe(0);
  });
});

function map2Weight(map: CrushMap, osd: number): number {
  const bucket = parentOf(map, osd)!;
  return bucket.weights[bucket.items.indexOf(osd)]!;
}
