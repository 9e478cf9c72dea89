import { utf8 } from '../base/bytes.ts';
import { rawCrc32c } from '../base/crc32c.ts';
import { storedVersion } from './mvccpb.ts';
import type { Version } from './rows.ts';

/** CRC-32C over versions in order of revisions, as etcd computes it over its bucket `key` (server/storage/mvcc/hash.go). */
export class VersionHash {
  #crc = rawCrc32c(0xffff_ffff, utf8('key'));

  add({ kv, sub }: Version): void {
    const { key, value } = storedVersion(kv, sub);
    this.#crc = rawCrc32c(rawCrc32c(this.#crc, key), value);
  }

  value(): number {
    return ~this.#crc >>> 0;
  }
}
