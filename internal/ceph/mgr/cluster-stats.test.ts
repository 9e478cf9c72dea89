import { describe, expect, test } from 'vitest';
import { PG_ACTIVE, PG_CLEAN, PG_DEGRADED, PG_PEERED, PG_STALE, zeroObjectSums } from '../wire/messages/osd_mgr.ts';
import { ClusterStats } from './cluster-stats.ts';
import { pgsByState } from './digest.ts';
import { defaultHealthOptions, healthChecks } from './health.ts';
import { destroyRefusal, destroyReport, largestStop, stopReport, stopReportJson } from './safety.ts';
import { nextMap, osdStat, report, smallMap } from './small-cluster.testing.ts';

function reported(): ClusterStats {
  const stats = new ClusterStats(smallMap());
  stats.applyMap(stats.map, 1000);
  for (const osd of [0, 1, 2]) stats.applyReport(report(stats, osd, 1));
  return stats;
}

describe('ClusterStats', () => {
  test('every PG of the map is known, as unknown until its primary reports', () => {
    const stats = new ClusterStats(smallMap());
    stats.applyMap(stats.map, 1000);
    expect(pgsByState(stats)).toEqual(new Map([[0, 8]]));
    expect(stats.applyReport(report(stats, 0, 1))).toBe(true);
    expect(pgsByState(reported())).toEqual(new Map([[PG_ACTIVE + PG_CLEAN, 8]]));
  });

  test('reports of another cluster, of an older incarnation, or overtaken ones change nothing', () => {
    const stats = reported();
    const before = pgsByState(stats);
    const late = report(stats, 0, 0, { state: PG_PEERED });
    expect(stats.applyReport(late)).toBe(false);
    expect(stats.applyReport({ ...report(stats, 0, 9, { state: PG_PEERED }), upFrom: 0 })).toBe(false);
    expect(stats.applyReport({ ...report(stats, 0, 9, { state: PG_PEERED }), fsid: 'other' })).toBe(false);
    expect(pgsByState(stats)).toEqual(before);
  });

  test('a PG whose primary is down is stale until another reports it', () => {
    const stats = reported();
    const led = stats.pgsByOsd().get(0)!.primary;
    expect(led).toBeGreaterThan(0);
    stats.applyMap(
      nextMap(stats.map, (inc) => inc.newState.set(0, 0)),
      5000,
    );
    expect(pgsByState(stats).get(PG_ACTIVE + PG_CLEAN + PG_STALE)).toBe(led);
    const [stale] = healthChecks(stats, 10_000_000, defaultHealthOptions);
    expect(stale?.code).toBe('PG_AVAILABILITY');
    for (const osd of [1, 2]) stats.applyReport(report(stats, osd, 2));
    expect(pgsByState(stats)).toEqual(new Map([[PG_ACTIVE + PG_CLEAN, 8]]));
  });

  test('pools and OSDs that are gone are forgotten', () => {
    const stats = reported();
    stats.applyMap(
      nextMap(stats.map, (inc) => {
        inc.oldPools.add(1);
        inc.newState.set(2, 3);
      }),
      5000,
    );
    expect(stats.pgs.size).toBe(0);
    expect([...stats.osds.keys()]).toEqual([0, 1]);
  });

  test('rates come from what counters grew, never from their falling', () => {
    const stats = reported();
    const sums = { ...zeroObjectSums(), write: 10, writeKb: 40 };
    const led = stats.pgsByOsd().get(0)!.primary;
    stats.applyReport(report(stats, 0, 2, { sums }));
    stats.sample(10_000);
    stats.applyReport(report(stats, 0, 3, { sums: { ...sums, write: 20, writeKb: 80 } }));
    stats.sample(12_000);
    expect(stats.rates.rates()).toMatchObject({
      writeOps: (10 * led) / 2,
      writeBytes: (40 * 1024 * led) / 2,
      readOps: 0,
    });
    expect(stats.osdRates.get(0)!.rates().writeOps).toBe(5 * led);
    stats.applyReport(report(stats, 0, 4, { sums: zeroObjectSums() }));
    stats.sample(14_000);
    expect(stats.rates.rates().writeOps).toBe((10 * led) / 4);
  });
});

