import { LOG_INFO } from '../wire/messages/log.ts';
import { utimeToMs } from '../wire/encoding.ts';
import { healthOf } from './health.ts';
import { dropStandbyMgr, failActiveMgr } from './handlers/mgr.ts';
import type { Mon } from './mon.ts';
import { markAutoOut, markDown } from './osd/daemons.ts';
import { canMarkDown, type FailureLimits } from './osd/failures.ts';
import { changePool, quotaFlags } from './osd/pools.ts';
import { poolStored } from './stats.ts';

/** How often the mon looks at what only time changes. */
export const tickMs = 1000;
/** A tick that comes this late: the mon itself stood still, and others' silence proves nothing. */
const stalledMs = 3000;
/** OSDMaps are trimmed when there are so many more than must be kept. */
const trimAtLeast = 64;

export function failureLimits(mon: Mon): FailureLimits {
  return {
    minReporters: mon.options.number('mon_osd_min_down_reporters'),
    reporterLevel: mon.options.text('mon_osd_reporter_subtree_level'),
    graceMs: mon.options.number('osd_heartbeat_grace') * 1000,
    minUpRatio: mon.options.number('mon_osd_min_up_ratio'),
  };
}

/** Everything that is due. `lateMs`: how much later than planned it is called. */
export function tick(mon: Mon, lateMs: number): void {
  mon.followQuorum(lateMs);
  if (!mon.quorum.leads) return;
  if (lateMs > stalledMs) forgive(mon, lateMs);
  mon.followMembers().catch(() => undefined);
  mon.yieldLead();
  silentOsds(mon);
  reportedOsds(mon);
  downForLong(mon);
  silentMgr(mon);
  expiredBlocklist(mon);
  quotas(mon);
  secrets(mon);
  trim(mon);
  expiredMutes(mon);
  mon.healthWatch.follow(mon, healthOf(mon));
}

function forgive(mon: Mon, lateMs: number): void {
  mon.log.warn('the mon stood still', { ms: Math.round(lateMs) });
  const now = mon.clock.monotonic();
  for (const osd of mon.osdHeard.keys()) mon.osdHeard.set(osd, now);
  for (const gid of mon.mgrHeard.keys()) mon.mgrHeard.set(gid, now);
  mon.failures.forgive(lateMs);
  mon.downTimes.forgive(lateMs);
}

function silentOsds(mon: Mon): void {
  const limit = mon.options.number('mon_osd_report_timeout') * 1000;
  const now = mon.clock.monotonic();
  for (const [osd, heard] of mon.osdHeard) {
    if (now - heard < limit || !mon.state.osdmap.isUp(osd)) continue;
    if (!canMarkDown(mon.state.osdmap, osd, failureLimits(mon))) continue;
    const seconds = Math.round((now - heard) / 1000);
    mon.background('marking an OSD down', (draft) => {
      if (markDown(draft, osd))
        draft.log(mon.line(LOG_INFO, `osd.${osd} marked down after no beacon for ${seconds} seconds`));
    });
  }
}

function reportedOsds(mon: Mon): void {
  for (const { osd, reason } of mon.failures.check(mon.state.osdmap, mon.clock.monotonic(), failureLimits(mon)))
    mon.background('marking an OSD down', (draft) => {
      if (markDown(draft, osd)) draft.log(mon.line(LOG_INFO, reason));
    });
}

function downForLong(mon: Mon): void {
  const due = mon.downTimes.due(mon.state.osdmap, mon.clock.monotonic(), {
    intervalMs: mon.options.number('mon_osd_down_out_interval') * 1000,
    minInRatio: mon.options.number('mon_osd_min_in_ratio'),
    subtreeLimit: mon.options.text('mon_osd_down_out_subtree_limit'),
  });
  if (due.length === 0) return;
  mon.background('marking OSDs out', (draft) => {
    draft.osdmap((inc, map) => {
      let changed = false;
      for (const { osd, downMs } of due) {
        if (map.isUp(osd) || map.isOut(osd)) continue;
        markAutoOut(inc, map, osd);
        changed = true;
        const seconds = Math.round(downMs / 1000);
        draft.log(mon.line(LOG_INFO, `Marking osd.${osd} out (has been down for ${seconds} seconds)`));
      }
      return changed;
    });
  });
}

