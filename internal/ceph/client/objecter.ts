import type { Clock, Timer } from '../../base/clock.ts';
import { AppError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { MAP_FULL, MAP_PAUSERD, MAP_PAUSEWR } from '../maps/constants.ts';
import { utimeFromMs } from '../wire/encoding.ts';
import { FEATURES_PACIFIC } from '../wire/features.ts';
import type { Message } from '../wire/message.ts';
import { MOSDMap } from '../wire/messages/mon.ts';
import {
  BACKOFF_ACK_BLOCK,
  BACKOFF_BLOCK,
  BACKOFF_UNBLOCK,
  blankOsdOp,
  MOSDBackoff,
  type MOSDBackoffValue,
  MOSDOp,
  MOSDOpReply,
  type MOSDOpReplyValue,
  MWatchNotify,
  type MWatchNotifyValue,
  OSD_FLAG_FULL_FORCE,
  OSD_FLAG_FULL_TRY,
  OSD_FLAG_ONDISK,
  OSD_FLAG_READ,
  OSD_FLAG_WRITE,
} from '../wire/messages/osd_client.ts';
import { MessageHandlers } from '../wire/message.ts';
import type { OsdOp } from '../wire/messages/osd_op.ts';
import type { CloseReason, Connection, Messenger } from '../wire/messenger.ts';
import {
  addrVecText,
  compareHObject,
  ENTITY_OSD,
  type HObject,
  type ObjectLocator,
  type ShardPgId,
  SNAP_HEAD,
  type SnapContext,
} from '../wire/types.ts';
import { ENOENT, ETIMEDOUT, RadosError } from './errors.ts';
import type { MapFollower } from './map-follower.ts';

/** We follow redirects never, so this says that none were followed. */
const OSD_FLAG_KNOWN_REDIRECT = 0x400000;
const POOL_FULL = 1 << 1;
const POOL_FULL_QUOTA = 1 << 10;
const osdOpPriority = 63;
const reconnectMinMs = 100;
const reconnectMaxMs = 3_000;

/** What is to be done to one object (or, for listings, one PG). */
export interface ObjectRequest {
  pool: number;
  oid: string;
  nspace: string;
  key: string;
  ops: readonly OsdOp[];
  /** OSD_FLAG_READ and/or OSD_FLAG_WRITE, and others as needed. */
  flags: number;
  snapId: bigint;
  snapContext: SnapContext;
  /** For listings: the hash that selects the PG, instead of the object's name. */
  hash?: number;
  /** Gives up after that; without it waits as long as it takes. */
  timeoutMs?: number;
}

interface Op {
  readonly tid: number;
  readonly request: ObjectRequest;
  readonly resolve: (reply: MOSDOpReplyValue) => void;
  readonly reject: (error: Error) => void;
  pg: ShardPgId;
  hash: number;
  /** OSD that it is queued at; -1: waits for a map. */
  osd: number;
  /** Members of the PG when it was sent: another set means that it must be sent again. */
  interval: string;
  paused: boolean;
  attempts: number;
  sentEpoch: number;
  timer: Timer | undefined;
}

interface Backoff {
  pg: string;
  id: number;
  begin: HObject;
  end: HObject;
}

/** Connection to one OSD with what is under way there. */
interface OsdSession {
  readonly osd: number;
  addrs: string;
  connection: Connection | undefined;
  readonly ops: Map<number, Op>;
  backoffs: Backoff[];
  retryMs: number;
  retryTimer: Timer | undefined;
}

export interface ObjecterOptions {
  clock: Clock;
  log: Logger;
  messenger: Messenger;
  maps: MapFollower;
  onWatchNotify: (message: MWatchNotifyValue) => void;
  /** A connection to an OSD was lost or a map moved things: watches have to be renewed. */
  onDisturbed: () => void;
}

/** Sends requests to the primaries of their PGs and again when the map or a connection changes (`src/osdc/Objecter.cc`). */
export class Objecter {
  readonly #o: ObjecterOptions;
  readonly #sessions = new Map<number, OsdSession>();
  readonly #byConnection = new Map<Connection, OsdSession>();
  /** Ops without an OSD to send them to. */
  readonly #homeless = new Map<number, Op>();
  readonly #handlers = new MessageHandlers<OsdSession>();
  #nextTid = 1;
  #closed = false;

  constructor(options: ObjecterOptions) {
    this.#o = options;
    this.#handlers
      .on(MOSDOpReply, (session, reply, message) => this.#onReply(session, reply, message))
      .on(MOSDMap, (_session, value) => options.maps.handle(value))
      .on(MOSDBackoff, (session, value) => this.#onBackoff(session, value))
      .on(MWatchNotify, (_session, value) => options.onWatchNotify(value));
    options.maps.onMap = () => this.#onMap();
  }

  /** The whole reply; its `result` may be negative. Rejects with RadosError when the pool is gone or the time is over. */
  submit(request: ObjectRequest): Promise<MOSDOpReplyValue> {
    if (this.#closed) return Promise.reject(new AppError('CLOSED', 'the RADOS client is closed'));
    return new Promise((resolve, reject) => {
      const op: Op = {
        tid: this.#nextTid++,
        request,
        resolve,
        reject,
        pg: { pool: request.pool, seed: 0, shard: -1 },
        hash: 0,
        osd: -1,
        interval: '',
        paused: false,
        attempts: 0,
        sentEpoch: 0,
        timer: undefined,
      };
      if (request.timeoutMs !== undefined)
        op.timer = this.#o.clock.after(request.timeoutMs, () => {
          this.#remove(op);
          reject(new RadosError(ETIMEDOUT, this.#what(op)));
        });
      if (this.#target(op)) this.#place(op);
    });
  }

  #what(op: Op): string {
    const { request } = op;
    const pool = this.#o.maps.map.poolNames.get(request.pool) ?? `pool ${request.pool}`;
    const name = request.nspace === '' ? request.oid : `${request.nspace}/${request.oid}`;
    return `${request.ops.map((o) => o.name).join('+')} of ${pool}/${name}`;
  }

  /**
   * Tells apart the circumstances under which a watch stays registered: same members of the PG, same connection to the primary. Undefined
   * while there is no primary or no connection to it.
   */
  circumstances(request: Pick<ObjectRequest, 'pool' | 'oid' | 'key' | 'nspace'>): string | undefined {
    const { placement } = this.#o.maps;
    const hash = placement.hashOf(request.pool, request.oid, request.key, request.nspace);
    const seed = placement.seedOf(request.pool, hash);
    if (seed < 0) return undefined;
    const mapping = placement.mapPg(request.pool, seed);
    const connection = this.#sessions.get(mapping.actingPrimary)?.connection;
    if (connection === undefined) return undefined;
    return `${seed}|${mapping.acting.join()}|${mapping.up.join()}|${connection.id}`;
  }

  /** Computes the op's target. False when the op is over (its pool is gone). */
  #target(op: Op): boolean {
    const { placement, map, epoch } = this.#o.maps;
    const { request } = op;
    if (epoch === 0) {
      op.osd = -1;
      return true;
    }
    const pool = map.pools.get(request.pool);
    if (pool === undefined) {
      this.#remove(op);
      op.reject(new RadosError(ENOENT, `${this.#what(op)}: the pool does not exist`));
      return false;
    }
    op.hash = request.hash ?? placement.hashOf(request.pool, request.oid, request.key, request.nspace);
    const seed = placement.seedOf(request.pool, op.hash);
    const mapping = placement.mapPg(request.pool, seed);
    op.pg = { pool: request.pool, seed, shard: -1 };
    const full = (map.flags & MAP_FULL) !== 0 || (pool.flags & (POOL_FULL | POOL_FULL_QUOTA)) !== 0;
    const write = (request.flags & OSD_FLAG_WRITE) !== 0;
    const read = (request.flags & OSD_FLAG_READ) !== 0;
    op.paused =
      (read && (map.flags & MAP_PAUSERD) !== 0) ||
      (write && (map.flags & MAP_PAUSEWR) !== 0) ||
      (write && full && (request.flags & (OSD_FLAG_FULL_TRY | OSD_FLAG_FULL_FORCE)) === 0);
    op.osd = op.paused || mapping.actingPrimary < 0 || !map.isUp(mapping.actingPrimary) ? -1 : mapping.actingPrimary;
    const interval = `${seed}|${pool.pgNum}|${mapping.acting.join()}|${mapping.up.join()}`;
    if (interval !== op.interval || pool.lastForceOpResend > op.sentEpoch) {
      op.interval = interval;
      op.sentEpoch = 0;
    }
    return true;
  }

  #place(op: Op): void {
    if (op.osd < 0) {
      this.#homeless.set(op.tid, op);
      return;
    }
    const session = this.#session(op.osd);
    session.ops.set(op.tid, op);
    this.#send(session, op);
  }

  #remove(op: Op): void {
    op.timer?.cancel();
    this.#homeless.delete(op.tid);
    for (const session of this.#sessions.values()) session.ops.delete(op.tid);
  }

  #send(session: OsdSession, op: Op): void {
    const { connection } = session;
    if (connection === undefined || this.#isBackedOff(session, op)) return;
    const { request } = op;
    const { epoch } = this.#o.maps;
    const locator: ObjectLocator = {
      pool: request.pool,
      key: request.key,
      nspace: request.nspace,
      hash: request.hash ?? -1,
    };
    const write = (request.flags & OSD_FLAG_WRITE) !== 0;
    connection.send(
      MOSDOp,
      {
        ...blankOsdOp,
        pg: op.pg,
        hash: op.hash,
        epoch,
        flags: request.flags | OSD_FLAG_ONDISK | OSD_FLAG_KNOWN_REDIRECT,
        mtime: write ? utimeFromMs(this.#o.clock.now()) : blankOsdOp.mtime,
        locator,
        oid: request.oid,
        ops: request.ops,
        snapId: request.snapId,
        snapSeq: write ? request.snapContext.seq : 0n,
        snaps: write ? request.snapContext.snaps : [],
        retry: op.attempts,
        features: FEATURES_PACIFIC,
      },
      { tid: op.tid, priority: osdOpPriority },
    );
    op.attempts++;
    op.sentEpoch = epoch;
  }

  #isBackedOff(session: OsdSession, op: Op): boolean {
    if (session.backoffs.length === 0) return false;
    const { request } = op;
    const pg = `${op.pg.pool}.${op.pg.seed}`;
    const object: HObject = {
      key: request.key,
      name: request.oid,
      snap: SNAP_HEAD,
      hash: op.hash,
      max: false,
      nspace: request.nspace,
      pool: request.pool,
    };
    return session.backoffs.some(
      (b) => b.pg === pg && compareHObject(b.begin, object) <= 0 && compareHObject(object, b.end) < 0,
    );
  }

  // --- sessions ------------------------------------------------------------------------------------------------------------------

  #session(osd: number): OsdSession {
    let session = this.#sessions.get(osd);
    if (session === undefined) {
      session = {
        osd,
        addrs: '',
        connection: undefined,
        ops: new Map(),
        backoffs: [],
        retryMs: reconnectMinMs,
        retryTimer: undefined,
      };
      this.#sessions.set(osd, session);
    }
    if (session.connection === undefined && session.retryTimer === undefined) this.#connect(session);
    return session;
  }

  #connect(session: OsdSession): void {
    const addrs = this.#o.maps.map.clientAddrsOf(session.osd);
    session.addrs = addrVecText(addrs);
    session.backoffs = [];
    session.connection = this.#o.messenger.connect(ENTITY_OSD, addrs, 'lossy-client');
    this.#byConnection.set(session.connection, session);
  }

  /** Forgets the connection; ops stay queued. */
  #disconnect(session: OsdSession): void {
    session.retryTimer?.cancel();
    session.retryTimer = undefined;
    const { connection } = session;
    if (connection === undefined) return;
    session.connection = undefined;
    session.backoffs = [];
    this.#byConnection.delete(connection);
    connection.close();
  }

  onReady(connection: Connection): void {
    const session = this.#byConnection.get(connection);
    if (session !== undefined) session.retryMs = reconnectMinMs;
  }

  onMessage(connection: Connection, message: Message): void {
    const session = this.#byConnection.get(connection);
    if (session === undefined) return;
    if (this.#handlers.dispatch(session, message) === undefined)
      this.#o.log.debug('message from an OSD without a handler', { osd: session.osd, type: message.type });
  }

  onClose(connection: Connection, reason: CloseReason): void {
    const session = this.#byConnection.get(connection);
    if (session === undefined) return;
    this.#disconnect(session);
    if (this.#closed) return;
    this.#o.log.debug('connection to an OSD lost', { osd: session.osd, reason: reason.message });
    const delay = session.retryMs;
    session.retryMs = Math.min(delay * 2, reconnectMaxMs);
    session.retryTimer = this.#o.clock.after(delay, () => {
      session.retryTimer = undefined;
      this.#o.onDisturbed();
      if (session.ops.size === 0 || !this.#o.maps.map.isUp(session.osd)) return;
      this.#connect(session);
      this.#resend(session);
    });
  }

  #resend(session: OsdSession): void {
    for (const op of [...session.ops.values()].sort((a, b) => a.tid - b.tid)) this.#send(session, op);
  }

  #onMap(): void {
    const { map } = this.#o.maps;
    for (const session of [...this.#sessions.values()]) {
      const gone = !map.isUp(session.osd) || addrVecText(map.clientAddrsOf(session.osd)) !== session.addrs;
      if (gone && session.addrs !== '') this.#disconnect(session);
    }
    const all = [...this.#homeless.values()];
    // As it is now: the first op that is placed connects its session, and the others must be sent on that connection too.
    const connectedNow = new Set<OsdSession>();
    for (const session of this.#sessions.values()) {
      all.push(...session.ops.values());
      if (session.connection !== undefined || session.retryTimer !== undefined) connectedNow.add(session);
    }
    for (const op of all.sort((a, b) => a.tid - b.tid)) {
      const before = op.osd;
      if (!this.#target(op)) continue;
      const session = this.#sessions.get(before);
      const connected = session !== undefined && connectedNow.has(session);
      if (before === op.osd && op.sentEpoch > 0 && connected) continue;
      this.#homeless.delete(op.tid);
      session?.ops.delete(op.tid);
      this.#place(op);
    }
    for (const [osd, session] of this.#sessions)
      if (session.ops.size === 0 && !map.isUp(osd)) {
        this.#disconnect(session);
        this.#sessions.delete(osd);
      }
    this.#o.onDisturbed();
  }

  // --- answers -------------------------------------------------------------------------------------------------------------------

  #onReply(session: OsdSession, reply: MOSDOpReplyValue, message: Message): void {
    const op = session.ops.get(message.tid);
    if (op === undefined) return;
    // An answer to an earlier try: the one to the last try is on its way.
    if (reply.retry >= 0 && reply.retry !== op.attempts - 1) return;
    session.ops.delete(op.tid);
    op.timer?.cancel();
    op.resolve(reply);
  }

  #onBackoff(session: OsdSession, b: MOSDBackoffValue): void {
    const pg = `${b.pg.pool}.${b.pg.seed}`;
    if (b.op === BACKOFF_BLOCK) {
      session.backoffs.push({ pg, id: b.id, begin: b.begin, end: b.end });
      session.connection?.send(MOSDBackoff, { ...b, epoch: this.#o.maps.epoch, op: BACKOFF_ACK_BLOCK });
    } else if (b.op === BACKOFF_UNBLOCK) {
      session.backoffs = session.backoffs.filter((x) => x.id !== b.id || x.pg !== pg);
      for (const op of [...session.ops.values()].sort((x, y) => x.tid - y.tid))
        if (`${op.pg.pool}.${op.pg.seed}` === pg) this.#send(session, op);
    }
  }

  close(): void {
    this.#closed = true;
    const error = new AppError('CLOSED', 'the RADOS client was closed');
    const all = [...this.#homeless.values()];
    for (const session of this.#sessions.values()) {
      all.push(...session.ops.values());
      this.#disconnect(session);
    }
    for (const op of all) {
      op.timer?.cancel();
      op.reject(error);
    }
    this.#sessions.clear();
    this.#homeless.clear();
  }
}
