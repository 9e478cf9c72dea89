import { existsSync } from 'node:fs';
import { sleep } from '../../base/clock.ts';
import type { AppError } from '../../base/errors.ts';
import { removeFileDurably, writeFileAtomic } from '../../base/files-system.ts';
import type { Paths } from '../../config/paths.ts';
import type { Cluster } from '../../store/api.ts';
import { comeWithinMs } from '../../store/awaited-members.ts';
import type { Peers } from '../../store/peers-transport.ts';
import type { RoleContext } from '../role.ts';

/** A server that does not serve, because it waits for the others or was removed by them: how it says so. */

const waitsEveryMs = 2_000;

/** A server that was removed does not serve: its store is what it was at some time. */
const removedFile = (paths: Paths): string => `${paths.store}/removed`;

export function markRemoved(paths: Paths): void {
  writeFileAtomic(removedFile(paths), 'the other servers have removed this one from the store\n', 0o600);
}

/** This machine was a server of its cluster, and the others have removed it. */
export function isRemoved(paths: Paths): boolean {
  return existsSync(removedFile(paths));
}

/** The store is to be used again: it goes on as another cluster's. */
export function forgetRemoval(paths: Paths): void {
  if (isRemoved(paths)) removeFileDurably(removedFile(paths));
}

/** Nothing to do but to say why, until somebody has read it. */
export async function untilStopped(error: AppError, { clock, stopping, waits }: RoleContext): Promise<never> {
  while (!stopping.aborted) {
    waits(`${error.message}; ${error.hint}`);
    await sleep(clock, waitsEveryMs, stopping);
  }
  throw error;
}

/** What a server that cannot read waits for, in words. */
export function waitingText(cluster: Cluster, { problem }: Pick<Peers, 'problem'>): string {
  const voters = cluster.members().filter(({ learner }) => !learner);
  // Who was let go before it came is called by nobody.
  if (voters.length === 0)
    return `waits for the servers that it joined: none has called yet; they keep its place for ${comeWithinMs / 60_000} minutes, after that join again`;
  const missing = voters.filter(({ id }) => id !== cluster.memberId && problem(id) !== undefined);
  const here = voters.length - missing.length;
  if (here * 2 > voters.length) return `waits for an election: ${here} of ${voters.length} servers are here`;
  const whom = missing.map(({ id, name, node }) => `${name || (node ?? id.toString(16))} (${problem(id)})`);
  return `waits for a majority of the servers: ${here} of ${voters.length} here; missing ${whom.join(', ')}`;
}
