import { cidrAddress, parseCidr } from './cidr.ts';
import {
  type JoinedCluster,
  type KeyPath,
  type KeyValue,
  type OsdConfig,
  type RoleName,
  storageEngines,
  unallocatedOsd,
} from './config.ts';
import { defaultDataDir, defaultRunDir } from './paths.ts';
import * as value from './values.ts';

/** What defaults depend on; the shell reads it from the machine. */
export interface MachineFacts {
  hostname: string;
  /** The address that other nodes reach this one by. */
  ip: string;
  /** Free bytes where the data directory is. */
  freeBytes: number;
  /** How large a file is that an OSD has already; undefined of one that is not there or cannot be looked at. */
  fileBytes?: (file: string) => number | undefined;
  /** The cluster that this machine joined. */
  joined?: JoinedCluster;
  /** The name that the node of this data directory has had since its first start. */
  keptName?: string;
  /** It is about to join one. */
  joining?: boolean;
  /** On a node that joined: ids that the mon gave, by what the OSD is on (`osdPlace`). */
  osdIds?: Readonly<Record<string, { readonly id: number; readonly uuid: string }>>;
}

export interface DefaultContext {
  readonly facts: MachineFacts;
  /** The effective value of another key. */
  get<P extends KeyPath>(path: P): KeyValue<P>;
}

/** Everything about one key: its row is the source for validation, defaults, variables, flags, the JSON schema and the documentation. */
export interface KeyRow<T = unknown> {
  /** What it means, for users. */
  readonly about: string;
  readonly type: value.ValueType<unknown>;
  /** The effective value from what was written, or from nothing. */
  resolve(given: unknown, context: DefaultContext): T;
  /** How the default reads. */
  readonly defaultText: string;
  /** Its flag without `--`: K3s' name where K3s has the flag. */
  readonly flag: string;
  /** What it is in the cluster that this machine joined: then this is the default. */
  readonly joined?: ((cluster: JoinedCluster) => T) | undefined;
  /** Never shown. */
  readonly secret?: boolean;
  /** A value that somebody might write, in the file's form. */
  readonly example: unknown;
  /** It has no effect on a node without this role, so it is refused there. */
  readonly role?: RoleName;
}

interface RowFacts<T> {
  about: string;
  joined?: (cluster: JoinedCluster) => T;
  secret?: boolean;
  example: unknown;
  defaultText?: string;
  flag: string;
  role?: RoleName;
}

/** A row whose default is a value, or is computed. */
function row<T>(
  type: value.ValueType<NoInfer<Exclude<T, undefined>>>,
  standard: NoInfer<T> | ((context: DefaultContext) => NoInfer<T>),
  facts: RowFacts<NoInfer<T>>,
): KeyRow<T> {
  return {
    ...facts,
    type: type as value.ValueType<unknown>,
    resolve: (given, context) =>
      given !== undefined
        ? (given as T)
        : facts.joined && context.facts.joined
          ? facts.joined(context.facts.joined)
          : standard instanceof Function
            ? standard(context)
            : standard,
    defaultText:
      facts.defaultText ?? defaultText(type.write ? type.write(standard as Exclude<T, undefined>) : standard),
  };
}

function defaultText(standard: unknown): string {
  if (Array.isArray(standard)) return `[${standard.join(', ')}]`;
  return typeof standard === 'object' ? JSON.stringify(standard) : String(standard);
}

const budgetNotes: Readonly<Record<string, string>> = {
  mds: '; its cache takes half of it',
  rgw: '',
  containerd: ', without containers and their shims',
  'each OSD': '; the engine that runs it collects garbage in proportion, and its caches are sized by it when it starts',
};

/** Limits, not reservations: what a role needs under load, and as much again. `cephMiB`: of the daemon that is the role with the engine `ceph`. */
function budget(whose: string, defaultMiB: number, role: RoleName, cephMiB = defaultMiB): KeyRow<number> {
  return row(value.memoryBudget, ({ get }) => (get('storage.engine') === 'ceph' ? cephMiB : defaultMiB) * 2 ** 20, {
    about: `The most memory that ${whose} may use${budgetNotes[whose] ?? '; the engine that runs it collects garbage in proportion'}. \`none\`: no limit.`,
    defaultText: `${defaultMiB}Mi${cephMiB === defaultMiB ? '' : `; with storage.engine ceph ${cephMiB}Mi`}`,
    example: `${defaultMiB * 2}Mi`,
    flag: `memory-${whose === 'each OSD' ? 'osd' : whose}`,
    role,
  });
}

