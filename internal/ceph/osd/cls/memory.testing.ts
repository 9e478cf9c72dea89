import type { UTime } from '../../wire/encoding.ts';
import { bytesFromText } from '../../wire/encoding.ts';
import type { EntityAddr, EntityNum, SnapContext } from '../../wire/types.ts';
import { addrV2, noSnaps } from '../../wire/types.ts';
import { type ClassContext, ClassFailure } from './context.ts';
import { EEXIST, ENOENT } from './errno.ts';
import { callClassMethod, findClassMethod } from './table.ts';

/** An object in memory. */
export class MemoryObject {
  exists = false;
  data = new Uint8Array(0);
  xattrs = new Map<string, Uint8Array>();
  omap = new Map<string, Uint8Array>();
  header = new Uint8Array(0);

  clone(): MemoryObject {
    return Object.assign(new MemoryObject(), {
      exists: this.exists,
      data: this.data.slice(),
      xattrs: new Map(this.xattrs),
      omap: new Map(this.omap),
      header: this.header,
    });
  }
}

const byBytes = (a: string, b: string): number => Buffer.compare(bytesFromText(a), bytesFromText(b));

/** A class context over an object: reads see `before`, changes go to `after`. */
export class MemoryContext implements ClassContext {
  client: EntityNum = { type: 8, num: 4100 };
  clientAddr: EntityAddr = addrV2('127.0.0.1', 0, 4242);
  clientFeatures = 0n;
  watchers: { name: EntityNum; addr: EntityAddr }[] = [];
  userVersion = 0;
  opIndex = 0;
  snapContext: SnapContext = noSnaps;
  snapSetSeq = 0n;
  requireOsdRelease = 16;
  requireMinCompatClient = 12;
  time: UTime = { sec: 1700000000, nsec: 5000 };
  wrote = false;

  constructor(
    readonly before: MemoryObject,
    readonly after: MemoryObject,
  ) {}

  now(): UTime {
    return this.time;
  }
  random(count: number): Uint8Array {
    return new Uint8Array(count).fill(7);
  }
  stat(): { size: number; mtime: UTime } | undefined {
    return this.after.exists ? { size: this.after.data.length, mtime: this.time } : undefined;
  }
  read(offset: number, length: number): Uint8Array {
    return this.before.data.slice(offset, offset + length);
  }
  create(exclusive: boolean): void {
    if (this.after.exists && exclusive) throw new ClassFailure(EEXIST);
    this.#touch();
  }
  #touch(): void {
    this.wrote = true;
    this.after.exists = true;
  }
  write(offset: number, data: Uint8Array): void {
    this.#touch();
    const out = new Uint8Array(Math.max(this.after.data.length, offset + data.length));
    out.set(this.after.data);
    out.set(data, offset);
    this.after.data = out;
  }
  writeFull(data: Uint8Array): void {
    this.#touch();
    this.after.data = data.slice();
  }
  truncate(size: number): void {
    const out = new Uint8Array(size);
    out.set(this.after.data.subarray(0, size));
    this.writeFull(out);
  }
  zero(offset: number, length: number): void {
    this.write(offset, new Uint8Array(length));
  }
  remove(): void {
    if (!this.after.exists) throw new ClassFailure(ENOENT);
    Object.assign(this.after, new MemoryObject());
    this.wrote = true;
  }
  xattr(name: string): Uint8Array | undefined {
    return this.before.xattrs.get(name);
  }
  xattrs(): ReadonlyMap<string, Uint8Array> {
    return this.before.xattrs;
  }
  setXattr(name: string, value: Uint8Array): void {
    this.#touch();
    this.after.xattrs.set(name, value.slice());
  }
  removeXattr(name: string): void {
    this.wrote = true;
    this.after.xattrs.delete(name);
  }
  omapHeader(): Uint8Array {
    return this.before.header;
  }
  setOmapHeader(header: Uint8Array): void {
    this.#touch();
    this.after.header = header.slice();
  }
  omapValue(key: string): Uint8Array | undefined {
    return this.before.omap.get(key);
  }
  omapList(after: string, prefix: string, limit: number): { entries: [string, Uint8Array][]; more: boolean } {
    const all = [...this.before.omap]
      .filter(([key]) => byBytes(key, after) > 0 && key.startsWith(prefix))
      .sort((a, b) => byBytes(a[0], b[0]));
    return { entries: all.slice(0, limit), more: all.length > limit };
  }
  setOmap(entries: ReadonlyMap<string, Uint8Array>): void {
    this.#touch();
    for (const [key, value] of entries) this.after.omap.set(key, value.slice());
  }
  removeOmap(keys: readonly string[]): void {
    if (!this.after.exists) throw new ClassFailure(ENOENT);
    this.wrote = true;
    for (const key of keys) this.after.omap.delete(key);
  }
  removeOmapRange(first: string, end: string): void {
    if (!this.after.exists) throw new ClassFailure(ENOENT);
    this.wrote = true;
    for (const key of [...this.after.omap.keys()])
      if (byBytes(key, first) >= 0 && byBytes(key, end) < 0) this.after.omap.delete(key);
  }
  clearOmap(): void {
    this.wrote = true;
    this.after.omap.clear();
    this.after.header = new Uint8Array(0);
  }
}

/** Calls a method on an object; what it does stays only when it succeeds. */
export async function callOn(
  object: MemoryObject,
  className: string,
  method: string,
  input: Uint8Array,
  set: (ctx: MemoryContext) => void = () => {},
): Promise<{ rval: number; out: Uint8Array }> {
  const entry = findClassMethod(className, method);
  if (entry === undefined) return { rval: -95, out: new Uint8Array(0) };
  const after = object.clone();
  const ctx = new MemoryContext(object, after);
  set(ctx);
  const result = await callClassMethod(ctx, entry, input);
  if (ctx.wrote && !entry.write) throw new Error(`${className}.${method} is declared as reading and wrote`);
  if (result.rval >= 0) Object.assign(object, after);
  return result;
}
