import type { PgLease } from '../wire/messages/osd_lease.ts';
import type { MOSDPGLog } from '../wire/messages/osd_osd.ts';
import { copyPgInfo } from '../wire/messages/osd_pg.ts';
import { compareEVersion, hobjectMin } from '../wire/types.ts';
import { MissingSet } from './missing.ts';
import { objectKey } from './object-key.ts';
import type { Peer, PgCore } from './pg-core.ts';
import { completeUpTo } from './pg-meta.ts';

/** What a member takes over when it activates. */
export type Activation = Pick<MOSDPGLog, 'info' | 'log' | 'past' | 'activate' | 'lease'>;

/** How many recent entries a copy gets that starts backfill, so that it can soon follow by log. */
const backfillLogEntries = 250;

/** What the primary sends a member so that it activates; from then on it is taken for that. */
export function activationOf(core: PgCore, osd: number, lease: PgLease): Activation {
  const { info, meta } = core;
  const { log } = meta;
  const peer = core.peers.get(osd)!;
  const theirs = peer.info;
  const restart =
    compareEVersion(log.tail, theirs.lastUpdate) > 0 ||
    (!theirs.lastBackfill.max && theirs.lastBackfill.name === '') ||
    (core.backfillTargets.has(osd) && theirs.lastBackfill.max);
  if (restart && !(theirs.lastUpdate.version === 0 && info.lastUpdate.version === 0))
    return activationFromNothing(core, osd, peer);
  const segment = log.segment(theirs.lastUpdate);
  const activation: Activation = { info: core.infoCopy(), log: segment, past: [...meta.past], activate: 'log', lease };
  const missing = peer.missing!;
  for (const entry of segment.entries)
    if (theirs.lastBackfill.max || Buffer.compare(objectKey(entry.oid), objectKey(theirs.lastBackfill)) <= 0)
      missing.addNext(entry);
  theirs.lastUpdate = info.lastUpdate;
  theirs.lastComplete = completeUpTo(log, missing, info.lastUpdate);
  if (!theirs.lastBackfill.max) core.backfillTargets.add(osd);
  return activation;
}

function activationFromNothing(core: PgCore, osd: number, peer: Peer): Activation {
  const { log } = core.meta;
  core.backfillTargets.add(osd);
  const info = core.infoCopy();
  info.lastBackfill = hobjectMin;
  info.lastComplete = info.lastUpdate;
  const cut = log.trimPoint(backfillLogEntries);
  const segment = log.segment(cut);
  info.logTail = segment.tail;
  segment.dups = core.meta.oldEntries(core.env.store);
  if (cut !== undefined) segment.dups.push(...log.all().filter((e) => compareEVersion(e.version, cut) <= 0));
  peer.info = info;
  peer.missing = new MissingSet();
  const past = [...core.meta.past];
  return { info: copyPgInfo(info), log: segment, past, activate: 'backfill', lease: undefined };
}
