import type { KeyValue } from './api.ts';
import { inRange, type KeyRange, type KeyText, lowerBound } from './keys.ts';
import type { Version } from './rows.ts';

/** Costs of a version beside its key and value, roughly. */
const versionOverheadBytes = 200;

/** What a version takes in memory, roughly. */
export function versionBytes(key: { readonly length: number }, valueLength: number): number {
  return versionOverheadBytes + key.length + valueLength;
}

/** The versions that were applied and are not yet known to be in the database, by key. */
export class Overlay {
  readonly #byKey = new Map<KeyText, Version[]>();
  /** The keys of `#byKey`, sorted. */
  #keys: KeyText[] = [];
  bytes = 0;
  count = 0;

  add(version: Version): void {
    const versions = this.#byKey.get(version.key);
    if (versions === undefined) {
      this.#byKey.set(version.key, [version]);
      const keys = this.#keys;
      // Growing names (the usual order) need no search.
      if (keys.length === 0 || keys[keys.length - 1]! < version.key) keys.push(version.key);
      else keys.splice(lowerBound(keys, version.key), 0, version.key);
    } else versions.push(version);
    this.bytes += versionBytes(version.key, version.kv.value.length);
    this.count++;
  }

  /** Takes back what is in the database now. */
  remove(written: readonly Version[]): void {
    let emptied = 0;
    for (const version of written) {
      const versions = this.#byKey.get(version.key);
      if (versions === undefined || versions[0] !== version) continue;
      this.bytes -= versionBytes(version.key, version.kv.value.length);
      this.count--;
      if (versions.length > 1) versions.shift();
      else {
        this.#byKey.delete(version.key);
        emptied++;
      }
    }
    if (emptied > 0) this.#keys = this.#keys.filter((key) => this.#byKey.has(key));
  }

  /** The newest version with modRevision <= `atRevision`, also a deleted one. */
  get(key: KeyText, atRevision: number): Version | undefined {
    const versions = this.#byKey.get(key);
    if (versions === undefined) return undefined;
    for (let i = versions.length - 1; i >= 0; i--) if (versions[i]!.kv.modRevision <= atRevision) return versions[i];
    return undefined;
  }

  /** As `get` for every key of a range, in key order, and whether the key is live in a database that contains everything up to `written`. */
  range(range: KeyRange, atRevision: number, written: number): { version: Version; before: boolean }[] {
    if (this.#keys.length === 0) return [];
    const out: { version: Version; before: boolean }[] = [];
    for (let i = lowerBound(this.#keys, range.first); i < this.#keys.length; i++) {
      const key = this.#keys[i]!;
      if (!inRange(range, key)) break;
      const version = this.get(key, atRevision);
      if (version !== undefined) out.push({ version, before: this.#liveAt(key, written) });
    }
    return out;
  }

  /** Whether a key of which versions are held is live at a revision. */
  #liveAt(key: KeyText, revision: number): boolean {
    const known = this.get(key, revision);
    // Version 1 makes a key that was not there; every other change is of one that was.
    return known !== undefined ? known.kv.version > 0 : this.#byKey.get(key)![0]!.kv.version !== 1;
  }

  /** Keys that have the lease in some version that is held here. */
  leaseKeys(lease: bigint): KeyText[] {
    const out: KeyText[] = [];
    for (const [key, versions] of this.#byKey) if (versions.some(({ kv }) => kv.lease === lease)) out.push(key);
    return out;
  }
}

/** The newest version of keys that were read or written lately; `null`: known not to exist. Bounded by bytes, oldest use out first. */
export class NewestCache {
  readonly #entries = new Map<KeyText, KeyValue | null>();
  readonly #maxBytes: number;
  bytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  get(key: KeyText): KeyValue | null | undefined {
    const found = this.#entries.get(key);
    if (found !== undefined) {
      this.#entries.delete(key);
      this.#entries.set(key, found);
    }
    return found;
  }

  set(key: KeyText, kv: KeyValue | null): void {
    const old = this.#entries.get(key);
    if (old !== undefined) {
      this.#entries.delete(key);
      this.bytes -= cost(key, old);
    }
    const bytes = cost(key, kv);
    if (bytes > this.#maxBytes / 4) return;
    this.#entries.set(key, kv);
    this.bytes += bytes;
    for (const [oldest, value] of this.#entries) {
      if (this.bytes <= this.#maxBytes) break;
      this.#entries.delete(oldest);
      this.bytes -= cost(oldest, value);
    }
  }
}

function cost(key: KeyText, kv: KeyValue | null): number {
  return versionBytes(key, kv === null ? 0 : kv.value.length);
}
