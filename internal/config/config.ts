/** The effective configuration of a node, every default filled in. `schema.ts` reads it from `appliance.yaml`. */
export interface Config {
  readonly node: { readonly name: string; readonly ip: string; readonly labels: Readonly<Record<string, string>> };
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
  };
  readonly ports: {
    readonly api: number;
    readonly kubelet: number;
    readonly mon: number;
    /** First of the ports that OSDs, mgr and mds take. */
    readonly ceph: number;
    readonly dns: number;
    readonly prometheus: number;
  };
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
  readonly storage: {
    readonly engine: 'embedded';
    readonly replication: number;
    readonly failureDomain: 'osd' | 'host';
    readonly osd: readonly OsdConfig[];
  };
}

/** Where one OSD keeps its data. `file`: a sparse file of `size` bytes made on first use; `directory`: an existing file system. */
export type OsdConfig = { readonly id: number } & (
  | { readonly file: string; readonly size: number }
  | { readonly directory: string; readonly size?: number }
  | { readonly device: string }
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
  readonly ceph?: { readonly fsid: string; readonly monHosts: readonly string[] };
}

export type RoleName = 'server' | 'agent' | 'mon' | 'mgr' | 'osd';
