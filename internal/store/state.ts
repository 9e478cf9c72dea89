import { emptyBytes } from '../base/bytes.ts';
import { assert } from '../base/errors.ts';
import { plantedFault } from '../base/planted-fault.ts';
import type {
  Alarm,
  Compare,
  KeyValue,
  PutRequest,
  RangeRequest,
  RangeResponse,
  RequestOp,
  ResponseOp,
  TxnRequest,
  TxnResponse,
  WatchEvent,
} from './api.ts';
import type { Command } from './command.ts';
import { holds } from './compare.ts';
import { Directories } from './directories.ts';
import {
  CompactedError,
  CorruptError,
  FutureRevisionError,
  InvalidRequestError,
  KeyNotFoundError,
  LeaseExistsError,
  LeaseNotFoundError,
  NoSpaceError,
} from './errors.ts';
import { type KeyRange, type KeyText, keyBytes, keyRange, keyText, ownBytes } from './keys.ts';
import { type LiveKeys, LiveRanges } from './live.ts';
import { NewestCache, Overlay, versionBytes } from './overlay.ts';
import { needsWholeRange, shapeRange } from './range-options.ts';
import type { RevisionEvents } from './recent.ts';
import type { Batch, LeaseRow, Meta, Rows, Version } from './rows.ts';
import { puts } from './validate.ts';

export type CommandResult =
  | { kind: 'op'; response: ResponseOp }
  | { kind: 'txn'; response: TxnResponse }
  /** The alarms that were taken back. */
  | { kind: 'alarms'; alarms: Alarm[] }
  | { kind: 'none' };

/** What applying one command changed, for watches and leases. */
export interface Applied {
  result: CommandResult;
  /** The revisions that it made, in order: none when it changed nothing, more than one when a lease with very many keys ended. */
  revisions: readonly RevisionEvents[];
}

/**
 * The state machine: commands in, changes out, the same on every member. Reads of what is not in memory go to the database, synchronously.
 * Memory: what is not written yet (bounded by the store's flushing), caches of newest versions and of small directories (bounded by bytes), the leases.
 */
export class State {
  readonly #rows: Rows;
  readonly #overlay = new Overlay();
  readonly #cache: NewestCache;
  readonly #directories: Directories;
  readonly #live: LiveRanges;
  readonly #leases = new Map<bigint, { readonly ttlSeconds: number; readonly remainingSeconds: number }>();
  #alarms: readonly Alarm[];
  #alarmsChanged = false;
  readonly #quotaBytes: number;
  readonly #maxChanges: number;
  #pendingVersions: Version[] = [];
  /** Applied index of the last batch taken. */
  #takenIndex: number;
  /** Bytes of the versions not taken yet. */
  pendingBytes = 0;
  #pendingLeases: LeaseRow[] = [];
  #counted = { revision: 0, count: 0 };
  revision: number;
  compactRevision: number;
  reserved: number;
  appliedIndex: number;
  appliedTerm: number;
  /** Who keeps the store, as `raft/membership.ts` encodes it. */
  #membership: Uint8Array | undefined;
  #membershipChanged = false;
  /** Set while a command that may write is applied. */
  #writing: { revision: number; events: WatchEvent[]; before: RevisionEvents[] } | undefined;

  /** `quotaBytes` is only named in errors: who raises the alarm decides. `maxChanges`: of one revision, the same on every member. */
  constructor(
    rows: Rows,
    saved: { meta: Meta; leases: readonly LeaseRow[]; alarms: readonly Alarm[] },
    options: { cacheBytes: number; quotaBytes: number; maxChanges: number },
  ) {
    const { meta } = saved;
    this.#rows = rows;
    this.#cache = new NewestCache(options.cacheBytes);
    this.#directories = new Directories(options.cacheBytes / 8);
    this.#live = new LiveRanges(rows, this.#overlay, (key, revision) => this.keyAt(key, revision));
    this.#quotaBytes = options.quotaBytes;
    this.#maxChanges = options.maxChanges;
    this.#alarms = saved.alarms;
    this.revision = meta.revision;
    this.compactRevision = meta.compactRevision;
    this.reserved = meta.reserved;
    this.appliedIndex = meta.appliedIndex;
    this.appliedTerm = meta.appliedTerm;
    this.#takenIndex = meta.appliedIndex;
    for (const lease of saved.leases) this.#leases.set(lease.id, lease);
  }

