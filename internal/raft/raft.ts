import { assert } from '../base/errors.ts';
import { plantedFault } from '../base/planted-fault.ts';
import { NotLeaderError, ProposalRefusedError } from './errors.ts';
import { Leading } from './leading.ts';
import { RaftLog } from './log.ts';
import {
  decodeMembership,
  encodeMembership,
  isJoint,
  isVoter,
  maxMembers,
  stepTowards,
  voteOutcome,
} from './membership.ts';
import {
  type Configuration,
  type Entry,
  type EntryType,
  type MemberId,
  type Message,
  type MessageBody,
  type MessageType,
  nobody,
  type RaftStorage,
  type Ready,
  type Role,
} from './types.ts';

export interface RaftOptions {
  id: MemberId;
  storage: RaftStorage;
  /** What the state machine contains already; at least the index of the storage's snapshot. */
  applied: number;
  /** Where `Raft.electionTicks` begins. */
  electionTicks: number;
  /** A leader is heard of every so many ticks; a fifth of `electionTicks` or less. */
  heartbeatTicks: number;
  /** Uniform in [electionTicks, 2 * electionTicks): drawn for each wait, so that members do not ask at the same time. */
  randomElectionTicks(): number;
  /** Of one append. */
  maxMessageBytes: number;
  /** Appends on their way to one follower. */
  maxInflightMessages: number;
  maxInflightBytes: number;
  /** Of one command. */
  maxEntryBytes: number;
  /** Proposals beyond this many bytes of uncommitted ones are refused. */
  maxUncommittedBytes: number;
  /** Entries given out to be applied at a time. */
  maxApplyBytes: number;
}

/** Claims about what this member has or promised: true only once it is on its disk. */
const afterPersist: ReadonlySet<MessageType> = new Set([
  'vote',
  'pre-vote',
  'vote-reply',
  'pre-vote-reply',
  'append-reply',
]);
const fromLeader: ReadonlySet<MessageType> = new Set(['append', 'heartbeat', 'snapshot']);

type Handlers = { [T in MessageType]: (message: Message<T>) => void };

/**
 * One member of a Raft group: `tick`, `step` and `propose` go in, `ready` comes out (`types.ts` says what the shell must do with it). No clock, no
 * randomness, no I/O: the same calls give the same answers.
 *
 * With pre-vote a member that was cut off does not disturb the others when it comes back; with the check of the quorum a leader that a majority
 * does not hear steps down, and members that hear a leader refuse elections.
 */
export class Raft {
  readonly id: MemberId;
  readonly #options: RaftOptions;
  readonly log: RaftLog;
  /** A follower that hears nothing for at least this many ticks asks for an election. May be changed at any time. */
  electionTicks: number;
  term: number;
  vote: MemberId;
  role: Role = 'follower';
  leader: MemberId = nobody;
  /** Configurations of the log, oldest first: the first is of what is applied, the last one counts. */
  #configurations: { index: number; configuration: Configuration }[];
  #leading: Leading | undefined;
  readonly #votes = new Map<MemberId, boolean>();
  #electionElapsed = 0;
  #heartbeatElapsed = 0;
  #electionTimeout: number;
  #messages: Message[] = [];
  #messagesAfterPersist: Message[] = [];
  #reads: { context: number; index: number }[] = [];
  #savedTerm: number;
  #savedVote: MemberId;

  constructor(options: RaftOptions) {
    this.#options = options;
    this.id = options.id;
    this.electionTicks = options.electionTicks;
    const { hardState, snapshot } = options.storage.initialState();
    this.term = hardState.term;
    this.vote = hardState.vote;
    this.#savedTerm = this.term;
    this.#savedVote = this.vote;
    this.log = new RaftLog(options.storage, hardState.commit, options.applied);
    this.#configurations = [{ index: snapshot.index, configuration: snapshot.configuration }];
    const held = this.log.entries(snapshot.index + 1, this.log.lastIndex + 1, Number.POSITIVE_INFINITY);
    assert(held !== undefined, `the log does not begin at entry ${snapshot.index + 1}`);
    this.#noteConfigurations(held);
    this.#electionTimeout = options.randomElectionTicks();
  }

  /** The configuration that counts: the newest in the log, committed or not (section 6 of the paper). */
  get configuration(): Configuration {
    return this.#configurations.at(-1)!.configuration;
  }

  /** Nothing newer is under way. */
  get configurationIsCommitted(): boolean {
    return this.#configurations.at(-1)!.index <= this.log.committed && !isJoint(this.configuration);
  }

