import { type UTime, utimeFromMs } from '../../wire/encoding.ts';
import type { EntityAddr, EntityNum, SnapContext } from '../../wire/types.ts';
import { type ClassContext, ClassFailure } from '../cls/context.ts';
import { callClassMethod, findClassMethod } from '../cls/table.ts';
import { userXattrPrefix } from '../object-info.ts';
import { needsClone } from './data-ops.ts';
import { EEXIST, EFBIG, EINVAL, ENOENT, EOPNOTSUPP } from './errno.ts';
import { maxObjectBytes } from './limits.ts';
import { omapPage, omapValues, removeOmapKeys, removeOmapRange, setOmap, setOmapHeader } from './omap-ops.ts';
import type { ClassRunner, OpContext } from './op-context.ts';
import { toStoreText } from './store-text.ts';
import { setUserXattr, userXattr, userXattrs } from './xattr-ops.ts';

/** An object as a class method sees it: the same changes as the ops of a client make. */
class ObjectOfClass implements ClassContext {
  readonly #ctx: OpContext;
  readonly opIndex: number;

  constructor(ctx: OpContext, opIndex: number) {
    this.#ctx = ctx;
    this.opIndex = opIndex;
  }

  stat(): { size: number; mtime: UTime } | undefined {
    const { exists, info } = this.#ctx;
    return exists ? { size: info.size, mtime: info.mtime } : undefined;
  }

  read(offset: number, length: number): Uint8Array | Promise<Uint8Array> {
    const ctx = this.#ctx;
    const size = ctx.exists ? ctx.info.size : 0;
    const count = Math.max(0, Math.min(length, size - offset));
    if (count === 0) return new Uint8Array(0);
    // A copy: methods change what they have read before they write it.
    return ctx.host.store.read(ctx.cid, ctx.key, offset, count).then((bytes) => bytes?.slice() ?? new Uint8Array(0));
  }

