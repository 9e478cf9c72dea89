import { utf8 } from '../../base/bytes.ts';
import { assert } from '../../base/errors.ts';
import type { AuthEntry, RotatingSecret } from '../auth/api.ts';
import { applyIncremental } from '../maps/apply.ts';
import { OsdMapIncremental } from '../maps/incremental.ts';
import { encodeIncremental } from '../maps/incremental-codec.ts';
import { encodeMgrMap, type MgrMap } from '../maps/mgrmap.ts';
import { encodeMonMap, type MonMap } from '../maps/monmap.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { encodeOsdMap } from '../maps/osdmap-codec.ts';
import { encodeServiceMap, type ServiceMap } from '../maps/servicemap.ts';
import { type UTime, utimeFromMs } from '../wire/encoding.ts';
import { LOG_DEBUG, type LogEntry } from '../wire/messages/log.ts';
import { entryToJson, secretsToJson } from './auth-state.ts';
import { configHistoryLength } from './config-state.ts';
import { keys } from './keys.ts';
import { logLinesKept, logToJson } from './log-lines.ts';
import { finishIncremental } from './osd/finish.ts';
import type { HealthMute, Metadata, MonState } from './state.ts';

/** One change of the store; no value: the key is removed. */
export interface StoreChange {
  key: string;
  value?: Uint8Array;
}

/** A whole map is stored at every so many epochs; the increments between lead to the others. */
export const fullMapEvery = 32;

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function json(value: unknown): Uint8Array {
  return utf8(JSON.stringify(value));
}

/**
 * The next state while it is made: changes go through methods that note what has to be stored. Nothing here is seen by anybody before the
 * commit. Given to mutators, which are synchronous functions; one that throws leaves no trace (`branch`).
 */
export class Draft {
  state: Mutable<MonState>;
  readonly changes: StoreChange[];
  readonly nowMs: number;
  /** Increments made, by epoch, encoded. */
  readonly increments: Map<number, Uint8Array>;
  /** Lines for the cluster log, added when the commit is put together. */
  readonly lines: Omit<LogEntry, 'seq' | 'stamp'>[];

  constructor(state: MonState, nowMs: number) {
    this.state = { ...state };
    this.nowMs = nowMs;
    this.changes = [];
    this.increments = new Map();
    this.lines = [];
  }

  get now(): UTime {
    return utimeFromMs(this.nowMs);
  }

  get empty(): boolean {
    return this.changes.length === 0 && this.lines.length === 0;
  }

  /** Runs `fn`; when it throws, everything it did to the draft is undone. */
  branch<R>(fn: (draft: Draft) => R): R {
    const before = { ...this.state };
    const marks = [this.changes.length, this.lines.length] as const;
    const epochs = new Set(this.increments.keys());
    try {
      return fn(this);
    } catch (error) {
      this.state = before;
      this.changes.length = marks[0];
      this.lines.length = marks[1];
      for (const epoch of this.increments.keys()) if (!epochs.has(epoch)) this.increments.delete(epoch);
      throw error;
    }
  }

  put(key: string, value: Uint8Array): void {
    this.changes.push({ key, value });
  }
  remove(key: string): void {
    this.changes.push({ key });
  }

  /**
   * Makes the next OSDMap epoch: `change` fills in the increment, and may return false to make none. Gives the map that holds afterwards.
   */
  osdmap(change: (inc: OsdMapIncremental, map: OsdMap) => unknown): OsdMap {
    const map = this.state.osdmap;
    const inc = new OsdMapIncremental(map.epoch + 1);
    inc.fsid = this.state.fsid;
    inc.modified = this.now;
    if (change(inc, map) === false) return map;
    finishIncremental(inc, map, this.now);
    const next = applyIncremental(map, inc);
    const full = encodeOsdMap(next);
    inc.fullCrc = next.crc;
    const bytes = encodeIncremental(inc);
    this.put(keys.osdIncrement(next.epoch), bytes);
    this.increments.set(next.epoch, bytes);
    if (next.epoch === 1 || next.epoch % fullMapEvery === 0) this.put(keys.osdFull(next.epoch), full);
    this.put(keys.osdLast, utf8(String(next.epoch)));
    this.state.osdmap = next;
    return next;
  }

  /** Forgets increments before `first`; the whole map that leads to `first` stays. */
  trimOsdmaps(first: number): void {
    const { osdmapFirst } = this.state;
    assert(first <= this.state.osdmap.epoch, 'maps are trimmed below the newest');
    const base = Math.max(1, first - (first % fullMapEvery));
    const from = Math.max(1, osdmapFirst - (osdmapFirst % fullMapEvery));
    for (let epoch = from; epoch < base; epoch++) {
      this.remove(keys.osdIncrement(epoch));
      if (epoch === 1 || epoch % fullMapEvery === 0) this.remove(keys.osdFull(epoch));
    }
    this.put(keys.osdFirst, utf8(String(first)));
    this.state.osdmapFirst = first;
  }

  setMonMap(map: MonMap): void {
    this.state.monmap = map;
    this.put(keys.monmap, encodeMonMap(map));
  }

  setMgrMap(map: MgrMap): void {
    this.state.mgrmap = map;
    this.put(keys.mgrmap, encodeMgrMap(map));
  }

  setServiceMap(map: ServiceMap): void {
    this.state.servicemap = map;
    this.put(keys.servicemap, encodeServiceMap(map));
  }

