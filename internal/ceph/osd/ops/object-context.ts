import type { CollectionId, ObjectStore } from '../../blockstore/api.ts';
import type { HObject } from '../../wire/types.ts';
import {
  decodeObjectInfo,
  decodeSnapSet,
  infoXattr,
  noObject,
  noSnapSet,
  type ObjectInfo,
  type SnapSet,
  snapsetXattr,
} from '../object-info.ts';
import { objectId, objectKey } from '../object-key.ts';
import type { Watcher } from '../watch.ts';

/**
 * How operations share an object. Readers share; writers share, because their order is that of the log; who reads and then writes is alone. Readers
 * wait for writers until those are on all disks: nobody sees what could still be lost.
 */
export type LockMode = 'read' | 'write' | 'exclusive';

/** An object in use: its state after every write so far, its lock, its live watchers. */
export class ObjectContext {
  readonly oid: HObject;
  readonly id: string;
  readonly key: Uint8Array;
  info: ObjectInfo;
  /** In the store, be it only as what is left of a deleted head whose clones live. */
  inStore: boolean;
  /** Of a head. */
  snapset: SnapSet;
  /** No longer the object's context: whoever waits for its lock must look the object up again. */
  stale = false;
  /** Its entry in the store's index is damaged: it is there, and nothing else of it is known. */
  readonly damaged: boolean;
  /** Live watches by `watcherId`; undefined until somebody needs them. */
  watchers: Map<string, Watcher> | undefined;
  #readers = 0;
  #writers = 0;
  #exclusive = false;
  readonly #queue: { mode: LockMode; run: () => void }[] = [];

  constructor(oid: HObject, store: ObjectStore, cid: CollectionId) {
    this.oid = oid;
    this.id = objectId(oid);
    this.key = objectKey(oid);
    this.damaged = store.stat(cid, this.key)?.damaged === true;
    if (this.damaged) {
      this.inStore = true;
      this.info = noObject;
      this.snapset = noSnapSet;
      return;
    }
    const info = store.xattr(cid, this.key, infoXattr);
    this.inStore = info !== undefined;
    this.info = info === undefined ? noObject : decodeObjectInfo(info);
    const snapset = this.inStore ? store.xattr(cid, this.key, snapsetXattr) : undefined;
    this.snapset = snapset === undefined ? noSnapSet : decodeSnapSet(snapset);
  }

  /** What clients see. */
  get exists(): boolean {
    return this.inStore && !this.info.whiteout;
  }

  get idle(): boolean {
    return this.#readers === 0 && this.#writers === 0 && !this.#exclusive && this.#queue.length === 0;
  }

  #free(mode: LockMode): boolean {
    if (this.#exclusive) return false;
    if (mode === 'read') return this.#writers === 0;
    if (mode === 'write') return this.#readers === 0;
    return this.#readers === 0 && this.#writers === 0;
  }

  #take(mode: LockMode): void {
    if (mode === 'read') this.#readers++;
    else if (mode === 'write') this.#writers++;
    else this.#exclusive = true;
  }

  /** Runs `run` with the lock, now (true) or in turn. */
  lock(mode: LockMode, run: () => void): boolean {
    if (this.#queue.length > 0 || !this.#free(mode)) {
      this.#queue.push({ mode, run });
      return false;
    }
    this.#take(mode);
    run();
    return true;
  }

  unlock(mode: LockMode): void {
    if (mode === 'read') this.#readers--;
    else if (mode === 'write') this.#writers--;
    else this.#exclusive = false;
    while (this.#queue.length > 0 && this.#free(this.#queue[0]!.mode)) {
      const next = this.#queue.shift()!;
      this.#take(next.mode);
      next.run();
    }
  }

  /** Forgets who waits: a new interval began. */
  dropWaiters(): void {
    this.#queue.length = 0;
  }
}

/** Objects in use and recently used ones of a PG. */
export class ObjectContexts {
  readonly #store: ObjectStore;
  readonly #cid: CollectionId;
  readonly #limit: number;
  readonly #byId = new Map<string, ObjectContext>();
  /** Those who wait in `quiet`. */
  readonly #quiets = new Set<() => void>();

  constructor(store: ObjectStore, cid: CollectionId, limit = 256) {
    this.#store = store;
    this.#cid = cid;
    this.#limit = limit;
  }

  get(oid: HObject): ObjectContext {
    const id = objectId(oid);
    const known = this.#byId.get(id);
    if (known !== undefined) return known;
    const made = new ObjectContext(oid, this.#store, this.#cid);
    if (this.#byId.size >= this.#limit) this.#evict();
    this.#byId.set(id, made);
    return made;
  }

  get size(): number {
    return this.#byId.size;
  }

  peek(oid: HObject): ObjectContext | undefined {
    return this.#byId.get(objectId(oid));
  }

  #evict(): void {
    let looked = 0;
    for (const [id, context] of this.#byId) {
      if (context.idle && (context.watchers === undefined || context.watchers.size === 0)) this.#byId.delete(id);
      if (++looked >= this.#limit / 4) return;
    }
  }

  /** Forgets all that nobody uses or watches. */
  dropIdle(): void {
    for (const [id, context] of this.#byId)
      if (context.idle && (context.watchers?.size ?? 0) === 0) this.#byId.delete(id);
  }

  /** The object was changed behind its context (recovery). */
  forget(oid: HObject): void {
    const id = objectId(oid);
    const known = this.#byId.get(id);
    if (known === undefined) return;
    known.stale = true;
    this.#byId.delete(id);
  }

  *all(): Iterable<ObjectContext> {
    yield* this.#byId.values();
  }

  /** Resolves with a way to let go when no write of the head is under way (or when all is forgotten); until then no new one begins. */
  quiet(head: HObject): Promise<() => void> {
    return new Promise((resolve) => {
      const context = this.get(head);
      const over = (): void => resolve(() => undefined);
      this.#quiets.add(over);
      context.lock('read', () => {
        this.#quiets.delete(over);
        resolve(() => context.unlock('read'));
      });
    });
  }

  clear(): void {
    for (const context of this.#byId.values()) context.dropWaiters();
    this.#byId.clear();
    for (const over of this.#quiets) over();
    this.#quiets.clear();
  }
}
