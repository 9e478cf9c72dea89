import { describe, expect, test } from 'vitest';
import { defaultHealthOptions, healthChecks } from './health.ts';
import { ClusterStats } from './cluster-stats.ts';
import { osdStat, smallMap } from './small-cluster.testing.ts';
import { haveRecorded, RecordedPhase } from './recorded-stats.testing.ts';

interface RecordedHealth {
  checks: Record<
    string,
    { severity: string; summary: { message: string; count: number }; detail: { message: string }[]; muted: boolean }
  >;
}

/** Checks that the mon raises, not the mgr. */
const others = new Set([
  'MGR_MODULE_DEPENDENCY',
  'OSD_DOWN',
  'OSDMAP_FLAGS',
  'OSD_FLAGS',
  'OSD_NEARFULL',
  'POOL_APP_NOT_ENABLED',
  'POOL_FULL',
  'POOL_NEARFULL',
  'POOL_NO_REDUNDANCY',
  'POOL_PG_NUM_NOT_POWER_OF_TWO',
]);

describe.skipIf(!haveRecorded)('health checks are those of 16.2.15', () => {
  for (const name of [
    'a-fresh',
    'b-pools-data',
    'c-osd-down',
    'd-osd-out-recovering',
    'e-flags-quota-mute',
    'f-scrub-error',
  ])
    test(name, () => {
      const phase = new RecordedPhase(name);
      const { checks } = JSON.parse(phase.output('health detail', 'json')) as RecordedHealth;
      const theirs = Object.entries(checks)
        .filter(([code]) => !others.has(code))
        .map(([code, { severity, summary, detail }]) => ({
          code,
          severity,
          summary: summary.message,
          count: summary.count,
          detail: detail.map(({ message }) => message),
        }));
      const mine = healthChecks(phase.stats, phase.stats.stampMs, defaultHealthOptions);
      expect(mine.sort((a, b) => (a.code < b.code ? -1 : 1))).toEqual(
        theirs.sort((a, b) => (a.code < b.code ? -1 : 1)),
      );
    });
});

test('an OSD whose copies had to be replaced more often than it may be is told of', () => {
  const stats = new ClusterStats(smallMap());
  [10, 11, 12].forEach((shardsRepaired, osd) => {
    stats.osds.set(osd, { stat: osdStat({ shardsRepaired }), upFrom: 1, seq: 1, pools: new Map() });
  });
  const found = healthChecks(stats, 0, defaultHealthOptions).find(({ code }) => code === 'OSD_TOO_MANY_REPAIRS');
  expect(found).toEqual({
    code: 'OSD_TOO_MANY_REPAIRS',
    severity: 'HEALTH_WARN',
    summary: 'Too many repaired reads on 2 OSDs',
    count: 2,
    detail: ['osd.1 had 11 reads repaired', 'osd.2 had 12 reads repaired'],
  });
});
