import { utimeFromMs } from '../../wire/encoding.ts';
import { entityTypeName } from '../../wire/types.ts';
import { hasPgState, PG_ACTIVE, PG_CLEAN, PG_PEERING } from '../../wire/messages/osd_mgr.ts';
import { ENOENT, ENOTSUP, Refusal } from '../errno.ts';
import { addrsJson } from '../format/addrs.ts';
import type { Json } from '../format/json.ts';
import { utimeText } from '../format/units.ts';
import type { Mon } from '../mon.ts';
import { optionName } from '../options.ts';
import type { Session } from '../session.ts';
import { optionJson } from './config.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, FLAG_TELL, structured } from './table.ts';

/** What `ceph tell mon.X` and `ceph daemon mon.X` say of this one process: its requests, sessions and counters. */

type Handler = CommandEntry<CommandContext>['handler'];

const tell = (signature: string, help: string, perm: string, handler: Handler): CommandEntry<CommandContext> => ({
  signature,
  help,
  module: 'mon',
  perm,
  flags: FLAG_TELL,
  handler,
});

const stamp = (ms: number): string => utimeText(utimeFromMs(ms));

function openRequests(mon: Mon): Json {
  const nowMs = mon.clock.monotonic();
  const ops = mon.requestsSeen.open.map(({ description, initiatedAtMs, receivedMs, seq, source }) => {
    const age = (nowMs - receivedMs) / 1000;
    const events = [{ event: 'initiated', time: stamp(initiatedAtMs), duration: 0 }];
    const info = { seq, src_is_mon: false, source, forwarded_to_leader: !mon.quorum.leads };
    return { description, initiated_at: stamp(initiatedAtMs), age, duration: age, type_data: { events, info } };
  });
  return { ops, num_ops: ops.length };
}

function past(mon: Mon, ops: readonly { description: string; initiatedAtMs: number; durationMs: number }[]): Json {
  return ops.map(({ description, durationMs, initiatedAtMs }) => ({
    description,
    initiated_at: stamp(initiatedAtMs),
    age: (mon.clock.now() - initiatedAtMs) / 1000,
    duration: durationMs / 1000,
    type_data: {
      events: [
        { event: 'initiated', time: stamp(initiatedAtMs), duration: 0 },
        { event: 'done', time: stamp(initiatedAtMs + durationMs), duration: durationMs / 1000 },
      ],
    },
  }));
}

function sessionJson(session: Session): Json {
  const { connection, hostname, name, wanted } = session;
  const [type, globalId] = [entityTypeName(name.type), connection.identity?.globalId ?? 0n];
  return {
    // OSDs and mons are called by their number, others by the global id of their session.
    name: type === 'osd' || type === 'mon' ? session.entity : `${type}.${globalId}`,
    entity_name: session.entity,
    addrs: addrsJson(connection.peerAddrs),
    socket_addr: (addrsJson(connection.peerAddrs) as { addrvec: Json[] }).addrvec[0] ?? {},
    con_type: type,
    con_features: connection.features,
    con_features_hex: connection.features.toString(16),
    con_features_release: 'luminous',
    open: connection.open,
    caps: { text: connection.identity?.allowAll ? 'allow *' : (connection.identity?.caps ?? '') },
    authenticated: connection.identity !== undefined,
    global_id: globalId,
    global_id_status: 'new_ok',
    osd_epoch: Math.max(0, (wanted.get('osdmap')?.next ?? 1) - 1),
    remote_host: hostname,
  };
}

interface Counter {
  help: string;
  value: number;
  /** It only grows; else it is what there is now. */
  grows?: boolean;
  isBytes?: boolean;
  /** Head of its column in `ceph daemonperf`, which shows those that have one. */
  nick?: string;
}

/** Counters by their section, named as upstream names them. */
function counters(mon: Mon): Record<string, Record<string, Counter>> {
  const { digest, state } = mon;
  const { osdmap } = state;
  const osds = osdmap.osds();
  const pgs = (...wanted: readonly number[]): number =>
    [...(digest?.pgsByState ?? [])]
      .filter(([state]) => wanted.every((bit) => hasPgState(state, bit)))
      .reduce((sum, [, count]) => sum + count, 0);
  const { space, sums } = digest ?? {};
  const now = (help: string, value: number | bigint | undefined, isBytes = false): Counter => ({
    help,
    value: Number(value ?? 0),
    isBytes,
  });
  return {
    cluster: {
      num_mon: now('mons', state.monmap.mons.length),
      num_mon_quorum: now('mons in quorum', mon.inQuorum.ranks.length),
      num_osd: now('OSDs', osds.length),
      num_osd_up: now('OSDs that are up', osds.filter((osd) => osdmap.isUp(osd)).length),
      num_osd_in: now('OSDs that are in', osds.filter((osd) => osdmap.isIn(osd)).length),
      osd_epoch: now('epoch of the OSD map', osdmap.epoch),
      osd_bytes: now('capacity', space?.totalBytes, true),
      osd_bytes_used: now('used space', space && space.totalBytes - space.availableBytes, true),
      osd_bytes_avail: now('available space', space?.availableBytes, true),
      num_pool: now('pools', osdmap.pools.size),
      num_pg: now('placement groups', digest?.pgs),
      num_pg_active_clean: now('placement groups that are active and clean', pgs(PG_ACTIVE, PG_CLEAN)),
      num_pg_active: now('placement groups that are active', pgs(PG_ACTIVE)),
      num_pg_peering: now('placement groups that agree', pgs(PG_PEERING)),
      num_object: now('objects', sums?.objects),
      num_object_degraded: now('objects without all copies', sums?.objectsDegraded),
      num_object_misplaced: now('objects elsewhere than they should be', sums?.objectsMisplaced),
      num_object_unfound: now('objects that nobody has', sums?.objectsUnfound),
      num_bytes: now('bytes of objects', sums?.bytes, true),
    },
    mon: {
      num_sessions: { ...now('open sessions', mon.sessions.size), nick: 'sess' },
      session_add: { help: 'sessions since the start', value: mon.sessionCounts.opened, grows: true, nick: 'sadd' },
      session_rm: { help: 'sessions that ended', value: mon.sessionCounts.closed, grows: true, nick: 'srm' },
    },
  };
}

