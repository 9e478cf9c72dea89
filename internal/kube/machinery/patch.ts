import { isObject, type Json, type JsonObject, showJson } from './json.ts';
import { badRequest, failure } from './status.ts';

/** How many operations one JSON patch may have (as upstream). */
const operationsMax = 10_000;

/** How many bytes of JSON the `copy` operations of one patch may add (as upstream): copies of copies double with every step. */
const copiedBytesMax = 3 * 1024 * 1024;

interface Operation {
  op: string;
  path: string;
  from?: string;
  value?: Json;
}

/** The server could not apply a well-formed patch: 422, as upstream answers. */
function unprocessable(message: string): Error {
  return failure(422, 'Invalid', message);
}

function pointer(path: unknown): string[] {
  if (typeof path !== 'string') throw badRequest('json patch: an operation has no path');
  if (path === '') return [];
  if (!path.startsWith('/')) throw badRequest(`json patch: path ${JSON.stringify(path)} does not start with "/"`);
  return path
    .slice(1)
    .split('/')
    .map((part) => part.replace(/~1/g, '/').replace(/~0/g, '~'));
}

function indexOf(token: string, length: number, path: string): number {
  if (!/^(0|[1-9]\d{0,9})$/.test(token))
    throw unprocessable(`the server rejected our request due to an error in our request: "${path}" has no index`);
  const index = Number(token);
  if (index > length)
    throw unprocessable(
      `the server rejected our request due to an error in our request: index ${index} of ${JSON.stringify(path)} is out of range`,
    );
  return index;
}

function missing(op: string, path: string): Error {
  return unprocessable(
    `the server rejected our request due to an error in our request: ${op} operation does not apply: doc is missing path: ${JSON.stringify(path)}: missing value`,
  );
}

function lookup(document: Json, tokens: readonly string[], op: string, path: string): Json {
  let at: Json = document;
  for (const token of tokens) {
    let next: Json | undefined;
    if (Array.isArray(at)) {
      const index = indexOf(token, at.length - 1, path);
      next = at[index];
    } else if (isObject(at)) next = Object.hasOwn(at, token) ? at[token] : undefined;
    if (next === undefined) throw missing(op, path);
    at = next;
  }
  return at;
}

/** The document with `value` at `tokens`; containers on the way are copied. */
function add(document: Json, tokens: readonly string[], value: Json, op: string, path: string): Json {
  const [token, ...rest] = tokens;
  if (token === undefined) return value;
  if (token === '__proto__') throw badRequest('the key "__proto__" is not supported');
  if (Array.isArray(document)) {
    const copy = [...document];
    if (rest.length > 0) {
      const index = indexOf(token, copy.length - 1, path);
      copy[index] = add(copy[index]!, rest, value, op, path);
    } else if (token === '-') copy.push(value);
    else copy.splice(indexOf(token, copy.length, path), 0, value);
    return copy;
  }
  if (!isObject(document)) throw missing(op, path);
  if (rest.length === 0) return { ...document, [token]: value };
  const child = Object.hasOwn(document, token) ? document[token] : undefined;
  if (child === undefined) throw missing(op, path);
  return { ...document, [token]: add(child, rest, value, op, path) };
}

function remove(document: Json, tokens: readonly string[], op: string, path: string): Json {
  const [token, ...rest] = tokens;
  if (token === undefined) throw unprocessable(`${op} operation does not apply to the whole document`);
  if (Array.isArray(document)) {
    const index = indexOf(token, document.length - 1, path);
    const copy = [...document];
    if (rest.length === 0) copy.splice(index, 1);
    else copy[index] = remove(copy[index]!, rest, op, path);
    return copy;
  }
  if (!isObject(document) || !Object.hasOwn(document, token) || document[token] === undefined) throw missing(op, path);
  const copy = { ...document };
  if (rest.length === 0) delete copy[token];
  else copy[token] = remove(copy[token]!, rest, op, path);
  return copy;
}

