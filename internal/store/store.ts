import type { Clock } from '../base/clock.ts';
import type { AppError } from '../base/errors.ts';
import { type Disk, makeDurableDirectory } from '../base/disk.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type { Journal, JournalOptions } from '../journal/api.ts';
import { JournalCorruptError } from '../journal/errors.ts';
import { openJournal } from '../journal/journal.ts';
import { JournalStorage, plainTerm } from '../raft/journal-storage.ts';
import { decodeMembership, emptyConfiguration } from '../raft/membership.ts';
import type { RaftTransport } from '../raft/node.ts';
import type { SnapshotMeta } from '../raft/types.ts';
import type { Store } from './api.ts';
import { comeWithinMs } from './awaited-members.ts';
import { encodeCommand } from './command.ts';
import { StoreDamagedError } from './errors.ts';
import { defaultCheckpointBytes } from './flusher.ts';
import { GroupCluster } from './group-cluster.ts';
import { type Identity, loadIdentity } from './identity.ts';
import { defaultTiming, GroupLog, type RaftTiming } from './log.ts';
import { type GroupApplication, MemberStore, type Waiting } from './member.ts';
import { maxSub } from './schema.ts';
import { snapshotPrefix } from './member-copies.ts';
import { encodeMembers, type Membership, raftId } from './members.ts';
import { revisionSkip } from './revisions.ts';
import type { SavedState, StateFiles } from './state-files.ts';
import { openStateFiles } from './state-files-system.ts';

export interface StoreOptions {
  /** A directory of its own: `journal/` and `state.db` in it. Made when missing. */
  dir: string;
  disk: Disk;
  clock: Clock;
  random: Random;
  log: Logger;
  /** Newest values kept in memory; default 6 MiB. */
  cacheBytes?: number;
  /** Pages of the database kept in memory; default 4 MiB. */
  pageCacheBytes?: number;
  /** Events kept in memory for watches; default 2 MiB. */
  recentBytes?: number;
  /** Write to the database in a thread of its own (default) or inline. */
  writer?: 'worker' | 'inline';
  /** Size of one journal file; default 16 MiB. */
  segmentBytes?: number;
  /** Oldest change that is only in the journal and in memory; default 10 min. */
  flushAfterMs?: number;
  /** A checkpoint follows when this much was written since the last one; default 8 MiB. */
  checkpointBytes?: number;
  /** Puts are refused (alarm NOSPACE) when the database is this large; default 2 GiB, as etcd's --quota-backend-bytes. */
  quotaBytes?: number;
  /** Revisions that are reserved at a time for writes that are acknowledged before they are on disk; default 10,000. */
  reserveBlock?: number;
  /** Keys that one revision changes at most; default, and the most that the format holds: 1,048,576. The same on every member. */
  maxChanges?: number;
  /** When such writes reach the disk at the latest (`journal/api.ts`). */
  unsynced?: Pick<JournalOptions, 'volatileSyncMs' | 'deferredMs'>;
  /** How this member is called in member lists, where it is found, and the node that it is on. */
  member?: { name: string; peerUrls: readonly string[]; clientUrls: readonly string[]; node?: string };
  /** A new member of an existing group: who it is there (`Cluster.addMember`). Only looked at while the directory is new. */
  join?: Identity;
  /** A member that was added to the group and has not started after this is let go; default 1 h. */
  comeWithinMs?: number;
  /** Called once, when the store has ended by itself: RemovedError, StoreFailedError. It takes no requests any more. */
  ended?(error: AppError): void;
  /** The way to the other members; without it the group stays one. Called with what this member is in its group. */
  connect?(group: StoreGroup): RaftTransport;
  timing?: RaftTiming;
  /** What is to answer the questions of other members that are none of the store's own. */
  application?: GroupApplication;
  /** Where the state is kept; default: sqlite files in `dir`. */
  openFiles?(): Promise<StateFiles>;
}

/** What a transport needs of a store. */
export interface StoreGroup {
  readonly identity: Identity;
  readonly store: MemberStore;
  readonly log: GroupLog<Waiting>;
}

