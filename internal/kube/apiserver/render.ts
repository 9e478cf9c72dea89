import { stringify } from 'yaml';
import { utf8 } from '../../base/bytes.ts';
import { apiVersionOf, type KindInfo } from '../api/kinds.ts';
import type { JsonObject } from '../machinery/json.ts';
import { badRequest, type Status } from '../machinery/status.ts';
import { type IncludeObject, makeTable, partialMetadata } from '../machinery/table.ts';
import type { Negotiated } from './negotiation.ts';
import { protobufMediaType } from './protobuf/decode.ts';
import { encodeAnswer, type ProtobufForm } from './protobuf/encode.ts';
import { layoutOf } from './protobuf/layout.ts';
import type { StoredRecord } from './record.ts';
import type { Core } from './context.ts';
import type { Registry } from './registry.ts';
import type { Reply } from './reply.ts';

/** Objects as the client wants them: JSON or YAML, whole, as Table or as PartialObjectMetadata. */

export function includeObjectOf(query: URLSearchParams): IncludeObject {
  const value = query.get('includeObject') ?? '';
  if (value === '' || value === 'Metadata') return 'Metadata';
  if (value === 'None' || value === 'Object') return value;
  throw badRequest(`unrecognized includeObject value: ${JSON.stringify(value)}`);
}

const contentTypes = { json: 'application/json', yaml: 'application/yaml', protobuf: protobufMediaType } as const;

export function encode(value: unknown, form: Negotiated): Uint8Array {
  if (form.protobuf !== undefined) return encodeAnswer(value as JsonObject, form.protobuf);
  return utf8(form.format === 'yaml' ? stringify(value, { aliasDuplicateObjects: false }) : JSON.stringify(value));
}

export function reply(pieces: Uint8Array[], form: Negotiated, status: number, warnings: readonly string[]): Reply {
  return { status, headers: { 'content-type': contentTypes[form.format] }, body: pieces, warnings };
}

/** How objects of the kind are written as protobuf; undefined for those that have no such form. */
export function protobufForm(core: Core, kind: KindInfo): ProtobufForm | undefined {
  if (kind.custom !== undefined || layoutOf(kind.schema) === undefined) return undefined;
  return { definition: kind.schema, source: core.schemas };
}

/** An object, Status or other document that is never a table. */
export function documentReply(
  value: JsonObject | Status,
  form: Negotiated,
  status: number,
  warnings: readonly string[],
): Reply {
  return reply([encode(value, form)], form, status, warnings);
}

/** One object in the negotiated shape. */
export function transform(
  kind: KindInfo,
  object: JsonObject,
  form: Negotiated,
  include: IncludeObject,
  nowMs: number,
): JsonObject {
  if (form.as === 'object') return object;
  if (form.as === 'partial') return { ...partialMetadata(object), apiVersion: `meta.k8s.io/${form.metaVersion}` };
  const metadata = object.metadata as JsonObject;
  const table = makeTable(kind.printer, [object], {
    nowMs,
    listMetadata: { resourceVersion: metadata.resourceVersion },
    includeObject: include,
    headers: true,
  });
  table.apiVersion = `meta.k8s.io/${form.metaVersion}`;
  return table;
}

/** A stored object as JSON bytes in the kind's form, not parsed unless it is stored in another. */
export function recordPieces(
  registry: Registry,
  kind: KindInfo,
  record: StoredRecord,
  revision?: number,
): Uint8Array[] {
  if (registry.conversions.isNative(kind, record)) return record.pieces(revision);
  return [utf8(JSON.stringify(registry.objectOf(kind, record, revision)))];
}

const chunkBytes = 1024 * 1024;

/** Up to this size copying takes less than sending more than one piece. */
const joinedBytesMax = 64 * 1024;

