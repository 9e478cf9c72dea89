import type { Clock, Timer } from '../base/clock.ts';
import type { Disk } from '../base/disk.ts';
import { assert, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import type {
  Alarm,
  Cluster,
  DeleteRequest,
  Durability,
  KeyValue,
  PutRequest,
  RangeRequest,
  RangeResponse,
  Store,
  StoreSnapshot,
  StoreStatus,
  TxnRequest,
  TxnResponse,
  Watch,
  WatchHandler,
  WatchRequest,
} from './api.ts';
import { type Command, encodeCommand } from './command.ts';
import type { Database } from './database-system.ts';
import {
  CompactedError,
  FutureRevisionError,
  InvalidRequestError,
  NoSpaceError,
  StoreBusyError,
  StoreClosedError,
  StoreFailedError,
} from './errors.ts';
import { Flusher } from './flusher.ts';
import { keyBytes } from './keys.ts';
import { Lessor, maxTtlSeconds, minTtlSeconds } from './lessor.ts';
import type { Log } from './log.ts';
import { RecentEvents } from './recent.ts';
import type { RowWriter } from './rows.ts';
import type { CommandResult, State } from './state.ts';
import { openSnapshot } from './snapshot-file.ts';
import { checkDelete, checkPut, checkRange, checkTxn, isReadOnly, puts } from './validate.ts';
import { Watches } from './watches.ts';

/** Revisions reserved at a time for entries that are acknowledged before they are on disk. */
const reserveBlock = 10_000;

/** Names of snapshot files while they are sent; what a crash left is removed at the next start. */
export const snapshotPrefix = 'sending-snapshot-';

/** Proposals that wait for the disk at most; as many bytes of changes may wait to be written to the database. */
const maxWaiting = 20_000;
const maxUnwrittenBytes = 64 << 20;

interface Proposal {
  readonly index: number;
  readonly command: Command;
  readonly resolve: (result: CommandResult) => void;
  readonly reject: (error: unknown) => void;
  /** Its entry may be applied when all before it are. */
  committed: boolean;
}

export interface MemberOptions {
  dir: string;
  disk: Disk;
  clock: Clock;
  random: Random;
  log: Logger;
  entries: Log;
  state: State;
  /** For reading; the writer has its own. */
  database: Database;
  writer: RowWriter;
  recentBytes: number;
  flushAfterMs: number;
  checkpointBytes: number;
  /** Size of the database from which on puts are refused. */
  quotaBytes: number;
  cluster: Cluster;
}

/**
 * The store of one member: propose -> the log commits -> apply, in the log's order. Reads are of what is applied, which with one member is
 * everything that was acknowledged.
 */
export class MemberStore implements Store {
  readonly #options: MemberOptions;
  readonly #entries: Log;
  readonly #state: State;
  readonly #recent: RecentEvents;
  readonly #watches: Watches;
  readonly #lessor: Lessor;
  readonly #flusher: Flusher;
  readonly #proposals: Proposal[] = [];
  /** Proposals before this place are applied. */
  #head = 0;
  #reserved: number;
  #volatileTimer: Timer | undefined;
  #closed: Error | undefined;
  /** The alarm of a full store is on its way through the log. */
  #raising = false;

  private constructor(options: MemberOptions) {
    this.#options = options;
    this.#entries = options.entries;
    this.#state = options.state;
    this.#reserved = options.state.reserved;
    this.#recent = new RecentEvents(options.state.revision + 1, options.recentBytes);
    this.#watches = new Watches({
      state: options.state,
      rows: options.database,
      recent: this.#recent,
      clock: options.clock,
      log: options.log,
    });
    this.#lessor = new Lessor(options.clock, {
      expire: (ids) => {
        for (const id of ids) this.leaseRevoke(id).catch(() => undefined);
      },
      checkpoint: (checkpoints) => {
        this.#propose({ kind: 'lease-checkpoint', checkpoints }, 'durable').catch(() => undefined);
      },
    });
    this.#flusher = new Flusher({
      ...options,
      onWritten: (revision) => this.#recent.trim(revision + 1),
      onFailed: (error) => this.#fail(error),
    });
  }

  static async start(options: MemberOptions): Promise<MemberStore> {
    const store = new MemberStore(options);
    const { state } = options;
    if (state.reserved > state.revision) {
      options.log.info('store: it was not closed; revisions that may have been lost are skipped', {
        dir: options.dir,
        revision: state.revision,
        reserved: state.reserved,
      });
      // A watch from behind a lost revision begins at most at reserved + 1, which is then before the compacted one.
      await store.#propose({ kind: 'jump', to: state.reserved + 2 }, 'durable');
      store.#recent.first = state.revision + 1;
    }
    for (const [id, lease] of state.leases) store.#lessor.granted(id, lease.ttlSeconds, lease.remainingSeconds);
    return store;
  }

  get revision(): number {
    return this.#state.revision;
  }

  get compactRevision(): number {
    return this.#state.compactRevision;
  }

  get cluster(): Cluster {
    return this.#options.cluster;
  }

  // --- requests

  async range(request: RangeRequest): Promise<RangeResponse> {
    this.#checkOpen();
    checkRange(request);
    return this.#state.range(request);
  }

  async put(request: PutRequest, durability: Durability = 'durable'): Promise<{ revision: number; prevKv?: KeyValue }> {
    checkPut(request);
    this.#checkSpace(request.value.length);
    const result = await this.#propose({ kind: 'op', op: { op: 'put', request } }, durability);
    assert(result.kind === 'op' && result.response.op === 'put', 'a put answers a put');
    return result.response.response;
  }

  async delete(
    request: DeleteRequest,
    durability: Durability = 'durable',
  ): Promise<{ revision: number; deleted: number; prevKvs: KeyValue[] }> {
    checkDelete(request);
    const result = await this.#propose({ kind: 'op', op: { op: 'delete', request } }, durability);
    assert(result.kind === 'op' && result.response.op === 'delete', 'a delete answers a delete');
    return result.response.response;
  }

  async txn(request: TxnRequest, durability: Durability = 'durable'): Promise<TxnResponse> {
    checkTxn(request);
    this.#checkOpen();
    if (isReadOnly(request)) return this.#state.read(request);
    if (puts([...request.success, ...request.failure])) this.#checkSpace(0);
    const result = await this.#propose({ kind: 'txn', txn: request }, durability);
    assert(result.kind === 'txn', 'a transaction answers a transaction');
    return result.response;
  }

  watch(request: WatchRequest, handler: WatchHandler): Watch {
    this.#checkOpen();
    if (request.key.length === 0 && request.rangeEnd === undefined)
      throw new InvalidRequestError('key is not provided', 'EMPTY_KEY');
    return this.#watches.add(request, handler);
  }

  async compact(revision: number, options: { physical?: boolean } = {}): Promise<void> {
    await this.#propose({ kind: 'compact', revision }, 'durable');
    if (options.physical) await this.#flusher.compacted(revision);
  }

  async leaseGrant(ttlSeconds: number, id?: bigint): Promise<{ id: bigint; ttlSeconds: number }> {
    if (Number.isNaN(ttlSeconds) || ttlSeconds > maxTtlSeconds)
      throw new InvalidRequestError(`a lease of ${ttlSeconds} s: at most ${maxTtlSeconds}`, 'LEASE_TTL_TOO_LARGE');
    this.#checkSpace(0);
    const ttl = Math.max(minTtlSeconds, Math.floor(ttlSeconds));
    const chosen = id === undefined || id === 0n ? this.#newLeaseId() : id;
    await this.#propose({ kind: 'lease-grant', id: chosen, ttlSeconds: ttl }, 'durable');
    return { id: chosen, ttlSeconds: ttl };
  }

  #newLeaseId(): bigint {
    for (;;) {
      const id = (BigInt(this.#options.random.uint32() & 0x7fff_ffff) << 32n) | BigInt(this.#options.random.uint32());
      if (id !== 0n && !this.#state.leases.has(id)) return id;
    }
  }

  async leaseRevoke(id: bigint): Promise<void> {
    await this.#propose({ kind: 'lease-revoke', id }, 'durable');
  }

  async leaseKeepAlive(id: bigint): Promise<{ ttlSeconds: number }> {
    this.#checkOpen();
    return { ttlSeconds: this.#lessor.keepAlive(id) };
  }

  async leaseTimeToLive(
    id: bigint,
    options: { keys?: boolean } = {},
  ): Promise<{ ttlSeconds: number; grantedTtlSeconds: number; keys: Uint8Array[] }> {
    this.#checkOpen();
    const ttlSeconds = this.#lessor.remaining(id);
    const keys = options.keys ? this.#state.leaseKeys(id).map(keyBytes) : [];
    return { ttlSeconds, grantedTtlSeconds: this.#state.leases.get(id)?.ttlSeconds ?? 0, keys };
  }

  async leases(): Promise<bigint[]> {
    this.#checkOpen();
    return [...this.#state.leases.keys()];
  }

  async alarms(): Promise<Alarm[]> {
    this.#checkOpen();
    return [...this.#state.alarms];
  }

  async raiseAlarm(alarm: Alarm): Promise<void> {
    await this.#propose({ kind: 'alarm', raise: true, alarm }, 'durable');
    this.#options.log.warn('store: alarm raised', { type: alarm.type, member: alarm.memberId.toString(16) });
  }

  async disarmAlarm(alarm: Alarm): Promise<Alarm[]> {
    const result = await this.#propose({ kind: 'alarm', raise: false, alarm }, 'durable');
    assert(result.kind === 'alarms', 'an alarm answers alarms');
    for (const { type, memberId } of result.alarms)
      this.#options.log.info('store: alarm disarmed', { type, member: memberId.toString(16) });
    return result.alarms;
  }

  /** A store at its quota raises the alarm and refuses what would make it grow, until the alarm is disarmed. */
  #checkSpace(bytes: number): void {
    const { quotaBytes, writer, cluster } = this.#options;
    if (this.#state.alarms.some(({ type }) => type === 'nospace')) throw new NoSpaceError(quotaBytes);
    if (writer.status().databaseBytes + this.#state.unwrittenBytes + bytes <= quotaBytes) return;
    if (!this.#raising) {
      this.#raising = true;
      this.raiseAlarm({ memberId: cluster.memberId, type: 'nospace' })
        .catch(ignore)
        .finally(() => {
          this.#raising = false;
        });
    }
    throw new NoSpaceError(quotaBytes);
  }

  async hashKv(revision = 0): Promise<{ hash: number; revision: number; compactRevision: number }> {
    this.#checkOpen();
    if (revision > this.#state.revision) throw new FutureRevisionError(revision, this.#state.revision);
    if (revision > 0 && revision <= this.#state.compactRevision)
      throw new CompactedError(revision, this.#state.compactRevision);
    await this.#flusher.flush();
    return this.#options.writer.hash(Math.max(0, revision));
  }

  async defragment(): Promise<void> {
    this.#checkOpen();
    await this.#flusher.flush();
    await this.#options.writer.vacuum();
  }

  async snapshot(): Promise<StoreSnapshot> {
    this.#checkOpen();
    const { dir, disk, random, writer } = this.#options;
    await this.#flusher.flush();
    const path = `${dir}/${snapshotPrefix}${random.uint32().toString(16)}`;
    try {
      const { revision, bytes } = await writer.snapshot(path);
      return { revision, bytes, pieces: () => openSnapshot(disk, path, bytes) };
    } catch (error) {
      await disk.remove(path).catch(ignore);
      throw error;
    }
  }

  status(): StoreStatus {
    const { diskBytes, bytesWritten } = this.#entries.status();
    const database = this.#options.writer.status();
    return {
      revision: this.#state.revision,
      compactRevision: this.#state.compactRevision,
      appliedIndex: this.#state.appliedIndex,
      journalBytes: diskBytes,
      databaseBytes: database.databaseBytes,
      databaseBytesInUse: database.databaseBytesInUse,
      quotaBytes: this.#options.quotaBytes,
      keys: this.#closed === undefined ? this.#state.countKeys() : 0,
      bytesWritten: bytesWritten + database.bytesWritten,
    };
  }

  async close(): Promise<void> {
    if (this.#closed !== undefined) return;
    if (this.#state.reserved > 0) {
      // Nothing was lost: the next start need not skip revisions. Proposals before this one are applied by then.
      await this.#propose({ kind: 'reserve', to: 0 }, 'durable').catch(() => undefined);
    }
    const error = this.#closed ?? new StoreClosedError(this.#options.dir);
    this.#closed = error;
    this.#volatileTimer?.cancel();
    this.#lessor.close();
    this.#watches.close(error);
    while (this.#head < this.#proposals.length) await this.#entries.sync();
    await this.#flusher.close();
    await this.#entries.close();
    await this.#options.writer.close();
    this.#options.database.close();
  }

  // --- propose, commit, apply

  #checkOpen(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  async #propose(command: Command, durability: Durability): Promise<CommandResult> {
    this.#checkOpen();
    const waiting = this.#proposals.length - this.#head;
    if (waiting >= maxWaiting || this.#state.unwrittenBytes > maxUnwrittenBytes)
      throw new StoreBusyError(this.#options.dir, waiting);
    // Each entry raises the revision by one at most.
    if (durability !== 'durable' && this.#state.revision + waiting + 1 > this.#reserved) {
      this.#reserved = this.#state.revision + waiting + reserveBlock;
      this.#append({ kind: 'reserve', to: this.#reserved }, 'durable', ignore, ignore);
    }
    return new Promise((resolve, reject) => this.#append(command, durability, resolve, reject));
  }

  #append(
    command: Command,
    durability: Durability,
    resolve: (result: CommandResult) => void,
    reject: (error: unknown) => void,
  ): void {
    const { index, done } = this.#entries.append(encodeCommand(command), durability);
    const proposal: Proposal = { index, command, resolve, reject, committed: false };
    this.#proposals.push(proposal);
    done.then(
      () => {
        proposal.committed = true;
        this.#applyCommitted();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  #applyCommitted(): void {
    const proposals = this.#proposals;
    while (this.#head < proposals.length && proposals[this.#head]!.committed) {
      if (this.#closed instanceof StoreFailedError) return;
      this.#apply(proposals[this.#head++]!);
    }
    if (this.#head === proposals.length || this.#head > 4096) {
      proposals.splice(0, this.#head);
      this.#head = 0;
    }
    this.#flusher.changed();
  }

  #apply({ index, command, resolve, reject }: Proposal): void {
    let applied: ReturnType<State['apply']>;
    try {
      applied = this.#state.apply(index, command);
    } catch (error) {
      reject(error);
      return;
    }
    if (applied.events !== undefined) {
      this.#recent.push(this.#state.revision, applied.events);
      this.#watches.publish(this.#state.revision, applied.events);
    }
    if (command.kind === 'lease-grant') this.#lessor.granted(command.id, command.ttlSeconds);
    else if (command.kind === 'lease-revoke') this.#lessor.revoked(command.id);
    else if (command.kind === 'compact') this.#flusher.compact(command.revision);
    resolve(applied.result);
  }

  #fail(cause: unknown): void {
    if (this.#closed !== undefined) return;
    this.#options.log.error('store: failed', { dir: this.#options.dir, error: errorText(cause) });
    const error = new StoreFailedError(this.#options.dir, cause);
    this.#closed = error;
    this.#lessor.close();
    this.#flusher.abandon();
    for (const { reject } of this.#proposals.splice(this.#head)) reject(error);
    this.#watches.close(error);
  }
}

function ignore(): void {}
