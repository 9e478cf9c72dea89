import type { Clock } from '../../base/clock.ts';
import { concatBytes, emptyBytes } from '../../base/bytes.ts';
import { AppError, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { ObjectStore, TransactionOp } from '../blockstore/api.ts';
import { childSeeds } from '../maps/pg-num.ts';
import { FEATURES_PACIFIC } from '../wire/features.ts';
import type { MessageCodec } from '../wire/message.ts';
import { type MOSDOpValue, requestIdOf } from '../wire/messages/osd_client.ts';
import type { PgStat, SlowOps } from '../wire/messages/osd_mgr.ts';
import { MOSDCopyGetReply } from '../wire/messages/osd_copy.ts';
import { MOSDPGLog, MOSDPGNotify, MOSDPGQuery, type PgMessage } from '../wire/messages/osd_osd.ts';
import type { PastInterval, PgHistory } from '../wire/messages/osd_pg.ts';
import type { UTime } from '../wire/encoding.ts';
import { type EntityAddr, type EntityAddrVec, parsePg, type PgId, pgText, sameAddrs } from '../wire/types.ts';
import { ClockDeltas } from './clock-deltas.ts';
import { CopyReads } from './copy-reads.ts';
import { deliver, peerCodecs } from './deliver.ts';
import type { MapView } from './map-view.ts';
import { fullnessOf } from './fullness.ts';
import { MergeReports } from './merge-reports.ts';
import { ReplyBudget } from './reply-budget.ts';
import { MonRequests } from './mon-requests.ts';
import { firstObjectKey, firstTempKey, metaKey } from './object-key.ts';
import { OpCounters } from './op-counters.ts';
import { OpHistory } from './op-history.ts';
import { type OpClient, OpRequest } from './op-request.ts';
import { classify, plainRead } from './ops/classify.ts';
import { objectClasses } from './ops/class-context.ts';
import { absentInfo } from './peering.ts';
import { type OsdOptions, pgLogLimits, recoveryPace } from './osd-options.ts';
import { Pg, type PgOptions } from './pg.ts';
import { historySince, intervalLasts, type MapHistory } from './pg-birth.ts';
import type { PgEnv } from './pg-env.ts';
import { requestKey } from './pg-log.ts';
import { PgMeta } from './pg-meta.ts';
import { PgRemover } from './pg-remover.ts';
import { RecoveryPace } from './recovery-pace.ts';
import { mergePgs, splitPg } from './pg-split.ts';
import type { ReplicaReadCounts } from './replica-read.ts';
import type { LogLimits } from './replication.ts';
import { Reserver } from './reserver.ts';
import type { LocalTime, SystemLoad } from './scrub-schedule.ts';
import { ScrubScheduler } from './scrub-scheduler.ts';
import { envFor, findPg, leadingPg, noMember, osdOf, senderOf, viewFor } from './shards.ts';

/** What the OSD asks of its surroundings: network, mon, the process. */
export interface OsdHost {
  readonly whoami: number;
  readonly fsid: string;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly maps: MapHistory;
  /** To another OSD at the address that `map` gives it. `sent`: as in SendOptions. */
  sendOsd<T>(osd: number, codec: MessageCodec<T>, body: T, sent?: () => void): void;
  /** Resolves when the connection to an OSD has taken most of what is queued for it, or is gone. */
  drained(osd: number): Promise<void>;
  sendMon<T>(codec: MessageCodec<T>, body: T): void;
  /** Statistics should be sent soon. */
  reportSoon(): void;
  /** The disk failed: nothing more can be promised. */
  fatal(error: unknown): void;
  full(): boolean;
  /** A line for the cluster log; levels are those of `messages/log.ts`. */
  clusterLog(level: number, text: string): void;
  /** What holds now. */
  options(): OsdOptions;
  /** The disk has moving parts. */
  readonly rotating: boolean;
  load(): SystemLoad;
  localTime(): LocalTime;
  /** Memory of any content for a payload. */
  take(length: number): Uint8Array;
  /** How much what clients read may take until it is sent. */
  readonly replyBytes: number;
  /** Disconnects a client that takes none of its replies while others wait. */
  endClient(client: OpClient): void;
  /** A payload that nobody reads any more. */
  recycle(bytes: Uint8Array): void;
  /** Bounds of the logs of PGs, where they are not to follow from the number of PGs (simulations). */
  readonly logLimits?: LogLimits;
  /** Whether the map shows this very incarnation up: only then does it speak. */
  isMe(map: MapView): boolean;
  /** Tells a client of the maps since `epoch`. */
  shareMaps(client: OpClient, epoch: number): void;
}

/** A client that speaks of maps further ahead than this is not of this cluster's time. */
const maxEpochsAhead = 10_000;

/** One OSD: its PGs, who gets which message, which maps they have seen. Deterministic over its host. */
export class Osd {
  readonly pgs = new Map<string, Pg>();
  readonly #host: OsdHost;
  readonly #env: PgEnv;
  readonly #replies: ReplyBudget<OpClient>;
  readonly #remover: PgRemover;
  readonly #copyReads: CopyReads;
  readonly scrubs: ScrubScheduler;
  readonly #monRequests: MonRequests;
  readonly #merges: MergeReports;
  /** Who may recover or backfill. */
  readonly reserver: Reserver;
  readonly #pace: RecoveryPace;
  #map: MapView | undefined;
  #waitingForMap: { epoch: number; run: () => void; client?: OpClient }[] = [];
  #sequence = 0;
  /** Data for other OSDs that waits for room on the connection. */
  readonly #bulk = new Map<number, (() => Promise<void>)[]>();
  /** Set once a map has shown us up: before that an older incarnation's duties are not ours. */
  #everUp = false;
  #stopped = false;
  #leaving = false;
  readonly replicaReads: ReplicaReadCounts = { asked: 0, served: 0, missing: 0, conflict: 0 };
  /** What heartbeats tell of the clocks of other OSDs. */
  readonly clockDeltas = new ClockDeltas();
  /** Requests of clients not answered yet, over all PGs and those that wait for a map. */
  opsInFlight = 0;
  /** Requests that took long. */
  readonly opHistory: OpHistory;
  readonly counters = new OpCounters();
  /** Of transactions to the disk; a moving average. */
  commitLatencyMs = 0;
  /** Copies here that were wrong or lost and were replaced. */
  shardsRepaired = 0;

  constructor(host: OsdHost) {
    this.#host = host;
    this.#replies = new ReplyBudget(
      host.replyBytes,
      () => host.clock.monotonic(),
      (client) => host.endClient(client),
    );
    this.opHistory = new OpHistory(() => host.options());
    this.#remover = new PgRemover(host.store, host.clock, (ops, done) => this.#commit(ops, done));
    this.reserver = new Reserver(
      () => Math.max(1, host.options().maxBackfills),
      // Not from inside the PG that asks.
      (run) => void host.clock.after(0, () => this.#stopped || run()),
    );
    this.#pace = new RecoveryPace(host.clock, () =>
      recoveryPace(host.options(), { rotating: host.rotating, busy: this.opsInFlight > 0 }),
    );
    this.#copyReads = new CopyReads({
      whoami: host.whoami,
      clock: host.clock,
      map: () => this.#map,
      sendOsd: (osd, codec, body) => this.#env.send(osd, codec, body),
      local: (m) => this.pgs.get(pgText(m.pg))?.onCopyGet(m, (reply) => this.#copyReads.onReply(reply)),
    });
    this.#env = {
      whoami: host.whoami,
      store: host.store,
      clock: host.clock,
      random: host.random,
      log: host.log,
      send: (osd, codec, body, sent) => {
        if (this.#stopped || this.#map?.isUp(osd) !== true) return;
        if (osd === host.whoami) {
          this.#sendSelf(codec, body);
          sent?.();
        } else host.sendOsd(osd, codec, body, sent);
      },
      bulk: (osd, send) => this.#sendBulk(osd, send),
      commit: (ops, done) => this.#commit(ops, done),
      readObject: (oid, from, userVersion) => this.#copyReads.read(oid, from, userVersion),
      take: (length) => host.take(length),
      replies: this.#replies,
      recycle: (bytes) => host.recycle(bytes),
      wantUpThru: (epoch) => this.#monRequests.wantUpThru(epoch),
      wantPgTemp: (pg, osds) => this.#monRequests.wantPgTemp(pg, osds),
      reportSoon: () => host.reportSoon(),
      reserve: (request) => this.reserver.request(request),
      pace: this.#pace,
      scrubSlot: () => this.scrubs.slot(),
      options: () => host.options(),
      leaving: () => this.#leaving,
      clockDelta: (osd) => this.clockDeltas.get(osd, this.#map?.upFrom(osd) ?? 0),
      replicaReads: this.replicaReads,
      countRecovered: (bytes) => this.counters.recovered(bytes),
      countRepair: () => void this.shardsRepaired++,
      clusterLog: (level, text) => host.clusterLog(level, text),
    };
    this.#monRequests = new MonRequests({
      whoami: host.whoami,
      fsid: host.fsid,
      clock: host.clock,
      map: () => this.#map,
      sendMon: (codec, body) => host.sendMon(codec, body),
    });
    this.#merges = new MergeReports(this.pgs, this.#monRequests);
    this.scrubs = new ScrubScheduler({
      clock: host.clock,
      random: host.random,
      pgs: this.pgs,
      options: () => host.options(),
      load: () => host.load(),
      localTime: () => host.localTime(),
      recovering: () => this.reserver.granted > 0,
    });
  }

  get map(): MapView | undefined {
    return this.#map;
  }

  // --- start and stop ------------------------------------------------------------------------------------------------------------

  /** Loads the PGs from the store and takes them through the maps that are known. */
  load(): void {
    const { store, maps, log } = this.#host;
    for (const cid of store.collections()) {
      const id = parsePg(cid);
      if (id === undefined) continue;
      const meta = PgMeta.load(store, id);
      const from = meta === undefined ? undefined : (maps.get(meta.epoch) ?? maps.get(maps.oldest));
      if (meta === undefined && store.stat(cid, metaKey) === undefined) {
        log.info('removing what is left of a PG', { pg: cid });
        this.#remover.add(cid);
        continue;
      }
      if (meta === undefined || from === undefined) throw damagedPg(this.#host.whoami, cid, meta?.epoch);
      const temps = store.list(cid, firstTempKey, 4096).filter((key) => Buffer.compare(key, firstObjectKey) < 0);
      if (temps.length > 0) this.#commit(temps.map((key) => ({ op: 'remove', cid, key }) as const));
      const pg = new Pg(meta, envFor(this.#env, id), viewFor(from, id), this.#pgOptions(cid));
      pg.core.lease.unknownLease();
      this.pgs.set(cid, pg);
    }
    if (maps.newest > 0) this.advanceTo(maps.newest);
    log.info('PGs loaded', { pgs: this.pgs.size, epoch: maps.newest });
  }

  /** Clients are answered no more reads, so that nobody has to wait for our leases; everything else goes on until `stop`. */
  leave(): void {
    this.#leaving = true;
  }

  stop(): void {
    this.#stopped = true;
    this.#monRequests.stop();
    this.#copyReads.stop();
    this.#pace.stop();
    this.scrubs.stop();
    for (const pg of this.pgs.values()) pg.shutdown();
    this.#waitingForMap = [];
  }

  #pgOptions(cid: string): PgOptions {
    return {
      full: this.#host,
      logLimits: () => {
        if (this.#host.logLimits !== undefined) return this.#host.logLimits;
        return pgLogLimits(this.#host.options(), this.pgs.size);
      },
      removeMe: () => this.#removePg(cid),
      scrubEnded: () => this.scrubs.ended(),
      mergeReady: () => this.#map !== undefined && this.#merges.check(this.#map),
    };
  }

  #commit(ops: TransactionOp[], done?: () => void): void {
    if (this.#stopped) return;
    const startMs = this.#host.clock.monotonic();
    this.#host.store.queue({ ops }).then(
      () => {
        if (this.#stopped) return;
        this.commitLatencyMs += (this.#host.clock.monotonic() - startMs - this.commitLatencyMs) / 16;
        done?.();
      },
      (error: unknown) => {
        if (!this.#stopped) this.#host.fatal(error);
      },
    );
  }

  // --- maps ------------------------------------------------------------------------------------------------------------------------

  /** New maps up to `epoch` are in the history: takes everything through them. */
  advanceTo(epoch: number): void {
    const { maps, whoami, log } = this.#host;
    this.#advancePgs(epoch);
    const map = maps.get(epoch);
    if (map === undefined || (this.#map !== undefined && map.epoch <= this.#map.epoch)) return;
    this.#map = map;
    for (const [cid, pg] of [...this.pgs]) if (map.pool(pg.id.pool) === undefined) this.#removePg(cid);
    const up = this.#host.isMe(map);
    if (up && !this.#everUp) log.info('up', { epoch });
    this.#everUp ||= up;
    if (!this.#everUp) return;
    if (up) this.#createPgs(map, whoami);
    for (const pg of this.pgs.values()) pg.settle();
    this.#copyReads.onMap();
    this.#monRequests.onMap(map);
    this.#merges.check(map);
    this.#runWaiting();
  }

  /** Takes the PGs through the maps up to `epoch`, splits and merges with them. */
  #advancePgs(epoch: number): void {
    let oldest = epoch;
    for (const pg of this.pgs.values()) oldest = Math.min(oldest, pg.core.map.epoch);
    for (let e = oldest + 1; e <= epoch; e++) {
      const map = this.#host.maps.get(e);
      if (map === undefined) continue;
      const shrunk: { pg: Pg; before: number }[] = [];
      for (const pg of [...this.pgs.values()]) {
        const pool = map.pool(pg.id.pool);
        if (pg.core.map.epoch >= e || pool === undefined) continue;
        const before = pg.core.key.pgNum;
        pg.advance(viewFor(map, pg.id));
        if (before > 0 && before < pool.pgNum) this.#split(pg, before);
        else if (before > pool.pgNum) shrunk.push({ pg, before });
      }
      if (shrunk.length > 0) this.#merge(shrunk, map);
    }
  }

  #split(parent: Pg, before: number): void {
    const { children, ops } = splitPg(parent.core, before);
    if (children.length === 0) return;
    for (const { cid } of children) {
      // What is left of one that was here before is not it.
      if (this.pgs.has(cid)) this.#removePg(cid);
      this.#remover.forget(cid);
    }
    this.#host.log.info('PG splits', { pg: parent.core.text, into: children.map(({ cid }) => cid).join(' ') });
    this.#commit(ops);
    for (const meta of children) {
      const pg = new Pg(meta, envFor(this.#env, meta.pg), parent.core.map, this.#pgOptions(meta.cid));
      pg.core.lease.inherit(parent.core.lease);
      this.pgs.set(meta.cid, pg);
    }
    this.#host.reportSoon();
  }

  /** PGs of pools that have fewer of them now: those that are no more go into the one that they came from. */
  #merge(shrunk: readonly { pg: Pg; before: number }[], map: MapView): void {
    const gone = shrunk.filter(({ pg }) => pg.id.seed >= map.pool(pg.id.pool)!.pgNum);
    for (const { pg, before } of shrunk) {
      const pool = map.pool(pg.id.pool)!;
      const seeds = childSeeds(pg.id.seed, pool.pgNum, before);
      if (seeds.length === 0) continue;
      // Shards of erasure-coded PGs merge with those of the same place.
      const sources = gone.filter(
        ({ pg: { id } }) => id.pool === pg.id.pool && id.shard === pg.id.shard && seeds.includes(id.seed),
      );
      const parts = sources.filter((each) => each.before === before).map((each) => each.pg);
      const ops = mergePgs(
        pg.core,
        parts.map(({ core }) => core),
        before,
        pool,
        this.#host.store,
      );
      this.#host.log.info('PG merges', { pg: pg.core.text, from: parts.map(({ core }) => core.text).join(' ') });
      for (const part of parts) {
        pg.core.lease.inherit(part.core.lease);
        part.shutdown();
        this.pgs.delete(part.core.text);
      }
      this.#commit(ops);
    }
    // Without a copy of the PG that it goes into it is of no use: that one is filled from others.
    for (const { pg } of gone) if (this.pgs.get(pg.core.text) === pg) this.#removePg(pg.core.text);
    this.#host.reportSoon();
  }

  #runWaiting(): void {
    if (this.#waitingForMap.length === 0) return;
    const { epoch } = this.#map!;
    const ready = this.#waitingForMap.filter((w) => w.epoch <= epoch);
    this.#waitingForMap = this.#waitingForMap.filter((w) => w.epoch > epoch);
    for (const { run } of ready) run();
  }

  #whenMap(epoch: number, run: () => void, client?: OpClient): void {
    if (this.#map !== undefined && this.#map.epoch >= epoch) run();
    else this.#waitingForMap.push(client === undefined ? { epoch, run } : { epoch, run, client });
  }

  /** Makes the PGs that this OSD leads and does not have: those of new pools, or of pools that had no OSDs until now. */
  #createPgs(map: MapView, whoami: number): void {
    for (const id of map.pools()) {
      const pool = map.pool(id)!;
      if (pool.erasure && pool.code === undefined) continue;
      for (let seed = 0; seed < pool.pgNum; seed++) {
        if (map.place({ pool: id, seed }).actingPrimary !== whoami) continue;
        const pg = leadingPg(map, { pool: id, seed });
        if (this.pgs.has(pgText(pg))) continue;
        const created = this.#host.maps.poolCreated(id);
        // Without its whole history it may exist elsewhere: its members tell us of it.
        if (created !== undefined) this.#createPg(pg, map, created);
      }
    }
  }

  #createPg(pg: PgId, map: MapView, created: number): void {
    const born = historySince(this.#host.maps, pg, created, map.epoch);
    if (born !== undefined) this.#makePg(pg, map, born.history, born.past);
  }

  #makePg(id: PgId, map: MapView, history: PgHistory, past: readonly PastInterval[]): Pg {
    const cid = pgText(id);
    this.#remover.forget(cid);
    const pg = Pg.create(id, envFor(this.#env, id), viewFor(map, id), history, past, this.#pgOptions(cid));
    this.pgs.set(cid, pg);
    return pg;
  }

  #removePg(cid: string): void {
    const pg = this.pgs.get(cid);
    if (pg === undefined) return;
    pg.shutdown();
    this.pgs.delete(cid);
    this.#remover.add(cid);
    this.#host.reportSoon();
  }

  /** Asks the mon again for what it has not granted yet: its session is new, or a request or its answer was lost. */
  askMonAgain(): void {
    if (!this.#stopped) this.#monRequests.askAgain();
  }

  /** An operator wants PGs that this OSD leads recovered before others, or no more; others are left out. */
  forceRecovery(pgs: Iterable<PgId>, what: 'recovery' | 'backfill', wanted: boolean): void {
    for (const id of pgs) findPg(this.pgs, id)?.force(what, wanted);
  }

  /** Settings have changed. */
  optionsChanged(): void {
    this.reserver.fill();
    this.#pace.changed();
  }

  /** To another shard that lies here. */
  #sendSelf<T>(codec: MessageCodec<T>, body: T): void {
    const { whoami, clock } = this.#host;
    const { front, data } = codec.encode(body, FEATURES_PACIFIC);
    const { version, compat } = codec;
    const bytes = { front: front.slice(), middle: emptyBytes, data: concatBytes(data ?? []).slice() };
    const copy = codec.decode({ ...bytes, version, compat, features: FEATURES_PACIFIC }) as PgMessage;
    const addrs = this.#map!.clusterAddrs(whoami);
    clock.after(0, () => this.#stopped || this.onPeer(whoami, addrs, codec.type, copy));
  }

  #sendBulk(osd: number, send: () => Promise<void>): void {
    const queue = this.#bulk.get(osd);
    if (queue !== undefined) {
      queue.push(send);
      return;
    }
    this.#bulk.set(osd, [send]);
    this.#runBulk(osd).catch((error: unknown) => this.#host.fatal(error));
  }

  async #runBulk(osd: number): Promise<void> {
    const queue = this.#bulk.get(osd)!;
    while (queue.length > 0 && !this.#stopped) {
      if (osd !== this.#host.whoami) await this.#host.drained(osd);
      await queue.shift()!();
    }
    this.#bulk.delete(osd);
  }

  // --- messages of other OSDs --------------------------------------------------------------------------------------------------

  /** A message about a PG from `osd.from` at `addrs`; `type` says which. False: not of this kind. */
  onPeer(from: number, addrs: EntityAddrVec, type: number, body: PgMessage): boolean {
    if (!peerCodecs.has(type)) return false;
    this.#whenMap(body.epoch, () => {
      try {
        this.#peer(from, addrs, type, body);
      } catch (error) {
        // A broken invariant of one PG: this OSD must not go on as if it held.
        this.#host.log.error('message could not be handled', {
          from,
          pg: pgText(body.pg),
          type,
          error: errorText(error),
        });
        this.#host.fatal(error);
      }
    });
    return true;
  }

  #peer(osd: number, addrs: EntityAddrVec, type: number, m: PgMessage): void {
    const map = this.#map!;
    if (!this.#everUp) return;
    // Another incarnation of that OSD sent it.
    if (!map.isUp(osd) || !sameAddrs(map.clusterAddrs(osd), addrs) || map.upFrom(osd) > m.epoch) return;
    if (type === MOSDCopyGetReply.type) {
      this.#copyReads.onReply(m as MOSDCopyGetReply);
      return;
    }
    const from = senderOf(osd, m);
    const pg = this.pgs.get(pgText(m.pg)) ?? this.#absent(from, type, m, viewFor(map, m.pg));
    if (pg === undefined || m.interval < pg.core.interval) return;
    deliver(pg, from, type, m, (reply) => this.#env.send(osd, MOSDCopyGetReply, reply));
  }

  /** A message about a PG that is not here: it may be ours to make, or to say that we have nothing. */
  #absent(from: number, type: number, m: PgMessage, map: MapView): Pg | undefined {
    const pool = map.pool(m.pg.pool);
    if (pool === undefined || m.pg.seed >= pool.pgNum) return undefined;
    if ((m.pg.shard !== undefined) !== pool.erasure || (pool.erasure && pool.code === undefined)) return undefined;
    const env = envFor(this.#env, m.pg);
    const place = map.place(m.pg);
    if (type === MOSDPGQuery.type) {
      const query = m as MOSDPGQuery;
      const info = absentInfo(query.history);
      const head = { pg: m.pg, epoch: map.epoch, interval: query.history.sameIntervalSince };
      if (query.kind === 'info') env.send(from, MOSDPGNotify, { ...head, info, past: [] });
      else
        env.send(from, MOSDPGLog, {
          ...head,
          info,
          log: { tail: info.logTail, head: info.lastUpdate, entries: [], dups: [] },
          missing: [],
          past: [],
          undoable: [],
          activate: 'no',
          lease: undefined,
        });
      return undefined;
    }
    const activates = type === MOSDPGLog.type && (m as MOSDPGLog).activate !== 'no' && place.actingPrimary === from;
    const tells = type === MOSDPGNotify.type && place.actingPrimary === env.whoami;
    // Of an interval that is over: a copy made with it would speak in an interval that the others have left. They ask or tell again in the new one.
    if (!(activates || tells) || !intervalLasts(this.#host.maps, m.pg, m.epoch, map.epoch)) return undefined;
    const { info, past } = m as MOSDPGLog | MOSDPGNotify;
    const pg = this.#makePg(m.pg, this.#map!, historyNow(info.history, m.interval), past);
    pg.settle();
    return pg;
  }

  // --- clients -----------------------------------------------------------------------------------------------------------------

  /** A request of a client; `finished` is called when it is answered or dropped. */
  onClientOp(client: OpClient, message: MOSDOpValue, tid: number, finished: () => void): void {
    this.opsInFlight++;
    const done = (): void => {
      this.opsInFlight--;
      finished();
    };
    if (message.epoch > (this.#map?.epoch ?? 0) + maxEpochsAhead) {
      done();
      return;
    }
    const run = (): void => {
      if (this.#stopped || !client.open) done();
      else this.#clientOp(client, message, tid, done);
    };
    this.#whenMap(message.epoch, run, client);
  }

  #clientOp(client: OpClient, message: MOSDOpValue, tid: number, done: () => void): void {
    const map = this.#map!;
    if (message.epoch < map.epoch) this.#host.shareMaps(client, message.epoch);
    // A client may not know of shards: it means the one that leads.
    const shard = message.pg.shard;
    const pg = this.pgs.get(pgText(shard < 0 ? leadingPg(map, message.pg) : message.pg));
    if (pg === undefined) {
      this.#host.log.debug('request for a PG that is not here', { pg: pgText(message.pg), epoch: message.epoch });
      // Not here: the client finds out where from its newer map, or sends again when the PG is made.
      done();
      return;
    }
    const id = requestIdOf(message, client.name, tid);
    const kinds = classify(message.ops, objectClasses.lookup);
    const request: OpRequest = new OpRequest(
      {
        client,
        message,
        tid,
        id,
        key: requestKey(id),
        kinds: typeof kinds === 'number' ? plainRead : kinds,
        sequence: ++this.#sequence,
        receivedMs: this.#host.clock.monotonic(),
      },
      (reply) => {
        this.opHistory.finished(request, this.#host.clock);
        if (reply !== undefined) this.counters.answered(request, reply, this.#host.clock.monotonic());
        done();
      },
    );
    if (typeof kinds === 'number') pg.engine.refuse(request, kinds);
    else pg.handleOp(request);
  }

  clientClosed(client: OpClient): void {
    const gone = this.#waitingForMap.filter((w) => w.client === client);
    if (gone.length > 0) this.#waitingForMap = this.#waitingForMap.filter((w) => w.client !== client);
    for (const { run } of gone) run();
    for (const pg of this.pgs.values()) pg.clientClosed(client);
  }

  /** Requests of clients that have waited for longer than `osd_op_complaint_time`. */
  slowOps(): SlowOps {
    const limitMs = this.#host.options().opComplaintTime * 1000;
    let count = 0;
    let oldestMs = 0;
    if (limitMs > 0)
      for (const { ageMs } of this.openRequests()) {
        if (ageMs < limitMs) continue;
        count++;
        oldestMs = Math.max(oldestMs, ageMs);
      }
    return { count, oldestSec: Math.floor(oldestMs / 1000) };
  }

  /** Requests that are not answered yet, by PG. */
  *openRequests(): Generator<{ request: OpRequest; ageMs: number }> {
    const nowMs = this.#host.clock.monotonic();
    for (const pg of this.pgs.values())
      for (const request of pg.engine.open) yield { request, ageMs: nowMs - request.receivedMs };
  }

  /** Clients that the newest map shuts out. */
  blocklist(): { addr: EntityAddr; until: UTime }[] {
    return this.#map?.blocklist() ?? [];
  }

  /** What `ceph pg <id> query` shows. */
  query(pgid: string): Record<string, unknown> | undefined {
    const id = parsePg(pgid);
    return id === undefined ? undefined : findPg(this.pgs, id)?.query();
  }

  // --- statistics and housekeeping ---------------------------------------------------------------------------------------------

  /** Statistics of the PGs that this OSD leads. */
  stats(): PgStat[] {
    const nowMs = this.#host.clock.now();
    const stats: PgStat[] = [];
    for (const pg of this.pgs.values()) if (pg.core.isPrimary) stats.push(pg.stat(nowMs));
    return stats;
  }

  /** What is held here of every PG. */
  *held(): Generator<{ pool: number; bytes: number; omapBytes: number }> {
    for (const { core } of this.pgs.values())
      yield {
        pool: core.id.pool,
        bytes: Math.ceil(core.info.sums.bytes / (core.code?.code.k ?? 1)),
        omapBytes: core.info.sums.omapBytes,
      };
  }

  /** OSDs with which we share PGs. */
  peers(): Set<number> {
    const out = new Set<number>();
    for (const pg of this.pgs.values()) {
      for (const member of pg.core.key.up) out.add(osdOf(member));
      for (const member of pg.core.key.acting) out.add(osdOf(member));
    }
    out.delete(this.#host.whoami);
    out.delete(noMember);
    return out;
  }

  /** Every few seconds. */
  tick(): void {
    for (const pg of this.pgs.values()) pg.tick();
    this.scrubs.tick();
    this.#replies.tick();
    this.askMonAgain();
    if (this.#map === undefined) return;
    this.#merges.check(this.#map);
    this.#monRequests.fullness(fullnessOf(this.#host.store.statfs(), this.#map));
  }

  /** Oldest map that a PG may still ask for when it is loaded again. */
  oldestMapNeeded(): number {
    let oldest = this.#map?.epoch ?? 0;
    for (const pg of this.pgs.values()) {
      oldest = Math.min(oldest, pg.core.meta.writtenEpoch);
    }
    return oldest;
  }
}

/** The history of a PG that is made here because others have it. */
function historyNow(history: PgHistory, interval: number): PgHistory {
  return { ...history, sameIntervalSince: interval };
}

/** Its objects may be all there: nothing of it is removed. */
function damagedPg(whoami: number, cid: string, epoch: number | undefined): AppError {
  const lacks = epoch === undefined ? 'the row that describes it' : `a map of its epoch ${epoch} or later`;
  return new AppError('STORE_DAMAGED', `osd.${whoami}: pg ${cid} is in its store without ${lacks}`, {
    hint: '`appliance osd fsck` tells what else is damaged. When all PGs are active without it, wipe this OSD: it is filled anew from the others.',
  });
}
