import type { TransactionOp } from '../blockstore/api.ts';
import type { MOSDPGLog } from '../wire/messages/osd_osd.ts';
import { eversionText } from '../wire/types.ts';
import { objectKey } from './object-key.ts';
import type { PgCore } from './pg-core.ts';
import { mergeLog } from './pg-log.ts';
import { completeUpTo } from './pg-meta.ts';

/** Merges the log that is right into this copy's, and gives the changes of objects that it asks for. */
export function takeLog({ meta, info, erasure, env, text }: PgCore, { log, info: theirs }: MOSDPGLog): TransactionOp[] {
  const { rewoundTo, added, undo, remove } = mergeLog(
    meta.log,
    meta.missing,
    log,
    info.lastBackfill,
    erasure ? meta.rollback : undefined,
  );
  meta.merged(rewoundTo, added);
  info.lastUpdate = meta.log.head;
  info.lastUserVersion = Math.max(info.lastUserVersion, theirs.lastUserVersion);
  info.lastComplete = completeUpTo(meta.log, meta.missing, info.lastUpdate);
  if (rewoundTo !== undefined || added.length > 0)
    env.log.info('took log over', {
      pg: text,
      head: eversionText(meta.log.head),
      added: added.length,
      rewoundTo: rewoundTo === undefined ? '' : eversionText(rewoundTo),
      missing: meta.missing.size,
    });
  return [...undo, ...remove.map((oid): TransactionOp => ({ op: 'remove', cid: meta.cid, key: objectKey(oid) }))];
}
