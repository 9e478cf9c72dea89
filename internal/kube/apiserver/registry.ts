import { CollectionSizes } from './flow-control/width.ts';
import { utf8, utf8Text } from '../../base/bytes.ts';
import { errorCode } from '../../base/errors.ts';
import { type Clock, sleep } from '../../base/clock.ts';
import type { Compare, Durability, KeyValue, RequestOp, Store } from '../../store/api.ts';
import type { KindInfo } from '../api/kinds.ts';
import type { JsonObject } from '../machinery/json.ts';
import { alreadyExists, badRequest, expired, failure, internalError } from '../machinery/status.ts';
import type { Conversions } from './convert.ts';
import { listPrefix, objectKey, prefixEnd, resourcePrefix } from './keys.ts';
import { type AtRest, stateRetries } from './encryption/at-rest.ts';
import { encodeRecord, isRecord, StoredRecord } from './record.ts';
import { type Selection, selects } from './selection.ts';

/**
 * What else a write does in the same transaction: allocation of addresses and ports. When `compare` fails the write does not happen and
 * `SideConflict` is thrown, so that the allocator can choose again.
 */
export interface SideEffects {
  readonly compare: readonly Compare[];
  readonly ops: readonly RequestOp[];
}

export class SideConflict extends Error {}

/** The object changed (or vanished) between reading and writing. */
export class WriteConflict extends Error {
  /** What is there now. */
  readonly current: StoredRecord | undefined;
  constructor(current: StoredRecord | undefined) {
    super('the object was changed by another writer');
    this.current = current;
  }
}

export interface ListRequest {
  readonly kind: KindInfo;
  readonly namespace: string;
  readonly selection: Selection;
  /** 0: no limit. */
  readonly limit: number;
  /** Read at this revision; 0: the newest. */
  readonly revision: number;
  /** First key of the next page, relative to the list's prefix. */
  readonly start: string;
}

export interface ListResult {
  readonly revision: number;
  readonly records: { readonly rest: string; readonly record: StoredRecord }[];
  /** Set when there is more: where the next page starts, relative to the list's prefix. */
  readonly next: string | undefined;
  /** How many objects follow after this page, when that is known (no selector). */
  readonly remaining: number | undefined;
}

const pageSize = 500;
const futureWaitMs = 3000;
const futureStepMs = 50;

const eventPrefix = '/registry/core/events/';
const eventSeconds = 3600;
const leaseReuseSeconds = 180;

/** Objects in the store: bytes in, bytes out, optimistic concurrency, one transaction a write. */
export class Registry {
  readonly store: Store;
  readonly conversions: Conversions;
  /** What lists read. */
  readonly sizes = new CollectionSizes();

  readonly #clock: Clock;
  readonly #atRest: AtRest;
  #eventLease: { id: Promise<bigint>; until: number } | undefined;

  constructor(store: Store, conversions: Conversions, clock: Clock, atRest: AtRest) {
    this.store = store;
    this.#atRest = atRest;
    this.conversions = conversions;
    this.#clock = clock;
  }

