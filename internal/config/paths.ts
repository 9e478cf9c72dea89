/** Every place on disk, derived from `dataDir` and `runDir` only. */
export interface Paths {
  readonly dataDir: string;
  readonly runDir: string;
  /** What only the server role reads: keys of the authorities, of service-account tokens, and the server's own certificates. */
  readonly pki: string;
  /** Who this node is: its certificates and keys, the authorities' certificates, its password, and which cluster it joined. */
  readonly identity: string;
  /** `store` of the control plane. */
  readonly store: string;
  /** containerd root, kubelet pods, volumes, plugins. */
  readonly agent: string;
  /** kubelet's sockets for CSI drivers: `<agent>/plugins/<driver>/csi.sock`. */
  readonly plugins: string;
  /** containerd's gRPC socket. */
  readonly containerdSocket: string;
  /** `ceph.conf`, keyrings; the mon's store in `mon`, OSDs in `osd.N`. */
  readonly ceph: string;
  readonly cephConf: string;
  readonly adminKeyring: string;
  keyring(entity: string): string;
  instanceDir(instance: string): string;
  /** What an instance has while it runs, for itself alone (0700): its configuration, temporary files, sockets. */
  instanceRunDir(instance: string): string;
  /** Where the Ceph daemon of an instance is asked by `ceph daemon`. */
  adminSocket(instance: string): string;
  readonly adminKubeconfig: string;
  readonly logs: string;
  readonly controlSocket: string;
}

/** The data directory of a node that says nothing else. */
export const defaultDataDir = '/var/lib/appliance';
export const defaultRunDir = '/run/appliance';

/** How the command line is called for a node, in hints: directories that it takes of itself are not named. */
export function programFor(
  { dataDir = defaultDataDir, runDir }: { dataDir?: string; runDir: string },
  program = 'appliance',
): string {
  const named = [
    ...(dataDir === defaultDataDir ? [] : ['--data-dir', dataDir]),
    ...(runDir === defaultRunDir ? [] : ['--run-dir', runDir]),
  ];
  return [program, ...named].join(' ');
}

/** Where a supervisor writes the configuration that its node runs with. */
export function effectiveConfigFile(runDir: string): string {
  return `${runDir}/effective.json`;
}

/** Every place on disk of one appliance. Two of them share a machine when their directories (and network namespaces) differ. */
export function nodePaths(dataDir: string, runDir: string): Paths {
  const ceph = `${dataDir}/ceph`;
  const agent = `${dataDir}/agent`;
  return {
    dataDir,
    runDir,
    pki: `${dataDir}/pki`,
    identity: `${dataDir}/identity`,
    store: `${dataDir}/store`,
    agent,
    plugins: `${agent}/plugins`,
    containerdSocket: `${runDir}/containerd.sock`,
    ceph,
    cephConf: `${ceph}/ceph.conf`,
    adminKeyring: `${ceph}/keyrings/client.admin.keyring`,
    keyring: (entity) => `${ceph}/keyrings/${entity}.keyring`,
    instanceDir: (instance) => `${dataDir}/instances/${instance}`,
    instanceRunDir: (instance) => `${runDir}/roles/${instance}`,
    adminSocket: (instance) => `${runDir}/roles/${instance}/ceph.asok`,
    adminKubeconfig: dataDir === defaultDataDir ? '/etc/appliance/kubeconfig' : `${dataDir}/kubeconfig`,
    logs: `${dataDir}/logs`,
    controlSocket: `${runDir}/control.sock`,
  };
}
