import { concatBytes, emptyBytes } from '../../base/bytes.ts';
import { bytesFromText, Decoder, encoded, utimeToMs } from '../wire/encoding.ts';
import {
  type MOSDOpReplyValue,
  OSD_FLAG_IGNORE_OVERLAY,
  OSD_FLAG_READ,
  OSD_FLAG_WRITE,
} from '../wire/messages/osd_client.ts';
import { OP, OP_FLAG_EXCL, OsdOp } from '../wire/messages/osd_op.ts';
import {
  decodeHObject,
  encodeHObject,
  type HObject,
  hobjectMin,
  noSnaps,
  SNAP_HEAD,
  type SnapContext,
  addrText,
  decodeAddr,
  decodeEntityNum,
  entityNumText,
} from '../wire/types.ts';
import { EINVAL, ENOENT, RadosError } from './errors.ts';
import type { Lingers, NotifyHandler, NotifyResult, ObjectPlace, Watch } from './linger.ts';
import type { MapFollower } from './map-follower.ts';
import type { Objecter } from './objecter.ts';
import type { IoCtx, RadosOp, Watcher } from './rados-api.ts';

/** Namespace of a listing that shows all namespaces. */
export const ALL_NAMESPACES = '\u0001';
const listChunk = 1024;

export interface IoCtxOptions {
  nspace?: string;
  /** For a pool with self-managed snapshots: what writes preserve. */
  snapContext?: SnapContext;
  /** What reads see; default the head. */
  snapId?: bigint;
  /** Gives up after that many milliseconds; default: waits. */
  timeoutMs?: number;
}

export interface OperateOptions {
  /** Locator key. */
  key?: string;
  /** Further OSD_FLAG_*. */
  flags?: number;
}

export interface ListEntry {
  name: string;
  nspace: string;
  /** Locator key; empty for most. */
  key: string;
}

type Bytes = Uint8Array | readonly Uint8Array[];

function views(data: Bytes): readonly Uint8Array[] {
  return data instanceof Uint8Array ? [data] : data;
}
function lengthOf(pieces: readonly Uint8Array[]): number {
  let length = 0;
  for (const piece of pieces) length += piece.length;
  return length;
}

/** I/O in one pool and namespace. Failures are RadosErrors with the errno; no method retries what the cluster refused. */
export class PoolIo implements IoCtx {
  /** Its name, as it was when this was made. */
  readonly pool: string;
  readonly poolId: number;
  readonly nspace: string;
  readonly #objecter: Objecter;
  readonly #lingers: Lingers;
  readonly #maps: MapFollower;
  readonly #options: IoCtxOptions;

  constructor(
    parts: { objecter: Objecter; lingers: Lingers; maps: MapFollower },
    pool: { id: number; name: string },
    options: IoCtxOptions,
  ) {
    this.#objecter = parts.objecter;
    this.#lingers = parts.lingers;
    this.#maps = parts.maps;
    this.poolId = pool.id;
    this.pool = pool.name;
    this.nspace = options.nspace ?? '';
    this.#options = options;
  }

