import { describe, expect, test } from 'vitest';
import { DecodeError } from '../../../base/bytes.ts';
import { fuzzCount, fuzzSeed } from '../../../base/fuzz.testing.ts';
import { type Random, seededRandom } from '../../../base/random.ts';
import { codecOfId, codecOfName, codecs, zstdContentSize } from './codec.ts';
import { lz4Decompress } from './lz4.ts';
import { snappyDecompress } from './snappy.ts';

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));

/** Data of all kinds, from repeats of one byte to noise. */
function sample(random: Random, length: number): Uint8Array {
  const out = new Uint8Array(length);
  const words = Array.from({ length: 40 }, () => random.bytes(1 + (random.uint32() % 12)));
  for (let at = 0; at < length; ) {
    const kind = random.uint32() % 6;
    const part =
      kind === 0
        ? random.bytes(1 + (random.uint32() % 400))
        : kind === 1
          ? new Uint8Array(1 + (random.uint32() % 3000)).fill(random.uint32())
          : kind === 2 && at > 0
            ? out.slice(random.uint32() % at, at).subarray(0, random.uint32() % 700)
            : words[random.uint32() % words.length]!;
    out.set(part.subarray(0, length - at), at);
    at += part.length;
  }
  return out;
}

describe('codecs of compressed blobs', () => {
  for (const codec of codecs)
    test(`${codec.name}: what was compressed comes back, of every length and kind`, () => {
      const random = seededRandom(codec.id);
      let smaller = 0;
      for (let n = 0; n < 200; n++) {
        const src = sample(random, n < 40 ? n : 1 + (random.uint32() % 65536));
        // Neither is at the beginning of its memory.
        const into = new Uint8Array(3 + src.length).subarray(3);
        const length = codec.compress(src, into);
        if (length < 0) continue;
        if (length < src.length) smaller++;
        const out = new Uint8Array(src.length + 8).fill(0xee);
        codec.decompress(into.slice(0, length), out.subarray(4, 4 + src.length));
        expect(Buffer.compare(out.subarray(4, 4 + src.length), src), `${n}`).toBe(0);
        expect([...out.subarray(0, 4), ...out.subarray(4 + src.length)]).toEqual(Array(8).fill(0xee));
      }
      expect(smaller).toBeGreaterThan(100);
    });

  for (const codec of codecs)
    test(`${codec.name}: what does not fit is told, and nothing is written behind the end`, () => {
      const random = seededRandom(100 + codec.id);
      const noise = random.bytes(65536);
      expect(codec.compress(noise, new Uint8Array(57344))).toBe(-1);
      const src = sample(random, 30_000);
      const whole = new Uint8Array(40_000);
      const length = codec.compress(src, whole);
      for (const room of [0, 1, 2, 100, Math.floor(length / 2), length - 1]) {
        const around = new Uint8Array(room + 16).fill(0x55);
        expect(codec.compress(src, around.subarray(0, room)), `${room} bytes`).toBe(-1);
        expect([...around.subarray(room)]).toEqual(Array(16).fill(0x55));
      }
    });

  for (const codec of codecs)
    test(`fuzz: ${codec.name}: damaged bytes, and another length than the noted one, are an error or other bytes, never more of them`, {
      timeout: 3_600_000,
    }, () => {
      const random = seededRandom(fuzzSeed + 200 + codec.id);
      let refused = 0;
      for (let n = 0; n < fuzzCount; n++) {
        const src = sample(random, 100 + (random.uint32() % 5000));
        const into = new Uint8Array(src.length + 1000);
        const wrong = into.slice(0, codec.compress(src, into));
        for (let flips = 1 + (random.uint32() % 3); flips > 0; flips--)
          wrong[random.uint32() % wrong.length]! ^= 1 << (random.uint32() % 8);
        const around = new Uint8Array(src.length + 16).fill(0x55);
        try {
          codec.decompress(n % 4 === 0 ? random.bytes(1 + (n % 50)) : wrong, around.subarray(0, src.length));
        } catch (error) {
          expect(error).toBeInstanceOf(DecodeError);
          refused++;
        }
        expect([...around.subarray(src.length)]).toEqual(Array(16).fill(0x55));
      }
      expect(refused).toBeGreaterThan(fuzzCount / 4);
      const src = sample(random, 5000);
      const into = new Uint8Array(6000);
      const made = into.slice(0, codec.compress(src, into));
      for (const length of [0, 1, 4999, 5001, 65536])
        expect(() => codec.decompress(made, new Uint8Array(length)), `${length}`).toThrow(DecodeError);
      expect(() => codec.decompress(made.subarray(0, made.length - 1), new Uint8Array(5000))).toThrow(DecodeError);
    });

  test('LZ4: what the lz4 program makes is read', () => {
    // `lz4 -l` of the text below, without the frame.
    const block =
      'f01074686520717569636b2062726f776e20666f78206a756d7073206f766572201f00916c617a7920646f673b0e000f2d0016af616e6420616761696e3a3800013f2c206101002' +
      '73a206162020050616262612120'.slice(0, -2);
    const src = new Uint8Array(Buffer.from(block, 'hex'));
    const text =
      'the quick brown fox jumps over the lazy dog; the quick brown fox jumps over the lazy dog; and again: the quick brown fox, ' +
      `${'a'.repeat(59)} ${'ab'.repeat(9)}ba!`;
    const out = new Uint8Array(text.length);
    lz4Decompress(src, out);
    expect(Buffer.from(out).toString('latin1')).toBe(text);
  });

  test('Snappy: literals and copies of every kind of tag', () => {
    // 12 bytes: "abcd", a copy of 4 from 4 before (one byte of offset), one of 4 from 8 before (two).
    const out = new Uint8Array(12);
    snappyDecompress(Uint8Array.of(12, 3 << 2, ...bytes('abcd'), 1, 4, 2 | (3 << 2), 8, 0), out);
    expect(Buffer.from(out).toString()).toBe('abcdabcdabcd');
    // A literal with its length in a byte, and a copy that repeats itself, with four bytes of offset.
    const long = new Uint8Array(124);
    snappyDecompress(Uint8Array.of(124, 60 << 2, 59, ...new Uint8Array(60).fill(65), 3 | (63 << 2), 1, 0, 0, 0), long);
    expect(Buffer.from(long).toString()).toBe('A'.repeat(124));
    expect(() => snappyDecompress(Uint8Array.of(4, 3 << 2, 1, 2, 3), new Uint8Array(4))).toThrow(DecodeError);
    expect(() => snappyDecompress(Uint8Array.of(8, 3 << 2, 1, 2, 3, 4, 1, 5), new Uint8Array(8))).toThrow(DecodeError);
  });

  test('zstd: a frame that says another size, or none, makes nothing', () => {
    const bomb = Bun.zstdCompressSync(new Uint8Array(50_000_000));
    expect(zstdContentSize(bomb)).toBe(50_000_000);
    expect(() => codecOfName('zstd')!.decompress(bomb, new Uint8Array(65536))).toThrow('not a frame of 65536 bytes');
    for (const size of [0, 1, 255, 256, 300, 65535, 65536, 65791, 65792, 1_000_000])
      expect(zstdContentSize(Bun.zstdCompressSync(new Uint8Array(size))), `${size}`).toBe(size);
    expect(zstdContentSize(Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58, 1, 0, 0))).toBeUndefined();
    expect(zstdContentSize(bytes('not a frame'))).toBeUndefined();
  });

  test('numbers and names are each one codec’s', () => {
    expect(codecs.map(({ id, name }) => [id, name])).toEqual([
      [1, 'lz4'],
      [2, 'zstd'],
      [3, 'snappy'],
      [4, 'zlib'],
    ]);
    expect(codecOfName('brotli')).toBeUndefined();
    expect(() => codecOfId(9)).toThrow(DecodeError);
  });
});
