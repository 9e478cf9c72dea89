import protobuf from 'protobufjs';
import { Reader } from 'protobufjs/minimal.js';
import { expect, test } from 'vitest';
import { seededRandom } from '../base/random.ts';
import type { KeyValue } from './api.ts';
import { keyValueFieldsSize, keyValueMessage, longBits, readKeyValue, writeKeyValueFields } from './mvccpb.ts';
import { bytes } from './testing.ts';

/** api/mvccpb/kv.proto, and a message around it, for a codec that is not ours. */
const { root } = protobuf.parse(`syntax = "proto3";
message KeyValue { bytes key = 1; int64 create_revision = 2; int64 mod_revision = 3; int64 version = 4; bytes value = 5; int64 lease = 6; }
message List { repeated KeyValue kvs = 2; }`);
const theirs = (kv: KeyValue) => ({ ...kv, lease: longBits(kv.lease) });

const edges = [0, 1, 127, 128, 16_383, 16_384, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 42 - 1, Number.MAX_SAFE_INTEGER];
const leases = [0n, 1n, 127n, 128n, -1n, 2n ** 63n - 1n, -(2n ** 63n)];
const plain: KeyValue = {
  key: bytes('k'),
  value: bytes('v'),
  createRevision: 1,
  modRevision: 1,
  version: 1,
  lease: 0n,
};

/** What a protobuf codec writes: the same bytes, less the fields that are zero or empty. */
function canonical(kv: KeyValue): Uint8Array {
  const type = root.lookupType('KeyValue');
  const present = Object.entries(theirs(kv)).filter(([name]) => {
    const value = kv[name as keyof KeyValue];
    return value instanceof Uint8Array ? value.length > 0 : value !== 0 && value !== 0n;
  });
  return type.encode(type.create(Object.fromEntries(present))).finish();
}

test('numbers, leases and lengths at their edges are written as protobuf does, and read back', () => {
  const cases = [
    ...edges.flatMap((n) => [
      { ...plain, createRevision: n },
      { ...plain, modRevision: n },
      { ...plain, version: n },
    ]),
    ...leases.map((lease) => ({ ...plain, lease })),
    ...[0, 1, 127, 128, 16_384].map((length) => ({ ...plain, value: new Uint8Array(length).fill(7) })),
    { ...plain, key: new Uint8Array(0), value: new Uint8Array(0), createRevision: 0, modRevision: 0, version: 0 },
  ];
  for (const kv of cases) {
    const message = keyValueMessage(kv);
    expect(Buffer.compare(message, canonical(kv))).toBe(0);
    expect(readKeyValue(Reader.create(message), message.length)).toEqual(kv);
  }
});

test('a list of key values is the fields of a message', () => {
  const random = seededRandom(1);
  const kvs = Array.from({ length: 300 }, (_, i) => ({
    ...plain,
    key: bytes(`key/${i}`),
    value: new Uint8Array(random.uint32() % 300).fill(i),
    modRevision: random.uint32(),
    lease: leases[i % leases.length]!,
  }));
  const out = new Uint8Array(1 + keyValueFieldsSize(18, kvs) + 1);
  expect(writeKeyValueFields(out, 1, 18, kvs)).toBe(out.length - 1);
  expect([out[0], out.at(-1)]).toEqual([0, 0]);
  const list = root.lookupType('List').decode(out.subarray(1, -1)) as unknown as { kvs: KeyValue[] };
  expect(list.kvs.length).toBe(300);
  for (const [i, found] of list.kvs.entries()) {
    expect(Buffer.compare(found.value, kvs[i]!.value)).toBe(0);
    expect(Number(found.modRevision)).toBe(kvs[i]!.modRevision);
  }
  expect(keyValueFieldsSize(18, [])).toBe(0);
});
