import { DecodeError, utf8 } from '../../base/bytes.ts';
import type { Clock, Timer } from '../../base/clock.ts';
import { AppError, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { AuthMethod, CryptoKey } from '../auth/api.ts';
import { MgrCap } from '../auth/mon-cap.ts';
import { createNoneAuth } from '../auth/none.ts';
import { createServiceAuth } from '../auth/service-auth.ts';
import type { MonClient } from '../client/api.ts';
import { MapFollower } from '../client/map-follower.ts';
import { createMonClient } from '../client/mon-client.ts';
import { MAP_NORECOVER } from '../maps/constants.ts';
import { decodeMgrMap, type MgrMap } from '../maps/mgrmap.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { decodeServiceMap, encodeServiceMap } from '../maps/servicemap.ts';
import { parseCommand, readArguments } from '../mon/commands/signature.ts';
import { type CommandAnswer, FLAG_TELL } from '../mon/commands/table.ts';
import { EACCES, EAGAIN, EINVAL, Refusal, refusalOf } from '../mon/errno.ts';
import type { OutputFormat } from '../mon/format/json.ts';
import { type Message, MessageHandlers } from '../wire/message.ts';
import {
  type CommandReplyValue,
  type CommandValue,
  MCommand,
  MCommandReply,
  MMgrCommand,
  MMgrCommandReply,
} from '../wire/messages/command.ts';
import {
  blankConfigureRest,
  MMgrClose,
  MMgrConfigure,
  MMgrMap,
  MMgrOpen,
  type MMgrOpenValue,
  MMgrReport,
  MServiceMap,
} from '../wire/messages/mgr.ts';
import { MMgrBeacon, MMonMgrReport } from '../wire/messages/mgr_mon.ts';
import { MOSDMap } from '../wire/messages/mon.ts';
import { type MPGStats, MPGStats as MPGStatsCodec } from '../wire/messages/osd_mgr.ts';
import { MOSDForceRecovery } from '../wire/messages/osd_recovery.ts';
import { MOSDScrub2 } from '../wire/messages/osd_scrub.ts';
import type { Connection, Messenger } from '../wire/messenger.ts';
import { createMessenger } from '../wire/messenger-transport.ts';
import {
  addrVecText,
  ENTITY_MGR,
  ENTITY_OSD,
  type EntityAddrVec,
  entityNameText,
  NO_SHARD,
  type PgId,
} from '../wire/types.ts';
import type { MgrView } from './answers/context.ts';
import { type MgrCommands, mgrCommandTable } from './answers/table.ts';
import { autoscaleOptions, autoscaleStatus } from './autoscale.ts';
import { ClusterStats } from './cluster-stats.ts';
import { makeReport } from './digest.ts';
import { healthOptions } from './health.ts';
import { adjustOptions, adjustPgs, type Wishes } from './pg-adjust.ts';
import { carryOut } from './pg-commands.ts';
import { Modules } from './modules.ts';
import { noautoscale, progressOn } from './answers/modules.ts';
import { ProgressTracker } from './progress.ts';
import { readFacts } from './prometheus-facts.ts';
import { prometheusText } from './prometheus.ts';
import { Services } from './services.ts';

/** How often the mon hears from us (`mgr_beacon_period`), and statistics go to it. */
const periodMs = 2000;
/** A change of a PG's state is told after so long, gathered with others. */
const soonMs = 250;
/** How often daemons report to us (`mgr_stats_period`). */
const statsPeriodSec = 5;
/** OSDs that have not reported by then are taken as they are. */
const settleMs = 4 * statsPeriodSec * 1000;
/** A stop waits no longer for the mons to name another mgr. */
const handOverMs = 2000;
/** What metrics need is asked of the mons for no longer. */
const factsMs = 5000;
/** How often the autoscaler looks (`sleep_interval` of its module). */
const autoscaleMs = 60_000;
/** Modules of upstream whose commands we have. */
const modules: readonly string[] = ['balancer', 'crash', 'pg_autoscaler', 'progress', 'prometheus', 'status'];

export interface MgrServerOptions {
  /** `a` of mgr.a. */
  name: string;
  fsid: string;
  key: CryptoKey;
  auth: AuthMethod;
  monAddrs: readonly EntityAddrVec[];
  ip: string;
  /** First of the ports to try. */
  firstPort: number;
  /** `osd_pool_default_size` where the mon says nothing. */
  poolDefaultSize: number;
  metadata: ReadonlyMap<string, string>;
  /** Where every mgr serves its metrics. */
  metricsPort: number;
  /** What else this mgr's machine serves while it is active, by name. */
  services: ReadonlyMap<string, string>;
  version: string;
  /** Another one took its place, or a person took it away: what it knows belongs to a past, and it must begin anew. */
  deposed: () => void;
  clock: Clock;
  random: Random;
  log: Logger;
}

/** The manager: gathers what OSDs report, tells the mon its digest, answers the commands of `mgrCommands`. */
export class MgrServer {
  readonly #o: MgrServerOptions;
  readonly #log: Logger;
  readonly #mon: MonClient;
  readonly #maps: MapFollower;
  readonly #messenger: Messenger;
  readonly #table: MgrCommands = mgrCommandTable();
  readonly #services = new Services();
  readonly #progress: ProgressTracker;
  readonly #modules: Modules;
  readonly #handlers = new MessageHandlers<Connection>();
  /** Since the first OSDMap. */
  #stats: ClusterStats | undefined;
  #mgrMap: MgrMap | undefined;
  /** By number. */
  readonly #osds = new Map<number, Connection>();
  #activeSinceMs: number | undefined;
  #timer: Timer | undefined;
  #soon: Timer | undefined;
  #adjusting = false;
  #scaledMs = Number.NEGATIVE_INFINITY;
  #stopped = false;
  #deposed = false;

  private constructor(options: MgrServerOptions) {
    const { clock, random, log } = options;
    this.#o = options;
    this.#log = log;
    this.#progress = new ProgressTracker(random);
    this.#mon = createMonClient({
      entity: { type: ENTITY_MGR, id: options.name },
      key: options.key,
      auth: options.auth,
      monAddrs: options.monAddrs,
      rotatingService: ENTITY_MGR,
      clock,
      random,
      log,
    });
    this.#modules = new Modules({ mon: this.#mon, clock, random, log });
    this.#maps = new MapFollower(this.#mon, log);
    this.#maps.onMap = (map) => this.#onOsdMap(map);
    this.#messenger = createMessenger({
      entity: { type: ENTITY_MGR, num: -1 },
      serverAuth:
        options.auth === 'none'
          ? createNoneAuth()
          : createServiceAuth({ service: ENTITY_MGR, rotating: () => this.#mon.rotating(), clock, random }),
      dispatcher: { onMessage: (connection, message) => this.#onMessage(connection, message) },
      clock,
      random,
      log,
    });
    this.#handlers
      .on(MPGStatsCodec, (connection, report) => this.#onStats(connection, report))
      .on(MMgrOpen, (connection, open) => this.#onOpen(connection, open))
      .on(MMgrReport, (_connection, { serviceName, daemonName }) =>
        this.#services.heard(serviceName, daemonName, this.#o.clock.now()),
      )
      .on(MMgrClose, (connection, { serviceName, daemonName }) => this.#onClose(connection, serviceName, daemonName))
      .on(MMgrCommand, async (connection, given, { tid }) => {
        connection.send(MMgrCommandReply, await this.#run(connection, given, false), { tid });
      })
      .on(MCommand, async (connection, given, { tid }) => {
        connection.send(MCommandReply, await this.#run(connection, given, true), { tid });
      });
  }

  /** Resolves when the mon knows us and has given an OSDMap. Waits for the mon as long as it takes. */
  static async start(options: MgrServerOptions, stopping?: AbortSignal): Promise<MgrServer> {
    const server = new MgrServer(options);
    try {
      await server.#start(stopping);
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  async #start(stopping: AbortSignal | undefined): Promise<void> {
    const mon = this.#mon;
    mon.on(MOSDMap, (value) => this.#maps.handle(value));
    // A client's command that came to the mon, which has checked what the client may do.
    mon.on(MMgrCommand, (given, { tid }) => {
      void this.#run(undefined, given, false).then((answer) => mon.connection?.send(MMgrCommandReply, answer, { tid }));
    });
    mon.on(MMgrMap, ({ map }) => this.#onMgrMap(decodeMgrMap(map)));
    mon.on(MServiceMap, ({ map }) => {
      const services = decodeServiceMap(map);
      mon.got('servicemap', services.epoch);
      this.#services.adopt(services, this.#o.clock.now());
    });
    for (;;) {
      if (stopping?.aborted) throw new AppError('STOPPED', 'stopped before a mon answered');
      try {
        await mon.start();
        break;
      } catch (error) {
        this.#log.warn('no mon answers yet', { error: errorText(error) });
      }
    }
    await this.#messenger.listen({ ip: this.#o.ip, port: 0, firstPort: this.#o.firstPort });
    this.#maps.start();
    mon.subscribe('mgrmap', 0);
    mon.subscribe('servicemap', 0);
    await this.#maps.atLeast(1);
    mon.onSession(() => {
      // What the mon before did not commit is told again.
      this.#services.dirty = this.#services.map.epoch > 0;
      this.#beacon();
    });
    this.#beacon();
    this.#every();
    this.#log.info('the mgr serves', { addrs: addrVecText(this.#messenger.addrs), osdmap: this.#maps.epoch });
  }

  #every(): void {
    this.#timer = this.#o.clock.after(periodMs, () => {
      if (this.#stopped) return;
      this.#tick();
      this.#every();
    });
  }

  #tick(): void {
    const now = this.#o.clock.now();
    this.#stats?.sample(now);
    this.#services.tick(now);
    this.#beacon();
    this.#report();
    this.#adjust();
    if (this.#stats !== undefined && this.#active && this.#ready) this.#modules.tick(this.#stats);
  }

  /** Brings the numbers of PGs nearer to what is wanted. */
  #adjust(): void {
    if (this.#stats === undefined || !this.#active || !this.#ready || this.#adjusting) return;
    this.#adjusting = true;
    const steps = adjustPgs(this.#stats, adjustOptions(this.#mon.config));
    carryOut(this.#mon, this.#stats.map, steps, this.#scaled(this.#stats))
      .catch((error: unknown) => this.#log.warn('a number of PGs could not be changed', { error: errorText(error) }))
      .finally(() => {
        this.#adjusting = false;
      });
  }

  /** What pools in the autoscaler's care should have, once a minute. */
  #scaled(stats: ClusterStats): Wishes {
    const nowMs = this.#o.clock.monotonic();
    if (nowMs - this.#scaledMs < autoscaleMs || stats.map.hasFlag(MAP_NORECOVER)) return new Map();
    if (noautoscale(this.#modules.options)) return new Map();
    this.#scaledMs = nowMs;
    const { pools } = autoscaleStatus(stats, autoscaleOptions(this.#mon.config));
    for (const { name, pgNumTarget, final, wouldAdjust } of pools)
      if (wouldAdjust) this.#log.info('the autoscaler changes a pool', { pool: name, from: pgNumTarget, to: final });
    return new Map(pools.filter(({ wouldAdjust }) => wouldAdjust).map(({ id, final }) => [id, final]));
  }

  get #active(): boolean {
    return this.#mgrMap?.activeGid === this.#mon.globalId && this.#mon.globalId !== 0n;
  }

  /** Every OSD that is up has reported, or had the time to; and the map is known by which the mgr before may do nothing any more. */
  get #ready(): boolean {
    const stats = this.#stats;
    if (stats === undefined || this.#activeSinceMs === undefined) return false;
    if (stats.map.epoch < (this.#mgrMap?.lastFailureOsdEpoch ?? 0)) return false;
    if (this.#o.clock.monotonic() - this.#activeSinceMs > settleMs) return true;
    return stats.map.osds().every((osd) => !stats.map.isUp(osd) || stats.osds.has(osd));
  }

  // --- from the mon ----------------------------------------------------------------------------------------------------------------

  #onOsdMap(map: OsdMap): void {
    const now = this.#o.clock.now();
    this.#stats ??= new ClusterStats(map);
    this.#stats.applyMap(map, now);
    this.#reportSoon();
  }

  #onMgrMap(map: MgrMap): void {
    this.#mon.got('mgrmap', map.epoch);
    this.#mgrMap = map;
    if (!this.#active) {
      if (this.#activeSinceMs === undefined || this.#stopped) return;
      this.#activeSinceMs = undefined;
      this.#deposed = true;
      this.#log.info('this mgr is active no more', { active: map.activeName });
      this.#o.deposed();
    } else if (this.#activeSinceMs === undefined) {
      this.#activeSinceMs = this.#o.clock.monotonic();
      this.#log.info('this mgr is active', { gid: String(map.activeGid) });
      // Clients wait until it is told that this one serves.
      this.#beacon();
    }
  }

  #beacon(): void {
    if (this.#mon.connection === undefined || this.#deposed) return;
    const { name, fsid, ip, metadata, services } = this.#o;
    const { addrs } = this.#messenger;
    this.#mon.send(MMgrBeacon, {
      fsid,
      gid: this.#mon.globalId,
      name,
      addrs,
      available: this.#active && this.#stats !== undefined,
      features: this.#mon.connection?.features ?? 0n,
      metadata: new Map([['addr', ip], ['addrs', addrVecText(addrs)], ...metadata]),
      modules,
      clients: [],
      services: this.#active ? services : new Map(),
    });
  }

  /** Tells the mon the state of the cluster. */
  #report(): void {
    this.#soon?.cancel();
    this.#soon = undefined;
    const stats = this.#stats;
    if (stats === undefined || !this.#active || !this.#ready || this.#mon.connection === undefined) return;
    const now = this.#o.clock.now();
    if (progressOn(this.#modules.options)) this.#progress.update(stats, now);
    const serviceMap = this.#services.dirty ? encodeServiceMap(this.#services.map) : new Uint8Array(0);
    this.#services.dirty = false;
    const who = { fsid: this.#o.fsid, gid: this.#mon.globalId };
    const options = healthOptions(this.#mon.config, this.#o.poolDefaultSize);
    stats.version++;
    this.#mon.send(
      MMonMgrReport,
      makeReport(stats, who, now, options, {
        progress: this.#progress.digest(now),
        serviceMap,
        checks: [...this.#modules.crashes.checks(now), ...this.#modules.devices.checks()],
      }),
    );
  }

  #reportSoon(): void {
    this.#soon ??= this.#o.clock.after(soonMs, () => {
      this.#soon = undefined;
      if (!this.#stopped) this.#report();
    });
  }

  // --- from daemons and clients ----------------------------------------------------------------------------------------------------

  #onMessage(connection: Connection, message: Message): void | Promise<void> {
    try {
      const result = this.#handlers.dispatch(connection, message);
      if (result === undefined) this.#log.debug('message without a handler', { type: message.type });
      else if (result !== true) return result;
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      this.#log.warn('bad message', { type: message.type, error: errorText(error) });
      connection.close();
    }
  }

  #onStats(connection: Connection, report: MPGStats): void {
    const name = connection.identity?.name;
    if (name?.type !== ENTITY_OSD || Number(name.id) !== report.osdId) return;
    if (this.#stats?.applyReport(report)) this.#reportSoon();
  }

  #onOpen(connection: Connection, open: MMgrOpenValue): void {
    connection.send(MMgrConfigure, {
      statsPeriodSec,
      statsThreshold: statsPeriodSec,
      rest: blankConfigureRest(),
    });
    const osd = connection.identity?.name;
    if (osd?.type === ENTITY_OSD && osd.id === open.daemonName) this.#osds.set(Number(osd.id), connection);
    const [addr] = connection.peerAddrs;
    if (open.service === undefined || addr === undefined) return;
    this.#services.open(
      {
        service: open.serviceName,
        daemon: open.daemonName,
        gid: connection.identity?.globalId ?? 0n,
        addr,
        metadata: open.service.metadata,
      },
      this.#maps.epoch,
      this.#o.clock.now(),
    );
  }

  #scrub(osd: number, pgs: readonly PgId[], how: { deep: boolean; repair: boolean }): boolean {
    const connection = this.#osds.get(osd);
    if (connection === undefined || !connection.open) return false;
    connection.send(MOSDScrub2, {
      fsid: this.#o.fsid,
      epoch: this.#maps.epoch,
      pgs: pgs.map((pg) => ({ ...pg, shard: NO_SHARD })),
      ...how,
    });
    return true;
  }

  #forceRecovery(osd: number, pgs: readonly PgId[], what: 'recovery' | 'backfill', wanted: boolean): boolean {
    const connection = this.#osds.get(osd);
    if (connection === undefined || !connection.open) return false;
    const shards = pgs.map((pg) => ({ ...pg, shard: NO_SHARD }));
    connection.send(MOSDForceRecovery, { fsid: this.#o.fsid, pgs: shards, what, wanted });
    return true;
  }

  #onClose(connection: Connection, service: string, daemon: string): void {
    const known = this.#services.map.services.get(service)?.daemons.get(daemon);
    if (known?.gid === connection.identity?.globalId) this.#services.close(service, daemon, this.#o.clock.now());
  }

  // --- commands --------------------------------------------------------------------------------------------------------------------

  async #run(
    connection: Connection | undefined,
    { command: words, input }: CommandValue,
    tell: boolean,
  ): Promise<CommandReplyValue> {
    let answer: CommandAnswer;
    try {
      answer = await this.#execute(connection, words, input, tell);
    } catch (error) {
      let refusal: Refusal;
      try {
        refusal = refusalOf(error);
      } catch {
        this.#log.error('a command failed', { error: errorText(error), command: words.join(' ').slice(0, 200) });
        refusal = new Refusal(EINVAL, 'the command failed inside the mgr; its log says why');
      }
      return { code: -refusal.errno, status: refusal.message, output: utf8(refusal.output) };
    }
    const { code = 0, status = '', output = '' } = answer;
    return { code, status, output: typeof output === 'string' ? utf8(output) : output };
  }

  /** A command over the admin socket: whoever may open that may do everything. */
  adminCommand(command: string): Promise<CommandReplyValue> {
    return this.#run(undefined, { fsid: this.#o.fsid, command: [command], input: new Uint8Array(0) }, true);
  }

  async #execute(
    connection: Connection | undefined,
    words: readonly string[],
    input: Uint8Array,
    tell: boolean,
  ): Promise<CommandAnswer> {
    const given = parseCommand(words);
    const { prefix } = given;
    if (prefix === 'get_command_descriptions')
      return { output: this.#table.descriptions(tell ? () => true : undefined) };
    const command = typeof prefix === 'string' ? this.#table.find(prefix)[0] : undefined;
    if (command === undefined || (!tell && command.flags === FLAG_TELL))
      throw new Refusal(EINVAL, `No handler found for '${String(prefix)}'`);
    if (connection !== undefined && !mayRun(connection, command.module, command.perm, String(prefix), given))
      throw new Refusal(EACCES, 'access denied: does your client key have mgr caps?');
    this.#log.debug('command', {
      from: connection === undefined ? 'mon' : entityText(connection),
      command: words.join('').slice(0, 200),
    });
    const format = given.format === undefined || given.format === 'plain' ? 'plain' : String(given.format);
    const shaped: OutputFormat = format === 'json' || format === 'plain' ? format : 'json-pretty';
    return await command.handler!(this.#view(input), readArguments(command.signature, given), shaped);
  }

  #view(input: Uint8Array): MgrView {
    if (this.#stats === undefined) throw new Refusal(EAGAIN, 'the mgr has no OSDMap yet');
    const { clock, poolDefaultSize, version } = this.#o;
    return {
      stats: this.#stats,
      options: healthOptions(this.#mon.config, poolDefaultSize),
      services: this.#services.map,
      progress: this.#progress,
      balancer: this.#modules.balancer,
      crashes: this.#modules.crashes,
      devices: this.#modules.devices,
      history: this.#modules.history,
      metricsPort: this.#o.metricsPort,
      modules: this.#modules.options,
      config: this.#mon.config,
      input,
      time: clock,
      ready: this.#ready,
      version,
      nowMs: () => clock.now(),
      scrub: (osd, pgs, how) => this.#scrub(osd, pgs, how),
      forceRecovery: (osd, pgs, what, wanted) => this.#forceRecovery(osd, pgs, what, wanted),
      mon: (command, more) => this.#mon.command(command, more),
    };
  }

  // --- others ----------------------------------------------------------------------------------------------------------------------

  /** What Prometheus reads; nothing of a standby. */
  async metrics(): Promise<string> {
    if (this.#stats === undefined || !this.#active) return '';
    const { history } = this.#modules;
    const facts = await readFacts(
      (command) => this.#mon.command(command, undefined, factsMs),
      async (checks) => {
        await history
          .see(checks, this.#o.clock.now())
          .catch((error: unknown) => this.#log.warn('what is wrong is not kept', { error: errorText(error) }));
        return await history.all();
      },
    );
    const mgrMap = this.#mgrMap;
    if (mgrMap === undefined) return '';
    return prometheusText({ stats: this.#stats, facts, mgrMap, services: this.#services.map });
  }

  health(): { ok: boolean; detail: string } {
    const session = this.#mon.connection === undefined ? 'no mon answers' : this.#active ? 'active' : 'standby';
    return { ok: true, detail: `${session}, osdmap e${this.#maps.epoch}, ${this.#stats?.osds.size ?? 0} OSDs report` };
  }

  async stop(): Promise<void> {
    const last = !this.#stopped && this.#active && (this.#mgrMap?.standbys.size ?? 0) > 0;
    this.#stopped = true;
    this.#timer?.cancel();
    this.#soon?.cancel();
    // A standby follows at once instead of after `mon_mgr_beacon_grace`.
    if (last)
      await this.#mon
        .command({ prefix: 'mgr fail', who: String(this.#mon.globalId) }, undefined, handOverMs)
        .catch((error: unknown) => this.#log.info('the place was not handed on', { error: errorText(error) }));
    await this.#messenger.close();
    await this.#mon.close();
  }
}

/** Capabilities of a connection, read once. */
function capOf(connection: Connection): MgrCap {
  if (connection.session instanceof MgrCap) return connection.session;
  let cap = MgrCap.none;
  if (connection.identity?.allowAll === true) cap = MgrCap.all;
  else {
    try {
      cap = MgrCap.parse(connection.identity?.caps ?? '');
    } catch {
      // Capabilities that nobody can read allow nothing.
    }
  }
  connection.session = cap;
  return cap;
}

function entityText(connection: Connection): string {
  return connection.identity === undefined ? '?' : entityNameText(connection.identity.name);
}

function mayRun(
  connection: Connection,
  service: string,
  perm: string,
  command: string,
  given: Readonly<Record<string, unknown>>,
): boolean {
  const args = new Map<string, string>();
  for (const [name, value] of Object.entries(given))
    if (name !== 'prefix' && name !== 'format') args.set(name, Array.isArray(value) ? value.join(' ') : String(value));
  return capOf(connection).allows({
    entity: entityText(connection),
    service,
    command,
    args,
    read: perm.includes('r'),
    write: perm.includes('w'),
    exec: perm.includes('x'),
    ip: connection.remoteIp,
  });
}
