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

/** The request breaks a rule of the interface (empty key, a key written twice in one transaction, too many operations). */
export class InvalidRequestError extends AppError {
  constructor(message: string) {
    super('INVALID_REQUEST', message);
  }
}

/** A watch was ended because the store closes, or an operation came after `close`. */
export class StoreClosedError extends AppError {
  constructor(dir: string) {
    super('STORE_CLOSED', `the store in ${dir} is closed`);
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
