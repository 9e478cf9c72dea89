import { describe, expect, test } from 'vitest';
import { Crc32cPieces, crc32c, noteCrc32c, rawCrc32c, wholeCrc32c } from './crc32c.ts';
import { seededRandom } from './random.ts';

const random = seededRandom(1);
const bytesOf = (length: number): Uint8Array => Uint8Array.from({ length }, () => random.uint32() & 0xff);

describe('crc32c', () => {
  test('the check value of RFC 3720, short and long', () => {
    expect(crc32c(new TextEncoder().encode('123456789'))).toBe(0xe3069283);
    expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa);
  });

  test('pieces chain across the border between script and native code', () => {
    const bytes = bytesOf(5000);
    for (const cut of [0, 1, 7, 1023, 1024, 4000, 5000])
      expect(rawCrc32c(rawCrc32c(0xffffffff, bytes.subarray(0, cut)), bytes.subarray(cut))).toBe(
        rawCrc32c(0xffffffff, bytes),
      );
  });

  test.each([1, 512, 4096])('checksums of pieces of %d bytes join to the checksum of all of them', (length) => {
    const pieces = new Crc32cPieces(length);
    const bytes = bytesOf(length * 5);
    for (const seed of [0, 0xffffffff, 0x12345678]) {
      let joined = seed;
      for (let at = 0; at < bytes.length; at += length)
        joined = pieces.join(joined, rawCrc32c(0xffffffff, bytes.subarray(at, at + length)));
      expect(joined).toBe(rawCrc32c(seed, bytes));
    }
  });

  test('a noted checksum is of one view only', () => {
    const bytes = bytesOf(8192);
    noteCrc32c(bytes, 7);
    expect(wholeCrc32c(bytes)).toBe(7);
    expect(wholeCrc32c(bytes.subarray(0))).toBe(rawCrc32c(0xffffffff, bytes));
    expect(wholeCrc32c(bytes.subarray(4096))).toBe(rawCrc32c(0xffffffff, bytes.subarray(4096)));
  });
});
