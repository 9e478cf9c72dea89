import { fullLocation } from '../crush/build.ts';
import {
  MAP_FULL,
  MAP_NOBACKFILL,
  MAP_NODEEP_SCRUB,
  MAP_NODOWN,
  MAP_NOIN,
  MAP_NOOUT,
  MAP_NOREBALANCE,
  MAP_NORECOVER,
  MAP_NOSCRUB,
  MAP_NOSNAPTRIM,
  MAP_NOTIERAGENT,
  MAP_NOUP,
  MAP_PAUSERD,
  MAP_PAUSEWR,
  OSD_BACKFILLFULL,
  OSD_FULL,
  OSD_NEARFULL,
  OSD_NODOWN,
  OSD_NOIN,
  OSD_NOOUT,
  OSD_NOUP,
  flagList,
  flagText,
  mapFlagNames,
  osdStateNames,
} from '../maps/constants.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { POOL_BACKFILLFULL, POOL_FULL, POOL_FULL_QUOTA, POOL_NEARFULL } from '../maps/pool.ts';
import { utimeToMs } from '../wire/encoding.ts';
import { addrVecText } from '../wire/types.ts';
import type { MMonMgrReportValue } from '../wire/messages/mgr_mon.ts';
import type { MonOptions } from './options.ts';
import type { HealthMute, MonState } from './state.ts';

export type Severity = 'HEALTH_OK' | 'HEALTH_WARN' | 'HEALTH_ERR';

/** One health check as `ceph health` shows it. */
export interface HealthCheck {
  code: string;
  severity: 'HEALTH_WARN' | 'HEALTH_ERR';
  summary: string;
  count: number;
  detail: readonly string[];
}

export interface Health {
  status: Severity;
  /** Sorted by code; muted ones too. */
  checks: readonly HealthCheck[];
  mutes: readonly HealthMute[];
}

export interface HealthInput {
  state: MonState;
  digest: MMonMgrReportValue | undefined;
  options: MonOptions;
  nowMs: number;
  /** The mons that agree. */
  inQuorum: { readonly names: readonly string[] };
  /** How far the clocks of the other mons are from this one's. */
  clockSkews(): readonly { name: string; skewMs: number; latencyMs: number; bad: boolean }[];
}

/** Flags of the map that a person set and that change what the cluster does. */
const warnFlags =
  MAP_FULL |
  MAP_PAUSERD |
  MAP_PAUSEWR |
  MAP_NOUP |
  MAP_NODOWN |
  MAP_NOIN |
  MAP_NOOUT |
  MAP_NOBACKFILL |
  MAP_NORECOVER |
  MAP_NOSCRUB |
  MAP_NODEEP_SCRUB |
  MAP_NOTIERAGENT |
  MAP_NOSNAPTRIM |
  MAP_NOREBALANCE;

/** All checks: the mon's own and those that the mgr reports, with the mutes applied. */
export function health(input: HealthInput): Health {
  const own = [
    ...monChecks(input),
    ...osdChecks(input.state.osdmap, input.options),
    ...poolChecks(input),
    ...mgrChecks(input),
  ];
  const codes = new Set(own.map(({ code }) => code));
  // What both can see the mon knows better: its map is newer.
  const wanted = (code: string): boolean =>
    !codes.has(code) && (code !== 'OBJECT_MISPLACED' || input.options.flag('mon_warn_on_misplaced'));
  const checks = [...own, ...(input.digest?.checks ?? []).filter(({ code }) => wanted(code))];
  checks.sort((a, b) => (a.code < b.code ? -1 : a.code > b.code ? 1 : 0));
  const muted = new Set(input.state.mutes.map(({ code }) => code));
  const heard = checks.filter(({ code }) => !muted.has(code));
  const status = heard.some(({ severity }) => severity === 'HEALTH_ERR')
    ? 'HEALTH_ERR'
    : heard.length > 0
      ? 'HEALTH_WARN'
      : 'HEALTH_OK';
  return { status, checks, mutes: input.state.mutes };
}