/** A stored object as it is answered; undefined when it has to be made anew for the form, or is stored in another. */
export function recordReply(
  registry: Registry,
  kind: KindInfo,
  record: StoredRecord,
  form: Negotiated,
  status: number,
  warnings: readonly string[],
): Reply | undefined {
  if (form.as !== 'object' || form.format !== 'json' || !registry.conversions.isNative(kind, record)) return undefined;
  const { jsonLength } = record;
  if (jsonLength > joinedBytesMax) return reply(record.pieces(), form, status, warnings);
  const joined = Buffer.allocUnsafe(jsonLength);
  record.copyTo(joined, 0);
  return reply([joined], form, status, warnings);
}

/** Copies many small pieces into few large ones. */
export class Chunks {
  readonly chunks: Uint8Array[] = [];
  #current = Buffer.allocUnsafe(64 * 1024);
  #used = 0;

  add(piece: Uint8Array): void {
    this.#need(piece.length);
    this.#current.set(piece, this.#used);
    this.#used += piece.length;
  }

  /** The JSON of a record, as it is stored. */
  addRecord(record: StoredRecord): void {
    this.#need(record.jsonLength);
    this.#used = record.copyTo(this.#current, this.#used);
  }

  #need(bytes: number): void {
    if (this.#used + bytes <= this.#current.length) return;
    if (this.#used > 0) this.chunks.push(this.#current.subarray(0, this.#used));
    this.#current = Buffer.allocUnsafe(Math.max(chunkBytes, bytes));
    this.#used = 0;
  }

  finish(): Uint8Array[] {
    if (this.#used > 0) this.chunks.push(this.#current.subarray(0, this.#used));
    return this.chunks;
  }
}

const comma = utf8(',');
const listEnd = utf8(']}\n');

export interface ListMetadata {
  resourceVersion: string;
  continue?: string;
  remainingItemCount?: number;
}

/** A list in the negotiated shape; whole objects in JSON are spliced from the stored bytes. */
export function listReply(
  registry: Registry,
  kind: KindInfo,
  records: readonly { record: StoredRecord }[],
  metadata: ListMetadata,
  form: Negotiated,
  include: IncludeObject,
  nowMs: number,
  warnings: readonly string[],
): Reply {
  if (form.as === 'object' && form.format === 'json') {
    const chunks = new Chunks();
    chunks.add(
      utf8(
        `{"kind":${JSON.stringify(kind.listKind)},"apiVersion":${JSON.stringify(apiVersionOf(kind))},"metadata":${JSON.stringify(metadata)},"items":[`,
      ),
    );
    for (let i = 0; i < records.length; i++) {
      if (i > 0) chunks.add(comma);
      const { record } = records[i]!;
      if (registry.conversions.isNative(kind, record)) chunks.addRecord(record);
      else for (const piece of recordPieces(registry, kind, record)) chunks.add(piece);
    }
    chunks.add(listEnd);
    return reply(chunks.finish(), form, 200, warnings);
  }
  const objects = records.map(({ record }) => registry.objectOf(kind, record));
  return documentReply(listDocument(kind, objects, metadata, form, include, nowMs), form, 200, warnings);
}

export function listDocument(
  kind: KindInfo,
  objects: JsonObject[],
  metadata: ListMetadata,
  form: Negotiated,
  include: IncludeObject,
  nowMs: number,
): JsonObject {
  const listMetadata: JsonObject = { ...metadata };
  if (form.as === 'table') {
    const table = makeTable(kind.printer, objects, { nowMs, listMetadata, includeObject: include, headers: true });
    table.apiVersion = `meta.k8s.io/${form.metaVersion}`;
    return table;
  }
  if (form.as === 'partial') {
    const apiVersion = `meta.k8s.io/${form.metaVersion}`;
    const items = objects.map((object) => ({ ...partialMetadata(object), apiVersion }));
    return { kind: 'PartialObjectMetadataList', apiVersion, metadata: listMetadata, items };
  }
  return { kind: kind.listKind, apiVersion: apiVersionOf(kind), metadata: listMetadata, items: objects };
}
