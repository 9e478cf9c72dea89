import type { Random } from '../../../base/random.ts';
import type { CollectionId, ObjectStore, TransactionOp } from '../../blockstore/api.ts';
import type { UTime } from '../../wire/encoding.ts';
import type { MOSDOpValue } from '../../wire/messages/osd_client.ts';
import type { ObjectSums } from '../../wire/messages/osd_mgr.ts';
import type { OsdOp } from '../../wire/messages/osd_op.ts';
import type { PushCursor } from '../../wire/messages/osd_osd.ts';
import type { EntityAddr, EntityNum, HObject, RequestId, SnapContext } from '../../wire/types.ts';
import type { CopyPiece } from '../copy-reads.ts';
import { emptyDigests } from '../digests.ts';
import type { PoolRules } from '../ec/pool-rules.ts';
import { type ObjectInfo, subtractRange, type Ranges, type WatchInfo } from '../object-info.ts';
import type { Watcher } from '../watch.ts';
import type { MethodLookup } from './classify.ts';
import type { ObjectContext } from './object-context.ts';

/** What operations need of the PG around them. */
export interface OpHost {
  /** Objects whole, also where they lie in shards. */
  readonly store: ObjectStore;
  rules(): PoolRules;
  readonly cid: CollectionId;
  readonly pool: number;
  nowMs(): number;
  readonly random: Random;
  /** The object context of another object of the PG (ROLLBACK to a clone). */
  context(oid: HObject): ObjectContext;
  /** The clone that serves a snapshot, or the head; undefined: the object did not exist then. */
  contextAt(head: ObjectContext, snap: bigint): ObjectContext | undefined;
  /** The hash of an object's name in a pool; undefined: there is no such pool. */
  hashOf(pool: number, name: string, key: string, nspace: string): number | undefined;
  /** A piece of any object of the cluster, as it is at `oid.snap`; `userVersion`: the version that it must have, or 0. */
  readObject(oid: HObject, from: PushCursor, userVersion: number): Promise<CopyPiece>;
  watcher(obc: ObjectContext, name: EntityNum, cookie: bigint): Watcher | undefined;
  nextNotifyId(): bigint;
  readonly classes: ClassRunner;
  /** `require_osd_release` and `require_min_compat_client` of the map. */
  releases(): { osd: number; minCompatClient: number };
}

/** Object classes, as the interpreter calls them. */
export interface ClassRunner {
  readonly lookup: MethodLookup;
  /** Runs a method; a negative number is an errno. */
  call(
    ctx: OpContext,
    opIndex: number,
    name: string,
    method: string,
    input: Uint8Array,
  ): ClassResult | Promise<ClassResult>;
}

export interface ClassResult {
  rval: number;
  out: Uint8Array;
}

/** Who sent a request. */
export interface Requester {
  name: EntityNum;
  addr: EntityAddr;
  features: bigint;
}

/** One op with its result. */
export interface OpResult {
  op: OsdOp;
  out: readonly Uint8Array[];
  rval: number;
}

export interface NotifyRequest {
  id: bigint;
  cookie: bigint;
  timeoutSec: number;
  payload: Uint8Array;
}

/** What happens beside the store once a request has succeeded. */
export interface SideEffects {
  watch: { info: WatchInfo; pings: boolean }[];
  unwatch: { name: EntityNum; cookie: bigint }[];
  notify: NotifyRequest[];
  notifyAck: { id: bigint; cookie: bigint | undefined; reply: Uint8Array }[];
}

/** What a request changes of the PG's sums. */
export class SumsDelta {
  bytes = 0;
  objects = 0;
  objectClones = 0;
  whiteouts = 0;
  objectsOmap = 0;
  read = 0;
  readKb = 0;
  write = 0;
  writeKb = 0;

  addTo(sums: ObjectSums): void {
    sums.bytes += this.bytes;
    sums.objects += this.objects;
    sums.objectClones += this.objectClones;
    sums.whiteouts += this.whiteouts;
    sums.objectsOmap += this.objectsOmap;
    sums.read += this.read;
    sums.readKb += this.readKb;
    sums.write += this.write;
    sums.writeKb += this.writeKb;
  }
}

