/** Random transactions and full comparisons: test support for whatever implements ObjectStore. */
import type { Random } from '../../base/random.ts';
import { type CompressionPolicy, compressionAlgorithms, type ObjectStore, poolOf, type TransactionOp } from './api.ts';
import { keyText } from './errors.ts';

const collections = ['meta', '1.0', '1.1f'];
const objectKeys = Array.from({ length: 6 }, (_, i) => new Uint8Array([0x20 + i * 40, 0, i]));
const omapKeys = ['a', 'b', 'rbd_', 'rbd_data.1', 'é', '\uffee', '😀', 'z'.repeat(200)];

const pick = <T>(random: Random, from: readonly T[]): T => from[random.uint32() % from.length]!;

/** Offsets and lengths around the edges of blocks, small and large. */
function range(random: Random, largest: number): { offset: number; length: number } {
  const near = (limit: number): number => {
    const block = 4096 * (random.uint32() % Math.max(1, Math.floor(limit / 4096)));
    return Math.max(0, Math.min(limit, block + pick(random, [0, 0, 0, 1, -1, 100, 512, 2048, 4095])));
  };
  return { offset: near(largest), length: pick(random, [0, 1, 100, 4096, 8192, 4095, 4097, near(largest)]) };
}

/** Some way to compress the pools of random transactions; none at times. */
export function randomCompression(random: Random): Map<number, CompressionPolicy> {
  const out = new Map<number, CompressionPolicy>();
  for (const pool of new Set(collections.map(poolOf))) {
    if (random.uint32() % 4 === 0) continue;
    out.set(pool, {
      mode: pick(random, ['passive', 'aggressive', 'force', 'force']),
      algorithm: pick(random, compressionAlgorithms),
      requiredRatio: pick(random, [0.875, 0.5, 1]),
      minBlobBytes: pick(random, [0, 8192, 16384]),
      maxBlobBytes: pick(random, [65536, 65536, 16384, 8192, 2 ** 20]),
    });
  }
  return out;
}

