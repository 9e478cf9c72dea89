import { expect, test } from 'vitest';
import { seededRandom } from '../../../base/random.ts';
import type { TransactionOp } from '../../blockstore/api.ts';
import { ErasureCode } from '../../erasure/code.ts';
import { gather, shardSize } from '../../erasure/layout.ts';
import { jerasureVandermonde } from '../../erasure/matrix.ts';
import { WritePlan } from './write-plan.ts';

const layout = { k: 3, chunkBytes: 8 };
const code = { code: new ErasureCode(3, jerasureVandermonde(3, 2)), layout };
const stripe = 24;
const cid = '1.0s0';
const key = Uint8Array.of(2, 1);
const other = Uint8Array.of(2, 2);

/** Memory that still holds something. */
const dirty = (length: number): Uint8Array => new Uint8Array(length).fill(0xdb);

/** Applies store operations to objects in memory, as a store does. */
function apply(objects: Map<string, Uint8Array>, ops: readonly TransactionOp[]): void {
  const grown = (name: string, size: number): Uint8Array => {
    const old = objects.get(name) ?? new Uint8Array(0);
    const bytes = new Uint8Array(Math.max(old.length, size));
    bytes.set(old);
    objects.set(name, bytes);
    return bytes;
  };
  for (const op of ops) {
    if (op.op === 'clone') objects.set(String(op.to), objects.get(String(op.from))!.slice());
    else if (op.op === 'remove') objects.delete(String(op.key));
    else if (op.op === 'touch') grown(String(op.key), 0);
    else if (op.op === 'truncate') {
      const bytes = new Uint8Array(op.size);
      bytes.set((objects.get(String(op.key)) ?? new Uint8Array(0)).subarray(0, op.size));
      objects.set(String(op.key), bytes);
    } else if (op.op === 'zero') grown(String(op.key), op.offset + op.length).fill(0, op.offset, op.offset + op.length);
    else if (op.op === 'write') {
      let at = op.offset;
      for (const piece of op.data) {
        grown(String(op.key), at + piece.length).set(piece, at);
        at += piece.length;
      }
    } else throw new Error(op.op);
  }
}

test('whatever a request does to objects, its shards make the same objects', () => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = seededRandom(seed);
    const below = (n: number): number => random.uint32() % n;
    const whole = new Map<string, Uint8Array>([
      [String(key), random.bytes(below(120))],
      [String(other), random.bytes(below(120))],
    ]);
    const shards = Array.from({ length: 5 }, () => new Map<string, Uint8Array>());
    const sizeOf = (k: Uint8Array): number => whole.get(String(k))?.length ?? 0;
    // First they are made, by a plan like any other.
    const make = new WritePlan(
      code,
      [key, other].map((k) => ({ op: 'write', cid, key: k, offset: 0, data: [whole.get(String(k))!] })),
      () => 0,
    );
    expect(make.reads).toEqual([]);
    make.shards([], dirty).forEach((ops, i) => {
      apply(shards[i]!, ops);
    });

    for (let round = 0; round < 6; round++) {
      const ops: TransactionOp[] = [];
      for (let n = 1 + below(4); n > 0; n--) {
        const offset = below(130);
        const length = 1 + below(60);
        const roll = below(100);
        if (roll < 50)
          ops.push({ op: 'write', cid, key, offset, data: [random.bytes(length), random.bytes(below(9))] });
        else if (roll < 65) ops.push({ op: 'zero', cid, key, offset, length });
        else if (roll < 85) ops.push({ op: 'truncate', cid, key, size: offset });
        else if (roll < 90) ops.push({ op: 'remove', cid, key }, { op: 'touch', cid, key });
        else ops.push({ op: 'clone', cid, from: other, to: key });
      }
      const plan = new WritePlan(code, ops, sizeOf);
      const old = plan.reads.map((read) => {
        const { offset, length } = read;
        expect([offset % stripe, length % stripe]).toEqual([0, 0]);
        return whole.get(String(read.key))!.subarray(offset, offset + length);
      });
      plan.shards(old, dirty).forEach((list, i) => {
        apply(shards[i]!, list);
      });
      apply(whole, ops);
      for (const k of [key, other]) {
        const bytes = whole.get(String(k))!;
        const chunks = shards.map((objects) => objects.get(String(k))!);
        expect(new Set(chunks.map((chunk) => chunk.length)), `seed ${seed}`).toEqual(
          new Set([shardSize(layout, bytes.length)]),
        );
        const padded = new Uint8Array(3 * chunks[0]!.length);
        gather(layout, new Map(chunks.entries()), 0, padded);
        expect(padded.subarray(0, bytes.length), `seed ${seed}`).toEqual(bytes);
        expect(
          padded.subarray(bytes.length).every((byte) => byte === 0),
          `seed ${seed}`,
        ).toBe(true);
        expect(code.code.encode(chunks.slice(0, 3)), `seed ${seed}`).toEqual(chunks.slice(3));
      }
    }
  }
});

test('only stripes that are covered in part are read, and not beyond the old end', () => {
  const reads = (size: number, offset: number, length: number): [number, number][] =>
    new WritePlan(code, [{ op: 'write', cid, key, offset, data: [new Uint8Array(length)] }], () => size).reads.map(
      (read) => [read.offset, read.length],
    );
  expect(reads(0, 5, 100)).toEqual([]);
  expect(reads(240, 0, 48)).toEqual([]);
  expect(reads(240, 10, 100)).toEqual([
    [0, 24],
    [96, 24],
  ]);
  expect(reads(50, 48, 2)).toEqual([]);
  expect(reads(50, 49, 30)).toEqual([[48, 24]]);
  expect(reads(48, 48, 10)).toEqual([]);
});
