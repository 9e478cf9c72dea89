import type { CollectionId, TransactionOp } from '../blockstore/api.ts';
import type { LogEntry } from '../wire/messages/osd_pg.ts';
import { type EVersion, eversionZero, type HObject } from '../wire/types.ts';
import { type Digests, digestsAfter, emptyDigests } from './digests.ts';
import {
  decodeObjectInfo,
  encodeObjectInfo,
  encodeSnapSet,
  infoXattr,
  noObject,
  type ObjectInfo,
  type SnapSet,
  snapsetXattr,
} from './object-info.ts';
import { objectKey } from './object-key.ts';
import { maxWriteReplyBytes } from './ops/limits.ts';
import type { OpContext } from './ops/op-context.ts';
import { makeWriteable } from './ops/snap-ops.ts';

/** What a request that changes an object means for the log and, around its own operations, for the stores. */
export interface WriteEntries {
  entries: LogEntry[];
  /** The clone that it makes of the head as it was. */
  made: HObject | undefined;
  before: TransactionOp[];
  behind: TransactionOp[];
  /** The object as it is then. */
  after: { info: ObjectInfo; inStore: boolean; snapset: SnapSet };
  version: EVersion;
  userVersion: number;
}

/** `nextVersion`: of an entry that follows so many others of the same write; `lastUserVersion`: of the PG. The last entry is to get the request's result. */
export function writeEntries(
  ctx: OpContext,
  cid: CollectionId,
  nextVersion: (after: number) => EVersion,
  lastUserVersion: number,
): WriteEntries {
  const { obc } = ctx;
  const entries: LogEntry[] = [];
  const before: TransactionOp[] = [];
  const behind: TransactionOp[] = [];
  const { snapset, made } = makeWriteable(ctx);
  if (made !== undefined) {
    const version = nextVersion(0);
    entries.push({
      op: 'clone',
      oid: made.oid,
      version,
      prior: obc.info.version,
      userVersion: obc.info.userVersion,
      reqid: undefined,
      mtime: obc.info.mtime,
      returnCode: 0,
      returns: undefined,
    });
    const key = objectKey(made.oid);
    const info: ObjectInfo = { ...obc.info, version, watchers: [] };
    before.push({ op: 'clone', cid, from: obc.key, to: key });
    before.push({ op: 'remove-xattr', cid, key, name: snapsetXattr });
    before.push({ op: 'set-xattrs', cid, key, xattrs: new Map([[infoXattr, encodeObjectInfo(info)]]) });
  }
  const version = nextVersion(entries.length);
  let { userVersion } = ctx.info;
  if (ctx.userModified) userVersion = Math.max(lastUserVersion, userVersion) + 1;
  if (ctx.userModified && version.version > userVersion) userVersion = version.version;
  const info: ObjectInfo = {
    ...ctx.info,
    ...digests(ctx),
    version,
    userVersion,
    mtime: ctx.userModified ? ctx.mtime : ctx.info.mtime,
  };
  if (ctx.inStore) {
    const xattrs = new Map([[infoXattr, encodeObjectInfo(info)]]);
    if (snapset.seq !== 0n) xattrs.set(snapsetXattr, encodeSnapSet(snapset));
    behind.push({ op: 'set-xattrs', cid, key: obc.key, xattrs });
  }
  entries.push({
    op: ctx.inStore ? 'modify' : 'delete',
    oid: obc.oid,
    version,
    prior: obc.inStore ? obc.info.version : eversionZero,
    userVersion,
    reqid: ctx.requestId,
    mtime: info.mtime,
    returnCode: 0,
    returns: undefined,
  });
  const after = { info, inStore: ctx.inStore, snapset };
  return { entries, made: made?.oid, before, behind, after, version, userVersion };
}

/** The entry of a write that failed or changed nothing: a repeat of it gets the same answer. */
export function errorEntry(ctx: OpContext, version: EVersion, rval: number, wantsReturns: boolean): LogEntry {
  const shown = (out: readonly Uint8Array[]): Uint8Array =>
    (out[0] ?? new Uint8Array(0)).subarray(0, maxWriteReplyBytes);
  return {
    op: 'error',
    oid: ctx.obc.oid,
    version,
    prior: eversionZero,
    userVersion: ctx.obc.info.userVersion,
    reqid: ctx.requestId,
    mtime: ctx.mtime,
    returnCode: rval,
    returns: wantsReturns ? ctx.results.map((r) => ({ rval: r.rval, data: shown(r.out) })) : undefined,
  };
}

function digests({ obc, ops, host, cid }: OpContext): Digests {
  const before = obc.inStore ? obc.info : emptyDigests;
  return digestsAfter(before, obc.inStore ? obc.info.size : 0, ops, obc.key, (key) => {
    const source = host.store.xattr(cid, key, infoXattr);
    return source === undefined ? noObject : decodeObjectInfo(source);
  });
}
