import { isDeepStrictEqual } from 'node:util';
import type { Config, OsdConfig } from '../config/config.ts';

/** What a running node does with a changed configuration: a decision without I/O. */

export interface ReloadPlan {
  /** The configuration that holds from now on: the old one with what could change. Roles that start again get this one. */
  readonly config: Config;
  /** Paths of keys whose new value holds already. */
  readonly applied: readonly string[];
  /** Paths of keys whose new value needs a restart of the node, each once. */
  readonly restart: readonly string[];
}

/** Paths of the keys that differ; lists are one key. */
function changedKeys(before: unknown, after: unknown, path = ''): string[] {
  if (isDeepStrictEqual(before, after)) return [];
  if (!isMap(before) || !isMap(after)) return [path];
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return keys.flatMap((key) => changedKeys(before[key], after[key], path === '' ? key : `${path}.${key}`));
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const isLive = (path: string): boolean => path === 'logLevel' || path.startsWith('memory.');

export function planReload(before: Config, after: Config): ReloadPlan {
  const changed = changedKeys(before, after).filter((path) => path !== 'storage.osd');
  const osds = mergeOsds(before.storage.osd, after.storage.osd);
  return {
    config: {
      ...before,
      memory: after.memory,
      logLevel: after.logLevel,
      storage: { ...before.storage, osd: osds.list },
    },
    applied: [...changed.filter(isLive), ...osds.applied],
    restart: [...changed.filter((path) => !isLive(path)), ...osds.restart],
  };
}

/** OSDs come and go; one that is there keeps its place until the restart. */
function mergeOsds(
  before: readonly OsdConfig[],
  after: readonly OsdConfig[],
): { list: OsdConfig[]; applied: string[]; restart: string[] } {
  const known = new Map(before.map((osd) => [osd.id, osd]));
  const wanted = new Set(after.map((osd) => osd.id));
  const name = (osd: OsdConfig): string => `storage.osd (osd.${osd.id})`;
  return {
    list: after.map((osd) => known.get(osd.id) ?? osd),
    applied: [...after.filter((osd) => !known.has(osd.id)), ...before.filter((osd) => !wanted.has(osd.id))].map(name),
    restart: after.filter((osd) => known.has(osd.id) && !isDeepStrictEqual(known.get(osd.id), osd)).map(name),
  };
}
