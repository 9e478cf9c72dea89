import { afterAll, describe, expect, test } from 'vitest';
import { fuzzDecoder, memoryGrowthMiB, memoryUse } from '../../base/fuzz.testing.ts';
import { decodeCrushMap } from '../crush/codec.ts';
import { haveRecorded, recordedBytes, recordedLines } from '../crush/recorded.testing.ts';
import { addrV2 } from '../wire/types.ts';
import { decodeIncremental } from './incremental-codec.ts';
import { decodeMgrMap, emptyMgrMap, encodeMgrMap } from './mgrmap.ts';
import { decodeMonMap } from './monmap.ts';
import { decodeOsdMap } from './osdmap-codec.ts';
import { decodeServiceMap, encodeServiceMap } from './servicemap.ts';

const memoryAtStart = memoryUse();

describe.skipIf(!haveRecorded)('fuzz: maps that are damaged anywhere are DecodeErrors or other maps', () => {
  // No input of some kilobytes may make a decoder take much memory.
  afterAll(() => expect(memoryGrowthMiB(memoryAtStart)).toBeLessThan(400));

  // Their checksums are compared when all is decoded.
  const recorded = haveRecorded
    ? recordedLines<{ kind: string; hex: string }>('maps/osdmap-w1/all-epochs.jsonl.gz')
    : [];
  const of = (kind: string): Uint8Array[] =>
    recorded
      .filter((line) => line.kind === kind && line.hex.length < 40_000)
      .slice(0, 40)
      .map(({ hex }) => Buffer.from(hex, 'hex'));

  test('OSDMap, full', { timeout: 3_600_000 }, () => {
    const maps = of('full');
    expect(maps.length).toBeGreaterThan(0);
    fuzzDecoder(maps, decodeOsdMap);
  });
  test('OSDMap, incremental', { timeout: 3_600_000 }, () => {
    const maps = of('inc');
    expect(maps.length).toBeGreaterThan(0);
    fuzzDecoder(maps, decodeIncremental);
  });
  test('CRUSH map', { timeout: 3_600_000 }, () => {
    const maps = [recordedBytes('maps/crushmap.bin'), recordedBytes('maps/synthetic/mixed-algs.bin')];
    expect(fuzzDecoder(maps, decodeCrushMap)).toBeGreaterThan(0);
  });
  test('MonMap', { timeout: 3_600_000 }, () => {
    expect(fuzzDecoder([recordedBytes('maps/monmap.bin')], decodeMonMap)).toBeGreaterThan(0);
  });
  test('MgrMap and ServiceMap', { timeout: 3_600_000 }, () => {
    const mgr = encodeMgrMap({
      ...emptyMgrMap,
      activeName: 'a',
      activeAddrs: [addrV2('10.0.0.1', 6800, 7)],
      services: new Map([['prometheus', 'http://10.0.0.1:9283/']]),
    });
    expect(fuzzDecoder([mgr], decodeMgrMap)).toBeGreaterThan(0);
    const services = encodeServiceMap({
      epoch: 3,
      modified: { sec: 1, nsec: 2 },
      services: new Map(),
    });
    fuzzDecoder([services], decodeServiceMap);
  });
});
