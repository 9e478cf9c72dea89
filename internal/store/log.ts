import { ByteReader, ByteWriter, concatBytes } from '../base/bytes.ts';
import type { Clock, Timer } from '../base/clock.ts';
import type { AppError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { Journal, JournalStatus } from '../journal/api.ts';
import { NotLeaderError, ProposalRefusedError } from '../raft/errors.ts';
import type { JournalStorage } from '../raft/journal-storage.ts';
import { type Leadership, RaftNode, type RaftTransport, type StateMachine } from '../raft/node.ts';
import { type Configuration, type Entry, type MemberId, nobody } from '../raft/types.ts';
import type { Durability } from './api.ts';
import { ClusterError } from './errors.ts';

/** Someone who waits for a proposal to be applied. */
export interface Proposal {
  reject(error: unknown): void;
}

/** What the log is for. */
export interface LogConsumer<P extends Proposal> extends Omit<StateMachine, 'apply'> {
  /** Entries in their order. `proposal`: what `propose` was given, when it was this member's. */
  apply(entry: Entry, proposal: P | undefined): void;
  /** All that could be applied now was. */
  appliedBatch(): void;
}

export interface LogOptions {
  /** For messages. */
  dir: string;
  id: MemberId;
  journal: Journal;
  storage: JournalStorage;
  transport: RaftTransport;
  clock: Clock;
  random: Random;
  log: Logger;
  timing: RaftTiming;
}

export interface RaftTiming {
  /** A leader is heard of this often. */
  heartbeatMs: number;
  /** A follower that hears nothing for so long, up to twice as long, asks for an election. */
  electionMs: number;
  /** A request that was not answered is given up; its outcome is not known then. */
  requestMs: number;
  /** Entries of one message to a follower; default 1 MiB. */
  maxMessageBytes?: number;
  /** Entries that are kept in memory for members that are behind; default 8 MiB. */
  keepBytes?: number;
}

/** etcd's defaults (--heartbeat-interval, --election-timeout; request timeout of server/config ReqTimeout). */
export const defaultTiming: RaftTiming = { heartbeatMs: 100, electionMs: 1000, requestMs: 7000 };

/** An election is a few syncs on each member, one behind the other. */
const syncsInElection = 10;
const maxElectionMs = 30_000;

function electionTicks(electionMs: number, heartbeatMs: number): number {
  return Math.max(3, Math.ceil(electionMs / heartbeatMs));
}

const keepBytes = 8 << 20;
const maxMessageBytes = 1 << 20;
const maxEntryBytes = 48 << 20;
const maxUncommittedBytes = 64 << 20;
/** Requests that wait for a leader, or for its answer. */
const maxElsewhere = 10_000;

/** First byte of a proposal that was handed to the leader by another member: then who it was and its number there, then the command. */
const forwardedMark = 0xfe;
const forwardedBytes = 17;

interface Pending<P> {
  readonly index: number;
  readonly term: number;
  readonly proposal: P;
  readonly at: number;
}

interface Elsewhere<P> {
  readonly pieces: readonly Uint8Array[];
  readonly durability: Durability;
  readonly proposal: P;
  readonly at: number;
}

/**
 * The ordered log under the store: proposals go in anywhere in the group, and come out on every member in one order. This finds the caller of each
 * that was made here.
 */
export class GroupLog<P extends Proposal> {
  readonly node: RaftNode;
  readonly #options: LogOptions;
  readonly #consumer: LogConsumer<P>;
  /** Appended here, by index. */
  #pending: Pending<P>[] = [];
  #head = 0;
  /** Handed to the leader, by number. */
  readonly #forwarded = new Map<number, Elsewhere<P>>();
  /** While nobody leads. */
  #waiting: Elsewhere<P>[] = [];
  #sequence: number;
  #sweep: Timer | undefined;
  #closed: Error | undefined;

  constructor(options: LogOptions, consumer: LogConsumer<P>) {
    this.#options = options;
    this.#consumer = consumer;
    // Never a number of an earlier life: answers and duplicates of that may still be on their way.
    this.#sequence = options.random.uint32() * 2 ** 20;
    const { timing } = options;
    this.node = new RaftNode({
      ...options,
      machine: {
        ...bound(consumer),
        apply: (entries) => this.#apply(entries),
        leadership: (state) => this.#leadership(state),
        failed: (error) => this.#fail(error),
      },
      tickMs: timing.heartbeatMs,
      heartbeatTicks: 1,
      electionTicks: electionTicks(timing.electionMs, timing.heartbeatMs),
      keepBytes: timing.keepBytes ?? keepBytes,
      maxMessageBytes: timing.maxMessageBytes ?? maxMessageBytes,
      maxEntryBytes,
      maxUncommittedBytes,
    });
  }

  start(): void {
    this.node.start();
    this.#scheduleSweep();
  }

  get configuration(): Configuration {
    return this.node.configuration;
  }

  /** This member leads, and no other has to be asked or told. */
  get alone(): boolean {
    return this.node.alone;
  }

  /** What is applied here contains everything that was acknowledged anywhere: nobody has to be asked. */
  get upToDate(): boolean {
    return this.node.upToDate;
  }

  get leads(): boolean {
    return this.node.raft.leading !== undefined;
  }

  /** Leads, and is not handing that on: what is proposed now is an entry of this term, and never handed to another leader. */
  get appends(): boolean {
    return this.node.raft.leading?.transferee === nobody;
  }

  /** Proposals made here that are not applied. */
  get waiting(): number {
    return this.#pending.length - this.#head + this.#forwarded.size + this.#waiting.length;
  }

  /**
   * Adds an entry; the consumer is given `proposal` with it when it is applied. Less than `durable` counts
   * when this member is alone. Otherwise the proposal is rejected: with a refusal, when it is certain that it was not taken, else with ClusterError TIMEOUT or LEADER_CHANGED. The pieces must not change.
   */
  propose(pieces: readonly Uint8Array[], durability: Durability, proposal: P): void {
    if (this.#closed !== undefined) {
      proposal.reject(this.#closed);
      return;
    }
    const at = this.#options.clock.monotonic();
    try {
      if (this.leads) {
        const { index, term } = this.node.propose(pieces, durability);
        this.#forgetFrom(index);
        this.#pending.push({ index, term, proposal, at });
        return;
      }
      this.#elsewhere({ pieces, durability, proposal, at });
    } catch (error) {
      if (error instanceof NotLeaderError) this.#wait({ pieces, durability, proposal, at });
      else proposal.reject(error);
    }
  }

  /** `RaftNode.proposeMembership`, for a member that leads; `proposal` is given with the first entry of the change. */
  proposeMembership(target: { voters: MemberId[]; learners: MemberId[] }, context: Uint8Array, proposal: P): void {
    try {
      if (this.#closed !== undefined) throw this.#closed;
      const { index, term } = this.node.proposeMembership(target, context);
      this.#forgetFrom(index);
      this.#pending.push({ index, term, proposal, at: this.#options.clock.monotonic() });
    } catch (error) {
      proposal.reject(error);
    }
  }

  #elsewhere(request: Elsewhere<P>): void {
    if (this.#forwarded.size >= maxElsewhere)
      throw new ProposalRefusedError(`${this.#forwarded.size} requests wait for the leader`);
    const sequence = ++this.#sequence;
    const head = new ByteWriter(forwardedBytes).u8(forwardedMark).u64(this.#options.id).u64(sequence).finish();
    this.node.forward(sequence, [head, ...request.pieces]);
    this.#forwarded.set(sequence, request);
  }

  #wait(request: Elsewhere<P>): void {
    if (this.#waiting.length >= maxElsewhere)
      request.proposal.reject(new ProposalRefusedError(`${this.#waiting.length} requests wait for a leader`));
    else this.#waiting.push(request);
  }

  /** Entries with these indexes were replaced by others of this leader: whether they live on elsewhere is not known. */
  #forgetFrom(index: number): void {
    while (this.#pending.length > this.#head && this.#pending.at(-1)!.index >= index)
      this.#pending.pop()!.proposal.reject(leaderChanged());
  }

  #apply(entries: readonly Entry[]): void {
    for (const entry of entries) {
      if (this.#closed !== undefined) return;
      this.#consumer.apply(entry, this.#proposalOf(entry));
    }
    if (this.#head === this.#pending.length || this.#head > 4096) {
      this.#pending.splice(0, this.#head);
      this.#head = 0;
    }
    this.#consumer.appliedBatch();
  }

  #proposalOf(entry: Entry): P | undefined {
    let found: P | undefined;
    while (this.#head < this.#pending.length && this.#pending[this.#head]!.index <= entry.index) {
      const { index, term, proposal } = this.#pending[this.#head++]!;
      if (index === entry.index && term === entry.term) found = proposal;
      else proposal.reject(leaderChanged());
    }
    if (found !== undefined || this.#forwarded.size === 0 || entry.data[0]?.[0] !== forwardedMark) return found;
    const from = new ByteReader(concatBytes(entry.data)).skip(1);
    if (from.u64() !== this.#options.id) return undefined;
    const sequence = from.u64();
    const request = this.#forwarded.get(sequence);
    this.#forwarded.delete(sequence);
    return request?.proposal;
  }

  #leadership(state: Leadership): void {
    this.#consumer.leadership(state);
    if (state.leader === 0) return;
    // Durable whatever was asked for: the revisions of others were reserved before, and there may be other members now.
    for (const request of this.#waiting.splice(0)) this.propose(request.pieces, 'durable', request.proposal);
  }

  /** A member whose disk is slow waits longer before it takes the leader for dead: votes and acknowledgements go through that disk. */
  #adaptTimeouts(): void {
    const { journal, timing } = this.#options;
    const { p99 } = journal.status().syncMs;
    const electionMs = Math.min(maxElectionMs, Math.max(timing.electionMs, syncsInElection * p99));
    this.node.raft.electionTicks = electionTicks(electionMs, timing.heartbeatMs);
  }

  #scheduleSweep(): void {
    this.#sweep = this.#options.clock.after(1000, () => {
      this.#adaptTimeouts();
      this.#giveUp(this.#options.clock.monotonic() - this.#options.timing.requestMs);
      this.#scheduleSweep();
    });
  }

  /** Gives up requests from before `at`. A member that is alone only waits for its own disk. */
  #giveUp(at: number): void {
    for (const [sequence, request] of this.#forwarded)
      if (request.at <= at && this.#forwarded.delete(sequence)) request.proposal.reject(timedOut());
    this.#waiting = this.#waiting.filter((request) => {
      if (request.at <= at) request.proposal.reject(noLeader());
      return request.at > at;
    });
    if (this.alone) return;
    const old = this.#pending.slice(this.#head).filter((pending) => pending.at <= at);
    if (old.length === 0) return;
    this.#pending = this.#pending.slice(this.#head).filter((pending) => pending.at > at);
    this.#head = 0;
    for (const { proposal } of old) proposal.reject(timedOut());
  }

  /** Resolves when everything that was acknowledged anywhere before the call is applied here. ClusterError when no leader answers. */
  async linearizable(): Promise<void> {
    if (this.#closed !== undefined) throw this.#closed;
    if (this.upToDate) return;
    const { clock, timing } = this.#options;
    const late = Promise.withResolvers<never>();
    const timer = clock.after(timing.requestMs, () => late.reject(noLeader()));
    try {
      await Promise.race([this.node.linearizable(), late.promise]);
    } finally {
      timer.cancel();
    }
  }

  /** Resolves when everything appended so far is on disk. */
  sync(): Promise<void> {
    return this.#options.storage.sync();
  }

  /** Entries up to `applied` are not needed any more: their effect is on disk elsewhere. */
  async reclaim(applied: number): Promise<void> {
    if (applied > 0) await this.#options.storage.reclaim(applied);
  }

  status(): Pick<JournalStatus, 'diskBytes' | 'pendingBytes' | 'syncMs' | 'syncSeconds'> & { bytesWritten: number } {
    const { diskBytes, pendingBytes, syncMs, syncSeconds } = this.#options.journal.status();
    return { diskBytes, pendingBytes, syncMs, syncSeconds, bytesWritten: this.#options.storage.bytesWritten };
  }

  #fail(error: unknown): void {
    this.#end(error instanceof Error ? error : new Error(String(error)));
    this.#consumer.failed(error);
  }

  #end(error: Error): void {
    if (this.#closed !== undefined) return;
    this.#closed = error;
    this.#sweep?.cancel();
    this.node.stop(error);
    const all = [...this.#pending.slice(this.#head), ...this.#forwarded.values(), ...this.#waiting];
    this.#pending = [];
    this.#head = 0;
    this.#forwarded.clear();
    this.#waiting = [];
    for (const { proposal } of all) proposal.reject(error);
  }

  /** Takes nothing more, and rejects what waits with `error`. The journal stays open for `sync` until `close`. */
  stop(error: Error): void {
    this.#end(error);
  }

  async close(): Promise<void> {
    this.#options.transport.close();
    await this.#options.journal.close();
  }
}

/** Methods of a class do not survive a spread. */
function bound<P extends Proposal>(consumer: LogConsumer<P>): Omit<StateMachine, 'apply' | 'leadership' | 'failed'> {
  return {
    makeSnapshot: () => consumer.makeSnapshot(),
    receiveSnapshot: (meta, pieces) => consumer.receiveSnapshot(meta, pieces),
    installSnapshot: (meta) => consumer.installSnapshot(meta),
    discardSnapshot: () => consumer.discardSnapshot(),
    answer: (data) => consumer.answer(data),
    wasRemoved: (id) => consumer.wasRemoved(id),
    removed: () => consumer.removed(),
  };
}

/** The command of an entry, without what says who handed it on. */
export function commandBytes(entry: Entry): Uint8Array {
  const bytes = concatBytes(entry.data);
  return bytes[0] === forwardedMark ? bytes.subarray(forwardedBytes) : bytes;
}

function leaderChanged(): AppError {
  return new ClusterError('LEADER_CHANGED', 'the leader changed; whether the request took effect is not known');
}

function timedOut(): AppError {
  return new ClusterError('TIMEOUT', 'no answer from a majority in time; whether the request took effect is not known');
}

function noLeader(): AppError {
  return new ClusterError(
    'NO_LEADER',
    'the store has no leader',
    'A majority of its members must run and reach each other.',
  );
}
