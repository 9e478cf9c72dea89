import { isDamage } from '../blockstore/errors.ts';
import { utimeZero } from '../wire/encoding.ts';
import type { MOSDCopyGet, MOSDCopyGetReply } from '../wire/messages/osd_copy.ts';
import { PG_ACTIVE } from '../wire/messages/osd_mgr.ts';
import { notFound, readPiece } from './object-copy.ts';
import type { OpEngine } from './op-engine.ts';
import { EIO, ENOENT, EOVERFLOW, ERANGE } from './ops/errno.ts';
import { headOf } from './object-key.ts';
import type { PgCore } from './pg-core.ts';

/**
 * Gives a piece of an object to the OSD that copies it, in turn with the requests of clients on the object. Without an answer (not led from here, a new interval, the
 * read lease has run out) the OSD asks again.
 */
export function serveCopyGet(
  core: PgCore,
  engine: OpEngine,
  m: MOSDCopyGet,
  reply: (value: MOSDCopyGetReply) => void,
): void {
  if (!core.isPrimary || !core.hasState(PG_ACTIVE)) return;
  const answer = (result: number, fields: Partial<MOSDCopyGetReply> = {}): void => {
    if (!core.lease.readable) return;
    reply({
      ...core.head(),
      tid: m.tid,
      result,
      userVersion: 0,
      mtime: utimeZero,
      truncateSeq: 0,
      truncateSize: 0,
      item: notFound(m.oid, m.from),
      ...fields,
    });
  };
  engine.internalRead(headOf(m.oid), m.oid.snap, (obc, done) => {
    const { info } = obc ?? {};
    let result = 0;
    if (obc?.damaged === true) {
      if (!engine.repair(obc)) answer(EIO);
      done();
      return;
    }
    if (obc === undefined || info === undefined || !obc.exists) result = ENOENT;
    else if (m.userVersion !== 0 && m.userVersion < info.userVersion) result = ERANGE;
    else if (m.userVersion !== 0 && m.userVersion > info.userVersion) result = EOVERFLOW;
    if (result < 0) {
      answer(result);
      done();
      return;
    }
    const { userVersion, mtime, truncateSeq, truncateSize } = info!;
    readPiece(engine.objects, core.meta.cid, obc!.oid, m.from)
      .then(
        (item) => answer(0, { userVersion, mtime, truncateSeq, truncateSize, item }),
        (error: unknown) => {
          if (isDamage(error) && engine.repair(obc!)) return;
          core.env.log.error('object to be copied could not be read', { pg: core.text, oid: m.oid.name, error });
          answer(EIO);
        },
      )
      .finally(done);
  });
}
