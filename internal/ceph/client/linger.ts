import { emptyBytes } from '../../base/bytes.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import { Decoder, encoded } from '../wire/encoding.ts';
import {
  type MWatchNotifyValue,
  OSD_FLAG_READ,
  OSD_FLAG_WRITE,
  WATCH_DISCONNECT,
  WATCH_NOTIFY,
  WATCH_NOTIFY_COMPLETE,
} from '../wire/messages/osd_client.ts';
import {
  OP,
  OsdOp,
  WATCH_OP_PING,
  WATCH_OP_RECONNECT,
  WATCH_OP_UNWATCH,
  WATCH_OP_WATCH,
} from '../wire/messages/osd_op.ts';
import { noSnaps, SNAP_HEAD } from '../wire/types.ts';
import { ENOTCONN, ETIMEDOUT, RadosError } from './errors.ts';
import type { Objecter, ObjectRequest } from './objecter.ts';

const pingMs = 5_000;
const defaultNotifyTimeoutMs = 30_000;
const graceMs = 10_000;

/** Which object: pool, name, key, namespace. */
export interface ObjectPlace {
  pool: number;
  oid: string;
  key: string;
  nspace: string;
}

/** What a notifier sent; the answer (possibly empty) goes back to it. */
export type NotifyHandler = (payload: Uint8Array, notifierGid: bigint) => Uint8Array | Promise<Uint8Array>;

/** A registered watch. */
export interface Watch {
  readonly cookie: bigint;
  /** Ends it. */
  close(): Promise<void>;
}

/** Who answered a notification. */
export interface NotifyResult {
  acks: { gid: bigint; cookie: bigint; reply: Uint8Array }[];
  /** Watchers that did not answer in time. */
  missed: { gid: bigint; cookie: bigint }[];
}

interface WatchState extends Watch {
  readonly place: ObjectPlace;
  readonly handler: NotifyHandler;
  readonly onLost: (errno: number) => void;
  circumstances: string | undefined;
  generation: number;
  registering: boolean;
  ended: boolean;
}

interface NotifyState {
  readonly place: ObjectPlace;
  readonly payload: Uint8Array;
  readonly timeoutMs: number;
  circumstances: string | undefined;
  sending: boolean;
  notifyId: bigint;
  resolve(result: NotifyResult): void;
  reject(error: Error): void;
  timer: Timer;
}

/** Watches and notifications: what stays at an OSD between requests and has to be renewed when maps or connections change. */
export class Lingers {
  readonly #objecter: Objecter;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #watches = new Map<bigint, WatchState>();
  readonly #notifies = new Map<bigint, NotifyState>();
  #nextCookie = 1n;
  #pinger: Timer | undefined;
  #closed = false;

  constructor(objecter: Objecter, clock: Clock, log: Logger) {
    this.#objecter = objecter;
    this.#clock = clock;
    this.#log = log;
  }

