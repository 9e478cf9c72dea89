import { cpus, loadavg } from 'node:os';
import { type Clock, sleep, type Timer } from '../../base/clock.ts';
import { type BufferPool, pooledFromBytes } from '../../base/buffer-pool.ts';
import { unfilledBytes, utf8 } from '../../base/bytes.ts';
import { AppError, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { AuthMethod, CryptoKey } from '../auth/api.ts';
import { createNoneAuth } from '../auth/none.ts';
import { createServiceAuth } from '../auth/service-auth.ts';
import type { BlockStore } from '../blockstore/blockstore.ts';
import type { MonClient, MonClientOptions } from '../client/api.ts';
import { createMonClient } from '../client/mon-client.ts';
import { decodeMgrMap } from '../maps/mgrmap.ts';
import { FEATURES_PACIFIC } from '../wire/features.ts';
import type { Message } from '../wire/message.ts';
import { MCommand, MCommandReply } from '../wire/messages/command.ts';
import { utimeFromMs } from '../wire/encoding.ts';
import { MLog } from '../wire/messages/log.ts';
import { MMgrMap, MMgrOpen } from '../wire/messages/mgr.ts';
import { MOSDMap, type MOSDMapValue } from '../wire/messages/mon.ts';
import { MOSDOp } from '../wire/messages/osd_client.ts';
import { MPGStats } from '../wire/messages/osd_mgr.ts';
import { MOSDBeacon, MOSDBoot, MOSDFailure, MOSDMarkMeDead, MOSDMarkMeDown } from '../wire/messages/osd_mon.ts';
import { MOSDPing } from '../wire/messages/osd_ping.ts';
import { MOSDForceRecovery } from '../wire/messages/osd_recovery.ts';
import { MOSDScrub2 } from '../wire/messages/osd_scrub.ts';
import {
  type CloseReason,
  type Connection,
  type ConnectionPolicy,
  type Messenger,
  PRIO_HIGHEST,
} from '../wire/messenger.ts';
import { createMessenger } from '../wire/messenger-transport.ts';
import {
  addrVecText,
  ENTITY_MGR,
  ENTITY_OSD,
  entityNumText,
  type EntityAddr,
  type EntityAddrVec,
  sameAddrs,
} from '../wire/types.ts';
import { bootMetadata } from './boot-metadata-system.ts';
import { ClientSession } from './client-session.ts';
import type { CommandTarget } from './command-target.ts';
import { type CommandOutcome, runCommand } from './commands.ts';
import { CompressionKeeper } from './compression.ts';
import { Heartbeats } from './heartbeat.ts';
import { heartbeatLimits, type MessageBudget } from './message-budget.ts';
import { MapKeeper } from './map-keeper.ts';
import { fetchMaps, startMon } from './mon-session.ts';
import type { MapView } from './map-view.ts';
import { peerCodecs } from './deliver.ts';
import { Osd } from './osd.ts';
import { OsdSettings } from './osd-settings.ts';
import { localTimeOf } from './scrub-schedule.ts';
import { StatsReporter } from './stats-reporter.ts';
import { whyNotTaken } from './store-made.ts';

export interface OsdServerOptions {
  id: number;
  fsid: string;
  /** Identity of the store. */
  uuid: string;
  key: CryptoKey;
  auth: AuthMethod;
  monAddrs: readonly EntityAddrVec[];
  ip: string;
  /** First port to try. */
  portBase: number;
  store: BlockStore;
  messages: MessageBudget;
  /** Memory of large payloads. */
  buffers: BufferPool;
  /** Where CRUSH is to place a new OSD. */
  host: string;
  clock: Clock;
  random: Random;
  log: Logger;
  /** Further facts for `ceph osd metadata`. */
  metadata: Record<string, string>;
  version: string;
  /** Nothing more can be promised: ends the process. */
  fatal: (error: unknown) => void;
}

const portsTried = 700;
const bootRetryMs = 5000;
const tickMs = 3000;
const markDownWaitMs = 3000;
/** Between two tries to reach a neighbour that does not answer a dial. */
const beatRedialMs = 200;

/** An OSD on the network: sessions with mon, manager, clients and other OSDs around one `Osd`. */
export class OsdServer {
  readonly #o: OsdServerOptions;
  readonly #log: Logger;
  readonly #mon: MonClient;
  readonly #data: Messenger;
  readonly #heartbeat: Messenger;
  readonly #stats: StatsReporter;
  readonly #beats: Heartbeats;
  #maps!: MapKeeper;
  #osd!: Osd;
  readonly #peers = new Map<number, { addrs: EntityAddrVec; connection: Connection }>();
  /** By OSD and address. */
  readonly #beatConnections = new Map<string, { osd: number; addrs: EntityAddrVec; connection: Connection }>();
  readonly #beatsReady = new WeakSet<Connection>();
  #mgr: Connection | undefined;
  #mgrAddrs: EntityAddrVec = [];
  readonly #timers = new Set<Timer>();
  #lastBootMs = Number.NEGATIVE_INFINITY;
  #stopping = false;
  /** `up_from` of the life that the mon was asked to end; 0: none. */
  #leavingUpFrom = 0;
  #downWaiter: (() => void) | undefined;
  #failed: unknown;
  #logSeq = 0;
  readonly #settings: OsdSettings;
  /** As they were when they were last looked at. */
  #settingsSeen: ReadonlyMap<string, string> | undefined;
  readonly #compression: CompressionKeeper;

  private constructor(options: OsdServerOptions) {
    this.#o = options;
    this.#log = options.log;
    this.#compression = new CompressionKeeper((policies) => options.store.setCompression(policies));
    const { clock, random, log } = options;
    this.#mon = createMonClient({
      ...this.#monAccess(),
      rotatingService: ENTITY_OSD,
      dispatcher: { onMessage: (c, m) => this.#onMgrMessage(c, m), onClose: (c) => this.#monSideClosed(c) },
    });
    this.#settings = new OsdSettings(() => this.#mon.config);
    const common = {
      entity: { type: ENTITY_OSD, num: options.id },
      clock,
      random,
      log,
      serverAuth:
        options.auth === 'none'
          ? createNoneAuth()
          : createServiceAuth({ service: ENTITY_OSD, rotating: () => this.#mon.rotating(), clock, random }),
      clientAuth: (type: number) => this.#mon.clientAuth(type),
      buffers: options.buffers,
    };
    this.#data = createMessenger({
      ...common,
      limits: options.messages.limits,
      acceptPolicy: (type): ConnectionPolicy => (type === ENTITY_OSD ? 'lossless-peer' : 'stateless-server'),
      dispatcher: {
        onMessage: (c, m) => this.#onMessage(c, m),
        onClose: (c, reason) => this.#onClose(c, reason),
        onNobodyListens: (c) => {
          for (const [osd, { connection }] of this.#peers) if (connection === c) this.#beats.refused(osd);
        },
      },
    });
    this.#heartbeat = createMessenger({
      ...common,
      limits: heartbeatLimits,
      dispatcher: {
        onMessage: (c, m) => this.#onPing(c, m),
        onReady: (c) => void this.#beatsReady.add(c),
        onClose: (c) => this.#onBeatClose(c),
        onNobodyListens: (c) => {
          for (const { osd, connection } of this.#beatConnections.values())
            if (connection === c) this.#beats.refused(osd);
        },
      },
    });
    this.#beats = new Heartbeats({
      whoami: options.id,
      fsid: options.fsid,
      clock,
      random,
      log,
      options: () => this.#settings.options,
      map: () => this.#osd.map,
      upFrom: () => (this.up ? this.#upFrom() : 0),
      clockDeltas: () => this.#osd.clockDeltas,
      peers: () => this.#osd.peers(),
      sendPing: (osd, addrs, body) => this.#beatConnection(osd, addrs).send(MOSDPing, body, { priority: PRIO_HIGHEST }),
      forget: (osd) => {
        for (const [key, beat] of this.#beatConnections) {
          if (beat.osd !== osd) continue;
          this.#beatConnections.delete(key);
          beat.connection.close();
        }
      },
      reportFailure: (target, kind, failedForMs) => {
        const map = this.#osd.map;
        if (map === undefined || this.#stopping) return;
        this.#mon.send(MOSDFailure, {
          fsid: options.fsid,
          reporter: options.id,
          target,
          targetAddrs: map.clientAddrs(target),
          kind,
          failedForMs,
          epoch: map.epoch,
        });
      },
    });
    this.#stats = new StatsReporter({
      fsid: options.fsid,
      osdId: options.id,
      clock,
      epoch: () => this.#osd.map?.epoch ?? 0,
      upFrom: () => this.#upFrom(),
      pgs: () => this.#osd.stats(),
      held: () => this.#osd.held(),
      pgCount: () => this.#osd.pgs.size,
      statfs: () => options.store.statfs(),
      compressed: () => options.store.compressed(),
      latencyMs: () => this.#osd.commitLatencyMs,
      shardsRepaired: () => this.#osd.shardsRepaired,
      counters: () => this.#osd.counters.values,
      heartbeatPeers: () => this.#beats.peers,
      pings: () => this.#beats.pings(),
      slowOps: () => this.#osd.slowOps(),
      send: (stats) => {
        if (this.#mgr === undefined || !this.#mgr.open || !this.up) return false;
        this.#mgr.send(MPGStats, stats);
        return true;
      },
    });
  }

  /** Resolves when the OSD listens, has its maps and asks to be marked up. */
  static async start(options: OsdServerOptions): Promise<OsdServer> {
    const server = new OsdServer(options);
    await server.#start();
    return server;
  }

  async #start(): Promise<void> {
    const o = this.#o;
    const identity = { fsid: o.fsid, osdId: o.id };
    const commit = (ops: Parameters<typeof o.store.queue>[0]['ops']): void => {
      o.store.queue({ ops }).catch((error: unknown) => this.#fatal(error));
    };
    this.#maps = await MapKeeper.open(o.store, this.#log, identity, commit, (asked) =>
      fetchMaps(createMonClient(this.#monAccess()), asked, this.#log, () => this.#stopping),
    );
    if (this.#maps.fsid !== o.fsid || this.#maps.osdId !== o.id)
      throw new AppError('FOREIGN_DISK', `the store belongs to osd.${this.#maps.osdId} of cluster ${this.#maps.fsid}`);
    this.#osd = new Osd({
      whoami: o.id,
      fsid: o.fsid,
      store: o.store,
      clock: o.clock,
      random: o.random,
      log: this.#log,
      maps: this.#maps,
      sendOsd: (osd, codec, body, sent) =>
        this.#peer(osd)?.send(codec, body, sent === undefined ? undefined : { sent }),
      drained: (osd) => this.#peer(osd)?.drained() ?? Promise.resolve(),
      sendMon: (codec, body) => this.#mon.send(codec, body),
      reportSoon: () => this.#stats.soon(),
      fatal: (error) => this.#fatal(error),
      full: () => this.#full(),
      clusterLog: (level, text) => this.#clusterLog(level, text),
      options: () => this.#settings.options,
      rotating: false,
      load: () => ({ oneMinute: loadavg()[0]!, fifteenMinutes: loadavg()[2]!, processors: cpus().length }),
      localTime: () => localTimeOf(o.clock.now()),
      take: (length) => (length < pooledFromBytes ? unfilledBytes(length) : o.buffers.take(length)),
      replyBytes: o.messages.replyBytes,
      endClient: (client) => this.#endClient(client as ClientSession),
      recycle: (bytes) => o.buffers.give(bytes),
      isMe: (map) => this.#isMe(map),
      shareMaps: (client, epoch) => this.#shareMaps(client as ClientSession, epoch),
    });
    this.#osd.load();
    this.#followSettings();

    this.#mon.on(MOSDMap, (value) => this.#onMaps(value));
    this.#mon.on(MMgrMap, ({ map }) => this.#onMgrMap(map));
    this.#mon.onSession(() => {
      this.#lastBootMs = Number.NEGATIVE_INFINITY;
      this.#osd.askMonAgain();
      this.#markDownAgain();
      this.#maybeBoot();
      this.#beacon();
    });
    await startMon(this.#mon, this.#log, () => this.#stopping);
    // Who dials before we can check tickets would be refused, and would believe it.
    while (this.#o.auth === 'cephx' && this.#mon.rotating().length === 0) await sleep(o.clock, 20);
    await this.#listen(this.#data);
    await this.#listen(this.#heartbeat);
    this.#mon.subscribe('osdmap', this.#maps.newest + 1);
    this.#mon.subscribe('mgrmap', 0);
    this.#every(
      () => tickMs,
      () => this.#tick(),
    );
    this.#every(
      () => this.#beats.nextTickMs(),
      () => this.#beats.tick(),
    );
    this.#every(
      () => Math.max(1, this.#settings.options.beaconReportInterval) * 1000,
      () => this.#beacon(),
    );
    this.#stats.start();
  }

  #monAccess(): MonClientOptions {
    const { id, key, auth, monAddrs, clock, random, log } = this.#o;
    return { entity: { type: ENTITY_OSD, id: String(id) }, key, auth, monAddrs, clock, random, log };
  }

  async #listen(messenger: Messenger): Promise<EntityAddr> {
    for (let i = 0; ; i++) {
      try {
        return await messenger.listen({ ip: this.#o.ip, port: this.#o.portBase + i });
      } catch (error) {
        if (i >= portsTried) throw error;
      }
    }
  }

  #every(delayMs: () => number, fn: () => void): void {
    const again = (): void => {
      const timer = this.#o.clock.after(delayMs(), () => {
        this.#timers.delete(timer);
        if (this.#stopping) return;
        fn();
        again();
      });
      this.#timers.add(timer);
    };
    again();
  }

  #fatal(error: unknown): void {
    if (this.#failed !== undefined) return;
    this.#failed = error ?? new Error('unknown failure');
    this.#log.error('the OSD cannot go on', { error: errorText(error) });
    this.#osd?.stop();
    this.#o.fatal(error);
  }

  #full(): boolean {
    const { totalBytes, availableBytes } = this.#o.store.statfs();
    return totalBytes > 0 && availableBytes < totalBytes * (1 - this.#settings.options.failsafeFullRatio);
  }

  // --- maps and boot -----------------------------------------------------------------------------------------------------------

  #upFrom(): number {
    return this.#osd.map?.upFrom(this.#o.id) ?? 0;
  }

  #isMe(map: MapView): boolean {
    const { id } = this.#o;
    return (
      map.isUp(id) &&
      sameAddrs(map.clientAddrs(id), this.#data.addrs) &&
      sameAddrs(map.clusterAddrs(id), this.#data.addrs)
    );
  }

  /** Up in the newest map that we have. */
  get up(): boolean {
    const map = this.#osd.map;
    return map !== undefined && this.#isMe(map);
  }

  #onMaps(value: MOSDMapValue): void {
    if (value.fsid !== this.#o.fsid) return;
    const taken = this.#maps.take(value);
    const { newest } = this.#maps;
    this.#mon.got('osdmap', newest);
    if (taken.missingFrom > 0) this.#mon.subscribe('osdmap', taken.missingFrom);
    if (!taken.advanced) {
      this.#maybeBoot();
      return;
    }
    const wasUp = this.up;
    this.#osd.advanceTo(newest);
    if (wasUp && !this.up) this.#markMeDead();
    this.#followSettings();
    this.#closeStale();
    // Where an interval began in what was skipped nobody here can tell: only a new one makes all PGs agree again.
    if (taken.skipped && this.up) this.#markMeDown();
    if (this.up) this.#log.debug('map', { epoch: newest });
    else this.#downWaiter?.();
    this.#maybeBoot();
    this.#stats.soon();
  }

  /** Asks to be marked up while the newest map does not show us so. */
  #maybeBoot(): void {
    if (this.#stopping || this.up || this.#maps.newest === 0 || this.#heartbeat.addrs.length === 0) return;
    const nowMs = this.#o.clock.monotonic();
    if (nowMs - this.#lastBootMs < bootRetryMs) return;
    this.#lastBootMs = nowMs;
    const addrs = this.#data.addrs;
    const total = this.#o.store.statfs().totalBytes;
    this.#log.info('boot', { epoch: this.#maps.newest, addrs: addrVecText(addrs) });
    this.#mon.send(MOSDBoot, {
      fsid: this.#o.fsid,
      osdId: this.#o.id,
      osdUuid: this.#o.uuid,
      bootEpoch: this.#maps.newest,
      clientAddrs: addrs,
      clusterAddrs: addrs,
      hbBackAddrs: this.#heartbeat.addrs,
      hbFrontAddrs: this.#heartbeat.addrs,
      features: FEATURES_PACIFIC,
      crush: { root: 'default', host: this.#o.host, weightTiB: total / 2 ** 40 },
      metadata: bootMetadata(addrs, this.#heartbeat.addrs, this.#o.version, this.#o.metadata),
    });
  }

  #shareMaps(client: ClientSession, epoch: number): void {
    const newest = this.#maps.newest;
    if (client.sharedEpoch >= newest) return;
    const from = Math.max(epoch, client.sharedEpoch);
    client.sharedEpoch = newest;
    client.connection.send(MOSDMap, this.#maps.message(from));
  }

  // --- other OSDs --------------------------------------------------------------------------------------------------------------

  #peer(osd: number): Connection | undefined {
    const addrs = this.#osd.map?.clusterAddrs(osd);
    if (addrs === undefined || addrs.length === 0) return undefined;
    const known = this.#peers.get(osd);
    if (known?.connection.open && (known.addrs === addrs || sameAddrs(known.addrs, addrs))) return known.connection;
    known?.connection.close();
    const connection = this.#data.connect(ENTITY_OSD, addrs, 'lossless-peer');
    this.#peers.set(osd, { addrs, connection });
    return connection;
  }

  /** Ends sessions with OSDs that are down or have other addresses now. */
  #closeStale(): void {
    const map = this.#osd.map;
    if (map === undefined) return;
    for (const [osd, { addrs, connection }] of this.#peers)
      if (!map.isUp(osd) || !sameAddrs(map.clusterAddrs(osd), addrs)) {
        connection.close();
        this.#peers.delete(osd);
      }
  }

  #onMessage(connection: Connection, message: Message): void | Promise<void> {
    const codec = peerCodecs.get(message.type);
    if (codec !== undefined) {
      const from = connection.identity?.name;
      if (from === undefined || from.type !== ENTITY_OSD) return;
      this.#osd.onPeer(Number(from.id), connection.peerAddrs, message.type, message.decode(codec));
      return;
    }
    switch (message.type) {
      case MOSDOp.type: {
        const session = this.#session(connection);
        const value = message.decode(MOSDOp);
        return new Promise((resolve) => this.#osd.onClientOp(session, value, message.tid, resolve));
      }
      case MCommand.type:
        return this.#command(connection, message);
      default:
        break;
    }
  }

  #session(connection: Connection): ClientSession {
    const known = connection.session;
    if (known instanceof ClientSession) return known;
    const made = new ClientSession(connection, this.#log, (bytes) => this.#o.buffers.give(bytes));
    connection.session = made;
    return made;
  }

  #clientClosed(client: ClientSession): void {
    client.closed();
    this.#osd.clientClosed(client);
  }

  #endClient(client: ClientSession): void {
    const { peer, peerAddrs } = client.connection;
    this.#log.warn('a client takes none of its replies while others wait: disconnected', {
      peer: entityNumText(peer),
      addrs: addrVecText(peerAddrs),
    });
    client.connection.close();
    this.#clientClosed(client);
  }

  #onClose(connection: Connection, reason: CloseReason): void {
    if (connection.session instanceof ClientSession) this.#clientClosed(connection.session);
    for (const [osd, peer] of this.#peers) {
      if (peer.connection !== connection) continue;
      this.#peers.delete(osd);
      const map = this.#osd.map;
      if (map === undefined || this.#stopping || !map.isUp(osd) || !sameAddrs(map.clusterAddrs(osd), peer.addrs))
        continue;
      // Messages may be lost although both of us are up: only a new interval makes all PGs agree again.
      this.#log.warn('session with another OSD lost', { osd, reason: reason.message });
      this.#markMeDown();
    }
  }

  /** Repeats it while the map still shows the life that was to end. */
  #markDownAgain(): void {
    if (this.up && this.#leavingUpFrom === this.#upFrom()) this.#markMeDown();
  }

  #markMeDown(): void {
    this.#leavingUpFrom = this.#upFrom();
    this.#mon.send(MOSDMarkMeDown, {
      fsid: this.#o.fsid,
      osdId: this.#o.id,
      addrs: this.#data.addrs,
      epoch: this.#maps.newest,
      dead: this.#stopping,
    });
  }

  /** Our PGs know that we are down: nobody has to wait until our read leases have ended. */
  #markMeDead(): void {
    if (this.#osd.map?.isUp(this.#o.id) === true) return;
    this.#mon.send(MOSDMarkMeDead, { fsid: this.#o.fsid, osdId: this.#o.id, epoch: this.#maps.newest });
  }

  #beatConnection(osd: number, addrs: EntityAddrVec): Connection {
    const key = `${osd} ${addrVecText(addrs)}`;
    const known = this.#beatConnections.get(key)?.connection;
    if (known?.open) return known;
    const made = this.#heartbeat.connect(ENTITY_OSD, addrs, 'lossy-client');
    this.#beatConnections.set(key, { osd, addrs, connection: made });
    return made;
  }

  #onPing(connection: Connection, message: Message): void {
    if (message.type !== MOSDPing.type) return;
    const ping = message.decode(MOSDPing);
    if (ping.fsid !== this.#o.fsid) return;
    const name = connection.identity?.name;
    if (ping.op === 'ping' && name?.type === ENTITY_OSD)
      connection.send(MOSDPing, this.#beats.answer(Number(name.id), ping), { priority: PRIO_HIGHEST });
    if (ping.op !== 'reply') return;
    // On the connection that we made to it.
    for (const { osd, addrs, connection: made } of this.#beatConnections.values())
      if (made === connection) this.#beats.onReply(osd, addrs, ping);
  }

  #onBeatClose(connection: Connection): void {
    for (const [key, { osd, addrs, connection: known }] of this.#beatConnections) {
      if (known !== connection) continue;
      this.#beatConnections.delete(key);
      // Its process may have ended, and then it stopped listening before its connections closed: dialling again tells at once.
      const timer = this.#o.clock.after(this.#beatsReady.has(connection) ? 0 : beatRedialMs, () => {
        this.#timers.delete(timer);
        const map = this.#osd.map;
        if (this.#stopping || this.#beatConnections.has(key) || !map?.isUp(osd)) return;
        const ways = [map.heartbeatAddrs(osd), map.heartbeatFrontAddrs(osd)];
        if (ways.some((way) => sameAddrs(way, addrs))) this.#beatConnection(osd, addrs);
      });
      this.#timers.add(timer);
    }
  }

  // --- manager -----------------------------------------------------------------------------------------------------------------

  #onMgrMap(bytes: Uint8Array): void {
    const map = decodeMgrMap(bytes);
    this.#mon.got('mgrmap', map.epoch);
    this.#mgrAddrs = map.activeAddrs;
    this.#connectMgr();
  }

  #onMgrMessage(connection: Connection, message: Message): void {
    if (connection !== this.#mgr) return;
    if (message.type === MOSDScrub2.type) {
      const { fsid, pgs, deep, repair } = message.decode(MOSDScrub2);
      if (fsid === this.#o.fsid) this.#osd.scrubs.request(pgs, { deep, repair });
    } else if (message.type === MOSDForceRecovery.type) {
      const { fsid, pgs, what, wanted } = message.decode(MOSDForceRecovery);
      if (fsid === this.#o.fsid) this.#osd.forceRecovery(pgs, what, wanted);
    }
  }

  /** Tells those of new settings who do not ask for them each time. */
  #followSettings(): void {
    const { values } = this.#settings;
    this.#compression.update(this.#osd.map, values);
    if (values === this.#settingsSeen) return;
    this.#settingsSeen = values;
    this.#osd.optionsChanged();
  }

  #clusterLog(level: number, message: string): void {
    const { id, fsid, clock } = this.#o;
    const stamp = utimeFromMs(clock.now());
    const line = { addrs: this.#data.addrs, stamp, seq: ++this.#logSeq, level, message, channel: 'cluster' };
    const name = { type: ENTITY_OSD, id: String(id) };
    this.#mon.send(MLog, { version: 0, fsid, entries: [{ name, rank: { type: ENTITY_OSD, num: id }, ...line }] });
  }

  #connectMgr(): void {
    if (this.#stopping) return;
    if (this.#mgr?.open && sameAddrs(this.#mgr.peerAddrs, this.#mgrAddrs)) return;
    this.#mgr?.close();
    this.#mgr = undefined;
    if (this.#mgrAddrs.length === 0) return;
    this.#mgr = this.#mon.messenger.connect(ENTITY_MGR, this.#mgrAddrs, 'lossy-client');
    this.#mgr.send(MMgrOpen, {
      daemonName: String(this.#o.id),
      serviceName: '',
      service: undefined,
      config: new Uint8Array(0),
      configDefaults: new Uint8Array(0),
    });
    this.#stats.report(true);
  }

  #monSideClosed(connection: Connection): void {
    if (connection !== this.#mgr) return;
    this.#mgr = undefined;
    const timer = this.#o.clock.after(1000, () => {
      this.#timers.delete(timer);
      this.#connectMgr();
    });
    this.#timers.add(timer);
  }

  // --- housekeeping ------------------------------------------------------------------------------------------------------------

  #tick(): void {
    this.#osd.tick();
    this.#followSettings();
    this.#o.buffers.trim();
    this.#maps.trim(this.#osd.oldestMapNeeded());
    this.#markDownAgain();
    this.#maybeBoot();
  }

  #beacon(): void {
    if (!this.up) return;
    let clean = this.#maps.newest;
    for (const pg of this.#osd.pgs.values())
      if (pg.core.isPrimary) clean = Math.min(clean, pg.core.info.history.lastEpochClean);
    this.#mon.send(MOSDBeacon, {
      fsid: this.#o.fsid,
      osdId: this.#o.id,
      epoch: this.#maps.newest,
      minLastEpochClean: clean,
    });
  }

  // --- commands ----------------------------------------------------------------------------------------------------------------

  async #command(connection: Connection, message: Message): Promise<void> {
    const { command } = message.decode(MCommand);
    const session = this.#session(connection);
    const answer = await runCommand(this.#target(), command.join(' '), session.privileged);
    connection.send(
      MCommandReply,
      { code: answer.code, status: answer.status, output: utf8(answer.output) },
      { tid: message.tid },
    );
  }

  /** A command over the admin socket: whoever may open that may do everything. */
  adminCommand(command: string): Promise<CommandOutcome> {
    return runCommand(this.#target(), command, true);
  }

  #target(): CommandTarget {
    const { id, fsid, uuid, version, clock, store } = this.#o;
    return {
      whoami: id,
      fsid,
      uuid,
      version,
      clock,
      osd: this.#osd,
      store,
      settings: this.#settings,
      settingsChanged: () => this.#followSettings(),
      memory: () => ({ ...process.memoryUsage() }),
      up: () => this.up,
      mapEpochs: () => ({ oldest: this.#maps.oldest, newest: this.#maps.newest }),
      pings: () => this.#beats.pings(),
      flushStats: () => this.#stats.report(true),
      sendBeacon: () => this.#beacon(),
      clusterLog: (level, line) => this.#clusterLog(level, line),
    };
  }

  health(): { ok: boolean; detail: string } {
    if (this.#failed !== undefined) return { ok: false, detail: errorText(this.#failed) };
    const stranger = whyNotTaken(this.#o, this.#osd.map?.storeUuid(this.#o.id));
    if (stranger !== undefined) return { ok: false, detail: stranger };
    const pgs = this.#osd.pgs.size;
    return this.up
      ? { ok: true, detail: `up, ${pgs} PGs, map ${this.#maps.newest}` }
      : { ok: true, detail: `waits to be marked up, map ${this.#maps.newest}` };
  }

  /** Ends in order: the mon hears of it first, so that nobody has to find out. */
  async stop(): Promise<void> {
    if (this.#stopping) return;
    this.#stopping = true;
    this.#osd.leave();
    if (this.up && this.#mon.connection !== undefined) {
      await new Promise<void>((resolve) => {
        const timer = this.#o.clock.after(markDownWaitMs, resolve);
        this.#downWaiter = () => {
          timer.cancel();
          resolve();
        };
        this.#markMeDown();
      });
    }
    for (const timer of this.#timers) timer.cancel();
    this.#stats.stop();
    this.#osd.stop();
    await Promise.all([this.#data.close(), this.#heartbeat.close(), this.#mon.close()]);
    await this.#o.store.close();
  }
}
