import { encodeCrushMap } from '../../crush/codec.ts';
import { createOrMoveItem, weightToFixed } from '../../crush/build.ts';
import { setDeviceClass } from '../../crush/classes.ts';
import {
  MAP_NOIN,
  MAP_NOUP,
  OSD_AUTOOUT,
  OSD_DESTROYED,
  OSD_EXISTS,
  OSD_IN,
  OSD_NEW,
  OSD_NODOWN,
  OSD_NOIN,
  OSD_NOOUT,
  OSD_NOUP,
  OSD_OUT,
  OSD_UP,
} from '../../maps/constants.ts';
import type { OsdMapIncremental } from '../../maps/incremental.ts';
import { type OsdMap, zeroUuid } from '../../maps/osdmap.ts';
import type { MOSDBoot } from '../../wire/messages/osd_mon.ts';
import { type EntityAddrVec, sameAddrs } from '../../wire/types.ts';
import type { Draft } from '../draft.ts';
import { parentOf } from '../../crush/build.ts';

/** Highest id an OSD may have: bounds the map's tables. */
export const maxOsdId = 9999;

/** Flags `noup`, `nodown`, `noin`, `noout` of one OSD: its own, its device class's, and those of the buckets above it. */
export function osdFlags(map: OsdMap, osd: number): number {
  let flags = map.exists(osd) ? map.osdState[osd]! & (OSD_NOUP | OSD_NODOWN | OSD_NOIN | OSD_NOOUT) : 0;
  const cls = map.crush.classOf.get(osd);
  if (cls !== undefined) flags |= map.deviceClassFlags.get(cls) ?? 0;
  for (let at = parentOf(map.crush, osd); at !== undefined; at = parentOf(map.crush, at.id))
    flags |= map.crushNodeFlags.get(at.id) ?? 0;
  return flags;
}

/** Toggles bits (some: an empty mask means OSD_UP in increments) of an OSD's state on top of what the increment toggles already. */
export function toggleState(inc: OsdMapIncremental, osd: number, bits: number): void {
  inc.newState.set(osd, (inc.newState.get(osd) ?? 0) ^ bits);
}

/** Gives the increment a changed copy of the CRUSH map; `change` says false when it changed nothing. */
export function changeCrush(inc: OsdMapIncremental, map: OsdMap, change: (crush: OsdMap['crush']) => unknown): boolean {
  const crush = map.crush.clone();
  if (change(crush) === false) return false;
  inc.crush = encodeCrushMap(crush);
  return true;
}

export type BootResult = { kind: 'booted' | 'already'; epoch: number } | { kind: 'refused'; reason: string };

/**
 * An OSD asks to be marked up (`OSDMonitor::prepare_boot`). One that the map still has up under other addresses is marked down first: its peers must
 * see that this is another life of it. A new id is made, placed in CRUSH and marked in.
 */
export function bootOsd(draft: Draft, boot: MOSDBoot): BootResult {
  const { osdId: osd, osdUuid } = boot;
  if (osd < 0 || osd > maxOsdId) return { kind: 'refused', reason: `osd.${osd}: ids go from 0 to ${maxOsdId}` };
  let map = draft.state.osdmap;
  if (map.hasFlag(MAP_NOUP) || (osdFlags(map, osd) & OSD_NOUP) !== 0)
    return { kind: 'refused', reason: `osd.${osd} is kept down by flag noup` };
  const known = map.exists(osd) ? (map.osdUuid[osd] ?? zeroUuid) : zeroUuid;
  if (known !== zeroUuid && known !== osdUuid && !map.isDestroyed(osd))
    return { kind: 'refused', reason: `osd.${osd} belongs to another disk (${known}), not to ${osdUuid}` };
  const { osdmap } = draft.state;
  for (const other of osdmap.osds())
    if (other !== osd && osdmap.osdUuid[other] === osdUuid)
      return { kind: 'refused', reason: `the disk of osd.${osd} (${osdUuid}) is known as osd.${other}` };
  if (!map.exists(osd)) map = draft.osdmap((inc, before) => createOsd(inc, before, osd, osdUuid));
  else if (map.isUp(osd)) {
    if (sameAddrs(map.clientAddrsOf(osd), boot.clientAddrs) && sameAddrs(map.clusterAddrsOf(osd), boot.clusterAddrs))
      return { kind: 'already', epoch: map.epoch };
    map = draft.osdmap((inc) => toggleState(inc, osd, OSD_UP));
  }
  const next = draft.osdmap((inc) => markUp(inc, map, boot));
  draft.setOsdMetadata(osd, boot.metadata);
  return { kind: 'booted', epoch: next.epoch };
}

