import type { PrometheusText } from '../../base/prometheus.ts';
import type { MgrMap } from '../maps/mgrmap.ts';
import { releaseName } from '../maps/constants.ts';
import type { ServiceMap } from '../maps/servicemap.ts';
import type { ClusterFacts, DaemonFacts } from './prometheus-facts.ts';

/** A fact as a label. */
export function label(facts: DaemonFacts | undefined, name: string): string {
  return String(facts?.[name] ?? '');
}

/** Mons and mgrs. */
export function daemonMetrics(metrics: PrometheusText, facts: ClusterFacts, mgrMap: MgrMap): void {
  const { mons } = facts;
  metrics.add(
    'gauge',
    'mon_quorum_status',
    'Monitors in quorum',
    mons.map(({ inQuorum, name }) => [{ ceph_daemon: `mon.${name}` }, Number(inQuorum)]),
  );
  metrics.add(
    'untyped',
    'mon_metadata',
    'MON Metadata',
    mons.map(({ address, name, rank }) => {
      const of = facts.monMetadata.find((one) => one.name === name);
      return [
        {
          ceph_daemon: `mon.${name}`,
          hostname: label(of, 'hostname'),
          public_addr: address,
          rank,
          ceph_version: label(of, 'ceph_version'),
        },
        1,
      ];
    }),
  );
  const mgrs = [
    ...(mgrMap.activeName === '' ? [] : [{ name: mgrMap.activeName, active: 1 }]),
    ...[...mgrMap.standbys.values()].map(({ name }) => ({ name, active: 0 })),
  ];
  metrics.add(
    'gauge',
    'mgr_metadata',
    'MGR metadata',
    mgrs.map(({ name }) => {
      const of = facts.mgrMetadata.find((one) => one.name === name);
      return [
        { ceph_daemon: `mgr.${name}`, hostname: label(of, 'hostname'), ceph_version: label(of, 'ceph_version') },
        1,
      ];
    }),
  );
  metrics.add(
    'gauge',
    'mgr_status',
    'MGR status (0=standby, 1=active)',
    mgrs.map(({ active, name }) => [{ ceph_daemon: `mgr.${name}` }, active]),
  );
  const always = new Set(
    [...mgrMap.alwaysOnModules].flatMap(([release, names]) => (releaseName(release) === 'pacific' ? names : [])),
  );
  const enabled = new Set(mgrMap.modules);
  metrics.add(
    'gauge',
    'mgr_module_status',
    'MGR module status (0=disabled, 1=enabled, 2=auto-enabled)',
    mgrMap.availableModules.map(({ name }) => [{ name }, always.has(name) ? 2 : Number(enabled.has(name))]),
  );
  metrics.add(
    'gauge',
    'mgr_module_can_run',
    'MGR module runnable state i.e. can it run (0=no, 1=yes)',
    mgrMap.availableModules.map(({ canRun, name }) => [{ name }, Number(canRun)]),
  );
}

/** Daemons that registered with the mgr. */
export function serviceMetrics(metrics: PrometheusText, services: ServiceMap): void {
  const daemons = (service: string) => [...(services.services.get(service)?.daemons ?? [])];
  const of = (metadata: ReadonlyMap<string, string>, name: string): string => metadata.get(name) ?? '';
  metrics.add(
    'untyped',
    'rgw_metadata',
    'RGW Metadata',
    daemons('rgw').map(([name, { metadata }]) => [
      {
        // A gateway registers by the number of its session, and says its name.
        ceph_daemon: `rgw.${metadata.get('id') ?? name}`,
        hostname: of(metadata, 'hostname'),
        ceph_version: of(metadata, 'ceph_version'),
        instance_id: name,
      },
      1,
    ]),
  );
  metrics.add(
    'untyped',
    'rbd_mirror_metadata',
    'RBD Mirror Metadata',
    daemons('rbd-mirror').map(([name, { metadata }]) => [
      {
        ceph_daemon: `rbd-mirror.${metadata.get('id') ?? name}`,
        id: of(metadata, 'id'),
        instance_id: of(metadata, 'instance_id'),
        hostname: of(metadata, 'hostname'),
        ceph_version: of(metadata, 'ceph_version'),
      },
      1,
    ]),
  );
}
