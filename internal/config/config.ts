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

export type RoleName = 'server' | 'agent' | 'mon' | 'mgr' | 'osd';
