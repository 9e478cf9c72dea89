import { utf8, utf8Text } from '../../base/bytes.ts';
import { errorCode } from '../../base/errors.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { KeyValue, Store, Watch, WatchEvent } from '../../store/api.ts';
import { expired, StatusError } from '../machinery/status.ts';
import { prefixEnd, registryEnd, registryPrefix, splitKey } from './keys.ts';
import type { AtRest } from './encryption/at-rest.ts';
import { isEncrypted } from './encryption/providers.ts';
import { isRecord, StoredRecord } from './record.ts';

/** One change of one object. Shared by all watchers: `rendered` holds its bytes per form once somebody needed them. */
export interface Change {
  readonly revision: number;
  readonly prefix: string;
  /** `[namespace/]name`. */
  readonly rest: string;
  /** The object after the change; undefined when it was deleted. */
  readonly current: StoredRecord | undefined;
  /** The object before the change; undefined when it was created. */
  readonly previous: StoredRecord | undefined;
  /** Why `current` or `previous` is missing: what is stored cannot be decrypted. */
  readonly unreadable?: StatusError;
  readonly rendered: Map<string, Uint8Array>;
}

export interface Subscriber {
  /** Changes in revision order; all of one call are newer than those of earlier calls. */
  onChanges(changes: readonly Change[]): void;
  /** The subscription ended by itself; the client has to list again when it is a 410. */
  onEnd(error: StatusError): void;
}

export interface Subscription {
  /** Everything up to this revision was delivered: what a bookmark may say. */
  progress(): number;
  close(): void;
}

interface Member {
  prefix: string;
  /** `namespace/` or '' for all. */
  scope: string;
  after: number;
  subscriber: Subscriber;
}

const bytesMax = 8 * 1024 * 1024;
const changesMax = 20_000;
/** Revisions before the start that are read into the window. */
const historyAtStart = 1000;

/**
 * One watch on the store for everything, a bounded window of recent changes, and any number of subscribers: N watches of clients cost no watch of
 * the store. A subscriber that starts before the window reads the store's history until it has caught up.
 */
export class WatchHub {
  readonly #store: Store;
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #atRest: AtRest;
  readonly #members = new Map<string, Set<Member>>();
  #window: Change[] = [];
  #windowAt = 0;
  #bytes = 0;
  /** Changes of revisions up to this one may be missing in the window. */
  #floor: number;
  #revision: number;
  #watch: Watch | undefined;
  #retry: Timer | undefined;
  #closed = false;

  constructor(store: Store, clock: Clock, log: Logger, atRest: AtRest, history = historyAtStart) {
    this.#store = store;
    this.#atRest = atRest;
    this.#clock = clock;
    this.#log = log;
    // A little history, so that clients that come back after a restart find where they were.
    this.#revision = Math.max(store.compactRevision, store.revision - history, 0);
    this.#floor = this.#revision;
    this.#open();
  }

  /** Every change up to this revision was handed to the subscribers. */
  get revision(): number {
    return this.#revision;
  }

  get subscribers(): number {
    let count = 0;
    for (const members of this.#members.values()) count += members.size;
    return count;
  }

  #open(): void {
    this.#watch = this.#store.watch(
      { key: registryPrefix, rangeEnd: registryEnd, startRevision: this.#revision + 1, prevKv: true },
      {
        onEvents: (events, revision) => this.#take(events, revision),
        onEnd: (error) => {
          if (this.#closed) return;
          this.#log.warn('watch on the store ended', { error });
          this.#endAll(expired(`the watch on the store ended: ${error.message}`));
          this.#retry = this.#clock.after(200, () => {
            if (this.#closed) return;
            this.#window = [];
            this.#windowAt = 0;
            this.#bytes = 0;
            this.#revision = this.#store.revision;
            this.#floor = this.#revision;
            this.#open();
          });
        },
      },
    );
  }

  #take(events: readonly WatchEvent[], revision: number): void {
    let byPrefix: Map<string, Change[]> | undefined;
    for (const event of events) {
      if (!isRecord(event.kv.value)) this.#atRest.take(event.kv);
      const change = this.#toChange(event);
      if (change === undefined) continue;
      this.#window.push(change);
      this.#bytes += sizeOf(change);
      if (!this.#members.has(change.prefix)) continue;
      byPrefix ??= new Map();
      const list = byPrefix.get(change.prefix);
      if (list === undefined) byPrefix.set(change.prefix, [change]);
      else list.push(change);
    }
    this.#revision = Math.max(this.#revision, revision);
    this.#trim();
    if (byPrefix === undefined) return;
    for (const [prefix, changes] of byPrefix)
      for (const member of [...(this.#members.get(prefix) ?? [])]) if (!deliver(member, changes)) this.#leave(member);
  }

  #toChange(event: WatchEvent): Change | undefined {
    const { kv, prevKv } = event;
    const where = splitKey(kv.key);
    const value = event.type === 'put' ? kv.value : prevKv?.value;
    // Allocation marks and the like are no objects.
    if (where === undefined || value === undefined || !(isRecord(value) || isEncrypted(value))) return undefined;
    const change = { revision: kv.modRevision, ...where, rendered: new Map<string, Uint8Array>() };
    try {
      return {
        ...change,
        current: event.type === 'put' ? this.#record(kv) : undefined,
        previous: prevKv === undefined ? undefined : this.#record(prevKv),
      };
    } catch (error) {
      if (!(error instanceof StatusError)) throw error;
      return { ...change, current: undefined, previous: undefined, unreadable: error };
    }
  }

  #record(kv: KeyValue): StoredRecord {
    const value = isRecord(kv.value) ? kv.value : this.#atRest.open(utf8Text(kv.key), kv.value);
    return new StoredRecord(value, kv.modRevision);
  }

  #trim(): void {
    while (this.#bytes > bytesMax || this.#window.length - this.#windowAt > changesMax) {
      const oldest = this.#window[this.#windowAt++]!;
      this.#bytes -= sizeOf(oldest);
      this.#floor = oldest.revision;
    }
    if (this.#windowAt > 4096 && this.#windowAt * 2 > this.#window.length) {
      this.#window = this.#window.slice(this.#windowAt);
      this.#windowAt = 0;
    }
  }

