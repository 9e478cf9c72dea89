import { plantedFault } from '../base/planted-fault.ts';
import { entryOverheadBytes, type RaftLog } from './log.ts';
import { decidedIndex, everybody, isAlone, voteOutcome } from './membership.ts';
import { Progress } from './progress.ts';
import type { Configuration, Entry, MemberId, Message, MessageBody } from './types.ts';

export interface LeadingOptions {
  id: MemberId;
  term: number;
  log: RaftLog;
  configuration: Configuration;
  maxMessageBytes: number;
  maxInflightMessages: number;
  maxInflightBytes: number;
  send(message: Message): void;
  /** A read of this member may be answered once `index` is applied. */
  readAllowed(context: number, index: number): void;
}

interface Read {
  from: MemberId;
  context: number;
}

/** What exists only while a member leads: what it knows of the others, and what waits for them. */
export class Leading {
  readonly #options: LeadingOptions;
  readonly #log: RaftLog;
  readonly progress = new Map<MemberId, Progress>();
  /** The first entry of this term; nothing may be read or changed before it is committed. */
  readonly firstIndex: number;
  configuration: Configuration;
  /** Who is to lead next; proposals are refused meanwhile. */
  transferee: MemberId = 0;
  uncommittedBytes = 0;
  readonly snapshotsWanted = new Set<MemberId>();
  /** Proposals handed on by others in this term: a duplicated message must not become a second entry. */
  readonly #forwarded = new Map<MemberId, Set<number>>();
  #ownMatch: number;
  /** Reads that wait for the first commit of the term, or for the next round. */
  #waiting: Read[] = [];
  #round = 0;
  #rounds: { round: number; index: number; reads: Read[] }[] = [];

  constructor(options: LeadingOptions) {
    this.#options = options;
    this.#log = options.log;
    this.configuration = options.configuration;
    this.firstIndex = options.log.lastIndex + 1;
    this.#ownMatch = options.log.stableIndex;
    this.reconfigure(options.configuration);
  }

  get hasCommittedInTerm(): boolean {
    return this.#log.committed >= this.firstIndex;
  }

