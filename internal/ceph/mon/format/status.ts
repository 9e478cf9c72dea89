import { MAP_FLAGS_PACIFIC, flagText, mapFlagNames } from '../../maps/constants.ts';
import { encodeHealthTime } from './times.ts';
import type { MgrMap } from '../../maps/mgrmap.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import type { Placement } from '../../maps/placement.ts';
import type { Service } from '../../maps/servicemap.ts';
import { utimeToMs } from '../../wire/encoding.ts';
import type { IoRates, MMonMgrReportValue } from '../../wire/messages/mgr_mon.ts';
import { pgStateText } from '../../wire/messages/osd_mgr.ts';
import type { Health } from '../health.ts';
import type { MonState } from '../state.ts';
import { healthJson, heardSummaries, mutedText } from './health.ts';
import type { Json } from './json.ts';
import { bytesText, countText, timespanText, utimeText } from './units.ts';

/** PGs whose acting set is not what CRUSH wants (`OSDMap::get_num_pg_temp`: those with a pg_temp). */
export function remappedPgs(map: OsdMap): number {
  return map.pgTemp.size;
}

/** The `osd:` line and its flags line. */
export function osdSummary(map: OsdMap, nowMs: number): { line: string; flags: string; remapped: number } {
  const since = (ms: number): string => ` (since ${timespanText((nowMs - ms) / 1000)})`;
  const up = map.countUp();
  const known = map.countIn();
  let line = `${map.osds().length} osds: ${up} up`;
  if (map.lastUpChange.sec > 0) line += since(utimeToMs(map.lastUpChange));
  line += `, ${known} in`;
  if (map.lastInChange.sec > 0) line += since(utimeToMs(map.lastInChange));
  return { line, flags: flagText(map.flags & ~MAP_FLAGS_PACIFIC, mapFlagNames), remapped: remappedPgs(map) };
}

/** `osd stat`. */
export function osdStatText(map: OsdMap, nowMs: number): string {
  const { line, flags, remapped } = osdSummary(map, nowMs);
  let out = `${line}; epoch: e${map.epoch}`;
  if (remapped > 0) out += `; ${remapped} remapped pgs`;
  if (flags !== '') out += `\nflags ${flags}`;
  return out;
}

export function osdStatJson(map: OsdMap): { [name: string]: Json } {
  return {
    epoch: map.epoch,
    num_osds: map.osds().length,
    num_up_osds: map.countUp(),
    osd_up_since: map.lastUpChange.sec,
    num_in_osds: map.countIn(),
    osd_in_since: map.lastInChange.sec,
    num_remapped_pgs: remappedPgs(map),
  };
}

/** `mgr:` of the status. */
export function mgrSummary(map: MgrMap, nowMs: number): string {
  const changed = map.activeChange.sec > 0 ? timespanText((nowMs - utimeToMs(map.activeChange)) / 1000) : '';
  let out: string;
  if (map.activeGid !== 0n) {
    out = `${map.activeName}(active${map.available ? '' : ', starting'}`;
    if (changed !== '') out += `, since ${changed}`;
    out += ')';
  } else {
    out = 'no daemons active';
    if (changed !== '') out += ` (since ${changed})`;
  }
  if (map.standbys.size > 0) out += `, standbys: ${[...map.standbys.values()].map(({ name }) => name).join(', ')}`;
  return out;
}

const percent = (part: number, whole: number): string => ((part * 100) / whole).toFixed(3);

/** `279/795 objects degraded (35.094%)` and the like, of those that are not zero. */
function recoveryLines(digest: MMonMgrReportValue): string[] {
  const { sums } = digest;
  const out: string[] = [];
  const add = (count: number, whole: number, what: string): void => {
    if (count > 0) out.push(`${count}/${whole} objects ${what} (${percent(count, whole)}%)`);
  };
  add(sums.objectsDegraded, sums.objectCopies, 'degraded');
  add(sums.objectsMisplaced, sums.objectCopies, 'misplaced');
  add(sums.objectsUnfound, sums.objects, 'unfound');
  return out;
}