/** An id that exists, new and out, without an address (`osd new`). */
export function createOsd(inc: OsdMapIncremental, map: OsdMap, osd: number, uuid: string): void {
  if (osd >= map.maxOsd) inc.newMaxOsd = osd + 1;
  inc.newState.set(osd, OSD_EXISTS | OSD_NEW);
  inc.newWeight.set(osd, OSD_OUT);
  if (uuid !== zeroUuid) inc.newUuid.set(osd, uuid);
}

function markUp(inc: OsdMapIncremental, map: OsdMap, boot: MOSDBoot): void {
  const osd = boot.osdId;
  if (map.isDestroyed(osd)) toggleState(inc, osd, OSD_DESTROYED | OSD_NEW);
  inc.newUpClient.set(osd, boot.clientAddrs);
  inc.newUpCluster.set(osd, boot.clusterAddrs);
  inc.newHbBackUp.set(osd, boot.hbBackAddrs);
  inc.newHbFrontUp.set(osd, boot.hbFrontAddrs);
  if (map.osdUuid[osd] !== boot.osdUuid) inc.newUuid.set(osd, boot.osdUuid);
  const xinfo = map.xinfoOf(osd);
  inc.newXInfo.set(osd, { ...xinfo, features: boot.features });
  const state = map.osdState[osd]!;
  const weight = map.osdWeight[osd]!;
  const noin = map.hasFlag(MAP_NOIN) || (osdFlags(map, osd) & OSD_NOIN) !== 0;
  if (weight === OSD_OUT && !noin && (state & (OSD_NEW | OSD_AUTOOUT)) !== 0)
    inc.newWeight.set(osd, xinfo.oldWeight > 0 ? xinfo.oldWeight : OSD_IN);
  changeCrush(inc, map, (crush) => {
    const { root, host, weightTiB } = boot.crush;
    const placed = createOrMoveItem(crush, osd, weightToFixed(weightTiB), `osd.${osd}`, { root, host });
    const cls = boot.metadata.get('default_device_class') ?? 'hdd';
    const classed = crush.classOf.get(osd) === undefined && setDeviceClass(crush, osd, cls);
    return placed || classed;
  });
}

/**
 * Marks an OSD down when it is up (and, where given, still has these addresses). `dead`: it certainly answers nobody any more, so that those who take its
 * place need not wait until its read leases have ended (`osd_xinfo_t::dead_epoch`).
 */
export function markDown(draft: Draft, osd: number, addrs?: EntityAddrVec, dead = false): boolean {
  const map = draft.state.osdmap;
  if (!map.isUp(osd)) return false;
  if (addrs !== undefined && !sameAddrs(map.clientAddrsOf(osd), addrs)) return false;
  draft.osdmap((inc) => {
    toggleState(inc, osd, OSD_UP);
    if (dead) inc.newXInfo.set(osd, { ...map.xinfoOf(osd), deadEpoch: map.epoch + 1 });
  });
  return true;
}

/** An OSD that is down says that it knows so by the map `epoch` (`OSDMonitor::prepare_mark_me_dead`). */
export function markDead(draft: Draft, osd: number, epoch: number): boolean {
  const map = draft.state.osdmap;
  if (!map.exists(osd) || map.isUp(osd) || epoch > map.epoch || epoch <= map.infoOf(osd).upFrom) return false;
  if (map.xinfoOf(osd).deadEpoch >= epoch) return false;
  draft.osdmap((inc) => {
    inc.newXInfo.set(osd, { ...map.xinfoOf(osd), deadEpoch: epoch });
  });
  return true;
}

/** Marks OSDs out because they have been down for long; they come in again by themselves when they boot. */
export function markAutoOut(inc: OsdMapIncremental, map: OsdMap, osd: number): void {
  inc.newWeight.set(osd, OSD_OUT);
  if ((map.osdState[osd]! & OSD_AUTOOUT) === 0) toggleState(inc, osd, OSD_AUTOOUT);
  inc.newXInfo.set(osd, { ...map.xinfoOf(osd), oldWeight: map.osdWeight[osd]! });
}
