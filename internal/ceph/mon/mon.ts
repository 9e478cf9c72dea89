import type { Clock, Timer } from '../../base/clock.ts';
import { AppError, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { Store } from '../../store/api.ts';
import type { AuthEntry, KeyServer, RotatingSecret } from '../auth/api.ts';
import { newCryptoKey } from '../auth/crypto.ts';
import { Placement } from '../maps/placement.ts';
import { type Message, MessageHandlers } from '../wire/message.ts';
import type { LogEntry } from '../wire/messages/log.ts';
import type { MMonMgrReportValue } from '../wire/messages/mgr_mon.ts';
import type { Connection, Dispatcher } from '../wire/messenger.ts';
import { ENTITY_AUTH, ENTITY_MON, type EntityAddrVec } from '../wire/types.ts';
import { globalIdBlock, globalIdLow, rotated, rotatingServices } from './auth-state.ts';
import { type Committed, Core } from './core.ts';
import type { Draft } from './draft.ts';
import { HealthWatch } from './health-watch.ts';
import { MonOptions } from './options.ts';
import { FailureReports } from './osd/failures.ts';
import { DownTimes } from './osd/down-out.ts';
import { OsdRequests } from './osd/requests.ts';
import { OsdMapSource } from './osdmap-source.ts';
import { Publisher } from './publish.ts';
import { Session } from './session.ts';
import type { Metadata, MonState } from './state.ts';

/** Requests of OSDs are collected for so long before they make an epoch. */
const collectMs = 30;

export interface MonDeps {
  /** `a` of mon.a. */
  name: string;
  rank: number;
  store: Store;
  clock: Clock;
  random: Random;
  log: Logger;
  state: MonState;
  /** What `ceph mon metadata` shows. */
  metadata: Metadata;
}

/**
 * A monitor: the committed state, who is connected, and what is known but not kept (reports of the mgr, failure reports, times). Handlers of messages
 * and commands work on it; it does no I/O of its own but through the store and the connections.
 */
export class Mon {
  readonly name: string;
  readonly rank: number;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metadata: Metadata;
  readonly core: Core;
  readonly maps: OsdMapSource;
  readonly publisher: Publisher;
  readonly sessions = new Map<number, Session>();
  readonly handlers = new MessageHandlers<Session>();
  readonly failures = new FailureReports();
  readonly downTimes = new DownTimes();
  readonly requests = new OsdRequests();
  readonly healthWatch = new HealthWatch();
  /** Of each OSD that is up: when it was heard of last, by the monotonic clock. */
  readonly osdHeard = new Map<number, number>();
  /** Oldest epoch that the OSD's PGs need, by OSD. */
  readonly osdLastClean = new Map<number, number>();
  /** Of each mgr by gid: when its beacon came last. */
  readonly mgrHeard = new Map<bigint, number>();
  /** The mgr's newest report. */
  digest: MMonMgrReportValue | undefined;
  /** When this mon began to serve: the quorum's age of one. */
  readonly startedMs: number;
  #placement: Placement;
  #options: MonOptions;
  #nextGlobalId: number;
  #collecting: Timer | undefined;
  #closed = false;

  constructor(deps: MonDeps) {
    this.name = deps.name;
    this.rank = deps.rank;
    this.store = deps.store;
    this.clock = deps.clock;
    this.random = deps.random;
    this.log = deps.log;
    this.metadata = deps.metadata;
    this.startedMs = deps.clock.now();
    this.maps = new OsdMapSource(deps.store);
    this.core = new Core({ ...deps, onCommit: (committed) => this.#committed(committed) });
    this.publisher = new Publisher(() => this.state, this.maps);
    this.#placement = new Placement(deps.state.osdmap);
    this.#options = new MonOptions(deps.state.config, deps.name);
    // Whatever the last process reserved may have been given.
    this.#nextGlobalId = deps.state.auth.reservedGlobalId;
    const now = deps.clock.monotonic();
    for (const osd of deps.state.osdmap.osds()) if (deps.state.osdmap.isUp(osd)) this.osdHeard.set(osd, now);
    if (deps.state.mgrmap.activeGid !== 0n) this.mgrHeard.set(deps.state.mgrmap.activeGid, now);
  }

  get state(): MonState {
    return this.core.state;
  }

  /** Where PGs are by the committed map. */
  get placement(): Placement {
    if (this.#placement.map !== this.state.osdmap) this.#placement = new Placement(this.state.osdmap, this.#placement);
    return this.#placement;
  }

  get options(): MonOptions {
    return this.#options;
  }

  get addrs(): EntityAddrVec {
    return this.state.monmap.mons.find((mon) => mon.name === this.name)?.addrs ?? [];
  }

  update<R>(fn: (draft: Draft) => R): Promise<R> {
    return this.core.update(fn);
  }

  /** A change that nobody waits for. */
  background(what: string, fn: (draft: Draft) => void): void {
    this.core.update(fn).catch((error: unknown) => {
      if (!this.#closed) this.log.warn(`${what} failed`, { error: errorText(error) });
    });
  }

  /** A line of the cluster log in this mon's name. */
  line(level: number, message: string, channel = 'cluster'): Omit<LogEntry, 'seq' | 'stamp'> {
    return {
      name: { type: ENTITY_MON, id: this.name },
      rank: { type: ENTITY_MON, num: this.rank },
      addrs: this.addrs,
      level,
      message,
      channel,
    };
  }

  /** OSDs' requests were added to `requests`: they are answered together in a moment. */
  collect(): void {
    if (this.#collecting !== undefined || this.#closed) return;
    this.#collecting = this.clock.after(collectMs, () => {
      this.#collecting = undefined;
      this.background('requests of OSDs', (draft) => this.requests.apply(draft));
    });
  }

  #committed({ before, after, increments }: Committed): void {
    this.maps.add(increments);
    if (before.config !== after.config) this.#options = new MonOptions(after.config, this.name);
    if (before.osdmap !== after.osdmap) this.#followOsds();
    for (const session of this.sessions.values()) this.publisher.check(session);
  }

  #followOsds(): void {
    const { osdmap } = this.state;
    const now = this.clock.monotonic();
    for (const osd of [...this.osdHeard.keys()]) {
      if (osdmap.isUp(osd)) continue;
      this.osdHeard.delete(osd);
      this.osdLastClean.delete(osd);
      this.failures.forget(osd);
    }
    for (const osd of osdmap.osds()) if (osdmap.isUp(osd) && !this.osdHeard.has(osd)) this.osdHeard.set(osd, now);
  }

  // --- what the messenger and cephx ask of us

  readonly dispatcher: Dispatcher = {
    onReady: (connection) => {
      const session = new Session(connection);
      connection.session = session;
      this.sessions.set(connection.id, session);
    },
    onMessage: (connection, message) => this.#onMessage(connection, message),
    onClose: (connection) => void this.sessions.delete(connection.id),
  };

  #onMessage(connection: Connection, message: Message): void | Promise<void> {
    const session = this.sessions.get(connection.id);
    if (session === undefined || this.core.failed !== undefined) return connection.close();
    const result = this.handlers.dispatch(session, message);
    if (result === undefined) {
      this.log.debug('a message of a type that is not served', { type: message.type, from: session.entity });
      return;
    }
    if (result !== true) return result;
  }

  readonly keyServer: KeyServer = {
    entity: (name: string): AuthEntry | undefined => this.state.auth.entities.get(name),
    rotating: (service: number): readonly RotatingSecret[] => this.state.auth.rotating.get(service) ?? [],
    nextGlobalId: (): bigint => {
      const { reservedGlobalId } = this.state.auth;
      if (reservedGlobalId - this.#nextGlobalId < globalIdLow)
        this.background('reserving global ids', (draft) => {
          const reserved = draft.state.auth.reservedGlobalId;
          if (reserved - this.#nextGlobalId < globalIdLow) draft.reserveGlobalIds(reserved + globalIdBlock);
        });
      if (this.#nextGlobalId >= reservedGlobalId) throw new AppError('NO_GLOBAL_ID', 'no global id is reserved yet');
      return BigInt(this.#nextGlobalId++);
    },
    monTicketTtlSec: 72 * 3600,
    serviceTicketTtlSec: 3600,
  };

  /** Reserves the first global ids and makes what is missing of the rotating secrets: before anybody is let in. */
  async prepare(): Promise<void> {
    await this.update((draft) => {
      draft.reserveGlobalIds(this.#nextGlobalId + globalIdBlock);
      this.rotate(draft);
    });
  }

  rotate(draft: Draft): void {
    for (const service of rotatingServices) {
      const ttlSec = service === ENTITY_AUTH ? this.keyServer.monTicketTtlSec : this.keyServer.serviceTicketTtlSec;
      const secrets = draft.state.auth.rotating.get(service) ?? [];
      const next = rotated(secrets, draft.nowMs, ttlSec * 1000, () => newCryptoKey(draft.nowMs, this.random));
      if (next !== undefined) draft.setRotating(service, next);
    }
  }

  close(): void {
    this.#closed = true;
    this.#collecting?.cancel();
  }
}