const defaultCacheBytes = 6 << 20;
const defaultPageCacheBytes = 4 << 20;
const defaultRecentBytes = 2 << 20;
const defaultReserveBlock = 10_000;
const defaultQuotaBytes = 2 ** 31;

/** Opens or makes the store in `dir` and takes it into service. A store of one member has then applied everything that its journal holds. */
export async function openStore(options: StoreOptions): Promise<MemberStore & Store> {
  const { dir, disk, clock, log, random } = options;
  const cacheBytes = options.cacheBytes ?? defaultCacheBytes;
  const parts = await openParts(options);
  const { files, journal, storage, identity } = parts;
  try {
    return await MemberStore.start({
      dir,
      disk,
      clock,
      random,
      log,
      files,
      cacheBytes,
      recentBytes: options.recentBytes ?? defaultRecentBytes,
      flushAfterMs: options.flushAfterMs ?? 600_000,
      checkpointBytes: options.checkpointBytes ?? defaultCheckpointBytes,
      quotaBytes: options.quotaBytes ?? defaultQuotaBytes,
      maxChanges: options.maxChanges ?? maxSub + 1,
      reserveBlock: options.reserveBlock ?? defaultReserveBlock,
      ended: (error) => options.ended?.(error),
      application: options.application,
      openLog: (consumer) => {
        const timing = options.timing ?? defaultTiming;
        const transport: { to: RaftTransport } = { to: nowhere };
        const group: GroupLog<Waiting> = new GroupLog(
          {
            dir,
            id: raftId(identity.memberId),
            journal,
            storage,
            clock,
            random,
            log,
            timing,
            transport: {
              send: (message) => transport.to.send(message),
              sendSnapshot: (...snapshot) => transport.to.sendSnapshot(...snapshot),
              close: () => transport.to.close(),
            },
          },
          consumer,
        );
        const store = consumer as MemberStore;
        if (options.connect !== undefined) transport.to = options.connect({ identity, store, log: group });
        return group;
      },
      openCluster: (store, entries) =>
        new GroupCluster({
          identity,
          clock,
          random,
          log,
          entries,
          membership: () => store.membership,
          askLeader: (request) => store.askLeader(request),
          own: options.member,
          comeWithinMs: options.comeWithinMs ?? comeWithinMs,
        }),
    });
  } catch (error) {
    await closeParts(parts);
    throw error;
  }
}

/**
 * Makes this member the only one of its group, when the others are lost for good: what it has is then the truth. The store must not be open. The
 * group gets another id, so that a lost member that comes back is refused: it must be emptied and join anew. What only the others had is lost, and may
 * have been seen: revisions skip (`revisionSkip`), and whoever watched is told to read anew.
 */
export async function resetCluster(options: StoreOptions): Promise<void> {
  const parts = await openParts(options);
  try {
    const { storage, files, identity } = parts;
    const id = raftId(identity.memberId);
    const member = options.member ?? defaultMember;
    const only: Membership = {
      configuration: { ...emptyConfiguration, voters: [id] },
      records: [{ id: identity.memberId, ...member }],
      removed: [],
    };
    const data = encodeMembers(only);
    const skip = encodeCommand({ kind: 'skip', by: revisionSkip });
    const { hardState } = storage.initialState();
    const term = hardState.term + 1;
    const index = storage.lastIndex + 1;
    await storage.write(
      {
        snapshot: undefined,
        hardState: { term, vote: id, commit: hardState.commit },
        entries: [
          { index, term, type: 'membership', data: [data], bytes: data.length },
          { index: index + 1, term, type: 'command', data: skip, bytes: bytesOf(skip) },
        ],
        commit: hardState.commit,
      },
      false,
    );
    await loadIdentity(options.disk, options.dir, options.random, { memberId: identity.memberId });
    options.log.warn('store: this member is the only one of its group now', { dir: options.dir, entry: index });
    await files.writer.checkpoint();
  } finally {
    await closeParts(parts);
  }
}

function bytesOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, { length }) => sum + length, 0);
}

