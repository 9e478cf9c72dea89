import { fullLocation } from '../crush/build.ts';
import type { HealthCheckDigest } from '../wire/messages/mgr_mon.ts';
import type { ClusterStats } from './cluster-stats.ts';

/** Lines of detail of one check. */
const maxDetail = 10;

/** What counts as slow. */
export interface SlowLimits {
  /** Milliseconds; 0: no warning. */
  pingMs: number;
  /** Pings that were last reported so many seconds ago say nothing any more. */
  staleSec: number;
}

/** `osd_heartbeat_grace`, `mon_warn_on_slow_ping_time` and `mon_warn_on_slow_ping_ratio`. */
export function slowLimits(number: (name: string, otherwise: number) => number): SlowLimits {
  const graceSec = number('osd_heartbeat_grace', 20);
  const own = number('mon_warn_on_slow_ping_time', 0);
  const pingMs = own > 0 ? own : graceSec * 1000 * number('mon_warn_on_slow_ping_ratio', 0.05);
  return { pingMs, staleSec: graceSec * 60 };
}

/** SLOW_OPS, worded as upstream does it (`DaemonHealthMetricCollector`). */
export function* slowOps(stats: ClusterStats): Generator<HealthCheckDigest> {
  const slow = [...stats.osds].filter(([osd, { stat }]) => stats.map.isUp(osd) && stat.slowOps.count > 0);
  if (slow.length === 0) return;
  let count = 0;
  let oldest = 0;
  for (const [, { stat }] of slow) {
    count += stat.slowOps.count;
    oldest = Math.max(oldest, stat.slowOps.oldestSec);
  }
  const names = slow
    .map(([osd]) => osd)
    .sort((a, b) => a - b)
    .map((osd) => `osd.${osd}`);
  const shown = `[${names.slice(0, maxDetail).join(',')}]${names.length > maxDetail ? '...' : ''}`;
  const who = names.length === 1 ? `${names[0]} has slow ops` : `daemons ${shown} have slow ops.`;
  yield {
    code: 'SLOW_OPS',
    severity: 'HEALTH_WARN',
    summary: `${count} slow ops, oldest one blocked for ${oldest} sec, ${who}`,
    count,
    detail: [],
  };
}

interface SlowPing {
  micros: number;
  from: number;
  to: number;
  improving: boolean;
}

/** OSD_SLOW_PING_TIME_BACK and _FRONT: between which OSDs heartbeats take long (`PGMap::get_health_checks`). */
export function* slowPings(stats: ClusterStats, nowMs: number, limits: SlowLimits): Generator<HealthCheckDigest> {
  if (limits.pingMs <= 0) return;
  for (const network of ['back', 'front'] as const) {
    const slow: SlowPing[] = [];
    for (const [from, { stat }] of stats.osds)
      for (const peer of stat.pings) {
        const times = peer[network];
        if (times === undefined || nowMs / 1000 - times.updatedSec > limits.staleSec) continue;
        const [one, five, fifteen] = times.average;
        const micros = Math.max(one, five, fifteen);
        if (micros <= limits.pingMs * 1000) continue;
        slow.push({ micros, from, to: peer.osd, improving: one < five && five < fifteen });
      }
    if (slow.length === 0) continue;
    slow.sort((a, b) => b.micros - a.micros || b.from - a.from || b.to - a.to);
    const detail = slow.slice(0, maxDetail).map((ping) => detailOf(stats, network, ping));
    if (slow.length > maxDetail)
      detail.push('Truncated long network list.  Use ceph daemon mgr.# dump_osd_network for more information');
    yield {
      code: network === 'back' ? 'OSD_SLOW_PING_TIME_BACK' : 'OSD_SLOW_PING_TIME_FRONT',
      severity: 'HEALTH_WARN',
      summary: `Slow OSD heartbeats on ${network} (longest ${msText(slow[0]!.micros)}ms)`,
      count: slow.length,
      detail,
    };
  }
}

function msText(micros: number): string {
  return (micros / 1000).toFixed(3);
}

function detailOf(stats: ClusterStats, network: string, { from, to, micros, improving }: SlowPing): string {
  const at = (osd: number): string => {
    const places = fullLocation(stats.map.crush, osd).filter(([type]) => type === 'datacenter' || type === 'rack');
    return places.length === 0 ? '' : ` [${places.map(([, name]) => name).join(',')}]`;
  };
  const trend = improving ? ' possibly improving' : '';
  return `Slow OSD heartbeats on ${network} from osd.${from}${at(from)} to osd.${to}${at(to)} ${msText(micros)} msec${trend}`;
}
