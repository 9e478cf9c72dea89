import { expect, test } from 'vitest';
import { noteBlockCrcs, rawCrc32c } from '../../base/crc32c.ts';
import { seededRandom } from '../../base/random.ts';
import type { TransactionOp } from '../blockstore/api.ts';
import { memoryStore } from '../blockstore/memory.ts';
import { type Digests, digestsAfter, emptyDigest, emptyDigests, extendDigest, unknownDigests } from './digests.ts';
import { decodeObjectInfo, encodeObjectInfo, noObject } from './object-info.ts';
import { omapDigest } from './scrub-map.ts';

const cid = '1.0';
const key = Uint8Array.of(2, 1);
const other = Uint8Array.of(2, 2);
const write = (offset: number, data: Uint8Array): TransactionOp => ({ op: 'write', cid, key, offset, data: [data] });
const bytes = (length: number, value = 7): Uint8Array => new Uint8Array(length).fill(value);
const none = (): never => expect.unreachable();

const after = (ops: TransactionOp[], size = 10, before: Digests = { dataDigest: 5, omapDigest: 6 }): Digests =>
  digestsAfter(before, size, ops, key, none);

test('what writes do to the digests of an object', () => {
  const whole = (data: Uint8Array): number => rawCrc32c(emptyDigest, data);
  const table: [string, TransactionOp[], number | undefined, number | undefined][] = [
    ['all of it', [write(0, bytes(10))], whole(bytes(10)), 6],
    ['more than all of it', [write(0, bytes(11))], whole(bytes(11)), 6],
    ['a part', [write(0, bytes(9))], undefined, 6],
    ['at the end', [write(10, bytes(3))], rawCrc32c(5, bytes(3)), 6],
    ['behind the end', [write(11, bytes(3))], undefined, 6],
    ['of another object', [{ ...write(0, bytes(3)), key: other } as TransactionOp], 5, 6],
    ['zeros', [{ op: 'zero', cid, key, offset: 1, length: 2 }], undefined, 6],
    ['to its own size', [{ op: 'truncate', cid, key, size: 10 }], 5, 6],
    ['shorter', [{ op: 'truncate', cid, key, size: 3 }], undefined, 6],
    ['shorter, then all', [{ op: 'truncate', cid, key, size: 3 }, write(0, bytes(3))], whole(bytes(3)), 6],
    [
      'removed, made again',
      [
        { op: 'remove', cid, key },
        { op: 'touch', cid, key },
      ],
      emptyDigest,
      emptyDigest,
    ],
    ['an omap value', [{ op: 'omap-set', cid, key, entries: new Map() }], 5, undefined],
    ['an omap key less', [{ op: 'omap-remove', cid, key, keys: [] }], 5, undefined],
    ['omap keys less', [{ op: 'omap-remove-range', cid, key, first: 'a', last: 'b' }], 5, undefined],
    ['an omap header', [{ op: 'omap-set-header', cid, key, header: bytes(1) }], 5, undefined],
    ['no omap', [{ op: 'omap-clear', cid, key }], 5, emptyDigest],
    ['an xattr', [{ op: 'set-xattrs', cid, key, xattrs: new Map() }], 5, 6],
  ];
  for (const [name, ops, dataDigest, omap] of table) expect(after(ops), name).toEqual({ dataDigest, omapDigest: omap });
  expect(after([write(10, bytes(3))], 10, unknownDigests).dataDigest).toBeUndefined();
  const clone: TransactionOp = { op: 'clone', cid, from: other, to: key };
  const copied = digestsAfter(unknownDigests, 10, [clone, write(4, bytes(2))], key, (from) => {
    expect(from).toBe(other);
    return { dataDigest: 8, omapDigest: 9, size: 4 };
  });
  expect(copied).toEqual({ dataDigest: rawCrc32c(8, bytes(2)), omapDigest: 9 });
});

test('a digest that is known is that of the object, whatever is done to it', async () => {
  let known = 0;
  for (let seed = 1; seed <= 60; seed++) {
    const random = seededRandom(seed);
    const below = (n: number): number => random.uint32() % n;
    const store = memoryStore();
    await store.queue({
      ops: [
        { op: 'create-collection', cid },
        { op: 'touch', cid, key },
      ],
    });
    let digests: Digests = emptyDigests;
    for (let round = 0; round < 40; round++) {
      const { size } = store.stat(cid, key)!;
      const ops: TransactionOp[] = [];
      for (let n = 1 + below(2); n > 0; n--) {
        const roll = below(10);
        if (roll < 2) ops.push(write(below(20), random.bytes(1 + below(30))));
        else if (roll < 4) ops.push(write(0, random.bytes(size + below(9))));
        else if (roll < 6) ops.push(write(size, random.bytes(below(20))));
        else if (roll < 7) ops.push({ op: 'truncate', cid, key, size: below(30) });
        else if (roll < 8) ops.push({ op: 'zero', cid, key, offset: below(20), length: 1 + below(9) });
        else if (below(2) === 0) ops.push({ op: 'omap-set', cid, key, entries: new Map([['k', random.bytes(2)]]) });
        else ops.push({ op: 'omap-clear', cid, key });
      }
      digests = digestsAfter(digests, size, ops, key, none);
      await store.queue({ ops });
      const data = (await store.read(cid, key, 0, 1e6))!;
      if (digests.dataDigest !== undefined) {
        known++;
        expect(digests.dataDigest, `seed ${seed}`).toBe(rawCrc32c(emptyDigest, data));
      }
      if (digests.omapDigest !== undefined) expect(digests.omapDigest).toBe(omapDigest(store, cid, key).digest);
    }
  }
  expect(known).toBeGreaterThan(600);
});

test('bytes whose blocks the network has summed are not summed again', () => {
  const data = seededRandom(1).bytes(3 * 4096);
  const crcs = Uint32Array.from({ length: 3 }, (_, i) =>
    rawCrc32c(emptyDigest, data.subarray(i * 4096, (i + 1) * 4096)),
  );
  noteBlockCrcs(data, crcs);
  const right = rawCrc32c(77, data);
  data.fill(0);
  expect(extendDigest(77, [data])).toBe(right);
});

test('an object info without digests is what it was before there were any', () => {
  expect(encodeObjectInfo(noObject)[0]).toBe(1);
  for (const digests of [unknownDigests, emptyDigests, { dataDigest: 3, omapDigest: undefined }]) {
    const info = { ...noObject, size: 9, ...digests };
    expect(decodeObjectInfo(encodeObjectInfo(info))).toEqual(info);
  }
});