  /** Events live an hour. They share leases, a new one every three minutes, as upstream's lease manager does. */
  async #leaseFor(kind: KindInfo): Promise<{ lease?: bigint }> {
    if (resourcePrefix(kind) !== eventPrefix) return {};
    const now = this.#clock.monotonic();
    if (this.#eventLease === undefined || now > this.#eventLease.until) {
      const id = this.store.leaseGrant(eventSeconds + leaseReuseSeconds).then((lease) => lease.id);
      const entry = { id, until: now + leaseReuseSeconds * 1000 };
      this.#eventLease = entry;
      id.catch(() => {
        if (this.#eventLease === entry) this.#eventLease = undefined;
      });
    }
    return { lease: await this.#eventLease.id };
  }

  async get(kind: KindInfo, namespace: string, name: string): Promise<StoredRecord | undefined> {
    const response = await this.store.range({ key: utf8(objectKey(kind, namespace, name)) });
    const kv = response.kvs[0];
    if (kv === undefined) return undefined;
    const record = await this.#recordOf(kv);
    await this.conversions.prepare(kind, [record]);
    return record;
  }

  /** The object in the kind's own form. */
  async getObject(kind: KindInfo, namespace: string, name: string): Promise<JsonObject | undefined> {
    const record = await this.get(kind, namespace, name);
    return record === undefined ? undefined : this.objectOf(kind, record);
  }

  objectOf(kind: KindInfo, record: StoredRecord, revision?: number): JsonObject {
    return this.conversions.fromStorage(kind, record, revision);
  }

  /** Whether the selection takes the record of this kind. A record that needs it has been prepared. */
  selects(kind: KindInfo, selection: Selection, record: StoredRecord, rest: string): boolean {
    if (kind.custom === undefined || selection.fields.length === 0) return selects(selection, record, rest);
    return selects(selection, record, rest, () => {
      const object = this.objectOf(kind, record);
      return Object.fromEntries(Object.entries(kind.selectableFields).map(([field, read]) => [field, read(object)]));
    });
  }

  async list(request: ListRequest): Promise<ListResult> {
    const { kind, namespace, selection, limit } = request;
    const resource = resourcePrefix(kind);
    const prefix = listPrefix(kind, namespace);
    if (selection.onlyName !== undefined && (!kind.namespaced || namespace !== '')) {
      return this.#listOne(request, objectKey(kind, namespace, selection.onlyName), resource);
    }
    const end = prefixEnd(prefix);
    const records: ListResult['records'][number][] = [];
    let key = prefix + request.start;
    let revision = request.revision;
    for (;;) {
      const want = limit === 0 ? 0 : selection.all ? limit - records.length : Math.max(pageSize, limit);
      const response = await this.#range({
        key: utf8(key),
        rangeEnd: end,
        ...(want > 0 ? { limit: want } : {}),
        ...(revision > 0 ? { revision } : {}),
      });
      if (revision === 0) revision = response.revision;
      if (key === prefix) this.sizes.note(kind.group, kind.plural, namespace, response.count);
      let last = '';
      const page: StoredRecord[] = [];
      for (const kv of response.kvs)
        page.push(isRecord(kv.value) ? plainRecord(kv, kv.value) : await this.#recordOf(kv));
      await this.conversions.prepare(kind, page);
      for (let i = 0; i < response.kvs.length; i++) {
        last = utf8Text(response.kvs[i]!.key);
        const rest = last.slice(resource.length);
        const record = page[i]!;
        if (!this.selects(kind, selection, record, rest)) continue;
        records.push({ rest, record });
        if (limit > 0 && records.length === limit) {
          const more = response.more || i + 1 < response.kvs.length;
          if (!more) return { revision, records, next: undefined, remaining: undefined };
          return {
            revision,
            records,
            next: `${last.slice(prefix.length)}\0`,
            remaining: selection.all ? response.count - response.kvs.length : undefined,
          };
        }
      }
      if (!response.more || response.kvs.length === 0)
        return { revision, records, next: undefined, remaining: undefined };
      key = `${last}\0`;
    }
  }