  create(exclusive: boolean): void {
    if (exclusive && this.#ctx.exists) throw new ClassFailure(EEXIST);
    this.#ctx.create();
  }

  write(offset: number, data: Uint8Array): void {
    const ctx = this.#ctx;
    if (offset < 0 || offset + data.length > maxObjectBytes) throw new ClassFailure(EFBIG);
    ctx.create();
    ctx.delta.write++;
    if (data.length === 0) return;
    ctx.ops.push({ op: 'write', cid: ctx.cid, key: ctx.key, offset, data: [data] });
    ctx.changedRange(offset, data.length);
    if (offset + data.length > ctx.info.size) ctx.setSize(offset + data.length);
  }

  writeFull(data: Uint8Array): void {
    const ctx = this.#ctx;
    if (data.length > maxObjectBytes) throw new ClassFailure(EFBIG);
    ctx.create();
    ctx.delta.write++;
    ctx.changedAll();
    ctx.ops.push({ op: 'truncate', cid: ctx.cid, key: ctx.key, size: 0 });
    ctx.ops.push({ op: 'write', cid: ctx.cid, key: ctx.key, offset: 0, data: [data] });
    ctx.setSize(data.length);
  }

  truncate(size: number): void {
    const ctx = this.#ctx;
    if (size < 0 || size > maxObjectBytes) throw new ClassFailure(EINVAL);
    ctx.create();
    ctx.ops.push({ op: 'truncate', cid: ctx.cid, key: ctx.key, size });
    const from = Math.min(size, ctx.info.size);
    ctx.changedRange(from, Math.max(size, ctx.info.size) - from);
    ctx.setSize(size);
  }

  zero(offset: number, length: number): void {
    const ctx = this.#ctx;
    if (!ctx.exists || length <= 0) return;
    const end = Math.min(offset + length, ctx.info.size);
    if (end <= offset) return;
    ctx.touch();
    ctx.ops.push({ op: 'zero', cid: ctx.cid, key: ctx.key, offset, length: end - offset });
    ctx.changedRange(offset, end - offset);
  }

  remove(): void {
    const ctx = this.#ctx;
    if (!ctx.exists) throw new ClassFailure(ENOENT);
    ctx.remove(ctx.obc.snapset.clones.length > 0 || needsClone(ctx));
  }

  xattr(name: string): Uint8Array | undefined {
    return userXattr(this.#ctx, name);
  }
  xattrs(): ReadonlyMap<string, Uint8Array> {
    return userXattrs(this.#ctx);
  }
  setXattr(name: string, value: Uint8Array): void {
    const rval = setUserXattr(this.#ctx, name, value);
    if (rval < 0) throw new ClassFailure(rval);
  }
  removeXattr(name: string): void {
    const ctx = this.#ctx;
    if (!ctx.exists) throw new ClassFailure(ENOENT);
    ctx.touch();
    ctx.ops.push({ op: 'remove-xattr', cid: ctx.cid, key: ctx.key, name: toStoreText(userXattrPrefix + name) });
  }

  omapHeader(): Uint8Array {
    const ctx = this.#ctx;
    return ctx.exists ? ctx.host.store.omapHeader(ctx.cid, ctx.key) : new Uint8Array(0);
  }
  #omapAllowed(): void {
    if (this.#ctx.host.rules().erasure) throw new ClassFailure(EOPNOTSUPP);
  }
  setOmapHeader(header: Uint8Array): void {
    this.#omapAllowed();
    setOmapHeader(this.#ctx, header);
  }
  omapValue(key: string): Uint8Array | undefined {
    return omapValues(this.#ctx, [key]).get(key);
  }
  omapList(after: string, prefix: string, limit: number): { entries: [string, Uint8Array][]; more: boolean } {
    return omapPage(this.#ctx, after, prefix, limit);
  }
  setOmap(entries: ReadonlyMap<string, Uint8Array>): void {
    this.#omapAllowed();
    setOmap(this.#ctx, entries);
  }
  removeOmap(keys: readonly string[]): void {
    this.#omapAllowed();
    const rval = removeOmapKeys(this.#ctx, keys);
    if (rval < 0) throw new ClassFailure(rval);
  }
  removeOmapRange(first: string, end: string): void {
    this.#omapAllowed();
    const rval = removeOmapRange(this.#ctx, first, end);
    if (rval < 0) throw new ClassFailure(rval);
  }
  clearOmap(): void {
    this.#omapAllowed();
    const ctx = this.#ctx;
    if (!ctx.exists) throw new ClassFailure(ENOENT);
    ctx.touch();
    ctx.ops.push({ op: 'omap-clear', cid: ctx.cid, key: ctx.key });
    if (ctx.info.omap) {
      ctx.info = { ...ctx.info, omap: false };
      ctx.delta.objectsOmap--;
    }
  }

  get client(): EntityNum {
    return this.#ctx.requester.name;
  }
  get clientAddr(): EntityAddr {
    return this.#ctx.requester.addr;
  }
  get clientFeatures(): bigint {
    return this.#ctx.requester.features;
  }
  get watchers(): readonly { name: EntityNum; addr: EntityAddr }[] {
    return this.#ctx.info.watchers;
  }
  now(): UTime {
    return utimeFromMs(this.#ctx.host.nowMs());
  }
  random(count: number): Uint8Array {
    return this.#ctx.host.random.bytes(count);
  }
  get userVersion(): number {
    return this.#ctx.obc.info.userVersion;
  }
  get snapContext(): SnapContext {
    return this.#ctx.snapContext;
  }
  get snapSetSeq(): bigint {
    return this.#ctx.obc.snapset.seq;
  }
  get requireOsdRelease(): number {
    return this.#ctx.host.releases().osd;
  }
  get requireMinCompatClient(): number {
    return this.#ctx.host.releases().minCompatClient;
  }
}

/** The classes of `cls/`, as the interpreter calls them. */
export const objectClasses: ClassRunner = {
  lookup: findClassMethod,
  call: (ctx, opIndex, name, method, input) => {
    const found = findClassMethod(name, method);
    if (found === undefined) return { rval: EOPNOTSUPP, out: new Uint8Array(0) };
    return callClassMethod(new ObjectOfClass(ctx, opIndex), found, input);
  },
};
