/**
 * How an API object lies in the store: a small header for what lists and watches filter by, and JSON bytes with a known place where
 * resourceVersion goes, so that serving is splicing and never parsing.
 *
 *     0  u8   0x4b ('K')
 *     1  u8   format version, 1
 *     2  u32  length of the header (little-endian)
 *     6  u32  offset of the resourceVersion's place in the body
 *    10       header: JSON {v: apiVersion of the body, l?: labels, f?: selectable fields, s?: mark of a custom resource's schema}
 *             body: JSON without metadata.resourceVersion
 */
import { DecodeError, utf8Text } from '../../base/bytes.ts';
import type { JsonObject } from '../machinery/json.ts';

const magic = 0x4b;
const formatVersion = 1;
const fixedLength = 10;

/** What can be known of a stored object without parsing it. */
export interface RecordHeader {
  /** apiVersion of the body. */
  readonly v: string;
  readonly l?: Readonly<Record<string, string>>;
  readonly f?: Readonly<Record<string, string>>;
  /** Mark of the custom resource's schema that the body fits. */
  readonly s?: string;
}

/** A Buffer's methods work on any array. */
const { copy } = Buffer.prototype as unknown as {
  copy(this: Uint8Array, target: Uint8Array, targetStart: number, sourceStart: number, sourceEnd: number): number;
};

/** Little-endian. A DataView would make a small array give up its memory to a buffer of its own. */
function uint32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/** Whether bytes in the store are an object that is not encrypted. */
export function isRecord(value: Uint8Array): boolean {
  return value[0] === magic;
}

/** A stored object and the revision that is its resourceVersion. Views into the store's bytes: not to be changed. */
export class StoredRecord {
  readonly value: Uint8Array;
  readonly revision: number;
  readonly #bodyAt: number;
  readonly #splitAt: number;
  #header: RecordHeader | undefined;

  constructor(value: Uint8Array, revision: number) {
    if (value.length < fixedLength || value[0] !== magic) throw new DecodeError('stored object: not a record');
    if (value[1] !== formatVersion) throw new DecodeError(`stored object: unknown format version ${value[1]}`);
    this.value = value;
    this.revision = revision;
    this.#bodyAt = fixedLength + uint32(value, 2);
    this.#splitAt = this.#bodyAt + uint32(value, 6);
    if (this.#splitAt > value.length) throw new DecodeError('stored object: cut short');
  }

  get header(): RecordHeader {
    this.#header ??= JSON.parse(utf8Text(this.value.subarray(fixedLength, this.#bodyAt))) as RecordHeader;
    return this.#header;
  }

  /** The object's JSON in three pieces, with `revision` (its own when left out) as resourceVersion. */
  pieces(revision = this.revision): [Uint8Array, Uint8Array, Uint8Array] {
    return [
      this.value.subarray(this.#bodyAt, this.#splitAt),
      Buffer.from(`"resourceVersion":"${revision}",`),
      this.value.subarray(this.#splitAt),
    ];
  }

  /** Length of the JSON that `pieces` gives. */
  get jsonLength(): number {
    return this.value.length - this.#bodyAt + 21 + String(this.revision).length;
  }

  /** Writes the JSON of `pieces` at an offset, where there is room for it; no view of the value is made. Gives the offset behind it. */
  copyTo(target: Buffer, at: number): number {
    let next = at + copy.call(this.value, target, at, this.#bodyAt, this.#splitAt);
    next += target.write(`"resourceVersion":"${this.revision}",`, next, 'latin1');
    return next + copy.call(this.value, target, next, this.#splitAt, this.value.length);
  }

  /** A fresh parsed object with its resourceVersion. */
  object(revision = this.revision): JsonObject {
    const object = JSON.parse(utf8Text(this.value.subarray(this.#bodyAt))) as JsonObject;
    (object.metadata as JsonObject).resourceVersion = String(revision);
    return object;
  }
}

const first = ['name', 'generateName', 'namespace', 'uid'];

/** `object` as a record; its resourceVersion is left out. */
export function encodeRecord(
  object: JsonObject,
  fields: Record<string, string> | undefined,
  mark?: string,
): Uint8Array {
  const metadata = object.metadata as JsonObject;
  let head = `{"kind":${JSON.stringify(object.kind)},"apiVersion":${JSON.stringify(object.apiVersion)},"metadata":{`;
  for (const key of first) {
    const value = metadata[key];
    if (value !== undefined) head += `${JSON.stringify(key)}:${JSON.stringify(value)},`;
  }
  // creationTimestamp is last of the metadata, so that what stands before it can always end in a comma.
  let tail = '';
  for (const key in metadata) {
    if (key === 'resourceVersion' || key === 'creationTimestamp' || first.includes(key)) continue;
    const value = metadata[key];
    if (value !== undefined) tail += `${JSON.stringify(key)}:${JSON.stringify(value)},`;
  }
  tail += `"creationTimestamp":${JSON.stringify(metadata.creationTimestamp ?? null)}}`;
  for (const key in object) {
    if (key === 'kind' || key === 'apiVersion' || key === 'metadata') continue;
    const value = object[key];
    if (value !== undefined) tail += `,${JSON.stringify(key)}:${JSON.stringify(value)}`;
  }
  tail += '}';
  const header: { v: unknown; l?: unknown; f?: unknown; s?: string } = { v: object.apiVersion };
  if (metadata.labels !== undefined && metadata.labels !== null) header.l = metadata.labels;
  if (fields !== undefined) header.f = fields;
  if (mark !== undefined) header.s = mark;
  const headerText = JSON.stringify(header);
  const headerLength = Buffer.byteLength(headerText);
  const headLength = Buffer.byteLength(head);
  const out = Buffer.allocUnsafe(fixedLength + headerLength + headLength + Buffer.byteLength(tail));
  out[0] = magic;
  out[1] = formatVersion;
  out.writeUInt32LE(headerLength, 2);
  out.writeUInt32LE(headLength, 6);
  out.write(headerText, fixedLength);
  out.write(head, fixedLength + headerLength);
  out.write(tail, fixedLength + headerLength + headLength);
  return new Uint8Array(out.buffer, out.byteOffset, out.byteLength);
}
