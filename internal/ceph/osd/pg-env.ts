import type { OpClient } from './op-request.ts';
import type { ReplyBudget } from './reply-budget.ts';
import type { Clock } from '../../base/clock.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { ObjectStore, TransactionOp } from '../blockstore/api.ts';
import type { MessageCodec } from '../wire/message.ts';
import type { PushCursor } from '../wire/messages/osd_osd.ts';
import type { HObject, PgId } from '../wire/types.ts';
import type { ClockDelta } from './clock-deltas.ts';
import type { CopyPiece } from './copy-reads.ts';
import type { OsdOptions } from './osd-options.ts';
import type { RecoveryPace } from './recovery-pace.ts';
import type { ReplicaReadCounts } from './replica-read.ts';
import type { Reservation, ReservationRequest } from './reserver.ts';

/** What a PG asks of the OSD around it. A PG has no other way out, so that a simulation can run whole clusters of them in one process. */
export interface PgEnv {
  readonly whoami: number;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Sends to another OSD: delivered once and in order while both stay up in the map. `sent`: as in SendOptions. */
  send<T>(osd: number, codec: MessageCodec<T>, body: T, sent?: () => void): void;
  /**
   * Runs `send` when the connection to an OSD has room for much data, one after another per OSD; `send` resolves when it has queued its message. For
   * recovery, which would otherwise pile objects up in memory.
   */
  bulk(osd: number, send: () => Promise<void>): void;
  /**
   * Queues a transaction; `done` is called when it is on disk. A failing disk ends the OSD: there is no other way to keep the promise that what was
   * acknowledged stays. Without `done` nobody waits.
   */
  commit(ops: TransactionOp[], done?: () => void): void;
  /** A piece of an object of any PG, for a copy of it: `CopyReads.read`. */
  readObject(oid: HObject, from: PushCursor, userVersion: number): Promise<CopyPiece>;
  /** Memory of any content for a payload, to be given back by `recycle`. */
  take(length: number): Uint8Array;
  /** Memory for what clients read. */
  readonly replies: ReplyBudget<OpClient>;
  /** A payload of a message that nobody reads any more: its memory may be used again. */
  recycle(bytes: Uint8Array): void;
  /** Asks the mon for `up_thru >= epoch`. */
  wantUpThru(epoch: number): void;
  /** Asks the mon for another acting set; an empty list takes the request back. */
  wantPgTemp(pg: PgId, osds: readonly number[]): void;
  /** The PG's state or statistics changed enough to be told at once. */
  reportSoon(): void;
  /** Asks for one of the places among the PGs of this OSD that recover or backfill at a time. */
  reserve(request: ReservationRequest): Reservation;
  /** Objects that this OSD recovers at a time. */
  readonly pace: RecoveryPace;
  /** A place for one scrub, our own or that of a PG led by another OSD, with a way to give it back; undefined: all are taken. */
  scrubSlot(): (() => void) | undefined;
  /** What holds now. */
  options(): OsdOptions;
  /** The OSD is about to stop, and must not answer clients any more. */
  leaving(): boolean;
  /** How far another OSD's monotonic clock is from ours. */
  clockDelta(osd: number): ClockDelta;
  /** A copy here was wrong or lost, and is or will be replaced. */
  countRepair(): void;
  /** An object of so many bytes is where it belongs again. */
  countRecovered(bytes: number): void;
  /** Of reads at replicas. */
  readonly replicaReads: ReplicaReadCounts;
  /** A line for the cluster log; levels are those of `messages/log.ts`. */
  clusterLog(level: number, text: string): void;
}
