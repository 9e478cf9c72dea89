import { DecodeError } from '../../base/bytes.ts';
import type { Timer } from '../../base/clock.ts';
import { AppError, errorText } from '../../base/errors.ts';
import type { RotatingSecret } from '../auth/api.ts';
import { CephxClient, type ClientTickets } from '../auth/client-auth.ts';
import { NoneClient } from '../auth/none.ts';
import { decodeMonMap } from '../maps/monmap.ts';
import { type Message, type MessageCodec, MessageHandlers } from '../wire/message.ts';
import { MMonCommand, MMonCommandAck } from '../wire/messages/command.ts';
import {
  MAuth,
  MAuthReply,
  MConfig,
  MMonGetVersion,
  MMonGetVersionReply,
  MMonMap,
  MMonSubscribe,
  MMonSubscribeAck,
  type Subscription,
} from '../wire/messages/mon.ts';
import {
  AUTH_CEPHX,
  type ClientAuth,
  type CloseReason,
  CON_MODE_CRC,
  CON_MODE_SECURE,
  type Connection,
  type Messenger,
} from '../wire/messenger.ts';
import { createMessenger } from '../wire/messenger-transport.ts';
import {
  addrVecText,
  ENTITY_MDS,
  ENTITY_MGR,
  ENTITY_MON,
  ENTITY_OSD,
  type EntityAddrVec,
  entityNameText,
} from '../wire/types.ts';
import type { CommandResult, MonClient, MonClientOptions } from './api.ts';

const tickMs = 5_000;
const keepaliveMs = 10_000;
const silentMs = 30_000;
const attemptMs = 5_000;
const retryMinMs = 100;
const retryMaxMs = 3_000;
const rotatingEveryMs = 600_000;
const rotatingAheadMs = 300_000;
const requestMs = 60_000;

interface Pending {
  tid: number;
  codec: MessageCodec<unknown>;
  value: unknown;
  reply: MessageCodec<unknown>;
  resolve(value: unknown): void;
  reject(error: Error): void;
  timer: Timer;
}

interface Started {
  resolve(): void;
  reject(error: Error): void;
  timer: Timer;
}

/** A monitor client over TCP; call `start` before anything else. */
export function createMonClient(options: MonClientOptions): MonClient {
  return new MonClientCore(options);
}

class MonClientCore implements MonClient {
  readonly #o: MonClientOptions;
  readonly #tickets: ClientTickets;
  /** A daemon that has to know the secrets of its service. */
  readonly #rotates: boolean;
  readonly messenger: Messenger;
  #fsid = '';
  #config: ReadonlyMap<string, string> = new Map();
  #haveConfig = false;
  #monAddrs: readonly EntityAddrVec[];
  #monmapEpoch = 0;
  /** The session with a mon, up or being set up. */
  #current: Connection | undefined;
  #up = false;
  /** Mons not tried yet in this round of hunting. */
  #untried: EntityAddrVec[] = [];
  #retryMs = retryMinMs;
  #refusals: string[] = [];
  readonly #subscriptions = new Map<string, Subscription>();
  #subscribing = false;
  readonly #pending = new Map<number, Pending>();
  #nextTid = 1;
  #queued: { codec: MessageCodec<unknown>; value: unknown }[] = [];
  readonly #handlers = new MessageHandlers<Connection>();
  readonly #onSession: (() => void)[] = [];
  #started: Started | undefined;
  #isStarted = false;
  #closed = false;
  #timers = new Set<Timer>();
  #lastKeepaliveMs = 0;
  #rotatingAtMs = 0;
  #renewing = false;