/** A transaction that is possible on `store` as it is now. */
export function randomTransaction(random: Random, store: ObjectStore, largest = 256 * 1024): TransactionOp[] {
  const ops: TransactionOp[] = [];
  const there = new Set(store.collections());
  for (const cid of collections)
    if (!there.has(cid)) {
      ops.push({ op: 'create-collection', cid });
      there.add(cid);
    }
  const made = new Set<string>();
  const exists = (cid: string, key: Uint8Array): boolean =>
    made.has(cid + keyText(key)) || store.stat(cid, key) !== undefined;
  const gone = new Set<string>();
  for (let count = 1 + (random.uint32() % 4); count > 0; count--) {
    const cid = pick(random, collections);
    if (random.uint32() % 15 === 0 && ops.every((each): boolean => each.op === 'create-collection')) {
      const to = pick(
        random,
        collections.filter((each) => poolOf(each) === poolOf(cid)),
      );
      const [first, end] = [random.uint32() % 256, 1 + (random.uint32() % 256)].map((byte) => new Uint8Array([byte]));
      const free = (): boolean => {
        const next = store.collections().includes(to) ? store.list(to, first!, 1)[0] : undefined;
        return next === undefined || Buffer.compare(next, end!) >= 0;
      };
      if (cid !== to && Buffer.compare(first!, end!) < 0 && free()) {
        ops.push({ op: 'move-range', cid, to, first: first!, end: end! });
        return ops;
      }
    }
    const key = pick(random, objectKeys);
    const { offset, length } = range(random, largest);
    const name = cid + keyText(key);
    const kind = random.uint32() % 20;
    if (kind < 7) {
      const bytes = random.bytes(16);
      const data = new Uint8Array(length);
      // One in four does not compress.
      if (random.uint32() % 4 === 0) data.set(random.bytes(length));
      else for (let i = 0; i < length; i++) data[i] = (bytes[i & 15]! + (i >> 6)) & 0xff;
      const cut = length === 0 ? 0 : random.uint32() % length;
      ops.push({ op: 'write', cid, key, offset, data: [data.subarray(0, cut), data.subarray(cut)] });
      made.add(name);
      gone.delete(name);
    } else if (kind === 7) {
      ops.push({ op: 'zero', cid, key, offset, length });
      made.add(name);
      gone.delete(name);
    } else if (kind === 8) {
      ops.push({ op: 'truncate', cid, key, size: offset });
      made.add(name);
      gone.delete(name);
    } else if (kind === 9) {
      const flags = pick(random, [0, 256, 512]);
      ops.push(random.uint32() % 2 === 0 ? { op: 'touch', cid, key } : { op: 'set-alloc-hint', cid, key, flags });
      made.add(name);
      gone.delete(name);
    } else if (kind === 10) {
      ops.push({ op: 'remove', cid, key });
      made.delete(name);
      gone.add(name);
    } else if (kind < 14) {
      const to = pick(random, objectKeys);
      if (gone.has(name) || !exists(cid, key)) continue;
      ops.push(
        kind === 13 ? { op: 'clone-range', cid, from: key, to, offset, length } : { op: 'clone', cid, from: key, to },
      );
      made.add(cid + keyText(to));
      gone.delete(cid + keyText(to));
    } else if (kind < 16) {
      const attrs = new Map([[pick(random, ['_', 'snapset', 'user.x']), random.bytes(random.uint32() % 300)]]);
      ops.push({ op: 'set-xattrs', cid, key, xattrs: attrs });
      if (random.uint32() % 3 === 0) ops.push({ op: 'remove-xattr', cid, key, name: 'snapset' });
      if (random.uint32() % 6 === 0) ops.push({ op: 'clear-xattrs', cid, key });
      made.add(name);
      gone.delete(name);
    } else if (kind < 18) {
      const entries = new Map<string, Uint8Array>();
      for (let i = random.uint32() % 4; i >= 0; i--)
        entries.set(pick(random, omapKeys), random.bytes(random.uint32() % 60));
      ops.push({ op: 'omap-set', cid, key, entries });
      made.add(name);
      gone.delete(name);
    } else if (kind === 18) {
      ops.push({ op: 'omap-remove', cid, key, keys: [pick(random, omapKeys), pick(random, omapKeys)] });
      ops.push({ op: 'omap-set-header', cid, key, header: random.bytes(random.uint32() % 20) });
      made.add(name);
      gone.delete(name);
    } else if (random.uint32() % 2 === 0) {
      ops.push({ op: 'omap-remove-range', cid, key, first: pick(random, omapKeys), last: pick(random, omapKeys) });
    } else {
      ops.push({ op: 'omap-clear', cid, key });
    }
  }
  return ops;
}

/** Everything a store holds, as text that can be compared and read. */
export async function dump(store: ObjectStore): Promise<string> {
  const lines: string[] = [];
  const hash = (bytes: Uint8Array): string => Bun.hash(bytes).toString(16);
  for (const cid of store.collections()) {
    lines.push(`collection ${cid}`);
    for (const key of store.list(cid, new Uint8Array(0), 1e6)) {
      const size = store.stat(cid, key)?.size ?? -1;
      const data = (await store.read(cid, key, 0, size)) ?? new Uint8Array(0);
      const extents = store.extents(cid, key, 0, size).map((e) => `${e.offset}+${e.length}`);
      lines.push(` ${keyText(key)} size ${size} data ${hash(data)} [${extents.join(' ')}]`);
      for (const [name, value] of [...store.xattrs(cid, key)].sort()) lines.push(`  xattr ${name} ${hash(value)}`);
      lines.push(`  omap header ${hash(store.omapHeader(cid, key))}`);
      for (const [name, value] of store.omapList(cid, key, { limit: 1e6 }).entries)
        lines.push(`  omap ${name} ${hash(value)}`);
    }
  }
  return lines.join('\n');
}
