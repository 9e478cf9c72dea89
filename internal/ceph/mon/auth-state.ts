import type { AuthEntry, CryptoKey, RotatingSecret } from '../auth/api.ts';
import { cryptoKeyText, parseCryptoKey } from '../auth/crypto.ts';
import { ENTITY_AUTH, ENTITY_MDS, ENTITY_MGR, ENTITY_MON, ENTITY_OSD } from '../wire/types.ts';

/** The auth database: entities, the rotating secrets of the services, and how far global ids are reserved. */
export interface AuthState {
  readonly entities: ReadonlyMap<string, AuthEntry>;
  /** By service bit; three each, ascending ids. */
  readonly rotating: ReadonlyMap<number, readonly RotatingSecret[]>;
  /** Global ids below this may have been given. */
  readonly reservedGlobalId: number;
  /** Entities that were taken from keyring files once: one that was removed since must not come back with the next start. */
  readonly imported: readonly string[];
}

export const emptyAuth: AuthState = Object.freeze({
  entities: new Map(),
  rotating: new Map(),
  reservedGlobalId: 4096,
  imported: [],
});

/** Ids reserved at a time, and how many may be left when the next block is asked for. */
export const globalIdBlock = 4096;
export const globalIdLow = 2048;

/** Services whose tickets are made with rotating secrets. */
export const rotatingServices: readonly number[] = [ENTITY_AUTH, ENTITY_MON, ENTITY_OSD, ENTITY_MDS, ENTITY_MGR];

const secretsKept = 3;

/**
 * The service's secrets at `nowMs` (`KeyServer::_rotate_secret`): the oldest opens old tickets, the second makes new ones, the newest is given to daemons
 * in advance. Undefined when nothing has to change.
 */
export function rotated(
  secrets: readonly RotatingSecret[],
  nowMs: number,
  ttlMs: number,
  newKey: () => CryptoKey,
): RotatingSecret[] | undefined {
  const out = [...secrets];
  const needed = (): boolean => out.length < secretsKept || out[1]!.expiresMs <= nowMs;
  while (needed()) {
    const last = out.at(-1);
    let expiresMs = nowMs;
    if (last !== undefined) expiresMs = Math.max(nowMs, last.expiresMs) + ttlMs;
    out.push({ id: (last?.id ?? 0) + 1, key: newKey(), expiresMs });
    if (out.length > secretsKept) out.shift();
  }
  return out.length === secrets.length && out.every((secret, i) => secret === secrets[i]) ? undefined : out;
}

interface StoredEntry {
  key: string;
  caps: Record<string, string>;
}

export function entryToJson(entry: AuthEntry): StoredEntry {
  return { key: cryptoKeyText(entry.key), caps: { ...entry.caps } };
}
export function entryFromJson(stored: StoredEntry): AuthEntry {
  return { key: parseCryptoKey(stored.key), caps: stored.caps };
}

interface StoredSecret {
  id: number;
  key: string;
  expiresMs: number;
}

export function secretsToJson(secrets: readonly RotatingSecret[]): StoredSecret[] {
  return secrets.map(({ id, key, expiresMs }) => ({ id, key: cryptoKeyText(key), expiresMs }));
}
export function secretsFromJson(stored: readonly StoredSecret[]): RotatingSecret[] {
  return stored.map(({ id, key, expiresMs }) => ({ id, key: parseCryptoKey(key), expiresMs }));
}

/** In upstream's order of a listing: by entity type number as text of the type (`mds`, `osd`, `client`, `mgr`), then id. */
export function sortedEntities(auth: AuthState): [string, AuthEntry][] {
  const rank = (name: string): number => ['mon', 'mds', 'osd', 'client', 'mgr', 'auth'].indexOf(name.split('.')[0]!);
  const id = (name: string): string => name.slice(name.indexOf('.') + 1);
  return [...auth.entities].sort(([a], [b]) => rank(a) - rank(b) || (id(a) < id(b) ? -1 : id(a) > id(b) ? 1 : 0));
}
