import { expect, test } from 'vitest';
import { ClusterStats } from './cluster-stats.ts';
import { osdStat, smallMap } from './small-cluster.testing.ts';
import { slowLimits, slowOps, slowPings } from './slow-checks.ts';

const nowMs = 1_700_000_000_000;
const times = (...average: [number, number, number]) => ({
  updatedSec: nowMs / 1000 - 30,
  average,
  least: average,
  most: average,
  last: average[0],
});

function reporting(osds: readonly Partial<ReturnType<typeof osdStat>>[]): ClusterStats {
  const stats = new ClusterStats(smallMap());
  for (const [osd, fields] of osds.entries())
    stats.osds.set(osd, { stat: osdStat(fields), upFrom: 1, seq: 1, pools: new Map() });
  return stats;
}

const limits = slowLimits((_name, otherwise) => otherwise);

test('slow requests are told of, with who has them', () => {
  expect([...slowOps(reporting([{}, {}]))]).toEqual([]);
  const [one] = slowOps(reporting([{}, { slowOps: { count: 2, oldestSec: 31 } }]));
  expect(one).toMatchObject({
    code: 'SLOW_OPS',
    summary: '2 slow ops, oldest one blocked for 31 sec, osd.1 has slow ops',
  });
  const both = [{ slowOps: { count: 1, oldestSec: 99 } }, { slowOps: { count: 2, oldestSec: 31 } }];
  expect([...slowOps(reporting(both))][0]!.summary).toBe(
    '3 slow ops, oldest one blocked for 99 sec, daemons [osd.0,osd.1] have slow ops.',
  );
});

test('slow heartbeats are told of by network, slowest first; old ones are not', () => {
  expect(limits).toEqual({ pingMs: 1000, staleSec: 1200 });
  const stats = reporting([
    { pings: [{ osd: 1, back: times(1_200_000, 1_100_000, 900_000), front: times(1_000_500, 1_100_000, 1_118_001) }] },
    { pings: [{ osd: 0, back: times(2_000_000, 0, 0), front: undefined }] },
  ]);
  expect([...slowPings(stats, nowMs, limits)]).toEqual([
    {
      code: 'OSD_SLOW_PING_TIME_BACK',
      severity: 'HEALTH_WARN',
      summary: 'Slow OSD heartbeats on back (longest 2000.000ms)',
      count: 2,
      detail: [
        'Slow OSD heartbeats on back from osd.1 to osd.0 2000.000 msec',
        'Slow OSD heartbeats on back from osd.0 to osd.1 1200.000 msec',
      ],
    },
    {
      code: 'OSD_SLOW_PING_TIME_FRONT',
      severity: 'HEALTH_WARN',
      summary: 'Slow OSD heartbeats on front (longest 1118.001ms)',
      count: 1,
      detail: ['Slow OSD heartbeats on front from osd.0 to osd.1 1118.001 msec possibly improving'],
    },
  ]);
  expect([...slowPings(stats, nowMs + 3_600_000, limits)]).toEqual([]);
  expect([...slowPings(stats, nowMs, { ...limits, pingMs: 0 })]).toEqual([]);
});
