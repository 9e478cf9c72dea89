import { AppError, assert, errorCode } from '../../base/errors.ts';
import type { ObjectStore, TransactionOp } from '../blockstore/api.ts';
import { isDamage } from '../blockstore/errors.ts';
import { OSD_FLAG_ORDERSNAP, OSD_FLAG_RETURNVEC, OSD_FLAG_RWORDERED } from '../wire/messages/osd_client.ts';
import { PG_ACTIVE } from '../wire/messages/osd_mgr.ts';
import { OP } from '../wire/messages/osd_op.ts';
import type { LogEntry } from '../wire/messages/osd_pg.ts';
import { type EVersion, eversionZero, type HObject, SNAP_DIR, SNAP_HEAD } from '../wire/types.ts';
import { admit, fullVerdict, type Verdict } from './admission.ts';
import type { FullState, InternalWrite, RecoveryGate } from './engine-host.ts';
import { sameWatch, withoutWatcher } from './watch-expiry.ts';
import type { ObjectInfo, SnapSet, WatchInfo } from './object-info.ts';
import { headOf } from './object-key.ts';
import type { OpRequest } from './op-request.ts';
import { objectClasses } from './ops/class-context.ts';
import { plainRead } from './ops/classify.ts';
import * as errno from './ops/errno.ts';
import { runOps } from './ops/interpreter.ts';
import { refusedChanges } from './ops/transaction-size.ts';
import { type LockMode, type ObjectContext, ObjectContexts } from './ops/object-context.ts';
import { OpContext, type OpHost, type OpResult } from './ops/op-context.ts';
import { resolveSnap, validSnapContext } from './ops/snap-ops.ts';
import type { ErasurePg } from './ec/erasure-pg.ts';
import { poolRules } from './ec/pool-rules.ts';
import type { PgCore } from './pg-core.ts';
import { boundReturns, replyTo } from './op-reply.ts';
import { runPgOps } from './pg-list.ts';
import { replyBytesAtMost } from './reply-budget.ts';
import { replicaShows } from './replica-read.ts';
import type { Replication } from './replication.ts';
import { requestSnapContext } from './request-snaps.ts';
import { copySums, sumsSeen } from './scrub-sums.ts';
import { errorEntry, writeEntries } from './write-entries.ts';
import { WatchHub } from './watch.ts';

/** Ops whose payload is of no use once it is on all disks: every member has it, and nothing else refers to it. */
const dataWrites: ReadonlySet<number> = new Set([OP.WRITE, OP.WRITEFULL, OP.APPEND, OP.SETALLOCHINT, OP.CREATE]);

/**
 * Requests of clients on one PG: admission in upstream's order (`PrimaryLogPG::do_op`), per-object order, execution, replication, reply. A request is
 * in `#open` from its arrival to its reply; when a new interval begins all of them start over, in the order of their arrival.
 */
export class OpEngine {
  readonly watches: WatchHub;
  readonly contexts: ObjectContexts;
  readonly #core: PgCore;
  readonly #replication: Replication;
  readonly #gate: RecoveryGate;
  readonly #full: FullState;
  readonly #open = new Set<OpRequest>();
  #waitingForActive: OpRequest[] = [];
  /** Writes that are not on all disks yet, by request: repeats of them wait for the same moment. */
  readonly #pendingByRequest = new Map<string, (() => void)[]>();
  readonly #host: OpHost;
  #notifyCount = 0;
  /** Grows with each reset: what was started before it is void. */
  #generation = 0;

  /** Of an erasure-coded PG. */
  readonly #erasure: ErasurePg | undefined;

