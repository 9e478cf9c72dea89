import { utf8, utf8Text } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import type { KeyValue, Store } from '../../store/api.ts';
import { prefixEnd } from '../../store/keys.ts';
import { applyIncremental } from '../maps/apply.ts';
import { decodeIncremental } from '../maps/incremental-codec.ts';
import { decodeMgrMap } from '../maps/mgrmap.ts';
import { decodeMonMap } from '../maps/monmap.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { decodeOsdMap } from '../maps/osdmap-codec.ts';
import { decodeServiceMap } from '../maps/servicemap.ts';
import { emptyAuth, entryFromJson, secretsFromJson } from './auth-state.ts';
import type { ConfigChange } from './config-state.ts';
import { fullMapEvery } from './draft.ts';
import { keys, monFormat } from './keys.ts';
import { logFromJson } from './log-lines.ts';
import { emptyState, type HealthMute, type MonState } from './state.ts';

/** Reads the mon's state; undefined when the store is empty. Errors: MON_FORMAT, DECODE, MAP_*. */
export async function loadState(store: Store): Promise<MonState | undefined> {
  const format = await text(store, keys.format);
  if (format === undefined) return undefined;
  if (Number(format) > monFormat)
    throw new AppError('MON_FORMAT', `the mon's store has format ${format}, this version reads ${monFormat}`, {
      hint: 'Start the version that wrote it, or a newer one.',
    });
  const osdmap = await loadOsdMap(store, Number(await need(store, keys.osdLast)));
  const lines = await all(store, keys.log);
  const empty = emptyState();
  return {
    ...empty,
    fsid: await need(store, keys.fsid),
    monmap: decodeMonMap(await bytes(store, keys.monmap)),
    osdmap,
    osdmapFirst: Number((await text(store, keys.osdFirst)) ?? 1),
    auth: {
      entities: new Map((await all(store, keys.authEntities)).map(({ name, json }) => [name, entryFromJson(json())])),
      rotating: new Map(
        (await all(store, keys.authRotations)).map(({ name, json }) => [Number(name), secretsFromJson(json())]),
      ),
      reservedGlobalId: Number((await text(store, keys.authReserved)) ?? emptyAuth.reservedGlobalId),
      imported: JSON.parse((await text(store, keys.authImported)) ?? '[]') as string[],
    },
    config: {
      version: Number((await text(store, keys.configVersion)) ?? 0),
      values: grouped(await all(store, keys.configValues)),
      history: (await all(store, keys.configHistories)).map(({ json }) => json<ConfigChange>()),
    },
    configKeys: new Map((await all(store, keys.configKeys)).map(({ name, value }) => [name, value])),
    mgrmap: decodeMgrMap(await bytes(store, keys.mgrmap)),
    servicemap: decodeServiceMap(await bytes(store, keys.servicemap)),
    osdMetadata: new Map(
      (await all(store, keys.allOsdMetadata))
        .map(({ name, json }) => [Number(name), new Map(Object.entries(json<Record<string, string>>()))] as const)
        .sort(([a], [b]) => a - b),
    ),
    mgrMetadata: new Map(
      (await all(store, keys.allMgrMetadata)).map(({ name, json }) => [
        name,
        new Map(Object.entries(json<Record<string, string>>())),
      ]),
    ),
    mutes: JSON.parse((await text(store, keys.healthMutes)) ?? '[]') as HealthMute[],
    log: lines.map(({ name, json }) => ({ id: Number(name), entry: logFromJson(json()) })),
    logId: Number(lines.at(-1)?.name ?? 0),
  };
}

/** The map of an epoch: the whole map at or below it with the increments up to it. Undefined when it is not kept any more. */
export async function findOsdMap(store: Store, epoch: number): Promise<OsdMap | undefined> {
  const base = Math.max(1, epoch - (epoch % fullMapEvery));
  const full = await value(store, keys.osdFull(base));
  if (full === undefined) return undefined;
  let map = decodeOsdMap(full);
  while (map.epoch < epoch) {
    const increment = await value(store, keys.osdIncrement(map.epoch + 1));
    if (increment === undefined) return undefined;
    map = applyIncremental(map, decodeIncremental(increment));
  }
  return map;
}

/** Increment of an epoch as it was sent; undefined when it is not kept any more. */
export function findIncrement(store: Store, epoch: number): Promise<Uint8Array | undefined> {
  return value(store, keys.osdIncrement(epoch));
}

async function loadOsdMap(store: Store, epoch: number): Promise<OsdMap> {
  const map = await findOsdMap(store, epoch);
  if (map === undefined) throw new AppError('MON_STORE', `the mon's store has no OSDMap ${epoch}`);
  return map;
}

async function value(store: Store, key: string): Promise<Uint8Array | undefined> {
  return (await store.range({ key: utf8(key) })).kvs[0]?.value;
}

async function bytes(store: Store, key: string): Promise<Uint8Array> {
  const found = await value(store, key);
  if (found === undefined) throw new AppError('MON_STORE', `the mon's store has no ${key}`);
  return found;
}

async function text(store: Store, key: string): Promise<string | undefined> {
  const found = await value(store, key);
  return found === undefined ? undefined : utf8Text(found);
}

async function need(store: Store, key: string): Promise<string> {
  return utf8Text(await bytes(store, key));
}

interface Row {
  /** The key without its prefix. */
  name: string;
  value: Uint8Array;
  json<T>(): T;
}

async function all(store: Store, prefix: string): Promise<Row[]> {
  const key = utf8(prefix);
  const { kvs } = await store.range({ key, rangeEnd: prefixEnd(key) });
  return kvs.map((kv: KeyValue) => ({
    name: utf8Text(kv.key).slice(prefix.length),
    value: kv.value,
    json: <T>() => JSON.parse(utf8Text(kv.value)) as T,
  }));
}

function grouped(rows: readonly Row[]): Map<string, Map<string, string>> {
  const out = new Map<string, Map<string, string>>();
  for (const { name, value: bytesOf } of rows) {
    const [who, option] = name.split('|') as [string, string];
    out.set(who, (out.get(who) ?? new Map()).set(option, utf8Text(bytesOf)));
  }
  return out;
}
