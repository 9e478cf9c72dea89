import { utf8, utf8Text } from '../../base/bytes.ts';
import type { KindInfo } from '../api/kinds.ts';

/** Where things lie in the store: `/registry/<group>/<resource>/[<namespace>/]<name>`, the core group being `core`. */

const root = '/registry/';
export const registryPrefix: Uint8Array = utf8(root);
export const registryEnd: Uint8Array = utf8('/registry0');

const prefixes = new WeakMap<KindInfo, string>();

/** `/registry/apps/deployments/`; kinds served by several groups or versions share one. */
export function resourcePrefix(kind: KindInfo): string {
  let prefix = prefixes.get(kind);
  if (prefix === undefined) {
    const group = kind.storage?.group ?? kind.group;
    prefix = `${root}${group === '' ? 'core' : group}/${kind.storage?.resource ?? kind.plural}/`;
    prefixes.set(kind, prefix);
  }
  return prefix;
}

export function objectKey(kind: KindInfo, namespace: string, name: string): string {
  const prefix = resourcePrefix(kind);
  return kind.namespaced ? `${prefix}${namespace}/${name}` : `${prefix}${name}`;
}

/** The prefix of a list: all objects of the kind, or those of one namespace. */
export function listPrefix(kind: KindInfo, namespace: string): string {
  const prefix = resourcePrefix(kind);
  return kind.namespaced && namespace !== '' ? `${prefix}${namespace}/` : prefix;
}

/** The exclusive end of all keys that start with `prefix` (which ends in `/`). */
export function prefixEnd(prefix: string): Uint8Array {
  const end = utf8(prefix);
  end[end.length - 1] = end[end.length - 1]! + 1;
  return end;
}

/** Splits a key below /registry/ into resource prefix and the rest; undefined for keys of another form. */
export function splitKey(key: Uint8Array): { prefix: string; rest: string } | undefined {
  const text = utf8Text(key);
  if (!text.startsWith(root)) return undefined;
  const group = text.indexOf('/', root.length);
  const resource = group < 0 ? -1 : text.indexOf('/', group + 1);
  if (resource < 0) return undefined;
  return { prefix: text.slice(0, resource + 1), rest: text.slice(resource + 1) };
}
