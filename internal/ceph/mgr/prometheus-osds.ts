import type { Labels, PrometheusText } from '../../base/prometheus.ts';
import { MAP_NOBACKFILL, MAP_NODEEP_SCRUB, MAP_NODOWN, MAP_NOIN, MAP_NOOUT } from '../maps/constants.ts';
import { MAP_NOREBALANCE, MAP_NORECOVER, MAP_NOSCRUB, MAP_NOUP } from '../maps/constants.ts';
import type { OsdCounters, OsdStat } from '../wire/messages/osd_mgr.ts';
import type { ClusterStats } from './cluster-stats.ts';
import { label } from './prometheus-daemons.ts';
import type { ClusterFacts, DaemonFacts } from './prometheus-facts.ts';

const flags: readonly (readonly [name: string, bit: number])[] = [
  ['noup', MAP_NOUP],
  ['nodown', MAP_NODOWN],
  ['noout', MAP_NOOUT],
  ['noin', MAP_NOIN],
  ['nobackfill', MAP_NOBACKFILL],
  ['norebalance', MAP_NOREBALANCE],
  ['norecover', MAP_NORECOVER],
  ['noscrub', MAP_NOSCRUB],
  ['nodeep-scrub', MAP_NODEEP_SCRUB],
];

/** Upstream's names of the counters; a latency is a sum of seconds and a count. */
const counters: readonly (readonly [name: string, help: string, field: keyof OsdCounters])[] = [
  ['op', 'Client operations', 'op'],
  ['op_in_bytes', 'Client operations total write size', 'opInBytes'],
  ['op_out_bytes', 'Client operations total read size', 'opOutBytes'],
  ['op_latency_sum', 'Latency of client operations (including queue time) Total', 'opSeconds'],
  ['op_latency_count', 'Latency of client operations (including queue time) Count', 'op'],
  ['op_r', 'Client read operations', 'opR'],
  ['op_r_out_bytes', 'Client data read', 'opROutBytes'],
  ['op_r_latency_sum', 'Latency of read operation (including queue time) Total', 'opRSeconds'],
  ['op_r_latency_count', 'Latency of read operation (including queue time) Count', 'opR'],
  ['op_w', 'Client write operations', 'opW'],
  ['op_w_in_bytes', 'Client data written', 'opWInBytes'],
  ['op_w_latency_sum', 'Latency of write operation (including queue time) Total', 'opWSeconds'],
  ['op_w_latency_count', 'Latency of write operation (including queue time) Count', 'opW'],
  ['op_rw', 'Client read-modify-write operations', 'opRw'],
  ['op_rw_in_bytes', 'Client read-modify-write operations write in', 'opRwInBytes'],
  ['op_rw_out_bytes', 'Client read-modify-write operations read out', 'opRwOutBytes'],
  ['op_rw_latency_sum', 'Latency of read-modify-write operation (including queue time) Total', 'opRwSeconds'],
  ['op_rw_latency_count', 'Latency of read-modify-write operation (including queue time) Count', 'opRw'],
  ['recovery_ops', 'Started recovery operations', 'recoveryOps'],
  ['recovery_bytes', 'recovery bytes', 'recoveryBytes'],
];

const address = (text: string): string => /(?:v2:)?\[?((?:\d+\.){3}\d+|[0-9a-f:]+)\]?:\d+\//.exec(text)?.[1] ?? text;

