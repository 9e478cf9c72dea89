import type { Clock, Timer } from '../../base/clock.ts';
import { AppError, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { Store } from '../../store/api.ts';
import type { AuthEntry, KeyServer, RotatingSecret } from '../auth/api.ts';
import { newCryptoKey } from '../auth/crypto.ts';
import type { MonMap } from '../maps/monmap.ts';
import { Placement } from '../maps/placement.ts';
import { type UTime, utimeFromMs } from '../wire/encoding.ts';
import { type Message, MessageHandlers } from '../wire/message.ts';
import type { LogEntry } from '../wire/messages/log.ts';
import type { MMonMgrReportValue } from '../wire/messages/mgr_mon.ts';
import type { Dispatcher } from '../wire/messenger.ts';
import { ENTITY_AUTH, ENTITY_MON, type EntityAddrVec } from '../wire/types.ts';
import { globalIdBlock, globalIdLow, rotated, rotatingServices } from './auth-state.ts';
import { type Committed, Core } from './core.ts';
import type { Draft } from './draft.ts';
import { NotLeadingError } from './errno.ts';
import { HealthWatch } from './health-watch.ts';
import type { LoadedState } from './load.ts';
import { KnownOptions, MonOptions, type Option } from './options.ts';
import { FailureReports } from './osd/failures.ts';
import { DownTimes } from './osd/down-out.ts';
import { OsdRequests } from './osd/requests.ts';
import { RequestsSeen } from './requests-seen.ts';
import { OsdMapSource } from './osdmap-source.ts';
import { Publisher } from './publish.ts';
import type { MonGroup } from './quorum/group.ts';
import { followMembers, memberUrls } from './quorum/mon-map.ts';
import { Quorum } from './quorum/quorum.ts';
import { Session } from './session.ts';
import type { Metadata, MonState } from './state.ts';

/** `MonMap::CLASSIC`: every mon may lead. */
const classicElections = 1;

/** The leader's own: the others are measured by it. */
const sameClock = { skewMs: 0, latencyMs: 0 };

/** Requests of OSDs are collected for so long before they make an epoch. */
const collectMs = 30;

export interface MonDeps {
  /** `a` of mon.a. */
  name: string;
  /** Where this mon is reached. */
  addrs: EntityAddrVec;
  store: Store;
  /** Of the mons that keep the store. */
  group: MonGroup;
  clock: Clock;
  random: Random;
  log: Logger;
  loaded: LoadedState;
  /** What `ceph mon metadata` shows of this one. */
  metadata: Metadata;
  /** Where mons' stores listen for each other. */
  peerPort: number;
  /** Every option of 16.2.15, whether something here acts on it or not. */
  upstreamOptions: () => readonly Option[];
}

/**
 * A monitor: the committed state, who is connected, and what is known but not kept (reports of the mgr, failure reports, times). Handlers of messages
 * and commands work on it; it does no I/O of its own but through the store and the connections.
 */
export class Mon {
  readonly name: string;
  /** Where this mon is reached: what the MonMap says of it, or will. */
  readonly addrs: EntityAddrVec;
  readonly group: MonGroup;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly metadata: Metadata;
  readonly peerPort: number;
  readonly #upstreamOptions: () => readonly Option[];
  readonly core: Core;
  readonly quorum: Quorum;
  readonly maps: OsdMapSource;
  readonly publisher: Publisher;
  readonly sessions = new Map<number, Session>();
  readonly handlers = new MessageHandlers<Session>();
  readonly failures = new FailureReports();
  readonly downTimes = new DownTimes();
  readonly requests = new OsdRequests();
  readonly requestsSeen: RequestsSeen;
  /** Since the start of the process. */
  readonly sessionCounts = { opened: 0, closed: 0 };
  readonly healthWatch = new HealthWatch();
  /** Of each OSD that is up: when it was heard of last, by the monotonic clock. */
  readonly osdHeard = new Map<number, number>();
  /** Oldest epoch that the OSD's PGs need, by OSD. */
  readonly osdLastClean = new Map<number, number>();
  /** Of each mgr by gid: when its beacon came last. */
  readonly mgrHeard = new Map<bigint, number>();
  /** The mgr's newest report. */
  digest: MMonMgrReportValue | undefined;
  /** Since when the mons in quorum have been these, as this one knows. */
  #quorumSince = { names: '', ms: 0 };
  #placement: Placement;
  #options: MonOptions;
  /** Settings of this process alone (`ceph tell mon.a config set`). */
  readonly overrides = new Map<string, string>();
  /** Global ids that this mon may give, and those that it will give next. */
  #ids = { next: 0, below: 0 };
  #moreIds: { from: number; below: number } | undefined;
  #reserving = false;
  #collecting: { timer: Timer; done: PromiseWithResolvers<void> } | undefined;
  #closed = false;

  constructor(deps: MonDeps) {
    this.name = deps.name;
    this.addrs = deps.addrs;
    this.group = deps.group;
    this.store = deps.store;
    this.clock = deps.clock;
    this.random = deps.random;
    this.log = deps.log;
    this.metadata = deps.metadata;
    this.peerPort = deps.peerPort;
    this.#upstreamOptions = deps.upstreamOptions;
    this.maps = new OsdMapSource(deps.store);
    this.requestsSeen = new RequestsSeen(deps.clock);
    this.core = new Core({ ...deps, onCommit: (committed) => this.#committed(committed) });
    this.quorum = new Quorum({
      ...deps,
      name: () => deps.name,
      core: this.core,
      sessions: this.sessions,
      dispatch: (session, message) => this.#dispatch(session, message),
      reserve: () => this.#reserve(),
      onMetadata: (name, metadata) => this.#noteMetadata(name, metadata),
      onLead: () => this.#takeLead(),
      onCutOff: () => this.#closeSessions(),
    });
    this.publisher = new Publisher(() => this.state, this.maps);
    this.#placement = new Placement(deps.loaded.state.osdmap);
    this.#options = new MonOptions(deps.loaded.state.config, deps.name);
    this.#quorumSince.ms = deps.clock.now();
  }

  /** Begins to follow the store and takes part among the mons. */
  start(): void {
    this.core.start();
    this.quorum.start();
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

  /** Options by name, for one command. */
  get knownOptions(): KnownOptions {
    return new KnownOptions(this.#upstreamOptions);
  }

  /** As the central configuration has them. */
  get centralOptions(): MonOptions {
    return new MonOptions(this.state.config, this.name);
  }

  /** A setting for this process, until it ends; undefined: as the central configuration has it. */
  setOverride(name: string, value: string | undefined): void {
    if (value === undefined) this.overrides.delete(name);
    else this.overrides.set(name, value);
    this.#options = new MonOptions(this.state.config, this.name, this.overrides);
  }

  /** Place of this mon in the MonMap; -1 while it is not in it. */
  get rank(): number {
    return this.state.monmap.mons.findIndex((mon) => mon.name === this.name);
  }

  /** Ranks of the mons in quorum, ascending; the name of the one that leads; and since when it has been so, in milliseconds since the epoch. */
  get inQuorum(): { ranks: number[]; names: string[]; leader: string; sinceMs: number } {
    const { mons } = this.state.monmap;
    const { leader, quorum } = this.quorum.view;
    const ranks = mons.flatMap(({ name }, rank) => (quorum.includes(name) ? [rank] : []));
    const names = ranks.map((rank) => mons[rank]!.name);
    if (this.#quorumSince.names !== names.join()) this.#quorumSince = { names: names.join(), ms: this.clock.now() };
    return { ranks, names, leader, sinceMs: this.#quorumSince.ms };
  }

  /** Every second: notes since when which mons agree, and gives up whoever is connected when nobody confirms this one. */
  followQuorum(lateMs: number): void {
    this.quorum.tick(lateMs);
    void this.inQuorum;
  }

  /** How far the clocks of the others are from the leader's, which this mon is; `bad`: too far (`mon_clock_drift_allowed`). */
  clockSkews(): { name: string; rank: number; skewMs: number; latencyMs: number; bad: boolean }[] {
    if (!this.quorum.leads) return [];
    const allowedMs = this.options.number('mon_clock_drift_allowed') * 1000;
    return this.state.monmap.mons.flatMap(({ name }, rank) => {
      const follower = name === this.name ? sameClock : this.quorum.followers.get(name);
      if (follower === undefined || (name === this.name && this.state.monmap.mons.length === 1)) return [];
      const { latencyMs, skewMs } = follower;
      // Half of the way there is what nobody can know.
      return [{ name, rank, skewMs, latencyMs, bad: Math.abs(skewMs) - latencyMs / 2 > allowedMs }];
    });
  }

  update<R>(fn: (draft: Draft) => R): Promise<R> {
    return this.core.update(fn);
  }

  /** A change that nobody waits for: what only the leader does of itself, and will find due again. */
  background(what: string, fn: (draft: Draft) => void): void {
    this.#change(what, fn).catch(() => undefined);
  }

  /** A change that a message asks for that is not answered. Errors: NotLeadingError, so that the message goes to whoever leads; others are logged. */
  change(what: string, fn: (draft: Draft) => void): Promise<void> {
    return this.#change(what, fn);
  }

  async #change(what: string, fn: (draft: Draft) => void): Promise<void> {
    try {
      await this.core.update(fn);
    } catch (error) {
      if (error instanceof NotLeadingError) throw error;
      if (!this.#closed) this.log.warn(`${what} failed`, { error: errorText(error) });
    }
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

  /** OSDs' requests were added to `requests`: they are answered together in a moment. Errors: NotLeadingError. */
  collect(): Promise<void> {
    if (this.#collecting !== undefined) return this.#collecting.done.promise;
    const done = Promise.withResolvers<void>();
    const timer = this.clock.after(collectMs, () => {
      this.#collecting = undefined;
      this.#change('requests of OSDs', (draft) => this.requests.apply(draft)).then(done.resolve, (error: unknown) => {
        this.requests.forget();
        done.reject(error as Error);
      });
    });
    this.#collecting = { timer, done };
    return done.promise;
  }

  /** Told of this mon's rank when that changes. */
  onRank: (rank: number) => void = () => undefined;

  #committed({ before, after, increments }: Committed): void {
    if (before.monmap !== after.monmap && this.rank >= 0) this.onRank(this.rank);
    this.maps.add(increments);
    if (before.config !== after.config) this.#options = new MonOptions(after.config, this.name, this.overrides);
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

  /** This mon leads from now on: what only the leader knows begins anew. */
  #takeLead(): void {
    const { osdmap, mgrmap } = this.state;
    const now = this.clock.monotonic();
    this.osdHeard.clear();
    this.osdLastClean.clear();
    this.mgrHeard.clear();
    this.failures.clear();
    this.downTimes.clear();
    this.requests.forget();
    this.healthWatch.forget();
    this.digest = undefined;
    for (const osd of osdmap.osds()) if (osdmap.isUp(osd)) this.osdHeard.set(osd, now);
    this.#noteMetadata(this.name, this.metadata);
    for (const gid of [mgrmap.activeGid, ...mgrmap.standbys.keys()]) if (gid !== 0n) this.mgrHeard.set(gid, now);
  }

  /** As the leader. */
  #noteMetadata(name: string, metadata: Metadata): void {
    const known = this.state.monMetadata.get(name);
    if (known?.size === metadata.size && [...metadata].every(([key, value]) => known.get(key) === value)) return;
    this.background('what a mon is', (draft) => draft.setMonMetadata(name, metadata));
  }

  /** As the leader: hands the lead on when the MonMap says that this mon is not to lead. */
  yieldLead(): void {
    const { disallowedLeaders, strategy } = this.state.monmap;
    if (strategy === classicElections || !this.quorum.leads || !disallowedLeaders.includes(this.name)) return;
    const { cluster } = this.group;
    const next = cluster
      .members()
      .find(({ learner, name }) => !learner && this.inQuorum.names.includes(name) && !disallowedLeaders.includes(name));
    if (next === undefined || next.id === cluster.memberId) return;
    cluster.moveLeader(next.id).catch((error: unknown) => {
      this.log.info('the lead was not handed on', { to: next.name, error: errorText(error) });
    });
  }

  /** As the leader: the MonMap follows the members of the group. */
  async followMembers(): Promise<void> {
    const { cluster } = this.group;
    // What this one is it knows before the group does.
    const own = { name: this.name, clientUrls: memberUrls(this.addrs) };
    const next = (map: MonMap, now: UTime): MonMap | undefined => {
      const members = cluster
        .members()
        .map((member) => (member.id === cluster.memberId ? { ...member, ...own } : member));
      return followMembers(map, members, now);
    };
    while (this.quorum.leads && next(this.state.monmap, utimeFromMs(this.clock.now())) !== undefined)
      await this.change('the map of the mons', (draft) => {
        const map = next(draft.state.monmap, draft.now);
        if (map !== undefined) draft.setMonMap(map);
      });
  }

  #closeSessions(): void {
    for (const session of [...this.sessions.values()]) {
      if (this.sessions.delete(session.connection.id)) this.sessionCounts.closed++;
      session.connection.close();
    }
  }

  // --- what the messenger and cephx ask of us

  readonly dispatcher: Dispatcher = {
    onReady: (connection) => {
      // Out of quorum: who asks is to look for another mon.
      if (!this.quorum.serves) return connection.close();
      const session = new Session(connection);
      connection.session = session;
      this.sessions.set(connection.id, session);
      this.sessionCounts.opened++;
    },
    onMessage: (connection, message) => {
      const session = this.sessions.get(connection.id);
      if (session === undefined || this.core.failed !== undefined) return connection.close();
      const result = this.quorum.deliver(session, message);
      if (result !== true) return result;
    },
    onClose: (connection) => {
      if (this.sessions.delete(connection.id)) this.sessionCounts.closed++;
    },
  };

  #dispatch(session: Session, message: Message): true | Promise<void> | undefined {
    const result = this.handlers.dispatch(session, message);
    if (result === undefined)
      this.log.debug('a message of a type that is not served', { type: message.type, from: session.entity });
    if (!(result instanceof Promise)) return result;
    return this.requestsSeen.follow(result, this.handlers.describe(message), session.entity);
  }

  readonly keyServer: KeyServer = {
    entity: (name: string): AuthEntry | undefined => this.state.auth.entities.get(name),
    rotating: (service: number): readonly RotatingSecret[] => this.state.auth.rotating.get(service) ?? [],
    nextGlobalId: (): bigint => {
      if (this.#ids.next >= this.#ids.below && this.#moreIds !== undefined) {
        this.#ids = { next: this.#moreIds.from, below: this.#moreIds.below };
        this.#moreIds = undefined;
      }
      const left = this.#ids.below - this.#ids.next;
      if (left < globalIdLow && this.#moreIds === undefined && !this.#reserving)
        this.#takeIds().catch((error: unknown) => {
          if (!this.#closed) this.log.warn('no more global ids could be reserved', { error: errorText(error) });
        });
      if (left <= 0) throw new AppError('NO_GLOBAL_ID', 'no global id is reserved yet');
      return BigInt(this.#ids.next++);
    },
    monTicketTtlSec: 72 * 3600,
    serviceTicketTtlSec: 3600,
  };

  /** As the leader: a block of global ids that nobody else is given. */
  #reserve(): Promise<{ from: number; below: number }> {
    return this.update((draft) => {
      const from = draft.state.auth.reservedGlobalId;
      draft.reserveGlobalIds(from + globalIdBlock);
      return { from, below: from + globalIdBlock };
    });
  }

  async #takeIds(): Promise<void> {
    this.#reserving = true;
    try {
      this.#moreIds = await this.quorum.reserveIds();
    } finally {
      this.#reserving = false;
    }
  }

  /** Reserves the first global ids and, as the leader, makes what is missing of the rotating secrets: before anybody is let in. */
  async prepare(): Promise<void> {
    await this.quorum.ready();
    // Whatever the last process reserved may have been given.
    await this.#takeIds();
    if (!this.quorum.leads) return;
    try {
      await this.update((draft) => this.rotate(draft));
      await this.followMembers();
    } catch (error) {
      // Whoever leads now does it.
      if (!(error instanceof NotLeadingError)) throw error;
    }
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
    this.#collecting?.timer.cancel();
    this.quorum.close();
    this.core.close();
  }
}
