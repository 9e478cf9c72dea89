import { LOG_INFO, LOG_WARN } from '../../wire/messages/log.ts';
import {
  MOSDAlive,
  MOSDBeacon,
  MOSDBoot,
  MOSDFailure,
  MOSDFull,
  MOSDMarkMeDead,
  MOSDMarkMeDown,
  MOSDPGReadyToMerge,
  MOSDPGTemp,
} from '../../wire/messages/osd_mon.ts';
import { addrVecText, ENTITY_OSD } from '../../wire/types.ts';
import type { Mon } from '../mon.ts';
import { bootOsd, markDead, markDown } from '../osd/daemons.ts';
import { setOsdFullness } from '../osd/fullness.ts';
import { changePool, mergedPool } from '../osd/pools.ts';
import { failureLimits } from '../tick.ts';
import type { Session } from '../session.ts';

/** A message about `osd` is believed only from the OSD itself, and only by those who may execute OSD requests. */
function isOsd(mon: Mon, session: Session, osd: number, fsid: string): boolean {
  const right = session.name.type === ENTITY_OSD && session.name.id === String(osd);
  if (right && fsid === mon.state.fsid && session.may('osd', 'x')) return true;
  mon.log.warn('a message of an OSD from somebody else, or of another cluster, is ignored', {
    entity: session.entity,
    osd,
    fsid,
  });
  return false;
}

/** What OSDs tell the mon of themselves and of each other. */
export function handleOsds(mon: Mon): void {
  const heard = (osd: number): void => {
    if (mon.state.osdmap.isUp(osd)) mon.osdHeard.set(osd, mon.clock.monotonic());
  };

  mon.handlers
    .on(MOSDBoot, async (session, boot) => {
      const osd = boot.osdId;
      if (!isOsd(mon, session, osd, boot.fsid)) return;
      const result = await mon.update((draft) => {
        const done = bootOsd(draft, boot);
        if (done.kind === 'booted') draft.log(mon.line(LOG_INFO, `osd.${osd} ${addrVecText(boot.clientAddrs)} boot`));
        return done;
      });
      if (result.kind === 'refused') {
        mon.log.warn('an OSD may not boot', { osd, reason: result.reason });
        mon.background('log', (draft) => draft.log(mon.line(LOG_WARN, `boot of osd.${osd} refused: ${result.reason}`)));
        return;
      }
      mon.failures.forget(osd);
      mon.osdHeard.set(osd, mon.clock.monotonic());
      // It learns from the map that it is up: send what it lacks, also when it did not subscribe yet.
      if (!session.wanted.has('osdmap')) mon.publisher.sendNewest(session);
    })
    .on(MOSDAlive, (session, request) => {
      if (!isOsd(mon, session, request.osdId, request.fsid)) return;
      heard(request.osdId);
      mon.requests.alive(request);
      return mon.collect();
    })
    .on(MOSDPGTemp, (session, request) => {
      if (!isOsd(mon, session, request.osdId, request.fsid)) return;
      heard(request.osdId);
      mon.requests.pgTemp(request);
      return mon.collect();
    })
    .on(MOSDPGReadyToMerge, (session, report) => {
      if (!isOsd(mon, session, report.osdId, report.fsid)) return;
      heard(report.osdId);
      return mon.change('merging a PG', (draft) => {
        const id = report.source.pool;
        const { osdmap } = draft.state;
        const pool = osdmap.pools.get(id);
        const merged = pool === undefined ? undefined : mergedPool(pool, report, osdmap.epoch + 1);
        if (merged === undefined) return;
        draft.osdmap((inc, map) => {
          changePool(inc, map, id, () => merged);
        });
      });
    })
    .on(MOSDFailure, (session, report) => {
      if (!isOsd(mon, session, report.reporter, report.fsid)) return;
      heard(report.reporter);
      const found = mon.failures.report(mon.state.osdmap, report, mon.clock.monotonic(), failureLimits(mon));
      if (found === undefined) return;
      return mon.change('marking an OSD down', (draft) => {
        if (markDown(draft, found.osd, report.targetAddrs, found.dead)) draft.log(mon.line(LOG_INFO, found.reason));
      });
    })
    .on(MOSDFull, (session, { state }) => {
      const osd = Number(session.name.id);
      if (!isOsd(mon, session, osd, mon.state.fsid) || !mon.state.osdmap.isUp(osd)) return;
      heard(osd);
      return mon.change('how full an OSD is', (draft) => {
        draft.osdmap((inc, map) => setOsdFullness(inc, map, osd, state));
      });
    })
    .on(MOSDMarkMeDown, (session, request) => {
      const osd = request.osdId;
      if (!isOsd(mon, session, osd, request.fsid)) return;
      return mon.change('marking an OSD down', (draft) => {
        if (!markDown(draft, osd, request.addrs, request.dead)) return;
        const how = request.dead ? 'down and dead' : 'down';
        draft.log(mon.line(LOG_INFO, `osd.${osd} marked itself ${how}`));
      });
    })
    .on(MOSDMarkMeDead, (session, request) => {
      const { osdId: osd, epoch } = request;
      if (!isOsd(mon, session, osd, request.fsid)) return;
      return mon.change('marking an OSD dead', (draft) => {
        if (markDead(draft, osd, epoch)) draft.log(mon.line(LOG_INFO, `osd.${osd} knows that it is down`));
      });
    })
    .on(MOSDBeacon, (session, beacon) => {
      if (!isOsd(mon, session, beacon.osdId, beacon.fsid)) return;
      heard(beacon.osdId);
      mon.osdLastClean.set(beacon.osdId, beacon.minLastEpochClean);
      if (!mon.state.osdmap.isUp(beacon.osdId) && beacon.epoch >= mon.state.osdmap.epoch)
        mon.log.debug('a beacon of an OSD that is down', { osd: beacon.osdId });
    });
}
