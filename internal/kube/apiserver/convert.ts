/**
 * Kinds that are stored in another form than they are asked for: events.k8s.io/v1 Events lie as core/v1 ones (KEP-383), custom resources in one version of
 * several.
 */
import { apiVersionOf, type KindInfo, type KindTable } from '../api/kinds.ts';
import { cloneJson, type JsonObject } from '../machinery/json.ts';
import { internalError } from '../machinery/status.ts';
import { resourcePrefix } from './keys.ts';
import type { StoredRecord } from './record.ts';

/** Asks a definition's webhook for objects in another version; same number and order. Throws StatusErrors. */
export type ConvertObjects = (definition: string, apiVersion: string, objects: JsonObject[]) => Promise<JsonObject[]>;

/** Between the form that is stored and the forms that are served. */
export class Conversions {
  readonly #kinds: KindTable;
  readonly #convert: ConvertObjects;
  readonly #sharing = new Map<string, KindInfo[]>();
  /** What a webhook made of records, for the time that they are in use; and the calls that will tell it, which all who want it wait for. */
  readonly #prepared = new WeakMap<StoredRecord, Map<string, JsonObject>>();
  readonly #asked = new WeakMap<StoredRecord, Map<string, Promise<void>>>();

  constructor(kinds: KindTable, convert: ConvertObjects) {
    this.#kinds = kinds;
    this.#convert = convert;
    for (const kind of kinds.all) {
      const prefix = resourcePrefix(kind);
      const list = this.#sharing.get(prefix) ?? [];
      list.push(kind);
      this.#sharing.set(prefix, list);
    }
  }

  /** Whether stored bytes can be served as they are. */
  isNative(kind: KindInfo, record: StoredRecord): boolean {
    if (kind.custom !== undefined)
      return record.header.s === kind.custom.schemaId && record.header.v === apiVersionOf(kind);
    return kind.storage === undefined;
  }

  /** Whether `prepare` has to come before `fromStorage`. */
  needsPreparing(kind: KindInfo, record: StoredRecord): boolean {
    return kind.custom?.conversion === 'Webhook' && record.header.v !== apiVersionOf(kind);
  }

  /** Has records converted by the webhook of their definition: those that nobody has asked it for yet in one call. */
  async prepare(kind: KindInfo, records: readonly StoredRecord[]): Promise<void> {
    const apiVersion = apiVersionOf(kind);
    const missing = records.filter(
      (record) => this.needsPreparing(kind, record) && this.#prepared.get(record)?.has(apiVersion) !== true,
    );
    if (missing.length === 0) return;
    const calls = new Set<Promise<void>>();
    const mine = missing.filter((record) => {
      const call = this.#asked.get(record)?.get(apiVersion);
      if (call !== undefined) calls.add(call);
      return call === undefined;
    });
    if (mine.length > 0) calls.add(this.#ask(kind, apiVersion, mine));
    await Promise.all(calls);
  }

  /** One call of the webhook. */
  #ask(kind: KindInfo, apiVersion: string, records: readonly StoredRecord[]): Promise<void> {
    const call = this.#convert(
      kind.custom!.definition,
      apiVersion,
      records.map((record) => record.object()),
    )
      .then((converted) => {
        for (const [index, record] of records.entries()) {
          const object = converted[index]!;
          kind.strategy.defaults?.(object);
          ofRecord(this.#prepared, record).set(apiVersion, object);
        }
      })
      .finally(() => {
        for (const record of records) this.#asked.get(record)?.delete(apiVersion);
      });
    for (const record of records) ofRecord(this.#asked, record).set(apiVersion, call);
    return call;
  }

  /** The object to store, and the mark of the schema that it fits. */
  async toStorage(kind: KindInfo, object: JsonObject): Promise<{ object: JsonObject; mark: string | undefined }> {
    const { custom } = kind;
    if (custom === undefined)
      return { object: kind.storage === undefined ? object : kind.storage.encode(object), mark: undefined };
    if (custom.storageVersion === kind.version) return { object, mark: custom.schemaId };
    const apiVersion = apiVersionOf({ group: kind.group, version: custom.storageVersion });
    let stored: JsonObject = { ...cloneJson(object), apiVersion };
    if (custom.conversion === 'Webhook') {
      const [converted] = await this.#convert(custom.definition, apiVersion, [object]);
      stored = converted!;
    }
    // A storage version that is not served has no kind: what lies in it is looked through at every read.
    const storage = this.#kinds.byResource(kind.group, custom.storageVersion, kind.plural);
    storage?.strategy.defaults?.(stored);
    return { object: stored, mark: storage?.custom?.schemaId };
  }

  /** A fresh object in the kind's own form. */
  fromStorage(kind: KindInfo, record: StoredRecord, revision?: number): JsonObject {
    const { custom } = kind;
    if (custom === undefined) {
      const object = record.object(revision);
      return kind.storage === undefined ? object : kind.storage.decode(object);
    }
    const apiVersion = apiVersionOf(kind);
    if (this.isNative(kind, record)) return record.object(revision);
    if (this.needsPreparing(kind, record)) {
      const ready = this.#prepared.get(record)?.get(apiVersion);
      if (ready === undefined) throw internalError(`an object of ${custom.definition} was not converted`);
      const object = cloneJson(ready);
      (object.metadata as JsonObject).resourceVersion = String(revision ?? record.revision);
      return object;
    }
    const object = record.object(revision);
    object.apiVersion = apiVersion;
    kind.strategy.defaults?.(object);
    return object;
  }

  /** An object of one version of a resource in another. */
  async between(from: KindInfo, to: KindInfo, object: JsonObject): Promise<JsonObject> {
    const apiVersion = apiVersionOf(to);
    if (from.custom !== undefined) {
      if (from.custom.conversion === 'Webhook') {
        const [converted] = await this.#convert(from.custom.definition, apiVersion, [object]);
        return converted!;
      }
      return { ...cloneJson(object), apiVersion };
    }
    const stored = from.storage === undefined ? object : from.storage.encode(cloneJson(object));
    const form = to.storage === undefined ? stored : to.storage.decode(cloneJson(stored));
    return { ...form, apiVersion, kind: to.kind };
  }

  /** What the record's header says for field selectors, for every kind that the object is served as. `object` is in storage form. */
  selectableFields(kind: KindInfo, object: JsonObject): Record<string, string> | undefined {
    // The fields of custom resources depend on the version: they are read from the object in that version.
    if (kind.custom !== undefined) return undefined;
    let out: Record<string, string> | undefined;
    for (const one of this.#sharing.get(resourcePrefix(kind)) ?? [kind]) {
      const readers = one.selectableFields;
      let form: JsonObject | undefined;
      for (const field in readers) {
        form ??= one.storage === undefined ? object : one.storage.decode(object);
        const value = readers[field]!(form);
        if (value === '') continue;
        out ??= {};
        out[field] = value;
      }
    }
    return out;
  }
}

/** The entry of a record, by apiVersion; made when there is none. */
function ofRecord<T>(all: WeakMap<StoredRecord, Map<string, T>>, record: StoredRecord): Map<string, T> {
  const known = all.get(record);
  if (known !== undefined) return known;
  const made = new Map<string, T>();
  all.set(record, made);
  return made;
}