/** The health as the mon sees it now. */
export function healthOf(mon: HealthInputSource): Health {
  const { clock, digest, inQuorum, options, state } = mon;
  return health({ state, digest, options, inQuorum, clockSkews: () => mon.clockSkews(), nowMs: clock.now() });
}

/** What a Mon has of it. */
export interface HealthInputSource extends Omit<HealthInput, 'nowMs'> {
  readonly clock: { now(): number };
}

function warn(code: string, summary: string, count: number, detail: readonly string[] = []): HealthCheck {
  return { code, severity: 'HEALTH_WARN', summary, count, detail };
}

function location(map: OsdMap, osd: number): string {
  // From the root down, as upstream's map of types orders it: by name of the type, root last would be wrong.
  const path = fullLocation(map.crush, osd).reverse();
  return path.map(([type, name]) => `${type}=${name}`).join(',');
}

function osdChecks(map: OsdMap, options: MonOptions): HealthCheck[] {
  const out: HealthCheck[] = [];
  const osds = map.osds();
  if (osds.length < options.number('osd_pool_default_size'))
    out.push(
      warn(
        'TOO_FEW_OSDS',
        `OSD count ${osds.length} < osd_pool_default_size ${options.number('osd_pool_default_size')}`,
        options.number('osd_pool_default_size') - osds.length,
      ),
    );
  const down = osds.filter((osd) => !map.isUp(osd) && map.isIn(osd));
  out.push(...subtreesDown(map, down));
  if (down.length > 0)
    out.push(
      warn(
        'OSD_DOWN',
        `${down.length} osds down`,
        down.length,
        down.map((osd) => `osd.${osd} (${location(map, osd)}) is down`),
      ),
    );
  const flags = map.flags & warnFlags;
  if (flags !== 0) {
    const names = flagText(flags, mapFlagNames);
    out.push(warn('OSDMAP_FLAGS', `${names} flag(s) set`, flagList(flags, mapFlagNames).length));
  }
  out.push(...flaggedOsds(map), ...fullOsds(map));
  if (options.number('mon_osd_down_out_interval') === 0 && options.flag('mon_warn_on_osd_down_out_interval_zero'))
    out.push(
      warn('OSD_NO_DOWN_OUT_INTERVAL', 'mon_osd_down_out_interval is 0', 1, [
        'mon.a has mon_osd_down_out_interval set to 0',
      ]),
    );
  if (map.fullRatio < map.backfillfullRatio || map.backfillfullRatio < map.nearfullRatio)
    out.push({
      code: 'OSD_OUT_OF_ORDER_FULL',
      severity: 'HEALTH_ERR',
      summary: 'full ratio(s) out of order',
      count: 1,
      detail: [
        `full_ratio (${map.fullRatio}) < backfillfull_ratio (${map.backfillfullRatio}) < nearfull_ratio (${map.nearfullRatio})`,
      ],
    });
  return out;
}

/** OSDs whose disks are as full as the map says (`OSDMap::check_health`); the mgr tells of those that it does not know of yet. */
function fullOsds(map: OsdMap): HealthCheck[] {
  const levels = [
    { code: 'OSD_FULL', severity: 'HEALTH_ERR', bit: OSD_FULL, word: 'full', is: 'full' },
    {
      code: 'OSD_BACKFILLFULL',
      severity: 'HEALTH_WARN',
      bit: OSD_BACKFILLFULL,
      word: 'backfillfull',
      is: 'backfill full',
    },
    { code: 'OSD_NEARFULL', severity: 'HEALTH_WARN', bit: OSD_NEARFULL, word: 'nearfull', is: 'near full' },
  ] as const;
  const levelOf = (osd: number): string | undefined =>
    levels.find(({ bit }) => ((map.osdState[osd] ?? 0) & bit) !== 0)?.code;
  return levels.flatMap(({ code, severity, word, is }): HealthCheck[] => {
    const osds = map.osds().filter((osd) => map.isUp(osd) && map.isIn(osd) && levelOf(osd) === code);
    if (osds.length === 0) return [];
    const detail = osds.map((osd) => `osd.${osd} is ${is}`);
    return [{ code, severity, summary: `${osds.length} ${word} osd(s)`, count: osds.length, detail }];
  });
}

