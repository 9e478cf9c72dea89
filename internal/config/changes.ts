import { type Config, type KeyPath, valueAt } from './config.ts';
import { keyPaths, keys } from './keys.ts';

/** What is different between the configuration that a node runs with and another one. */
export interface ConfigChanges {
  /**
   * Takes effect while everything runs on: `logLevel` by telling the roles, `writeKubeconfigMode` by preparing the node again, which writes the file.
   */
  readonly live: readonly KeyPath[];
  /** Takes effect when these roles (names of the role table, those that the node does not run included) start again. */
  readonly restart: readonly { readonly path: KeyPath; readonly roles: readonly string[] }[];
}

/** Equal by value; both are plain data from a configuration. */
function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  const names = Object.keys(a);
  return (
    names.length === Object.keys(b).length &&
    names.every(
      (name) =>
        Object.hasOwn(b, name) && same((a as Record<string, unknown>)[name], (b as Record<string, unknown>)[name]),
    )
  );
}

/** Which changed keys take effect at once and which only when roles start again, in the order of the table. */
export function configChanges(before: Config, after: Config): ConfigChanges {
  const changed = keyPaths.filter((path) => !same(valueAt(before, path), valueAt(after, path)));
  return {
    live: changed.filter((path) => keys[path].change === 'live'),
    restart: changed.flatMap((path) => {
      const { change } = keys[path];
      return change === 'live' ? [] : [{ path, roles: change }];
    }),
  };
}
