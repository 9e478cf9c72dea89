import { DecodeError } from '../../base/bytes.ts';
import type { CollectionId, ObjectStore, TransactionOp } from '../blockstore/api.ts';
import type { LogEntry } from '../wire/messages/osd_pg.ts';
import type { EVersion } from '../wire/types.ts';
import { keptKey, metaKey, objectKey } from './object-key.ts';

/** What undoing an entry means: the object was made by it, or is kept aside as it was. */
type Kind = 'made' | 'kept';

const ROW = 'r';
const ROW_END = 's';

function row(version: number): string {
  return ROW + version.toString().padStart(15, '0');
}

/**
 * What a shard of an erasure-coded PG needs to take writes back: of each log entry that is not known to be on all shards the object as it was before, a
 * copy-on-write clone beside the others. Kept and given up in the transactions of the log.
 */
export class Rollback {
  readonly #cid: CollectionId;
  /** By the number of the entry's version, oldest first. */
  readonly #records = new Map<number, Kind>();
  readonly #added = new Map<string, Uint8Array>();
  #removedBelow = 0;
  #removed: string[] = [];
  #clear = false;

  constructor(cid: CollectionId) {
    this.#cid = cid;
  }

  get size(): number {
    return this.#records.size;
  }

  /** Numbers of versions whose entries can be taken back. */
  versions(): number[] {
    return [...this.#records.keys()];
  }

  can(version: EVersion): boolean {
    return this.#records.has(version.version);
  }

  /** Store operations that keep what a write is about to change: they go before the write's own, in its transaction. */
  note(store: ObjectStore, entries: readonly LogEntry[]): TransactionOp[] {
    const ops: TransactionOp[] = [];
    for (const { op, oid, version, prior } of entries) {
      if (op === 'error') continue;
      let kind: Kind = 'made';
      if (op !== 'clone' && prior.version > 0) {
        const key = objectKey(oid);
        // What the disk has lost cannot be given back.
        const stat = store.stat(this.#cid, key);
        if (stat === undefined || stat.damaged) continue;
        ops.push({ op: 'clone', cid: this.#cid, from: key, to: keptKey(version.version) });
        kind = 'kept';
      }
      this.#record(version.version, kind);
    }
    return ops;
  }

  /** Takes all of an object's `entries` (oldest first, each with a record) back. */
  undo(entries: readonly LogEntry[]): TransactionOp[] {
    const cid = this.#cid;
    const { oid, version } = entries[0]!;
    const key = objectKey(oid);
    const ops: TransactionOp[] =
      this.#records.get(version.version) === 'kept'
        ? [{ op: 'clone', cid, from: keptKey(version.version), to: key }]
        : [{ op: 'remove', cid, key }];
    for (const entry of entries) ops.push(...this.#drop(entry.version.version));
    return ops;
  }

  #drop(version: number): TransactionOp[] {
    const kind = this.#records.get(version);
    if (kind === undefined) return [];
    this.#records.delete(version);
    if (!this.#added.delete(row(version))) this.#removed.push(row(version));
    return kind === 'kept' ? [{ op: 'remove', cid: this.#cid, key: keptKey(version) }] : [];
  }

  /** Entries up to `to` stay for good. */
  forward(to: EVersion): TransactionOp[] {
    const ops: TransactionOp[] = [];
    for (const [version, kind] of this.#records) {
      if (version > to.version) break;
      this.#records.delete(version);
      this.#added.delete(row(version));
      this.#removedBelow = version + 1;
      if (kind === 'kept') ops.push({ op: 'remove', cid: this.#cid, key: keptKey(version) });
    }
    return ops;
  }

  /** Entries newer than `to` are gone from the log: so is what was kept for them. */
  rewound(to: EVersion): TransactionOp[] {
    return [...this.#records.keys()]
      .filter((version) => version > to.version)
      .flatMap((version) => this.#drop(version));
  }

  /** Gives what belongs to the entries of these versions to a PG that splits off: operations that move what is kept for them to its collection `to`. */
  splitOff(versions: ReadonlySet<number>, part: Rollback): TransactionOp[] {
    const ops: TransactionOp[] = [];
    for (const [version, kind] of this.#records) {
      if (!versions.has(version)) continue;
      this.#records.delete(version);
      if (!this.#added.delete(row(version))) this.#removed.push(row(version));
      part.#record(version, kind);
      if (kind === 'kept')
        ops.push({
          op: 'move-range',
          cid: this.#cid,
          to: part.#cid,
          first: keptKey(version),
          end: keptKey(version + 1),
        });
    }
    return ops;
  }

  #record(version: number, kind: Kind): void {
    this.#records.set(version, kind);
    this.#added.set(row(version), Uint8Array.of(1, kind === 'made' ? 1 : 2));
  }

  /** The copy starts from nothing. */
  clear(): TransactionOp[] {
    const ops = this.rewound({ epoch: 0, version: -1 });
    this.#clear = true;
    return ops;
  }

  /** Changes of the rows, for the transaction that `note` and the others belong to. */
  writeOps(set: Map<string, Uint8Array>): TransactionOp[] {
    const cid = this.#cid;
    const ops: TransactionOp[] = [];
    const last = this.#clear ? ROW_END : row(this.#removedBelow);
    if (this.#clear || this.#removedBelow > 0)
      ops.push({ op: 'omap-remove-range', cid, key: metaKey, first: ROW, last });
    if (this.#removed.length > 0) ops.push({ op: 'omap-remove', cid, key: metaKey, keys: this.#removed });
    for (const [name, value] of this.#added) set.set(name, value);
    this.#added.clear();
    this.#removed = [];
    this.#removedBelow = 0;
    this.#clear = false;
    return ops;
  }

  /** Reads what an earlier life left. */
  load(rows: Iterable<[string, Uint8Array]>): void {
    for (const [name, value] of rows) {
      if (value[0] !== 1) throw new DecodeError('rollback record of an unknown version');
      this.#records.set(Number(name.slice(ROW.length)), value[1] === 1 ? 'made' : 'kept');
    }
  }

  static readonly rowPrefix = ROW;
}