function hasClientIo(rates: IoRates): boolean {
  return (
    Math.floor(rates.readBytes) +
      Math.floor(rates.writeBytes) +
      Math.floor(rates.readOps) +
      Math.floor(rates.writeOps) >
    0
  );
}

/** `16 KiB/s wr, 0 op/s rd, 0 op/s wr`. */
export function clientIoText(rates: IoRates): string {
  const parts: string[] = [];
  if (rates.readBytes >= 1) parts.push(`${bytesText(Math.floor(rates.readBytes))}/s rd`);
  if (rates.writeBytes >= 1) parts.push(`${bytesText(Math.floor(rates.writeBytes))}/s wr`);
  if (hasClientIo(rates))
    parts.push(`${countText(Math.floor(rates.readOps))} op/s rd`, `${countText(Math.floor(rates.writeOps))} op/s wr`);
  return parts.join(', ');
}

/** `82 KiB/s, 4 objects/s`. */
export function recoveryIoText(rates: IoRates): string {
  const { recoveringBytes, recoveringKeys, recoveringObjects } = rates;
  if (recoveringBytes < 1 && recoveringKeys < 1 && recoveringObjects < 1) return '';
  let out = `${bytesText(Math.floor(recoveringBytes))}/s`;
  if (recoveringKeys >= 1) out += `, ${countText(Math.floor(recoveringKeys))} keys/s`;
  if (recoveringObjects >= 1) out += `, ${countText(Math.floor(recoveringObjects))} objects/s`;
  return out;
}

/** States with their counts, most frequent first; unknown ones are not listed. */
function statesOf(digest: MMonMgrReportValue): [name: string, count: number][] {
  const counts = [...digest.pgsByState].map(([state, count]): [string, number] => [pgStateText(state), count]);
  return counts.filter(([, count]) => count > 0).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? 1 : -1));
}

/** The lines of `data:` and `io:`. */
function dataLines(state: MonState, digest: MMonMgrReportValue | undefined): string {
  const { osdmap } = state;
  let pgs = 0;
  for (const pool of osdmap.pools.values()) pgs += pool.pgNum;
  const total = digest?.pgs ?? pgs;
  let out = '  data:\n';
  out += `    pools:   ${osdmap.pools.size} pools, ${total} pgs\n`;
  const { objects = 0, bytes = 0 } = digest?.sums ?? {};
  out += `    objects: ${countText(objects)} objects, ${bytesText(bytes)}\n`;
  const space = digest?.space ?? { totalBytes: 0, availableBytes: 0 };
  const used = space.totalBytes - space.availableBytes;
  out += `    usage:   ${bytesText(used)} used, ${bytesText(space.availableBytes)} / ${bytesText(space.totalBytes)} avail\n`;
  out += '    pgs:     ';
  const pad = ' '.repeat(13);
  const lines: string[] = [];
  if (digest !== undefined && total > 0) {
    const unknown = digest.pgsUnknown;
    const inactive = total - digest.pgsActive - unknown;
    if (unknown > 0) lines.push(`${percent(unknown, total)}% pgs unknown`);
    if (inactive > 0) lines.push(`${percent(inactive, total)}% pgs not active`);
    lines.push(...recoveryLines(digest));
    const states = statesOf(digest);
    const width = Math.max(1, ...states.map(([, count]) => String(count).length));
    for (const [name, count] of states) lines.push(`${String(count).padEnd(width)} ${name}`);
  } else if (total > 0) lines.push(`${percent(total, total)}% pgs unknown`, `${total} unknown`);
  out += `${lines.join(`\n${pad}`)}\n`;
  const rates = digest?.rates;
  const client = rates === undefined ? '' : clientIoText(rates);
  const recovery = rates === undefined ? '' : recoveryIoText(rates);
  if (client !== '' || recovery !== '') {
    out += ' \n  io:\n';
    if (client !== '') out += `    client:   ${client}\n`;
    if (recovery !== '') out += `    recovery: ${recovery}\n`;
  }
  return out;
}

