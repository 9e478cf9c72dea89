import { PrometheusText } from '../../base/prometheus.ts';
import { hasPgState, pgStateNames } from '../wire/messages/osd_mgr.ts';
import type { ClusterStats } from './cluster-stats.ts';
import { addSpace, poolDigests } from './sums.ts';
import { zeroSpace } from '../wire/messages/mgr_mon.ts';

const healthValues: Readonly<Record<string, number>> = { HEALTH_OK: 0, HEALTH_WARN: 1, HEALTH_ERR: 2 };

type Labels = Readonly<Record<string, string | number>>;

/** The metrics that dashboards for Ceph look at first, with the names of upstream's module `prometheus`. */
export function prometheusText(stats: ClusterStats, health: string | undefined): string {
  const { map } = stats;
  const metrics = new PrometheusText('ceph_');
  const value = health === undefined ? undefined : healthValues[health];
  if (value !== undefined)
    metrics.add('gauge', 'health_status', 'Cluster health: 0 ok, 1 warning, 2 error', [[{}, value]]);
  const osds = map.osds();
  const daemon = (osd: number): Labels => ({ ceph_daemon: `osd.${osd}` });
  metrics.add(
    'gauge',
    'osd_up',
    'OSD is up',
    osds.map((osd) => [daemon(osd), Number(map.isUp(osd))]),
  );
  metrics.add(
    'gauge',
    'osd_in',
    'OSD is in',
    osds.map((osd) => [daemon(osd), Number(map.isIn(osd))]),
  );
  metrics.add(
    'gauge',
    'osd_weight',
    'OSD reweight',
    osds.map((osd) => [daemon(osd), (map.osdWeight[osd] ?? 0) / 0x10000]),
  );
  const reports = [...stats.osds].sort((a, b) => a[0] - b[0]);
  const perOsd = (name: string, help: string, of: (report: (typeof reports)[number][1]) => number): void =>
    metrics.add(
      'gauge',
      name,
      help,
      reports.map(([osd, report]) => [daemon(osd), of(report)]),
    );
  perOsd('osd_stat_bytes', 'Size of the OSD', ({ stat }) => stat.totalBytes);
  perOsd('osd_stat_bytes_used', 'Used of the OSD', ({ stat }) => stat.totalBytes - stat.availableBytes);
  perOsd('osd_commit_latency_ms', 'Time to commit', ({ stat }) => stat.commitLatencyMs);
  perOsd('osd_apply_latency_ms', 'Time to apply', ({ stat }) => stat.applyLatencyMs);
  clusterMetrics(stats, metrics);
  poolMetrics(stats, metrics);
  return metrics.toString();
}

function clusterMetrics(stats: ClusterStats, metrics: PrometheusText): void {
  const space = zeroSpace();
  for (const [, stat] of stats.spaceOf()) addSpace(space, stat);
  metrics.add('gauge', 'cluster_total_bytes', 'Size of all OSDs that are in', [[{}, space.totalBytes]]);
  metrics.add('gauge', 'cluster_total_used_bytes', 'Used of them', [[{}, space.totalBytes - space.availableBytes]]);
}

function poolMetrics(stats: ClusterStats, metrics: PrometheusText): void {
  const pools = [...poolDigests(stats)];
  metrics.add(
    'gauge',
    'pool_metadata',
    'Pools by id and name',
    pools.map(([id]) => [{ pool_id: id, name: stats.map.poolNames.get(id) ?? '' }, 1]),
  );
  const perPool = (name: string, help: string, of: (digest: (typeof pools)[number][1]) => number): void =>
    metrics.add(
      'gauge',
      name,
      help,
      pools.map(([id, digest]) => [{ pool_id: id }, of(digest)]),
    );
  perPool('pool_objects', 'Objects', ({ sums }) => sums.objects);
  perPool('pool_stored', 'Bytes that clients stored', ({ sums }) => sums.bytes);
  perPool('pool_bytes_used', 'Bytes on disks, replicas included', ({ allocatedBytes }) => allocatedBytes);
  perPool('pool_compress_bytes_used', 'Bytes on disks of what is compressed', ({ compressed }) => compressed.allocated);
  perPool('pool_compress_under_bytes', 'Bytes that were compressed into them', ({ compressed }) => compressed.original);
  perPool('pool_max_avail', 'Bytes that can still be stored', ({ maxAvailBytes }) => maxAvailBytes);
  perPool('pool_rd', 'Reads', ({ sums }) => sums.read);
  perPool('pool_wr', 'Writes', ({ sums }) => sums.write);
  perPool('pool_rd_bytes', 'Bytes read', ({ sums }) => sums.readKb * 1024);
  perPool('pool_wr_bytes', 'Bytes written', ({ sums }) => sums.writeKb * 1024);
  const states = new Map<string, Map<number, number>>();
  const totals = new Map<number, number>();
  for (const [{ pool }, { state }] of stats.pgs.entries()) {
    totals.set(pool, (totals.get(pool) ?? 0) + 1);
    const names = state === 0 ? ['unknown'] : pgStateNames.filter(([bit]) => hasPgState(state, bit)).map(([, n]) => n);
    for (const name of names) {
      const counts = states.get(name) ?? new Map<number, number>();
      states.set(name, counts.set(pool, (counts.get(pool) ?? 0) + 1));
    }
  }
  metrics.add(
    'gauge',
    'pg_total',
    'PGs',
    [...totals].map(([pool, n]) => [{ pool_id: pool }, n]),
  );
  for (const [name, counts] of states)
    metrics.add(
      'gauge',
      `pg_${name}`,
      `PGs that are ${name}`,
      [...counts].map(([pool, n]) => [{ pool_id: pool }, n]),
    );
}