  constructor(core: PgCore, replication: Replication, gate: RecoveryGate, full: FullState, erasure?: ErasurePg) {
    this.#core = core;
    this.#replication = replication;
    this.#gate = gate;
    this.#full = full;
    this.#erasure = erasure;
    this.contexts = new ObjectContexts(core.env.store, core.meta.cid);
    this.watches = new WatchHub(core.env.clock, (watcher) => this.#watchExpired(watcher.obc.oid, watcher.info));
    this.#host = {
      store: erasure?.objects ?? core.env.store,
      rules: () => poolRules(core),
      cid: core.meta.cid,
      pool: core.id.pool,
      nowMs: () => core.env.clock.now(),
      random: core.env.random,
      context: (oid) => this.#usable(this.contexts.get(oid)),
      contextAt: (head, snap) => this.#usable(this.#contextAt(head, snap)),
      hashOf: (pool, name, key, nspace) => core.map.hashOf(pool, name, key, nspace),
      readObject: (oid, from, userVersion) => core.env.readObject(oid, from, userVersion),
      watcher: (obc, name, cookie) => this.watches.find(obc, name, cookie),
      nextNotifyId: () => (BigInt(core.map.epoch) << 32n) | BigInt(++this.#notifyCount),
      classes: objectClasses,
      releases: () => core.map.releases,
    };
  }

  /** The PG's objects whole. */
  get objects(): ObjectStore {
    return this.#host.store;
  }

  /** For a write that no client asked for. */
  nextVersion(): EVersion {
    return this.#replication.nextVersion();
  }

  /** Requests not answered yet. */
  get open(): ReadonlySet<OpRequest> {
    return this.#open;
  }

  handle(request: OpRequest): void {
    this.#open.add(request);
    this.#admit(request);
  }

  /** Answers a request that cannot be run at all. */
  refuse(request: OpRequest, result: number): void {
    this.#open.add(request);
    this.#fail(request, result);
  }

  /** A new interval: everything starts over where we are still primary, and is the client's to repeat where not. */
  reset(): void {
    this.#generation++;
    this.#pendingByRequest.clear();
    this.contexts.clear();
    this.watches.reset();
    const requests = [...this.#open];
    this.#waitingForActive = [];
    if (this.#core.isPrimary) {
      this.#waitingForActive = requests.sort((a, b) => a.sequence - b.sequence);
      for (const request of requests) request.restart();
    } else {
      for (const request of requests) this.#drop(request);
    }
  }

  /** The PG serves: takes up what waited. */
  resume(): void {
    const requests = this.#waitingForActive;
    this.#waitingForActive = [];
    for (const request of requests) this.#admit(request);
  }

  /** A connection is gone: nobody waits for the answers to what has not begun. */
  clientClosed(client: OpRequest['client']): void {
    this.#waitingForActive = this.#waitingForActive.filter((request) => {
      if (request.client !== client) return true;
      this.#drop(request);
      return false;
    });
    this.watches.clientClosed(client);
  }