  constructor(options: MonClientOptions) {
    this.#o = options;
    this.#monAddrs = options.monAddrs;
    this.#tickets =
      options.auth === 'none'
        ? new NoneClient(options.entity)
        : new CephxClient({
            name: options.entity,
            key: options.key,
            clock: options.clock,
            random: options.random,
            want: options.wantKeys ?? ENTITY_MON | ENTITY_OSD | ENTITY_MGR | ENTITY_MDS,
          });
    this.#rotates = options.auth !== 'none' && options.rotatingService !== undefined;
    const num = options.entity.type === ENTITY_OSD ? Number(options.entity.id) : -1;
    this.messenger = createMessenger({
      entity: { type: options.entity.type, num },
      clock: options.clock,
      random: options.random,
      log: options.log,
      clientAuth: (type) => this.clientAuth(type),
      dispatcher: {
        onReady: (c) => (c === this.#current ? this.#sessionUp(c) : options.dispatcher?.onReady?.(c)),
        onMessage: (c, m) => (c === this.#current ? this.#onMessage(c, m) : options.dispatcher?.onMessage(c, m)),
        onClose: (c, reason) =>
          c === this.#current ? this.#sessionLost(reason) : options.dispatcher?.onClose?.(c, reason),
      },
    });
    this.#handlers
      .on(MMonMap, (_c, m) => this.#takeMonMap(m.monmap))
      .on(MConfig, (_c, m) => {
        this.#config = m.config;
        this.#haveConfig = true;
        this.#checkStarted();
      })
      .on(MMonSubscribeAck, () => undefined)
      .on(MAuthReply, (_c, m) => this.#onAuthReply(m.result, m.payload));
  }

  get fsid(): string {
    return this.#fsid;
  }
  get globalId(): bigint {
    return this.#tickets.globalId;
  }
  get connection(): Connection | undefined {
    return this.#up ? this.#current : undefined;
  }
  get config(): ReadonlyMap<string, string> {
    return this.#config;
  }

  start(timeoutMs = 30_000): Promise<void> {
    this.#subscriptions.set('monmap', { start: 0, once: false });
    this.#subscriptions.set('config', { start: 0, once: false });
    return new Promise((resolve, reject) => {
      const timer = this.#o.clock.after(timeoutMs, () => {
        const tried = this.#monAddrs.map(addrVecText).join(', ');
        this.#failStart(
          new AppError('MON_TIMEOUT', `no mon of ${tried} answered within ${timeoutMs / 1000} s`, {
            hint: 'check that ceph-mon runs and that `mon host` names its address',
          }),
        );
      });
      this.#started = { resolve, reject, timer };
      this.#hunt();
      this.#tick();
    });
  }

  #failStart(error: Error): void {
    const started = this.#started;
    if (started === undefined) return;
    this.#started = undefined;
    started.timer.cancel();
    started.reject(error);
  }