  /** The same pool with other options. */
  with(options: IoCtxOptions): PoolIo {
    return new PoolIo(
      { objecter: this.#objecter, lingers: this.#lingers, maps: this.#maps },
      { id: this.poolId, name: this.pool },
      { ...this.#options, ...options },
    );
  }

  /** Steps as values; a class method among them is taken to write when any other step writes. */
  async operate(oid: string, steps: readonly RadosOp[]): Promise<Uint8Array[]> {
    const ops = steps.map(opOf);
    const reply = await this.run(
      oid,
      ops.map((o) => o.op),
      ops.some((o) => o.write),
    );
    return steps.map((_, i) => concatBytes(reply.ops[i]?.out ?? []));
  }

  /** Names of the objects of the namespace. */
  async *listObjects(): AsyncGenerator<string> {
    for await (const entry of this.list()) yield entry.name;
  }

  // --- vectors of ops ------------------------------------------------------------------------------------------------------------

  /** All ops atomically; throws when the result is negative. */
  async run(
    oid: string,
    ops: readonly OsdOp[],
    write: boolean,
    options: OperateOptions = {},
  ): Promise<MOSDOpReplyValue> {
    const reply = await this.tryRun(oid, ops, write, options);
    if (reply.result < 0) throw new RadosError(reply.result, this.#what(oid, ops));
    return reply;
  }

  /** The same, but a negative result is the caller's to judge. */
  tryRun(oid: string, ops: readonly OsdOp[], write: boolean, options: OperateOptions = {}): Promise<MOSDOpReplyValue> {
    if (oid === '') return Promise.reject(new RadosError(EINVAL, 'an object needs a name'));
    return this.#objecter.submit({
      pool: this.poolId,
      oid,
      nspace: this.nspace,
      key: options.key ?? '',
      ops,
      flags: (write ? OSD_FLAG_WRITE : OSD_FLAG_READ) | (options.flags ?? 0),
      snapId: write ? SNAP_HEAD : (this.#options.snapId ?? SNAP_HEAD),
      snapContext: this.#options.snapContext ?? noSnaps,
      ...(this.#options.timeoutMs === undefined ? undefined : { timeoutMs: this.#options.timeoutMs }),
    });
  }

  #what(oid: string, ops: readonly OsdOp[]): string {
    const name = this.nspace === '' ? oid : `${this.nspace}/${oid}`;
    return `${ops.map((o) => o.name).join('+')} of ${this.pool}/${name}`;
  }

  async #read(oid: string, op: OsdOp): Promise<Uint8Array> {
    const reply = await this.run(oid, [op], false);
    return outOf(reply);
  }

  async #write(oid: string, ...ops: OsdOp[]): Promise<void> {
    await this.run(oid, ops, true);
  }

  // --- data ----------------------------------------------------------------------------------------------------------------------

  /** Bytes from `offset`; fewer than `length` at the object's end. Without `length`: all of it. */
  read(oid: string, offset = 0, length = 0): Promise<Uint8Array> {
    return this.#read(oid, OsdOp.extent(OP.READ, offset, length));
  }

