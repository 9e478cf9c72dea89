import { RELEASE_PACIFIC } from '../../maps/constants.ts';
import { emptyMgrMap, type MgrMap } from '../../maps/mgrmap.ts';
import { decodeServiceMap } from '../../maps/servicemap.ts';
import { utimeToMs } from '../../wire/encoding.ts';
import { LOG_INFO } from '../../wire/messages/log.ts';
import { MMgrBeacon, type MMgrBeaconValue, MMonMgrReport } from '../../wire/messages/mgr_mon.ts';
import { ENTITY_MGR, sameAddrs } from '../../wire/types.ts';
import type { Draft } from '../draft.ts';
import type { Mon } from '../mon.ts';

/** Modules that run whatever is enabled: what our mgr always does. */
export const alwaysOnModules: readonly string[] = ['balancer', 'crash', 'devicehealth', 'progress', 'status'];

/** Beacons and reports of mgrs. */
export function handleMgr(mon: Mon): void {
  mon.handlers
    .on(MMgrBeacon, (session, beacon) => {
      if (session.name.type !== ENTITY_MGR || session.name.id !== beacon.name || beacon.fsid !== mon.state.fsid) return;
      if (!session.may('mgr', 'x')) return;
      mon.mgrHeard.set(beacon.gid, mon.clock.monotonic());
      if (!changesMap(mon.state.mgrmap, beacon)) return;
      return mon.change('a beacon of the mgr', (draft) => {
        const log = takeBeacon(draft, beacon);
        if (log !== undefined) draft.log(mon.line(LOG_INFO, log));
      });
    })
    .on(MMonMgrReport, (session, report) => {
      if (session.name.type !== ENTITY_MGR || report.fsid !== mon.state.fsid) return;
      // One that was replaced knows less than its successor.
      if (!session.may('mgr', 'x') || report.gid !== mon.state.mgrmap.activeGid) return;
      if (mon.digest?.gid === report.gid && report.version <= mon.digest.version) return;
      mon.digest = report;
      if (report.serviceMap.length === 0) return;
      const map = decodeServiceMap(report.serviceMap);
      if (map.epoch > mon.state.servicemap.epoch)
        return mon.change('the service map', (draft) => draft.setServiceMap(map));
    });
}

function moduleNames(map: MgrMap): string {
  return map.availableModules.map(({ name }) => name).join(' ');
}

/** Beacons come every two seconds: only one that says something new makes a map. */
function changesMap(map: MgrMap, beacon: MMgrBeaconValue): boolean {
  if (beacon.gid === map.activeGid)
    return (
      beacon.available !== map.available ||
      !sameAddrs(beacon.addrs, map.activeAddrs) ||
      [...beacon.modules].sort().join(' ') !== moduleNames(map) ||
      beacon.clients.length !== map.clients.length ||
      beacon.clients.some((client, i) => !sameAddrs(client.addrs, map.clients[i]!.addrs))
    );
  if (map.activeGid === 0n || beacon.name === map.activeName) return true;
  return !map.standbys.has(beacon.gid);
}

/** Follows the beacon; gives a line for the log when the active mgr changed. */
export function takeBeacon(draft: Draft, beacon: MMgrBeaconValue): string | undefined {
  const map = draft.state.mgrmap;
  const modules = [...beacon.modules].sort().map((name) => ({ name, canRun: true, error: '', options: new Map() }));
  const standbys = new Map(map.standbys);
  standbys.delete(beacon.gid);
  // The same name with another gid: the daemon was restarted.
  for (const [gid, { name }] of standbys) if (name === beacon.name) standbys.delete(gid);
  const becomes = map.activeGid === 0n || beacon.name === map.activeName;
  draft.setMgrMetadata(beacon.name, beacon.metadata);
  if (!becomes) {
    standbys.set(beacon.gid, { gid: beacon.gid, name: beacon.name, modules, features: beacon.features });
    draft.setMgrMap({ ...map, epoch: map.epoch + 1, standbys });
    return undefined;
  }
  const isNew = map.activeGid !== beacon.gid;
  draft.setMgrMap({
    ...map,
    epoch: map.epoch + 1,
    activeGid: beacon.gid,
    activeName: beacon.name,
    activeAddrs: beacon.available ? beacon.addrs : [],
    available: beacon.available,
    activeChange: isNew ? draft.now : map.activeChange,
    activeFeatures: beacon.features,
    availableModules: modules,
    alwaysOnModules: new Map([[RELEASE_PACIFIC, alwaysOnModules]]),
    clients: beacon.clients,
    standbys,
  });
  if (isNew) return `Activating manager daemon ${beacon.name}`;
  return beacon.available && !map.available ? `Manager daemon ${beacon.name} is now available` : undefined;
}

/**
 * Takes the active mgr's place away: it is silent or a person failed it. Its clients are blocklisted, so that nothing it started goes on; the first
 * standby follows.
 */
export function failActiveMgr(draft: Draft): void {
  const map = draft.state.mgrmap;
  let { lastFailureOsdEpoch } = map;
  const addrs = [...map.activeAddrs, ...map.clients.flatMap(({ addrs: list }) => [...list])];
  if (addrs.length > 0) {
    const until = draft.nowMs + 24 * 3600_000;
    const next = draft.osdmap((inc) => {
      for (const addr of addrs) inc.newBlocklist.push({ addr, until: { sec: Math.floor(until / 1000), nsec: 0 } });
    });
    lastFailureOsdEpoch = next.epoch;
  }
  const [next] = [...map.standbys.values()].sort((a, b) => (a.gid < b.gid ? -1 : 1));
  const standbys = new Map(map.standbys);
  if (next !== undefined) standbys.delete(next.gid);
  draft.setMgrMap({
    ...emptyMgrMap,
    epoch: map.epoch + 1,
    modules: map.modules,
    alwaysOnModules: map.alwaysOnModules,
    standbys,
    lastFailureOsdEpoch,
    activeChange: draft.now,
    ...(next !== undefined && {
      activeGid: next.gid,
      activeName: next.name,
      activeFeatures: next.features,
      availableModules: next.modules,
    }),
  });
}

/** For how long there has been no mgr that serves, in milliseconds; 0 when there is one. */
export function mgrMissingMs(map: MgrMap, nowMs: number): number {
  return map.available ? 0 : Math.max(0, nowMs - utimeToMs(map.activeChange));
}