function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => same(item, b[i]));
  if (!isObject(a) || !isObject(b)) return false;
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
}

/** RFC 6902. `patch` is the parsed body. Throws StatusError 400 (malformed), 422 (a test failed, a path is missing). */
export function applyJsonPatch(object: JsonObject, patch: unknown): JsonObject {
  if (!Array.isArray(patch)) throw badRequest('json patch: the body must be a list of operations');
  if (patch.length > operationsMax)
    throw failure(
      413,
      'RequestEntityTooLarge',
      `The allowed maximum operations in a JSON patch is ${operationsMax}, got ${patch.length}`,
    );
  let document: Json = object;
  let copiedBytes = 0;
  for (const item of patch as unknown[]) {
    if (!isObject(item) || typeof item.op !== 'string') throw badRequest('json patch: an operation has no "op"');
    const operation = item as unknown as Operation;
    const tokens = pointer(operation.path);
    switch (operation.op) {
      case 'add':
        document = add(document, tokens, operand(operation), 'add', operation.path);
        break;
      case 'remove':
        document = remove(document, tokens, 'remove', operation.path);
        break;
      case 'replace':
        lookup(document, tokens, 'replace', operation.path);
        document = replaceAt(document, tokens, operand(operation), operation.path);
        break;
      case 'move': {
        const from = pointer(operation.from);
        const moved = lookup(document, from, 'move', showJson(operation.from));
        document = add(remove(document, from, 'move', showJson(operation.from)), tokens, moved, 'move', operation.path);
        break;
      }
      case 'copy': {
        const copied = lookup(document, pointer(operation.from), 'copy', showJson(operation.from));
        copiedBytes += Buffer.byteLength(JSON.stringify(copied));
        if (copiedBytes > copiedBytesMax)
          throw failure(
            413,
            'RequestEntityTooLarge',
            `the copy operations of a JSON patch may add ${copiedBytesMax} bytes, those of this one add ${copiedBytes} and more`,
          );
        document = add(document, tokens, copied, 'copy', operation.path);
        break;
      }
      case 'test': {
        let found: Json | undefined;
        try {
          found = lookup(document, tokens, 'test', operation.path);
        } catch (error) {
          if (operation.value !== null && operation.value !== undefined) throw error;
          found = null;
        }
        if (!same(found, operation.value ?? null))
          throw unprocessable(
            `the server rejected our request due to an error in our request: testing value ${operation.path} failed: test failed`,
          );
        break;
      }
      default:
        throw badRequest(`json patch: unknown operation ${JSON.stringify(operation.op)}`);
    }
  }
  if (!isObject(document)) throw unprocessable('the patch leaves something that is no object');
  return document;
}

function operand(operation: Operation): Json {
  if (operation.value === undefined) throw badRequest(`json patch: ${operation.op} ${operation.path} has no value`);
  return operation.value;
}

function replaceAt(document: Json, tokens: readonly string[], value: Json, path: string): Json {
  const [token, ...rest] = tokens;
  if (token === undefined) return value;
  if (Array.isArray(document)) {
    const copy = [...document];
    const index = indexOf(token, copy.length - 1, path);
    copy[index] = replaceAt(copy[index]!, rest, value, path);
    return copy;
  }
  if (!isObject(document)) throw missing('replace', path);
  return { ...document, [token]: replaceAt(document[token]!, rest, value, path) };
}

/** RFC 7386. */
export function applyMergePatch(object: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const out: JsonObject = isObject(object) ? { ...object } : {};
  for (const key in patch) {
    const value = patch[key];
    if (key === '__proto__') throw badRequest('the key "__proto__" is not supported');
    if (value === null) delete out[key];
    else if (value !== undefined) out[key] = applyMergePatch(out[key], value);
  }
  return out;
}
export { applyStrategicMergePatch } from './strategic.ts';
