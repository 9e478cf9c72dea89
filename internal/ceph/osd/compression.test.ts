import { describe, expect, test } from 'vitest';
import { DecodeError } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import type { CompressionPolicy, TransactionOp } from '../blockstore/api.ts';
import { type MPGStats, zeroOsdCounters } from '../wire/messages/osd_mgr.ts';
import { compressionConfig, CompressionKeeper, compressionPolicy, type PoolCompression } from './compression.ts';
import type { MapView, PoolView } from './map-view.ts';
import { StatsReporter } from './stats-reporter.ts';
import { decodeStoreOps, encodeStoreOps } from './store-ops.ts';

const unset: PoolCompression = {
  mode: undefined,
  algorithm: undefined,
  requiredRatio: undefined,
  minBlobBytes: undefined,
  maxBlobBytes: undefined,
};
const initial: CompressionPolicy = {
  mode: 'aggressive',
  algorithm: 'snappy',
  requiredRatio: 0.875,
  minBlobBytes: 8192,
  maxBlobBytes: 65536,
};

describe('how a pool is compressed', () => {
  const table: [string, Partial<PoolCompression>, [string, string][], CompressionPolicy | undefined][] = [
    ['nothing is set: not at all', {}, [], undefined],
    ['the pool says how much', { mode: 'aggressive' }, [], initial],
    ['the configuration says how much', {}, [['mode', 'force']], { ...initial, mode: 'force' }],
    ['the pool goes before the configuration', { mode: 'none' }, [['mode', 'force']], undefined],
    [
      'everything from the pool',
      { mode: 'passive', algorithm: 'zstd', requiredRatio: 0.5, minBlobBytes: 16384, maxBlobBytes: 32768 },
      [['algorithm', 'lz4']],
      { mode: 'passive', algorithm: 'zstd', requiredRatio: 0.5, minBlobBytes: 16384, maxBlobBytes: 32768 },
    ],
    [
      'everything from the configuration',
      {},
      [
        ['mode', 'aggressive'],
        ['algorithm', 'lz4'],
        ['required_ratio', '0.7'],
        ['min_blob_size', '12288'],
        ['max_blob_size_ssd', '16384'],
      ],
      { ...initial, algorithm: 'lz4', requiredRatio: 0.7, minBlobBytes: 12288, maxBlobBytes: 16384 },
    ],
    ['an algorithm that says not to', { mode: 'force', algorithm: 'none' }, [], undefined],
    ['what is not known is not guessed', { mode: 'force' }, [['algorithm', 'brotli']], undefined],
    ['nor a number that is none', { mode: 'force' }, [['required_ratio', 'much']], undefined],
    ['nor a mode', {}, [['mode', 'sometimes']], undefined],
  ];
  for (const [what, pool, config, wanted] of table)
    test(what, () => {
      const set = new Map(config.map(([name, value]) => [`bluestore_compression_${name}`, value]));
      expect(compressionPolicy({ ...unset, ...pool }, compressionConfig(set))).toEqual(wanted);
    });

  test('the store is told when something else holds than before, and not otherwise', () => {
    const told: [number, string][][] = [];
    const keeper = new CompressionKeeper((policies) => told.push([...policies].map(([id, { mode }]) => [id, mode])));
    const map = (epoch: number, modes: readonly (string | undefined)[]): MapView =>
      ({
        epoch,
        pools: () => modes.keys(),
        pool: (id: number) => ({ compression: { ...unset, mode: modes[id] } }) as PoolView,
      }) as unknown as MapView;
    const none = new Map<string, string>();
    keeper.update(undefined, none);
    keeper.update(map(1, [undefined]), none);
    keeper.update(map(2, [undefined, 'force']), none);
    keeper.update(map(3, [undefined, 'force']), none);
    keeper.update(map(3, [undefined, 'force']), new Map([['bluestore_compression_mode', 'passive']]));
    keeper.update(map(4, [undefined, 'none']), none);
    expect(told).toEqual([
      [[1, 'force']],
      [
        [0, 'passive'],
        [1, 'force'],
      ],
      [],
    ]);
  });
});

