import type { CollectionId } from '../blockstore/api.ts';
import type { LogEntry } from '../wire/messages/osd_pg.ts';
import type { EVersion } from '../wire/types.ts';
import type { InternalWrite } from './engine-host.ts';
import { encodeObjectInfo, infoXattr, type ObjectInfo, type WatchInfo } from './object-info.ts';
import type { ObjectContext } from './ops/object-context.ts';

export function sameWatch(a: Pick<WatchInfo, 'name' | 'cookie'>, b: Pick<WatchInfo, 'name' | 'cookie'>): boolean {
  return a.cookie === b.cookie && a.name.type === b.name.type && a.name.num === b.name.num;
}

/** The write that takes a silent watcher out of an object's info; undefined: it is not there. */
export function withoutWatcher(
  cid: CollectionId,
  obc: ObjectContext,
  watch: WatchInfo,
  version: EVersion,
): InternalWrite | undefined {
  if (!obc.exists || !obc.info.watchers.some((w) => sameWatch(w, watch))) return undefined;
  const after: ObjectInfo = { ...obc.info, version, watchers: obc.info.watchers.filter((w) => !sameWatch(w, watch)) };
  const entry: LogEntry = {
    op: 'modify',
    oid: obc.oid,
    version,
    prior: obc.info.version,
    userVersion: after.userVersion,
    reqid: undefined,
    mtime: after.mtime,
    returnCode: 0,
    returns: undefined,
  };
  const xattrs = new Map([[infoXattr, encodeObjectInfo(after)]]);
  return {
    entries: [entry],
    ops: [{ op: 'set-xattrs', cid, key: obc.key, xattrs }],
    after: { info: after, inStore: true, snapset: obc.snapset },
  };
}
