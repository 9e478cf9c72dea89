import { type Logger, silentLogger } from '../../../base/log.ts';
import { type Random, seededRandom } from '../../../base/random.ts';
import type { ObjectStore, Transaction } from '../../blockstore/api.ts';
import { ChecksumError, DamagedEntryError, keyText } from '../../blockstore/errors.ts';
import { type MemoryStore, memoryStore } from '../../blockstore/memory.ts';
import { concatBytes, emptyBytes } from '../../../base/bytes.ts';
import type { MessageCodec } from '../../wire/message.ts';
import { FEATURES_PACIFIC } from '../../wire/features.ts';
import { MOSDAlive, MOSDPGReadyToMerge, MOSDPGTemp } from '../../wire/messages/osd_mon.ts';
import { MOSDRepOp, MOSDRepOpReply, type PgMessage } from '../../wire/messages/osd_osd.ts';
import type { MOSDPing } from '../../wire/messages/osd_ping.ts';
import { addrV2, pgText } from '../../wire/types.ts';
import { Heartbeats } from '../heartbeat.ts';
import { type OsdState, SimMap, type SimOptions, type SimPgs, simPool } from './map.testing.ts';
import { SimScheduler } from './scheduler.testing.ts';
import { findPg } from '../shards.ts';
import { Osd, type OsdHost } from '../osd.ts';
import type { MapHistory } from '../pg-birth.ts';
import type { OpClient } from '../op-request.ts';
import { defaultOsdOptions } from '../osd-options.ts';

/** One simulated OSD process and its disk. */
export class SimOsd {
  readonly id: number;
  store: MemoryStore;
  osd: Osd | undefined;
  /** Grows with each start: its address. */
  nonce = 0;
  newestMap = 0;
  /** Of the present life, less the simulation's time. */
  clockOffsetMs = 0;
  /** When its clock stopped. */
  stoppedMs: number | undefined;
  beats: Heartbeats | undefined;
  fatal: unknown;
  /** Objects of which the disk gives other bytes than were written, until they are written anew. */
  readonly rotten = new Set<string>();
  /** Objects whose entry in the store's index is damaged, until they are removed. */
  readonly entryless = new Set<string>();

  constructor(id: number, store: MemoryStore) {
    this.id = id;
    this.store = store;
  }
}

/** A cluster of OSDs with a mon, a network that delays, reorders across pairs and parts, and disks that lose what was not committed. */
export class SimCluster {
  readonly scheduler = new SimScheduler();
  readonly random: Random;
  readonly osds: SimOsd[] = [];
  readonly maps: SimMap[] = [];
  readonly options: SimOptions;
  readonly #log: Logger;
  /** Pairs `a-b` that cannot talk now, with what waits. */
  readonly #parted = new Map<string, (() => void)[]>();
  /** OSDs that hear nothing of the mon, and it nothing of them. */
  readonly #cutOff = new Set<number>();
  readonly #lastDelivery = new Map<string, number>();
  /** Told of every new map after a while. */
  onMap: ((map: SimMap) => void) | undefined;
  messages = 0;
  /** Clients that an OSD disconnected. */
  readonly ended: OpClient[] = [];
  readonly clusterLog: { osd: number; level: number; text: string }[] = [];
  /** Merges carried out. */
  merges = 0;
  /** Snapshot ids given so far. */
  snapSequence = 0;
  /** Test hook: true swallows a message. */
  dropMessage: ((from: number, to: number, type: number) => boolean) | undefined;

  constructor(options: SimOptions) {
    this.options = options;
    this.random = seededRandom(options.seed);
    this.#log = options.log ?? silentLogger;
    const { diskBytes } = options;
    const disk = { commit: 'manual' as const, ...(diskBytes === undefined ? {} : { capacityBytes: diskBytes }) };
    for (let id = 0; id < options.osds; id++) this.osds.push(new SimOsd(id, memoryStore(disk)));
    const states = this.osds.map(() => ({
      up: false,
      nonce: 0,
      upFrom: 0,
      upThru: 0,
      downAt: 0,
      dead: false,
      out: false,
    }));
    this.maps.push(new SimMap(0, options, states, new Map(), false));
    this.#publish(new SimMap(1, options, states, new Map(), true));
  }

