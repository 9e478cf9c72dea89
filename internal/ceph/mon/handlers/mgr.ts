import { RELEASE_PACIFIC } from '../../maps/constants.ts';
import { emptyMgrMap, type MgrMap } from '../../maps/mgrmap.ts';
import { decodeServiceMap } from '../../maps/servicemap.ts';
import { LOG_DEBUG, LOG_INFO } from '../../wire/messages/log.ts';
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
        for (const { level, text } of takeBeacon(draft, beacon)) draft.log(mon.line(level, text));
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

function sameServices(a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean {
  return a.size === b.size && [...a].every(([name, uri]) => b.get(name) === uri);
}

function sameModules(known: readonly { name: string }[], told: readonly string[]): boolean {
  return known.map(({ name }) => name).join(' ') === [...told].sort().join(' ');
}

/** Beacons come every two seconds: only one that says something new makes a map. */
function changesMap(map: MgrMap, beacon: MMgrBeaconValue): boolean {
  if (beacon.gid === map.activeGid)
    return (
      beacon.available !== map.available ||
      !sameAddrs(beacon.addrs, map.activeAddrs) ||
      !sameServices(beacon.services, map.services) ||
      !sameModules(map.availableModules, beacon.modules) ||
      beacon.clients.length !== map.clients.length ||
      beacon.clients.some((client, i) => !sameAddrs(client.addrs, map.clients[i]!.addrs))
    );
  if (map.activeGid === 0n || beacon.name === map.activeName) return true;
  const standby = map.standbys.get(beacon.gid);
  return standby === undefined || !sameModules(standby.modules, beacon.modules);
}

/** What the cluster log hears of a change of the mgrs. */
export interface MgrLine {
  readonly level: number;
  readonly text: string;
}

/** Follows the beacon; gives lines for the log. */
export function takeBeacon(draft: Draft, beacon: MMgrBeaconValue): MgrLine[] {
  const lines: MgrLine[] = [];
  const before = draft.state.mgrmap;
  if (beacon.name === before.activeName && beacon.gid !== before.activeGid) {
    lines.push({ level: LOG_INFO, text: `Active manager daemon ${beacon.name} restarted` });
    dropActiveMgr(draft);
  }
  // The same name with another gid: the daemon was restarted.
  for (const { gid, name } of draft.state.mgrmap.standbys.values())
    if (name === beacon.name && gid !== beacon.gid) {
      lines.push({ level: LOG_DEBUG, text: `Standby manager daemon ${name} restarted` });
      dropStandbyMgr(draft, gid);
    }
  const map = draft.state.mgrmap;
  const modules = [...beacon.modules].sort().map((name) => ({ name, canRun: true, error: '', options: new Map() }));
  const epoch = before.epoch + 1;
  draft.setMgrMetadata(beacon.name, beacon.metadata);
  if (map.activeGid !== 0n && map.activeGid !== beacon.gid) {
    if (!map.standbys.has(beacon.gid))
      lines.push({ level: LOG_DEBUG, text: `Standby manager daemon ${beacon.name} started` });
    const standbys = new Map(map.standbys);
    standbys.set(beacon.gid, { gid: beacon.gid, name: beacon.name, modules, features: beacon.features });
    draft.setMgrMap({ ...map, epoch, standbys });
    return lines;
  }
  const isNew = map.activeGid !== beacon.gid;
  if (isNew) lines.push({ level: LOG_INFO, text: `Activating manager daemon ${beacon.name}` });
  else if (beacon.available && !map.available)
    lines.push({ level: LOG_INFO, text: `Manager daemon ${beacon.name} is now available` });
  draft.setMgrMap({
    ...map,
    epoch,
    activeGid: beacon.gid,
    activeName: beacon.name,
    activeAddrs: beacon.available ? beacon.addrs : [],
    available: beacon.available,
    activeChange: isNew ? draft.now : map.activeChange,
    activeFeatures: beacon.features,
    availableModules: modules,
    alwaysOnModules: new Map([[RELEASE_PACIFIC, alwaysOnModules]]),
    clients: beacon.clients,
    services: beacon.services,
    standbys: new Map([...map.standbys].filter(([gid]) => gid !== beacon.gid)),
  });
  return lines;
}

/** Nobody is active any more. The clients of who was are blocklisted, so that nothing it started goes on. */
function dropActiveMgr(draft: Draft): void {
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
  draft.setMgrMetadata(map.activeName, undefined);
  draft.setMgrMap({
    ...emptyMgrMap,
    epoch: map.epoch + 1,
    modules: map.modules,
    alwaysOnModules: map.alwaysOnModules,
    standbys: map.standbys,
    lastFailureOsdEpoch,
    activeChange: draft.now,
  });
}

/** A standby that is gone, or came again as another one. */
export function dropStandbyMgr(draft: Draft, gid: bigint): void {
  const map = draft.state.mgrmap;
  const gone = map.standbys.get(gid);
  if (gone === undefined) return;
  const standbys = new Map(map.standbys);
  standbys.delete(gid);
  draft.setMgrMetadata(gone.name, undefined);
  draft.setMgrMap({ ...map, epoch: map.epoch + 1, standbys });
}

/** Takes the active mgr's place away: it is silent or a person failed it. The first standby follows. */
export function failActiveMgr(draft: Draft): void {
  const { epoch } = draft.state.mgrmap;
  dropActiveMgr(draft);
  const map = draft.state.mgrmap;
  const [next] = [...map.standbys.values()].sort((a, b) => (a.gid < b.gid ? -1 : 1));
  if (next === undefined) return;
  const standbys = new Map(map.standbys);
  standbys.delete(next.gid);
  draft.setMgrMap({
    ...map,
    epoch: epoch + 1,
    standbys,
    activeGid: next.gid,
    activeName: next.name,
    activeFeatures: next.features,
    availableModules: next.modules,
  });
}