/** `perfcounter_type_d`: a number of 64 bits, and whether it only grows. */
const COUNTER_U64 = 2;
const COUNTER_GROWS = 8;
/** `PRIO_USEFUL`, and `PRIO_INTERESTING`, from which on `ceph daemonperf` shows a counter. */
const useful = 5;
const interesting = 8;

function perf(mon: Mon, shape: (counter: Counter) => Json, logger?: string, name?: string): Json {
  const sections = Object.entries(counters(mon)).filter(([section]) => logger === undefined || section === logger);
  return Object.fromEntries(
    sections.map(([section, all]): [string, Json] => [
      section,
      Object.fromEntries(
        Object.entries(all)
          .filter(([counter]) => name === undefined || counter === name)
          .map(([counter, value]): [string, Json] => [counter, shape(value)]),
      ),
    ]),
  );
}

/** For a mon that looks for the others. Ours look by themselves, and are told at `appliance join`. */
const hint: Handler = ({ mon }) => {
  if (mon.quorum.serves) return { output: 'mon already active; ignoring bootstrap hint\n' };
  throw new Refusal(
    ENOTSUP,
    "a mon looks for the others at 'mon host' of ceph.conf and on the network: name them there",
  );
};

const loggerArgs = 'name=logger,type=CephString,req=false name=counter,type=CephString,req=false';

export const daemonCommands: readonly CommandEntry<CommandContext>[] = [
  tell('ops', 'show requests that are not answered yet', 'r', ({ mon }, _args, format) =>
    structured(openRequests(mon), format),
  ),
  tell('dump_historic_ops', 'show the slowest requests of the last minutes', 'r', ({ mon }, _args, format) => {
    const { history } = mon.requestsSeen;
    const ops = past(mon, history.slowest(mon.clock.monotonic()));
    return structured({ size: history.size, duration: history.durationMs / 1000, ops }, format);
  }),
  tell('dump_historic_slow_ops', 'show requests that took longer than a threshold', 'r', ({ mon }, _args, format) => {
    const { history } = mon.requestsSeen;
    const ops = past(mon, history.slow(mon.clock.monotonic()));
    const threshold = history.slowMs / 1000;
    return structured(
      new Map<string, Json>([
        ['num to keep', history.size],
        ['threshold to keep', threshold],
        ['Ops', ops],
      ]),
      format,
    );
  }),
  tell('sessions', 'show who is connected to this mon', 'r', ({ mon }, _args, format) =>
    structured([...mon.sessions.values()].map(sessionJson), format),
  ),
  tell(`perf dump ${loggerArgs}`, 'show counters', 'r', ({ mon }, args, format) =>
    structured(
      perf(mon, ({ value }) => value, args.optional('logger'), args.optional('counter')),
      format,
    ),
  ),
  tell('perf schema', 'show what counters there are', 'r', ({ mon }, _args, format) =>
    structured(
      perf(mon, ({ grows, help, isBytes, nick }) => ({
        type: COUNTER_U64 + (grows ? COUNTER_GROWS : 0),
        metric_type: grows ? 'counter' : 'gauge',
        value_type: 'integer',
        description: help,
        nick: nick ?? '',
        priority: nick === undefined ? useful : interesting,
        units: isBytes ? 'bytes' : 'none',
      })),
      format,
    ),
  ),
  tell('config help name=var,type=CephString,req=false', 'explain an option, or all', 'r', ({ mon }, args, format) => {
    const known = mon.knownOptions;
    const name = args.optional('var');
    if (name === undefined)
      return structured({ options: known.upstream.map(({ name: one }) => optionJson(known.find(one)!)) }, format);
    const option = known.find(optionName(name));
    if (option === undefined) throw new Refusal(ENOENT, `Setting not found: '${name}'`);
    return structured({ option: optionJson(option) }, format);
  }),
  tell(
    'heap name=heapcmd,type=CephChoices,strings=dump|start_profiler|stop_profiler|release|stats name=value,type=CephString,req=false',
    'show use of the heap (of daemons with tcmalloc)',
    'rw',
    () => {
      throw new Refusal(ENOTSUP, 'could not issue heap profiler command -- not using tcmalloc!');
    },
  ),
  // Nothing is held back.
  tell('log flush', 'write log lines that are held back', 'rw', (_context, _args, format) => structured({}, format)),
  tell('add_bootstrap_peer_hint name=addr,type=CephIPAddr', 'name an address of another mon', 'rw', hint),
  tell('add_bootstrap_peer_hintv name=addrv,type=CephString', 'name the addresses of another mon', 'rw', hint),
];
