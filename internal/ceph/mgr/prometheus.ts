import { PrometheusText } from '../../base/prometheus.ts';
import type { MgrMap } from '../maps/mgrmap.ts';
import type { ServiceMap } from '../maps/servicemap.ts';
import { zeroSpace } from '../wire/messages/mgr_mon.ts';
import type { ClusterStats } from './cluster-stats.ts';
import { daemonMetrics, serviceMetrics } from './prometheus-daemons.ts';
import type { ClusterFacts } from './prometheus-facts.ts';
import { osdMetrics } from './prometheus-osds.ts';
import { poolMetrics } from './prometheus-pools.ts';
import { addSpace } from './sums.ts';

const healthValues: Readonly<Record<string, number>> = { HEALTH_OK: 0, HEALTH_WARN: 1, HEALTH_ERR: 2 };

/** What the metrics are made of. */
export interface Measured {
  stats: ClusterStats;
  facts: ClusterFacts;
  mgrMap: MgrMap;
  services: ServiceMap;
}

/** The metrics of upstream's module `prometheus` (16.2.15), by name, type and labels; README.md says which are not here. */
export function prometheusText({ stats, facts, mgrMap, services }: Measured): string {
  const metrics = new PrometheusText('ceph_');
  const value = healthValues[facts.health ?? ''];
  if (value !== undefined) metrics.add('untyped', 'health_status', 'Cluster health status', value);
  metrics.add(
    'gauge',
    'health_detail',
    'healthcheck status by type (0=inactive, 1=active)',
    [...facts.history.values()].map(({ active, name, severity }) => [{ name, severity }, Number(active)]),
  );
  metrics.add(
    'gauge',
    'healthcheck_slow_ops',
    'OSD or Monitor requests taking a long time to process',
    facts.counts.get('SLOW_OPS') ?? 0,
  );
  daemonMetrics(metrics, facts, mgrMap);
  serviceMetrics(metrics, services);
  osdMetrics(metrics, stats, facts);
  clusterMetrics(metrics, stats);
  poolMetrics(metrics, stats);
  return metrics.toString();
}

function clusterMetrics(metrics: PrometheusText, stats: ClusterStats): void {
  const space = zeroSpace();
  for (const [, stat] of stats.spaceOf()) addSpace(space, stat);
  const used = space.totalBytes - space.availableBytes;
  metrics.add('gauge', 'cluster_total_bytes', 'DF total_bytes', space.totalBytes);
  metrics.add('gauge', 'cluster_total_used_bytes', 'DF total_used_bytes', used);
  metrics.add('gauge', 'cluster_total_used_raw_bytes', 'DF total_used_raw_bytes', used);
}
