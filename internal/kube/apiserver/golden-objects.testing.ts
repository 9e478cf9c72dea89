/** Golden objects made valid: each as the objects of which the server takes one after the other. */
import { cloneJson, isObject, type Json, type JsonObject } from '../machinery/json.ts';
import { absent, type Choice, choices, corrections } from './golden-corrections.testing.ts';

const values = new Map(corrections.flatMap((one) => Object.entries(one.values)));
const choicesOf = Map.groupBy(choices, (choice) => choice.of);

const used = new Set<string>();

/** Rows that are about nothing in any object. */
export const unusedRows = (): string[] => [...values.keys(), ...choicesOf.keys()].filter((path) => !used.has(path));

/** The row of the longest end of a path that has one; `*` is any one part. */
function row<T>(rows: ReadonlyMap<string, T>, path: readonly string[]): T | undefined {
  for (let from = 0; from < path.length; from++) {
    const end = path.slice(from);
    for (const name of [
      end.join('.'),
      end.with(-1, '*').join('.'),
      end.length > 1 ? end.with(-2, '*').join('.') : '',
    ]) {
      const found = rows.get(name);
      if (found === undefined) continue;
      used.add(name);
      return found;
    }
  }
  return undefined;
}

/** Takes a field at a path away, with what is empty then. */
function remove(object: JsonObject, path: readonly string[]): void {
  const [key, ...rest] = path as [string, ...string[]];
  const inner = object[key];
  if (rest.length === 0) delete object[key];
  else if (isObject(inner)) {
    remove(inner, rest);
    if (Object.keys(inner).length === 0) delete object[key];
  }
}

function keepOne(object: JsonObject, { one, named }: Choice, taken: string): void {
  for (const other of one) if (other !== taken) remove(object, other.split('.'));
  if (named !== undefined) object[named[0]] = named[1](taken);
}

/** The items of a list, of which each is there once with each of what excludes each other. */
function spread(items: readonly Json[], choice: Choice): Json[] {
  return items.flatMap((item) =>
    choice.one.map((taken) => {
      const object = cloneJson(item) as JsonObject;
      keepOne(object, choice, taken);
      if (typeof choice.each === 'string') object[choice.each] = `name-value-${taken.split('.').at(-1)!.toLowerCase()}`;
      return object;
    }),
  );
}

/** Golden objects made valid, with a note of what of them was sent. */
export class GoldenObject {
  readonly #object: JsonObject;
  readonly #kind: string;
  readonly #own: ReadonlyMap<string, Json>;
  /** Paths of values that were sent, as they are or as a row says. */
  readonly #sent = new Set<string>();
  /** How often each choice was reached. */
  readonly #reached = new Map<string, number>();

  /** `own`: rows that only a test can fill, by whole path. */
  constructor(object: JsonObject, kind: string, own: Readonly<Record<string, Json>> = {}) {
    this.#object = object;
    this.#kind = kind;
    this.#own = new Map(Object.entries(own));
  }

  /** The next object. */
  next(): JsonObject {
    const out = cloneJson(this.#object);
    this.#correct(out, [this.#kind]);
    return out;
  }

  /** Paths of values that were in no object, but for those that a row leaves out. */
  unsent(): string[] {
    return [...new Set(leaves(this.#object, this.#kind))].filter((path) => !this.#sent.has(path) && !leftOut(path));
  }

  /** In place. */
  #correct(value: Json, path: readonly string[]): void {
    if (Array.isArray(value)) for (const item of value) this.#correct(item, path);
    if (!isObject(value)) {
      this.#note(value, path);
      return;
    }
    const chosen = row(choicesOf, path) ?? [];
    const at = path.join('.');
    const round = this.#reached.get(at) ?? 0;
    if (chosen.length > 0) this.#reached.set(at, round + 1);
    for (const choice of chosen)
      if (choice.each === undefined) keepOne(value, choice, choice.one[round % choice.one.length]!);
    if (Object.keys(value).length === 0) this.#note(value, path);
    for (const key of Object.keys(value)) this.#correctField(value, key, [...path, key], chosen);
  }

  #correctField(object: JsonObject, key: string, path: readonly string[], chosen: readonly Choice[]): void {
    const value = object[key]!;
    const set = chosen.some(({ named, each }) => named?.[0] === key || each === key);
    const instead = set ? value : (this.#own.get(path.join('.')) ?? row(values, path));
    if (instead === absent) {
      delete object[key];
      return;
    }
    if (instead !== undefined) {
      this.#note(value, path);
      object[key] = cloneJson(instead);
      return;
    }
    const each = (row(choicesOf, path) ?? []).find((choice) => choice.each !== undefined);
    if (each !== undefined && Array.isArray(value)) object[key] = spread(value, each);
    this.#correct(object[key]!, path);
  }

  #note(value: Json, path: readonly string[]): void {
    for (const leaf of leaves(value, path.join('.'))) this.#sent.add(leaf);
  }
}

/** Whether a row says that what is at this path is left out. */
export const leftOut = (path: string): boolean => {
  const parts = path.split('.');
  return parts.some((_, to) => row(values, parts.slice(0, to + 1)) === absent);
};

/** Paths of all values, without indexes. */
export function leaves(value: Json, path: string): string[] {
  if (Array.isArray(value) && value.length > 0) return value.flatMap((item) => leaves(item, path));
  if (isObject(value) && Object.keys(value).length > 0)
    return Object.keys(value).flatMap((key) => leaves(value[key]!, `${path}.${key}`));
  return [path];
}
