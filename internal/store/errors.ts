import { AppError } from '../base/errors.ts';

/** The revision asked for is older than the oldest that is kept. */
export class CompactedError extends AppError {
  constructor(
    readonly revision: number,
    /** The oldest revision that can be read or watched from. */
    readonly compactRevision: number,
  ) {
    super('COMPACTED', `revision ${revision} has been compacted; the oldest that is kept is ${compactRevision}`, {
      hint: 'Read the newest revision and watch from there.',
    });
  }
}

/** The revision asked for has not happened yet. */
export class FutureRevisionError extends AppError {
  constructor(
    readonly revision: number,
    readonly currentRevision: number,
  ) {
    super('FUTURE_REVISION', `revision ${revision} is in the future; the newest is ${currentRevision}`);
  }
}

export class LeaseNotFoundError extends AppError {
  constructor(readonly lease: bigint) {
    super('LEASE_NOT_FOUND', `lease ${lease} does not exist`, { hint: 'It expired or was revoked; grant a new one.' });
  }
}

export class LeaseExistsError extends AppError {
  constructor(readonly lease: bigint) {
    super('LEASE_EXISTS', `lease ${lease} exists already`);
  }
}

/** Rules of the interface that a request can break. */
export type InvalidReason =
  | 'INVALID_REQUEST'
  | 'EMPTY_KEY'
  | 'DUPLICATE_KEY'
  | 'TOO_MANY_OPS'
  | 'VALUE_PROVIDED'
  | 'LEASE_PROVIDED'
  | 'LEASE_TTL_TOO_LARGE'
  | 'REQUEST_TOO_LARGE';

/** The request breaks a rule of the interface (empty key, a key written twice in one transaction, too many operations). */
export class InvalidRequestError extends AppError {
  constructor(message: string, reason: InvalidReason = 'INVALID_REQUEST') {
    super(reason, message);
  }
}

/** `ignoreValue` or `ignoreLease` for a key that does not exist. */
export class KeyNotFoundError extends AppError {
  constructor() {
    super('KEY_NOT_FOUND', 'the key whose value or lease should be kept does not exist');
  }
}

/** The database has reached its quota, or had: the alarm stays until it is disarmed. Deletes and compaction still work. */
export class NoSpaceError extends AppError {
  constructor(quotaBytes: number) {
    super('NO_SPACE', `the store has reached its quota of ${quotaBytes} bytes`, {
      hint: 'Delete what is not needed, compact, defragment, then disarm the alarm (appliance store status shows it).',
    });
  }
}

/** Members disagree about the data: the alarm stays until it is disarmed. */
export class CorruptError extends AppError {
  constructor() {
    super('CORRUPT', 'the store takes no writes: its members disagree about the data (alarm CORRUPT)', {
      hint: 'Compare `etcdctl endpoint hashkv` of the members, remove and re-add the one that differs, then disarm the alarm.',
    });
  }
}

export type MembershipReason =
  | 'MEMBER_NOT_FOUND'
  | 'PEER_URL_EXISTS'
  | 'BAD_MEMBER_URLS'
  | 'NOT_LEARNER'
  | 'LEARNER_NOT_READY'
  | 'NOT_ENOUGH_MEMBERS'
  | 'UNHEALTHY_CLUSTER'
  | 'BAD_LEADER_TRANSFEREE'
  | 'NOT_LEADER'
  | 'NO_LEADER'
  | 'LEADER_CHANGED'
  | 'TIMEOUT';

/** A change of members or of the leader that cannot be made, or a request that found no leader. */
export class ClusterError extends AppError {
  constructor(reason: MembershipReason, message: string, hint?: string) {
    super(reason, message, hint === undefined ? {} : { hint });
  }
}

/** A watch was ended because the store closes, or an operation came after `close`. */
export class StoreClosedError extends AppError {
  constructor(dir: string) {
    super('STORE_CLOSED', `the store in ${dir} is closed`);
  }
}

/** The group has let this member go. What was acknowledged is with the others. */
export class RemovedError extends AppError {
  constructor() {
    super('REMOVED', 'the other servers have removed this one from the store', {
      hint: '`appliance reset`, then join again',
    });
  }
}

/** The store cannot go on: its log or its database failed. What was acknowledged is on disk; reopen it. */
export class StoreFailedError extends AppError {
  constructor(dir: string, cause: unknown) {
    super('STORE_FAILED', `the store in ${dir} failed and takes no more requests`, {
      cause,
      hint: 'Check the disk (dmesg, free space); the role restarts and replays what is on disk.',
    });
  }
}

/** What is on disk contradicts itself, or was written by a newer version. */
export class StoreDamagedError extends AppError {
  constructor(dir: string, why: string, hint?: string) {
    super('STORE_DAMAGED', `the store in ${dir} cannot be opened: ${why}`, hint === undefined ? {} : { hint });
  }
}

/** More is waiting for the disk than may be held in memory. */
export class StoreBusyError extends AppError {
  constructor(dir: string, waiting: number) {
    super('STORE_BUSY', `the store in ${dir} has ${waiting} writes waiting for the disk`, { hint: 'Try again later.' });
  }
}

/** A snapshot that cannot be used. */
export class SnapshotError extends AppError {
  constructor(path: string, why: string, cause?: unknown) {
    super('SNAPSHOT', `the snapshot ${path} cannot be used: ${why}`, {
      hint: 'Nothing was changed. Use another snapshot.',
      ...(cause !== undefined && { cause }),
    });
  }
}