  #checkStarted(): void {
    const started = this.#started;
    if (started === undefined || !this.#up || this.#monmapEpoch === 0 || !this.#haveConfig) return;
    if (this.#rotates && this.#tickets.rotating.length === 0) return;
    this.#started = undefined;
    this.#isStarted = true;
    started.timer.cancel();
    started.resolve();
  }

  #after(delayMs: number, fn: () => void): void {
    const timer = this.#o.clock.after(delayMs, () => {
      this.#timers.delete(timer);
      fn();
    });
    this.#timers.add(timer);
  }

  // --- hunting -------------------------------------------------------------------------------------------------------------------

  #hunt(): void {
    if (this.#closed) return;
    if (this.#untried.length === 0) {
      this.#untried = [...this.#monAddrs];
      for (let i = this.#untried.length - 1; i > 0; i--) {
        const j = this.#o.random.uint32() % (i + 1);
        [this.#untried[i], this.#untried[j]] = [this.#untried[j]!, this.#untried[i]!];
      }
    }
    const addrs = this.#untried.shift();
    if (addrs === undefined) {
      this.#failStart(new AppError('NO_MON', 'no mon address is known', { hint: 'set `mon host` in ceph.conf' }));
      return;
    }
    const connection = this.messenger.connect(ENTITY_MON, addrs, 'lossy-client');
    this.#current = connection;
    this.#up = false;
    this.#after(attemptMs, () => {
      if (this.#current === connection && !this.#up)
        this.#drop({ kind: 'reset', message: `${addrVecText(addrs)} does not answer` });
    });
  }

  #drop(reason: CloseReason): void {
    const connection = this.#current;
    if (connection === undefined) return;
    connection.close();
    this.#sessionLost(reason);
  }

  #sessionLost(reason: CloseReason): void {
    const was = this.#up;
    this.#current = undefined;
    this.#up = false;
    this.#renewing = false;
    if (this.#closed) return;
    this.#o.log[was ? 'info' : 'debug']('mon session lost', {
      entity: entityNameText(this.#o.entity),
      reason: reason.message,
    });
    if (reason.kind === 'refused') {
      // A mon that lost its rotating secrets cannot read the old ticket: begin as a new client.
      if (this.#tickets.globalId !== 0n && !this.#isStarted) this.#tickets.reset();
      this.#refusals.push(reason.message);
      if (this.#refusals.length >= this.#monAddrs.length)
        this.#failStart(new AppError('AUTH_REFUSED', this.#refusals.at(-1)!, authHint(entityNameText(this.#o.entity))));
      if (this.#refusals.length > 2) this.#tickets.reset();
    }
    const delay = was ? 0 : this.#retryMs;
    if (this.#untried.length === 0) this.#retryMs = Math.min(this.#retryMs * 2, retryMaxMs);
    this.#after(delay, () => {
      if (this.#current === undefined) this.#hunt();
    });
  }

  #sessionUp(connection: Connection): void {
    this.#up = true;
    this.#retryMs = retryMinMs;
    this.#untried = [];
    this.#refusals = [];
    if (this.#o.entity.type !== ENTITY_OSD) this.messenger.setNum(Number(this.#tickets.globalId));
    this.#sendSubscriptions();
    if (this.#rotates) this.#askRotating();
    for (const fn of this.#onSession) fn();
    for (const pending of this.#pending.values()) connection.send(pending.codec, pending.value, { tid: pending.tid });
    const queued = this.#queued;
    this.#queued = [];
    for (const { codec, value } of queued) connection.send(codec, value);
    this.#checkStarted();
  }

  #takeMonMap(bytes: Uint8Array): void {
    const map = decodeMonMap(bytes);
    if (map.epoch < this.#monmapEpoch) return;
    this.#fsid = map.fsid;
    this.#monmapEpoch = map.epoch;
    if (map.mons.length > 0) this.#monAddrs = map.mons.map((mon) => mon.addrs);
    this.got('monmap', map.epoch);
    this.#checkStarted();
  }

  // --- time ----------------------------------------------------------------------------------------------------------------------

  #tick(): void {
    if (this.#closed) return;
    this.#after(tickMs, () => this.#tick());
    const connection = this.connection;
    if (connection === undefined) return;
    const now = this.#o.clock.monotonic();
    if (now - connection.lastReceivedMs > silentMs) {
      this.#drop({ kind: 'reset', message: 'the mon is silent' });
      return;
    }
    if (now - this.#lastKeepaliveMs >= keepaliveMs) {
      this.#lastKeepaliveMs = now;
      connection.keepalive();
    }
    this.#renew();
    if (this.#rotates && this.#rotatingDue(now)) this.#askRotating();
  }

  #renew(): void {
    if (this.#renewing) return;
    const payload = this.#tickets.renewalRequest();
    if (payload === undefined) return;
    this.#renewing = true;
    this.#current?.send(MAuth, { protocol: AUTH_CEPHX, payload, monmapEpoch: this.#monmapEpoch });
  }

  #rotatingDue(now: number): boolean {
    const secrets = this.#tickets.rotating;
    if (secrets.length === 0 || now - this.#rotatingAtMs > rotatingEveryMs) return true;
    const current = secrets[Math.min(1, secrets.length - 1)]!;
    return current.expiresMs < this.#o.clock.now() + rotatingAheadMs && now - this.#rotatingAtMs > keepaliveMs;
  }

  #askRotating(): void {
    this.#rotatingAtMs = this.#o.clock.monotonic();
    const payload = this.#tickets.rotatingRequest();
    if (payload !== undefined)
      this.#current?.send(MAuth, { protocol: AUTH_CEPHX, payload, monmapEpoch: this.#monmapEpoch });
  }

  #onAuthReply(result: number, payload: Uint8Array): void {
    this.#renewing = false;
    if (result !== 0) {
      this.#o.log.warn('the mon refused to renew tickets', { entity: entityNameText(this.#o.entity), result });
      return;
    }
    try {
      this.#tickets.handleReply(payload);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#o.log.warn('bad answer to a ticket renewal', { error: errorText(error) });
    }
    this.#checkStarted();
  }

  // --- messages ------------------------------------------------------------------------------------------------------------------

  #onMessage(connection: Connection, message: Message): void | Promise<void> {
    const pending = this.#pendingOf(message);
    if (pending !== undefined) {
      this.#pending.delete(pending.tid);
      pending.timer.cancel();
      pending.resolve(message.decode(pending.reply));
      return;
    }
    const result = this.#handlers.dispatch(connection, message);
    if (result === undefined) this.#o.log.debug('message from the mon without a handler', { type: message.type });
    else if (result !== true) return result;
  }

  #pendingOf(message: Message): Pending | undefined {
    if (message.type === MMonGetVersionReply.type) {
      const handle = message.decode(MMonGetVersionReply).handle;
      const pending = this.#pending.get(handle);
      return pending?.reply.type === message.type ? pending : undefined;
    }
    const pending = this.#pending.get(message.tid);
    return pending?.reply.type === message.type ? pending : undefined;
  }

  subscribe(what: string, start: number, once = false): void {
    this.#subscriptions.set(what, { start, once });
    this.#scheduleSubscriptions();
  }
  got(what: string, version: number): void {
    const s = this.#subscriptions.get(what);
    if (s === undefined) return;
    if (s.once) this.#subscriptions.delete(what);
    else if (version >= s.start) this.#subscriptions.set(what, { start: version + 1, once: false });
  }
  unsubscribe(what: string): void {
    this.#subscriptions.delete(what);
  }

  #scheduleSubscriptions(): void {
    if (this.#subscribing) return;
    this.#subscribing = true;
    queueMicrotask(() => {
      this.#subscribing = false;
      if (this.#up) this.#sendSubscriptions();
    });
  }

  #sendSubscriptions(): void {
    this.#current?.send(MMonSubscribe, { what: new Map(this.#subscriptions), hostname: '' });
  }

  on<T>(codec: MessageCodec<T>, handler: (value: T, message: Message) => void): void {
    this.#handlers.on(codec, (_c, value, message) => handler(value, message));
  }
  onSession(fn: () => void): void {
    this.#onSession.push(fn);
  }

  send<T>(codec: MessageCodec<T>, value: T): void {
    if (this.#up) this.#current?.send(codec, value);
    else if (this.#queued.length < 1000) this.#queued.push({ codec: codec as MessageCodec<unknown>, value });
  }

  request<A, B>(codec: MessageCodec<A>, value: A, reply: MessageCodec<B>, timeoutMs = requestMs): Promise<B> {
    return this.#request(codec, () => value, reply, timeoutMs);
  }

  #request<A, B>(
    codec: MessageCodec<A>,
    value: (tid: number) => A,
    reply: MessageCodec<B>,
    timeoutMs: number,
  ): Promise<B> {
    if (this.#closed) return Promise.reject(new AppError('CLOSED', 'the mon client is closed'));
    const tid = this.#nextTid++;
    return new Promise<B>((resolve, reject) => {
      const timer = this.#o.clock.after(timeoutMs, () => {
        this.#pending.delete(tid);
        reject(new AppError('MON_TIMEOUT', `the mon did not answer ${codec.name} within ${timeoutMs / 1000} s`));
      });
      const pending: Pending = {
        tid,
        codec: codec as MessageCodec<unknown>,
        value: value(tid),
        reply: reply as MessageCodec<unknown>,
        resolve: (v) => resolve(v as B),
        reject,
        timer,
      };
      this.#pending.set(tid, pending);
      if (this.#up) this.#current?.send(codec, pending.value as A, { tid });
    });
  }

  async command(command: Record<string, unknown>, input?: Uint8Array, timeoutMs = requestMs): Promise<CommandResult> {
    const value = { fsid: this.#fsid, command: [JSON.stringify(command)], input: input ?? new Uint8Array(0) };
    const { code, status, output } = await this.request(MMonCommand, value, MMonCommandAck, timeoutMs);
    return { code, status, output };
  }

  async version(what: string): Promise<{ newest: number; oldest: number }> {
    const reply = await this.#request(MMonGetVersion, (handle) => ({ handle, what }), MMonGetVersionReply, requestMs);
    return { newest: reply.version, oldest: reply.oldest };
  }

  clientAuth(peerType: number): ClientAuth {
    if (peerType === ENTITY_MON) return this.#tickets.monAuth(this.#o.monModes ?? [CON_MODE_SECURE, CON_MODE_CRC]);
    if (!this.#tickets.hasTicket(peerType)) this.#renew();
    return this.#tickets.serviceAuth(peerType, this.#o.modes);
  }
  rotating(): readonly RotatingSecret[] {
    return this.#tickets.rotating;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) timer.cancel();
    this.#failStart(new AppError('CLOSED', 'the mon client was closed'));
    for (const pending of this.#pending.values()) {
      pending.timer.cancel();
      pending.reject(new AppError('CLOSED', 'the mon client was closed'));
    }
    this.#pending.clear();
    await this.messenger.close();
  }
}

function authHint(name: string): { hint: string } {
  return { hint: `check that the key of ${name} is the one the cluster knows (ceph auth get ${name})` };
}