/** What a section of the file is about. */
export const sections: Readonly<Record<string, string>> = {
  node: 'This machine as a node of the cluster.',
  cluster: 'What all nodes of the cluster have in common.',
  ports: 'Where this node listens.',
  containerd: 'The container runtime.',
  memory:
    'What roles may use before the kernel ends them, page cache included; they start again, and status tells why.',
  datastoreTls: 'Certificates for an etcd given as datastore.',
  audit: 'The record of who did what over the Kubernetes API.',
  snapshots: 'Copies of the control-plane store.',
  compaction: 'How long the control-plane store remembers what was before a change.',
  storage: 'Ceph storage.',
  externalCeph: 'The Ceph cluster of `storage.engine: external`.',
};

/** What is left to a node whose storage is somebody else's. */
const kubernetesRoles: readonly RoleName[] = ['server', 'agent'];

/** Every key. Defaults may use other keys, but not in a circle. */
export const keys: { readonly [P in KeyPath]: KeyRow<KeyValue<P>> } = {
  'node.name': row(value.dnsLabel, ({ facts }) => facts.keptName ?? nodeName(facts.hostname), {
    about: 'Name of the node. It stays the same for the life of the node.',
    defaultText: 'the host name at the first start',
    example: 'pi-1',
    flag: 'node-name',
    joined: (joined) => joined.node,
  }),
  'node.ip': row(value.ipv4, ({ facts }) => facts.ip, {
    about: 'The address of this machine that clients and other nodes use.',
    defaultText:
      'the address of the interface with the default route; a running node keeps its own while the machine has it',
    example: '192.168.1.10',
    flag: 'node-ip',
  }),
  'node.labels': row(
    value.labels,
    {},
    {
      about: 'Labels of the Node object, set when it registers and again when they are missing.',
      example: { disk: 'ssd' },
      flag: 'node-label',
      role: 'agent',
    },
  ),
  'node.taints': row(value.taints, [], {
    about: 'Taints of the Node object, set when it registers; later `kubectl taint` changes them.',
    example: ['dedicated=storage:NoSchedule'],
    flag: 'node-taint',
    role: 'agent',
  }),
  roles: row(value.roles, ({ get }) => (get('storage.engine') === 'external' ? kubernetesRoles : value.usualRoles), {
    about:
      'What this node does. `mds` (CephFS) and `rgw` (S3) are there with storage.engine ceph, on the machine that makes the cluster.',
    defaultText: `[${value.usualRoles.join(', ')}]; with an external Ceph cluster [${kubernetesRoles.join(', ')}]`,
    example: ['server', 'agent'],
    flag: 'role',
    joined: (joined) => joined.roles,
  }),
  dataDir: row(value.path, defaultDataDir, {
    about: 'Everything that has to survive a restart.',
    example: '/mnt/usb/appliance',
    flag: 'data-dir',
  }),
  runDir: row(value.path, defaultRunDir, {
    about: 'Sockets and state of the running node; gone after a stop.',
    example: '/run/appliance-2',
    flag: 'run-dir',
  }),
  logLevel: row(value.word(['debug', 'info', 'warn', 'error'], 'a level'), 'info', {
    about: 'The least important messages that are still logged.',
    example: 'debug',
    flag: 'log-level',
  }),
  server: row(value.serverUrl, undefined, {
    about: 'A server of the cluster that this node joins. Without it, it is looked for on the network.',
    defaultText: 'nothing',
    example: 'https://192.168.1.10:6443',
    flag: 'server',
  }),
  token: row(value.token, undefined, {
    about: 'To join a cluster with; on a server, a secret that joining nodes may use.',
    defaultText: 'nothing',
    example: 'K10<hash>::node:<secret>',
    flag: 'token',
    secret: true,
  }),
  tlsSans: row(value.hosts, [], {
    about: 'Further names and IPv4 addresses that clients reach the API server by; they go into its certificate.',
    example: ['cluster.example.com', '203.0.113.7'],
    flag: 'tls-san',
    role: 'server',
  }),
  writeKubeconfigMode: row(value.fileMode, '0600', {
    about: "Permission bits of the admin's kubeconfig, in quotes.",
    defaultText: '"0600"',
    example: '0640',
    flag: 'write-kubeconfig-mode',
    role: 'server',
  }),
  secretsEncryption: row(value.yesNo, false, {
    about:
      'Encrypt Secrets in the control-plane store, in a cluster where nothing was decided yet; later `appliance secrets-encrypt` does.',
    example: true,
    flag: 'secrets-encryption',
    role: 'server',
  }),
  mdns: row(value.yesNo, true, {
    about: 'Servers tell the local network that they are there, so that `appliance join` needs no address.',
    example: false,
    flag: 'mdns',
    role: 'server',
  }),
  'cluster.podCIDR': row(value.cidr, '10.42.0.0/16', {
    about: "The pods' network, a /24 or larger.",
    example: '10.142.0.0/16',
    flag: 'cluster-cidr',
    joined: (joined) => joined.cluster.podCIDR,
  }),
  'cluster.serviceCIDR': row(value.cidr, '10.43.0.0/16', {
    about: "The services' network, a /24 or larger.",
    example: '10.143.0.0/16',
    flag: 'service-cidr',
    joined: (joined) => joined.cluster.serviceCIDR,
  }),
  'cluster.dnsIP': row(value.ipv4, ({ get }) => cidrAddress(parseCidr(get('cluster.serviceCIDR')), 10), {
    about: 'The service address of the cluster DNS, in serviceCIDR.',
    defaultText: 'the tenth address of serviceCIDR',
    example: '10.43.0.10',
    flag: 'cluster-dns',
    joined: (joined) => joined.cluster.dnsIP,
  }),
  'cluster.domain': row(value.dnsName, 'cluster.local', {
    about: 'The DNS domain of services and pods.',
    example: 'cluster.example',
    flag: 'cluster-domain',
    joined: (joined) => joined.cluster.domain,
  }),
  'cluster.serviceNodePortRange': row(value.portRange, [30000, 32767], {
    about: 'Ports that services of type NodePort are given.',
    example: '30000-30999',
    flag: 'service-node-port-range',
    joined: (joined) => joined.cluster.serviceNodePortRange,
  }),
  'cluster.networkBackend': row(value.word(['vxlan', 'host-gw', 'auto', 'none'], 'a way'), 'vxlan', {
    about:
      'How pods of other nodes are reached: `vxlan`: in a tunnel; `host-gw`: by plain routes, all nodes on one link; `auto`: by plain routes where the link allows, else in the tunnel; `none`: by a CNI plug-in of yours.',
    example: 'auto',
    flag: 'flannel-backend',
    joined: (joined) => joined.cluster.networkBackend,
  }),
  'ports.api': row(value.port(), 6443, {
    about: 'The Kubernetes API.',
    example: 7443,
    flag: 'https-listen-port',
  }),
  'ports.kubelet': row(value.port(), 10250, {
    about: "The kubelet's API: logs, exec, metrics.",
    example: 11250,
    flag: 'kubelet-port',
  }),
  'ports.mon': row(value.port(), 3300, {
    about: 'The Ceph monitor.',
    example: 3301,
    flag: 'mon-port',
  }),
  'ports.monPeer': row(value.port(), 3301, {
    about: "Where the stores of other mons reach this one's, with certificates that only mons can make.",
    example: 3303,
    flag: 'mon-peer-port',
    role: 'mon',
  }),
  'ports.ceph': row(value.port(65000), 6800, {
    about: 'The first of the ports that OSDs, mgr and mds take.',
    example: 7800,
    flag: 'ceph-port',
  }),
  'ports.dns': row(value.port(), 10053, {
    about: 'Where the cluster DNS listens on the node; pods reach it at dnsIP, port 53.',
    example: 10054,
    flag: 'dns-port',
    joined: (joined) => joined.ports.dns,
  }),
  'ports.prometheus': row(value.port(), 9283, {
    about: "The mgr's metrics for Prometheus.",
    example: 9284,
    flag: 'prometheus-port',
  }),
  'ports.rgw': row(value.port(), 7480, {
    about: 'Where the rgw answers S3, without TLS.',
    example: 8080,
    flag: 'rgw-port',
    role: 'rgw',
  }),
  'ports.etcd': row(value.port(), 2379, {
    about: 'The control-plane store as etcd v3, on loopback and the node address, for clients with a certificate.',
    example: 2381,
    flag: 'etcd-port',
    role: 'server',
  }),
  'ports.etcdPeer': row(value.port(), 2380, {
    about: 'Where the stores of the other servers reach this one, with certificates of the cluster.',
    example: 2382,
    flag: 'etcd-peer-port',
    role: 'server',
  }),
  'containerd.command': row(value.program, 'containerd', {
    about: 'The containerd to start: a name on PATH or a path.',
    example: '/usr/local/bin/containerd',
    flag: 'containerd-command',
  }),
  'containerd.cniBinDirs': row(value.paths, ['/usr/lib/cni', '/opt/cni/bin'], {
    about: 'Where the CNI plug-ins are looked for, in this order.',
    example: ['/opt/cni/bin'],
    flag: 'cni-bin-dir',
  }),
  imagesDir: row(value.path, ({ get }) => `${get('dataDir')}/images`, {
    about: 'Image tarballs (docker or OCI) in this directory are imported at start.',
    defaultText: '<dataDir>/images',
    example: '/srv/images',
    flag: 'images-dir',
  }),
  manifestsDir: row(value.path, ({ get }) => `${get('dataDir')}/manifests`, {
    about:
      'Objects in YAML files in this directory are applied: at start, within 15 s of a change of a file, and every five minutes. What a removed file made stays.',
    defaultText: '<dataDir>/manifests',
    example: '/srv/manifests',
    flag: 'manifests-dir',
  }),
  'memory.server': budget('server', 640, 'server'),
  'memory.containerd': budget('containerd', 384, 'agent'),
  'memory.agent': budget('agent', 384, 'agent'),
  'memory.edge': budget('edge', 192, 'agent'),
  'memory.mon': budget('mon', 256, 'mon', 1024),
  'memory.mgr': budget('mgr', 192, 'mgr', 1024),
  'memory.osd': budget('each OSD', 512, 'osd', 1536),
  'memory.mds': budget('mds', 1024, 'mds'),
  'memory.rgw': budget('rgw', 1024, 'rgw'),
  datastore: row(value.datastore, undefined, {
    about: "A real etcd that keeps the control plane's data instead of the store of this node.",
    defaultText: 'nothing',
    example: 'etcd://10.0.0.5:2379,10.0.0.6:2379',
    flag: 'datastore-endpoint',
    role: 'server',
  }),
  'datastoreTls.caFile': row(value.path, undefined, {
    about: "The authority that signed the etcd's certificate. With it TLS is used.",
    defaultText: 'nothing',
    example: '/etc/etcd/ca.crt',
    flag: 'datastore-cafile',
    role: 'server',
  }),
  'datastoreTls.certFile': row(value.path, undefined, {
    about: 'The client certificate for the etcd.',
    defaultText: 'nothing',
    example: '/etc/etcd/client.crt',
    flag: 'datastore-certfile',
    role: 'server',
  }),
  'datastoreTls.keyFile': row(value.path, undefined, {
    about: 'The key of the client certificate for the etcd.',
    defaultText: 'nothing',
    example: '/etc/etcd/client.key',
    flag: 'datastore-keyfile',
    role: 'server',
  }),
  'snapshots.everyHours': row(value.count(0, 8760), 12, {
    about: 'Hours between copies of the control-plane store; 0: no copies.',
    example: 24,
    flag: 'snapshot-every-hours',
    role: 'server',
  }),
  'snapshots.keep': row(value.count(1, 1000), 5, {
    about: 'How many of these copies are kept; those made by hand stay.',
    example: 14,
    flag: 'etcd-snapshot-retention',
    role: 'server',
  }),
  'snapshots.dir': row(value.path, ({ get }) => `${get('dataDir')}/snapshots`, {
    about: 'Where the copies are; another disk than that of dataDir survives it.',
    defaultText: '<dataDir>/snapshots',
    example: '/mnt/usb/snapshots',
    flag: 'etcd-snapshot-dir',
    role: 'server',
  }),
  'snapshots.s3': row(value.bucketUrl, undefined, {
    about: 'A bucket of an S3 that the copies are sent to as well.',
    defaultText: 'nothing',
    example: 'https://s3.example.com/backups/home',
    flag: 'etcd-s3-endpoint',
    role: 'server',
  }),
  'snapshots.s3Region': row(value.region, 'us-east-1', {
    about: 'The region of the bucket.',
    example: 'eu-central-1',
    flag: 'etcd-s3-region',
    role: 'server',
  }),
  'snapshots.s3AccessKey': row(value.secret, undefined, {
    about: 'The access key for the bucket.',
    defaultText: 'nothing',
    example: 'AKIDEXAMPLE',
    flag: 'etcd-s3-access-key',
    secret: true,
    role: 'server',
  }),
  'snapshots.s3SecretKey': row(value.secret, undefined, {
    about: 'The secret key for the bucket.',
    defaultText: 'nothing',
    example: 'wJalrXUtnFEMI',
    flag: 'etcd-s3-secret-key',
    secret: true,
    role: 'server',
  }),
  'audit.enabled': row(value.yesNo, false, {
    about: 'Write an event for each request that the policy asks for, a line of JSON each.',
    example: true,
    flag: 'audit',
    role: 'server',
  }),
  'audit.policyFile': row(value.path, undefined, {
    about:
      'What is recorded: a Policy of audit.k8s.io/v1. Without it: who did what to which object, but not what is in it.',
    defaultText: 'nothing',
    example: '/etc/appliance/audit-policy.yaml',
    flag: 'audit-policy-file',
    role: 'server',
  }),
  'audit.logDir': row(value.path, ({ get }) => `${get('dataDir')}/audit`, {
    about: 'Where `audit.log` is, and what came before as `audit-<time>.log`.',
    defaultText: '<dataDir>/audit',
    example: '/mnt/usb/audit',
    flag: 'audit-log-dir',
    role: 'server',
  }),
  'audit.webhookConfigFile': row(value.path, undefined, {
    about:
      'A kubeconfig: events are also sent to its server, in batches of up to 400 or every 30 s, whether they are written or not.',
    defaultText: 'nothing',
    example: '/etc/appliance/audit-webhook.yaml',
    flag: 'audit-webhook-config-file',
    role: 'server',
  }),
  'audit.maxAgeDays': row(value.count(0, 36_500), 30, {
    about: 'Days that files of the audit log are kept; 0: any time.',
    example: 90,
    flag: 'audit-log-maxage',
    role: 'server',
  }),
  'audit.maxBackups': row(value.count(0, 10_000), 10, {
    about: 'How many files of the audit log are kept beside the newest; 0: all.',
    example: 30,
    flag: 'audit-log-maxbackup',
    role: 'server',
  }),
  'audit.maxSizeMiB': row(value.count(1, 10_000), 20, {
    about: 'The size in MiB at which a new file is begun.',
    example: 100,
    flag: 'audit-log-maxsize',
    role: 'server',
  }),
  'compaction.keepMinutes': row(value.count(0, 525_600), 0, {
    about:
      "Minutes of history that stay, as etcd's --auto-compaction-mode=periodic; 0: the API server forgets what is older than five to ten minutes.",
    example: 60,
    flag: 'compaction-keep-minutes',
    role: 'server',
  }),
  'compaction.keepRevisions': row(value.count(0, 1_000_000_000), 0, {
    about: "Revisions of history that stay, as etcd's --auto-compaction-mode=revision; 0: as keepMinutes says.",
    example: 10_000,
    flag: 'compaction-keep-revisions',
    role: 'server',
  }),
  'storage.engine': row(value.word(storageEngines, 'an engine of this version'), 'embedded', {
    about:
      'Who stores: `embedded`: the Ceph roles of this executable; `ceph`: ceph-mon, ceph-mgr, ceph-osd, ceph-mds and radosgw of the distribution as these roles; `external`: a Ceph cluster that is there already, which externalCeph tells of.',
    example: 'external',
    flag: 'storage-engine',
    joined: (joined) => joined.ceph?.engine ?? 'embedded',
  }),
  'storage.osd': {
    about: 'The OSDs of this node and where each keeps its data: exactly one of file, directory, device and serial.',
    type: value.osds as value.ValueType<unknown>,
    resolve: (given, context) => osdConfigs(given as readonly value.OsdEntry[] | undefined, context),
    defaultText: 'three sparse files of a fifth of the free space each, at most 32Gi',
    example: [
      { id: 0, file: '/var/lib/appliance/osd/osd.0.img', size: '20Gi' },
      { id: 1, device: '/dev/sda1' },
      { id: 2, device: 'usb-Samsung_Flash_Drive_0374-0:0' },
      { id: 3, serial: 'S3Z9NB0K', partition: 2 },
      { id: 4, directory: '/mnt/disk' },
    ],
    flag: 'osd',
    role: 'osd',
  },
  'storage.replication': row(value.count(1, 10), ({ get }) => Math.min(3, Math.max(1, get('storage.osd').length)), {
    about: 'Copies of every object in new pools, at most the number of OSDs.',
    defaultText: '3, or the number of OSDs if that is less',
    example: 2,
    flag: 'replication',
  }),
  'storage.failureDomain': row(value.word(['osd', 'host'], 'a failure domain'), 'osd', {
    about: '`osd`: copies are on different disks; `host`: on different machines.',
    example: 'host',
    flag: 'failure-domain',
  }),
  'storage.auth': row(value.word(['cephx', 'none'], 'a way to authenticate'), 'cephx', {
    about:
      'How mons, managers, OSDs and their clients prove who they are. `none`: not at all. Then whoever reaches their ports reads, changes and removes everything that is stored, by any name, and nothing is encrypted: only where nobody else is on the network.',
    example: 'none',
    flag: 'storage-auth',
    joined: (joined) => joined.ceph?.auth ?? 'cephx',
  }),
  'externalCeph.monHosts': row(value.monHosts, [], {
    about: "The cluster's monitors (msgr v2, port 3300 when none is named). One that answers tells of the others.",
    example: ['192.168.1.20:3300', '192.168.1.21:3300'],
    flag: 'external-ceph-mon',
  }),
  'externalCeph.fsid': row(value.uuid, undefined, {
    about: 'The cluster that must answer there, and no other. With it a first start needs no answer.',
    defaultText: 'the cluster that answers at the first start',
    example: '3b1f0e3c-9a5c-4a53-8d4e-0c4e1f1c9d11',
    flag: 'external-ceph-fsid',
  }),
  'externalCeph.user': row(value.cephName('the name of a Ceph user without client., such as kubernetes'), 'admin', {
    about:
      "The Ceph user, without `client.`, that volumes are made and used as. It needs `mon 'profile rbd' osd 'profile rbd'`, and more if it shall make the pool.",
    example: 'kubernetes',
    flag: 'external-ceph-user',
  }),
  'externalCeph.key': row(value.cephKey, undefined, {
    about: 'The key of that user, as `ceph auth get-key` prints it.',
    defaultText: 'nothing',
    example: 'AQCvIihlAAAAABAAfMGxp1ZF1lOPIp0TLPDQpg==',
    flag: 'external-ceph-key',
    secret: true,
  }),
  'externalCeph.keyFile': row(value.path, undefined, {
    about: 'A file with that key, alone or as a keyring; read at every start.',
    defaultText: 'nothing',
    example: '/etc/appliance/ceph.client.kubernetes.keyring',
    flag: 'external-ceph-key-file',
  }),
  'externalCeph.pool': row(value.cephName('the name of a pool'), 'replicapool', {
    about: 'The pool that volumes are made in. It is made when it is not there and the user may make pools.',
    example: 'kubernetes',
    flag: 'external-ceph-pool',
  }),
};

