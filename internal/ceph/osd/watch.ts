import type { Clock, Timer } from '../../base/clock.ts';
import { emptyBytes } from '../../base/bytes.ts';
import { Encoder } from '../wire/encoding.ts';
import {
  type MWatchNotifyValue,
  WATCH_DISCONNECT,
  WATCH_NOTIFY,
  WATCH_NOTIFY_COMPLETE,
} from '../wire/messages/osd_client.ts';
import type { EntityNum } from '../wire/types.ts';
import type { WatchInfo } from './object-info.ts';
import { ETIMEDOUT } from './ops/errno.ts';
import type { ObjectContext } from './ops/object-context.ts';
import type { NotifyRequest } from './ops/op-context.ts';

/** A client's connection as watches see it. */
export interface WatchClient {
  readonly name: EntityNum;
  readonly globalId: bigint;
  sendNotify(value: MWatchNotifyValue): void;
  /** Watches that live on this connection. */
  readonly watching: Set<Watcher>;
}

export function watcherId(name: EntityNum, cookie: bigint): string {
  return `${name.type}.${name.num}/${cookie}`;
}

/** A registered watch while its object's primary is here. */
export class Watcher {
  readonly obc: ObjectContext;
  readonly info: WatchInfo;
  client: WatchClient | undefined;
  pings = false;
  /** `clock.monotonic` at which it is given up when nothing is heard; Infinity: not timed. */
  deadlineMs = Number.POSITIVE_INFINITY;
  timer: Timer | undefined;
  readonly notifies = new Map<bigint, Notify>();

  constructor(obc: ObjectContext, info: WatchInfo) {
    this.obc = obc;
    this.info = info;
  }

  get connected(): boolean {
    return this.client !== undefined;
  }
}

/** A notification on its way: complete when every watcher has answered, is gone, or the time is over. */
class Notify {
  readonly request: NotifyRequest;
  readonly client: WatchClient;
  readonly version: number;
  readonly pending = new Set<Watcher>();
  readonly acks: { gid: number; cookie: bigint; reply: Uint8Array }[] = [];
  readonly missed: { gid: number; cookie: bigint }[] = [];
  timer: Timer | undefined;

  constructor(request: NotifyRequest, client: WatchClient, version: number) {
    this.request = request;
    this.client = client;
    this.version = version;
  }
}

/** Watches and notifications of one PG at its primary (`src/osd/Watch.cc`). Nothing here is durable: the object's info holds who watches. */
export class WatchHub {
  readonly #clock: Clock;
  /** A watcher was silent for its timeout: take it out of the object's info. */
  readonly #expired: (watcher: Watcher) => void;
  readonly #notifies = new Map<bigint, Notify>();
  readonly #watchers = new Set<Watcher>();

  constructor(clock: Clock, expired: (watcher: Watcher) => void) {
    this.#clock = clock;
    this.#expired = expired;
  }

  /** Live watchers of an object, made from its info on first use: those begin disconnected, with their timeout running. */
  of(obc: ObjectContext): Map<string, Watcher> {
    if (obc.watchers !== undefined) return obc.watchers;
    obc.watchers = new Map();
    for (const info of obc.info.watchers) {
      const watcher = this.#add(obc, info);
      this.#startTimeout(watcher);
    }
    return obc.watchers;
  }

  /** All watches of objects that are in use here. */
  all(): Iterable<Watcher> {
    return this.#watchers;
  }

