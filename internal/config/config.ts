/** The effective configuration of a node, every default filled in. `keys.ts` has a row for every key of it. */
export interface Config {
  readonly node: {
    readonly name: string;
    readonly ip: string;
    /** Set on the Node object when it registers, and set again when they are missing. */
    readonly labels: Readonly<Record<string, string>>;
    /** Set on the Node object when it registers. */
    readonly taints: readonly NodeTaint[];
  };
  readonly roles: readonly RoleName[];
  readonly dataDir: string;
  readonly runDir: string;
  readonly logLevel: 'debug' | 'info' | 'warn' | 'error';
  readonly cluster: {
    readonly podCIDR: string;
    readonly serviceCIDR: string;
    readonly dnsIP: string;
    readonly domain: string;
    readonly serviceNodePortRange: readonly [number, number];
    /**
     * How pods of other nodes are reached: `vxlan` in a tunnel, `host-gw` by plain routes (all nodes on one link), `auto` by plain routes where the link allows, else in
     * the tunnel, `none` not by us: somebody else's CNI plug-in does it.
     */
    readonly networkBackend: 'vxlan' | 'host-gw' | 'auto' | 'none';
  };
  readonly ports: {
    readonly api: number;
    readonly kubelet: number;
    readonly mon: number;
    /** Mons among themselves. */
    readonly monPeer: number;
    /** First of the ports that OSDs, mgr and mds take. */
    readonly ceph: number;
    readonly dns: number;
    readonly prometheus: number;
    /** S3, of the role rgw. */
    readonly rgw: number;
    /** The control-plane store, as etcd. */
    readonly etcd: number;
    /** Its members among themselves. */
    readonly etcdPeer: number;
  };
  /** Servers tell the local network by multicast DNS that they are there. */
  readonly mdns: boolean;
  readonly containerd: { readonly command: string; readonly cniBinDirs: readonly string[] };
  /** Image tarballs placed here are imported at start (docker or OCI archives). */
  readonly imagesDir: string;
  /** Manifests placed here are applied at start. */
  readonly manifestsDir: string;
  /** The server of the cluster that this node joins, `https://host:6443`; without it it is looked for on the network. */
  readonly server?: string;
  /** To join with, or on a server a secret that joining nodes may use. It stays out of what roles are given. */
  readonly token?: string;
  /** More addresses and names for the API server's certificate. */
  readonly tlsSans: readonly string[];
  /** Mode of the administrator's kubeconfig, octal. */
  readonly writeKubeconfigMode: string;
  /** Secrets are encrypted in the control-plane store. */
  readonly secretsEncryption: boolean;
  /** The record of who did what over the API. */
  readonly audit: {
    readonly enabled: boolean;
    /** An audit.k8s.io/v1 Policy; without it the one that is built in. */
    readonly policyFile?: string;
    /** A kubeconfig: where events are sent to. */
    readonly webhookConfigFile?: string;
    readonly logDir: string;
    readonly maxAgeDays: number;
    readonly maxBackups: number;
    readonly maxSizeMiB: number;
  };
  /** Memory budgets of roles in bytes; 0: none. `osd` is of each OSD. */
  readonly memory: {
    readonly server: number;
    readonly containerd: number;
    readonly agent: number;
    readonly edge: number;
    readonly mon: number;
    readonly mgr: number;
    readonly osd: number;
    readonly mds: number;
    readonly rgw: number;
  };
  /** A real etcd that keeps the control plane's data instead of the store here: `etcd://host:2379,host2:2379`. */
  readonly datastore?: string;
  /** PEM files for it: the authority of its certificate, and this cluster's client certificate and key. */
  readonly datastoreTls: { readonly caFile?: string; readonly certFile?: string; readonly keyFile?: string };
  /** Copies of the control-plane store. */
  readonly snapshots: {
    /** Hours between them; 0: none. */
    readonly everyHours: number;
    readonly keep: number;
    readonly dir: string;
    /** A bucket of any S3 that they are sent to as well: `https://host:port/bucket/prefix`. */
    readonly s3?: string;
    readonly s3Region: string;
    readonly s3AccessKey?: string;
    readonly s3SecretKey?: string;
  };
  /** How much of the store's history stays; with both 0 it is the API server that forgets, after five to ten minutes. */
  readonly compaction: { readonly keepMinutes: number; readonly keepRevisions: number };
  readonly storage: {
    /** Who stores: roles of this executable, the distribution's Ceph daemons under the same roles, or a Ceph cluster that is there already. */
    readonly engine: StorageEngine;
    readonly replication: number;
    readonly failureDomain: 'osd' | 'host';
    /** `none`: whoever reaches the network of the storage may do everything with it. */
    readonly auth: 'cephx' | 'none';
    readonly osd: readonly OsdConfig[];
  };
  /** The cluster of the engine `external`. On a node that joined, its servers' is meant and this is empty. */
  readonly externalCeph: {
    /** `host` or `host:port` of msgr v2. */
    readonly monHosts: readonly string[];
    readonly fsid?: string;
    /** Without `client.`. */
    readonly user: string;
    /** Base64 cephx secret. */
    readonly key?: string;
    /** A file that holds the key, alone or as a keyring. */
    readonly keyFile?: string;
    readonly pool: string;
  };
}

