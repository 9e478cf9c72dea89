/** Kinds that are stored in another form than they are asked for (events.k8s.io/v1 Events lie as core/v1 ones, KEP-383). */
import type { KindInfo, KindTable } from '../api/kinds.ts';
import type { JsonObject } from '../machinery/json.ts';
import { resourcePrefix } from './keys.ts';

/** Between the form that is stored and the forms that are served. */
export class Conversions {
  readonly #sharing = new Map<string, KindInfo[]>();

  constructor(kinds: KindTable) {
    for (const kind of kinds.all) {
      const prefix = resourcePrefix(kind);
      const list = this.#sharing.get(prefix) ?? [];
      list.push(kind);
      this.#sharing.set(prefix, list);
    }
  }

  /** Whether stored bytes can be served as they are. */
  isNative(kind: KindInfo): boolean {
    return kind.storage === undefined;
  }

  toStorage(kind: KindInfo, object: JsonObject): JsonObject {
    return kind.storage === undefined ? object : kind.storage.encode(object);
  }

  fromStorage(kind: KindInfo, object: JsonObject): JsonObject {
    return kind.storage === undefined ? object : kind.storage.decode(object);
  }

  /** What the record's header says for field selectors, for every kind that the object is served as. `object` is in storage form. */
  selectableFields(kind: KindInfo, object: JsonObject): Record<string, string> | undefined {
    let out: Record<string, string> | undefined;
    for (const one of this.#sharing.get(resourcePrefix(kind)) ?? [kind]) {
      const readers = one.selectableFields;
      let form: JsonObject | undefined;
      for (const field in readers) {
        form ??= this.fromStorage(one, object);
        const value = readers[field]!(form);
        if (value === '') continue;
        out ??= {};
        out[field] = value;
      }
    }
    return out;
  }
}