function silentMgr(mon: Mon): void {
  const { mgrmap } = mon.state;
  const now = mon.clock.monotonic();
  const limit = mon.options.number('mon_mgr_beacon_grace') * 1000;
  const silent = (gid: bigint): boolean =>
    now - (mon.mgrHeard.get(gid) ?? mon.mgrHeard.set(gid, now).get(gid)!) > limit;
  // First, so that no dead standby follows.
  const gone = [...mgrmap.standbys.keys()].filter(silent);
  if (gone.length > 0)
    mon.background('dropping standby mgrs', (draft) => {
      for (const gid of gone) dropStandbyMgr(draft, gid);
    });
  if (mgrmap.activeGid !== 0n && silent(mgrmap.activeGid))
    mon.background('failing the mgr', (draft) => {
      if (draft.state.mgrmap.activeGid !== mgrmap.activeGid) return;
      failActiveMgr(draft);
      const { activeName: next } = draft.state.mgrmap;
      const follows = next === '' ? '.  No standby daemons available.' : `, replacing it with standby daemon ${next}`;
      draft.log(mon.line(LOG_INFO, `Manager daemon ${mgrmap.activeName} is unresponsive${follows}`));
    });
  for (const gid of mon.mgrHeard.keys())
    if (gid !== mgrmap.activeGid && !mgrmap.standbys.has(gid)) mon.mgrHeard.delete(gid);
}

function expiredBlocklist(mon: Mon): void {
  const now = mon.clock.now();
  const expired = mon.state.osdmap.blocklist.filter(({ until }) => utimeToMs(until) < now);
  if (expired.length === 0) return;
  mon.background('the blocklist', (draft) => {
    draft.osdmap((inc) => {
      for (const { addr } of expired) inc.oldBlocklist.push(addr);
    });
  });
}

function quotas(mon: Mon): void {
  const { digest } = mon;
  if (digest === undefined) return;
  const due = [...mon.state.osdmap.pools].filter(
    ([id, pool]) => quotaFlags(pool, poolStored(digest, mon.state.osdmap, id)) !== pool.flags,
  );
  if (due.length === 0) return;
  mon.background('pool quotas', (draft) => {
    draft.osdmap((inc, map) => {
      for (const [id] of due) {
        const pool = map.pools.get(id);
        if (pool === undefined) continue;
        const flags = quotaFlags(pool, poolStored(digest, map, id));
        if (flags === pool.flags) continue;
        changePool(inc, map, id, (p) => ({ ...p, flags }));
        const name = map.poolNames.get(id);
        const what = flags > pool.flags ? 'is full (reached quota)' : 'no longer out of quota; removing NO_QUOTA flag';
        draft.log(mon.line(LOG_INFO, `pool '${name}' ${what}`));
      }
      return inc.newPools.size > 0;
    });
  });
}

function secrets(mon: Mon): void {
  const now = mon.clock.now();
  const due = [...mon.state.auth.rotating.values()].some((list) => (list[1]?.expiresMs ?? 0) <= now);
  if (due) mon.background('rotating secrets', (draft) => mon.rotate(draft));
}

/** Maps that every PG is done with, and more than must be kept, go. */
function trim(mon: Mon): void {
  const { osdmap, osdmapFirst } = mon.state;
  const keep = Math.max(trimAtLeast, mon.options.number('mon_min_osdmap_epochs'));
  let first = osdmap.epoch - keep;
  for (const osd of osdmap.osds()) if (osdmap.isUp(osd)) first = Math.min(first, mon.osdLastClean.get(osd) ?? 0);
  if (first - osdmapFirst < trimAtLeast) return;
  mon.background('trimming OSDMaps', (draft) => draft.trimOsdmaps(first));
}

function expiredMutes(mon: Mon): void {
  const now = mon.clock.now();
  if (!mon.state.mutes.some(({ expiresMs }) => expiresMs > 0 && expiresMs <= now)) return;
  mon.background('health mutes', (draft) =>
    draft.setMutes(draft.state.mutes.filter(({ expiresMs }) => expiresMs === 0 || expiresMs > now)),
  );
}