export const storageEngines = ['embedded', 'ceph', 'external'] as const;
export type StorageEngine = (typeof storageEngines)[number];

/**
 * Where one OSD keeps its data. `file`: a sparse file of `size` bytes made on first use; `directory`: an existing file system; `device`: a whole
 * disk or a partition, as a path below /dev or a name in /dev/disk/by-id; `serial`: a disk by its serial number, or one of its partitions.
 * `block-devices-system.ts` finds the device of the last two.
 */
export type OsdConfig = {
  readonly id: number;
  /** On a node that joined: what the mon knows the OSD's store by. */
  readonly uuid?: string;
} & (
  | { readonly file: string; readonly size: number }
  | { readonly directory: string; readonly size?: number }
  | { readonly device: string }
  | { readonly serial: string; readonly partition?: number }
);

/** The id of an OSD that the mon has not given one yet: only on nodes that joined, before they start. */
export const unallocatedOsd = -1;

/** What a node that joined knows of its cluster; kept in `identity/cluster.json`. */
export interface JoinedCluster {
  readonly format: 1;
  readonly node: string;
  /** Roles to run when the file names none. */
  readonly roles: readonly RoleName[];
  /** SHA-256 of the cluster's CA file: finds the cluster's servers on the network. */
  readonly caHash: string;
  readonly cluster: Config['cluster'];
  readonly ports: { readonly dns: number };
  /** Without an engine: `embedded`. */
  readonly ceph?: {
    readonly fsid: string;
    readonly monHosts: readonly string[];
    readonly engine?: StorageEngine;
    /** Absent: `cephx`. */
    readonly auth?: 'none';
  };
}

export type RoleName = 'server' | 'agent' | 'mon' | 'mgr' | 'osd' | 'mds' | 'rgw';

/** `key=value:effect` (core/v1 Taint). */
export interface NodeTaint {
  readonly key: string;
  readonly value?: string;
  readonly effect: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
}

/** The path of every key of `T`: `node.name`, `storage.osd`. Lists and maps with free keys are one key. */
type KeyPathOf<T, Prefix extends string = ''> = {
  [K in keyof T & string]-?: T[K] extends readonly unknown[]
    ? `${Prefix}${K}`
    : T[K] extends object
      ? string extends keyof T[K]
        ? `${Prefix}${K}`
        : KeyPathOf<T[K], `${Prefix}${K}.`>
      : `${Prefix}${K}`;
}[keyof T & string];
export type KeyPath = KeyPathOf<Config>;

/** The type of the value at a path. */
export type KeyValue<P extends string, T = Config> = P extends `${infer Head}.${infer Rest}`
  ? Head extends keyof T
    ? KeyValue<Rest, T[Head]>
    : never
  : P extends keyof T
    ? T[P]
    : never;

/** The value at a path. */
export function valueAt<P extends KeyPath>(config: Config, path: P): KeyValue<P> {
  return path
    .split('.')
    .reduce<unknown>((value, key) => (value as Record<string, unknown>)[key], config) as KeyValue<P>;
}
