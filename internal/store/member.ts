import type { Clock } from '../base/clock.ts';
import type { Disk } from '../base/disk.ts';
import { AppError, assert, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { plantedFault } from '../base/planted-fault.ts';
import type { Random } from '../base/random.ts';
import { isJoint, isVoter } from '../raft/membership.ts';
import type { Leadership, OutgoingSnapshot } from '../raft/node.ts';
import type { Entry, MemberId, SnapshotMeta } from '../raft/types.ts';
import type {
  Alarm,
  Cluster,
  DeleteRequest,
  Durability,
  KeyValue,
  PutRequest,
  RangeRequest,
  RangeResponse,
  Store,
  StoreSnapshot,
  StoreStatus,
  TxnRequest,
  TxnResponse,
  Watch,
  WatchHandler,
  WatchRequest,
} from './api.ts';
import { type Command, decodeCommand, encodeCommand } from './command.ts';
import { MemberCounters } from './counters.ts';
import {
  ClusterError,
  InvalidRequestError,
  RemovedError,
  StoreBusyError,
  StoreClosedError,
  StoreFailedError,
} from './errors.ts';
import { Flusher } from './flusher.ts';
import type { ClusterRequest, GroupCluster } from './group-cluster.ts';
import { commandBytes, type GroupLog, type LogConsumer } from './log.ts';
import { MemberAlarms } from './member-alarms.ts';
import { MemberCopies } from './member-copies.ts';
import { MemberLeases } from './member-leases.ts';
import { MemberReservations } from './member-reservations.ts';
import { decodeMembers, followMembers, type Membership, raftId } from './members.ts';
import { answerQuestion, askApplication, askLeader, clusterError } from './questions.ts';
import { RecentEvents } from './recent.ts';
import { type CommandResult, State } from './state.ts';
import type { StateFiles } from './state-files.ts';
import { checkDelete, checkPut, checkRange, checkTxn, isReadOnly, isSerializable, puts } from './validate.ts';
import { Watches } from './watches.ts';

/** Proposals that wait for the disk at most; as many bytes of changes may wait to be written to the database. */
const maxWaiting = 20_000;
const maxUnwrittenBytes = 64 << 20;

/** Who waits for an entry to be applied. */
export interface Waiting {
  /** Undefined for a change of the members. */
  readonly command: Command | undefined;
  resolve(result: CommandResult): void;
  reject(error: unknown): void;
}

export interface MemberOptions {
  dir: string;
  disk: Disk;
  clock: Clock;
  random: Random;
  log: Logger;
  files: StateFiles;
  /** Makes the log, which calls the consumer from its start on. */
  openLog(consumer: LogConsumer<Waiting>): GroupLog<Waiting>;
  openCluster(store: MemberStore, entries: GroupLog<Waiting>): GroupCluster;
  cacheBytes: number;
  maxChanges: number;
  recentBytes: number;
  flushAfterMs: number;
  checkpointBytes: number;
  /** Size of the database from which on puts are refused. */
  quotaBytes: number;
  /** Revisions reserved at a time for entries that are acknowledged before they are on disk. */
  reserveBlock: number;
  /** Called once, when the store has ended by itself. */
  ended(error: AppError): void;
  application: GroupApplication | undefined;
}

/** What stands on a store and has members of its own beside those of the store. */
export interface GroupApplication {
  /** Another member asks something (`MemberStore.ask`) of the leader, which this member is. Throws what it is to be told. */
  answer(question: Uint8Array): Promise<Uint8Array>;
  /** Who leads changed, as far as this member knows. */
  leadership(): void;
}

/**
 * One member of a store: propose -> the log commits -> apply, in the log's order. Reads are of what is applied here, once the log says that this
 * contains everything that was acknowledged anywhere.
 */
export class MemberStore implements Store, LogConsumer<Waiting> {
  readonly #options: MemberOptions;
  readonly #entries: GroupLog<Waiting>;
  readonly #cluster: GroupCluster;
  #state: State;
  readonly #recent: RecentEvents;
  readonly #watches: Watches;
  readonly #leases: MemberLeases;
  readonly #alarms: MemberAlarms;
  #flusher: Flusher;
  #membership: Membership;
  readonly #reservations: MemberReservations;
  readonly #copies: MemberCopies;
  /** A state from another member takes the place of this one. */
  #installing: Promise<void> | undefined;
  /** Told when this member has applied everything and leads. */
  readonly #started = Promise.withResolvers<void>();
  #closed: Error | undefined;
  readonly #counters = new MemberCounters();

  private constructor(options: MemberOptions) {
    this.#options = options;
    const saved = options.files.saved();
    this.#state = new State(options.files.rows, saved, options);
    this.#membership = decodeMembers(saved.membership!);
    this.#recent = new RecentEvents(this.#state.revision + 1, options.recentBytes);
    this.#watches = new Watches({
      state: this.#state,
      rows: options.files.rows,
      recent: this.#recent,
      clock: options.clock,
      log: options.log,
    });
    this.#leases = new MemberLeases({
      clock: options.clock,
      random: options.random,
      state: () => this.#state,
      leads: () => this.#entries.leads,
      appends: () => this.#entries.appends,
      propose: (command) => this.#propose(command, 'durable'),
      checkSpace: () => this.#alarms.checkSpace(0),
      readable: () => this.#readable(false),
      askLeader: (question) => askLeader(this.#entries.node, question),
    });
    this.#alarms = new MemberAlarms({
      quotaBytes: options.quotaBytes,
      log: options.log,
      memberId: () => this.#cluster.memberId,
      state: () => this.#state,
      databaseBytes: () => options.files.writer.status().databaseBytes,
      propose: (command) => this.#propose(command, 'durable'),
    });
    this.#reservations = new MemberReservations({
      block: options.reserveBlock,
      entries: () => this.#entries,
      state: () => this.#state,
    });
    this.#copies = new MemberCopies({ ...options, flusher: () => this.#flusher, state: () => this.#state });
    this.#entries = options.openLog(this);
    this.#cluster = options.openCluster(this, this.#entries);
    this.#flusher = this.#newFlusher();
  }

  #newFlusher(): Flusher {
    return new Flusher({
      ...this.#options,
      entries: this.#entries,
      state: this.#state,
      writer: this.#options.files.writer,
      writeSeconds: this.#counters.databaseWriteSeconds,
      onWritten: (revision) => this.#recent.trim(revision + 1),
      onFailed: (error) => this.failed(error),
    });
  }

  /** Resolves when it can be used: with one member, when everything in the log is applied; else at once, and requests wait for a leader. */
  static async start(options: MemberOptions): Promise<MemberStore> {
    const store = new MemberStore(options);
    const { voters, outgoing } = store.#entries.configuration;
    const only = voters.length === 1 && outgoing.length === 0 && voters[0] === store.#entries.node.raft.id;
    store.#leases.load();
    store.#entries.start();
    if (store.wasRemoved(store.#entries.node.raft.id)) store.removed();
    if (only) await store.#started.promise;
    const state = store.#state;
    if (store.#entries.alone && state.reserved > state.revision && !plantedFault('reuse-revision')) {
      options.log.info('store: it was not closed; revisions that may have been lost are skipped', {
        dir: options.dir,
        revision: state.revision,
        reserved: state.reserved,
      });
      // A watch from behind a lost revision begins at most at reserved + 1, which is then before the compacted one.
      await store.#propose({ kind: 'jump', to: state.reserved + 2 }, 'durable');
      store.#recent.reset(state.revision + 1);
    }
    return store;
  }

  get revision(): number {
    return this.#state.revision;
  }

  get compactRevision(): number {
    return this.#state.compactRevision;
  }

  get cluster(): Cluster {
    return this.#cluster;
  }

  get membership(): Membership {
    return this.#membership;
  }

  // --- for what stands on the store

  /** This member leads, as far as it knows. */
  get leads(): boolean {
    return this.#entries.leads;
  }

  /** This member leads, and there is no other. */
  get alone(): boolean {
    return this.#entries.alone;
  }

  /** Resolves when everything that was acknowledged anywhere before the call can be read here. Errors: ClusterError, when no majority says so in time. */
  async confirm(): Promise<void> {
    this.#checkOpen();
    if (!this.#entries.upToDate) await this.#readable(false);
  }

  /** Asks the leader, which another member is (`GroupApplication.answer`). Errors: those of the answer; ClusterError when none comes within `timeoutMs`. */
  async ask(question: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    this.#checkOpen();
    return askApplication(this.#entries.node, question, timeoutMs);
  }

  // --- requests

  async range(request: RangeRequest): Promise<RangeResponse> {
    this.#checkOpen();
    checkRange(request);
    this.#counters.ranges++;
    if (!this.#entries.upToDate) await this.#readable(request.serializable);
    return this.#state.range(request);
  }

  async put(request: PutRequest, durability: Durability = 'durable'): Promise<{ revision: number; prevKv?: KeyValue }> {
    checkPut(request);
    this.#alarms.checkSpace(request.value.length);
    const result = await this.#propose({ kind: 'op', op: { op: 'put', request } }, durability);
    assert(result.kind === 'op' && result.response.op === 'put', 'a put answers a put');
    return result.response.response;
  }

  async delete(
    request: DeleteRequest,
    durability: Durability = 'durable',
  ): Promise<{ revision: number; deleted: number; prevKvs: KeyValue[] }> {
    checkDelete(request);
    const result = await this.#propose({ kind: 'op', op: { op: 'delete', request } }, durability);
    assert(result.kind === 'op' && result.response.op === 'delete', 'a delete answers a delete');
    return result.response.response;
  }

  async txn(request: TxnRequest, durability: Durability = 'durable'): Promise<TxnResponse> {
    checkTxn(request);
    this.#checkOpen();
    if (isReadOnly(request)) {
      if (!this.#entries.upToDate) await this.#readable(isSerializable(request));
      return this.#state.read(request);
    }
    if (puts([...request.success, ...request.failure])) this.#alarms.checkSpace(0);
    const result = await this.#propose({ kind: 'txn', txn: request }, durability);
    assert(result.kind === 'txn', 'a transaction answers a transaction');
    return result.response;
  }

  watch(request: WatchRequest, handler: WatchHandler): Watch {
    this.#checkOpen();
    if (request.key.length === 0 && request.rangeEnd === undefined)
      throw new InvalidRequestError('key is not provided', 'EMPTY_KEY');
    return this.#watches.add(request, handler);
  }

  async compact(revision: number, options: { physical?: boolean } = {}): Promise<void> {
    await this.#propose({ kind: 'compact', revision }, 'durable');
    if (options.physical) await this.#flusher.compacted(revision);
  }

  async leaseGrant(ttlSeconds: number, id?: bigint): Promise<{ id: bigint; ttlSeconds: number }> {
    return this.#leases.grant(ttlSeconds, id);
  }

  async leaseRevoke(id: bigint): Promise<void> {
    await this.#leases.revoke(id);
  }

  async leaseKeepAlive(id: bigint): Promise<{ ttlSeconds: number }> {
    this.#checkOpen();
    return this.#leases.keepAlive(id);
  }

  async leaseTimeToLive(
    id: bigint,
    options: { keys?: boolean } = {},
  ): Promise<{ ttlSeconds: number; grantedTtlSeconds: number; keys: Uint8Array[] }> {
    this.#checkOpen();
    return this.#leases.timeToLive(id, options);
  }

  async leases(): Promise<bigint[]> {
    this.#checkOpen();
    return this.#leases.list();
  }

  async alarms(): Promise<Alarm[]> {
    this.#checkOpen();
    return this.#alarms.list();
  }

  raiseAlarm(alarm: Alarm): Promise<void> {
    return this.#alarms.raise(alarm);
  }

  disarmAlarm(alarm: Alarm): Promise<Alarm[]> {
    return this.#alarms.disarm(alarm);
  }

  async hashKv(revision = 0): Promise<{ hash: number; revision: number; compactRevision: number }> {
    this.#checkOpen();
    return this.#copies.hash(revision);
  }

  async defragment(): Promise<void> {
    this.#checkOpen();
    await this.#copies.defragment();
  }

  async snapshot(): Promise<StoreSnapshot> {
    this.#checkOpen();
    return this.#copies.snapshot();
  }

  status(): StoreStatus {
    const { diskBytes, bytesWritten, syncSeconds } = this.#entries.status();
    const database = this.#options.files.writer.status();
    return {
      revision: this.#state.revision,
      compactRevision: this.#state.compactRevision,
      appliedIndex: this.#state.appliedIndex,
      journalBytes: diskBytes,
      databaseBytes: database.databaseBytes,
      databaseBytesInUse: database.databaseBytesInUse,
      quotaBytes: this.#options.quotaBytes,
      keys: this.#closed === undefined ? this.#state.countKeys() : 0,
      bytesWritten: bytesWritten + database.bytesWritten,
      counters: {
        ...this.#counters,
        logSyncSeconds: syncSeconds,
        proposalsPending: this.#entries.waiting,
        watches: this.#watches.count,
        leases: this.#state.leases.size,
      },
    };
  }

  async close(): Promise<void> {
    if (this.#closed !== undefined) return;
    // Nothing was lost: the next start need not skip revisions. Proposals before this one are applied by then, and what comes behind it reserves anew.
    if (this.#state.reserved > 0 && this.#entries.alone) await this.#reservations.giveUp();
    // What was asked for before this call is answered; without a majority it is given up in time.
    while (this.#entries.waiting > 0 && this.#entries.alone) await this.#entries.sync();
    const error = this.#closed ?? new StoreClosedError(this.#options.dir);
    this.#closed = error;
    this.#entries.stop(error);
    this.#cluster.close();
    this.#leases.lessor.close();
    this.#watches.close(error);
    await this.#installing?.catch(ignore);
    await this.#flusher.close();
    await this.#entries.close();
    await this.#options.files.close();
  }

  // --- propose, commit, apply

  #checkOpen(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  /** Resolves when a read may be answered. */
  async #readable(serializable: boolean | undefined): Promise<void> {
    if (!serializable) await this.#entries.linearizable();
    if (this.#installing !== undefined) await this.#installing;
    this.#checkOpen();
  }

  async #propose(command: Command, durability: Durability): Promise<CommandResult> {
    this.#checkOpen();
    const { waiting, alone } = this.#entries;
    if (waiting >= maxWaiting || this.#state.unwrittenBytes > maxUnwrittenBytes)
      throw new StoreBusyError(this.#options.dir, waiting);
    if (durability !== 'durable' && alone) this.#reservations.next();
    return new Promise((resolve, reject) => {
      const refused = (error: unknown): void => {
        const told = clusterError(error);
        if (told instanceof ClusterError) this.#counters.proposalsFailed++;
        reject(told);
      };
      this.#entries.propose(encodeCommand(command), durability, { command, resolve, reject: refused });
    });
  }

  apply(entry: Entry, waiting: Waiting | undefined): void {
    if (entry.type === 'command') this.#applyCommand(entry, waiting);
    else if (entry.type === 'membership') {
      const before = this.#membership;
      const { membership, bytes } = followMembers(before, entry.data);
      this.#state.pass(entry.index, entry.term, bytes);
      this.#membership = membership;
      this.#options.log.info('store: the members changed', { ...this.#membership.configuration });
      // Whoever was not alone has synced everything.
      if (this.#entries.leads && !this.#entries.alone && this.#state.reserved > 0) void this.#reservations.giveUp();
      waiting?.resolve({ kind: 'none' });
      this.#cluster.changed();
      this.#tellRemoved(before);
    } else this.#state.pass(entry.index, entry.term);
    if (entry.type !== 'empty' || !this.#entries.leads || entry.term !== this.#entries.node.raft.term) return;
    // What this leader's term begins with: everything from before it is applied.
    this.#leases.lessor.lead(this.#state.leases);
    this.#started.resolve();
  }

  /** Who is no member any more hears it from the leader, or finds its own removal in the log. */
  #tellRemoved(before: Membership): void {
    const { leads, node } = this.#entries;
    const { configuration, removed } = this.#membership;
    // Until the change is finished a voter that goes still decides.
    if (isJoint(configuration)) return;
    for (const id of removed) {
      if (before.removed.includes(id) && !isJoint(before.configuration)) continue;
      if (id === this.#cluster.memberId) this.removed();
      else if (leads) node.tellRemoved(raftId(id));
    }
  }

  appliedBatch(): void {
    this.#flusher.changed();
  }

  #applyCommand(entry: Entry, waiting: Waiting | undefined): void {
    const command = waiting?.command ?? decodeCommand(commandBytes(entry));
    let applied: ReturnType<State['apply']>;
    try {
      applied = this.#state.apply(entry.index, entry.term, command);
    } catch (error) {
      // A refusal is the same on every member; anything else is a defect.
      if (!(error instanceof AppError)) throw error;
      waiting?.reject(error);
      return;
    }
    this.#counters.applied(command, applied.revisions);
    for (const { revision, events } of applied.revisions) {
      this.#recent.push(revision, events);
      this.#watches.publish(revision, events);
    }
    this.#leases.applied(command);
    if (command.kind === 'compact') this.#flusher.compact(command.revision);
    waiting?.resolve(applied.result);
  }

  // --- the group

  leadership({ leader, term, role }: Leadership): void {
    this.#counters.leader(leader);
    this.#options.log.info('store: leadership', { leader: leader.toString(16), term, role });
    // A new leader begins with leases when it knows what the earlier ones said of them (`apply`).
    this.#leases.lessor.follow();
    if (role === 'leader' && !this.#entries.alone && this.#state.reserved > 0) void this.#reservations.giveUp();
    this.#cluster.changed();
    this.#options.application?.leadership();
  }

  askLeader(request: ClusterRequest): Promise<void> {
    return askLeader(this.#entries.node, request);
  }

  answer(data: Uint8Array): Promise<Uint8Array> {
    return answerQuestion(data, {
      lease: (question) => this.#leases.answer(question),
      change: (request) => this.#cluster.carryOut(request),
      application: this.#options.application,
    });
  }

  makeSnapshot(): Promise<OutgoingSnapshot> {
    return this.#copies.forMember();
  }

  receiveSnapshot(meta: SnapshotMeta, pieces: AsyncIterable<Uint8Array>): Promise<void> {
    return this.#options.files.receive(meta, pieces);
  }

  discardSnapshot(): Promise<void> {
    return this.#options.files.discard();
  }

  installSnapshot(): Promise<void> {
    this.#installing = this.#install().finally(() => {
      this.#installing = undefined;
    });
    return this.#installing;
  }

  async #install(): Promise<void> {
    const { files, log } = this.#options;
    await this.#flusher.abandon();
    await files.install();
    const saved = files.saved();
    this.#state = new State(files.rows, saved, this.#options);
    this.#membership = decodeMembers(saved.membership!);
    this.#recent.reset(this.#state.revision + 1);
    this.#flusher = this.#newFlusher();
    this.#leases.lessor.reset();
    this.#leases.load();
    this.#watches.replace(this.#state, files.rows);
    this.#cluster.changed();
    log.info('store: took over the state of another member', {
      index: saved.meta.appliedIndex,
      revision: this.revision,
    });
  }

  wasRemoved(id: MemberId): boolean {
    const { configuration, removed } = this.#membership;
    return !isVoter(configuration, id) && removed.some((each) => raftId(each) === id);
  }

  removed(): void {
    if (this.#closed !== undefined) return;
    this.#options.log.error('store: the others have removed this member', { dir: this.#options.dir });
    this.#end(new RemovedError());
  }

  failed(cause: unknown): void {
    if (this.#closed !== undefined) return;
    this.#options.log.error('store: failed', { dir: this.#options.dir, error: errorText(cause) });
    this.#end(new StoreFailedError(this.#options.dir, cause));
  }

  /** Takes nothing more; what waits and what watches is told why. */
  #end(error: AppError): void {
    this.#closed = error;
    this.#started.reject(error);
    this.#started.promise.catch(ignore);
    this.#entries.stop(error);
    this.#cluster.close();
    this.#leases.lessor.close();
    this.#flusher.abandon().catch(ignore);
    this.#watches.close(error);
    this.#options.ended(error);
  }
}

function ignore(): void {}