/** `OSD_HOST_DOWN` and the like: buckets whose OSDs are all down (`OSDMap::check_health`). */
function subtreesDown(map: OsdMap, down: readonly number[]): HealthCheck[] {
  if (down.length === 0) return [];
  const out: HealthCheck[] = [];
  const downIn = new Set(down);
  const allDown = (id: number): boolean => {
    if (id >= 0) return downIn.has(id) || (map.exists(id) && !map.isUp(id));
    const items = map.crush.bucket(id)?.items ?? [];
    return items.length > 0 && items.every(allDown) && leafCount(map, id) > 0;
  };
  const byType = new Map<number, { id: number; osds: number }[]>();
  for (const bucket of map.crush.buckets) {
    if (bucket === undefined || map.crush.isShadow(bucket.id) || !allDown(bucket.id)) continue;
    const list = byType.get(bucket.type) ?? [];
    list.push({ id: bucket.id, osds: leafCount(map, bucket.id) });
    byType.set(bucket.type, list);
  }
  for (const [type, list] of byType) {
    const name = map.crush.typeNames.get(type) ?? '';
    const osds = list.reduce((sum, entry) => sum + entry.osds, 0);
    out.push(
      warn(
        `OSD_${name.toUpperCase()}_DOWN`,
        `${list.length} ${name}${list.length > 1 ? 's' : ''} (${osds} osds) down`,
        list.length,
        list.map(({ id, osds: n }) => {
          const where = location(map, id);
          return `${name} ${map.crush.nameOf(id)}${where === '' ? '' : ` (${where})`} (${n} osds) is down`;
        }),
      ),
    );
  }
  return out;
}

function leafCount(map: OsdMap, id: number): number {
  if (id >= 0) return map.exists(id) ? 1 : 0;
  return (map.crush.bucket(id)?.items ?? []).reduce((sum, item) => sum + leafCount(map, item), 0);
}

function flaggedOsds(map: OsdMap): HealthCheck[] {
  const mask = OSD_NOUP | OSD_NODOWN | OSD_NOIN | OSD_NOOUT;
  const detail: string[] = [];
  for (const osd of map.osds()) {
    const flags = map.osdState[osd]! & mask;
    if (flags !== 0) detail.push(`osd.${osd} has flags {${flagText(flags, osdStateNames)}}`);
  }
  for (const [id, flags] of map.crushNodeFlags)
    detail.push(
      `${map.crush.typeNames.get(map.crush.typeOf(id)) ?? 'item'} ${map.crush.nameOf(id) ?? id} has flags {${flagText(flags, osdStateNames)}}`,
    );
  for (const [id, flags] of map.deviceClassFlags)
    detail.push(`device class '${map.crush.classNames.get(id) ?? id}' has flags {${flagText(flags, osdStateNames)}}`);
  if (detail.length === 0) return [];
  return [
    warn(
      'OSD_FLAGS',
      `${detail.length} OSDs or CRUSH {nodes, device-classes} have {NOUP,NODOWN,NOIN,NOOUT} flags set`,
      detail.length,
      detail,
    ),
  ];
}

