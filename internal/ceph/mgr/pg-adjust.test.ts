import { describe, expect, test } from 'vitest';
import type { PgPool } from '../maps/pool.ts';
import { PG_ACTIVE, PG_CLEAN, PG_PEERING, type PgStat } from '../wire/messages/osd_mgr.ts';
import { ClusterStats } from './cluster-stats.ts';
import { type AdjustOptions, adjustOptions, adjustPgs } from './pg-adjust.ts';
import { nextMap, smallMap } from './small-cluster.testing.ts';

const options = adjustOptions(new Map());
const clean = PG_ACTIVE + PG_CLEAN;

/** Pool 1 with these numbers, all PGs reported alike. */
function cluster(numbers: Partial<PgPool>, objectsPerPg = 100, change: (stat: PgStat) => void = () => undefined) {
  const map = nextMap(smallMap(), (inc) => {
    const pool = smallMap().pools.get(1)!;
    inc.newPools.set(1, { ...pool, pgNumPending: numbers.pgNum ?? 8, ...numbers });
  });
  const stats = new ClusterStats(map);
  stats.applyMap(map, 1e12);
  for (const [, stat] of stats.pgs.entries()) {
    stat.state = clean;
    stat.acting = [0, 1];
    stat.sums.objects = objectsPerPg;
    stat.sums.objectCopies = 2 * objectsPerPg;
    change(stat);
  }
  return stats;
}

function steps(stats: ClusterStats, change: Partial<AdjustOptions> = {}): (number | undefined)[] {
  const out = adjustPgs(stats, { ...options, ...change });
  return [out.pgNum.get(1), out.pgpNum.get(1)];
}

describe('the way to the wanted numbers of PGs', () => {
  test('nothing wanted: nothing done', () => {
    expect(steps(cluster({}))).toEqual([undefined, undefined]);
  });

  test('more PGs come at once, places follow only when the PGs are there', () => {
    const wanted = { pgNumTarget: 32, pgpNumTarget: 32 };
    expect(steps(cluster(wanted))).toEqual([32, undefined]);
    expect(steps(cluster(wanted), { maxCreating: 4 })).toEqual([12, undefined]);
    expect(steps(cluster({ ...wanted, pgNum: 32 }))).toEqual([undefined, 9]);
    expect(steps(cluster({ ...wanted, pgNum: 32 }, 1))).toEqual([undefined, 32]);
    expect(steps(cluster({ ...wanted, pgNum: 32 }), { aggressive: true })).toEqual([undefined, 32]);
  });

  test('PGs that do not serve hold a split back; misplaced or degraded objects hold places back', () => {
    const wanted = { pgNumTarget: 32, pgpNumTarget: 32 };
    const peering = (stat: PgStat): void => {
      if (stat.pg.seed === 3) stat.state = PG_PEERING;
    };
    expect(steps(cluster(wanted, 100, peering))).toEqual([undefined, undefined]);
    const misplaced = (stat: PgStat): void => {
      stat.sums.objectsMisplaced = 20;
    };
    expect(steps(cluster({ ...wanted, pgNum: 32 }, 100, misplaced))).toEqual([undefined, undefined]);
    const degraded = (stat: PgStat): void => {
      stat.sums.objectsDegraded = 1;
    };
    expect(steps(cluster({ ...wanted, pgNum: 32 }, 100, degraded))).toEqual([undefined, undefined]);
  });

  test('fewer PGs: places first, no further ahead than eight; then one merge at a time of clean PGs on the same OSDs', () => {
    const wanted = { pgNumTarget: 2, pgpNumTarget: 2, pgNum: 32, pgpNum: 32 };
    expect(steps(cluster(wanted))).toEqual([undefined, 31]);
    expect(steps(cluster({ ...wanted, pgpNum: 24 }), { aggressive: true })).toEqual([31, undefined]);
    expect(steps(cluster({ ...wanted, pgpNum: 24 }))).toEqual([31, undefined]);
    expect(steps(cluster({ ...wanted, pgpNum: 24, pgNumPending: 31 }))).toEqual([undefined, 24]);
    const elsewhere = (stat: PgStat): void => {
      if (stat.pg.seed === 31) stat.acting = [2, 1];
    };
    expect(steps(cluster({ ...wanted, pgpNum: 24 }, 100, elsewhere))[0]).toBeUndefined();
    const busy = (stat: PgStat): void => {
      if (stat.pg.seed === 15) stat.state = PG_ACTIVE;
    };
    expect(steps(cluster({ ...wanted, pgpNum: 24 }, 100, busy))[0]).toBeUndefined();
  });
});
