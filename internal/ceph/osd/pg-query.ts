import { EINVAL, Refusal } from '../mon/errno.ts';
import { utimeText } from '../mon/format/units.ts';
import { pgStateText } from '../wire/messages/osd_mgr.ts';
import type { PgInfo } from '../wire/messages/osd_pg.ts';
import { compareHObject, eversionText, SNAP_HEAD } from '../wire/types.ts';
import { objectId } from './object-key.ts';
import type { Pg } from './pg.ts';
import type { PgCore } from './pg-core.ts';
import { memberText, noMember, osdOf } from './shards.ts';

function infoJson(pgid: string, info: PgInfo): Record<string, unknown> {
  const { history } = info;
  return {
    pgid,
    last_update: eversionText(info.lastUpdate),
    last_complete: eversionText(info.lastComplete),
    log_tail: eversionText(info.logTail),
    last_user_version: info.lastUserVersion,
    last_backfill: info.lastBackfill.max ? 'MAX' : objectId(info.lastBackfill) || 'MIN',
    purged_snaps: [],
    history: {
      epoch_created: history.epochCreated,
      epoch_pool_created: history.epochCreated,
      last_epoch_started: history.lastEpochStarted,
      last_interval_started: history.lastIntervalStarted,
      last_epoch_clean: history.lastEpochClean,
      last_interval_clean: history.lastIntervalClean,
      same_up_since: history.sameUpSince,
      same_interval_since: history.sameIntervalSince,
      same_primary_since: history.samePrimarySince,
      last_scrub: eversionText(history.lastScrub),
      last_scrub_stamp: utimeText(history.lastScrubStamp),
      last_deep_scrub: eversionText(history.lastDeepScrub),
      last_deep_scrub_stamp: utimeText(history.lastDeepScrubStamp),
      last_clean_scrub_stamp: utimeText(history.lastCleanScrubStamp),
    },
    stats: {
      stat_sum: {
        num_bytes: info.sums.bytes,
        num_objects: info.sums.objects,
        num_object_clones: info.sums.objectClones,
        num_scrub_errors: info.sums.scrubErrors,
        num_shallow_scrub_errors: info.sums.shallowScrubErrors,
        num_deep_scrub_errors: info.sums.deepScrubErrors,
        num_objects_repaired: info.sums.objectsRepaired,
      },
    },
    empty: info.lastUpdate.version === 0 ? 1 : 0,
    incomplete: info.lastBackfill.max ? 0 : 1,
    last_epoch_started: info.lastEpochStarted,
  };
}

/** `ceph pg <id> query`: upstream's shape, with what we keep. */
export function pgQuery(
  core: PgCore,
  phase: string,
  unfound: number,
  blockedBy: readonly number[],
): Record<string, unknown> {
  const { key, meta } = core;
  const members = [core.env.whoami, ...core.members];
  return {
    snap_trimq: '[]',
    snap_trimq_len: 0,
    state: pgStateText(core.state),
    epoch: core.map.epoch,
    up: key.up.map(osdOf),
    acting: key.acting.map(osdOf),
    backfill_targets: [...core.backfillTargets].map(memberText),
    acting_recovery_backfill: (core.isPrimary ? members : key.acting)
      .filter((member) => member !== noMember)
      .map(memberText),
    info: infoJson(core.text, core.info),
    peer_info: [...core.peers].map(([osd, peer]) => ({
      peer: memberText(osd),
      ...infoJson(core.text, peer.info),
      num_missing: peer.missing?.size ?? null,
    })),
    recovery_state: [
      {
        name: phase,
        num_missing: meta.missing.size,
        num_unfound: unfound,
        blocked_by: blockedBy.map(osdOf),
        past_intervals: meta.past.map((i) => ({
          first: i.first,
          last: i.last,
          maybe_went_rw: i.maybeWentRw ? 1 : 0,
          up: i.up.map(osdOf),
          acting: i.acting.map(osdOf),
          primary: osdOf(i.primary),
          up_primary: osdOf(i.upPrimary),
        })),
      },
    ],
  };
}

/** Most objects that one answer lists. */
const unfoundListed = 1000;

/** What `ceph pg <id> list_unfound` shows: objects that no OSD has, behind the one named in `offset` (JSON of an earlier answer's last object). */
export function listUnfound(pg: Pg, offset: string | undefined): Record<string, unknown> {
  const { core, recovery } = pg;
  const after = offset === undefined ? undefined : offsetName(offset);
  const all = recovery.unfoundObjects().sort((a, b) => compareHObject(a.oid, b.oid));
  const from = after === undefined ? 0 : all.findIndex(({ oid }) => oid.name === after) + 1;
  const shown = all.slice(from, from + unfoundListed);
  return {
    ...(offset === undefined ? {} : { offset }),
    num_missing: core.meta.missing.size,
    num_unfound: recovery.unfound,
    objects: shown.map(({ oid, need, have }) => ({
      oid: {
        oid: oid.name,
        key: oid.key,
        snapid: oid.snap === SNAP_HEAD ? -2 : Number(oid.snap),
        hash: oid.hash,
        max: 0,
        pool: oid.pool,
        namespace: oid.nspace,
      },
      need: eversionText(need),
      have: eversionText(have),
      flags: 'none',
      clean_regions: 'clean_offsets: [], clean_omap: 0, new_object: 0',
      locations: [],
    })),
    state: 'NotRecovering',
    available_might_have_unfound: true,
    might_have_unfound: [...core.peers.keys()]
      .filter((member) => core.peers.get(member)!.missing === undefined)
      .map((member) => ({ osd: memberText(member), status: core.map.isUp(member) ? 'querying' : 'osd is down' })),
    more: from + shown.length < all.length,
  };
}

/** Errors: EINVAL. */
function offsetName(text: string): string {
  try {
    const { oid } = JSON.parse(text) as { oid?: unknown };
    if (typeof oid === 'string') return oid;
  } catch {
    // Said below.
  }
  throw new Refusal(EINVAL, `offset must be the JSON of an object with its name in 'oid', not '${text}'`);
}