/** The state of an object while a request's ops run over it. Reads see the store as it was before the request, as upstream. */
export class OpContext {
  readonly host: OpHost;
  readonly obc: ObjectContext;
  readonly message: MOSDOpValue;
  readonly requester: Requester;
  readonly requestId: RequestId;
  readonly snapContext: SnapContext;
  readonly mtime: UTime;
  /** The object as it is after the ops so far. */
  info: ObjectInfo;
  exists: boolean;
  inStore: boolean;
  /** Changes for the store. */
  readonly ops: TransactionOp[] = [];
  /** Something is to be written, be it only object info. */
  modified = false;
  /** The disk returned other bytes than were written. */
  damaged = false;
  /** Shards of the object that were to be read have gone away meanwhile. */
  tooFewShards = false;
  /** A client changed the object: its user version grows. */
  userModified = false;
  readonly delta = new SumsDelta();
  /** Bytes changed, for the overlap with the newest clone; undefined: everything. */
  changed: [number, number][] | undefined = [];
  effects: SideEffects | undefined;
  /** Whether the client's capabilities let it read an object of some pool. */
  mayReadOther: (pool: number, nspace: string, oid: string) => boolean = () => true;
  results: OpResult[] = [];
  /** What the ops so far gave out. */
  outBytes = 0;

  constructor(
    host: OpHost,
    obc: ObjectContext,
    message: MOSDOpValue,
    requester: Requester,
    requestId: RequestId,
    snapContext: SnapContext,
  ) {
    this.host = host;
    this.obc = obc;
    this.message = message;
    this.requester = requester;
    this.requestId = requestId;
    this.snapContext = snapContext;
    this.mtime = message.mtime;
    this.info = obc.info;
    this.exists = obc.exists;
    this.inStore = obc.inStore;
  }

  get cid(): CollectionId {
    return this.host.cid;
  }
  get key(): Uint8Array {
    return this.obc.key;
  }

  get sideEffects(): SideEffects {
    this.effects ??= { watch: [], unwatch: [], notify: [], notifyAck: [] };
    return this.effects;
  }

  /** Marks a change by the client. */
  touch(): void {
    this.modified = true;
    this.userModified = true;
  }

  /** Makes the object when it is not there. */
  create(): void {
    this.touch();
    if (this.exists) return;
    this.exists = true;
    this.delta.objects++;
    if (this.info.whiteout) {
      this.info = { ...this.info, whiteout: false };
      this.delta.whiteouts--;
    }
    if (!this.inStore) {
      this.inStore = true;
      this.ops.push({ op: 'touch', cid: this.cid, key: this.key });
    }
  }

  setSize(size: number): void {
    if (size === this.info.size) return;
    this.delta.bytes += size - this.info.size;
    this.info = { ...this.info, size };
  }

  changedRange(offset: number, length: number): void {
    this.changed?.push([offset, length]);
  }
  changedAll(): void {
    this.changed = undefined;
  }

  /** `overlap` without what these ops changed. */
  overlapAfter(overlap: Ranges): Ranges {
    if (this.changed === undefined) return [];
    let out = overlap;
    for (const [offset, length] of this.changed) out = subtractRange(out, offset, length);
    return out;
  }

  /** Deletes the object. `keepHead`: clones of it live, so that the head stays as a whiteout. */
  remove(keepHead: boolean): void {
    this.touch();
    this.ops.push({ op: 'remove', cid: this.cid, key: this.key });
    this.delta.objects--;
    this.delta.bytes -= this.info.size;
    if (this.info.omap) this.delta.objectsOmap--;
    this.changedAll();
    this.exists = false;
    const { version } = this.info;
    const userVersion = this.info.userVersion;
    this.info = {
      version,
      userVersion,
      mtime: this.info.mtime,
      size: 0,
      truncateSeq: 0,
      truncateSize: 0,
      whiteout: keepHead,
      omap: false,
      expectedObjectSize: 0,
      expectedWriteSize: 0,
      allocHintFlags: 0,
      watchers: [],
      ...emptyDigests,
    };
    this.inStore = keepHead;
    if (keepHead) {
      this.delta.whiteouts++;
      this.ops.push({ op: 'touch', cid: this.cid, key: this.key });
    }
  }

  markOmap(): void {
    if (this.info.omap) return;
    this.info = { ...this.info, omap: true };
    this.delta.objectsOmap++;
  }
}