export const keyPaths = Object.keys(keys) as KeyPath[];

/** `APPLIANCE_CLUSTER_POD_CIDR` of `cluster.podCIDR`. */
export function variableOf(path: string): string {
  return `APPLIANCE_${path.replaceAll('.', '_').replace(/([a-z0-9])([A-Z])/g, '$1_$2')}`.toUpperCase();
}

/** Variables that begin with APPLIANCE_ and are not keys. */
export const otherVariables: Readonly<Record<string, string>> = {
  APPLIANCE_CONFIG: 'the configuration file, as --config',
  APPLIANCE_PLANTED_FAULT: 'the fault of an executable that is built for crash tests',
  APPLIANCE_BINARY: 'the executable that tests start',
};

/** A value as a user would write it in the file. */
export function writtenForm(path: KeyPath, effective: unknown): unknown {
  const { write } = keys[path].type;
  return write ? write(effective) : effective;
}

/** The name of a node that was given none. */
export function nodeName(hostname: string): string {
  const name = hostname
    .toLowerCase()
    .split('.')[0]!
    .replace(/[^a-z0-9-]/g, '-')
    .slice(0, 63)
    .replace(/^-+|-+$/g, '');
  return name === '' ? 'node' : name;
}

const gib = 2 ** 30;

/** How large each of three default OSD files is: a fifth of what is free, between 1 and 32 GiB, so that all of them fit on the disk. */
function defaultOsdBytes(freeBytes: number): number {
  return Math.max(gib, Math.min(32 * gib, Math.floor(freeBytes / 5 / gib) * gib));
}