  #drop(request: OpRequest): void {
    this.#open.delete(request);
    request.drop();
  }

  // --- admission ---------------------------------------------------------------------------------------------------------------

  #admit(request: OpRequest): void {
    request.admittedAt = this.#core.map.epoch;
    request.giveBack();
    this.#judge(request, admit(this.#core, request));
  }

  #judge(request: OpRequest, verdict: Verdict): void {
    if (typeof verdict === 'number') this.#fail(request, verdict);
    else if (verdict === 'drop') {
      const { epoch } = request.message;
      const since = this.#core.info.history.samePrimarySince;
      this.#core.env.log.debug('request left to its client', {
        pg: this.#core.text,
        request: request.key,
        epoch,
        since,
      });
      this.#drop(request);
    } else if (verdict === 'pg') this.#pgOp(request);
    else if (verdict === 'wait') {
      request.stage = this.#core.hasState(PG_ACTIVE) ? 'waiting for readable' : 'waiting for peering';
      this.#waitingForActive.push(request);
    } else this.#locate(request, verdict);
  }

  #locate(request: OpRequest, head: HObject): void {
    const { message, kinds } = request;
    const retry = this.#guard(() => this.#locate(request, head));
    if (!this.#isHere(request, head, 'waiting for missing object', retry)) return;
    // A read that is ordered with writes must not pass those that wait here.
    const ordered = kinds.mayWrite || (message.flags & OSD_FLAG_RWORDERED) !== 0;
    if (ordered && !this.#gate.writable(head, retry)) {
      request.stage = 'waiting for degraded object';
      return;
    }
    if (kinds.mayWrite && (this.#duplicate(request) || this.#refusedAsFull(request))) return;
    const lists = message.ops.some((op) => op.op === OP.LIST_SNAPS);
    if (message.snapId === SNAP_DIR && !(lists && message.ops.length === 1)) {
      this.#fail(request, errno.EINVAL);
      return;
    }

    const headContext = this.contexts.get(head);
    if (headContext.damaged) {
      this.#unusable(request, headContext, retry);
      return;
    }
    let target: ObjectContext | undefined = headContext;
    if (message.snapId !== SNAP_HEAD && message.snapId !== SNAP_DIR) {
      target = this.#contextAt(headContext, message.snapId);
      const clone = target === headContext ? undefined : target?.oid;
      if (clone !== undefined && !this.#isHere(request, clone, 'waiting for missing clone', retry)) return;
      if (target?.damaged === true) {
        this.#unusable(request, target, retry);
        return;
      }
    }
    if (!kinds.mayWrite && (target === undefined || !isThere(request, target))) {
      // The lock orders it behind writes under way.
      const at = target ?? headContext;
      at.lock('read', () => {
        at.unlock('read');
        const now = message.snapId === SNAP_HEAD && at.exists;
        if (now) this.#lockAndRun(request, at);
        else if (this.#mayTell(request, at)) this.#fail(request, errno.ENOENT, at.info.userVersion);
      });
      return;
    }
    this.#lockAndRun(request, target!);
  }

  /** Nothing of an object can be told: the primary has it, or it is fetched from another OSD, or is an error until a scrub has found out what it should be. */
  #unusable(request: OpRequest, obc: ObjectContext, retry: () => void): void {
    if (!this.#core.isPrimary) this.#fail(request, errno.EAGAIN);
    else if (this.#gate.repair(obc.oid, undefined)) retry();
    else this.#fail(request, errno.EIO);
  }

  /** An object's context for an op; one of which nothing can be told is an error. */
  #usable<T extends ObjectContext | undefined>(obc: T): T {
    if (obc?.damaged === true)
      throw new AppError('UNREADABLE', `pg ${this.#core.text}: the entry of ${obc.oid.name} is damaged`);
    return obc;
  }

  /** Whether the object may be read here; else the request waits for it, at a replica it goes to the primary. */
  #isHere(request: OpRequest, oid: HObject, stage: string, retry: () => void): boolean {
    if (this.#core.isPrimary) {
      if (this.#gate.readable(oid, retry)) return true;
      request.stage = stage;
    } else if (replicaShows(this.#core, oid)) return true;
    else this.#fail(request, errno.EAGAIN);
    return false;
  }

  #contextAt(head: ObjectContext, snap: bigint): ObjectContext | undefined {
    if (snap === SNAP_HEAD || snap === SNAP_DIR) return head;
    const clone = resolveSnap(head.snapset, head.exists, snap);
    if (clone === undefined) return undefined;
    return clone === 'head' ? head : this.contexts.get({ ...head.oid, snap: clone });
  }

  /**
   * Whether what was read may be told: the lease may have run out meanwhile, and a replica may have been sent a write to the object. If not the request starts over, or
   * goes to the primary.
   */
  #mayTell(request: OpRequest, { oid }: ObjectContext): boolean {
    const core = this.#core;
    if (core.lease.readable && (core.isPrimary || (replicaShows(core, headOf(oid)) && replicaShows(core, oid))))
      return true;
    if (core.isPrimary) this.#admit(request);
    else this.#fail(request, errno.EAGAIN);
    return false;
  }

  /** A replica's read. What its disk does not give the primary has. */
  #finishReplica(request: OpRequest, ctx: OpContext, rval: number): void {
    const { obc } = ctx;
    if (ctx.damaged || obc.stale) this.#fail(request, errno.EAGAIN);
    else if (this.#mayTell(request, obc)) {
      this.#core.env.replicaReads.served++;
      this.#reply(request, rval, ctx.results, eversionZero, obc.info.userVersion);
    }
  }

  /** Makes a callback void once a new interval has begun. */
  #guard(fn: () => void): () => void {
    const generation = this.#generation;
    return () => {
      if (generation === this.#generation) fn();
    };
  }

  /** A repeated write gets the answer of the first; true when it is one. */
  #duplicate(request: OpRequest): boolean {
    const pending = this.#pendingByRequest.get(request.key);
    if (pending !== undefined) {
      request.stage = 'waiting for the first try of this request';
      pending.push(this.#guard(() => this.#duplicate(request)));
      return true;
    }
    const entry = this.#core.meta.findRequest(request.key, this.#core.env.store, request.mayRepeat);
    if (entry === undefined) return false;
    const results = request.message.ops.map(
      (op, i): OpResult => ({
        op,
        rval: entry.returns?.[i]?.rval ?? 0,
        out: entry.returns?.[i] === undefined ? [] : [entry.returns[i].data],
      }),
    );
    this.#reply(request, entry.returnCode, results, entry.version, entry.userVersion);
    return true;
  }

  // --- execution ---------------------------------------------------------------------------------------------------------------

  #lockAndRun(request: OpRequest, obc: ObjectContext): void {
    const { kinds } = request;
    // A write to shards may have to read what is there.
    const alone = kinds.mayRead || this.#erasure !== undefined;
    let mode: LockMode = !kinds.mayWrite ? 'read' : alone ? 'exclusive' : 'write';
    if ((request.message.flags & OSD_FLAG_RWORDERED) !== 0) mode = 'exclusive';
    request.stage = 'waiting for rw locks';
    obc.lock(mode, () => {
      const late = kinds.mayWrite && this.#erasure !== undefined;
      const again = obc.stale;
      // While it waited its copies may have come into other hands.
      if (
        !again &&
        (!late ||
          this.#gate.writable(
            headOf(obc.oid),
            this.#guard(() => this.#locate(request, headOf(obc.oid))),
          ))
      ) {
        const found = kinds.mayWrite ? 'here' : this.#afterWaiting(request, obc);
        if (found === 'here') {
          this.#run(request, obc, mode);
          return;
        }
        // In its turn: what is behind it may make the object anew.
        if (found === 'gone') this.#fail(request, errno.ENOENT, obc.info.userVersion);
        obc.unlock(mode);
        if (found === 'elsewhere') this.#locate(request, headOf(obc.oid));
        return;
      }
      obc.unlock(mode);
      if (!again) return;
      this.#locate(request, headOf(obc.oid));
    });
  }

  /** What a read was to read may be gone when its turn comes: a write before it removed the object, or made a clone of what it was at a snapshot. */
  #afterWaiting(request: OpRequest, obc: ObjectContext): 'here' | 'gone' | 'elsewhere' {
    const { snapId } = request.message;
    const ofSnapshot = snapId !== SNAP_HEAD && snapId !== SNAP_DIR;
    if (ofSnapshot && obc.oid.snap === SNAP_HEAD && this.#contextAt(obc, snapId) !== obc) return 'elsewhere';
    return isThere(request, obc) ? 'here' : 'gone';
  }

  /** A newer map than it was let in by may have fenced its client off: then it is answered or left as one that comes now. */
  #stillAdmitted(request: OpRequest): boolean {
    const verdict = admit(this.#core, request);
    request.admittedAt = this.#core.map.epoch;
    // One that would have to wait now has its turn on the object: what came behind it must not pass it.
    if (typeof verdict === 'object' || verdict === 'wait') return true;
    this.#judge(request, verdict);
    return false;
  }

  /** A write for which there is no room, by the map or by our disk. What was carried out before is known by then. */
  #refusedAsFull(request: OpRequest): boolean {
    const verdict = fullVerdict(this.#core, request, this.#full.full());
    if (verdict !== undefined) this.#judge(request, verdict);
    return verdict !== undefined;
  }

  #run(request: OpRequest, obc: ObjectContext, mode: LockMode): void {
    const { message, kinds } = request;
    const newerMap = request.admittedAt !== this.#core.map.epoch;
    if (newerMap && !this.#stillAdmitted(request)) {
      obc.unlock(mode);
      return;
    }
    request.stage = 'started';
    const snapContext = requestSnapContext(this.#core, message);
    if (kinds.mayWrite) {
      let refused = 0;
      if (!validSnapContext(snapContext)) refused = errno.EINVAL;
      else if ((message.flags & OSD_FLAG_ORDERSNAP) !== 0 && snapContext.seq < obc.snapset.seq)
        refused = errno.EOLDSNAPC;
      // The first try may have finished while this one waited for the lock.
      const done = this.#duplicate(request) || (newerMap && this.#refusedAsFull(request));
      if (!done && refused < 0) this.#fail(request, refused, obc.info.userVersion);
      if (done || refused < 0) {
        obc.unlock(mode);
        return;
      }
    }
    const ctx = new OpContext(this.#host, obc, message, request.client.requester, request.id, snapContext);
    ctx.mayReadOther = (id, nspace, oid) => {
      const other = this.#core.map.pool(id);
      return other !== undefined && request.client.allowed(other, nspace, oid, plainRead);
    };
    if (kinds.mayWrite) this.#runOps(request, ctx, mode);
    else this.#admitReply(request, ctx, mode);
  }

  /** Runs a read once there is memory for what it gives back. It waits with its lock held: what comes behind it on the object stays behind it. */
  #admitReply(request: OpRequest, ctx: OpContext, mode: LockMode): void {
    const generation = this.#generation;
    request.giveBack();
    request.stage = 'waiting for memory for the reply';
    this.#core.env.replies.take(request.client, replyBytesAtMost(ctx.message.ops, ctx.info.size), (held) => {
      if (generation !== this.#generation) {
        held.give();
        return;
      }
      request.stage = 'started';
      request.held = held;
      this.#runOps(request, ctx, mode);
    });
  }

  #runOps(request: OpRequest, ctx: OpContext, mode: LockMode): void {
    const { message } = request;
    const { obc } = ctx;
    const generation = this.#generation;
    const finish = (rval: number): void => {
      if (generation === this.#generation) this.#finish(request, ctx, mode, rval);
    };
    const failed = (error: unknown): void => {
      // A defect of an op's code: the request fails, the PG lives.
      this.#core.env.log.error('operation failed', { pg: this.#core.text, oid: message.oid, error });
      if (generation !== this.#generation) return;
      this.#fail(request, errno.EIO);
      obc.unlock(mode);
    };
    let rval: number | Promise<number>;
    try {
      rval = runOps(ctx);
    } catch (error) {
      failed(error);
      return;
    }
    if (typeof rval === 'number') finish(rval);
    else rval.then(finish, failed);
  }

  #finish(request: OpRequest, ctx: OpContext, mode: LockMode, rval: number): void {
    const { obc } = ctx;
    request.held?.is(ctx.outBytes);
    if (!this.#core.isPrimary) {
      this.#finishReplica(request, ctx, rval);
      obc.unlock(mode);
      return;
    }
    if (ctx.damaged && this.#gate.repair(obc.oid, obc.info.version)) {
      // Before those that wait behind it.
      this.#locate(request, headOf(obc.oid));
      obc.unlock(mode);
      return;
    }
    if (ctx.tooFewShards && this.#waitsForShards(request, obc)) {
      obc.unlock(mode);
      return;
    }
    const mayWrite = request.kinds.mayWrite;
    const changes = mayWrite && rval >= 0 && (ctx.modified || ctx.ops.length > 0);
    const refused = changes ? refusedChanges(this.#core.env.store, ctx.ops, this.#erasure?.code.layout.k) : 0;
    let result = refused < 0 ? refused : rval;
    if (!changes || refused < 0) {
      if (mayWrite) {
        this.#logResult(request, ctx, mode, result);
        return;
      }
      if (this.#mayTell(request, obc)) {
        const { userVersion } = obc.info;
        this.#core.info.sums.read += ctx.delta.read;
        this.#core.info.sums.readKb += ctx.delta.readKb;
        if (rval >= 0) this.#sideEffects(request, ctx, userVersion);
        this.#reply(request, rval, ctx.results, eversionZero, userVersion);
      }
      obc.unlock(mode);
      return;
    }
    const wantsReturns = (request.message.flags & OSD_FLAG_RETURNVEC) !== 0;
    if (!wantsReturns) result = 0;
    else if (!boundReturns(ctx.results)) {
      this.#reply(request, errno.EOVERFLOW, ctx.results, eversionZero, obc.info.userVersion);
      obc.unlock(mode);
      return;
    }
    const erasure = this.#erasure;
    if (erasure === undefined) {
      this.#write(request, ctx, mode, result, wantsReturns);
      return;
    }
    request.stage = 'waiting for shards';
    const generation = this.#generation;
    erasure.plan(obc, this.#core.meta.cid, ctx.ops).then(
      (shards) => {
        if (generation !== this.#generation) return;
        // Reading what is there may have shown that a member does not have it.
        const retry = this.#guard(() => this.#locate(request, headOf(obc.oid)));
        if (this.#gate.writable(headOf(obc.oid), retry)) this.#write(request, ctx, mode, result, wantsReturns, shards);
        else obc.unlock(mode);
      },
      (error: unknown) => {
        if (generation !== this.#generation) return;
        if (isDamage(error) && this.#gate.repair(obc.oid, obc.info.version)) {
          this.#locate(request, headOf(obc.oid));
          obc.unlock(mode);
          return;
        }
        if (errorCode(error) === 'TOO_FEW_SHARDS' && this.#waitsForShards(request, obc)) {
          obc.unlock(mode);
          return;
        }
        this.#core.env.log.error('a write could not be prepared', { pg: this.#core.text, oid: obc.oid.name, error });
        this.#fail(request, errno.EIO);
        obc.unlock(mode);
      },
    );
  }

  /** Shards went away while a request read them: it starts over, and waits if the object cannot be read now. Once for each map: false when that did not help. */
  #waitsForShards(request: OpRequest, { oid }: ObjectContext): boolean {
    const { epoch } = this.#core.map;
    if (request.shardsGoneAt === epoch) return false;
    request.shardsGoneAt = epoch;
    this.#locate(request, headOf(oid));
    return true;
  }

  #write(
    request: OpRequest,
    ctx: OpContext,
    mode: LockMode,
    result: number,
    wantsReturns: boolean,
    shards?: readonly TransactionOp[][],
  ): void {
    const { obc } = ctx;
    const core = this.#core;
    const next = (after: number): EVersion => this.#replication.nextVersion(after);
    const write = writeEntries(ctx, core.meta.cid, next, core.info.lastUserVersion);
    const { entries, before, behind, after, version, userVersion } = write;
    if (write.made !== undefined) this.contexts.forget(write.made);
    const own = entries[entries.length - 1]!;
    own.returnCode = result;
    if (wantsReturns) own.returns = ctx.results.map((r) => ({ rval: r.rval, data: r.out[0] ?? new Uint8Array(0) }));
    const results = wantsReturns ? ctx.results : ctx.results.map(({ op }): OpResult => ({ op, out: [], rval: 0 }));
    const around = (ops: readonly TransactionOp[]): TransactionOp[] => [...before, ...ops, ...behind];
    const committed = (): void => {
      this.#sideEffects(request, ctx, userVersion);
      if (!ctx.exists) this.watches.removeAll(obc);
      this.#reply(request, result, results, version, userVersion);
      if (request.message.ops.every(({ op }) => dataWrites.has(op)))
        for (const op of request.message.ops) for (const piece of op.data) core.env.recycle(piece);
      for (const ops of shards ?? [])
        for (const op of ops) if (op.op === 'write') for (const piece of op.data) core.env.recycle(piece);
      obc.unlock(mode);
    };
    this.#submit(obc, entries, around(ctx.ops), ctx, after, request.key, committed, shards?.map(around));
    request.stage = 'waiting for sub ops';
  }

  /** Puts a change into the object's context, the log and the stores. */
  #submit(
    obc: ObjectContext,
    entries: LogEntry[],
    ops: TransactionOp[],
    ctx: OpContext | undefined,
    after: { info: ObjectInfo; inStore: boolean; snapset: SnapSet },
    requestKey: string | undefined,
    committed: () => void,
    shards?: readonly TransactionOp[][],
  ): void {
    obc.info = after.info;
    obc.inStore = after.inStore;
    obc.snapset = after.inStore ? after.snapset : { seq: 0n, clones: [] };
    if (ctx !== undefined) {
      ctx.delta.addTo(this.#core.info.sums);
      this.#gate.sumsChanged(obc.oid, ctx.delta);
    }
    if (requestKey !== undefined) this.#pendingByRequest.set(requestKey, []);
    this.#replication.submit(
      obc.oid,
      entries,
      ops,
      this.#guard(() => {
        const repeats = requestKey === undefined ? undefined : this.#pendingByRequest.get(requestKey);
        if (requestKey !== undefined) this.#pendingByRequest.delete(requestKey);
        committed();
        for (const repeat of repeats ?? []) repeat();
      }),
      shards,
    );
  }

  /** A write that failed or changed nothing: its result is logged, so that a repeat gets the same answer. */
  #logResult(request: OpRequest, ctx: OpContext, mode: LockMode, rval: number): void {
    const { obc } = ctx;
    if (rval === errno.EAGAIN) {
      this.#reply(request, rval, ctx.results, eversionZero, obc.info.userVersion);
      obc.unlock(mode);
      return;
    }
    const version = this.#replication.nextVersion();
    const { userVersion } = obc.info;
    const entry = errorEntry(ctx, version, rval, (request.message.flags & OSD_FLAG_RETURNVEC) !== 0);
    const after = { info: obc.info, inStore: obc.inStore, snapset: obc.snapset };
    this.#submit(obc, [entry], [], undefined, after, request.key, () => {
      if (rval >= 0) this.#sideEffects(request, ctx, userVersion);
      this.#reply(request, rval, ctx.results, version, userVersion);
      obc.unlock(mode);
    });
    request.stage = 'waiting for sub ops';
  }

  #sideEffects(request: OpRequest, ctx: OpContext, userVersion: number): void {
    const { effects, obc } = ctx;
    if (effects === undefined) return;
    for (const { info, pings } of effects.watch) this.watches.connect(obc, info, request.client, pings);
    for (const { name, cookie } of effects.unwatch) this.watches.remove(obc, name, cookie, false);
    for (const notify of effects.notify) this.watches.notify(obc, notify, request.client, userVersion);
    for (const ack of effects.notifyAck) this.watches.ack(obc, request.client.name, ack.id, ack.cookie, ack.reply);
  }

  /**
   * A change that no client asked for, in its turn on the object `head`; `build` makes it once the object is locked (undefined: nothing to do).
   * `done` is not called when a new interval begins.
   */
  internalWrite(head: HObject, build: (obc: ObjectContext) => InternalWrite | undefined, done: () => void): void {
    const run = this.#guard(() => {
      if (!this.#gate.readable(head, run) || !this.#gate.writable(head, run)) return;
      const obc = this.contexts.get(head);
      obc.lock('write', () => {
        if (obc.stale) {
          obc.unlock('write');
          run();
          return;
        }
        const before = copySums(this.#core.info.sums);
        const fetched = obc.damaged && this.#gate.repair(obc.oid, undefined);
        if (fetched) {
          obc.unlock('write');
          run();
          return;
        }
        const write = obc.damaged ? undefined : build(obc);
        const delta = copySums(this.#core.info.sums);
        for (const field of sumsSeen) delta[field] -= before[field];
        this.#gate.sumsChanged(head, delta);
        const finish = (): void => {
          obc.unlock('write');
          done();
        };
        if (write === undefined) finish();
        else this.#submit(obc, write.entries, write.ops, undefined, write.after, undefined, finish);
      });
    });
    run();
  }

  /**
   * A read that no client asked for, in its turn on the object; `run` gets the head or the clone that serves `snap`, undefined when there is none, and ends the
   * read by the callback. Not called when a new interval begins.
   */
  internalRead(head: HObject, snap: bigint, run: (obc: ObjectContext | undefined, done: () => void) => void): void {
    const start = this.#guard(() => {
      if (!this.#gate.readable(head, start)) return;
      const headContext = this.contexts.get(head);
      const target = this.#contextAt(headContext, snap);
      if (target !== undefined && target !== headContext && !this.#gate.readable(target.oid, start)) return;
      const obc = target ?? headContext;
      const generation = this.#generation;
      obc.lock('read', () => {
        const done = (): void => {
          if (generation === this.#generation) obc.unlock('read');
        };
        if (!obc.stale) {
          run(target, done);
          return;
        }
        done();
        start();
      });
    });
    start();
  }

  /** Our copy of an object is damaged. False: there is no other to fetch it from. */
  repair(obc: ObjectContext): boolean {
    return this.#gate.repair(obc.oid, obc.damaged ? undefined : obc.info.version);
  }

  /** Calls `done` when all writes of objects `inside` that were let in before have ended. */
  quiesce(inside: (oid: HObject) => boolean, done: () => void): void {
    let waiting = 1;
    const one = (): void => {
      if (--waiting === 0) done();
    };
    for (const obc of [...this.contexts.all()]) {
      if (obc.idle || !inside(obc.oid)) continue;
      waiting++;
      obc.lock('read', () => {
        obc.unlock('read');
        one();
      });
    }
    one();
  }

  /** Takes a silent watcher out of the object's info (`handle_watch_timeout`). */
  #watchExpired(head: HObject, info: WatchInfo): void {
    const core = this.#core;
    if (!core.isPrimary || !core.hasState(PG_ACTIVE)) return;
    const build = (obc: ObjectContext): InternalWrite | undefined => {
      const live = this.watches.find(obc, info.name, info.cookie);
      const back = live !== undefined && live.deadlineMs > core.env.clock.monotonic();
      return back ? undefined : withoutWatcher(core.meta.cid, obc, info, this.#replication.nextVersion());
    };
    this.internalWrite(head, build, () => {
      const obc = this.contexts.get(head);
      if (!obc.info.watchers.some((w) => sameWatch(w, info))) this.watches.remove(obc, info.name, info.cookie, true);
    });
  }

  #pgOp(request: OpRequest): void {
    const { clock } = this.#core.env;
    const pause = (): Promise<void> => new Promise((resolve) => void clock.after(0, resolve));
    const generation = this.#generation;
    const answer = ({ result, results }: { result: number; results: OpResult[] }): void => {
      if (generation !== this.#generation || request.replied) return;
      this.#reply(request, result, results, eversionZero, this.#core.info.lastUserVersion);
    };
    runPgOps(this.#core, this.#gate, request.message, pause).then(answer, (error: unknown) => {
      this.#core.env.log.error('operation failed', { pg: this.#core.text, error });
      answer({ result: errno.EIO, results: [] });
    });
  }

  // --- replies -----------------------------------------------------------------------------------------------------------------

  #fail(request: OpRequest, result: number, userVersion = 0): void {
    const results = request.message.ops.map((op): OpResult => ({ op, out: [], rval: 0 }));
    this.#reply(request, result, results, eversionZero, userVersion);
  }

  #reply(
    request: OpRequest,
    result: number,
    results: readonly OpResult[],
    version: EVersion,
    userVersion: number,
  ): void {
    assert(this.#open.delete(request) || request.replied, 'reply to a request that is not open');
    request.reply(replyTo(this.#core, request, result, results, version, userVersion));
  }
}

/** Whether a reader finds the object. What is left of a deleted one only LIST_SNAPS sees. */
function isThere({ message }: OpRequest, obc: ObjectContext): boolean {
  return message.snapId === SNAP_DIR ? obc.inStore : obc.exists;
}