describe('stopping and destroying OSDs', () => {
  test('one may stop where a copy stays; two that share a PG may not', () => {
    const stats = reported();
    expect(stopReportJson(stopReport(stats, [0]))).toMatchObject({ ok_to_stop: true, num_not_ok_pgs: 0 });
    const both = stopReport(stats, [0, 1]);
    expect(both.notOk).toBe(both.badBecomeInactive.length);
    expect(both.notOk).toBeGreaterThan(0);
  });

  test('while PGs are unknown nothing is known', () => {
    const stats = new ClusterStats(smallMap());
    stats.applyMap(stats.map, 1000);
    expect(stopReportJson(stopReport(stats, [0]))).toMatchObject({ ok_to_stop: false });
    expect(() => destroyReport(stats, [0])).toThrow('unknown state');
  });

  test('a copy that may lack objects does not count as one that stays', () => {
    const stats = reported();
    for (const osd of [0, 1, 2]) stats.applyReport(report(stats, osd, 2, { state: PG_ACTIVE + PG_DEGRADED }));
    expect(stopReport(stats, [0]).badBecomeInactive.length).toBe(stats.pgsByOsd().get(0)!.acting);
  });

  test('`max` adds OSDs that can stop together, none when one is the most', () => {
    const stats = reported();
    expect(largestStop(stats, [0], 3).osds).toEqual([0]);
    stats.applyMap(
      nextMap(stats.map, (inc) => inc.oldPools.add(1)),
      5000,
    );
    expect(largestStop(stats, [0], 2).osds).toEqual([0, 1]);
    expect(largestStop(stats, [0], 5).osds).toEqual([0, 1, 2]);
  });

  test('an OSD without PGs is safe to destroy only while all is clean', () => {
    const stats = reported();
    expect(destroyRefusal(destroyReport(stats, [0]))?.message).toMatch(
      /^OSD\(s\) 0 have \d pgs currently mapped to them\. $/,
    );
    expect(destroyReport(stats, [7]).safe).toEqual([7]);
    stats.applyMap(
      nextMap(stats.map, (inc) => inc.oldPools.add(1)),
      5000,
    );
    expect(destroyReport(stats, [0, 1]).safe).toEqual([0, 1]);
  });
});

describe('health', () => {
  test('OSDs by how full they are', () => {
    const stats = reported();
    const total = osdStat().totalBytes;
    const fill = (osd: number, used: number): boolean =>
      stats.applyReport(report(stats, osd, 5, {}, { availableBytes: total * (1 - used) }));
    fill(0, 0.86);
    fill(1, 0.92);
    fill(2, 0.96);
    const codes = healthChecks(stats, 2000, defaultHealthOptions).map(({ code, detail }) => [code, ...detail]);
    expect(codes).toEqual([
      ['OSD_FULL', 'osd.2 is full'],
      ['OSD_BACKFILLFULL', 'osd.1 is backfill full'],
      ['OSD_NEARFULL', 'osd.0 is near full'],
    ]);
  });

  test('a PG that is not active is reported when it lasts', () => {
    const stats = reported();
    for (const osd of [0, 1, 2])
      stats.applyReport(report(stats, osd, 2, { state: PG_PEERED, lastActive: { sec: 100, nsec: 0 } }));
    expect(healthChecks(stats, 130_000, defaultHealthOptions)).toEqual([]);
    const [check] = healthChecks(stats, 161_000, defaultHealthOptions);
    expect(check).toMatchObject({
      code: 'PG_AVAILABILITY',
      summary: 'Reduced data availability: 8 pgs inactive',
      count: 8,
    });
    expect(check!.detail[0]).toMatch(
      /^pg 1\.0 is stuck inactive for 61s?, current state peered, last acting \[\d,\d\]$/,
    );
  });
});