  /** Follows a new configuration, which counts from the moment it is in the log. */
  reconfigure(configuration: Configuration): void {
    this.configuration = configuration;
    const members = new Set(everybody(configuration));
    for (const id of this.progress.keys()) if (!members.has(id)) this.progress.delete(id);
    for (const id of members) {
      if (id === this.#options.id || this.progress.has(id)) continue;
      const { maxInflightMessages, maxInflightBytes } = this.#options;
      const progress = new Progress(this.#log.lastIndex + 1, maxInflightMessages, maxInflightBytes);
      // A new member gets the time of a whole election before it counts as silent.
      progress.recentlyActive = true;
      this.progress.set(id, progress);
    }
    for (const id of this.snapshotsWanted) if (!members.has(id)) this.snapshotsWanted.delete(id);
    if (!members.has(this.transferee)) this.transferee = 0;
  }

  // --- commit

  /** This member's own disk has the log up to here. */
  persisted(index: number): void {
    this.#ownMatch = Math.max(this.#ownMatch, index);
  }

  /** Moves the commit index as far as the members' acknowledgements allow; true when it moved. */
  advanceCommit(): boolean {
    const match = (id: MemberId): number =>
      id === this.#options.id ? this.#ownMatch : (this.progress.get(id)?.match ?? 0);
    const index = decidedIndex(this.configuration, match);
    // Only an entry of the own term says that no later leader can lack it (5.4.2 of the paper); older ones are committed with it.
    if (index <= this.#log.committed) return false;
    if (this.#log.term(index) !== this.#options.term && !plantedFault('commit-old-term')) return false;
    return this.#log.commitTo(index);
  }

  committed(entries: readonly Entry[]): void {
    for (const entry of entries) this.uncommittedBytes = Math.max(0, this.uncommittedBytes - entry.bytes);
  }

  // --- replication

  /** Sends whatever followers can be sent now. */
  flush(): void {
    this.#startRound();
    for (const [to, progress] of this.progress) {
      const tell = progress.sentCommit < this.#log.committed;
      while (this.#send(to, progress, tell && progress.sentCommit < this.#log.committed));
    }
  }

  get hasSomethingToSend(): boolean {
    if (this.#waiting.length > 0 && this.hasCommittedInTerm) return true;
    for (const progress of this.progress.values())
      if (!progress.blocked && (progress.next <= this.#log.lastIndex || progress.sentCommit < this.#log.committed))
        return true;
    return false;
  }

  /** One append; false when nothing was sent, or nothing more follows. */
  #send(to: MemberId, progress: Progress, evenEmpty: boolean): boolean {
    if (progress.blocked) return false;
    const prevIndex = progress.next - 1;
    const prevTerm = this.#log.term(prevIndex);
    const entries =
      prevTerm === undefined
        ? undefined
        : this.#log.entries(progress.next, this.#log.lastIndex + 1, this.#options.maxMessageBytes);
    if (prevTerm === undefined || entries === undefined) {
      // Nobody makes a snapshot for a member that does not answer; its next heartbeat's answer asks for one.
      if (!progress.recentlyActive) {
        progress.wait();
        return false;
      }
      progress.snapshot();
      this.snapshotsWanted.add(to);
      return false;
    }
    if (entries.length === 0 && !evenEmpty) return false;
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes + entryOverheadBytes, 0);
    this.#tell(to, { type: 'append', prevIndex, prevTerm, entries, commit: this.#log.committed });
    progress.sentCommit = this.#log.committed;
    progress.sent(entries.at(-1)?.index ?? prevIndex, entries.length, bytes);
    return entries.length > 0;
  }

  appendReply(from: MemberId, reply: Message<'append-reply'>): void {
    const progress = this.progress.get(from);
    if (progress === undefined) return;
    progress.recentlyActive = true;
    if (reply.rejected) {
      // Skip our entries of terms that are newer than anything the follower has there.
      const { index } = this.#log.lastWithTermAtMost(reply.hintIndex, reply.hintTerm);
      if (progress.rejected(reply.index, index) && progress.state === 'replicate') progress.probe();
      return;
    }
    if (reply.index > this.#log.lastIndex) return;
    const more = progress.acknowledged(reply.index);
    if (!more && !(progress.state === 'probe' && progress.match === reply.index)) return;
    if (progress.state === 'replicate') progress.inflights.freeTo(reply.index);
    else if (progress.state === 'probe') progress.replicate();
    else if (progress.match + 1 >= this.#log.firstIndex) {
      progress.probe();
      progress.replicate();
    }
    if (from === this.transferee) this.tryTransfer();
  }

  unreachable(id: MemberId): void {
    const progress = this.progress.get(id);
    if (progress?.state === 'replicate') progress.probe();
  }

  snapshotSent(id: MemberId, index: number | undefined): void {
    const progress = this.progress.get(id);
    if (progress?.state !== 'snapshot') return;
    if (index === undefined) progress.wait();
    else progress.probe(Math.max(progress.match, index) + 1);
  }

  // --- heartbeats, quorum, reads

  heartbeat(): void {
    for (const [to, { match }] of this.progress) {
      // Not beyond what it is known to have: its log may still end in entries of another leader.
      const commit = Math.min(match, this.#log.committed);
      this.#tell(to, { type: 'heartbeat', commit, read: this.#round });
    }
  }

  heartbeatReply(from: MemberId, read: number): void {
    const progress = this.progress.get(from);
    if (progress === undefined) return;
    progress.recentlyActive = true;
    progress.paused = false;
    if (progress.inflights.full) progress.inflights.freeFirst();
    if (progress.match < this.#log.lastIndex || progress.state === 'probe') this.#send(from, progress, true);
    if (read > progress.readRound) {
      progress.readRound = read;
      this.#finishRounds();
    }
  }

  /** Whether a majority was heard of since the last call. */
  quorumIsActive(): boolean {
    const active = new Map<MemberId, boolean>([[this.#options.id, true]]);
    for (const [id, progress] of this.progress) active.set(id, progress.checked());
    return voteOutcome(this.configuration, active) === 'won';
  }

  /** Whether this member hears the other one, or is it. */
  hears(id: MemberId): boolean {
    return id === this.#options.id || this.progress.get(id)?.active === true;
  }

  /** A linearizable read: answered once a majority has confirmed, after this call, that nobody else leads (6.4 of the thesis). */
  read(from: MemberId, context: number): void {
    this.#waiting.push({ from, context });
    if (this.hasCommittedInTerm && isAlone(this.configuration)) this.#startRound();
  }

  /** All reads that came since the last round share one. */
  #startRound(): void {
    if (this.#waiting.length === 0 || !this.hasCommittedInTerm) return;
    const reads = this.#waiting;
    this.#waiting = [];
    this.#rounds.push({ round: ++this.#round, index: this.#log.committed, reads });
    if (this.configuration.voters.length + this.configuration.outgoing.length > 1) this.heartbeat();
    this.#finishRounds();
  }

  #finishRounds(): void {
    const round = (id: MemberId): number =>
      id === this.#options.id ? this.#round : (this.progress.get(id)?.readRound ?? 0);
    const confirmed = decidedIndex(this.configuration, round);
    while (this.#rounds.length > 0 && this.#rounds[0]!.round <= confirmed) {
      const { index, reads } = this.#rounds.shift()!;
      for (const { from, context } of reads) {
        if (from === this.#options.id) this.#options.readAllowed(context, index);
        else this.#tell(from, { type: 'read-index-reply', context, index });
      }
    }
  }

  // --- proposals and transfer

  /** False when this very proposal was seen before. */
  firstTime(from: MemberId, sequence: number): boolean {
    const seen = this.#forwarded.get(from) ?? new Set();
    this.#forwarded.set(from, seen);
    if (seen.has(sequence)) return false;
    seen.add(sequence);
    if (seen.size > maxRemembered) seen.delete(seen.values().next().value!);
    return true;
  }

  /** Hands leadership on when the next leader has everything. */
  tryTransfer(): void {
    if (this.transferee === 0) return;
    const progress = this.progress.get(this.transferee)!;
    if (progress.match === this.#log.lastIndex) this.#tell(this.transferee, { type: 'timeout-now' });
    else this.#send(this.transferee, progress, true);
  }

  /** Who had better lead next: of the other voters that are heard the one that has most of the log. Undefined: none is heard. */
  successor(): MemberId | undefined {
    let best: MemberId | undefined;
    for (const id of this.configuration.voters) {
      if (id === this.#options.id || !this.hears(id)) continue;
      if (best === undefined || this.progress.get(id)!.match > this.progress.get(best)!.match) best = id;
    }
    return best;
  }

  /** A leader that is not a voter any more asks another one to follow it. */
  handOver(): void {
    const best = this.successor();
    if (best !== undefined) this.#tell(best, { type: 'timeout-now' });
  }

  #tell(to: MemberId, message: MessageBody): void {
    this.#options.send({ ...message, from: this.#options.id, to, term: this.#options.term } as Message);
  }
}

/** Proposals of one member that are remembered; a duplicate that comes later than so many others is not known as one. */
const maxRemembered = 100_000;