  #request(place: ObjectPlace, op: OsdOp, flags: number): ObjectRequest {
    return { ...place, ops: [op], flags, snapId: SNAP_HEAD, snapContext: noSnaps };
  }

  /** `onLost` tells that notifications may have been missed and the watch is over (the object is gone, or we were away for too long). */
  async watch(
    place: ObjectPlace,
    handler: NotifyHandler,
    onLost: (errno: number) => void,
    timeoutSec = 0,
  ): Promise<Watch> {
    const cookie = this.#nextCookie++;
    const state: WatchState = {
      cookie,
      place,
      handler,
      onLost,
      circumstances: undefined,
      generation: 0,
      registering: true,
      ended: false,
      close: () => this.#unwatch(state),
    };
    this.#watches.set(cookie, state);
    const op = OsdOp.watch(cookie, WATCH_OP_WATCH, timeoutSec);
    const reply = await this.#objecter.submit(this.#request(place, op, OSD_FLAG_WRITE));
    state.registering = false;
    if (reply.result < 0) {
      this.#watches.delete(cookie);
      throw new RadosError(reply.result, `watch of ${place.oid}`);
    }
    state.circumstances = this.#objecter.circumstances(place);
    this.#schedulePing();
    return state;
  }

  async #unwatch(state: WatchState): Promise<void> {
    if (state.ended) return;
    state.ended = true;
    this.#watches.delete(state.cookie);
    const op = OsdOp.watch(state.cookie, WATCH_OP_UNWATCH, 0);
    await this.#objecter.submit(this.#request(state.place, op, OSD_FLAG_WRITE));
  }

  /** Sends `payload` to all watchers of an object and waits until all have answered or the time is over. */
  notify(place: ObjectPlace, payload: Uint8Array, timeoutMs = defaultNotifyTimeoutMs): Promise<NotifyResult> {
    return new Promise((resolve, reject) => {
      const cookie = this.#nextCookie++;
      const timer = this.#clock.after(timeoutMs + graceMs, () => {
        this.#notifies.delete(cookie);
        reject(new RadosError(ETIMEDOUT, `notify of ${place.oid}`));
      });
      const state: NotifyState = {
        place,
        payload,
        timeoutMs,
        circumstances: undefined,
        sending: false,
        notifyId: 0n,
        resolve,
        reject,
        timer,
      };
      this.#notifies.set(cookie, state);
      void this.#sendNotify(cookie, state);
    });
  }

  async #sendNotify(cookie: bigint, state: NotifyState): Promise<void> {
    state.sending = true;
    const input = encoded((e) =>
      e
        .u32(1)
        .u32(Math.ceil(state.timeoutMs / 1000))
        .blob(state.payload),
    );
    try {
      const reply = await this.#objecter.submit(
        this.#request(state.place, OsdOp.notify(cookie, [input]), OSD_FLAG_READ),
      );
      state.sending = false;
      if (reply.result < 0) throw new RadosError(reply.result, `notify of ${state.place.oid}`);
      const out = reply.ops[0]?.out[0];
      if (out !== undefined && out.length >= 8) state.notifyId = new Decoder(out).u64b();
      state.circumstances = this.#objecter.circumstances(state.place);
    } catch (error) {
      state.timer.cancel();
      this.#notifies.delete(cookie);
      state.reject(error instanceof Error ? error : new Error(String(error)));
    }
  }

  /** From an OSD. */
  handle(message: MWatchNotifyValue): void {
    if (message.opcode === WATCH_NOTIFY_COMPLETE) {
      const state = this.#notifies.get(message.cookie);
      if (state === undefined || (state.notifyId !== 0n && state.notifyId !== message.notifyId)) return;
      this.#notifies.delete(message.cookie);
      state.timer.cancel();
      state.resolve(decodeResult(message.data));
      return;
    }
    const watch = this.#watches.get(message.cookie);
    if (watch === undefined) return;
    if (message.opcode === WATCH_DISCONNECT) this.#lost(watch, ENOTCONN);
    else if (message.opcode === WATCH_NOTIFY) void this.#answer(watch, message);
  }

  async #answer(watch: WatchState, message: MWatchNotifyValue): Promise<void> {
    let reply: Uint8Array = emptyBytes;
    try {
      reply = await watch.handler(message.payload, message.notifierGid);
    } catch (error) {
      this.#log.warn('a notification could not be handled', { object: watch.place.oid, error });
    }
    const input = encoded((e) => e.u64b(message.notifyId).u64b(watch.cookie).blob(reply));
    try {
      await this.#objecter.submit(this.#request(watch.place, OsdOp.make(OP.NOTIFY_ACK, [input]), OSD_FLAG_READ));
    } catch (error) {
      this.#log.debug('a notification could not be acknowledged', { object: watch.place.oid, error });
    }
  }

  #lost(watch: WatchState, errno: number): void {
    if (watch.ended) return;
    watch.ended = true;
    this.#watches.delete(watch.cookie);
    watch.onLost(errno);
  }

  /** A map or a connection changed: renews what no longer stands. */
  disturbed(): void {
    for (const [cookie, state] of this.#notifies)
      if (!state.sending && state.circumstances !== this.#objecter.circumstances(state.place))
        void this.#sendNotify(cookie, state);
    for (const watch of this.#watches.values())
      if (!watch.registering && watch.circumstances !== this.#objecter.circumstances(watch.place))
        void this.#reconnect(watch);
  }

  async #reconnect(watch: WatchState): Promise<void> {
    watch.registering = true;
    const op = OsdOp.watch(watch.cookie, WATCH_OP_RECONNECT, 0, ++watch.generation);
    try {
      const reply = await this.#objecter.submit(this.#request(watch.place, op, OSD_FLAG_WRITE));
      watch.registering = false;
      if (reply.result < 0) this.#lost(watch, reply.result);
      else watch.circumstances = this.#objecter.circumstances(watch.place);
    } catch (error) {
      watch.registering = false;
      if (error instanceof RadosError) this.#lost(watch, error.errno);
    }
  }

  #schedulePing(): void {
    if (this.#pinger !== undefined || this.#closed || this.#watches.size === 0) return;
    this.#pinger = this.#clock.after(pingMs, () => {
      this.#pinger = undefined;
      for (const watch of this.#watches.values()) if (!watch.registering) void this.#ping(watch);
      this.#schedulePing();
    });
  }

  async #ping(watch: WatchState): Promise<void> {
    const op = OsdOp.watch(watch.cookie, WATCH_OP_PING, 0, watch.generation);
    try {
      const { result } = await this.#objecter.submit(this.#request(watch.place, op, OSD_FLAG_READ));
      if (result === ENOTCONN && !watch.registering) this.#lost(watch, ENOTCONN);
    } catch {
      // The client was closed, or the pool is gone: the next map tells.
    }
  }

  close(): void {
    this.#closed = true;
    this.#pinger?.cancel();
    for (const state of this.#notifies.values()) state.timer.cancel();
    this.#watches.clear();
    this.#notifies.clear();
  }
}

function decodeResult(data: Uint8Array): NotifyResult {
  if (data.length === 0) return { acks: [], missed: [] };
  const d = new Decoder(data);
  const acks = d.list((x) => ({ gid: x.u64b(), cookie: x.u64b(), reply: x.blob() }), 20);
  const missed = d.remaining >= 4 ? d.list((x) => ({ gid: x.u64b(), cookie: x.u64b() }), 16) : [];
  return { acks, missed };
}
