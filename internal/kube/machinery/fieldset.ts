import { isObject, type JsonObject } from './json.ts';

/**
 * Sets of paths into an object (sigs.k8s.io/structured-merge-diff, fieldpath.Set), in the form that metadata.managedFields writes them: every step is
 * `f:<field>`, `k:{<key fields>}`, `v:<value>` or `i:<index>`. A node is a member itself, has children, or both.
 */
export interface FieldSet {
  member: boolean;
  children: Map<string, FieldSet>;
}

export function emptySet(): FieldSet {
  return { member: false, children: new Map() };
}

export function isEmptySet(set: FieldSet): boolean {
  if (set.member) return false;
  for (const child of set.children.values()) if (!isEmptySet(child)) return false;
  return true;
}

/** The node at a path, made when it is missing. */
export function nodeAt(set: FieldSet, path: readonly string[]): FieldSet {
  let at = set;
  for (const step of path) {
    let next = at.children.get(step);
    if (next === undefined) {
      next = emptySet();
      at.children.set(step, next);
    }
    at = next;
  }
  return at;
}

export function insertPath(set: FieldSet, path: readonly string[]): void {
  nodeAt(set, path).member = true;
}

/** How deep a set may nest; API types stay far below. */
const depthMax = 100;

/** Reads FieldsV1. Keys that are no steps are skipped. */
export function setFromFields(fields: unknown, depth = 0): FieldSet {
  const set = emptySet();
  if (!isObject(fields) || depth > depthMax) return set;
  for (const key in fields) {
    if (key === '.') set.member = true;
    else if (/^[fkvi]:/.test(key)) {
      const child = setFromFields(fields[key], depth + 1);
      if (child.children.size === 0) child.member = true;
      set.children.set(canonicalStep(key), child);
    }
  }
  return set;
}

/** Key fields in order, so that steps compare as text whoever wrote them. */
function canonicalStep(step: string): string {
  if (!step.startsWith('k:')) return step;
  try {
    const key: unknown = JSON.parse(step.slice(2));
    if (isObject(key)) return keyStep(key);
  } catch {
    // Not ours to repair: it will match nothing.
  }
  return step;
}

export function keyStep(key: JsonObject): string {
  const sorted: JsonObject = {};
  for (const name of Object.keys(key).sort()) sorted[name] = key[name];
  return `k:${JSON.stringify(sorted)}`;
}

const stepOrder: Readonly<Record<string, number>> = { f: 0, k: 1, v: 2, i: 3 };

function compareSteps(a: string, b: string): number {
  const rank = stepOrder[a[0]!]! - stepOrder[b[0]!]!;
  if (rank !== 0) return rank;
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Writes FieldsV1. */
export function fieldsFromSet(set: FieldSet): JsonObject {
  const out: JsonObject = {};
  if (set.member && set.children.size > 0) out['.'] = {};
  for (const step of [...set.children.keys()].sort(compareSteps)) {
    const child = set.children.get(step)!;
    if (!isEmptySet(child)) out[step] = fieldsFromSet(child);
  }
  return out;
}

function prune(set: FieldSet): FieldSet {
  for (const [step, child] of set.children) if (isEmptySet(child)) set.children.delete(step);
  return set;
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = { member: a.member || b.member, children: new Map() };
  for (const [step, child] of a.children) {
    const other = b.children.get(step);
    out.children.set(step, other === undefined ? child : union(child, other));
  }
  for (const [step, child] of b.children) if (!a.children.has(step)) out.children.set(step, child);
  return out;
}

/** What is in `a` and not in `b`, path by path. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = { member: a.member && !b.member, children: new Map() };
  for (const [step, child] of a.children) {
    const other = b.children.get(step);
    out.children.set(step, other === undefined ? child : difference(child, other));
  }
  return prune(out);
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const out: FieldSet = { member: a.member && b.member, children: new Map() };
  for (const [step, child] of a.children) {
    const other = b.children.get(step);
    if (other !== undefined) out.children.set(step, intersection(child, other));
  }
  return prune(out);
}

/** `set` without the subtrees at the given top paths. */
export function withoutSubtrees(set: FieldSet, paths: readonly (readonly string[])[]): FieldSet {
  let out = set;
  for (const path of paths) out = cut(out, path);
  return out;
}

function cut(set: FieldSet, path: readonly string[]): FieldSet {
  const [step, ...rest] = path;
  const child = step === undefined ? undefined : set.children.get(step);
  if (step === undefined || child === undefined) return set;
  const children = new Map(set.children);
  if (rest.length === 0) children.delete(step);
  else children.set(step, cut(child, rest));
  return prune({ member: set.member, children });
}

export function setsEqual(a: FieldSet, b: FieldSet): boolean {
  return isEmptySet(difference(a, b)) && isEmptySet(difference(b, a));
}

/** Every member's path. */
export function* members(set: FieldSet, prefix: readonly string[] = []): Generator<readonly string[]> {
  if (set.member && prefix.length > 0) yield prefix;
  for (const step of [...set.children.keys()].sort(compareSteps))
    yield* members(set.children.get(step)!, [...prefix, step]);
}

/** A path as it is shown to people: `.spec.containers[name="web"].image`. */
export function pathText(path: readonly string[]): string {
  let out = '';
  for (const step of path) {
    const value = step.slice(2);
    if (step.startsWith('f:')) out += `.${value}`;
    else if (step.startsWith('v:')) out += `[=${value}]`;
    else if (step.startsWith('i:')) out += `[${value}]`;
    else {
      const key = JSON.parse(value) as JsonObject;
      out += `[${Object.keys(key)
        .map((name) => `${name}=${JSON.stringify(key[name])}`)
        .join(',')}]`;
    }
  }
  return out;
}
