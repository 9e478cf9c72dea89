import { type Reader, Writer } from 'protobufjs/minimal.js';
import { DecodeError, emptyBytes } from '../base/bytes.ts';
import type { KeyValue } from './api.ts';

/** A 64-bit number as protobufjs takes it. */
export function longBits(value: bigint): { low: number; high: number; unsigned: boolean } {
  const bits = BigInt.asUintN(64, value);
  return { low: Number(bits & 0xffff_ffffn) | 0, high: Number(bits >> 32n) | 0, unsigned: false };
}

/** The fields of `mvccpb.KeyValue` (api/mvccpb/kv.proto), without a length before them. Zero and empty fields are left out, as Go does. */
export function writeKeyValue(w: Writer, kv: KeyValue): Writer {
  if (kv.key.length > 0) w.uint32(10).bytes(kv.key);
  if (kv.createRevision !== 0) w.uint32(16).int64(kv.createRevision);
  if (kv.modRevision !== 0) w.uint32(24).int64(kv.modRevision);
  if (kv.version !== 0) w.uint32(32).int64(kv.version);
  if (kv.value.length > 0) w.uint32(42).bytes(kv.value);
  if (kv.lease !== 0n) w.uint32(48).int64(longBits(kv.lease) as never);
  return w;
}

/** A version as etcd stores it in its bucket `key`: the revision is the key, a deleted one has a mark behind it and only its name as value. */
export function storedVersion(kv: KeyValue, sub: number): { key: Uint8Array; value: Uint8Array } {
  const deleted = kv.version === 0;
  const key = new Uint8Array(deleted ? 18 : 17);
  const view = new DataView(key.buffer);
  view.setBigUint64(0, BigInt(kv.modRevision));
  key[8] = 0x5f;
  view.setBigUint64(9, BigInt(sub));
  if (deleted) key[17] = 0x74;
  const w = Writer.create();
  const value = deleted ? w.uint32(10).bytes(kv.key).finish() : writeKeyValue(w, kv).finish();
  return { key, value };
}

/** A 64-bit number of protobufjs: exact as a number up to 2^53, beyond that clamped. */
export function safeNumber(value: unknown): number {
  if (typeof value === 'number') return value;
  const { low, high } = value as { low: number; high: number };
  const number = high * 0x1_0000_0000 + (low >>> 0);
  return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, number));
}

/** A 64-bit number of protobufjs as a signed bigint. */
export function signedBigint(value: unknown): bigint {
  if (typeof value === 'number') return BigInt(value);
  const { low, high } = value as { low: number; high: number };
  return BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low >>> 0));
}

/** Reads what `writeKeyValue` wrote up to `end`; key and value are views of the reader's bytes. Unknown fields are skipped. */
export function readKeyValue(r: Reader, end: number): KeyValue {
  const kv: KeyValue = {
    key: emptyBytes,
    value: emptyBytes,
    createRevision: 0,
    modRevision: 0,
    version: 0,
    lease: 0n,
  };
  while (r.pos < end) {
    const tag = r.uint32();
    switch (tag) {
      case 10:
        kv.key = r.bytes();
        break;
      case 16:
        kv.createRevision = safeNumber(r.int64());
        break;
      case 24:
        kv.modRevision = safeNumber(r.int64());
        break;
      case 32:
        kv.version = safeNumber(r.int64());
        break;
      case 42:
        kv.value = r.bytes();
        break;
      case 48:
        kv.lease = signedBigint(r.int64());
        break;
      default:
        r.skipType(tag & 7);
    }
  }
  if (r.pos !== end) throw new DecodeError('a field reaches beyond its KeyValue');
  return kv;
}