const barWidth = 30;

function progressLines(digest: MMonMgrReportValue | undefined): string {
  if (digest === undefined || digest.progress.length === 0) return '';
  let out = ' \n  progress:\n';
  for (const { message, progress } of digest.progress) {
    const filled = Math.max(0, Math.min(barWidth - 2, Math.floor(progress * (barWidth - 2))));
    out += `    ${message}\n      [${'='.repeat(filled)}${'.'.repeat(barWidth - 2 - filled)}] \n`;
  }
  return out;
}

/** The mons that agree. */
export interface QuorumView {
  ranks: readonly number[];
  names: readonly string[];
  /** Since when it has been these. */
  sinceMs: number;
}

export interface StatusInput {
  state: MonState;
  digest: MMonMgrReportValue | undefined;
  health: Health;
  placement: Placement;
  nowMs: number;
  quorum: QuorumView;
  electionEpoch: number;
}

/** `3 gateways active (2 hosts, 1 zones)`: daemons may say what they are called, and on which hosts and in which zones they are. */
export function serviceSummary({ daemons, summary }: Service): string {
  if (summary !== '') return summary;
  if (daemons.size === 0) return 'no daemons active';
  let type = 'daemon';
  const hosts = new Set<string>();
  const zones = new Set<string>();
  for (const { metadata } of daemons.values()) {
    type = metadata.get('daemon_type') ?? type;
    const host = metadata.get('hostname');
    const zone = metadata.get('zone_id');
    if (host !== undefined) hosts.add(host);
    if (zone !== undefined) zones.add(zone);
  }
  const groups = [
    ...(hosts.size > 0 ? [`${hosts.size} hosts`] : []),
    ...(zones.size > 0 ? [`${zones.size} zones`] : []),
  ];
  const grouped = groups.length > 0 ? ` (${groups.join(', ')})` : '';
  return `${daemons.size} ${type}${daemons.size > 1 ? 's' : ''} active${grouped}`;
}

/** `ceph -s`. */
export function statusText(input: StatusInput): string {
  const { state, digest, health, nowMs } = input;
  let out = '  cluster:\n';
  out += `    id:     ${state.fsid}\n`;
  out += `    health: ${health.status}\n`;
  const pad = ' '.repeat(12);
  for (const line of heardSummaries(health)) out += `${pad}${line}\n`;
  const muted = mutedText(health, nowMs);
  if (muted !== '') out += `${pad}${muted}\n`;
  out += ' \n  services:\n';
  const { names, sinceMs } = input.quorum;
  const age = timespanText((nowMs - sinceMs) / 1000);
  const without = state.monmap.mons.map(({ name }) => name).filter((name) => !names.includes(name));
  const away = without.length === 0 ? '' : `, out of quorum: ${without.join(', ')}`;
  out += `    mon: ${state.monmap.mons.length} daemons, quorum ${names.join(',')} (age ${age})${away}\n`;
  out += `    mgr: ${mgrSummary(state.mgrmap, nowMs)}\n`;
  const osd = osdSummary(state.osdmap, nowMs);
  out += `    osd: ${osd.line}${osd.remapped > 0 ? `; ${osd.remapped} remapped pgs` : ''}\n`;
  if (osd.flags !== '') out += `         flags ${osd.flags}\n`;
  for (const [name, service] of state.servicemap.services) {
    out += `    ${name}: ${serviceSummary(service)}\n`;
  }
  out += ` \n${dataLines(state, digest)}${progressLines(digest)} \n`;
  return out;
}

