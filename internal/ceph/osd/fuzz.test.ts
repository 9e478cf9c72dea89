import { describe, expect, test } from 'vitest';

import { fuzzDecoder } from '../../base/fuzz.testing.ts';
import { addrV2, SNAP_HEAD } from '../wire/types.ts';
import { decodeObjectInfo, decodeSnapSet, encodeObjectInfo, encodeSnapSet, noObject } from './object-info.ts';
import { objectKey, objectOfKey } from './object-key.ts';

describe('fuzz: what OSDs keep with objects and hand to one another, damaged', () => {
  const version = { epoch: 7, version: 9 };
  const watch = { name: { type: 8, num: 4100 }, cookie: 5n, timeoutSec: 30, addr: addrV2('10.0.0.1', 0, 5) };
  const info = {
    ...noObject,
    version,
    size: 5000,
    truncateSeq: 3,
    expectedObjectSize: 1,
    dataDigest: 7,
    watchers: [watch],
  };
  const clone = { id: 4n, size: 5000, snaps: [4n, 3n], overlap: [[0, 4096]] as const };
  const oid = { key: 'k', name: 'name\0of', snap: SNAP_HEAD, hash: 0x1234, max: false, nspace: 'n', pool: 1 };
  const parsers: [name: string, good: Uint8Array, decode: (bytes: Uint8Array) => unknown][] = [
    ['object info', encodeObjectInfo(info), decodeObjectInfo],
    ['snapset', encodeSnapSet({ seq: 5n, clones: [clone, clone] }), decodeSnapSet],
    ['key of an object', objectKey(oid), (bytes) => objectOfKey(bytes, 1)],
    ['key with escapes', objectKey({ ...oid, name: 'a\0b\u0001' }), (bytes) => objectOfKey(bytes, 1)],
  ];
  test.each(parsers)('%s', { timeout: 3_600_000 }, (_, good, decode) => {
    expect(decode(good)).toBeDefined();
    expect(fuzzDecoder([good], decode)).toBeGreaterThan(0);
  });
});