function poolChecks({ state, digest, options }: HealthInput): HealthCheck[] {
  const { osdmap } = state;
  const out: HealthCheck[] = [];
  const full: string[] = [];
  const backfillfull: string[] = [];
  const nearfull: string[] = [];
  const noApp: string[] = [];
  const notPower: string[] = [];
  const single: string[] = [];
  for (const [id, pool] of osdmap.pools) {
    const name = osdmap.poolNames.get(id) ?? String(id);
    if ((pool.flags & POOL_FULL_QUOTA) !== 0) full.push(`pool '${name}' is full (running out of quota)`);
    else if ((pool.flags & POOL_FULL) !== 0) full.push(`pool '${name}' is full (no space)`);
    else if ((pool.flags & POOL_BACKFILLFULL) !== 0) backfillfull.push(`pool '${name}' is backfillfull`);
    else if ((pool.flags & POOL_NEARFULL) !== 0) nearfull.push(`pool '${name}' is nearfull`);
    // Only pools that are in use: a new one has not been given its application yet.
    const objects = digest?.pools.get(id)?.sums.objects ?? 0;
    if (pool.applications.size === 0 && objects > 0) noApp.push(`application not enabled on pool '${name}'`);
    if ((pool.pgNumTarget & (pool.pgNumTarget - 1)) !== 0)
      notPower.push(`pool '${name}' pg_num ${pool.pgNumTarget} is not a power of two`);
    if (pool.size === 1) single.push(`pool '${name}' has no replicas configured`);
  }
  if (full.length > 0) out.push(warn('POOL_FULL', `${full.length} pool(s) full`, full.length, full));
  for (const [code, word, list] of [
    ['POOL_BACKFILLFULL', 'backfillfull', backfillfull],
    ['POOL_NEARFULL', 'nearfull', nearfull],
  ] as const)
    if (list.length > 0) out.push(warn(code, `${list.length} pool(s) ${word}`, list.length, list));
  if (noApp.length > 0 && options.flag('mon_warn_on_pool_no_app'))
    out.push(
      warn('POOL_APP_NOT_ENABLED', `${noApp.length} pool(s) do not have an application enabled`, noApp.length, [
        ...noApp,
        "use 'ceph osd pool application enable <pool-name> <app-name>', where <app-name> is 'cephfs', 'rbd', 'rgw', or freeform for custom applications.",
      ]),
    );
  if (notPower.length > 0 && options.flag('mon_warn_on_pool_pg_num_not_power_of_two'))
    out.push(
      warn(
        'POOL_PG_NUM_NOT_POWER_OF_TWO',
        `${notPower.length} pool(s) have non-power-of-two pg_num`,
        notPower.length,
        notPower,
      ),
    );
  if (single.length > 0 && options.flag('mon_warn_on_pool_no_redundancy'))
    out.push(warn('POOL_NO_REDUNDANCY', `${single.length} pool(s) have no replicas configured`, single.length, single));
  return out;
}

/** Texts as 16.2.15 has them (`HealthMonitor::check_for_mon_down`, `check_for_clock_skew`). */
function monChecks(input: HealthInput): HealthCheck[] {
  const { inQuorum, options, state } = input;
  const checks: HealthCheck[] = [];
  const { mons } = state.monmap;
  const down = mons.flatMap((mon, rank) => (inQuorum.names.includes(mon.name) ? [] : [{ ...mon, rank }]));
  if (down.length > 0 && inQuorum.names.length > 0)
    checks.push(
      warn(
        'MON_DOWN',
        `${down.length}/${mons.length} mons down, quorum ${inQuorum.names.join(',')}`,
        down.length,
        down.map(
          ({ addrs, name, rank }) => `mon.${name} (rank ${rank}) addr ${addrVecText(addrs)} is down (out of quorum)`,
        ),
      ),
    );
  const skewed = input.clockSkews().filter(({ bad }) => bad);
  if (skewed.length > 0) {
    const allowed = options.number('mon_clock_drift_allowed');
    checks.push(
      warn(
        'MON_CLOCK_SKEW',
        `clock skew detected on ${skewed.map(({ name }) => `mon.${name}`).join(', ')}`,
        skewed.length,
        skewed.map(
          ({ latencyMs, name, skewMs }) =>
            `mon.${name} clock skew ${secondsText(Math.abs(skewMs))}s > max ${allowed}s (latency ${secondsText(latencyMs)}s)`,
        ),
      ),
    );
  }
  return checks;
}

/** As C++ prints a double. */
function secondsText(ms: number): string {
  return String(Number((ms / 1000).toPrecision(6)));
}

function mgrChecks({ state, options, nowMs }: HealthInput): HealthCheck[] {
  if (state.mgrmap.available || state.osdmap.osds().length === 0) return [];
  // A cluster that was made just now need not have one yet.
  const graceMs = options.number('mon_mgr_mkfs_grace') * 1000;
  if (nowMs - utimeToMs(state.monmap.created) < graceMs && state.mgrmap.activeChange.sec === 0) return [];
  return [warn('MGR_DOWN', 'no active mgr', 0)];
}