describe('hints on their way to replicas', () => {
  const key = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
  const cid = '1.0';
  const hint = (name: string, flags: number): TransactionOp => ({ op: 'set-alloc-hint', cid, key: key(name), flags });
  const write: TransactionOp = { op: 'write', cid, key: key('a'), offset: 7, data: [key('data')] };
  const touch: TransactionOp = { op: 'touch', cid, key: key('b') };

  test('they arrive where they were', () => {
    for (const ops of [
      [],
      [write],
      [hint('a', 256), write],
      [write, hint('a', 512)],
      [touch, hint('b', 1), hint('a', 2), write, hint('a', 3), touch],
    ] as TransactionOp[][]) {
      const { bytes, data } = encodeStoreOps(ops);
      expect(decodeStoreOps(bytes, new Uint8Array(Buffer.concat(data)), cid)).toEqual(ops);
    }
  });

  test('who knows nothing of them reads the rest as ever', () => {
    const { bytes } = encodeStoreOps([hint('a', 256), write, touch]);
    const plain = encodeStoreOps([write, touch]).bytes;
    expect([...bytes.subarray(0, plain.length)]).toEqual([...plain]);
  });

  test('one before an operation that is not there, and half of one, are errors', () => {
    const { bytes, data } = encodeStoreOps([write, hint('a', 256)]);
    const wrong = bytes.slice();
    // Where it is to be: behind the number of hints.
    const at = encodeStoreOps([write]).bytes.length + 4;
    expect(wrong[at]).toBe(1);
    wrong[at] = 2;
    expect(() => decodeStoreOps(wrong, data[0]!, cid)).toThrow(DecodeError);
    for (let cut = 1; cut < bytes.length - at + 4; cut++)
      expect(() => decodeStoreOps(bytes.subarray(0, bytes.length - cut), data[0]!, cid)).toThrow(DecodeError);
  });
});

test('a report says what a pool takes with compression, and how much of it is compressed', () => {
  const sent: MPGStats[] = [];
  const sums = { stored: 9000, allocated: 12_288, original: 65_536 };
  const reporter = new StatsReporter({
    fsid: '',
    osdId: 0,
    clock: {} as Clock,
    epoch: () => 1,
    upFrom: () => 1,
    pgs: () => [],
    held: () => [
      { pool: 1, bytes: 40_000, omapBytes: 5 },
      { pool: 1, bytes: 60_000, omapBytes: 0 },
      { pool: 2, bytes: 1000, omapBytes: 0 },
    ],
    compressed: () => new Map([[1, sums]]),
    pgCount: () => 3,
    pings: () => [],
    slowOps: () => ({ count: 0, oldestSec: 0 }),
    statfs: () => ({
      totalBytes: 10,
      availableBytes: 5,
      dataBytes: 101_000,
      allocatedBytes: 50_000,
      omapBytes: 5,
      metaBytes: 0,
      objects: 3,
      compressed: sums,
    }),
    latencyMs: () => 1,
    counters: () => zeroOsdCounters(),
    shardsRepaired: () => 0,
    heartbeatPeers: () => [],
    send: (stats) => sent.push(stats) > 0,
  });
  reporter.report(true);
  expect(sent[0]!.osd.compressed).toEqual(sums);
  expect(sent[0]!.pools.get(1)).toEqual({
    dataBytes: 100_000,
    allocatedBytes: 100_000 - 65_536 + 12_288,
    omapBytes: 5,
    compressed: sums,
  });
  expect(sent[0]!.pools.get(2)).toEqual({
    dataBytes: 1000,
    allocatedBytes: 1000,
    omapBytes: 0,
    compressed: { stored: 0, allocated: 0, original: 0 },
  });
});