  async stat(oid: string): Promise<{ size: number; mtimeMs: number } | undefined> {
    const reply = await this.tryRun(oid, [OsdOp.make(OP.STAT)], false);
    if (reply.result === ENOENT) return undefined;
    if (reply.result < 0) throw new RadosError(reply.result, this.#what(oid, [OsdOp.make(OP.STAT)]));
    const d = new Decoder(outOf(reply));
    return { size: d.u64(), mtimeMs: utimeToMs(d.utime()) };
  }

  async exists(oid: string): Promise<boolean> {
    return (await this.stat(oid)) !== undefined;
  }

  write(oid: string, data: Bytes, offset = 0): Promise<void> {
    const pieces = views(data);
    return this.#write(oid, OsdOp.extent(OP.WRITE, offset, lengthOf(pieces), pieces));
  }
  writeFull(oid: string, data: Bytes): Promise<void> {
    const pieces = views(data);
    return this.#write(oid, OsdOp.extent(OP.WRITEFULL, 0, lengthOf(pieces), pieces));
  }
  append(oid: string, data: Bytes): Promise<void> {
    const pieces = views(data);
    return this.#write(oid, OsdOp.extent(OP.APPEND, 0, lengthOf(pieces), pieces));
  }
  truncate(oid: string, size: number): Promise<void> {
    return this.#write(oid, OsdOp.extent(OP.TRUNCATE, size, 0));
  }
  zero(oid: string, offset: number, length: number): Promise<void> {
    return this.#write(oid, OsdOp.extent(OP.ZERO, offset, length));
  }
  create(oid: string, exclusive = true): Promise<void> {
    return this.#write(oid, OsdOp.make(OP.CREATE, [], exclusive ? OP_FLAG_EXCL : 0));
  }
  remove(oid: string): Promise<void> {
    return this.#write(oid, OsdOp.make(OP.DELETE));
  }
  /** True when it was there. */
  async removeIfThere(oid: string): Promise<boolean> {
    const ops = [OsdOp.make(OP.DELETE)];
    const { result } = await this.tryRun(oid, ops, true);
    if (result < 0 && result !== ENOENT) throw new RadosError(result, this.#what(oid, ops));
    return result !== ENOENT;
  }

  // --- xattrs --------------------------------------------------------------------------------------------------------------------

  getXattr(oid: string, name: string): Promise<Uint8Array> {
    return this.#read(oid, OsdOp.xattr(OP.GETXATTR, name, emptyBytes));
  }
  async getXattrs(oid: string): Promise<Map<string, Uint8Array>> {
    return new Decoder(await this.#read(oid, OsdOp.make(OP.GETXATTRS))).stringMap((d) => d.blob());
  }
  setXattr(oid: string, name: string, value: Uint8Array): Promise<void> {
    return this.#write(oid, OsdOp.xattr(OP.SETXATTR, name, value));
  }
  removeXattr(oid: string, name: string): Promise<void> {
    return this.#write(oid, OsdOp.xattr(OP.RMXATTR, name, emptyBytes));
  }

  // --- omap ----------------------------------------------------------------------------------------------------------------------

  /** Entries with keys behind `after`, at most `limit` (the OSD may give fewer: see `more`). */
  async omapList(
    oid: string,
    after: string,
    limit: number,
    prefix = '',
  ): Promise<{ entries: [string, Uint8Array][]; more: boolean }> {
    const input = encoded((e) => e.string(after).u64(limit).string(prefix));
    const d = new Decoder(await this.#read(oid, OsdOp.make(OP.OMAPGETVALS, [input])));
    return { entries: [...d.stringMap((x) => x.blob())], more: d.remaining > 0 && d.bool() };
  }
  async omapGet(oid: string, keys: readonly string[]): Promise<Map<string, Uint8Array>> {
    const input = encoded((e) => e.stringSet(keys));
    return new Decoder(await this.#read(oid, OsdOp.make(OP.OMAPGETVALSBYKEYS, [input]))).stringMap((d) => d.blob());
  }
  omapSet(oid: string, entries: ReadonlyMap<string, Uint8Array>): Promise<void> {
    return this.#write(oid, omapSetOp(entries));
  }
  omapRemove(oid: string, keys: readonly string[]): Promise<void> {
    return this.#write(oid, OsdOp.make(OP.OMAPRMKEYS, [encoded((e) => e.stringSet(keys))]));
  }
  omapClear(oid: string): Promise<void> {
    return this.#write(oid, OsdOp.make(OP.OMAPCLEAR));
  }
  omapHeader(oid: string): Promise<Uint8Array> {
    return this.#read(oid, OsdOp.make(OP.OMAPGETHEADER));
  }
  omapSetHeader(oid: string, header: Uint8Array): Promise<void> {
    return this.#write(oid, OsdOp.make(OP.OMAPSETHEADER, [header]));
  }

  // --- classes, watches ----------------------------------------------------------------------------------------------------------

  /** Calls a method that only reads; its output. */
  async exec(oid: string, className: string, method: string, input: Uint8Array = emptyBytes): Promise<Uint8Array> {
    const reply = await this.tryRun(oid, [OsdOp.call(className, method, input)], false);
    if (reply.result < 0) throw new RadosError(reply.result, `${className}.${method} of ${this.pool}/${oid}`);
    return outOf(reply);
  }

  /** Calls a method that writes (output is not returned: see ops with RETURNVEC), after `before` in the same transaction. */
  async execWrite(
    oid: string,
    className: string,
    method: string,
    input: Uint8Array = emptyBytes,
    before: readonly OsdOp[] = [],
  ): Promise<void> {
    const reply = await this.tryRun(oid, [...before, OsdOp.call(className, method, input)], true);
    if (reply.result < 0) throw new RadosError(reply.result, `${className}.${method} of ${this.pool}/${oid}`);
  }

  #place(oid: string): ObjectPlace {
    return { pool: this.poolId, oid, key: '', nspace: this.nspace };
  }

  watch(oid: string, handler: NotifyHandler, onLost: (errno: number) => void, timeoutSec = 0): Promise<Watch> {
    return this.#lingers.watch(this.#place(oid), handler, onLost, timeoutSec);
  }
  notify(oid: string, payload: Uint8Array, timeoutMs?: number): Promise<NotifyResult> {
    return this.#lingers.notify(this.#place(oid), payload, timeoutMs);
  }

  async listWatchers(oid: string): Promise<Watcher[]> {
    const d = new Decoder(await this.#read(oid, OsdOp.make(OP.LIST_WATCHERS)));
    return d.struct('obj_list_watch_response_t', 1, (x) =>
      x.list(
        (y) =>
          y.struct('watch_item_t', 2, (z): Watcher => {
            const entity = entityNumText(decodeEntityNum(z));
            const cookie = z.u64b();
            z.u32();
            return { entity, cookie, address: addrText(decodeAddr(z)) };
          }),
        6,
      ),
    );
  }

  // --- listing -------------------------------------------------------------------------------------------------------------------

  /** Objects of the namespace, in hash order; of all namespaces with `ALL_NAMESPACES`. */
  async *list(): AsyncGenerator<ListEntry> {
    let cursor: HObject = hobjectMin;
    while (!cursor.max) {
      const input = encoded((e) => encodeHObject(e, cursor));
      const ops = [OsdOp.pgls(OP.PGNLS, listChunk, this.#maps.epoch, [input])];
      const reply = await this.#objecter.submit({
        pool: this.poolId,
        oid: '',
        nspace: this.nspace,
        key: '',
        ops,
        flags: OSD_FLAG_READ | OSD_FLAG_IGNORE_OVERLAY,
        snapId: SNAP_HEAD,
        snapContext: noSnaps,
        hash: cursor.hash,
        ...(this.#options.timeoutMs === undefined ? undefined : { timeoutMs: this.#options.timeoutMs }),
      });
      if (reply.result < 0) throw new RadosError(reply.result, `listing of ${this.pool}`);
      const page = decodePage(outOf(reply));
      yield* page.entries;
      cursor = page.handle;
    }
  }
}

/** Our form of a step of `IoCtx.operate`. */
function opOf(step: RadosOp): { op: OsdOp; write: boolean } {
  switch (step.op) {
    case 'create':
      return { op: OsdOp.make(OP.CREATE, [], step.exclusive ? OP_FLAG_EXCL : 0), write: true };
    case 'exec':
      return { op: OsdOp.call(step.cls, step.method, step.input), write: false };
    case 'read':
      return { op: OsdOp.extent(OP.READ, step.offset, step.length), write: false };
    case 'stat':
      return { op: OsdOp.make(OP.STAT), write: false };
    case 'write':
      return { op: OsdOp.extent(OP.WRITE, step.offset, step.data.length, [step.data]), write: true };
    case 'write-full':
      return { op: OsdOp.extent(OP.WRITEFULL, 0, step.data.length, [step.data]), write: true };
    case 'append':
      return { op: OsdOp.extent(OP.APPEND, 0, step.data.length, [step.data]), write: true };
    case 'truncate':
      return { op: OsdOp.extent(OP.TRUNCATE, step.size, 0), write: true };
    case 'zero':
      return { op: OsdOp.extent(OP.ZERO, step.offset, step.length), write: true };
    case 'remove':
      return { op: OsdOp.make(OP.DELETE), write: true };
    case 'get-xattr':
      return { op: OsdOp.xattr(OP.GETXATTR, step.name, emptyBytes), write: false };
    case 'set-xattr':
      return { op: OsdOp.xattr(OP.SETXATTR, step.name, step.value), write: true };
    case 'remove-xattr':
      return { op: OsdOp.xattr(OP.RMXATTR, step.name, emptyBytes), write: true };
    case 'omap-get':
      return { op: OsdOp.make(OP.OMAPGETVALSBYKEYS, [encoded((e) => e.stringSet(step.keys))]), write: false };
    case 'omap-set':
      return { op: omapSetOp(step.entries), write: true };
    case 'omap-remove':
      return { op: OsdOp.make(OP.OMAPRMKEYS, [encoded((e) => e.stringSet(step.keys))]), write: true };
  }
}

function omapSetOp(entries: ReadonlyMap<string, Uint8Array>): OsdOp {
  return OsdOp.make(OP.OMAPSETVALS, [encoded((e) => e.stringMap(entries, (x, v) => x.blob(v)), 1024)]);
}

function outOf(reply: MOSDOpReplyValue): Uint8Array {
  const out = reply.ops[0]?.out ?? [];
  return out.length === 0 ? emptyBytes : concatBytes(out);
}

function decodePage(bytes: Uint8Array): { handle: HObject; entries: ListEntry[] } {
  const d = new Decoder(bytes);
  return d.struct('pg_nls_response_t', 1, (x) => {
    const handle = decodeHObject(x);
    const entries = x.list((y): ListEntry => {
      const nspace = y.string();
      const name = y.string();
      return { nspace, name, key: y.string() };
    }, 12);
    return { handle, entries };
  });
}

/** Text to an object's bytes and back, for callers that store text. */
export const textBytes = bytesFromText;
