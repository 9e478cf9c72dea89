import type { Clock } from '../../base/clock.ts';
import type { CollectionId, ObjectStore, TransactionOp } from '../blockstore/api.ts';
import { metaKey } from './object-key.ts';

/** Objects removed in one transaction, and the pause after it: deleting a pool must not starve clients. */
const batchObjects = 128;
const pauseMs = 20;

/** Removes the copies of PGs that are not needed any more, bit by bit. What is left after a crash is found again by its missing info. */
export class PgRemover {
  readonly #store: ObjectStore;
  readonly #clock: Clock;
  readonly #commit: (ops: TransactionOp[], done: () => void) => void;
  readonly #queue: CollectionId[] = [];
  #busy = false;

  constructor(store: ObjectStore, clock: Clock, commit: (ops: TransactionOp[], done: () => void) => void) {
    this.#store = store;
    this.#clock = clock;
    this.#commit = commit;
  }

  get pending(): number {
    return this.#queue.length;
  }

  add(cid: CollectionId): void {
    // First its own object: from now on it is no PG, only something to be removed.
    this.#commit([{ op: 'remove', cid, key: metaKey }], () => undefined);
    this.#queue.push(cid);
    this.#next();
  }

  /** The PG is made again before its old copy is gone: what is left of that goes now, in the order of the store's queue. */
  forget(cid: CollectionId): void {
    if (!this.#store.collections().includes(cid)) return;
    const at = this.#queue.indexOf(cid);
    if (at >= 0) this.#queue.splice(at, 1);
    const ops: TransactionOp[] = this.#store
      .list(cid, metaKey, Number.MAX_SAFE_INTEGER)
      .map((key) => ({ op: 'remove', cid, key }));
    ops.push({ op: 'remove-collection', cid });
    this.#commit(ops, () => undefined);
  }

  #next(): void {
    if (this.#busy) return;
    const cid = this.#queue[0];
    if (cid === undefined) return;
    if (!this.#store.collections().includes(cid)) {
      this.#queue.shift();
      this.#next();
      return;
    }
    this.#busy = true;
    const keys = this.#store.list(cid, metaKey, batchObjects);
    const ops: TransactionOp[] = keys.map((key) => ({ op: 'remove', cid, key }));
    if (keys.length < batchObjects) {
      ops.push({ op: 'remove-collection', cid });
      this.#queue.shift();
    }
    this.#commit(ops, () => {
      this.#busy = false;
      this.#clock.after(pauseMs, () => this.#next());
    });
  }
}