/** OSDs: what the map says, what they report, and the disks that they are on. */
export function osdMetrics(metrics: PrometheusText, stats: ClusterStats, facts: ClusterFacts): void {
  const { map } = stats;
  for (const [name, bit] of flags)
    metrics.add('untyped', `osd_flag_${name.replaceAll('-', '_')}`, `OSD Flag ${name}`, Number(map.hasFlag(bit)));
  const osds = map.osds();
  const daemon = (osd: number): Labels => ({ ceph_daemon: `osd.${osd}` });
  const inMap = (name: string, of: (osd: number) => number): void =>
    metrics.add(
      'untyped',
      `osd_${name}`,
      `OSD status ${name}`,
      osds.map((osd) => [daemon(osd), of(osd)]),
    );
  inMap('weight', (osd) => (map.osdWeight[osd] ?? 0) / 0x10000);
  inMap('up', (osd) => Number(map.isUp(osd)));
  inMap('in', (osd) => Number(map.isIn(osd)));
  const reported = osds.filter((osd) => stats.osds.has(osd));
  const each = (
    type: 'gauge' | 'counter',
    name: string,
    help: string,
    of: (stat: OsdStat, osd: number) => number,
    shown: (osd: number) => OsdStat = (osd) => stats.osds.get(osd)!.stat,
  ): void =>
    metrics.add(
      type,
      `osd_${name}`,
      help,
      reported.map((osd) => [daemon(osd), of(shown(osd), osd)]),
    );
  const latency = (name: string, of: (stat: OsdStat) => number): void =>
    each(
      'gauge',
      name,
      `OSD stat ${name}`,
      (stat) => Math.round(of(stat)),
      (osd) => stats.shownStat(osd)!,
    );
  latency('apply_latency_ms', ({ applyLatencyMs }) => applyLatencyMs);
  latency('commit_latency_ms', ({ commitLatencyMs }) => commitLatencyMs);
  each('gauge', 'numpg', 'Placement groups', ({ pgs }) => pgs);
  each('gauge', 'stat_bytes', 'OSD size', ({ totalBytes }) => totalBytes);
  each('gauge', 'stat_bytes_used', 'Used space', ({ availableBytes, totalBytes }) => totalBytes - availableBytes);
  for (const [name, help, field] of counters) each('counter', name, help, (stat) => stat.counters[field]);
  metadataMetrics(metrics, stats, osds, facts.osdMetadata);
}

function metadataMetrics(
  metrics: PrometheusText,
  { map }: ClusterStats,
  osds: readonly number[],
  metadata: readonly DaemonFacts[],
): void {
  const known = osds.flatMap((osd): [number, DaemonFacts][] => {
    const of = metadata.find(({ id }) => id === osd);
    return of === undefined ? [] : [[osd, of]];
  });
  metrics.add(
    'untyped',
    'osd_metadata',
    'OSD Metadata',
    known.map(([osd, of]) => [
      {
        back_iface: label(of, 'back_iface'),
        ceph_daemon: `osd.${osd}`,
        cluster_addr: address(label(of, 'back_addr')),
        device_class: map.crush.itemClass(osd) ?? '',
        front_iface: label(of, 'front_iface'),
        hostname: label(of, 'hostname'),
        objectstore: label(of, 'osd_objectstore'),
        public_addr: address(label(of, 'front_addr')),
        ceph_version: label(of, 'ceph_version'),
      },
      1,
    ]),
  );
  const disks = known.flatMap(([osd, of]) => {
    const device = label(of, 'bluestore_bdev_dev_node');
    if (device === '' || device === 'unknown') return [];
    return [{ osd, device, instance: label(of, 'hostname'), of }];
  });
  metrics.add(
    'untyped',
    'disk_occupation',
    'Associate Ceph daemon with disk used',
    disks.map(({ device, instance, of, osd }) => [
      {
        ceph_daemon: `osd.${osd}`,
        device,
        db_device: '',
        wal_device: '',
        instance,
        devices: label(of, 'devices') || 'N/A',
        device_ids: label(of, 'device_ids') || 'N/A',
      },
      1,
    ]),
  );
  const together = new Map<string, { device: string; instance: string; daemons: string[] }>();
  for (const { device, instance, osd } of disks) {
    const key = JSON.stringify([device, instance]);
    const known = together.get(key) ?? { device, instance, daemons: [] };
    known.daemons.push(`osd.${osd}`);
    together.set(key, known);
  }
  metrics.add(
    'untyped',
    'disk_occupation_human',
    'Associate Ceph daemon with disk used',
    [...together.values()].map(({ daemons, device, instance }) => [
      { ceph_daemon: daemons.join(', '), device, instance },
      1,
    ]),
  );
}