  get map(): SimMap {
    return this.maps[this.maps.length - 1]!;
  }

  chance(probability: number): boolean {
    return this.random.float() < probability;
  }
  between(low: number, high: number): number {
    return low + this.random.float() * (high - low);
  }

  // --- mon ---------------------------------------------------------------------------------------------------------------------

  #publish(map: SimMap): void {
    this.maps.push(map);
    for (const osd of this.osds) this.#deliverMap(osd, map.epoch);
    this.scheduler.after(this.between(1, 50), () => this.onMap?.(map));
  }

  #deliverMap(osd: SimOsd, epoch: number): void {
    const { nonce } = osd;
    this.scheduler.after(this.between(1, 40), () => {
      if (osd.osd === undefined || osd.nonce !== nonce || osd.newestMap >= epoch || this.#cutOff.has(osd.id)) return;
      osd.newestMap = epoch;
      osd.osd.advanceTo(epoch);
      const state = this.maps[epoch]!.states[osd.id]!;
      if (state.up || epoch !== this.map.epoch) return;
      // Marked down although it lives: it says that it knows, and asks to be taken back.
      this.#markMeDead(osd, state.downAt);
      this.#boot(osd);
    });
  }

  #change(
    edit: (states: OsdState[], temp: Map<string, readonly number[]>, pgs: SimPgs) => void,
    flags = this.map.flags,
  ): void {
    const states = this.map.states.map((state) => ({ ...state }));
    const temp = new Map(this.map.pgTemp);
    const pgs = { ...this.map.pgs };
    edit(states, temp, pgs);
    this.#publish(new SimMap(this.map.epoch + 1, this.options, states, temp, true, pgs, flags));
  }

  /** Flags of the map, `MAP_*`. */
  setFlags(flags: number): void {
    this.#change(() => undefined, flags);
  }

  /** The mon learns how full a disk is: one of `FULLNESS_*`. */
  setFullness(id: number, fullness: number): void {
    this.#change((states) => {
      states[id] = { ...states[id]!, fullness };
    });
  }

  /** The pool gets more PGs; where the new ones lie is another matter. */
  split(pgNum: number): void {
    this.#change((_states, _temp, pgs) => {
      pgs.pgNum = pgNum;
      pgs.pgNumPending = pgNum;
    });
  }

  /** A client (its nonce) is put on the blocklist. */
  fence(nonce: number): void {
    this.#change((_states, _temp, pgs) => {
      pgs.fenced = [...(pgs.fenced ?? []), nonce];
    });
  }

  place(pgpNum: number): void {
    this.#change((_states, _temp, pgs) => {
      pgs.pgpNum = Math.min(pgpNum, pgs.pgNumPending);
    });
  }

  /** The last PG is to merge into the one it came from. */
  merge(): void {
    const { pgNum, pgpNum, pgNumPending } = this.map.pgs;
    if (pgpNum >= pgNum || pgNumPending < pgNum) return;
    this.#change((_states, _temp, pgs) => {
      pgs.pgNumPending = pgNum - 1;
    });
  }

  #readyToMerge(m: MOSDPGReadyToMerge): void {
    const { pgNum, pgNumPending } = this.map.pgs;
    const { source, ready, sourceVersion, targetVersion } = m;
    if (pgNum !== source.seed + 1 || pgNumPending > source.seed) return;
    this.#change((_states, temp, pgs) => {
      if (!ready) {
        pgs.pgNumPending = pgNum;
        return;
      }
      temp.delete(pgText(source));
      pgs.pgNum--;
      pgs.lastMerge = { sourceSeed: source.seed, sourceVersion, targetVersion };
      this.merges++;
    });
  }

  #boot(osd: SimOsd): void {
    const { nonce } = osd;
    this.scheduler.after(this.between(5, 100), () => {
      if (osd.osd === undefined || osd.nonce !== nonce || this.#cutOff.has(osd.id)) return;
      const state = this.map.states[osd.id]!;
      if (state.up && state.nonce === nonce) return;
      if (state.up) this.markDown(osd.id);
      this.#change((states) => {
        const epoch = this.map.epoch + 1;
        states[osd.id] = { ...states[osd.id]!, up: true, dead: false, nonce, upFrom: epoch };
      });
    });
  }

  #markMeDead(osd: SimOsd, downAt: number): void {
    this.scheduler.after(this.between(1, 30), () => {
      const state = this.map.states[osd.id]!;
      if (state.up || state.dead || state.downAt !== downAt) return;
      this.#change((states) => (states[osd.id]!.dead = true));
    });
  }

  /** `dead`: the mon knows that nobody is there any more. */
  markDown(id: number, dead = false): void {
    if (!this.map.isUp(id)) return;
    const known = dead || this.options.fault === 'rash-mon';
    this.#change((states, temp) => {
      states[id] = { ...states[id]!, up: false, dead: known, downAt: this.map.epoch + 1 };
      for (const [pg, osds] of temp) {
        // In erasure-coded pools each place is a shard.
        if (this.options.erasure !== undefined) {
          if (!osds.some((osd) => osd !== id && states[osd]?.up === true)) temp.delete(pg);
          continue;
        }
        const left = osds.filter((osd) => osd !== id);
        if (left.length === 0) temp.delete(pg);
        else temp.set(pg, left);
      }
    });
  }

  /** An OSD goes out or comes in: shards move. */
  setOut(id: number, out: boolean): void {
    if (this.map.states[id]!.out === out) return;
    this.#change((states) => {
      states[id] = { ...states[id]!, out };
    });
  }

  #onMon(from: SimOsd, codec: MessageCodec<unknown>, body: unknown): void {
    const { nonce } = from;
    // A session with the mon may end with what was just sent.
    if (this.chance(0.03) || this.#cutOff.has(from.id)) return;
    this.scheduler.after(this.between(1, 30), () => {
      const state = this.map.states[from.id]!;
      if (!state.up || state.nonce !== nonce) return;
      if (codec.type === MOSDAlive.type) {
        const want = (body as MOSDAlive).wantUpThru;
        if (state.upThru < want) this.#change((states) => (states[from.id]!.upThru = want));
      } else if (codec.type === MOSDPGReadyToMerge.type) this.#readyToMerge(body as MOSDPGReadyToMerge);
      else if (codec.type === MOSDPGTemp.type) {
        this.#change((_states, temp) => {
          for (const { pg, osds } of (body as MOSDPGTemp).pgTemp) {
            if (this.map.place(pg).actingPrimary !== from.id) continue;
            if (osds.length === 0) temp.delete(pgText(pg));
            else temp.set(pgText(pg), osds);
          }
        });
      }
    });
  }

  // --- network -----------------------------------------------------------------------------------------------------------------

  part(a: number, b: number): void {
    for (const key of [`${a}-${b}`, `${b}-${a}`]) if (!this.#parted.has(key)) this.#parted.set(key, []);
  }
  /** An OSD reaches neither the others nor the mon, but clients reach it. */
  cutOff(id: number): void {
    const osd = this.osds[id]!;
    this.#cutOff.add(id);
    for (const other of this.osds) if (other.id !== id) this.part(id, other.id);
    if (this.options.fault === 'stopped-clock') osd.stoppedMs = this.scheduler.monotonic();
  }
  isCutOff(id: number): boolean {
    return this.#cutOff.has(id);
  }

  heal(): void {
    for (const id of this.#cutOff) this.osds[id]!.stoppedMs = undefined;
    const back = [...this.#cutOff].map((id) => this.osds[id]!);
    this.#cutOff.clear();
    for (const osd of back) {
      this.#deliverMap(osd, this.map.epoch);
      // It started while it was cut off.
      if (!this.map.isUp(osd.id)) this.#boot(osd);
    }
    const all = [...this.#parted.values()].flat();
    this.#parted.clear();
    for (const run of all) run();
  }

  /** Delivers in order per pair, after a random time. */
  deliver(from: string, to: string, run: () => void): void {
    const channel = `${from}>${to}`;
    const slow = this.chance(0.02) ? this.between(20, 400) : this.between(0.1, 8);
    const at = Math.max(this.scheduler.timeMs + slow, (this.#lastDelivery.get(channel) ?? 0) + 0.001);
    this.#lastDelivery.set(channel, at);
    this.scheduler.after(at - this.scheduler.timeMs, run);
  }

  #sendOsd<T>(from: SimOsd, to: number, codec: MessageCodec<T>, body: T, sent?: () => void): void {
    this.messages++;
    const target = this.osds[to]!;
    const map = this.maps[from.newestMap]!;
    const targetNonce = map.states[to]!.nonce;
    const fromNonce = from.nonce;
    if (this.dropMessage?.(from.id, to, codec.type)) return;
    if (this.options.fault === 'skipped-replica' && codec.type === MOSDRepOp.type && this.chance(0.05)) {
      const { pg, epoch, interval, tid, entries } = body as unknown as MOSDRepOp;
      const lastComplete = entries[entries.length - 1]!.version;
      const reply: MOSDRepOpReply = { pg, epoch, interval, tid, result: 0, lastComplete };
      const addrs = [addrV2('10.0.0.1', 6800 + to, targetNonce)];
      this.deliver(`osd${to}`, `osd${from.id}`, () => from.osd?.onPeer(to, addrs, MOSDRepOpReply.type, reply));
      return;
    }
    const encoded = codec.encode(body, FEATURES_PACIFIC);
    const parts = {
      version: codec.version,
      compat: codec.compat,
      front: encoded.front.slice(),
      middle: emptyBytes,
      data: concatBytes(encoded.data ?? []).slice(),
      features: FEATURES_PACIFIC,
    };
    sent?.();
    const arrive = (): void => {
      if (target.osd === undefined || target.nonce !== targetNonce) return;
      if (from.nonce !== fromNonce) return;
      target.osd.onPeer(
        from.id,
        [addrV2('10.0.0.1', 6800 + from.id, fromNonce)],
        codec.type,
        codec.decode(parts) as PgMessage,
      );
    };
    const send = (): void => {
      const parted = this.#parted.get(`${from.id}-${to}`);
      if (parted !== undefined) parted.push(send);
      else this.deliver(`osd${from.id}.${fromNonce}`, `osd${to}.${targetNonce}`, arrive);
    };
    const parted = this.#parted.get(`${from.id}-${to}`);
    if (parted !== undefined) parted.push(send);
    else send();
  }

  // --- processes ---------------------------------------------------------------------------------------------------------------

  start(id: number): void {
    const sim = this.osds[id]!;
    if (sim.osd !== undefined) return;
    sim.nonce++;
    sim.clockOffsetMs = this.between(0, 1e6) - this.scheduler.timeMs;
    sim.stoppedMs = undefined;
    const { nonce } = sim;
    const alive = (): boolean => sim.nonce === nonce && sim.osd !== undefined;
    const history: MapHistory = {
      oldest: 1,
      get newest() {
        return sim.newestMap;
      },
      get: (epoch) => (epoch >= 1 && epoch <= sim.newestMap ? this.maps[epoch] : undefined),
      poolCreated: () => 1,
    };
    const host: OsdHost = {
      whoami: id,
      fsid: '00000000-0000-0000-0000-000000000001',
      store:
        this.options.fault === 'early-ack' ? hastyStore(sim.store) : checkedStore(sim.store, sim.rotten, sim.entryless),
      clock: {
        now: () => this.scheduler.now(),
        monotonic: () => (sim.stoppedMs ?? this.scheduler.monotonic()) + sim.clockOffsetMs,
        after: (ms, fn) => this.scheduler.after(ms, () => alive() && fn()),
      },
      random: this.random,
      log: this.#log.with({ osd: id }),
      maps: history,
      sendOsd: (to, codec, body, sent) => alive() && this.#sendOsd(sim, to, codec, body, sent),
      drained: () => Promise.resolve(),
      sendMon: (codec, body) => alive() && this.#onMon(sim, codec as MessageCodec<unknown>, body),
      reportSoon: () => undefined,
      clusterLog: (level, text) => void this.clusterLog.push({ osd: id, level, text }),
      options: () => ({
        ...defaultOsdOptions,
        heartbeatGrace: (this.options.leaseMs ?? 2000) / 1000,
        poolDefaultReadLeaseRatio: 1,
        ...this.options.scrub,
        ...this.options.osd,
      }),
      rotating: false,
      load: () => ({ oneMinute: 0, fifteenMinutes: 0, processors: 1 }),
      localTime: () => ({ hour: 12, weekDay: 3 }),
      fatal: (error) => {
        sim.fatal ??= error;
      },
      full: () => false,
      take: (length) => new Uint8Array(length).fill(0xdb),
      replyBytes: this.options.replyBytes ?? 256 << 20,
      endClient: (client) => void this.ended.push(client),
      // Whoever still looks at it will be found out.
      recycle: (bytes) => void bytes.fill(0xdb),
      ...(this.options.logEntries === undefined
        ? {}
        : { logLimits: { clean: this.options.logEntries, degraded: this.options.logEntries } }),
      isMe: (map) => map.isUp(id) && (map as SimMap).states[id]!.nonce === nonce,
      shareMaps: (client: OpClient) => (client as unknown as { behind(): void }).behind(),
    };
    sim.osd = new Osd(host);
    sim.osd.load();
    if (sim.newestMap < this.map.epoch) this.#deliverMap(sim, this.map.epoch);
    this.#boot(sim);
    sim.beats = new Heartbeats({
      whoami: id,
      fsid: host.fsid,
      clock: host.clock,
      log: host.log,
      random: host.random,
      options: () => defaultOsdOptions,
      map: () => sim.osd?.map,
      upFrom: () => (sim.osd?.map !== undefined && host.isMe(sim.osd.map) ? sim.osd.map.upFrom(id) : 0),
      clockDeltas: () => sim.osd!.clockDeltas,
      peers: () => sim.osd!.peers(),
      sendPing: (to, _addrs, ping) => this.#sendPing(sim, to, ping),
      forget: () => undefined,
      reportFailure: (target, kind) => {
        if (kind !== 'alive' && !this.#cutOff.has(id)) this.markDown(target);
      },
    });
    this.#beatLoop(sim, nonce);
    this.#commitLoop(sim, nonce);
    this.#tickLoop(sim, nonce);
  }

  /** A heartbeat and its answer. They are lost where there is no way. */
  #sendPing(from: SimOsd, to: number, ping: MOSDPing): void {
    const target = this.osds[to]!;
    const nonces = [from.nonce, target.nonce];
    const addrs = this.map.heartbeatAddrs(to);
    const way = (run: () => void): void => {
      if (this.#parted.has(`${from.id}-${to}`)) return;
      this.scheduler.after(this.chance(0.02) ? this.between(20, 400) : this.between(0.1, 8), () => {
        if (
          from.osd !== undefined &&
          target.osd !== undefined &&
          from.nonce === nonces[0] &&
          target.nonce === nonces[1]
        )
          run();
      });
    };
    way(() => {
      const answer = target.beats!.answer(from.id, ping);
      way(() => from.beats!.onReply(to, addrs, answer));
    });
  }

  #beatLoop(sim: SimOsd, nonce: number): void {
    this.scheduler.after(this.between(400, 600), () => {
      if (sim.nonce !== nonce || sim.osd === undefined) return;
      sim.beats!.tick();
      this.#beatLoop(sim, nonce);
    });
  }

  /** The disk: commits some of what is queued, after a while. */
  #commitLoop(sim: SimOsd, nonce: number): void {
    // Of a disk that lies there is no hurry to write.
    const slowness = this.options.fault === 'early-ack' ? 40 : 1;
    this.scheduler.after(this.between(0.5, 6) * slowness, () => {
      if (sim.nonce !== nonce || sim.osd === undefined) return;
      if (sim.store.uncommitted > 0) sim.store.commit(1 + (this.random.uint32() % sim.store.uncommitted));
      this.#commitLoop(sim, nonce);
    });
  }

  #tickLoop(sim: SimOsd, nonce: number): void {
    this.scheduler.after(1000, () => {
      if (sim.nonce !== nonce || sim.osd === undefined) return;
      sim.osd.tick();
      sim.osd.stats();
      this.#tickLoop(sim, nonce);
    });
  }

  /** A block of an object can no longer be read from an OSD's disk. */
  rot(id: number, cid: string, key: Uint8Array): void {
    const sim = this.osds[id]!;
    if ((sim.store.stat(cid, key)?.size ?? 0) > 0) sim.rotten.add(rotId(cid, key));
  }

  /** The entry of an object in the index of an OSD's store is damaged. */
  spoilEntry(id: number, cid: string, key: Uint8Array): void {
    this.osds[id]!.entryless.add(rotId(cid, key));
  }

  /** kill -9 and loss of what was not on disk. */
  crash(id: number): void {
    const sim = this.osds[id]!;
    if (sim.osd === undefined) return;
    sim.osd.stop();
    sim.osd = undefined;
    sim.nonce++;
    sim.store = sim.store.crash();
  }

  get upOsds(): number {
    return this.map.states.filter((state) => state.up).length;
  }

  /** Starts every OSD and runs until all PGs are clean; `told` hear of every map. */
  async begin(told: readonly { newMap(epoch: number): void }[]): Promise<void> {
    this.onMap = (map) => {
      for (const one of told) one.newMap(map.epoch);
    };
    for (const osd of this.osds) this.start(osd.id);
    await this.scheduler.run(20_000, () => this.allClean());
  }

  /** Every PG active and clean in its newest interval, with all OSDs up. */
  allClean(): boolean {
    for (let seed = 0; seed < this.map.pgs.pgNum; seed++) {
      const pg = { pool: simPool, seed };
      const { actingPrimary } = this.map.place(pg);
      const primary = this.osds[actingPrimary]?.osd;
      const found = primary === undefined ? undefined : findPg(primary.pgs, pg);
      if (found === undefined || !found.clean || found.core.map.epoch !== this.map.epoch) return false;
    }
    return true;
  }
}

function rotId(cid: string, key: Uint8Array): string {
  return `${cid} ${keyText(key)}`;
}

const entryReads: ReadonlySet<PropertyKey> = new Set([
  'extents',
  'xattr',
  'xattrs',
  'omapHeader',
  'omapList',
  'omapGet',
]);

/** A disk whose checksums find what has rotted. What removes an object, or makes it a copy of another, ends that; a clone has it, too. */
function checkedStore(store: MemoryStore, rotten: Set<string>, entryless: Set<string>): ObjectStore {
  const readable = (cid: string, key: Uint8Array): void => {
    if (rotten.has(rotId(cid, key)) && (store.stat(cid, key)?.size ?? 0) > 0)
      throw new ChecksumError('', cid, key, 0, '');
  };
  return new Proxy(store, {
    get: (target, property) => {
      if (property === 'queue')
        return (transaction: Transaction): Promise<void> => {
          for (const op of transaction.ops)
            for (const set of [rotten, entryless]) {
              if (op.op === 'remove') set.delete(rotId(op.cid, op.key));
              else if (op.op === 'clone') {
                if (set.has(rotId(op.cid, op.from))) set.add(rotId(op.cid, op.to));
                else set.delete(rotId(op.cid, op.to));
              }
            }
          return target.queue(transaction);
        };
      if (property === 'read')
        return async (cid: string, key: Uint8Array, offset: number, length: number) => {
          if (entryless.has(rotId(cid, key))) throw new DamagedEntryError(cid, key, '');
          readable(cid, key);
          return target.read(cid, key, offset, length);
        };
      if (property === 'stat')
        return (cid: string, key: Uint8Array) =>
          entryless.has(rotId(cid, key)) ? { size: 0, damaged: true } : target.stat(cid, key);
      const value: unknown = Reflect.get(target, property, target);
      if (entryReads.has(property))
        return (cid: string, key: Uint8Array, ...rest: unknown[]): unknown => {
          if (entryless.has(rotId(cid, key))) throw new DamagedEntryError(cid, key, '');
          return (value as (...args: unknown[]) => unknown).call(target, cid, key, ...rest);
        };
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}

/** A disk that acknowledges before it has written. */
function hastyStore(store: MemoryStore): ObjectStore {
  return new Proxy(store, {
    get: (target, property) => {
      if (property === 'queue')
        return (transaction: Transaction): Promise<void> => {
          target.queue(transaction).catch(() => undefined);
          return Promise.resolve();
        };
      const value: unknown = Reflect.get(target, property, target);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
}
