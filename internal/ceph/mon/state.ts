import type { OsdMap } from '../maps/osdmap.ts';
import { OsdMap as EmptyOsdMap } from '../maps/osdmap.ts';
import { emptyMgrMap, type MgrMap } from '../maps/mgrmap.ts';
import type { MonMap } from '../maps/monmap.ts';
import { newMonMap } from '../maps/monmap.ts';
import { emptyServiceMap, type ServiceMap } from '../maps/servicemap.ts';
import { utimeZero } from '../wire/encoding.ts';
import type { LogEntry } from '../wire/messages/log.ts';
import { type AuthState, emptyAuth } from './auth-state.ts';
import { type ConfigState, emptyConfig } from './config-state.ts';

export type Metadata = ReadonlyMap<string, string>;

/** A health check that a person does not want to hear of. */
export interface HealthMute {
  code: string;
  /** Comes back when the check is gone and appears again, or gets worse; false: until unmuted or `expiresMs`. */
  sticky: boolean;
  /** 0: no limit. */
  expiresMs: number;
  summary: string;
  count: number;
}

/** Everything the mon keeps. Immutable: a commit replaces it by the next one, so whoever reads sees only what is on disk. */
export interface MonState {
  readonly fsid: string;
  readonly monmap: MonMap;
  readonly osdmap: OsdMap;
  /** Oldest epoch of which the increment is kept. */
  readonly osdmapFirst: number;
  readonly auth: AuthState;
  readonly config: ConfigState;
  /** `config-key`. */
  readonly configKeys: ReadonlyMap<string, Uint8Array>;
  readonly mgrmap: MgrMap;
  readonly servicemap: ServiceMap;
  readonly osdMetadata: ReadonlyMap<number, Metadata>;
  readonly mgrMetadata: ReadonlyMap<string, Metadata>;
  /** By the name of the mon. */
  readonly monMetadata: ReadonlyMap<string, Metadata>;
  readonly mutes: readonly HealthMute[];
  /** The newest lines of the cluster log, oldest first, numbered through over all channels. */
  readonly log: readonly { readonly id: number; readonly entry: LogEntry }[];
  readonly logId: number;
}

export function emptyState(): MonState {
  return {
    fsid: '',
    monmap: newMonMap({ fsid: '', created: utimeZero, mons: [] }),
    osdmap: new EmptyOsdMap(),
    osdmapFirst: 1,
    auth: emptyAuth,
    config: emptyConfig,
    configKeys: new Map(),
    mgrmap: { ...emptyMgrMap, epoch: 0 },
    servicemap: emptyServiceMap,
    osdMetadata: new Map(),
    mgrMetadata: new Map(),
    monMetadata: new Map(),
    mutes: [],
    log: [],
    logId: 0,
  };
}
