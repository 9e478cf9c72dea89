/**
 * The words of the consensus core. Names and rules are those of the Raft paper (Ongaro, Ousterhout: In Search of an Understandable Consensus
 * Algorithm) and of the thesis for what the paper leaves out (pre-vote, read index, leadership transfer).
 */

/** Names a member for good; never used again for another one. 0: nobody. At most 2^53 - 1. */
export type MemberId = number;

export const nobody: MemberId = 0;

/** `command`: the state machine's; `empty`: what a new leader begins its term with; `membership`: a new configuration (`membership.ts`). */
export type EntryType = 'command' | 'empty' | 'membership';

export interface Entry {
  readonly index: number;
  readonly term: number;
  readonly type: EntryType;
  /** Opaque for commands. Pieces, so that large values need not be copied; they must not change. */
  readonly data: readonly Uint8Array[];
  /** Bytes of all pieces. */
  readonly bytes: number;
  /** May be acknowledged before it is on disk while the group has one member (`journal/api.ts`). Never sent, never stored. */
  readonly durability?: 'volatile' | 'deferred';
}

/** What a member must find again after a crash. */
export interface HardState {
  readonly term: number;
  /** Who got this member's vote in `term`; `nobody` when none did. */
  readonly vote: MemberId;
  /** A hint: everything up to here was committed. Losing it is harmless. */
  readonly commit: number;
}

/**
 * Who decides. With `outgoing` set the group is between two configurations (joint consensus, section 6 of the paper) and every decision needs a
 * majority of both. Learners get everything and decide nothing.
 */
export interface Configuration {
  readonly voters: readonly MemberId[];
  readonly outgoing: readonly MemberId[];
  readonly learners: readonly MemberId[];
}

/** A state of the state machine that stands for the log up to `index`. */
export interface SnapshotMeta {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
}

interface Envelope {
  readonly from: MemberId;
  readonly to: MemberId;
  /** The sender's term; for a granted pre-vote and its request, the term that would follow. */
  readonly term: number;
}

interface Election {
  readonly lastIndex: number;
  readonly lastTerm: number;
  /** The leader asked for this election: its lease does not count against it. */
  readonly transfer: boolean;
}

interface Answer {
  readonly granted: boolean;
}

interface Append {
  readonly prevIndex: number;
  readonly prevTerm: number;
  readonly entries: readonly Entry[];
  readonly commit: number;
}

interface AppendReply {
  /** The newest index known to be the same as the leader's; when rejected, the `prevIndex` that did not fit. */
  readonly index: number;
  readonly rejected: boolean;
  /** When rejected: where the logs may be the same, and the term of this member's entry there. */
  readonly hintIndex: number;
  readonly hintTerm: number;
}

/** What each kind of message says beside who, to whom and in which term. */
export interface MessageBodies {
  'pre-vote': Election;
  'pre-vote-reply': Answer;
  vote: Election;
  'vote-reply': Answer;
  append: Append;
  'append-reply': AppendReply;
  /** `read`: the newest round of `Raft.readIndex`, which the reply gives back. */
  heartbeat: { readonly commit: number; readonly read: number };
  'heartbeat-reply': { readonly read: number };
  /** Stepped by the receiving shell once the whole snapshot is in a file beside its state. */
  snapshot: { readonly meta: SnapshotMeta };
  'timeout-now': object;
  /** A follower asks the leader up to where it must have applied before it may answer a linearizable read. */
  'read-index': { readonly context: number };
  'read-index-reply': { readonly context: number; readonly index: number };
  /** A follower hands a proposal on. `sequence` is never used twice by one member. */
  propose: { readonly sequence: number; readonly data: readonly Uint8Array[] };
}

export type MessageType = keyof MessageBodies;

/** Without who, to whom and in which term. */
export type MessageBody<T extends MessageType = MessageType> = { [K in T]: { readonly type: K } & MessageBodies[K] }[T];

export type Message<T extends MessageType = MessageType> = {
  [K in T]: Envelope & { readonly type: K } & MessageBodies[K];
}[T];

export type Role = 'follower' | 'pre-candidate' | 'candidate' | 'leader';

/**
 * What the shell must do, and in which order.
 *
 * 1. Append `hardState`, `entries`, `snapshot` to stable storage, in the order in which Readys were given. Several may be in flight.
 * 2. `messages` may be sent at once: they are a leader's, and a leader counts itself only once its own disk has the entries (10.2.1 of the thesis).
 * 3. When 1 is on disk: send `messagesAfterPersist` (votes, and what this member says it has), and call `Raft.persisted`. A vote or an
 *    acknowledgement that leaves earlier can be forgotten by a crash: then a term can have two leaders, or a committed entry can be lost.
 * 4. Apply `committed` in order and call `Raft.applied`. They are on this member's disk already.
 */
export interface Ready {
  readonly hardState: HardState | undefined;
  readonly entries: readonly Entry[];
  /** What is committed now: a hint to store beside the entries. */
  readonly commit: number;
  /** The state of this snapshot takes the place of the state machine and of the whole log. Before `entries`. */
  readonly snapshot: SnapshotMeta | undefined;
  readonly messages: readonly Message[];
  readonly messagesAfterPersist: readonly Message[];
  readonly committed: readonly Entry[];
  /** Reads that may be answered once `index` is applied. */
  readonly reads: readonly { readonly context: number; readonly index: number }[];
  /** Members that need a snapshot: make one, send it, then call `Raft.snapshotSent`. */
  readonly snapshotsWanted: readonly MemberId[];
}

/** The part of the log that is (being) written by the shell. Reads are of memory: nothing waits. */
export interface RaftStorage {
  initialState(): { hardState: HardState; snapshot: SnapshotMeta };
  /** The oldest entry held; `lastIndex + 1` when there is none. The term of the entry before it is known too. */
  readonly firstIndex: number;
  readonly lastIndex: number;
  /** Undefined for what is not held. */
  term(index: number): number | undefined;
  /** Entries of [from, before), at least one, as many as fit `maxBytes`. The range must be held. */
  entries(from: number, before: number, maxBytes: number): Entry[];
}
