import { utf8Text } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import { applyIncremental } from '../maps/apply.ts';
import { decodeIncremental } from '../maps/incremental-codec.ts';
import { decodeMgrMap } from '../maps/mgrmap.ts';
import { decodeMonMap } from '../maps/monmap.ts';
import { decodeServiceMap } from '../maps/servicemap.ts';
import { emptyAuth, entryFromJson, secretsFromJson } from './auth-state.ts';
import type { ConfigChange } from './config-state.ts';
import type { StoreChange } from './draft.ts';
import { keys } from './keys.ts';
import { logFromJson } from './log-lines.ts';
import type { HealthMute, Metadata, MonState } from './state.ts';

/**
 * The state as a function of what is stored: the one place that reads values of the store, used to load a state and to follow what another mon committed.
 */

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** A state while changes are put into it: what the caller has is copied before it is touched, once each. */
class Building {
  readonly state: Mutable<MonState>;
  readonly increments = new Map<number, Uint8Array>();
  readonly #own = new Set<unknown>();
  sortOsds = false;

  constructor(state: MonState) {
    this.state = { ...state };
  }

  /** The map itself when it is this building's already, else a copy. */
  map<K, V>(map: ReadonlyMap<K, V>): Map<K, V> {
    if (this.#own.has(map)) return map as Map<K, V>;
    const copy = new Map(map);
    this.#own.add(copy);
    return copy;
  }
  list<T>(list: readonly T[]): T[] {
    if (this.#own.has(list)) return list as T[];
    const copy = [...list];
    this.#own.add(copy);
    return copy;
  }
}

/** `name`: the key behind the prefix, '' for a key that is one thing. `value` undefined: the key is gone. */
type Part = (to: Building, name: string, value: Uint8Array | undefined) => void;

const text = (value: Uint8Array | undefined, without: string): string =>
  value === undefined ? without : utf8Text(value);
const json = <T>(value: Uint8Array): T => JSON.parse(utf8Text(value)) as T;
const metadata = (value: Uint8Array): Metadata => new Map(Object.entries(json<Record<string, string>>(value)));

function changed<K, V>(to: Building, map: ReadonlyMap<K, V>, key: K, value: V | undefined): Map<K, V> {
  const copy = to.map(map);
  if (value === undefined) copy.delete(key);
  else copy.set(key, value);
  return copy;
}

/** Keys that are one thing each. */
const single: Readonly<Record<string, Part>> = {
  [keys.fsid]: ({ state }, _name, value) => {
    state.fsid = text(value, '');
  },
  [keys.monmap]: ({ state }, _name, value) => {
    if (value !== undefined) state.monmap = decodeMonMap(value);
  },
  [keys.osdFirst]: ({ state }, _name, value) => {
    state.osdmapFirst = Number(text(value, '1'));
  },
  [keys.authReserved]: ({ state }, _name, value) => {
    state.auth = { ...state.auth, reservedGlobalId: Number(text(value, String(emptyAuth.reservedGlobalId))) };
  },
  [keys.authImported]: ({ state }, _name, value) => {
    state.auth = { ...state.auth, imported: JSON.parse(text(value, '[]')) as string[] };
  },
  [keys.configVersion]: ({ state }, _name, value) => {
    state.config = { ...state.config, version: Number(text(value, '0')) };
  },
  [keys.mgrmap]: ({ state }, _name, value) => {
    if (value !== undefined) state.mgrmap = decodeMgrMap(value);
  },
  [keys.servicemap]: ({ state }, _name, value) => {
    if (value !== undefined) state.servicemap = decodeServiceMap(value);
  },
  [keys.healthMutes]: ({ state }, _name, value) => {
    state.mutes = JSON.parse(text(value, '[]')) as HealthMute[];
  },
};

/** Keys of which there are many, by their prefix. */
const families: readonly (readonly [prefix: string, Part])[] = [
  [
    keys.authEntities,
    (to, name, value) => {
      const { auth } = to.state;
      const entry = value === undefined ? undefined : entryFromJson(json(value));
      to.state.auth = { ...auth, entities: changed(to, auth.entities, name, entry) };
    },
  ],
  [
    keys.authRotations,
    (to, name, value) => {
      const { auth } = to.state;
      const secrets = value === undefined ? undefined : secretsFromJson(json(value));
      to.state.auth = { ...auth, rotating: changed(to, auth.rotating, Number(name), secrets) };
    },
  ],
  [
    keys.configValues,
    (to, name, value) => {
      const { config } = to.state;
      const [who, option] = name.split('|') as [string, string];
      const section = changed(
        to,
        config.values.get(who) ?? new Map<string, string>(),
        option,
        value && utf8Text(value),
      );
      const values = changed(to, config.values, who, section.size === 0 ? undefined : section);
      to.state.config = { ...config, values };
    },
  ],
  [
    keys.configHistories,
    (to, name, value) => {
      const { config } = to.state;
      const history = to.list(config.history);
      const at = history.findIndex(({ version }) => version === Number(name));
      if (at >= 0) history.splice(at, 1);
      if (value !== undefined) history.push(json<ConfigChange>(value));
      to.state.config = { ...config, history };
    },
  ],
  [
    keys.configKeys,
    (to, name, value) => {
      to.state.configKeys = changed(to, to.state.configKeys, name, value);
    },
  ],
  [
    keys.allOsdMetadata,
    (to, name, value) => {
      to.sortOsds = true;
      to.state.osdMetadata = changed(to, to.state.osdMetadata, Number(name), value && metadata(value));
    },
  ],
  [
    keys.allMgrMetadata,
    (to, name, value) => {
      to.state.mgrMetadata = changed(to, to.state.mgrMetadata, name, value && metadata(value));
    },
  ],
  [
    keys.allMonMetadata,
    (to, name, value) => {
      to.state.monMetadata = changed(to, to.state.monMetadata, name, value && metadata(value));
    },
  ],
  [
    keys.log,
    (to, name, value) => {
      const id = Number(name);
      const log = to.list(to.state.log);
      to.state.log = log;
      if (value === undefined) {
        const at = log.findIndex((line) => line.id === id);
        if (at >= 0) log.splice(at, 1);
        return;
      }
      // Lines of this mon that were never stored (debug) give way to what was.
      while (log.length > 0 && log.at(-1)!.id >= id) log.pop();
      log.push({ id, entry: logFromJson(json(value)) });
      to.state.logId = id;
    },
  ],
  [
    keys.osdIncrements,
    (to, name, value) => {
      const { osdmap } = to.state;
      if (value === undefined || Number(name) <= osdmap.epoch) return;
      if (Number(name) !== osdmap.epoch + 1)
        throw new AppError('MON_STORE', `the increment of OSDMap ${Number(name)} follows ${osdmap.epoch}`);
      to.state.osdmap = applyIncremental(osdmap, decodeIncremental(value));
      to.increments.set(Number(name), value);
    },
  ],
];

/** Prefixes that make up a state, without the OSDMap: that is loaded from a whole one (`load.ts`). */
export const loadedPrefixes: readonly string[] = [
  ...Object.keys(single),
  ...families.map(([prefix]) => prefix).filter((prefix) => prefix !== keys.osdIncrements),
];

/** The state with the changes of one commit, and the OSDMap increments among them. Errors: MON_STORE, DECODE, MAP_* when they do not follow on it. */
export function applyChanges(
  state: MonState,
  changes: Iterable<StoreChange>,
): { state: MonState; increments: ReadonlyMap<number, Uint8Array> } {
  const building = new Building(state);
  for (const { key, value } of changes) {
    const one = Object.hasOwn(single, key) ? single[key] : undefined;
    if (one !== undefined) {
      one(building, '', value);
      continue;
    }
    const family = families.find(([prefix]) => key.startsWith(prefix));
    family?.[1](building, key.slice(family[0].length), value);
  }
  if (building.sortOsds)
    building.state.osdMetadata = new Map([...building.state.osdMetadata].sort(([a], [b]) => a - b));
  return { state: building.state, increments: building.increments };
}