  /** The state machine knows the configuration that counts, and it is no joint one. */
  get configurationIsApplied(): boolean {
    return this.#configurations.at(-1)!.index <= this.log.applied && !isJoint(this.configuration);
  }

  get leading(): Leading | undefined {
    return this.#leading;
  }

  // --- input

  /** Time passes. The shell calls it every so many milliseconds while its loop runs, and not for time in which it stood still. */
  tick(): void {
    this.#electionElapsed++;
    if (this.#leading === undefined) {
      if (this.#electionElapsed >= this.#electionTimeout) this.campaign();
      return;
    }
    if (this.#electionElapsed >= this.electionTicks) {
      this.#electionElapsed = 0;
      this.#leading.transferee = nobody;
      if (!this.#leading.quorumIsActive()) {
        this.#becomeFollower(this.term, nobody);
        return;
      }
    }
    if (++this.#heartbeatElapsed >= this.#options.heartbeatTicks) {
      this.#heartbeatElapsed = 0;
      this.#leading.heartbeat();
    }
  }

  /** Asks for an election now. Nothing happens on a leader; a member that has no vote only knows no leader any more. */
  campaign(): void {
    this.#electionElapsed = 0;
    this.#electionTimeout = this.#options.randomElectionTicks();
    if (this.#leading !== undefined) return;
    if (isVoter(this.configuration, this.id)) this.#campaign('pre-vote', false);
    else this.leader = nobody;
  }

  /**
   * Appends a command. It is in the log when this returns, and may still be lost until it comes back as committed. Throws NotLeaderError and
   * ProposalRefusedError.
   */
  propose(data: readonly Uint8Array[], durability?: Entry['durability']): { index: number; term: number } {
    const leading = this.#leading;
    if (leading === undefined || leading.transferee !== nobody) throw new NotLeaderError(this.leader);
    let bytes = 0;
    for (const piece of data) bytes += piece.length;
    if (bytes > this.#options.maxEntryBytes)
      throw new ProposalRefusedError(
        `a command of ${bytes} bytes, at most ${this.#options.maxEntryBytes}`,
        'Split it into smaller ones.',
      );
    if (leading.uncommittedBytes > 0 && leading.uncommittedBytes + bytes > this.#options.maxUncommittedBytes)
      throw new ProposalRefusedError(`${leading.uncommittedBytes} bytes of commands wait for a majority`);
    return this.#append('command', data, bytes, durability);
  }

  /**
   * Changes who is in the group. Two steps when more than one voter changes: the joint configuration, and by itself the new one once that is
   * committed. `context` travels with the first, and with the second unless its leader does not hold the first in its log any more: an empty one
   * there means that what the first said stands. Throws NotLeaderError and ProposalRefusedError.
   */
  proposeMembership(
    target: { voters: MemberId[]; learners: MemberId[] },
    context: Uint8Array,
  ): { index: number; term: number } {
    const leading = this.#leading;
    if (leading === undefined || leading.transferee !== nobody) throw new NotLeaderError(this.leader);
    // A change of an earlier leader might be unknown to this one until then (raft-dev: "bug in single-server membership changes").
    if (!leading.hasCommittedInTerm)
      throw new ProposalRefusedError('the leader is new and does not know yet what is committed');
    if (!this.configurationIsCommitted) throw new ProposalRefusedError('another change of the members is under way');
    if (target.voters.length === 0)
      throw new ProposalRefusedError('a group without voters', 'Keep at least one voter.');
    const ids = [...target.voters, ...target.learners];
    if (new Set(ids).size !== ids.length || ids.length > maxMembers)
      throw new ProposalRefusedError(`members ${ids.join(', ')}: one is named twice or there are too many`, '');
    const data = encodeMembership({ configuration: stepTowards(this.configuration, target), context });
    return this.#append('membership', [data], data.length);
  }

  /** Asks that `to` leads. Given up after an election timeout. */
  transferLeadership(to: MemberId): void {
    if (this.#leading === undefined) throw new NotLeaderError(this.leader);
    if (to === this.id) return;
    if (!this.configuration.voters.includes(to))
      throw new ProposalRefusedError(`member ${to.toString(16)} has no vote and cannot lead`, 'Promote it first.');
    this.#electionElapsed = 0;
    this.#leading.transferee = to;
    this.#leading.tryTransfer();
  }

  /** The answer comes in `Ready.reads` with this context, or never: ask again. Throws NotLeaderError when nobody leads. */
  readIndex(context: number): void {
    if (this.#leading !== undefined) this.#leading.read(this.id, context);
    else if (this.leader === nobody) throw new NotLeaderError(nobody);
    else this.#send({ type: 'read-index', from: this.id, to: this.leader, term: this.term, context });
  }

  /** Hands a proposal to the leader; whether it was taken shows when it is applied. Throws NotLeaderError when nobody leads. */
  forward(sequence: number, data: readonly Uint8Array[]): void {
    if (this.leader === nobody || this.leader === this.id) throw new NotLeaderError(this.leader);
    this.#send({ type: 'propose', from: this.id, to: this.leader, term: this.term, sequence, data });
  }

  /** A message to this member could not be sent. */
  unreachable(id: MemberId): void {
    this.#leading?.unreachable(id);
  }

  /** What became of a wanted snapshot: the index it stands for, or undefined when it was not received. */
  snapshotSent(id: MemberId, index: number | undefined): void {
    this.#leading?.snapshotSent(id, index);
  }

  step(message: Message): void {
    if (message.term > this.term && !this.#stepNewer(message)) return;
    if (message.term < this.term) {
      this.#stepOlder(message);
      return;
    }
    if (fromLeader.has(message.type)) this.#hear(message);
    (this.#handlers[message.type] as (message: Message) => void)(message);
  }

  /** A message of a later term than ours; false when it is to be ignored. */
  #stepNewer(message: Message): boolean {
    if (message.type === 'vote' || message.type === 'pre-vote') {
      const hearsLeader = this.leader !== nobody && this.#electionElapsed < this.electionTicks;
      if (hearsLeader && !message.transfer) return false;
    }
    // A pre-vote changes nobody's term, neither the question nor a yes.
    if (message.type === 'pre-vote') return true;
    if (message.type === 'pre-vote-reply' && message.granted) return true;
    this.#becomeFollower(message.term, fromLeader.has(message.type) ? message.from : nobody);
    return true;
  }

  #stepOlder(message: Message): void {
    const { from, type } = message;
    // Tells a leader of an earlier term that it is none, and one that waits for a vote that it must not.
    if (fromLeader.has(type))
      this.#reply(from, { type: 'append-reply', index: 0, rejected: true, hintIndex: 0, hintTerm: 0 });
    else if (type === 'pre-vote') this.#reply(from, { type: 'pre-vote-reply', granted: false });
  }

  #hear({ from }: Message): void {
    assert(this.#leading === undefined, `members ${this.id} and ${from} lead in term ${this.term}`);
    if (this.role !== 'follower') this.#becomeFollower(this.term, from);
    this.#electionElapsed = 0;
    this.leader = from;
  }

  readonly #handlers: Handlers = {
    'pre-vote': (m) => {
      const free = this.vote === m.from || (this.vote === nobody && this.leader === nobody);
      const granted = (m.term > this.term || free) && this.log.isUpToDate(m.lastIndex, m.lastTerm);
      this.#reply(m.from, { type: 'pre-vote-reply', granted }, granted ? m.term : this.term);
    },
    vote: (m) => {
      const free = this.vote === m.from || (this.vote === nobody && this.leader === nobody);
      const granted = free && this.log.isUpToDate(m.lastIndex, m.lastTerm);
      if (granted) {
        this.vote = m.from;
        this.#electionElapsed = 0;
      }
      this.#reply(m.from, { type: 'vote-reply', granted });
    },
    'pre-vote-reply': (m) => {
      if (this.role === 'pre-candidate') this.#countVote(m.from, m.granted);
    },
    'vote-reply': (m) => {
      if (this.role === 'candidate') this.#countVote(m.from, m.granted);
    },
    append: (m) => {
      if (m.prevIndex < this.log.committed) {
        this.#acknowledge(m.from, this.log.committed);
        return;
      }
      const first = this.log.appendAfter(m.prevIndex, m.prevTerm, m.entries);
      if (first === 'mismatch') {
        const hint = this.log.lastWithTermAtMost(Math.min(m.prevIndex, this.log.lastIndex), m.prevTerm);
        const hintTerm = hint.term ?? 0;
        this.#reply(m.from, {
          type: 'append-reply',
          index: m.prevIndex,
          rejected: true,
          hintIndex: hint.index,
          hintTerm,
        });
        return;
      }
      if (first !== undefined) {
        this.#forgetConfigurations(first);
        this.#noteConfigurations(m.entries.filter(({ index }) => index >= first));
      }
      const last = m.prevIndex + m.entries.length;
      this.log.commitTo(Math.min(m.commit, last));
      this.#acknowledge(m.from, last);
    },
    heartbeat: (m) => {
      this.log.commitTo(m.commit);
      this.#reply(m.from, { type: 'heartbeat-reply', read: m.read });
    },
    snapshot: ({ from, meta }) => {
      if (meta.index > this.log.committed && this.log.matches(meta.index, meta.term)) this.log.commitTo(meta.index);
      if (meta.index > this.log.committed) {
        this.log.restore(meta);
        this.#configurations = [{ index: meta.index, configuration: meta.configuration }];
      }
      this.#acknowledge(from, Math.max(meta.index, this.log.committed));
    },
    'append-reply': (m) => {
      this.#leading?.appendReply(m.from, m);
      this.#advanceCommit();
    },
    'heartbeat-reply': (m) => this.#leading?.heartbeatReply(m.from, m.read),
    'timeout-now': () => {
      if (this.role === 'follower' && isVoter(this.configuration, this.id)) this.#campaign('vote', true);
    },
    'read-index': (m) => this.#leading?.read(m.from, m.context),
    'read-index-reply': (m) => {
      this.#reads.push({ context: m.context, index: m.index });
    },
    propose: (m) => {
      const leading = this.#leading;
      if (leading === undefined || leading.transferee !== nobody || !leading.firstTime(m.from, m.sequence)) return;
      try {
        this.propose(m.data);
      } catch (error) {
        // Whoever handed it on waits for it to be applied, and gives up in the end.
        if (!(error instanceof ProposalRefusedError)) throw error;
      }
    },
  };

  // --- roles

  #becomeFollower(term: number, leader: MemberId): void {
    if (term > this.term) {
      this.term = term;
      this.vote = nobody;
    }
    this.role = 'follower';
    this.leader = leader;
    this.#leading = undefined;
    this.#electionElapsed = 0;
    this.#electionTimeout = this.#options.randomElectionTicks();
  }

  #campaign(kind: 'pre-vote' | 'vote', transfer: boolean): void {
    this.leader = nobody;
    this.#votes.clear();
    if (kind === 'vote') {
      this.role = 'candidate';
      this.term++;
      this.vote = this.id;
      this.#electionElapsed = 0;
      this.#electionTimeout = this.#options.randomElectionTicks();
    } else this.role = 'pre-candidate';
    const term = kind === 'vote' ? this.term : this.term + 1;
    const { lastIndex, lastTerm } = this.log;
    const { voters, outgoing } = this.configuration;
    for (const to of new Set([...voters, ...outgoing])) {
      // The own vote comes back through the disk like everybody else's.
      if (to === this.id) this.#reply(to, { type: `${kind}-reply`, granted: true }, term);
      else this.#send({ type: kind, from: this.id, to, term, lastIndex, lastTerm, transfer });
    }
  }

  #countVote(from: MemberId, granted: boolean): void {
    this.#votes.set(from, granted);
    const outcome = voteOutcome(this.configuration, this.#votes);
    if (outcome === 'lost') this.#becomeFollower(this.term, nobody);
    else if (outcome === 'won' && this.role === 'pre-candidate') this.#campaign('vote', false);
    else if (outcome === 'won') this.#becomeLeader();
  }

  #becomeLeader(): void {
    this.role = 'leader';
    this.leader = this.id;
    this.#electionElapsed = 0;
    this.#heartbeatElapsed = 0;
    this.#leading = new Leading({
      ...this.#options,
      term: this.term,
      log: this.log,
      configuration: this.configuration,
      send: (message) => this.#send(message),
      readAllowed: (context, index) => this.#reads.push({ context, index }),
    });
    this.#append('empty', [], 0);
  }

  // --- log

  #append(
    type: EntryType,
    data: readonly Uint8Array[],
    bytes: number,
    durability?: Entry['durability'],
  ): { index: number; term: number } {
    const index = this.log.lastIndex + 1;
    const entry: Entry = { index, term: this.term, type, data, bytes, ...(durability && { durability }) };
    this.log.append([entry]);
    this.#leading!.uncommittedBytes += bytes;
    if (type === 'membership') {
      this.#noteConfigurations([entry]);
      this.#leading!.reconfigure(this.configuration);
    }
    return { index, term: this.term };
  }

  #noteConfigurations(entries: readonly Entry[]): void {
    for (const { index, type, data } of entries)
      if (type === 'membership')
        this.#configurations.push({ index, configuration: decodeMembership(data).configuration });
  }

  /** Entries from this one on were replaced. */
  #forgetConfigurations(from: number): void {
    while (this.#configurations.length > 1 && this.#configurations.at(-1)!.index >= from) this.#configurations.pop();
  }

  #advanceCommit(): void {
    for (let before = this.log.committed; this.#leading?.advanceCommit(); before = this.log.committed) {
      const entries = this.log.entries(before + 1, this.log.committed + 1, Number.POSITIVE_INFINITY);
      if (entries !== undefined) this.#leading.committed(entries);
      this.#followConfiguration();
    }
  }

  /** What a leader does when its newest configuration is committed. */
  #followConfiguration(): void {
    const { index, configuration } = this.#configurations.at(-1)!;
    if (index > this.log.committed) return;
    if (isJoint(configuration)) {
      const entry = this.log.entries(index, index + 1, Number.POSITIVE_INFINITY)?.[0];
      const context = entry === undefined ? new Uint8Array() : decodeMembership(entry.data).context;
      const data = encodeMembership({ configuration: { ...configuration, outgoing: [] }, context });
      this.#append('membership', [data], data.length);
    } else if (!configuration.voters.includes(this.id)) {
      this.#leading!.flush();
      this.#leading!.handOver();
      this.#becomeFollower(this.term, nobody);
    }
  }

  #acknowledge(to: MemberId, index: number): void {
    this.#reply(to, { type: 'append-reply', index, rejected: false, hintIndex: 0, hintTerm: 0 });
  }

  #reply(to: MemberId, body: ReplyBody, term = this.term): void {
    this.#send({ ...body, from: this.id, to, term } as Message);
  }

  #send(message: Message): void {
    if (afterPersist.has(message.type)) this.#messagesAfterPersist.push(message);
    else this.#messages.push(message);
  }

  // --- output

  hasReady(): boolean {
    return (
      this.#messages.length > 0 ||
      this.#messagesAfterPersist.length > 0 ||
      this.#reads.length > 0 ||
      this.#hardStateChanged ||
      this.log.hasUnsaved ||
      this.log.hasCommitted ||
      (this.#leading !== undefined && (this.#leading.hasSomethingToSend || this.#leading.snapshotsWanted.size > 0))
    );
  }

  get #hardStateChanged(): boolean {
    return this.term !== this.#savedTerm || this.vote !== this.#savedVote;
  }

  /** Everything that is to be done now; what was given out is not given out again, except `committed`, until `applied` is called. */
  ready(): Ready {
    this.#leading?.flush();
    const { snapshot, entries } = this.log.takeUnsaved();
    const vote = plantedFault('forget-vote') ? nobody : this.vote;
    const hardState = this.#hardStateChanged ? { term: this.term, vote, commit: this.log.committed } : undefined;
    this.#savedTerm = this.term;
    this.#savedVote = this.vote;
    const ready: Ready = {
      hardState,
      entries,
      snapshot,
      messages: this.#messages,
      messagesAfterPersist: this.#messagesAfterPersist,
      committed: this.log.nextCommitted(this.#options.maxApplyBytes),
      reads: this.#reads,
      snapshotsWanted: [...(this.#leading?.snapshotsWanted ?? [])],
      commit: this.log.committed,
    };
    this.#messages = [];
    this.#messagesAfterPersist = [];
    this.#reads = [];
    this.#leading?.snapshotsWanted.clear();
    return ready;
  }

  /** What this Ready asked to store is on disk; Readys must be reported in order. */
  persisted({ snapshot, entries, messagesAfterPersist }: Ready): void {
    if (snapshot !== undefined) this.log.snapshotStored(snapshot);
    const last = entries.at(-1);
    if (last !== undefined && this.log.stableTo(last.index, last.term) && this.#leading !== undefined) {
      this.#leading.persisted(last.index);
      this.#advanceCommit();
    }
    for (const message of messagesAfterPersist) if (message.to === this.id) this.step(message);
  }

  /** The state machine contains the effect of every entry up to here. */
  applied(index: number): void {
    this.log.appliedTo(index);
    while (this.#configurations.length > 1 && this.#configurations[1]!.index <= index) this.#configurations.shift();
  }
}

type ReplyBody = MessageBody<'pre-vote-reply' | 'vote-reply' | 'append-reply' | 'heartbeat-reply'>;
