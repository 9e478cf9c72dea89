import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { Config } from '../config/config.ts';
import type { Paths } from '../config/paths.ts';

export type { Paths } from '../config/paths.ts';

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
  /**
   * While a start waits for what is not on this machine: told every few seconds, with what it is in one plain sentence. The start's deadline counts from
   * the last call.
   */
  waits(detail: string): void;
  /** The role cannot go on: its process ends with this reason, and is started again. */
  fail(error: unknown): void;
  /** Servers of the cluster that answer on the local network; absent where they are not to be looked for. */
  readonly discover?: ((signal: AbortSignal) => Promise<readonly { node: string; address: string }[]>) | undefined;
  /** Ends when the supervisor asks for an ordered stop. */
  readonly stopping: AbortSignal;
}

/** A running role. */
export interface RoleHandle {
  /** Called every few seconds; `ok: false` for a minute makes the supervisor restart the process. `detail` is one plain sentence. */
  health(): { ok: boolean; detail: string };
  /** Files that it reads at its start have changed: reads them again. Absent: it takes nothing while it runs. */
  reload?(): Promise<void>;
  /** Ends in order, everything acknowledged on disk; the supervisor kills after the role's stop deadline. */
  stop(): Promise<void>;
}

/** The entry point of a role: resolves when the role serves. A throw is reported and the process ends. */
export type StartRole = (context: RoleContext) => Promise<RoleHandle>;