function pgmapJson(state: MonState, digest: MMonMgrReportValue | undefined): Json {
  let pgs = 0;
  for (const pool of state.osdmap.pools.values()) pgs += pool.pgNum;
  const total = digest?.pgs ?? pgs;
  const sums = digest?.sums;
  const space = digest?.space;
  const rates = digest?.rates;
  const ratio = (part: number, whole: number): number => (whole === 0 ? 0 : part / whole);
  const unknown = digest?.pgsUnknown ?? total;
  const inactive = total - (digest?.pgsActive ?? 0) - unknown;
  return {
    pgs_by_state: digest === undefined ? [] : statesOf(digest).map(([name, count]) => ({ state_name: name, count })),
    num_pgs: total,
    num_pools: state.osdmap.pools.size,
    num_objects: sums?.objects ?? 0,
    data_bytes: sums?.bytes ?? 0,
    bytes_used: space === undefined ? 0 : space.totalBytes - space.availableBytes,
    bytes_avail: space?.availableBytes ?? 0,
    bytes_total: space?.totalBytes ?? 0,
    ...(unknown > 0 && { unknown_pgs_ratio: ratio(unknown, total) }),
    ...(inactive > 0 && { inactive_pgs_ratio: ratio(inactive, total) }),
    ...(sums !== undefined &&
      sums.objectsDegraded > 0 && {
        degraded_objects: sums.objectsDegraded,
        degraded_total: sums.objectCopies,
        degraded_ratio: ratio(sums.objectsDegraded, sums.objectCopies),
      }),
    ...(sums !== undefined &&
      sums.objectsMisplaced > 0 && {
        misplaced_objects: sums.objectsMisplaced,
        misplaced_total: sums.objectCopies,
        misplaced_ratio: ratio(sums.objectsMisplaced, sums.objectCopies),
      }),
    ...(sums !== undefined &&
      sums.objectsUnfound > 0 && {
        unfound_objects: sums.objectsUnfound,
        unfound_total: sums.objects,
        unfound_ratio: ratio(sums.objectsUnfound, sums.objects),
      }),
    ...(rates !== undefined &&
      recoveryIoText(rates) !== '' && {
        recovering_objects_per_sec: Math.floor(rates.recoveringObjects),
        recovering_bytes_per_sec: Math.floor(rates.recoveringBytes),
        recovering_keys_per_sec: Math.floor(rates.recoveringKeys),
      }),
    ...(rates !== undefined &&
      hasClientIo(rates) && {
        read_bytes_sec: Math.floor(rates.readBytes),
        write_bytes_sec: Math.floor(rates.writeBytes),
        read_op_per_sec: Math.floor(rates.readOps),
        write_op_per_sec: Math.floor(rates.writeOps),
      }),
  };
}

/** `ceph -s -f json`. */
export function statusJson(input: StatusInput): Json {
  const { state, digest, health, nowMs } = input;
  return {
    fsid: state.fsid,
    health: healthJson(health, false, encodeHealthTime),
    election_epoch: input.electionEpoch,
    quorum: [...input.quorum.ranks],
    quorum_names: [...input.quorum.names],
    quorum_age: Math.floor((nowMs - input.quorum.sinceMs) / 1000),
    monmap: { epoch: state.monmap.epoch, min_mon_release_name: 'pacific', num_mons: state.monmap.mons.length },
    osdmap: osdStatJson(state.osdmap),
    pgmap: pgmapJson(state, digest),
    fsmap: { epoch: 1, by_rank: [], 'up:standby': 0 },
    mgrmap: {
      available: state.mgrmap.available,
      num_standbys: state.mgrmap.standbys.size,
      modules: [...state.mgrmap.modules],
      services: new Map(state.mgrmap.services),
    },
    servicemap: {
      epoch: state.servicemap.epoch,
      modified: utimeText(state.servicemap.modified),
      services: new Map(
        [...state.servicemap.services].map(([name, service]): [string, Json] => [
          name,
          { daemons: new Map<string, Json>([['summary', service.summary]]) },
        ]),
      ),
    },
    progress_events: new Map(
      (digest?.progress ?? []).map((item): [string, Json] => [
        item.id,
        { message: item.message, progress: item.progress, add_to_ceph_s: true },
      ]),
    ),
  };
}
