import { EINVAL, Refusal } from '../mon/errno.ts';
import { addrsJson } from '../mon/format/addrs.ts';
import { utimeText } from '../mon/format/units.ts';
import { LOG_ERROR } from '../wire/messages/log.ts';
import type { PingTimes } from '../wire/messages/osd_mgr.ts';
import { entityNumText, eversionText } from '../wire/types.ts';
import type { Command, CommandTarget } from './command-target.ts';
import { scrubReservations, scrubsDue } from './scrub-commands.ts';

/** Pings whose last minute ended before this long are stale (`osd_heartbeat_stale`, seconds). */
const staleSec = 600;

function three(micros: readonly [number, number, number]): Record<string, number> {
  const [one, five, fifteen] = micros;
  return { '1min': one / 1000, '5min': five / 1000, '15min': fifteen / 1000 };
}

/** Ways to other OSDs whose pings take as many milliseconds or more, slowest first. */
function slowWays(target: CommandTarget, leastMs: number): Record<string, unknown>[] {
  const nowSec = target.clock.now() / 1000;
  const ways: { slowest: number; shown: Record<string, unknown> }[] = [];
  const add = (osd: number, network: string, times: PingTimes | undefined): void => {
    if (times === undefined || times.updatedSec === 0) return;
    const slowest = Math.max(...times.average);
    if (slowest < leastMs * 1000) return;
    const shown = {
      'last update': utimeText({ sec: times.updatedSec, nsec: 0 }),
      stale: nowSec - times.updatedSec > staleSec,
      'from osd': target.whoami,
      'to osd': osd,
      interface: network,
      average: three(times.average),
      min: three(times.least),
      max: three(times.most),
      last: times.last / 1000,
    };
    ways.push({ slowest, shown });
  };
  for (const { osd, back, front } of target.pings()) {
    add(osd, 'back', back);
    add(osd, 'front', front);
  }
  return ways.sort((a, b) => b.slowest - a.slowest).map(({ shown }) => shown);
}

/** Milliseconds from which on a ping is slow: an option of its own, else a share of the grace. */
function slowPingMs({ settings }: CommandTarget): number {
  const own = Number(settings.get('mon_warn_on_slow_ping_time'));
  return own > 0 ? own : settings.options.heartbeatGrace * 1000 * Number(settings.get('mon_warn_on_slow_ping_ratio'));
}

function missingOf(target: CommandTarget): unknown {
  return [...target.osd.pgs.values()].map(({ core }) =>
    core.meta.missing.list().map(({ oid, need, have }) => ({
      pg: core.text,
      oid: { oid: oid.name, key: oid.key, snapid: oid.snap, hash: oid.hash, pool: oid.pool, namespace: oid.nspace },
      missing_info: { need: eversionText(need), have: eversionText(have) },
    })),
  );
}

const osdOnly = { perm: 'r' } as const;

/** The daemon itself: what it is, what it knows of the cluster, what it is doing. */
export const daemonCommands: readonly Command[] = [
  { sig: ['version'], help: 'version of this daemon', ...osdOnly, run: (t) => ({ version: t.version }) },
  {
    sig: ['git_version'],
    help: 'what this daemon was built from',
    ...osdOnly,
    run: (t) => ({ git_version: t.version }),
  },
  {
    sig: ['status'],
    help: 'state of this OSD',
    ...osdOnly,
    run: (t) => {
      const { oldest, newest } = t.mapEpochs();
      return {
        cluster_fsid: t.fsid,
        osd_fsid: t.uuid,
        whoami: t.whoami,
        state: t.up() ? 'active' : 'booting',
        oldest_map: oldest,
        cluster_osdmap_trim_lower_bound: oldest,
        newest_map: newest,
        num_pgs: t.osd.pgs.size,
      };
    },
  },
  { sig: ['get_latest_osdmap'], help: 'make sure that the newest OSD map is known', ...osdOnly, run: () => undefined },
  {
    sig: ['flush_pg_stats'],
    help: 'report statistics to the manager now',
    ...osdOnly,
    run: (t) => t.flushStats(),
  },
  { sig: ['send_beacon'], help: 'tell the mon now that this OSD lives', ...osdOnly, run: (t) => t.sendBeacon() },
  {
    sig: [
      'cluster_log',
      { name: 'level', type: 'CephChoices', strings: 'error' },
      { name: 'message', type: 'CephString', n: 'N' },
    ],
    help: 'write a line to the cluster log',
    perm: 'rw',
    run: (t, { message }) => {
      const text = Array.isArray(message) ? message.join(' ') : '';
      if (text === '') throw new Refusal(EINVAL, 'ignoring empty log message');
      t.clusterLog(LOG_ERROR, text);
    },
  },
  {
    sig: ['get_mapped_pools'],
    help: 'pools of which this OSD has PGs',
    ...osdOnly,
    run: (t) => [...new Set([...t.osd.pgs.values()].map(({ id }) => id.pool))].sort((a, b) => a - b),
  },
  {
    sig: ['dump_blocklist'],
    help: 'clients that are blocklisted, and until when',
    ...osdOnly,
    run: (t) => ({
      blocklist: t.osd.blocklist().map(({ addr, until }) => ({
        entity_addr_t: addrsJson([addr]),
        expire_time: utimeText(until),
      })),
      range_blocklist: [],
    }),
  },
  {
    sig: ['dump_watchers'],
    help: 'clients that watch objects',
    ...osdOnly,
    run: (t) =>
      [...t.osd.pgs.values()].flatMap(({ engine }) =>
        [...engine.watches.all()].map(({ obc, info }) => ({
          namespace: obc.oid.nspace,
          object: obc.oid.name,
          entity_name: { type: entityNumText(info.name).split('.')[0], num: info.name.num },
          cookie: info.cookie,
          timeout: info.timeoutSec,
          entity_addr_t: addrsJson([info.addr]),
        })),
      ),
  },
  {
    sig: ['dump_recovery_reservations'],
    help: 'PGs that recover or wait for it, by urgency',
    ...osdOnly,
    run: (t) => ({ local_reservations: t.osd.reserver.dump() }),
  },
  { sig: ['dump_scrubs'], help: 'when the next scrubs are due', ...osdOnly, run: (t) => scrubsDue(t.osd) },
  {
    sig: ['dump_scrub_reservations'],
    help: 'scrubs that this OSD takes part in',
    ...osdOnly,
    run: (t) => scrubReservations(t.osd, t.settings.options.maxScrubs),
  },
  {
    sig: ['dump_osd_network', { name: 'value', type: 'CephInt', req: 'false' }],
    help: 'how long pings to other OSDs take, where it is long; or as many milliseconds as given',
    ...osdOnly,
    run: (t, args) => {
      const leastMs = args.value === undefined ? slowPingMs(t) : Math.max(0, Number(args.value));
      return { threshold: Math.floor(leastMs), entries: slowWays(t, leastMs) };
    },
  },
  {
    sig: ['debug', 'dump_missing', { name: 'filename', type: 'CephFilepath', req: 'false' }],
    help: 'what copies here lack',
    ...osdOnly,
    run: missingOf,
  },
  ...['dump', 'flush', 'reopen'].map(
    (what): Command => ({
      sig: ['log', what],
      help: 'the log of this process is written at once, by whoever started it',
      perm: 'rw',
      run: () => ({}),
    }),
  ),
];
