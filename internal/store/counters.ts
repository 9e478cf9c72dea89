import { diskBounds, Histogram } from '../base/prometheus.ts';
import { type MemberId, nobody } from '../raft/types.ts';
import type { Command } from './command.ts';
import type { RevisionEvents } from './recent.ts';

/** What one member counts while it runs (`StoreCounters`). */
export class MemberCounters {
  leaderChanges = 0;
  proposalsFailed = 0;
  puts = 0;
  deletes = 0;
  ranges = 0;
  txns = 0;
  readonly databaseWriteSeconds = new Histogram(diskBounds);
  #leader: MemberId = nobody;

  leader(leader: MemberId): void {
    if (leader === nobody || leader === this.#leader) return;
    this.leaderChanges++;
    this.#leader = leader;
  }

  applied({ kind }: Command, revisions: readonly RevisionEvents[]): void {
    if (kind === 'txn') this.txns++;
    for (const { events } of revisions)
      for (const { type } of events) {
        if (type === 'put') this.puts++;
        else this.deletes++;
      }
  }
}
