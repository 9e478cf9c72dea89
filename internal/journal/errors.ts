import { AppError } from '../base/errors.ts';

/** A record before the tail is damaged: what follows it cannot be trusted. Names file and offset. */
export class JournalCorruptError extends AppError {
  constructor(
    readonly file: string,
    readonly offset: number,
    why: string,
  ) {
    super('JOURNAL_CORRUPT', `${file}: damaged record at offset ${offset}: ${why}`, {
      hint: 'The disk returned other bytes than were written. Replace the disk; restore this copy from its peers.',
    });
  }
}

/** The disk failed while writing; which of the records in flight are there is known only after reopening. */
export class JournalFailedError extends AppError {
  constructor(dir: string, cause: unknown) {
    super('JOURNAL_FAILED', `${dir}: the journal could not be written`, {
      cause,
      hint: 'Check the disk (dmesg, free space); the role restarts and replays what is on disk.',
    });
  }
}
