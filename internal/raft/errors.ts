import { AppError } from '../base/errors.ts';

/** Only a leader takes this, and this member is none (or is handing leadership on). Nothing was appended. */
export class NotLeaderError extends AppError {
  constructor(readonly leader: number) {
    super('NOT_LEADER', leader === 0 ? 'the group has no leader' : `member ${leader.toString(16)} leads the group`, {
      hint: 'Try again in a moment.',
    });
  }
}

/** The proposal was not taken; nothing was appended. */
export class ProposalRefusedError extends AppError {
  constructor(message: string, hint = 'Try again later.') {
    super('PROPOSAL_REFUSED', message, { hint });
  }
}

/** What is on disk contradicts itself, or was written by a newer version. */
export class RaftStorageError extends AppError {
  constructor(dir: string, why: string) {
    super('RAFT_STORAGE', `${dir}: the log cannot be used: ${why}`, {
      hint: 'Restore this member from its peers: remove it from the group, empty its directory, let it join again.',
    });
  }
}