const defaultMember = { name: 'default', peerUrls: [], clientUrls: [] };

interface Parts {
  files: StateFiles;
  journal: Journal;
  storage: JournalStorage;
  identity: Identity;
}

async function openParts(options: StoreOptions): Promise<Parts> {
  const { dir, disk, clock, log, random } = options;
  await makeDurableDirectory(disk, dir);
  for (const name of await disk.list(dir)) if (name.startsWith(snapshotPrefix)) await disk.remove(`${dir}/${name}`);
  const open =
    options.openFiles ??
    (() =>
      openStateFiles({
        ...options,
        cacheBytes: options.pageCacheBytes ?? defaultPageCacheBytes,
        writer: options.writer ?? 'worker',
        checkpointBytes: options.checkpointBytes ?? defaultCheckpointBytes,
      }));
  const files = await open();
  let journal: Journal | undefined;
  try {
    await disk.syncDirectory(dir);
    if (files.saved().meta.appliedIndex > 0 && (await disk.stat(`${dir}/journal`)) === undefined)
      throw new StoreDamagedError(dir, 'there is a database but no journal');
    const identity = await loadIdentity(disk, dir, random, options.join);
    journal = await openJournal({
      disk,
      dir: `${dir}/journal`,
      clock,
      log,
      ...(options.segmentBytes !== undefined && { segmentBytes: options.segmentBytes }),
      ...options.unsynced,
    });
    // A crash while another member's state took the place of this one's: that has begun only after the journal had it.
    if (files.saved().membership === undefined && (await files.received()) !== undefined) await files.install();
    if (files.saved().membership === undefined) await begin(options, files, journal, identity);
    const received = await files.received();
    const storage = await JournalStorage.open({
      journal,
      dir,
      applied: appliedState(files.saved()),
      ...(received !== undefined && { received: appliedState(received) }),
    });
    if (files.checkpointed > 0) await storage.reclaim(files.checkpointed);
    if (storage.installReceived) await files.install();
    else if (received !== undefined) await files.discard();
    return { files, journal, storage, identity };
  } catch (error) {
    await journal?.close().catch(() => undefined);
    await files.close().catch(() => undefined);
    throw error instanceof JournalCorruptError ? new StoreDamagedError(dir, error.message, damagedJournalHint) : error;
  }
}

/** A member that forgot what it has acknowledged may not vote again as the same one. */
const damagedJournalHint =
  'With other servers: `appliance token create --role server --replace <this node>` on one of them, here `appliance reset` and `appliance join`. ' +
  'As the only one: `appliance store snapshot restore <file>`. Check the disk first (dmesg).';

async function closeParts({ files, journal }: Parts): Promise<void> {
  await journal.close().catch(() => undefined);
  await files.close().catch(() => undefined);
}

function appliedState({ meta, membership }: SavedState): SnapshotMeta {
  const { configuration } = decodeMembership([membership!]);
  return { index: meta.appliedIndex, term: meta.appliedTerm, configuration };
}

/**
 * A new store, or one from the time before there were groups: this member alone. A new group begins behind entry 1: what it starts with (a
 * restored snapshot, its first member) is in no entry, so whoever joins gets the state first.
 */
async function begin(options: StoreOptions, files: StateFiles, journal: Journal, identity: Identity): Promise<void> {
  const id = raftId(identity.memberId);
  const joins = options.join !== undefined;
  const membership: Membership = {
    configuration: { ...emptyConfiguration, voters: joins ? [] : [id] },
    records: joins ? [] : [{ id: identity.memberId, ...(options.member ?? defaultMember) }],
    removed: [],
  };
  const { meta } = files.saved();
  const fresh = !joins && meta.appliedIndex === 0 && journal.lastIndex === 0;
  await files.begin(encodeMembers(membership), fresh ? { ...meta, appliedIndex: 1, appliedTerm: plainTerm } : meta);
}

/** A group of one has nobody to send to. */
const nowhere: RaftTransport = {
  send: () => undefined,
  close: () => undefined,
  sendSnapshot: () => Promise.reject(new Error('this member has no way to others')),
};
