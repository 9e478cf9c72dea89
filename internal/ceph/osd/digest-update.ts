import type { CollectionId } from '../blockstore/api.ts';
import { utimeToMs } from '../wire/encoding.ts';
import { compareEVersion, type EVersion, SNAP_HEAD } from '../wire/types.ts';
import type { InternalWrite } from './engine-host.ts';
import { encodeObjectInfo, infoXattr, type ObjectInfo } from './object-info.ts';
import type { OpEngine } from './op-engine.ts';
import type { ObjectContext } from './ops/object-context.ts';
import type { DigestFix } from './scrub-compare.ts';

/** Which digests that a scrub found are to be noted (`osd_deep_scrub_update_digest_min_age`): of objects that are not young; wrong ones by a repair. */
export function digestsToNote(
  fixes: readonly DigestFix[],
  repair: boolean,
  nowMs: number,
  minAgeSec: number,
): DigestFix[] {
  return fixes.filter(({ oid, wrong, mtime }) => {
    // A clone does not change any more: it has the digests that its head had.
    if (oid.snap !== SNAP_HEAD) return false;
    return wrong ? repair : nowMs - utimeToMs(mtime) > minAgeSec * 1000;
  });
}

/** The write that notes an object's digests (`PrimaryLogPG::_scrub` with `missing_digest`); undefined: it has changed since. */
export function noteDigests(
  cid: CollectionId,
  obc: ObjectContext,
  fix: DigestFix,
  version: EVersion,
): InternalWrite | undefined {
  if (!obc.inStore || compareEVersion(obc.info.version, fix.version) !== 0) return undefined;
  const info: ObjectInfo = {
    ...obc.info,
    version,
    dataDigest: fix.dataDigest ?? obc.info.dataDigest,
    omapDigest: fix.omapDigest ?? obc.info.omapDigest,
  };
  return {
    entries: [
      {
        op: 'modify',
        oid: obc.oid,
        version,
        prior: obc.info.version,
        userVersion: info.userVersion,
        reqid: undefined,
        mtime: info.mtime,
        returnCode: 0,
        returns: undefined,
      },
    ],
    ops: [{ op: 'set-xattrs', cid, key: obc.key, xattrs: new Map([[infoXattr, encodeObjectInfo(info)]]) }],
    after: { info, inStore: true, snapset: obc.snapset },
  };
}

/** Does these writes, in turn with those of clients; `done` is called when all are on all disks, not when a new interval begins. */
export function writeDigests(engine: OpEngine, cid: CollectionId, fixes: readonly DigestFix[], done: () => void): void {
  let waiting = 1;
  const one = (): void => {
    if (--waiting === 0) done();
  };
  for (const fix of fixes) {
    waiting++;
    engine.internalWrite(fix.oid, (obc) => noteDigests(cid, obc, fix, engine.nextVersion()), one);
  }
  one();
}
