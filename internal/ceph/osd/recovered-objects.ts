import type { EVersion, HObject } from '../wire/types.ts';
import { decodeObjectInfo, infoXattr, type ObjectInfo } from './object-info.ts';
import { objectKey } from './object-key.ts';
import type { PgCore } from './pg-core.ts';

/** The version of an object as the log has it. */
export function loggedVersion(core: PgCore, oid: HObject): EVersion | undefined {
  const entry = core.meta.log.latest(oid);
  return entry === undefined || entry.op === 'delete' ? undefined : entry.version;
}

/** Undefined: it is not here, or cannot be read. */
export function infoOf(core: PgCore, oid: HObject): ObjectInfo | undefined {
  if (core.env.store.stat(core.meta.cid, objectKey(oid))?.damaged) return undefined;
  const bytes = core.env.store.xattr(core.meta.cid, objectKey(oid), infoXattr);
  return bytes === undefined ? undefined : decodeObjectInfo(bytes);
}

/** An object is where it belongs again: for the rates that `ceph -s` shows. */
export function countRecovered(core: PgCore, oid: HObject): void {
  const { sums } = core.info;
  const bytes = core.env.store.stat(core.meta.cid, objectKey(oid))?.size ?? 0;
  sums.objectsRecovered++;
  sums.bytesRecovered += bytes;
  core.env.countRecovered(bytes);
}
