import { gzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { Gunzip, Unpacking } from './unpacking.ts';

/** Messages of one chunk. */
const bombs = 500;

/** A queue whose messages are unpacked when the test says so. */
function made(unpack: (packed: Uint8Array) => Promise<Uint8Array>) {
  const told = { taken: [] as number[], failed: [] as unknown[], held: [] as number[] };
  const unpacking: Unpacking = new Unpacking({
    unpack,
    take: (message) => told.taken.push(message[0]!),
    fail: (error) => told.failed.push(error),
    changed: () => told.held.push(unpacking.held),
  });
  return { unpacking, told };
}

describe('grpc: messages that must be unpacked', () => {
  test('of all that come at once, one is unpacked at a time, and the others count as they came', async () => {
    let running = 0;
    let most = 0;
    const { unpacking, told } = made(async (packed) => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      return packed;
    });
    for (let i = 0; i < bombs; i++) unpacking.push(Uint8Array.of(i & 0xff, 1, 2), i % 2 === 0);
    expect(unpacking.held).toBe(3 * bombs);
    await unpacking.running;
    expect(most).toBe(1);
    expect(told.taken).toEqual(Array.from({ length: bombs }, (_, i) => i & 0xff));
    expect(told.held.slice(0, 3)).toEqual([3 * bombs - 3, 3 * bombs - 6, 3 * bombs - 9]);
    expect([unpacking.held, unpacking.running]).toEqual([0, undefined]);
  });

  test.each(['is stopped', 'breaks'])('nothing is unpacked for a call that %s', async (how) => {
    let unpacked = 0;
    const { unpacking, told } = made(async (packed) => {
      if (++unpacked === 2) {
        if (how === 'breaks') throw new Error('no gzip');
        unpacking.stop();
      }
      return packed;
    });
    for (let i = 0; i < bombs; i++) unpacking.push(Uint8Array.of(i & 0xff), true);
    await unpacking.running;
    unpacking.push(Uint8Array.of(1), true);
    await unpacking.running;
    expect({ unpacked, taken: told.taken, held: unpacking.held }).toEqual({ unpacked: 2, taken: [0], held: 0 });
    expect(told.failed.map(String)).toEqual(how === 'breaks' ? ['Error: no gzip'] : []);
  });

  test('a view of what may change is kept as it was', async () => {
    const { unpacking, told } = made(async (packed) => packed);
    const bytes = Uint8Array.of(7);
    unpacking.push(bytes, true);
    bytes[0] = 8;
    await unpacking.running;
    expect(told.taken).toEqual([7]);
  });

  test('four messages of all calls are unpacked at once, also after some were refused', async () => {
    let running = 0;
    let most = 0;
    const gunzip = new Gunzip(1000, async (packed) => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
      if (packed[0] === 0) throw new Error('no gzip');
      return packed;
    });
    const unpack = () => Array.from({ length: 60 }, (_, i) => gunzip.unpack(Uint8Array.of(i % 3)));
    const outcomes = await Promise.allSettled(unpack());
    expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(20);
    await Promise.allSettled(unpack());
    expect(most).toBe(4);
  });

  test('all calls of a server are unpacked for, the larger and the broken ones are refused', async () => {
    const gunzip = new Gunzip(1000);
    const inputs = Array.from({ length: 60 }, (_, i) =>
      i % 3 === 0 ? gzipSync(new Uint8Array(1001)) : i % 3 === 1 ? Buffer.from('none') : gzipSync(Uint8Array.of(i)),
    );
    const outcomes = await Promise.all(
      inputs.map((packed) =>
        gunzip.unpack(packed).then(
          (plain) => plain[0],
          (error: { status: number }) => -error.status,
        ),
      ),
    );
    expect(outcomes).toEqual(inputs.map((_, i) => [-8, -13, i][i % 3]));
  });
});
