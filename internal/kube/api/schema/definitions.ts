import { AppError } from '../../../base/errors.ts';
import text from './definitions.table' with { type: 'text' };

/**
 * The table of the built-in types, `definitions.table`, read one definition at a time: nothing is parsed at start, and a server holds what it was asked for.
 *
 * A block a definition, blank lines between. The first line is its short name and words of its own (`atomic`: server-side apply replaces the struct as a
 * whole; `union=…`: what OpenAPI publishes as x-kubernetes-unions). Each other line is a field: its JSON name, the code of its type, its place in protobuf, words.
 *
 * - code: `s` string, `s(A|B)` one of these (a space is `%20`), `y` bytes in base64, `i` int32, `l` int64, `d` double, `b` boolean, `o` any object, `[]x` list, `{}x` map,
 *   `@name` another definition; a `!` behind it means required
 * - place: the field's number; `*` before it: a Go pointer (absent is not zero), `+`: written even when it is zero; `2.5` is number 5 of the message that is
 *   number 2 and whose fields are this struct's own in JSON; `-`: the type has no protobuf form
 * - words: `map=<keys>`, `set` and `atomic` are the list's type (every other list is atomic too, unless `plain`: then none is published), `atomic-map`, `granular-map` the map's
 *   type, `patch=<strategy>[:<merge key>]` is for strategic merge patch, `default=<JSON>` a default that OpenAPI publishes
 */
export interface Field {
  name: string;
  code: string;
  required: boolean;
  /** Where protobuf has it; undefined for a type without protobuf form. */
  place: Place | undefined;
  words: readonly string[];
}

export interface Place {
  /** Number of the message that the field lies in, for a Go struct that is inlined in JSON. */
  within: readonly number[];
  number: number;
  /** `pointer`: absent and zero differ. `always`: written even when zero. `omitempty`: a zero is the same as absent. */
  zero: 'pointer' | 'always' | 'omitempty';
}

export interface Definition {
  words: readonly string[];
  fields: readonly Field[];
}

/** Where Go packages lie in OpenAPI names, by the start of the short name. */
const packages: readonly (readonly [short: string, full: string])[] = [
  ['meta.', 'io.k8s.apimachinery.pkg.apis.meta.'],
  ['apiextensions.', 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.'],
  ['apiregistration.', 'io.k8s.kube-aggregator.pkg.apis.apiregistration.'],
  ['api.resource.', 'io.k8s.apimachinery.pkg.api.resource.'],
  ['util.intstr.', 'io.k8s.apimachinery.pkg.util.intstr.'],
  ['runtime.', 'io.k8s.apimachinery.pkg.runtime.'],
  ['version.', 'io.k8s.apimachinery.pkg.version.'],
];

/** `core.v1.Pod` -> `io.k8s.api.core.v1.Pod`. */
export function fullName(short: string): string {
  for (const [start, full] of packages) if (short.startsWith(start)) return full + short.slice(start.length);
  return `io.k8s.api.${short}`;
}

/** The reverse of `fullName`. */
export function shortName(full: string): string {
  for (const [short, start] of packages) if (full.startsWith(start)) return short + full.slice(start.length);
  return full.replace(/^io\.k8s\.api\./, '');
}

/** Where the fields of each definition begin and end in the text. */
let index: Map<string, { words: string; from: number; to: number }> | undefined;

function indexed(): NonNullable<typeof index> {
  if (index !== undefined) return index;
  index = new Map();
  let at = 0;
  while (at < text.length) {
    const end = text.indexOf('\n\n', at);
    const to = end < 0 ? text.length : end;
    const newline = text.indexOf('\n', at);
    const headEnd = newline < 0 || newline > to ? to : newline;
    const head = text.slice(at, headEnd);
    const space = head.indexOf(' ');
    index.set(space < 0 ? head : head.slice(0, space), {
      words: space < 0 ? '' : head.slice(space + 1),
      from: Math.min(headEnd + 1, to),
      to,
    });
    at = to + 2;
  }
  return index;
}

function parsePlace(word: string): Place | undefined {
  const match = /^((?:\d+\.)*)([*+]?)(\d+)$/.exec(word);
  if (match === null) return undefined;
  return {
    within: match[1]!
      .split('.')
      .filter((part) => part !== '')
      .map(Number),
    number: Number(match[3]),
    zero: match[2] === '*' ? 'pointer' : match[2] === '+' ? 'always' : 'omitempty',
  };
}

/** The reverse of how a place is read. */
export function placeWord(place: Place): string {
  const mark = { pointer: '*', always: '+', omitempty: '' }[place.zero];
  return `${place.within.map((number) => `${number}.`).join('')}${mark}${place.number}`;
}

function parseField(line: string): Field {
  const [name = '', code = '', place = '-', ...words] = line.split(' ');
  const required = code.endsWith('!');
  return { name, code: required ? code.slice(0, -1) : code, required, place: parsePlace(place), words };
}

/** A definition by its full name. Throws AppError SCHEMA_UNKNOWN for a name that is not in the table. */
export function definitionOf(name: string): Definition {
  const entry = indexed().get(shortName(name));
  if (entry === undefined) throw new AppError('SCHEMA_UNKNOWN', `there is no definition ${name}`);
  const lines = text.slice(entry.from, entry.to).split('\n');
  return {
    words: entry.words === '' ? [] : entry.words.split(' '),
    fields: lines.filter((line) => line !== '').map(parseField),
  };
}

export function hasDefinition(name: string): boolean {
  return indexed().has(shortName(name));
}

/** Full names of all definitions of the table. */
export function tableNames(): string[] {
  return [...indexed().keys()].map(fullName);
}
