/** What an operator wants recovered first: the mgr tells the OSDs that lead the PGs (`src/messages/MOSDForceRecovery.h`, upstream's body). */
import { frontCodec } from '../message.ts';
import { decodeShardPg, encodeShardPg, type ShardPgId } from '../types.ts';

export const MSG_OSD_FORCE_RECOVERY = 151;

export interface MOSDForceRecovery {
  fsid: string;
  pgs: readonly ShardPgId[];
  what: 'recovery' | 'backfill';
  /** False: no more. */
  wanted: boolean;
}

const RECOVERY = 1;
const BACKFILL = 2;
const CANCEL = 4;

export const MOSDForceRecovery = frontCodec<MOSDForceRecovery>(
  { type: MSG_OSD_FORCE_RECOVERY, name: 'MOSDForceRecovery', version: 2, compat: 2 },
  (e, m) => {
    e.uuid(m.fsid).list(m.pgs, encodeShardPg);
    e.u8((m.what === 'recovery' ? RECOVERY : BACKFILL) | (m.wanted ? 0 : CANCEL));
  },
  (d) => {
    const fsid = d.uuid();
    const pgs = d.list(decodeShardPg, 24);
    const options = d.u8();
    return { fsid, pgs, what: (options & BACKFILL) !== 0 ? 'backfill' : 'recovery', wanted: (options & CANCEL) === 0 };
  },
);
