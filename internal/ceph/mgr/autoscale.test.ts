import { describe, expect, test } from 'vitest';
import { noCompressed, type PoolUsage } from '../wire/messages/osd_mgr.ts';
import { type PgPool, POOL_BULK, POOL_TYPE_ERASURE, poolOptionNames } from '../maps/pool.ts';
import type { OsdMapIncremental } from '../maps/incremental.ts';
import {
  type AutoscaleOptions,
  autoscaleChecks,
  autoscaleOptions,
  autoscaleStatus,
  nearestPowerOfTwo,
} from './autoscale.ts';
import { ClusterStats } from './cluster-stats.ts';
import { autoscaleJson, autoscaleText } from './format/autoscale.ts';
import { nextMap, osdStat, smallMap } from './small-cluster.testing.ts';

const options = autoscaleOptions(new Map());
const gib = 2 ** 30;
const optionId = (name: string): number => [...poolOptionNames].find(([, text]) => text === name)![0];
const withOptions = (of: Record<string, number>): Partial<PgPool> => ({
  options: new Map(Object.entries(of).map(([name, value]) => [optionId(name), { type: 2, value }])),
});

/** Three OSDs of 10 GiB; pools 1, 2… of two copies with these fields, which take these raw GiB. */
function cluster(...pools: (Partial<PgPool> & { gib?: number })[]): ClusterStats {
  const map = nextMap(smallMap(), (inc: OsdMapIncremental) => {
    inc.newPoolMax = pools.length;
    pools.forEach(({ gib: _, ...fields }, i) => {
      inc.newPoolNames.set(i + 1, `p${i + 1}`);
      inc.newPools.set(i + 1, { ...smallMap().pools.get(1)!, autoscaleMode: 2, ...fields });
    });
  });
  const stats = new ClusterStats(map);
  for (const osd of [0, 1, 2]) {
    const usage = pools.map(({ gib: raw = 0 }, i): [number, PoolUsage] => [
      i + 1,
      { dataBytes: (raw * gib) / 3, allocatedBytes: (raw * gib) / 3, omapBytes: 0, compressed: noCompressed },
    ]);
    stats.osds.set(osd, { stat: osdStat(), upFrom: 1, seq: 1, pools: new Map(usage) });
  }
  return stats;
}

const finals = (stats: ClusterStats, change: Partial<AutoscaleOptions> = {}): [string, number, boolean][] =>
  autoscaleStatus(stats, { ...options, ...change }).pools.map((p) => [p.name, p.final, p.wouldAdjust]);