/** What an OSD is on: its file, directory, device or serial number. */
export function osdPlace(osd: Partial<value.OsdEntry>): string {
  if (osd.serial !== undefined) return osd.partition === undefined ? osd.serial : `${osd.serial} ${osd.partition}`;
  return osd.device ?? osd.directory ?? osd.file ?? '';
}

function osdConfigs(given: readonly value.OsdEntry[] | undefined, { get, facts }: DefaultContext): OsdConfig[] {
  if (!get('roles').includes('osd')) return [];
  // Copies on other OSDs of one machine are for a cluster of one machine; who joins brings one.
  const remote = !get('roles').includes('mon') || facts.joined !== undefined || facts.joining === true;
  const entries: readonly value.OsdEntry[] =
    given ??
    (remote
      ? [{ file: `${get('dataDir')}/osd/osd.img` }]
      : Array.from({ length: 3 }, (_, id) => ({ id, file: `${get('dataDir')}/osd/osd.${id}.img` })));
  return entries.map((entry, index): OsdConfig => {
    const known = remote ? facts.osdIds?.[osdPlace(entry)] : undefined;
    const id = known?.id ?? entry.id ?? (remote ? unallocatedOsd : index);
    const identity = { id, ...(known ? { uuid: known.uuid } : {}) };
    if (entry.device !== undefined) return { ...identity, device: entry.device };
    if (entry.serial !== undefined)
      return {
        ...identity,
        serial: entry.serial,
        ...(entry.partition === undefined ? {} : { partition: entry.partition }),
      };
    if (entry.directory !== undefined)
      return { ...identity, directory: entry.directory, ...(entry.size === undefined ? {} : { size: entry.size }) };
    // An OSD that is there keeps its size while the disk around it fills up.
    const size = entry.size ?? facts.fileBytes?.(entry.file!) ?? defaultOsdBytes(facts.freeBytes);
    return { ...identity, file: entry.file!, size };
  });
}

/** The value of every key as a nested object; keys without a value are left out. */
export function nested(get: (path: KeyPath) => unknown): Record<string, unknown> {
  const config: Record<string, unknown> = {};
  for (const path of keyPaths) {
    const steps = path.split('.');
    let at = config;
    for (const step of steps.slice(0, -1)) {
      at[step] ??= {};
      at = at[step] as Record<string, unknown>;
    }
    const value = get(path);
    if (value !== undefined) at[steps.at(-1)!] = value;
  }
  return config;
}
