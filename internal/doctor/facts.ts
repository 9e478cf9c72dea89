import type { AuthorityLife } from '../pki/authority-ends.ts';

/**
 * What a machine is like, as far as the checks ask. The shells read it; everything here is data, so that a Raspberry Pi or a host with Docker is a value in a test.
 */

/** What could not be found out, with the reason. */
export interface Unknown {
  readonly unknown: string;
}
export type Fact<T> = T | Unknown;

export const isUnknown = (fact: unknown): fact is Unknown =>
  typeof fact === 'object' && fact !== null && 'unknown' in fact;

export interface MachineInfo {
  readonly architecture: string;
  readonly kernel: string;
  /** `Raspberry Pi 4 Model B Rev 1.4`, from the device tree; empty where there is none. */
  readonly model: string;
  /** The file that holds the kernel's command line at boot, where there is one that people edit. */
  readonly commandLineFile: string | undefined;
  readonly commandLine: string;
  readonly root: boolean;
}

export interface Cgroups {
  /** 1 and 2 as mounted at /sys/fs/cgroup, `hybrid` where v1 controllers and a v2 tree are. */
  readonly version: 1 | 2 | 'hybrid' | 'none';
  readonly controllers: readonly string[];
}

/** `builtin`: in the kernel; `loaded`; `loadable`: a file that modprobe finds; `missing`. */
export type ModuleState = 'builtin' | 'loaded' | 'loadable' | 'missing';

export interface TimeFacts {
  readonly nowMs: number;
  /** When this program was made; undefined for a run from source. */
  readonly builtMs: number | undefined;
  /** The newest change in the data directory: the clock has been there already. */
  readonly lastMs: number | undefined;
  /** The time that the node noted last; its roles' clocks never show less. Undefined before the first start. */
  readonly lastKnownMs: number | undefined;
  /** The cluster's authorities whose certificates this machine has. */
  readonly authorities: readonly AuthorityLife[];
  /** What the kernel says (adjtimex(2)): kept in step by some time service. */
  readonly synchronized: Fact<boolean>;
  /** Largest error of the clock as the time service estimates it, in milliseconds. */
  readonly maxErrorMs: number | undefined;
  /** Time services that run: `chronyd`, `systemd-timesyncd`, `ntpd`. */
  readonly services: readonly string[];
  /** Clock of the cluster's server minus this one's, in milliseconds; undefined where there is no other server. */
  readonly serverSkewMs: number | undefined;
}

export interface SyncProbe {
  readonly what: string;
  readonly path: string;
  /** Durations of fdatasync after a write of 4 KiB. */
  readonly timesMs: Fact<readonly number[]>;
}

export interface SpaceFact {
  readonly what: string;
  readonly path: string;
  /** Of the file system: `ext4`, `tmpfs`. */
  readonly type: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly freeInodes: number;
  /** 0 where the file system has no fixed number. */
  readonly totalInodes: number;
}

export interface MemoryFacts {
  readonly totalBytes: number;
  readonly availableBytes: number;
  /** Swap that is not compressed memory. */
  readonly diskSwapBytes: number;
  readonly zramBytes: number;
}

export interface Listener {
  readonly port: number;
  readonly protocol: 'tcp' | 'udp';
  /** '' for every address. */
  readonly address: string;
  /** Undefined for a socket of the kernel, or one that is not shown to us. */
  readonly pid: number | undefined;
  readonly command: string;
  /** One of this appliance's processes. */
  readonly own: boolean;
  /** A role of another appliance on this machine: its run directory, and the process of its supervisor. */
  readonly otherAppliance?: { readonly runDir: string; readonly pid: number } | undefined;
}

export interface TunnelDevice {
  readonly name: string;
  readonly id: number;
  readonly port: number;
  readonly own: boolean;
}

export interface ProgramFact {
  readonly name: string;
  readonly path: string | undefined;
  /** The first line that it prints of its version. */
  readonly version: string;
}

/** A disk, file or directory that a configured OSD is on, or a disk that looks like somebody's OSD. */
export interface DiskFact {
  readonly path: string;
  /** The configured OSD that it is for. */
  readonly osd: number | undefined;
  readonly exists: boolean;
  readonly inUse: boolean;
  /** Whose store it holds: `osd.2 of cluster <fsid>, store <uuid>`, a Ceph BlueStore's or nobody's. */
  readonly owner: Fact<string | undefined>;
  readonly ownerFsid: string | undefined;
}

/** A chain of somebody else's that sees forwarded or incoming packets and drops what it does not know. */
export interface DroppingChain {
  readonly hook: 'forward' | 'input';
  readonly family: string;
  readonly table: string;
  readonly chain: string;
  /** Whose: decided by names of tables and chains. */
  readonly owner: 'docker' | 'ufw' | 'firewalld' | 'unknown';
  /** A rule in the same table lets the pod network pass. */
  readonly letsPods: boolean;
}

export interface CardFact {
  readonly device: string;
  /** `SD` or `MMC`. */
  readonly type: string;
  /** Used life in tenths (JEDEC eMMC 5.1 EXT_CSD 268, 269): 1 is up to 10 %, 11 is over. Absent on SD cards. */
  readonly lifeTenths: readonly number[];
  /** 1 normal, 2 warning, 3 urgent (EXT_CSD 267). */
  readonly preEndOfLife: number | undefined;
}

export interface HostName {
  readonly name: string;
  /** Addresses that the machine resolves it to. */
  readonly addresses: Fact<readonly string[]>;
}

export interface Facts {
  readonly machine: MachineInfo;
  readonly cgroups: Fact<Cgroups>;
  readonly modules: Fact<Readonly<Record<string, ModuleState>>>;
  readonly time: TimeFacts;
  readonly sync: readonly SyncProbe[];
  readonly space: readonly SpaceFact[];
  readonly memory: Fact<MemoryFacts>;
  readonly listeners: Fact<readonly Listener[]>;
  readonly tunnels: Fact<readonly TunnelDevice[]>;
  readonly programs: readonly ProgramFact[];
  /** CNI plug-ins by the directory they were found in. */
  readonly cniPlugins: Readonly<Record<string, readonly string[]>>;
  readonly addresses: readonly string[];
  readonly disks: readonly DiskFact[];
  /** The storage cluster that the node belongs to; undefined when it has none yet. */
  readonly storageFsid: string | undefined;
  /** The fsid of the external Ceph cluster, as it answers; undefined where the storage is this node's or its servers'. */
  readonly externalCeph: Fact<string | undefined>;
  /** Bits of the firmware's `get_throttled`; undefined where there is no such firmware. */
  readonly throttled: Fact<number | undefined>;
  readonly firewall: Fact<readonly DroppingChain[]>;
  readonly sysctls: Readonly<Record<string, string | undefined>>;
  readonly hostName: HostName;
  readonly cards: readonly CardFact[];
  /** The node runs. */
  readonly running: boolean;
}

export type FactName = keyof Facts;
