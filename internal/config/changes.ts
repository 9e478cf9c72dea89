import { type Config, type KeyPath, valueAt } from './config.ts';

/** When a changed value takes effect: at once when a running node reads its configuration again, or at the next start of these roles. */
export type Change = 'live' | readonly string[];

/** The roles of the role table, as what is read by all of them names them. */
export const everyRole = ['server', 'agent', 'containerd', 'edge', 'mon', 'mgr', 'osd', 'mds', 'rgw'] as const;

/** Of every key, in the order of the file's documentation. Apart from `keys.ts`, so that the supervisor needs not load what checks values. */
export const keyChanges: { readonly [P in KeyPath]: Change } = {
  'node.name': everyRole,
  'node.ip': everyRole,
  'node.labels': ['agent'],
  'node.taints': ['agent'],
  roles: everyRole,
  dataDir: everyRole,
  runDir: everyRole,
  logLevel: 'live',
  server: everyRole,
  token: ['server'],
  tlsSans: ['server'],
  writeKubeconfigMode: 'live',
  secretsEncryption: ['server'],
  mdns: ['server'],
  'cluster.podCIDR': ['server', 'agent', 'containerd', 'edge'],
  'cluster.serviceCIDR': ['server', 'agent', 'containerd', 'edge'],
  'cluster.dnsIP': ['server', 'agent', 'edge'],
  'cluster.domain': ['server', 'agent', 'edge'],
  'cluster.serviceNodePortRange': ['server'],
  'cluster.networkBackend': ['containerd', 'agent'],
  'ports.api': ['server', 'agent', 'edge'],
  'ports.kubelet': ['agent'],
  'ports.mon': ['mon', 'mgr', 'osd', 'mds', 'rgw', 'server', 'agent'],
  'ports.monPeer': ['mon'],
  'ports.ceph': ['mgr', 'osd', 'mds'],
  'ports.dns': ['server', 'edge'],
  'ports.prometheus': ['mgr'],
  'ports.rgw': ['rgw'],
  'ports.etcd': ['server'],
  'ports.etcdPeer': ['server'],
  'containerd.command': ['containerd', 'agent'],
  'containerd.cniBinDirs': ['containerd', 'agent'],
  imagesDir: ['agent'],
  manifestsDir: ['server'],
  'memory.server': 'live',
  'memory.containerd': 'live',
  'memory.agent': 'live',
  'memory.edge': 'live',
  'memory.mon': 'live',
  'memory.mgr': 'live',
  'memory.osd': 'live',
  'memory.mds': 'live',
  'memory.rgw': 'live',
  datastore: ['server'],
  'datastoreTls.caFile': ['server'],
  'datastoreTls.certFile': ['server'],
  'datastoreTls.keyFile': ['server'],
  'snapshots.everyHours': ['server'],
  'snapshots.keep': ['server'],
  'snapshots.dir': ['server'],
  'snapshots.s3': ['server'],
  'snapshots.s3Region': ['server'],
  'snapshots.s3AccessKey': ['server'],
  'snapshots.s3SecretKey': ['server'],
  'audit.enabled': ['server'],
  'audit.policyFile': ['server'],
  'audit.logDir': ['server'],
  'audit.webhookConfigFile': ['server'],
  'audit.maxAgeDays': ['server'],
  'audit.maxBackups': ['server'],
  'audit.maxSizeMiB': ['server'],
  'compaction.keepMinutes': ['server'],
  'compaction.keepRevisions': ['server'],
  'storage.engine': ['mon', 'mgr', 'osd', 'mds', 'rgw', 'server', 'agent'],
  'storage.osd': ['osd'],
  'storage.replication': ['mon', 'mgr'],
  'storage.failureDomain': ['mon'],
  'storage.auth': ['mon', 'mgr', 'osd', 'server', 'agent'],
  'externalCeph.monHosts': ['server', 'agent'],
  'externalCeph.fsid': ['server', 'agent'],
  'externalCeph.user': ['server', 'agent'],
  'externalCeph.key': ['server', 'agent'],
  'externalCeph.keyFile': ['server', 'agent'],
  'externalCeph.pool': ['server'],
};

/** What is different between the configuration that a node runs with and another one. */
export interface ConfigChanges {
  /**
   * Takes effect while everything runs on: `logLevel` by telling the roles, `writeKubeconfigMode` by preparing the node again, which writes the file.
   */
  readonly live: readonly KeyPath[];
  /** Takes effect when these roles (names of the role table, those that the node does not run included) start again. */
  readonly restart: readonly { readonly path: KeyPath; readonly roles: readonly string[] }[];
}

/** Equal by value; both are plain data from a configuration. */
function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every(
      (name) =>
        Object.hasOwn(b, name) && same((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name]),
    )
  );
}

/** Which changed keys take effect at once and which only when roles start again, in the order of the table. */
export function configChanges(before: Config, after: Config): ConfigChanges {
  const changed = (Object.keys(keyChanges) as KeyPath[]).filter(
    (path) => !same(valueAt(before, path), valueAt(after, path)),
  );
  return {
    live: changed.filter((path) => keyChanges[path] === 'live'),
    restart: changed.flatMap((path) => {
      const change = keyChanges[path];
      return change === 'live' ? [] : [{ path, roles: change }];
    }),
  };
}
