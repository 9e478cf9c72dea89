import type { Disk } from '../base/disk.ts';
import type { Random } from '../base/random.ts';
import { decodeMembership } from '../raft/membership.ts';
import type { OutgoingSnapshot } from '../raft/node.ts';
import type { StoreSnapshot } from './api.ts';
import { CompactedError, FutureRevisionError } from './errors.ts';
import type { Flusher } from './flusher.ts';
import { openSnapshot } from './snapshot-file.ts';
import type { State } from './state.ts';
import type { StateFiles } from './state-files.ts';

/** Names of snapshot files while they are sent; what a crash left is removed at the next start. */
export const snapshotPrefix = 'sending-snapshot-';

export interface CopiesOptions {
  readonly dir: string;
  readonly disk: Disk;
  readonly random: Random;
  readonly files: StateFiles;
  /** Those of now: others after a member has taken over somebody's state. */
  flusher(): Flusher;
  state(): State;
}

/** What reads the whole state of a member: the database, with everything that is applied written to it first. */
export class MemberCopies {
  readonly #options: CopiesOptions;

  constructor(options: CopiesOptions) {
    this.#options = options;
  }

  async hash(revision: number): Promise<{ hash: number; revision: number; compactRevision: number }> {
    const { files, flusher, state } = this.#options;
    const { compactRevision, revision: newest } = state();
    if (revision > newest) throw new FutureRevisionError(revision, newest);
    if (revision > 0 && revision <= compactRevision) throw new CompactedError(revision, compactRevision);
    await flusher().flush();
    return files.writer.hash(Math.max(0, revision));
  }

  async defragment(): Promise<void> {
    await this.#options.flusher().flush();
    await this.#options.files.writer.vacuum();
  }

  /** In the form of a snapshot's file. */
  async snapshot(): Promise<StoreSnapshot> {
    const { dir, disk, files, flusher, random } = this.#options;
    await flusher().flush();
    const path = `${dir}/${snapshotPrefix}${random.uint32().toString(16)}`;
    try {
      const { revision, bytes } = await files.writer.snapshot(path);
      return { revision, bytes, pieces: () => openSnapshot(disk, path, bytes) };
    } catch (error) {
      await disk.remove(path).catch(() => undefined);
      throw error;
    }
  }

  /** As another member takes it over. */
  async forMember(): Promise<OutgoingSnapshot> {
    await this.#options.flusher().flush();
    const { bytes, pieces, release, saved } = await this.#options.files.copy();
    const { appliedIndex: index, appliedTerm: term } = saved.meta;
    const { configuration } = decodeMembership([saved.membership!]);
    return { meta: { index, term, configuration }, bytes, pieces, release };
  }
}