  /** Bytes of what has not been taken for writing, or is being written. */
  get unwrittenBytes(): number {
    return this.#overlay.bytes;
  }

  get pendingRows(): number {
    return this.#pendingVersions.length + this.#pendingLeases.length;
  }

  /** Entries applied since the last batch was taken. */
  get pendingEntries(): number {
    return this.appliedIndex - this.#takenIndex;
  }

  get leases(): ReadonlyMap<bigint, { readonly ttlSeconds: number; readonly remainingSeconds: number }> {
    return this.#leases;
  }

  get alarms(): readonly Alarm[] {
    return this.#alarms;
  }

  /** What was applied since the last call, to be written; `written` must follow when it is. */
  takeBatch(): Batch {
    const batch: Batch = {
      meta: {
        appliedIndex: this.appliedIndex,
        appliedTerm: this.appliedTerm,
        revision: this.revision,
        compactRevision: this.compactRevision,
        reserved: this.reserved,
      },
      versions: this.#pendingVersions,
      leases: this.#pendingLeases,
      ...(this.#alarmsChanged && { alarms: this.#alarms }),
      ...(this.#membershipChanged && { membership: this.#membership! }),
    };
    this.#alarmsChanged = false;
    this.#membershipChanged = false;
    this.#pendingVersions = [];
    this.#pendingLeases = [];
    this.pendingBytes = 0;
    this.#takenIndex = this.appliedIndex;
    return batch;
  }

  written(batch: Batch): void {
    this.#overlay.remove(batch.versions);
  }

  /** Takes note of an entry that changes nothing here, or only who keeps the store. */
  pass(index: number, term: number, membership?: Uint8Array): void {
    assert(index === this.appliedIndex + 1, `entry ${index} applied after ${this.appliedIndex}`);
    this.appliedIndex = index;
    this.appliedTerm = term;
    if (membership === undefined) return;
    this.#membership = membership;
    this.#membershipChanged = true;
  }

  /** Applies the entry with this index. An error means that the command changed nothing. */
  apply(index: number, term: number, command: Command): Applied {
    this.pass(index, term);
    this.#writing = { revision: this.revision + 1, events: [], before: [] };
    try {
      const result = this.#execute(command);
      const { events, revision, before } = this.#writing;
      if (events.length === 0) return { result, revisions: [] };
      this.revision = revision;
      return { result, revisions: [...before, { revision, events }] };
    } finally {
      this.#writing = undefined;
    }
  }

  #execute(command: Command): CommandResult {
    this.#checkAlarms(command);
    switch (command.kind) {
      case 'op':
        this.#checkPath({ succeeded: true, ops: [command.op], inner: [] });
        return { kind: 'op', response: this.#operate(command.op) };
      case 'txn': {
        const path = this.#choose(command.txn);
        this.#checkPath(path);
        return { kind: 'txn', response: this.#run(path) };
      }
      case 'compact':
        if (command.revision > this.revision) throw new FutureRevisionError(command.revision, this.revision);
        if (command.revision <= this.compactRevision) throw new CompactedError(command.revision, this.compactRevision);
        this.compactRevision = command.revision;
        return { kind: 'none' };
      case 'lease-grant':
        if (this.#leases.has(command.id)) throw new LeaseExistsError(command.id);
        this.#setLease(command.id, command.ttlSeconds, 0);
        return { kind: 'none' };
      case 'lease-revoke': {
        if (!this.#leases.has(command.id)) throw new LeaseNotFoundError(command.id);
        for (const key of this.leaseKeys(command.id)) {
          // A lease must end, and as a whole: what one revision cannot hold goes on in the next one.
          if (this.#writing!.events.length === this.#maxChanges) this.#nextRevision();
          this.#deleteKey(key, this.newest(key)!);
        }
        this.#setLease(command.id, 0, 0);
        return { kind: 'none' };
      }
      case 'lease-checkpoint':
        for (const { id, remainingSeconds } of command.checkpoints) {
          const lease = this.#leases.get(id);
          if (lease !== undefined) this.#setLease(id, lease.ttlSeconds, remainingSeconds);
        }
        return { kind: 'none' };
      case 'alarm':
        return { kind: 'alarms', alarms: command.raise ? this.#raise(command.alarm) : this.#disarm(command.alarm) };
      case 'reserve':
        this.reserved = command.to;
        return { kind: 'none' };
      case 'jump':
        this.revision = command.to;
        this.compactRevision = command.to;
        this.reserved = 0;
        return { kind: 'none' };
      case 'skip':
        this.revision += command.by;
        this.compactRevision = this.revision;
        this.reserved = 0;
        return { kind: 'none' };
    }
  }

  #setLease(id: bigint, ttlSeconds: number, remainingSeconds: number): void {
    if (ttlSeconds > 0) this.#leases.set(id, { ttlSeconds, remainingSeconds });
    else this.#leases.delete(id);
    this.#pendingLeases.push({ id, ttlSeconds, remainingSeconds });
  }

  #raise(alarm: Alarm): Alarm[] {
    if (!this.#alarms.some(({ memberId, type }) => memberId === alarm.memberId && type === alarm.type)) {
      this.#alarms = [...this.#alarms, alarm];
      this.#alarmsChanged = true;
    }
    return [];
  }

  #disarm(alarm: Alarm): Alarm[] {
    const gone = this.#alarms.filter(
      ({ memberId, type }) => type === alarm.type && (alarm.memberId === 0n || memberId === alarm.memberId),
    );
    this.#alarms = this.#alarms.filter((one) => !gone.includes(one));
    this.#alarmsChanged ||= gone.length > 0;
    return gone;
  }

  /** What alarms refuse is refused while it is applied, so that every member decides the same. */
  #checkAlarms(command: Command): void {
    if (this.#alarms.length === 0) return;
    const has = (type: Alarm['type']): boolean => this.#alarms.some((alarm) => alarm.type === type);
    const writes =
      command.kind === 'op' || command.kind === 'txn' || /^(lease-(grant|revoke)|compact)$/.test(command.kind);
    if (writes && has('corrupt')) throw new CorruptError();
    const grows =
      command.kind === 'lease-grant' ||
      (command.kind === 'op' && puts([command.op])) ||
      (command.kind === 'txn' && puts([...command.txn.success, ...command.txn.failure]));
    if (grows && has('nospace')) throw new NoSpaceError(this.#quotaBytes);
  }

  /** The keys that have the lease now, sorted. */
  leaseKeys(lease: bigint): KeyText[] {
    const keys = new Set([...this.#rows.leaseKeys(lease), ...this.#overlay.leaseKeys(lease)]);
    return [...keys].filter((key) => this.newest(key)?.lease === lease).sort();
  }

  /** A transaction that writes nothing whichever branch it takes. */
  read(txn: TxnRequest): TxnResponse {
    const path = this.#choose(txn);
    this.#checkPath(path);
    return this.#run(path);
  }

  // --- reads

  countKeys(): number {
    if (this.#counted.revision !== this.revision) {
      const { count } = this.#live.read({ first: '', end: undefined, single: false }, this.revision, undefined);
      this.#counted = { revision: this.revision, count };
    }
    return this.#counted.count;
  }

  /** The key's newest live version. */
  newest(key: KeyText): KeyValue | undefined {
    const cached = this.#cache.get(key);
    if (cached !== undefined) return cached ?? undefined;
    const found = this.#overlay.get(key, Number.POSITIVE_INFINITY) ?? this.#rows.get(key, Number.MAX_SAFE_INTEGER);
    const live = found !== undefined && found.kv.version > 0 ? found.kv : undefined;
    this.#cache.set(key, live ?? null);
    return live;
  }

  /** The key's live version at a revision. */
  keyAt(key: KeyText, revision: number): KeyValue | undefined {
    const cached = this.#cache.get(key);
    if (cached !== undefined && cached !== null && cached.modRevision <= revision) return cached;
    const found = this.#overlay.get(key, revision) ?? this.#rows.get(key, revision);
    return found !== undefined && found.kv.version > 0 ? found.kv : undefined;
  }

  /** The newest revision, inside a transaction with the changes it made so far. */
  get #visibleRevision(): number {
    return this.#writing?.events.length ? this.#writing.revision : this.revision;
  }

  range(request: RangeRequest): RangeResponse {
    const newestRevision = this.#visibleRevision;
    this.#checkRevision(request.revision);
    const at = request.revision && request.revision > 0 ? request.revision : newestRevision;
    const range = keyRange(request);
    const limit = needsWholeRange(request) ? 0 : Math.max(0, request.limit ?? 0);
    const wanted = request.countOnly ? undefined : limit;
    const keysOnly = request.keysOnly === true && request.sort?.by !== 'value';
    const { versions, count } = range.single
      ? one(at === newestRevision ? this.newest(range.first) : this.keyAt(range.first, at))
      : at === newestRevision
        ? this.#newestOf(range, wanted, keysOnly)
        : this.#live.read(range, at, wanted, keysOnly);
    return { revision: newestRevision, count, ...shapeRange(request, versions, count) };
  }

  #newestOf(range: KeyRange, wanted: number | undefined, keysOnly: boolean): LiveKeys {
    const known = this.#directories.get(range);
    if (known !== undefined) return { versions: wanted ? known.slice(0, wanted) : known, count: known.length };
    const found = this.#live.read(range, this.#visibleRevision, wanted, keysOnly);
    if (found.count === found.versions.length && !keysOnly) this.#directories.set(range, found.versions);
    return found;
  }

  #checkRevision(revision: number | undefined): void {
    // etcd reads a negative revision as the newest.
    if (revision === undefined || revision <= 0) return;
    if (revision > this.revision) throw new FutureRevisionError(revision, this.revision);
    if (revision < this.compactRevision) throw new CompactedError(revision, this.compactRevision);
  }

  // --- writes

  /** Everything that can fail is looked at before anything is changed. */
  #check(ops: readonly RequestOp[]): void {
    for (const op of ops) {
      if (op.op === 'range') this.#checkRevision(op.request.revision);
      else if (op.op === 'put') {
        const lease = op.request.lease ?? 0n;
        if (lease !== 0n && !this.#leases.has(lease)) throw new LeaseNotFoundError(lease);
        const { ignoreValue, ignoreLease, key } = op.request;
        if ((ignoreValue || ignoreLease) && this.newest(keyText(key)) === undefined) throw new KeyNotFoundError();
      }
    }
  }

  #checkPath(path: TxnPath): void {
    const changes = this.#checkPaths(path);
    if (changes > this.#maxChanges)
      throw new InvalidRequestError(
        `the request would change ${changes} keys, and one revision holds ${this.#maxChanges} changes: delete them in parts, range by range`,
      );
  }

  /** Returns how many keys are changed at most: one that two operations delete counts twice. */
  #checkPaths(path: TxnPath): number {
    this.#check(path.ops);
    let changes = 0;
    for (const op of path.ops) {
      if (op.op === 'put') changes++;
      else if (op.op === 'delete') changes += this.#countLive(keyRange(op.request));
    }
    for (const inner of path.inner) changes += this.#checkPaths(inner);
    return changes;
  }

  /** Keys of a range before a request; one that names a single key is not looked up for it. */
  #countLive(range: KeyRange): number {
    return range.single ? 1 : this.#live.read(range, this.revision, undefined).count;
  }

  /** All comparisons, nested ones too, look at the state before the transaction (etcd apply.go). */
  #choose(txn: TxnRequest): TxnPath {
    const succeeded = txn.compare.every((compare) => this.#compare(compare));
    const ops = succeeded ? txn.success : txn.failure;
    const inner = ops.flatMap((op) => (op.op === 'txn' ? [this.#choose(op.request)] : []));
    return { succeeded, ops, inner };
  }

  #compare(compare: Compare): boolean {
    const range = keyRange(compare);
    if (range.single) return holds(compare, this.newest(range.first));
    const { versions } = this.#live.read(range, this.revision, 0);
    if (versions.length > 0) return versions.every((kv) => holds(compare, kv));
    // An empty range has nothing whose value could be compared; the rest compares with zero.
    return holds(compare, undefined);
  }

  #run(path: TxnPath): TxnResponse {
    let inner = 0;
    const ops = path.ops.length > 1 && plantedFault('cut-transaction') ? path.ops.slice(0, -1) : path.ops;
    const responses = ops.map((op): ResponseOp => {
      if (op.op === 'txn') return { op: 'txn', response: this.#run(path.inner[inner++]!) };
      return this.#operate(op);
    });
    return { revision: this.#visibleRevision, succeeded: path.succeeded, responses };
  }

  #operate(op: RequestOp): ResponseOp {
    switch (op.op) {
      case 'range':
        return { op: 'range', response: this.range(op.request) };
      case 'put': {
        const prevKv = this.#put(op.request);
        return {
          op: 'put',
          response: { revision: this.#writing!.revision, ...(op.request.prevKv && prevKv && { prevKv }) },
        };
      }
      case 'delete': {
        const range = keyRange(op.request);
        const found = range.single
          ? one(this.newest(range.first)).versions
          : this.#live.read(range, this.#writing!.revision, 0).versions;
        for (const kv of found) this.#deleteKey(keyText(kv.key), kv);
        const writing = this.#writing!;
        return {
          op: 'delete',
          response: {
            revision: writing.events.length > 0 ? writing.revision : this.revision,
            deleted: found.length,
            prevKvs: op.request.prevKv ? found : [],
          },
        };
      }
      case 'txn':
        throw new Error('a nested transaction is run by its parent');
    }
  }

  #put(request: PutRequest): KeyValue | undefined {
    const key = keyText(request.key);
    const prev = this.newest(key);
    const { revision } = this.#writing!;
    const kv: KeyValue = {
      key: ownBytes(request.key),
      value: request.ignoreValue && prev ? prev.value : ownBytes(request.value),
      createRevision: prev?.createRevision ?? revision,
      modRevision: revision,
      version: (prev?.version ?? 0) + 1,
      lease: request.ignoreLease && prev ? prev.lease : (request.lease ?? 0n),
    };
    this.#change(key, kv, prev);
    this.#cache.set(key, kv);
    return prev;
  }

  #deleteKey(key: KeyText, prev: KeyValue): void {
    const { revision } = this.#writing!;
    const kv: KeyValue = {
      key: keyBytes(key),
      value: emptyBytes,
      createRevision: 0,
      modRevision: revision,
      version: 0,
      lease: 0n,
    };
    this.#change(key, kv, prev);
    this.#cache.set(key, null);
  }

  #nextRevision(): void {
    const { revision, events, before } = this.#writing!;
    this.#writing = { revision: revision + 1, events: [], before: [...before, { revision, events }] };
  }

  #change(key: KeyText, kv: KeyValue, prev: KeyValue | undefined): void {
    const writing = this.#writing!;
    const version: Version = { key, kv, sub: writing.events.length };
    this.#overlay.add(version);
    this.#pendingVersions.push(version);
    this.pendingBytes += versionBytes(key, kv.value.length);
    this.#directories.changed(key);
    writing.events.push({ type: kv.version === 0 ? 'delete' : 'put', kv, ...(prev && { prevKv: prev }) });
  }
}

/** The branches that a transaction takes. */
interface TxnPath {
  succeeded: boolean;
  ops: readonly RequestOp[];
  /** Of the nested transactions among `ops`, in order. */
  inner: TxnPath[];
}

function one(kv: KeyValue | undefined): { versions: KeyValue[]; count: number } {
  return kv === undefined ? { versions: [], count: 0 } : { versions: [kv], count: 1 };
}
