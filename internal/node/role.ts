import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { Config } from '../config/config.ts';

/** What a role's process is given. It must not read files or the environment for anything that is here. */
export interface RoleContext {
  /** `osd` of `osd.2`. */
  readonly role: string;
  /** `osd.2`; equal to the role where a node has one. */
  readonly instance: string;
  readonly config: Config;
  readonly paths: Paths;
  readonly log: Logger;
  readonly clock: Clock;
  readonly random: Random;
  /** Ends when the supervisor asks for an ordered stop. */
  readonly stopping: AbortSignal;
}

/** A running role. */
export interface RoleHandle {
  /** Called every few seconds; `ok: false` for a minute makes the supervisor restart the process. `detail` is one plain sentence. */
  health(): { ok: boolean; detail: string };
  /** Ends in order, everything acknowledged on disk; the supervisor kills after the role's stop deadline. */
  stop(): Promise<void>;
}

/** The entry point of a role: resolves when the role serves. A throw is reported and the process ends. */
export type StartRole = (context: RoleContext) => Promise<RoleHandle>;

/** Every place on disk, derived from `dataDir` and `runDir` only (`internal/node/paths.ts`). */
export interface Paths {
  readonly dataDir: string;
  readonly runDir: string;
  /** Certificates, keys, kubeconfigs. */
  readonly pki: string;
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
  readonly adminKubeconfig: string;
  readonly logs: string;
  readonly controlSocket: string;
}
