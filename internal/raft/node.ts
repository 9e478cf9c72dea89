import type { Clock, Timer } from '../base/clock.ts';
import { AppError, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { Durability } from '../journal/api.ts';
import { NotLeaderError } from './errors.ts';
import type { JournalStorage } from './journal-storage.ts';
import { everybody, isAlone, isVoter } from './membership.ts';
import { Questions } from './questions.ts';
import { Raft } from './raft.ts';
import { Reads } from './reads.ts';
import {
  type Configuration,
  type Entry,
  type MemberId,
  type Message,
  nobody,
  type Ready,
  type Role,
  type SnapshotMeta,
} from './types.ts';

/** What the entries are for. Everything it is told happens in the order of the log. */
export interface StateMachine {
  /** Committed entries, in order and once. */
  apply(entries: readonly Entry[]): void;
  /** Who leads changed, as far as this member knows. */
  leadership(state: Leadership): void;
  /** A copy of the state of one moment, to be sent to `to`; it must say which entry it contains. */
  makeSnapshot(): Promise<OutgoingSnapshot>;
  /** Writes a snapshot that arrives to a file beside the state, whole and on disk when it resolves. Throws when it is damaged or too large. */
  receiveSnapshot(meta: SnapshotMeta, pieces: AsyncIterable<Uint8Array>): Promise<void>;
  /** What was received takes the place of the state. A crash at any moment leaves the old state or the new one. */
  installSnapshot(meta: SnapshotMeta): Promise<void>;
  /** Another member asks something of the leader, which this member is. Throws what it is to be told. */
  answer(data: Uint8Array): Promise<Uint8Array>;
  /** What was received is not needed. */
  discardSnapshot(): Promise<void>;
  /** Whether the group has let this member go. Ids are never used again, so it is for good. */
  wasRemoved(id: MemberId): boolean;
  /** Another member says that the group has let this one go. */
  removed(): void;
  /** The group does not go on: the disk failed, or an invariant is broken. */
  failed(error: unknown): void;
}

export interface OutgoingSnapshot {
  readonly meta: SnapshotMeta;
  readonly bytes: number;
  pieces(): AsyncIterable<Uint8Array>;
  /** Removes the copy. */
  release(): Promise<void>;
}

export interface Leadership {
  readonly leader: MemberId;
  readonly term: number;
  readonly role: Role;
}

/** Takes messages to other members; may lose, delay, repeat and reorder them. */
export interface RaftTransport {
  send(message: NodeMessage): void;
  /** Sends and takes nothing more. */
  close(): void;
  /** Resolves when the receiver has the whole snapshot on disk. */
  sendSnapshot(to: MemberId, term: number, snapshot: OutgoingSnapshot): Promise<void>;
}

/** Questions and answers between members that are no part of the consensus, on the same way as its messages. */
export type NodeMessage =
  | Message
  | { type: 'ask'; from: MemberId; to: MemberId; term: number; context: number; data: Uint8Array }
  | { type: 'ask-reply'; from: MemberId; to: MemberId; term: number; context: number; code: string; data: Uint8Array }
  /** From a member without a vote that hears no leader: is it still one? */
  | { type: 'greeting'; from: MemberId; to: MemberId; term: number }
  /** The receiver is no member any more. */
  | { type: 'removed'; from: MemberId; to: MemberId; term: number };

export interface RaftNodeOptions {
  id: MemberId;
  storage: JournalStorage;
  transport: RaftTransport;
  machine: StateMachine;
  clock: Clock;
  random: Random;
  log: Logger;
  /** One tick of the core. */
  tickMs: number;
  /** A leader is heard of every so many ticks. */
  heartbeatTicks: number;
  electionTicks: number;
  /** Entries that are kept for followers that are behind. */
  keepBytes: number;
  /** Of the entries of one append. */
  maxMessageBytes: number;
  maxEntryBytes: number;
  maxUncommittedBytes: number;
}

const maxInflightMessages = 256;
const maxInflightBytes = 8 << 20;
const maxApplyBytes = 4 << 20;

/**
 * Runs one member: turns time and messages into calls of the core, and what the core asks for into writes, messages and calls of the state machine.
 * Everything comes in by `clock`, `random`, `transport` and the journal, so that a simulator can run many in one process.
 */
export class RaftNode {
  readonly raft: Raft;
  readonly #options: RaftNodeOptions;
  /** Readys whose writes are on their way, oldest first. */
  readonly #writing: { ready: Ready; done: boolean }[] = [];
  #pumping = false;
  #timer: Timer | undefined;
  #tickAt = 0;
  #stopped = false;
  #leadership: Leadership = { leader: 0, term: 0, role: 'follower' };
  #nextContext: number;
  readonly #reads = new Reads();
  readonly #sendingTo = new Set<MemberId>();
  readonly #questions: Questions;
  /** Without a vote and without a leader. */
  #silentTicks = 0;
  /** A snapshot is being received, or is taking the place of the state: there is one place for it on the disk. */
  #receiving = false;

  constructor(options: RaftNodeOptions) {
    this.#options = options;
    const { random } = options;
    // Answers to an earlier life must not be taken for answers to this one.
    this.#nextContext = random.uint32() * 2 ** 20;
    this.raft = new Raft({
      ...options,
      applied: options.storage.initialState().snapshot.index,
      randomElectionTicks: () => {
        const ticks = this.raft?.electionTicks ?? options.electionTicks;
        return ticks + (random.uint32() % ticks);
      },
      maxInflightMessages,
      maxInflightBytes,
      maxApplyBytes,
    });
    this.#questions = new Questions({
      raft: this.raft,
      clock: options.clock,
      send: (message) => options.transport.send(message),
      answer: (data) => options.machine.answer(data),
      nextContext: () => this.#nextContext++,
    });
  }

  /** Takes part from now on. A group of one elects its only member at once. */
  start(): void {
    if (isVoter(this.raft.configuration, this.raft.id) && this.raft.configuration.voters.length === 1)
      this.raft.campaign();
    this.#scheduleTick();
    this.#pump();
  }

  /** Ends without waiting; what was appended is on its way to the disk. */
  stop(error: Error = new NotLeaderError(0)): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#reads.stop(error);
    this.#questions.stop(error);
  }

  get leadership(): Leadership {
    return this.#leadership;
  }

  get configuration(): Configuration {
    return this.raft.configuration;
  }

  /** This member leads a group of which nobody else has to be told anything. */
  get alone(): boolean {
    return this.raft.leading !== undefined && isAlone(this.raft.configuration);
  }

  /** Alone, what is acknowledged is applied. */
  get upToDate(): boolean {
    const { leading, log } = this.raft;
    return this.alone && leading!.hasCommittedInTerm && log.applied === log.committed;
  }

  // --- what callers ask for

  /** `Raft.propose`; whether it is committed shows when it is applied. */
  propose(data: readonly Uint8Array[], durability: Durability): { index: number; term: number } {
    const proposed = this.raft.propose(data, durability === 'durable' || !this.alone ? undefined : durability);
    this.#wake();
    return proposed;
  }

  forward(sequence: number, data: readonly Uint8Array[]): void {
    this.raft.forward(sequence, data);
    this.#wake();
  }

  proposeMembership(
    target: { voters: MemberId[]; learners: MemberId[] },
    context: Uint8Array,
  ): { index: number; term: number } {
    const proposed = this.raft.proposeMembership(target, context);
    this.#wake();
    return proposed;
  }

  transferLeadership(to: MemberId): void {
    this.raft.transferLeadership(to);
    this.#wake();
  }

  /** Resolves when the state machine contains everything that was acknowledged anywhere before the call. Rejects when the node stops. */
  linearizable(): Promise<void> {
    if (this.upToDate) return Promise.resolve();
    const allowed = this.#reads.add();
    this.#wake();
    return allowed;
  }

  /** Asks the leader (`StateMachine.answer`). Rejects with what it throws, or when no answer comes within `timeoutMs`. */
  ask(data: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return this.#questions.ask(data, timeoutMs);
  }

  // --- what comes from others

  /** A message from another member. */
  step(message: NodeMessage): void {
    if (this.#stopped || message.to !== this.raft.id) return;
    if (message.type === 'ask' || message.type === 'ask-reply') {
      void this.#questions.take(message);
      return;
    }
    if (message.type === 'removed') {
      this.#options.machine.removed();
      return;
    }
    // The group does not talk to a member that was cut off while it was removed: it hears of it when it asks.
    if (message.type === 'greeting' || message.type === 'pre-vote') {
      const gone = this.#options.machine.wasRemoved(message.from);
      if (gone) this.tellRemoved(message.from);
      if (gone || message.type === 'greeting') return;
    }
    // Only a snapshot that this member has received is one.
    if (message.type === 'snapshot') return;
    this.#guard(() => this.raft.step(message));
    this.#wake();
  }

  /** A snapshot from another member. Resolves when it is on disk, or not needed; throws when it was not taken. */
  async receiveSnapshot(
    from: MemberId,
    term: number,
    meta: SnapshotMeta,
    pieces: AsyncIterable<Uint8Array>,
  ): Promise<void> {
    if (this.#receiving) throw new AppError('SNAPSHOT_REFUSED', 'another snapshot is being received or installed');
    this.#checkSnapshotTerm(term);
    this.#receiving = true;
    const free = (): void => {
      this.#receiving = false;
    };
    try {
      await this.#options.machine.receiveSnapshot(meta, pieces);
      if (this.#stopped) return;
      this.#options.log.info('raft: received a snapshot', { from: from.toString(16), index: meta.index });
      const installing = this.#guard(() => {
        this.raft.step({ type: 'snapshot', from, to: this.raft.id, term, meta });
        return this.#take();
      });
      if (this.#stopped) return;
      if (installing !== undefined) {
        // Whoever sent it need not wait until then.
        void installing.finally(free);
        this.#pump();
        return;
      }
      await this.#options.machine.discardSnapshot();
      this.#pump();
      this.#checkSnapshotTerm(term);
      free();
    } catch (error) {
      free();
      throw error;
    }
  }

  /** Who sent it does not lead any more. */
  #checkSnapshotTerm(term: number): void {
    if (term < this.raft.term)
      throw new AppError('SNAPSHOT_REFUSED', `a snapshot of term ${term}; this member is in term ${this.raft.term}`);
  }

  /** A message could not be sent. */
  unreachable(id: MemberId): void {
    this.raft.unreachable(id);
  }

  /** Tells a member that the group has let it go, if it can be reached. */
  tellRemoved(to: MemberId): void {
    this.#options.transport.send({ type: 'removed', from: this.raft.id, to, term: this.raft.term });
  }

  /** Who has a vote asks for an election when it hears no leader; who has none says that it is there. */
  #greet(): void {
    const { configuration, electionTicks, id, leader, term } = this.raft;
    if (leader !== nobody || isVoter(configuration, id)) this.#silentTicks = 0;
    else if (this.#silentTicks++ % electionTicks === 0)
      for (const to of everybody(configuration))
        if (to !== id) this.#options.transport.send({ type: 'greeting', from: id, to, term });
  }

  // --- time

  #scheduleTick(): void {
    const { clock, tickMs } = this.#options;
    this.#tickAt = clock.monotonic() + tickMs;
    this.#timer = clock.after(tickMs, () => {
      if (this.#stopped) return;
      // While this process stood still nobody could be heard: however much time passed, it is one tick at most. After a long stop not even that,
      // so that what waits in the sockets is read first.
      const late = clock.monotonic() - this.#tickAt;
      if (late < this.raft.electionTicks * tickMs) this.#tick();
      else this.#options.log.warn('raft: this process stood still', { ms: Math.round(late) });
      this.#scheduleTick();
    });
  }

  #tick(): void {
    this.raft.tick();
    this.#greet();
    this.#reads.tick();
    this.#pump();
  }

  // --- doing what the core asks for

  #wake(): void {
    if (this.#pumping || this.#stopped) return;
    this.#pumping = true;
    // Not at once: what the same turn of the event loop proposes travels together.
    void Promise.resolve().then(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #guard<T>(work: () => T): T | undefined {
    try {
      return work();
    } catch (error) {
      this.#fail(error);
      return undefined;
    }
  }

  #fail(error: unknown): void {
    if (this.#stopped) return;
    this.#options.log.error('raft: this member stops', { error: errorText(error) });
    this.stop(error instanceof Error ? error : new Error(String(error)));
    this.#options.machine.failed(error);
  }

  #pump(): void {
    this.#guard(() => {
      this.#askReads();
      while (!this.#stopped && this.raft.hasReady()) void this.#take();
    });
  }

  /** One Ready. When it brings a snapshot: settled when that is installed. */
  #take(): Promise<void> | undefined {
    const { raft } = this;
    const ready = raft.ready();
    this.#tellLeadership();
    for (const message of ready.messages) this.#options.transport.send(message);
    const alone = isAlone(raft.configuration);
    const entry = { ready, done: false };
    this.#writing.push(entry);
    const written = this.#options.storage.write(ready, alone);
    const finished = (): void => {
      entry.done = true;
      this.#guard(() => this.#persisted());
    };
    let installed: Promise<void> | undefined;
    if (ready.snapshot !== undefined) installed = this.#install(ready.snapshot, written, finished);
    else if (written === undefined) finished();
    else
      written.then(
        () => {
          finished();
          this.#pump();
        },
        (error: unknown) => this.#fail(error),
      );
    this.#apply(ready.committed);
    for (const { context, index } of ready.reads) this.#reads.allowed(context, index, raft.log.applied);
    for (const to of ready.snapshotsWanted) void this.#sendSnapshot(to);
    return installed;
  }

  /** Reports finished writes in the order in which they were asked for. */
  #persisted(): void {
    while (!this.#stopped && this.#writing[0]?.done) {
      const { ready } = this.#writing.shift()!;
      for (const message of ready.messagesAfterPersist)
        if (message.to !== this.raft.id) this.#options.transport.send(message);
      this.raft.persisted(ready);
    }
  }

  async #install(meta: SnapshotMeta, written: Promise<void> | undefined, finished: () => void): Promise<void> {
    try {
      await written;
      if (this.#stopped) return;
      await this.#options.machine.installSnapshot(meta);
      finished();
      this.#reads.applied(this.raft.log.applied);
      this.#pump();
    } catch (error) {
      this.#fail(error);
    }
  }

  #apply(entries: readonly Entry[]): void {
    const last = entries.at(-1);
    if (last === undefined) return;
    this.#options.machine.apply(entries);
    this.raft.applied(last.index);
    this.#options.storage.compact(last.index, isAlone(this.raft.configuration) ? 0 : this.#options.keepBytes);
    this.#reads.applied(this.raft.log.applied);
  }

  #tellLeadership(): void {
    const { leader, term, role } = this.raft;
    const old = this.#leadership;
    if (old.leader === leader && old.term === term && old.role === role) return;
    this.#leadership = { leader, term, role };
    this.#options.machine.leadership(this.#leadership);
  }

  #askReads(): void {
    if (!this.#reads.wanted) return;
    if (this.raft.leading === undefined && this.raft.leader === 0) return;
    const context = this.#nextContext++;
    this.#reads.asked(context);
    this.raft.readIndex(context);
  }

  // --- snapshots

  async #sendSnapshot(to: MemberId): Promise<void> {
    // One that was begun in an earlier term is on its way; when it ends, this one is asked for again.
    if (this.#sendingTo.has(to)) return;
    this.#sendingTo.add(to);
    let sent: number | undefined;
    // Sent in the name of the leader that was asked for it: by the time it is made another one may lead.
    const { term } = this.raft;
    const leads = (): boolean => !this.#stopped && this.raft.leading !== undefined && this.raft.term === term;
    try {
      const snapshot = await this.#options.machine.makeSnapshot();
      try {
        if (!leads()) throw new NotLeaderError(this.raft.leader);
        await this.#options.transport.sendSnapshot(to, term, snapshot);
        sent = snapshot.meta.index;
      } finally {
        await snapshot.release();
      }
    } catch (error) {
      this.#options.log.warn('raft: a snapshot was not sent', { to: to.toString(16), error: errorText(error) });
    } finally {
      this.#sendingTo.delete(to);
    }
    if (this.#stopped) return;
    // What was sent in another term says nothing about what the member has now.
    this.raft.snapshotSent(to, leads() ? sent : undefined);
    this.#pump();
  }
}