  /**
   * Calls `subscriber` with every change below `prefix` (a resource's) and `scope` (`namespace/` or '') after revision `after`; those of the past at
   * once, in this call, when the window still has them. Throws the 410 StatusError when they are forgotten.
   */
  subscribe(prefix: string, scope: string, after: number, subscriber: Subscriber): Subscription {
    const member: Member = { prefix, scope, after, subscriber };
    if (after < this.#floor) return this.#catchUp(member);
    this.#join(member);
    return { progress: () => Math.max(after, this.#revision), close: () => this.#leave(member) };
  }

  #join(member: Member): void {
    const past: Change[] = [];
    for (let i = this.#window.length - 1; i >= this.#windowAt; i--) {
      const change = this.#window[i]!;
      if (change.revision <= member.after) break;
      if (change.prefix === member.prefix) past.push(change);
    }
    let members = this.#members.get(member.prefix);
    if (members === undefined) {
      members = new Set();
      this.#members.set(member.prefix, members);
    }
    members.add(member);
    if (past.length > 0 && !deliver(member, past.reverse())) this.#leave(member);
  }

  #leave(member: Member): void {
    const members = this.#members.get(member.prefix);
    members?.delete(member);
    if (members?.size === 0) this.#members.delete(member.prefix);
  }

  /** Reads history from the store; joins the others with the first change that the window reaches back to. */
  #catchUp(member: Member): Subscription {
    if (member.after < this.#store.compactRevision) throw tooOld(member.after, this.#store.compactRevision);
    let own: Watch | undefined;
    let state: 'history' | 'joined' | 'closed' = 'history';
    own = this.#store.watch(
      { key: utf8(member.prefix), rangeEnd: prefixEnd(member.prefix), startRevision: member.after + 1, prevKv: true },
      {
        onEvents: (events, revision) => {
          if (state !== 'history') return;
          const goesOn = deliver(
            member,
            events.map((event) => this.#toChange(event)).filter((change) => change !== undefined),
          );
          if (!goesOn) {
            state = 'closed';
            own?.close();
            return;
          }
          if (revision < this.#floor || revision > this.#revision) return;
          state = 'joined';
          own?.close();
          this.#join(member);
        },
        onEnd: (error) => {
          if (state !== 'history') return;
          state = 'closed';
          const compacted = errorCode(error) === 'COMPACTED' || /compacted/i.test(error.message);
          member.subscriber.onEnd(
            compacted ? tooOld(member.after, this.#store.compactRevision) : expired(error.message),
          );
        },
      },
    );
    return {
      // Where nothing of the resource changes, a bookmark has to go on all the same: what stands still is compacted away.
      progress: () => (state === 'joined' ? this.#revision : Math.max(member.after, own.progress())),
      close: () => {
        if (state === 'joined') this.#leave(member);
        state = 'closed';
        own?.close();
      },
    };
  }

  /** Ends the subscriptions below a prefix: what they see has changed its form, or is gone. */
  end(prefix: string): void {
    const members = [...(this.#members.get(prefix) ?? [])];
    this.#members.delete(prefix);
    for (const member of members) member.subscriber.onEnd(expired('the definition of this resource has changed'));
  }

  #endAll(error: StatusError): void {
    const all = [...this.#members.values()].flatMap((members) => [...members]);
    this.#members.clear();
    for (const member of all) member.subscriber.onEnd(error);
  }

  close(): void {
    this.#closed = true;
    this.#watch?.close();
    this.#retry?.cancel();
    this.#endAll(expired('the server is stopping'));
  }
}

export function tooOld(asked: number, have: number): StatusError {
  return expired(`too old resource version: ${asked} (${have})`);
}

/** False when the member was ended. */
function deliver(member: Member, changes: readonly Change[]): boolean {
  const wanted = changes.filter((change) => change.revision > member.after && change.rest.startsWith(member.scope));
  const last = changes.at(-1);
  if (last !== undefined && last.revision > member.after) member.after = last.revision;
  const broken = wanted.findIndex(({ unreadable }) => unreadable !== undefined);
  const told = broken < 0 ? wanted : wanted.slice(0, broken);
  if (told.length > 0) member.subscriber.onChanges(told);
  if (broken < 0) return true;
  member.subscriber.onEnd(wanted[broken]!.unreadable!);
  return false;
}

function sizeOf(change: Change): number {
  return 200 + (change.current?.value.length ?? 0) + (change.previous?.value.length ?? 0);
}