describe('the PG autoscaler', () => {
  test('the power of two next to a number', () => {
    const numbers = [0, 0.5, 1, 2.9, 3, 5, 6, 6.1, 96, 97, 149.9];
    expect(numbers.map(nearestPowerOfTwo)).toEqual([0, 0, 1, 2, 4, 4, 8, 8, 128, 128, 128]);
  });

  test('pools get PGs by what they take, 32 at least, and are changed when they are off by more than three times', () => {
    // 300 PGs for all; of 30 GiB: a half, a tenth.
    expect(finals(cluster({ gib: 15 }, { gib: 3 }))).toEqual([
      ['p1', 64, true],
      ['p2', 32, true],
    ]);
    // Of k + m shards each PG counts as often.
    expect(finals(cluster({ gib: 15, type: POOL_TYPE_ERASURE, size: 3, pgNumTarget: 8 }))).toEqual([['p1', 64, true]]);
    expect(finals(cluster({ gib: 15, type: POOL_TYPE_ERASURE, size: 6, pgNumTarget: 8 }))).toEqual([['p1', 32, true]]);
    expect(finals(cluster({ gib: 15, pgNumTarget: 32 }))).toEqual([['p1', 64, false]]);
    expect(finals(cluster({ gib: 15, pgNumTarget: 256 }))).toEqual([['p1', 64, true]]);
    expect(
      finals(cluster({ gib: 15, autoscaleMode: 0 }, { gib: 3, autoscaleMode: 1 })).map(([, , adjust]) => adjust),
    ).toEqual([false, false]);
  });

  test('bounds, bias, expected sizes', () => {
    expect(finals(cluster({ gib: 15, ...withOptions({ pg_num_max: 16 }) }))).toEqual([['p1', 16, false]]);
    expect(finals(cluster(withOptions({ pg_num_min: 1 })))).toEqual([['p1', 1, true]]);
    expect(finals(cluster({ gib: 15, ...withOptions({ pg_autoscale_bias: 4 }) }))).toEqual([['p1', 256, true]]);
    expect(finals(cluster(withOptions({ target_size_bytes: 7.5 * gib })))).toEqual([['p1', 64, true]]);
    // Ratios are shares of each other: a half each, of which the first takes its own before the second.
    expect(finals(cluster(withOptions({ target_size_ratio: 3 }), withOptions({ target_size_ratio: 3 })))).toEqual([
      ['p1', 64, true],
      ['p2', 32, true],
    ]);
  });

  test('bulk pools share what the others leave', () => {
    const bulk = { flags: POOL_BULK | 1 };
    expect(finals(cluster({ gib: 3 }, bulk, bulk))).toEqual([
      ['p1', 32, true],
      ['p2', 64, true],
      ['p3', 64, true],
    ]);
  });

  test('health: pools that are only watched, sizes that cannot be', () => {
    const warn = { autoscaleMode: 1 };
    const checks = autoscaleChecks(cluster({ ...warn, gib: 15 }, { ...warn, pgNumTarget: 128 }), options);
    expect(checks.map(({ code, summary, detail }) => [code, summary, detail])).toEqual([
      ['POOL_TOO_FEW_PGS', '1 pools have too few placement groups', ['Pool p1 has 8 placement groups, should have 64']],
      [
        'POOL_TOO_MANY_PGS',
        '1 pools have too many placement groups',
        ['Pool p2 has 128 placement groups, should have 32'],
      ],
    ]);
    const [over] = autoscaleChecks(cluster(withOptions({ target_size_bytes: 30 * gib })), options);
    expect(over!.detail).toEqual([
      "Pools ['p1'] overcommit available storage by 2.000x due to target_size_bytes 60.0G on pools ['p1']",
    ]);
    const both = withOptions({ target_size_bytes: gib, target_size_ratio: 1 });
    expect(autoscaleChecks(cluster(both), options).map(({ code }) => code)).toEqual([
      'POOL_HAS_TARGET_SIZE_BYTES_AND_RATIO',
    ]);
    expect(autoscaleChecks(cluster({ gib: 15 }), options)).toEqual([]);
  });

  test('as text and as JSON', () => {
    const { pools } = autoscaleStatus(
      cluster({ gib: 15 }, { autoscaleMode: 0, ...withOptions({ target_size_bytes: gib }) }),
      options,
    );
    expect(autoscaleText(pools).split('\n')).toEqual([
      'POOL    SIZE  TARGET SIZE  RATE  RAW CAPACITY   RATIO  TARGET RATIO  EFFECTIVE RATIO  BIAS  PG_NUM  NEW PG_NUM  AUTOSCALE  BULK   ',
      'p1     7680M                2.0        30720M  0.5000                                  1.0       8          64  on         False  ',
      'p2        0         1024M   2.0        30720M  0.0667                                  1.0       8              off        False  ',
      '',
    ]);
    expect(JSON.parse(autoscaleJson(pools))).toMatchObject([
      {
        pool_name: 'p1',
        pg_num_final: 64,
        would_adjust: true,
        raw_used_rate: 2,
        capacity_ratio: 0.5,
        pg_num_ideal: 75,
      },
      { pool_name: 'p2', pg_autoscale_mode: 'off', target_bytes: gib, raw_used: 2 * gib, would_adjust: false },
    ]);
    expect(autoscaleJson(pools)).toContain('"bias": 1.0,\n        "bulk": false,');
  });
});