  #add(obc: ObjectContext, info: WatchInfo): Watcher {
    const watcher = new Watcher(obc, info);
    obc.watchers!.set(watcherId(info.name, info.cookie), watcher);
    this.#watchers.add(watcher);
    return watcher;
  }

  find(obc: ObjectContext, name: EntityNum, cookie: bigint): Watcher | undefined {
    return this.of(obc).get(watcherId(name, cookie));
  }

  /** A watch was registered, or its client is back. */
  connect(obc: ObjectContext, info: WatchInfo, client: WatchClient, pings: boolean): void {
    const watcher = this.find(obc, info.name, info.cookie) ?? this.#add(obc, info);
    watcher.client?.watching.delete(watcher);
    watcher.client = client;
    watcher.pings = pings;
    client.watching.add(watcher);
    if (pings) this.#startTimeout(watcher);
    else this.#stopTimeout(watcher);
    for (const notify of watcher.notifies.values()) this.#deliver(watcher, notify);
  }

  ping(watcher: Watcher): void {
    this.#startTimeout(watcher);
  }

  /** The client's connection is gone: the watch lives on for its timeout. */
  clientClosed(client: WatchClient): void {
    for (const watcher of client.watching) {
      if (watcher.client !== client) continue;
      watcher.client = undefined;
      this.#startTimeout(watcher);
    }
    client.watching.clear();
  }

  /** The watch ends. `tell`: its client did not ask for that. */
  remove(obc: ObjectContext, name: EntityNum, cookie: bigint, tell: boolean): void {
    const id = watcherId(name, cookie);
    const watcher = obc.watchers?.get(id);
    if (watcher === undefined) return;
    obc.watchers!.delete(id);
    this.#drop(watcher);
    if (tell)
      watcher.client?.sendNotify({
        opcode: WATCH_DISCONNECT,
        cookie,
        version: 0,
        notifyId: 0n,
        payload: emptyBytes,
        returnCode: -107,
        notifierGid: 0n,
        data: emptyBytes,
      });
    for (const notify of watcher.notifies.values()) {
      notify.pending.delete(watcher);
      this.#maybeComplete(notify);
    }
    watcher.notifies.clear();
  }

  #drop(watcher: Watcher): void {
    this.#stopTimeout(watcher);
    this.#watchers.delete(watcher);
    watcher.client?.watching.delete(watcher);
  }

  /** The object is deleted: its watchers are told. */
  removeAll(obc: ObjectContext): void {
    for (const watcher of [...this.of(obc).values()]) this.remove(obc, watcher.info.name, watcher.info.cookie, true);
  }

  notify(obc: ObjectContext, request: NotifyRequest, client: WatchClient, version: number): void {
    const notify = new Notify(request, client, version);
    this.#notifies.set(request.id, notify);
    for (const watcher of this.of(obc).values()) {
      notify.pending.add(watcher);
      watcher.notifies.set(request.id, notify);
      if (watcher.connected) this.#deliver(watcher, notify);
    }
    if (notify.pending.size > 0)
      notify.timer = this.#clock.after(request.timeoutSec * 1000, () => this.#timeout(notify));
    this.#maybeComplete(notify);
  }

  #deliver(watcher: Watcher, notify: Notify): void {
    watcher.client?.sendNotify({
      opcode: WATCH_NOTIFY,
      cookie: watcher.info.cookie,
      version: notify.version,
      notifyId: notify.request.id,
      payload: notify.request.payload,
      returnCode: 0,
      notifierGid: notify.client.globalId,
      data: emptyBytes,
    });
  }

  /** A watcher's answer. Without a cookie (old clients) every watch of that client on the object has answered. */
  ack(obc: ObjectContext, name: EntityNum, id: bigint, cookie: bigint | undefined, reply: Uint8Array): void {
    const notify = this.#notifies.get(id);
    if (notify === undefined) return;
    for (const watcher of this.of(obc).values()) {
      const { info } = watcher;
      if (info.name.type !== name.type || info.name.num !== name.num) continue;
      if (cookie !== undefined && info.cookie !== cookie) continue;
      if (!notify.pending.delete(watcher)) continue;
      watcher.notifies.delete(id);
      notify.acks.push({ gid: name.num, cookie: info.cookie, reply: reply.slice() });
    }
    this.#maybeComplete(notify);
  }

  #timeout(notify: Notify): void {
    for (const watcher of notify.pending) {
      notify.missed.push({ gid: watcher.info.name.num, cookie: watcher.info.cookie });
      watcher.notifies.delete(notify.request.id);
    }
    notify.pending.clear();
    this.#complete(notify, ETIMEDOUT);
  }

  #maybeComplete(notify: Notify): void {
    if (notify.pending.size === 0) this.#complete(notify, 0);
  }

  #complete(notify: Notify, returnCode: number): void {
    if (!this.#notifies.delete(notify.request.id)) return;
    notify.timer?.cancel();
    notify.acks.sort((a, b) => a.gid - b.gid || (a.cookie < b.cookie ? -1 : 1));
    const e = new Encoder(64);
    e.list(notify.acks, (x, a) => x.u64(a.gid).u64b(a.cookie).blob(a.reply));
    e.list(notify.missed, (x, m) => x.u64(m.gid).u64b(m.cookie));
    notify.client.sendNotify({
      opcode: WATCH_NOTIFY_COMPLETE,
      cookie: notify.request.cookie,
      version: notify.version,
      notifyId: notify.request.id,
      payload: emptyBytes,
      returnCode,
      notifierGid: notify.client.globalId,
      data: e.finish(),
    });
  }

  #startTimeout(watcher: Watcher): void {
    watcher.deadlineMs = this.#clock.monotonic() + watcher.info.timeoutSec * 1000;
    if (watcher.timer === undefined) this.#arm(watcher, watcher.info.timeoutSec * 1000);
  }

  #arm(watcher: Watcher, delayMs: number): void {
    watcher.timer = this.#clock.after(delayMs, () => {
      watcher.timer = undefined;
      const leftMs = watcher.deadlineMs - this.#clock.monotonic();
      if (leftMs > 0) {
        if (Number.isFinite(leftMs)) this.#arm(watcher, leftMs);
        return;
      }
      this.#expired(watcher);
    });
  }

  #stopTimeout(watcher: Watcher): void {
    watcher.deadlineMs = Number.POSITIVE_INFINITY;
    watcher.timer?.cancel();
    watcher.timer = undefined;
  }

  /** A new interval: clients register anew with whoever is primary then. */
  reset(): void {
    for (const watcher of [...this.#watchers]) this.#drop(watcher);
    for (const notify of this.#notifies.values()) notify.timer?.cancel();
    this.#notifies.clear();
    this.#watchers.clear();
  }
}