  async #listOne(request: ListRequest, key: string, resource: string): Promise<ListResult> {
    const response = await this.#range({
      key: utf8(key),
      ...(request.revision > 0 ? { revision: request.revision } : {}),
    });
    const revision = request.revision > 0 ? request.revision : response.revision;
    const kv = response.kvs[0];
    const rest = key.slice(resource.length);
    const record = kv === undefined ? undefined : await this.#recordOf(kv);
    if (record !== undefined) await this.conversions.prepare(request.kind, [record]);
    const found = record !== undefined && this.selects(request.kind, request.selection, record, rest);
    return { revision, records: found ? [{ rest, record }] : [], next: undefined, remaining: undefined };
  }

  /** Resolves once this member has the revision that a client has seen on another. Throws 504 when it does not come within three seconds, as upstream. */
  async reached(revision: number): Promise<void> {
    for (let waited = 0; revision > this.store.revision; waited += futureStepMs) {
      if (waited >= futureWaitMs) throw tooLargeResourceVersion(revision, this.store.revision);
      await sleep(this.#clock, futureStepMs);
    }
  }

  async #range(request: Parameters<Store['range']>[0]): ReturnType<Store['range']> {
    try {
      return await this.store.range(request);
    } catch (error) {
      const code = errorCode(error) ?? '';
      if (/COMPACTED/i.test(code)) throw expired('The resourceVersion for the provided list is too old.');
      if (/FUTURE/i.test(code)) throw tooLargeResourceVersion(request.revision ?? 0, this.store.revision);
      throw error;
    }
  }

  /** Throws 409 AlreadyExists, SideConflict. */
  async create(
    kind: KindInfo,
    namespace: string,
    name: string,
    object: JsonObject,
    side?: SideEffects,
  ): Promise<StoredRecord> {
    const path = objectKey(kind, namespace, name);
    const key = utf8(path);
    const value = await this.#encode(kind, object);
    for (let tries = 0; ; tries++) {
      const put = this.#put(kind, path, value, await this.#leaseFor(kind));
      const response = await this.store.txn(
        {
          compare: [
            { key, target: 'create', result: 'equal', value: 0 },
            ...this.#atRest.guard(resourcePrefix(kind)),
            ...(side?.compare ?? []),
          ],
          success: [put, ...(side?.ops ?? [])],
          failure: [{ op: 'range', request: { key, keysOnly: true } }],
        },
        durability(kind, namespace),
      );
      if (response.succeeded) return new StoredRecord(value, response.revision);
      const found = response.responses[0];
      if (found?.op === 'range' && found.response.kvs.length > 0)
        throw alreadyExists({ group: kind.group, resource: kind.plural }, name);
      if (!(await this.#keysChanged(kind, tries))) throw new SideConflict();
    }
  }

  #put(kind: KindInfo, path: string, value: Uint8Array, lease: { lease?: bigint }): RequestOp {
    const stored = this.#atRest.seal(resourcePrefix(kind), path, value);
    return { op: 'put', request: { key: utf8(path), value: stored, ...lease } };
  }

  /** Whether a write failed because it went by keys of encryption that are no longer the newest. */
  async #keysChanged(kind: KindInfo, tries: number): Promise<boolean> {
    const guarded = this.#atRest.guard(resourcePrefix(kind)).length > 0;
    return guarded && tries < stateRetries && (await this.#atRest.refresh());
  }

  /** Replaces the object if its revision is still `expected`. Throws WriteConflict, SideConflict. */
  async update(
    kind: KindInfo,
    namespace: string,
    name: string,
    expected: number,
    object: JsonObject,
    side?: SideEffects,
  ): Promise<StoredRecord> {
    const value = await this.#encode(kind, object);
    const path = objectKey(kind, namespace, name);
    const lease = await this.#leaseFor(kind);
    const put = (): RequestOp => this.#put(kind, path, value, lease);
    const revision = await this.#write(kind, namespace, utf8(path), expected, put, side);
    return new StoredRecord(value, revision);
  }

  /** The same as part of another object's write. That fails with SideConflict unless the revision is still `expected`. */
  async besides(
    kind: KindInfo,
    namespace: string,
    name: string,
    expected: number,
    object: JsonObject,
  ): Promise<SideEffects> {
    const path = objectKey(kind, namespace, name);
    const put = this.#put(kind, path, await this.#encode(kind, object), await this.#leaseFor(kind));
    const guard = this.#atRest.guard(resourcePrefix(kind));
    return { compare: [{ key: utf8(path), target: 'mod', result: 'equal', value: expected }, ...guard], ops: [put] };
  }

  /** Removes the object if its revision is still `expected`; gives the revision of the removal. Throws WriteConflict, SideConflict. */
  async delete(kind: KindInfo, namespace: string, name: string, expected: number, side?: SideEffects): Promise<number> {
    const key = utf8(objectKey(kind, namespace, name));
    return this.#write(kind, namespace, key, expected, () => ({ op: 'delete', request: { key } }), side);
  }

  async #write(
    kind: KindInfo,
    namespace: string,
    key: Uint8Array,
    expected: number,
    op: () => RequestOp,
    side: SideEffects | undefined,
  ): Promise<number> {
    let kv: KeyValue | undefined;
    for (let tries = 0; ; tries++) {
      const response = await this.store.txn(
        {
          compare: [
            { key, target: 'mod', result: 'equal', value: expected },
            ...this.#atRest.guard(resourcePrefix(kind)),
            ...(side?.compare ?? []),
          ],
          success: [op(), ...(side?.ops ?? [])],
          failure: [{ op: 'range', request: { key } }],
        },
        durability(kind, namespace),
      );
      if (response.succeeded) return response.revision;
      const found = response.responses[0];
      kv = found?.op === 'range' ? found.response.kvs[0] : undefined;
      if (kv === undefined || kv.modRevision !== expected) break;
      if (!(await this.#keysChanged(kind, tries))) throw new SideConflict();
    }
    const current = kv === undefined ? undefined : await this.#recordOf(kv);
    if (current !== undefined) await this.conversions.prepare(kind, [current]);
    throw new WriteConflict(current);
  }

  async #recordOf(kv: KeyValue): Promise<StoredRecord> {
    return plainRecord(kv, await this.#atRest.openOrRefresh(utf8Text(kv.key), kv.value));
  }

  async #encode(kind: KindInfo, object: JsonObject): Promise<Uint8Array> {
    const stored = await this.conversions.toStorage(kind, object);
    return encodeRecord(stored.object, this.conversions.selectableFields(kind, stored.object), stored.mark);
  }
}

function plainRecord(kv: KeyValue, value: Uint8Array): StoredRecord {
  try {
    return new StoredRecord(value, kv.modRevision);
  } catch (error) {
    throw internalError(`${utf8Text(kv.key)}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** Leases of nodes are renewed all the time, and one that is lost is soon renewed; those elsewhere elect leaders. */
function durability(kind: KindInfo, namespace: string): Durability {
  if (!kind.volatile) return 'durable';
  if (kind.plural !== 'leases') return 'volatile';
  return namespace === 'kube-node-lease' ? 'deferred' : 'durable';
}

/** A resourceVersion from a request. Throws 400. */
export function parseRevision(text: string | null): number | undefined {
  if (text === null || text === '') return undefined;
  if (!/^\d{1,15}$/.test(text))
    throw badRequest(
      `Invalid value: ${JSON.stringify(text)}: strconv.ParseUint: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  return Number(text);
}

/** 504 with the cause that clients look for when they are ahead of the server. */
function tooLargeResourceVersion(asked: number, have: number): Error {
  return failure(504, 'Timeout', `Timeout: Too large resource version: ${asked}, current: ${have}`, {
    causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    retryAfterSeconds: 1,
  });
}
