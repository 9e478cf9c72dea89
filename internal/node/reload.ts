import { isDeepStrictEqual } from 'node:util';
import type { ConfigChanges } from '../config/changes.ts';
import { type Config, type KeyPath, type OsdConfig, valueAt } from '../config/config.ts';

/** What a running node does with a changed configuration: a decision without I/O. */

export interface ReloadPlan {
  /** The configuration that holds from now on: the old one with what could change. Roles that start again get this one. */
  readonly config: Config;
  /** Keys whose new value holds already. */
  readonly applied: readonly string[];
  /** Keys whose new value needs a restart, each once, with the roles that it is for. */
  readonly restart: readonly string[];
}

/** The OSDs of a node come and go while it runs, whatever else changes about them waits. */
const osdList: KeyPath = 'storage.osd';

/** `changes` is what `configChanges(before, after)` gives; `roles` are the names of the role table that the node runs. */
export function planReload(
  before: Config,
  after: Config,
  changes: ConfigChanges,
  roles: ReadonlySet<string>,
): ReloadPlan {
  const osds = mergeOsds(before.storage.osd, after.storage.osd);
  const live = changes.live.reduce((config, path) => withValue(config, path, valueAt(after, path)), before);
  return {
    config: withValue(live, osdList, osds.list),
    applied: [...changes.live, ...osds.applied],
    restart: [
      ...changes.restart
        .filter(({ path }) => path !== osdList)
        .map((change) => {
          const touched = change.roles.filter((role) => roles.has(role));
          return touched.length === 0 || touched.length === roles.size
            ? change.path
            : `${change.path} (${touched.join(', ')})`;
        }),
      ...osds.restart,
    ],
  };
}

/** A copy of `config` with another value at `path`. */
function withValue(config: Config, path: KeyPath, value: unknown): Config {
  const set = (at: Record<string, unknown>, [step, ...rest]: string[]): Record<string, unknown> => ({
    ...at,
    [step!]: rest.length === 0 ? value : set(at[step!] as Record<string, unknown>, rest),
  });
  return set(config as unknown as Record<string, unknown>, path.split('.')) as unknown as Config;
}

/** OSDs come and go; one that is there keeps its place until the restart. */
function mergeOsds(
  before: readonly OsdConfig[],
  after: readonly OsdConfig[],
): { list: OsdConfig[]; applied: string[]; restart: string[] } {
  const known = new Map(before.map((osd) => [osd.id, osd]));
  const wanted = new Set(after.map((osd) => osd.id));
  const name = (osd: OsdConfig): string => `${osdList} (osd.${osd.id})`;
  return {
    list: after.map((osd) => known.get(osd.id) ?? osd),
    applied: [...after.filter((osd) => !known.has(osd.id)), ...before.filter((osd) => !wanted.has(osd.id))].map(name),
    restart: after.filter((osd) => known.has(osd.id) && !isDeepStrictEqual(known.get(osd.id), osd)).map(name),
  };
}
