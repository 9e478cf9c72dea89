import { utf8, utf8Text } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import type { Store } from '../../store/api.ts';
import { prefixEnd } from '../../store/keys.ts';
import { applyIncremental } from '../maps/apply.ts';
import { decodeIncremental } from '../maps/incremental-codec.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { decodeOsdMap } from '../maps/osdmap-codec.ts';
import { applyChanges, loadedPrefixes } from './apply-changes.ts';
import { fullMapEvery, type StoreChange } from './draft.ts';
import { keys, monFormat } from './keys.ts';
import { emptyState, type MonState } from './state.ts';

export interface LoadedState {
  readonly state: MonState;
  /** Of the store, that the state is of. */
  readonly revision: number;
  /** Revision of the newest commit; 0: by a version that did not note it. */
  readonly committed: number;
}

/** Reads the mon's state as this member has it; undefined when there is none. Errors: MON_FORMAT, DECODE, MAP_*, CompactedError when it took too long. */
export async function loadState(store: Store): Promise<LoadedState | undefined> {
  const { kvs, revision } = await store.range({ key: utf8(keys.format), serializable: true });
  if (kvs[0] === undefined) return undefined;
  const format = Number(utf8Text(kvs[0].value));
  if (format > monFormat)
    throw new AppError('MON_FORMAT', `the mon's store has format ${format}, this version reads ${monFormat}`, {
      hint: 'Start the version that wrote it, or a newer one.',
    });
  // Others may write meanwhile.
  const at = { revision, serializable: true };
  const last = await value(store, keys.osdLast, at);
  if (last === undefined) throw new AppError('MON_STORE', `the mon's store has no ${keys.osdLast}`);
  const changes: StoreChange[] = [];
  for (const prefix of loadedPrefixes) {
    const key = utf8(prefix);
    const family = prefix.endsWith('/');
    const found = await store.range({ key, ...(family && { rangeEnd: prefixEnd(key) }), ...at });
    for (const kv of found.kvs) changes.push({ key: utf8Text(kv.key), value: kv.value });
  }
  const { state } = applyChanges(emptyState(), changes);
  const osdmap = await findOsdMap(store, Number(utf8Text(last)), revision);
  if (osdmap === undefined) throw new AppError('MON_STORE', `the mon's store has no OSDMap ${utf8Text(last)}`);
  const version = await store.range({ key: utf8(keys.version), ...at });
  return { state: { ...state, osdmap }, revision, committed: version.kvs[0]?.modRevision ?? 0 };
}

/** The map of an epoch: the whole map at or below it with the increments up to it. Undefined when it is not kept any more. */
export async function findOsdMap(store: Store, epoch: number, revision = 0): Promise<OsdMap | undefined> {
  const at = { revision, serializable: true };
  const base = Math.max(1, epoch - (epoch % fullMapEvery));
  const full = await value(store, keys.osdFull(base), at);
  if (full === undefined) return undefined;
  let map = decodeOsdMap(full);
  while (map.epoch < epoch) {
    const increment = await value(store, keys.osdIncrement(map.epoch + 1), at);
    if (increment === undefined) return undefined;
    map = applyIncremental(map, decodeIncremental(increment));
  }
  return map;
}

/** Increment of an epoch as it was sent; undefined when it is not kept any more. Maps of the past are the same on every mon that has them. */
export function findIncrement(store: Store, epoch: number): Promise<Uint8Array | undefined> {
  return value(store, keys.osdIncrement(epoch), { serializable: true });
}

async function value(
  store: Store,
  key: string,
  at: { revision?: number; serializable: boolean },
): Promise<Uint8Array | undefined> {
  return (await store.range({ key: utf8(key), ...at })).kvs[0]?.value;
}
