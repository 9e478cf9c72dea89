import type { Clock } from '../../base/clock.ts';
import type { Refusal } from '../mon/errno.ts';
import type { BlockStore } from '../blockstore/blockstore.ts';
import type { PeerPingTimes } from '../wire/messages/osd_mgr.ts';
import type { Osd } from './osd.ts';
import type { OsdSettings } from './osd-settings.ts';

/** What a command of `ceph tell osd.N` may use of the OSD. */
export interface CommandTarget {
  readonly whoami: number;
  readonly fsid: string;
  /** Of the store. */
  readonly uuid: string;
  readonly version: string;
  readonly clock: Clock;
  readonly osd: Osd;
  readonly store: Pick<BlockStore, 'statfs' | 'status' | 'checkpoint' | 'queue'>;
  readonly settings: OsdSettings;
  /** Those who do not ask for settings each time are told. */
  settingsChanged(): void;
  /** Of the process, in bytes by kind. */
  memory(): Readonly<Record<string, number>>;
  up(): boolean;
  mapEpochs(): { oldest: number; newest: number };
  pings(): PeerPingTimes[];
  /** Sends statistics now; gives the sequence number of the report. */
  flushStats(): number;
  sendBeacon(): void;
  /** Levels are those of `messages/log.ts`. */
  clusterLog(level: number, text: string): void;
}

export interface Parameter {
  name: string;
  type: string;
  req?: 'false';
  n?: 'N';
  /** Choices, separated by `|`. */
  strings?: string;
  range?: string;
}

/** What was given with a command, by parameter. */
export type CommandArguments = Readonly<Record<string, unknown>>;

/** An answer with a line for standard error beside what is shown. */
export class Answer {
  constructor(
    readonly value: unknown,
    readonly status: string,
  ) {}
}

export interface Command {
  sig: readonly (string | Parameter)[];
  help: string;
  perm: string;
  /** Gives a text as it is, or what is shown as JSON; undefined: nothing. Errors: `Refusal`. */
  run(target: CommandTarget, args: CommandArguments): unknown;
}

export type { Refusal };
