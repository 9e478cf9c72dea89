import type { PrometheusText } from '../../base/prometheus.ts';
import { type PgPool, POOL_TYPE_ERASURE, poolOptionNames } from '../maps/pool.ts';
import { poolNumbers } from '../mon/format/df.ts';
import type { PoolDigest } from '../wire/messages/mgr_mon.ts';
import { hasPgState, type ObjectSums, pgStateNames } from '../wire/messages/osd_mgr.ts';
import type { ClusterStats } from './cluster-stats.ts';
import { poolDigests } from './sums.ts';

const compressionMode = [...poolOptionNames].find(([, name]) => name === 'compression_mode')![0];

/** Upstream's names of states as metrics have them. */
const stateNames: readonly (readonly [name: string, bit: number])[] = [
  ...pgStateNames.map(([bit, name]): [string, number] => [name, bit]),
  ['unknown', 0],
];

function description(
  stats: ClusterStats,
  { erasureCodeProfile, size, type }: PgPool,
): { type: string; description: string } {
  if (type !== POOL_TYPE_ERASURE) return { type: 'replicated', description: `replica:${size}` };
  const profile = stats.map.erasureCodeProfiles.get(erasureCodeProfile);
  return {
    type: 'erasure',
    description: profile === undefined ? 'ec:unknown' : `ec:${profile.get('k')}+${profile.get('m')}`,
  };
}

/** What there is of pools and their PGs. */
export function poolMetrics(metrics: PrometheusText, stats: ClusterStats): void {
  const digests = [...poolDigests(stats)];
  metrics.add(
    'untyped',
    'pool_metadata',
    'POOL Metadata',
    digests.map(([id]) => {
      const pool = stats.map.pools.get(id)!;
      return [
        {
          pool_id: id,
          name: stats.map.poolNames.get(id) ?? '',
          ...description(stats, pool),
          compression_mode: String(pool.options.get(compressionMode)?.value ?? 'none'),
        },
        1,
      ];
    }),
  );
  type Row = { digest: PoolDigest; numbers: ReturnType<typeof poolNumbers>; pool: PgPool };
  const rows = digests.map(([id, digest]): [number, Row] => {
    const pool = stats.map.pools.get(id)!;
    return [id, { digest, pool, numbers: poolNumbers(stats.map, pool, digest) }];
  });
  const each = (type: 'gauge' | 'counter', name: string, help: string, of: (row: Row) => number): void =>
    metrics.add(
      type,
      `pool_${name}`,
      help,
      rows.map(([id, row]) => [{ pool_id: id }, of(row)]),
    );
  const df = (name: string, of: (row: Row) => number): void => each('gauge', name, `DF pool ${name}`, of);
  const dfCounter = (name: string, of: (row: Row) => number): void => each('counter', name, `DF pool ${name}`, of);
  df('max_avail', ({ numbers }) => numbers.available);
  df('avail_raw', ({ numbers }) => numbers.rawAvail);
  df('stored', ({ numbers }) => numbers.stored);
  df('stored_raw', ({ numbers }) => numbers.storedRaw);
  df('objects', ({ digest }) => digest.sums.objects);
  df('dirty', ({ digest, pool }) => (pool.tierOf >= 0 ? digest.sums.objectsDirty : 0));
  df('quota_bytes', ({ pool }) => pool.quotaMaxBytes);
  df('quota_objects', ({ pool }) => pool.quotaMaxObjects);
  dfCounter('rd', ({ digest }) => digest.sums.read);
  dfCounter('rd_bytes', ({ digest }) => digest.sums.readKb * 1024);
  dfCounter('wr', ({ digest }) => digest.sums.write);
  dfCounter('wr_bytes', ({ digest }) => digest.sums.writeKb * 1024);
  df('compress_bytes_used', ({ digest }) => digest.compressed.allocated);
  df('compress_under_bytes', ({ digest }) => digest.compressed.original);
  df('bytes_used', ({ numbers }) => numbers.used);
  df('percent_used', ({ numbers }) => numbers.percentUsed);
  const rate = (name: string, of: (row: Row) => number): void => each('gauge', name, `OSD pool stats: ${name}`, of);
  rate('recovering_objects_per_sec', ({ digest }) => Math.floor(digest.rates.recoveringObjects));
  rate('recovering_bytes_per_sec', ({ digest }) => Math.floor(digest.rates.recoveringBytes));
  rate('recovering_keys_per_sec', ({ digest }) => Math.floor(digest.rates.recoveringKeys));
  const recent = (id: number) => stats.poolRates.get(id)?.window().sums;
  for (const [name, field] of [
    ['num_objects_recovered', 'recoveringObjects'],
    ['num_bytes_recovered', 'recoveringBytes'],
  ] as const)
    metrics.add(
      'gauge',
      `pool_${name}`,
      `OSD pool stats: ${name}`,
      rows.map(([id]) => [{ pool_id: id }, recent(id)?.[field] ?? 0]),
    );
  metrics.add(
    'counter',
    'pool_objects_repaired',
    'Number of objects repaired in a pool',
    // The label is upstream's.
    rows.map(([id, { digest }]) => [{ poolid: id }, digest.sums.objectsRepaired]),
  );
  objectMetrics(metrics, digests);
  pgMetrics(metrics, stats);
}

function objectMetrics(metrics: PrometheusText, digests: readonly [number, PoolDigest][]): void {
  const sum = (field: keyof ObjectSums): number => digests.reduce((n, [, { sums }]) => n + sums[field], 0);
  metrics.add('gauge', 'num_objects_degraded', 'Number of degraded objects', sum('objectsDegraded'));
  metrics.add('gauge', 'num_objects_misplaced', 'Number of misplaced objects', sum('objectsMisplaced'));
  metrics.add('gauge', 'num_objects_unfound', 'Number of unfound objects', sum('objectsUnfound'));
}

function pgMetrics(metrics: PrometheusText, stats: ClusterStats): void {
  const pools = [...stats.map.pools.keys()].sort((a, b) => a - b);
  const counts = new Map(pools.map((id) => [id, { all: 0, of: stateNames.map(() => 0) }]));
  for (const [{ pool }, { state }] of stats.pgs.entries()) {
    const count = counts.get(pool);
    if (count === undefined) continue;
    count.all++;
    for (const [i, [, bit]] of stateNames.entries())
      if (bit === 0 ? state === 0 : hasPgState(state, bit)) count.of[i]!++;
  }
  metrics.add(
    'gauge',
    'pg_total',
    'PG Total Count per Pool',
    [...counts].map(([id, { all }]) => [{ pool_id: id }, all]),
  );
  for (const [i, [name]] of stateNames.entries())
    metrics.add(
      'gauge',
      `pg_${name.replaceAll('-', '_')}`,
      `PG ${name} per pool`,
      [...counts].map(([id, { of }]) => [{ pool_id: id }, of[i]!]),
    );
}
