import type { Reader } from 'protobufjs/minimal.js';
import { DecodeError, emptyBytes } from '../base/bytes.ts';
import type { KeyValue } from './api.ts';

/** A 64-bit number as protobufjs takes it. */
export function longBits(value: bigint): { low: number; high: number; unsigned: boolean } {
  const bits = BigInt.asUintN(64, value);
  return { low: Number(bits & 0xffff_ffffn) | 0, high: Number(bits >> 32n) | 0, unsigned: false };
}

/**
 * `mvccpb.KeyValue` (api/mvccpb/kv.proto) is written by hand: ranges and watches are little else, and with all sizes known before each goes into its
 * place at once. Zero and empty fields are left out, as Go does.
 */
const tags = { key: 10, createRevision: 16, modRevision: 24, version: 32, value: 42, lease: 48 } as const;

/** Bytes of `writeKeyValueFields`. */
export function keyValueFieldsSize(tag: number, kvs: readonly KeyValue[]): number {
  let bytes = kvs.length * varintSize(tag);
  for (const kv of kvs) {
    const size = keyValueSize(kv);
    bytes += varintSize(size) + size;
  }
  return bytes;
}

/** Key values one behind the other, each as a field of its message with this tag. Returns where they end. */
export function writeKeyValueFields(out: Uint8Array, start: number, tag: number, kvs: readonly KeyValue[]): number {
  let at = start;
  for (const kv of kvs) {
    at = writeVarint(out, at, tag);
    at = writeVarint(out, at, keyValueSize(kv));
    at = writeKeyValue(out, at, kv);
  }
  return at;
}

/** One key value as a message of its own. */
export function keyValueMessage(kv: KeyValue): Uint8Array {
  const out = new Uint8Array(keyValueSize(kv));
  writeKeyValue(out, 0, kv);
  return out;
}

function keyValueSize(kv: KeyValue): number {
  return (
    bytesSize(kv.key.length) +
    numberSize(kv.createRevision) +
    numberSize(kv.modRevision) +
    numberSize(kv.version) +
    bytesSize(kv.value.length) +
    (kv.lease === 0n ? 0 : 1 + wideVarint(kv.lease).length)
  );
}

function bytesSize(length: number): number {
  return length === 0 ? 0 : 1 + varintSize(length) + length;
}

function numberSize(value: number): number {
  return value === 0 ? 0 : 1 + varintSize(value);
}

/** Returns where it ends. */
function writeKeyValue(out: Uint8Array, start: number, kv: KeyValue): number {
  let at = writeBytes(out, start, tags.key, kv.key);
  at = writeNumber(out, at, tags.createRevision, kv.createRevision);
  at = writeNumber(out, at, tags.modRevision, kv.modRevision);
  at = writeNumber(out, at, tags.version, kv.version);
  at = writeBytes(out, at, tags.value, kv.value);
  if (kv.lease === 0n) return at;
  out[at] = tags.lease;
  const lease = wideVarint(kv.lease);
  out.set(lease, at + 1);
  return at + 1 + lease.length;
}

function writeBytes(out: Uint8Array, at: number, tag: number, value: Uint8Array): number {
  if (value.length === 0) return at;
  out[at] = tag;
  const start = writeVarint(out, at + 1, value.length);
  out.set(value, start);
  return start + value.length;
}

function writeNumber(out: Uint8Array, at: number, tag: number, value: number): number {
  if (value === 0) return at;
  out[at] = tag;
  return writeVarint(out, at + 1, value);
}

/** Of a number from 0 to 2^53. */
function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) size++;
  return size;
}

/** Returns where it ends. */
function writeVarint(out: Uint8Array, start: number, value: number): number {
  let at = start;
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) out[at++] = (rest % 0x80) | 0x80;
  out[at] = rest;
  return at + 1;
}

/** Of a signed number of 64 bits. */
function wideVarint(value: bigint): number[] {
  const out: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest >= 0x80n; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
  out.push(Number(rest));
  return out;
}

const noVersion: KeyValue = {
  key: emptyBytes,
  value: emptyBytes,
  createRevision: 0,
  modRevision: 0,
  version: 0,
  lease: 0n,
};

/** A version as etcd stores it in its bucket `key`: the revision is the key, a deleted one has a mark behind it and only its name as value. */
export function storedVersion(kv: KeyValue, sub: number): { key: Uint8Array; value: Uint8Array } {
  const deleted = kv.version === 0;
  const key = new Uint8Array(deleted ? 18 : 17);
  const view = new DataView(key.buffer);
  view.setBigUint64(0, BigInt(kv.modRevision));
  key[8] = 0x5f;
  view.setBigUint64(9, BigInt(sub));
  if (deleted) key[17] = 0x74;
  return { key, value: keyValueMessage(deleted ? { ...noVersion, key: kv.key } : kv) };
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

/** Reads a KeyValue up to `end`; key and value are views of the reader's bytes. Unknown fields are skipped. */
export function readKeyValue(r: Reader, end: number): KeyValue {
  const kv: KeyValue = { ...noVersion };
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