  setEntity(name: string, entry: AuthEntry): void {
    const entities = new Map(this.state.auth.entities).set(name, entry);
    this.state.auth = { ...this.state.auth, entities };
    this.put(keys.authEntity(name), json(entryToJson(entry)));
  }

  /** Adds entities of keyring files that were never taken before. */
  importEntities(entries: ReadonlyMap<string, AuthEntry>): void {
    const fresh = [...entries].filter(([name]) => !this.state.auth.imported.includes(name));
    if (fresh.length === 0) return;
    for (const [name, entry] of fresh) if (!this.state.auth.entities.has(name)) this.setEntity(name, entry);
    const imported = [...this.state.auth.imported, ...fresh.map(([name]) => name)];
    this.state.auth = { ...this.state.auth, imported };
    this.put(keys.authImported, json(imported));
  }

  removeEntity(name: string): void {
    const entities = new Map(this.state.auth.entities);
    entities.delete(name);
    this.state.auth = { ...this.state.auth, entities };
    this.remove(keys.authEntity(name));
  }

  setRotating(service: number, secrets: readonly RotatingSecret[]): void {
    const rotating = new Map(this.state.auth.rotating).set(service, secrets);
    this.state.auth = { ...this.state.auth, rotating };
    this.put(keys.authRotating(service), json(secretsToJson(secrets)));
  }

  reserveGlobalIds(below: number): void {
    this.state.auth = { ...this.state.auth, reservedGlobalId: below };
    this.put(keys.authReserved, utf8(String(below)));
  }

  /** Sets (or with undefined removes) options; one version and one line of history. */
  setConfig(what: string, changes: readonly { who: string; name: string; value: string | undefined }[]): void {
    const { config } = this.state;
    const version = config.version + 1;
    const values = new Map(config.values);
    const noted: { who: string; name: string; previous: string | undefined; value: string | undefined }[] = [];
    for (const { who, name, value } of changes) {
      const section = new Map(values.get(who) ?? []);
      noted.push({ who, name, previous: section.get(name), value });
      if (value === undefined) {
        section.delete(name);
        this.remove(keys.config(who, name));
      } else {
        section.set(name, value);
        this.put(keys.config(who, name), utf8(value));
      }
      if (section.size === 0) values.delete(who);
      else values.set(who, section);
    }
    const entry = { version, timeMs: this.nowMs, name: what, changes: noted };
    const history = [...config.history, entry];
    this.put(keys.configHistory(version), json(entry));
    while (history.length > configHistoryLength) this.remove(keys.configHistory(history.shift()!.version));
    this.state.config = { version, values, history };
    this.put(keys.configVersion, utf8(String(version)));
  }

  setConfigKey(key: string, value: Uint8Array | undefined): void {
    const configKeys = new Map(this.state.configKeys);
    if (value === undefined) {
      configKeys.delete(key);
      this.remove(keys.configKey(key));
    } else {
      configKeys.set(key, value);
      this.put(keys.configKey(key), value);
    }
    this.state.configKeys = configKeys;
  }

  setOsdMetadata(osd: number, metadata: Metadata | undefined): void {
    const all = this.#withMetadata(this.state.osdMetadata, osd, keys.osdMetadata(osd), metadata);
    this.state.osdMetadata = new Map([...all].sort(([a], [b]) => a - b));
  }

  setMgrMetadata(name: string, metadata: Metadata | undefined): void {
    this.state.mgrMetadata = this.#withMetadata(this.state.mgrMetadata, name, keys.mgrMetadata(name), metadata);
  }

  setMonMetadata(name: string, metadata: Metadata | undefined): void {
    this.state.monMetadata = this.#withMetadata(this.state.monMetadata, name, keys.monMetadata(name), metadata);
  }

  /** `known` with a daemon's metadata, or without it; the store alike. */
  #withMetadata<K>(
    known: ReadonlyMap<K, Metadata>,
    who: K,
    key: string,
    metadata: Metadata | undefined,
  ): Map<K, Metadata> {
    const all = new Map(known);
    if (metadata === undefined) {
      all.delete(who);
      this.remove(key);
    } else {
      all.set(who, metadata);
      this.put(key, json(Object.fromEntries(metadata)));
    }
    return all;
  }

  setMutes(mutes: readonly HealthMute[]): void {
    this.state.mutes = mutes;
    this.put(keys.healthMutes, json(mutes));
  }

  /** Adds a line to the cluster log. */
  log(line: Omit<LogEntry, 'seq' | 'stamp'>): void {
    this.lines.push(line);
  }

  /** Adds lines that have their stamps already. Debug lines live in memory only: they come every few seconds. */
  addLog(lines: readonly LogEntry[]): void {
    if (lines.length === 0) return;
    let id = this.state.logId;
    const log = [...this.state.log];
    for (const entry of lines) {
      const line = { id: ++id, entry };
      log.push(line);
      if (entry.level !== LOG_DEBUG) this.put(keys.logLine(id), json(logToJson(entry)));
      if (log.length > logLinesKept) {
        const oldest = log.shift()!;
        if (oldest.entry.level !== LOG_DEBUG) this.remove(keys.logLine(oldest.id));
      }
    }
    this.state.log = log;
    this.state.logId = id;
  }

  /** Called once before the commit. */
  finish(): void {
    const stamp = this.now;
    this.addLog(this.lines.map((line, i) => ({ ...line, stamp, seq: this.state.logId + i + 1 })));
    this.lines.length = 0;
  }
}
