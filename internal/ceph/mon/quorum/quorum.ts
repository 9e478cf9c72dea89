import type { Clock, Timer } from '../../../base/clock.ts';
import { AppError, errorCode, errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { Random } from '../../../base/random.ts';
import { Message } from '../../wire/message.ts';
import { MCommand } from '../../wire/messages/command.ts';
import { MLog } from '../../wire/messages/log.ts';
import { MMgrBeacon, MMonMgrReport } from '../../wire/messages/mgr_mon.ts';
import { MAuth, MMonGetMap, MMonGetOSDMap, MMonGetVersion, MMonSubscribe, MPing } from '../../wire/messages/mon.ts';
import { MOSDAlive, MOSDBeacon, MOSDFailure, MOSDMarkMeDead, MOSDPGTemp } from '../../wire/messages/osd_mon.ts';
import type { RawMessage } from '../../wire/messenger.ts';
import { ENTITY_MGR } from '../../wire/types.ts';
import type { Core } from '../core.ts';
import { NotLeadingError } from '../errno.ts';
import type { Session } from '../session.ts';
import { Followers } from './followers.ts';
import { describeSession, forwardedSession } from './forwarded.ts';
import { hasLeader, type MonGroup } from './group.ts';
import { Reports } from './reports.ts';
import {
  decodeAnswer,
  decodeHelloAnswer,
  decodeQuestion,
  decodeReserved,
  encodeAnswer,
  encodeHelloAnswer,
  encodeQuestion,
  encodeReserved,
  type FeatureCount,
  type ForwardedRequest,
  type Hello,
  rawOf,
} from './wire.ts';

/** A mon that no majority has confirmed for so long serves nobody (`mon_lease`). */
export const leaseMs = 5000;
/** Answers take at most this long before they are asked for again. */
const askMs = 5000;
/** Waits for another leader before it tries again. */
const retryMs = 200;
const helloPauseMs = 200;
/** Answers that are kept for those who ask again: so long, and so many bytes. */
const rememberMs = 2 * askMs;
const maxRememberedBytes = 8 << 20;

/** What every mon answers from its state. Everything else is the leader's: it changes something, or needs what only the leader knows. */
const answeredHere: ReadonlySet<number> = new Set(
  [MPing, MMonGetMap, MMonSubscribe, MMonGetVersion, MMonGetOSDMap, MAuth, MCommand].map(({ type }) => type),
);

/** What the leader takes without asking whether it leads still: it tells nobody anything, and what it changes takes effect on the newest state only. */
const takenAtOnce: ReadonlySet<number> = new Set(
  [MLog, MOSDAlive, MOSDBeacon, MOSDFailure, MOSDMarkMeDead, MOSDPGTemp, MMgrBeacon, MMonMgrReport].map(
    ({ type }) => type,
  ),
);

export interface QuorumOptions {
  readonly name: () => string;
  readonly group: MonGroup;
  readonly core: Core;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly sessions: ReadonlyMap<number, Session>;
  /** Runs the handler of a message; undefined: there is none. */
  dispatch(session: Session, message: Message): true | Promise<void> | undefined;
  /** What `ceph mon metadata` shows of this mon. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Another mon says what it is. */
  onMetadata(name: string, metadata: ReadonlyMap<string, string>): void;
  /** Takes global ids for one mon. */
  reserve(): Promise<{ from: number; below: number }>;
  /** This mon leads from now on, and its state is the newest. */
  onLead(): void;
  /** Nobody confirms this mon any more: whoever is connected must look for another. */
  onCutOff(): void;
}

/**
 * This mon among the others: which of them leads is up to the group that keeps the store. Every mon takes everybody's requests. What changes something, and what needs
 * knowledge that only the leader has, is carried out by the leader; a request that it may have lost is asked again of its successor, as clients do with Ceph.
 * Everything else is answered here, once a majority has confirmed that nothing newer was acknowledged.
 */
export class Quorum {
  readonly #o: QuorumOptions;
  readonly followers: Followers;
  readonly #reports: Reports;
  /** Rises when who leads changes. */
  #change = 0;
  #waiters: (() => void)[] = [];
  #leads = false;
  #confirmedMs = Number.NEGATIVE_INFINITY;
  #wasConfirmed = false;
  #nextId: bigint;
  #nextSession = -1;
  /** Of requests from other mons, by id: what became of them. */
  readonly #answers = new Map<bigint, Promise<Uint8Array>>();
  #rememberedBytes = 0;
  #hello: { skewMs: number; latencyMs: number; leader: string; quorum: readonly string[] } = {
    skewMs: 0,
    latencyMs: 0,
    leader: '',
    quorum: [],
  };
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: QuorumOptions) {
    this.#o = options;
    this.followers = new Followers(options.clock, leaseMs);
    this.#reports = new Reports();
    // Never an id of an earlier life.
    this.#nextId = BigInt(options.random.uint32()) << 31n;
  }

  start(): void {
    this.leadership();
    void this.#sayHello();
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.followers.close();
    this.#wake();
  }

  /** This mon leads, and its state is the newest: it may change it. */
  get leads(): boolean {
    return this.#leads;
  }

  /** This mon is part of a quorum: what it says is not older than a lease. */
  get serves(): boolean {
    if (this.#o.group.alone) return this.#leads;
    return this.#o.clock.monotonic() - this.#confirmedMs < leaseMs;
  }

  /** Names of the mons in quorum, this one's among them while it serves, and the leader's; as of the last hello on a mon that follows. */
  get view(): { leader: string; quorum: readonly string[] } {
    const name = this.#o.name();
    if (this.#o.group.alone) return { leader: name, quorum: [name] };
    if (!this.#leads) return this.serves ? this.#hello : { leader: '', quorum: [] };
    return { leader: name, quorum: [name, ...this.followers.names.filter((other) => other !== name)] };
  }

  /** Resolves when this mon leads or follows somebody, and its state is as new as theirs. */
  async ready(): Promise<void> {
    while (!this.#closed && !this.#leads) {
      const change = this.#change;
      if (!this.#o.group.leads && hasLeader(this.#o.group))
        try {
          await this.confirm();
          return;
        } catch (error) {
          if (!isElsewhere(error)) throw error;
        }
      await this.#changed(change);
    }
  }

  /** Resolves when this mon's state contains everything that was acknowledged anywhere before the call. Errors: ClusterError. */
  async confirm(): Promise<void> {
    const { clock, core, group } = this.#o;
    const at = clock.monotonic();
    await group.confirm();
    await core.current();
    this.#confirmedMs = Math.max(this.#confirmedMs, at);
    this.#wasConfirmed = true;
  }

  // --- who leads

  /** Who leads changed, perhaps. */
  leadership(): void {
    this.#change++;
    this.#leads = false;
    this.#o.core.leads = false;
    this.followers.forget();
    this.#wake();
    if (this.#o.group.leads) void this.#takeLead(this.#change);
  }

  async #takeLead(change: number): Promise<void> {
    const { core, group, log } = this.#o;
    while (!this.#closed && change === this.#change && group.leads) {
      try {
        await this.confirm();
        if (change !== this.#change || !group.leads) return;
        core.leads = true;
        this.#leads = true;
        log.info('this mon leads', { term: group.cluster.term });
        this.#o.onLead();
        this.#wake();
        this.#again();
        return;
      } catch (error) {
        if (!isElsewhere(error)) {
          log.error('this mon cannot lead', { error: errorText(error) });
          return;
        }
        await this.#pause(retryMs);
      }
    }
  }

  #wake(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  /** Resolves when who leads is another one than at `change`, or a moment later. */
  #changed(change: number): Promise<void> {
    if (this.#change !== change || this.#closed) return this.#pause(retryMs);
    return new Promise((resolve) => {
      const timer = this.#o.clock.after(retryMs, resolve);
      this.#waiters.push(() => {
        timer.cancel();
        resolve();
      });
    });
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#o.clock.after(ms, resolve));
  }

  /** Every second: a mon that nobody confirms any more gives up whoever is connected. */
  tick(lateMs: number): void {
    if (lateMs > leaseMs) return;
    if (this.#leads && !this.#o.group.alone) this.confirm().catch(() => undefined);
    if (this.#wasConfirmed && !this.serves && !this.#o.group.alone) {
      this.#wasConfirmed = false;
      this.#o.log.warn('no majority of the mons confirms this one: its sessions are closed');
      this.#o.onCutOff();
    }
  }

  // --- requests

  /** Carries a message of a session out, here or on the mon that leads. */
  deliver(session: Session, message: Message): true | void | Promise<void> {
    if (message.type === MOSDFailure.type) this.#reports.note(session, message);
    if (this.#o.group.alone && this.#leads) return this.#o.dispatch(session, message);
    if (!answeredHere.has(message.type)) return this.#route(session, message);
    return this.confirm().then(
      () => this.#dispatch(session, message),
      (error: unknown) => {
        if (!isElsewhere(error)) throw error;
        session.connection.close();
      },
    );
  }

  #dispatch(session: Session, message: Message): void | Promise<void> {
    if (!session.connection.open) return;
    const result = this.#o.dispatch(session, message);
    if (result !== true) return result;
  }

  async #route(session: Session, message: Message): Promise<void> {
    const { core, group } = this.#o;
    const id = this.#nextId++;
    while (session.connection.open && !this.#closed) {
      const change = this.#change;
      try {
        if (this.#leads) {
          await this.#carryOut(session, message);
          return;
        }
        if (!group.leads && hasLeader(group)) {
          const request: ForwardedRequest = {
            kind: 'request',
            id,
            mon: this.#o.name(),
            session: describeSession(session),
            message: rawOf(message),
          };
          const answer = decodeAnswer(await group.ask(encodeQuestion(request), askMs));
          // Whoever asks here next sees what it was told of.
          await core.reached(answer.revision);
          for (const one of answer.messages) session.connection.sendRaw(one);
          return;
        }
      } catch (error) {
        if (!isElsewhere(error)) throw error;
      }
      await this.#changed(change);
    }
  }

  /** As the leader. Errors: NotLeadingError, when it is not any more. */
  async #carryOut(session: Session, message: Message): Promise<void> {
    if (!takenAtOnce.has(message.type) && !this.#o.group.alone) await this.confirm();
    if (!this.#leads) throw new NotLeadingError();
    await this.#dispatch(session, message);
  }

  /** Sends to a session by its global id, whichever mon it is connected with; false: nobody knows where it is. */
  push(globalId: bigint, message: RawMessage): boolean {
    for (const { connection } of this.#o.sessions.values())
      if (connection.identity?.globalId === globalId && connection.open) {
        connection.sendRaw(message);
        return true;
      }
    return this.followers.push(globalId, message);
  }

  /** What those can do who are connected with this mon. */
  ownFeatures(): FeatureCount[] {
    return sumFeatures(
      [...this.#o.sessions.values()].map(({ connection: { features }, name: { type } }) => ({
        type,
        features,
        count: 1,
      })),
    );
  }

  /** The same of all mons in quorum, as the leader knows it. */
  allFeatures(): FeatureCount[] {
    const theirs = this.followers.names.flatMap((name) => this.followers.get(name)!.features);
    return sumFeatures([...this.ownFeatures(), ...theirs]);
  }

  /** Requests that are to be known to whoever leads are told again: it is somebody else now. */
  #again(): void {
    for (const { session, message } of this.#reports.open(this.#o.core.state.osdmap))
      this.#route(session, message).catch(() => undefined);
  }

  // --- what other mons ask

  /** As the leader. Errors are what the other mon is told; NotLeadingError makes it ask again. */
  async answer(bytes: Uint8Array): Promise<Uint8Array> {
    const question = decodeQuestion(bytes);
    if (!this.#leads) throw new NotLeadingError();
    if (question.kind === 'hello') return this.#answerHello(question);
    if (question.kind === 'reserve') {
      const { from, below } = await this.#o.reserve();
      return encodeReserved(from, below);
    }
    const known = this.#answers.get(question.id);
    if (known !== undefined) return known;
    const answer = this.#forwarded(question);
    this.#answers.set(question.id, answer);
    answer.then(
      ({ length }) => this.#remember(question.id, length),
      () => this.#answers.delete(question.id),
    );
    return answer;
  }

  #remember(id: bigint, bytes: number): void {
    const forget = (): void => {
      if (this.#answers.delete(id)) this.#rememberedBytes -= bytes;
    };
    this.#rememberedBytes += bytes;
    if (this.#rememberedBytes > maxRememberedBytes) forget();
    else this.#o.clock.after(rememberMs, forget);
  }

  async #forwarded({ mon, session: from, message: raw }: ForwardedRequest): Promise<Uint8Array> {
    const { type, version, compat, tid = 0, priority = 0, front, middle, data } = raw;
    if (answeredHere.has(type)) throw new AppError('MON_QUESTION', `a message of type ${type} was handed on`);
    if (from.name.type === ENTITY_MGR) this.followers.noteHome(from.globalId, mon);
    const { session, sent } = forwardedSession(from, this.#nextSession--);
    const segments = { front, ...(middle && { middle }), ...(data?.[0] && { data: data[0] }) };
    const message = new Message({ type, version, compat, seq: 0, tid, priority }, segments, from.features);
    await this.#carryOut(session, message);
    return encodeAnswer({ revision: this.#o.core.revision, messages: sent });
  }

  async #answerHello(hello: Hello): Promise<Uint8Array> {
    const receivedMs = this.#o.clock.now();
    if (hello.metadata.size > 0) this.#o.onMetadata(hello.name, hello.metadata);
    const pushes = await this.followers.hello(hello);
    // Nobody is told that it is in quorum by a mon that is cut off itself.
    await this.confirm();
    if (!this.#leads) throw new NotLeadingError();
    const { leader, quorum } = this.view;
    return encodeHelloAnswer({ leader, quorum, receivedMs, sentMs: this.#o.clock.now(), pushes });
  }

  // --- as one that follows

  /** Tells the leader again and again that this mon is there; its answers are this mon's part of the quorum. */
  async #sayHello(): Promise<void> {
    const { clock, group } = this.#o;
    let leader = 0n;
    while (!this.#closed) {
      if (group.leads) {
        await new Promise<void>((resolve) => this.#waiters.push(resolve));
        continue;
      }
      let pauseMs = helloPauseMs;
      if (hasLeader(group))
        try {
          const began = clock.monotonic();
          const sentMs = clock.now();
          const { skewMs, latencyMs } = this.#hello;
          const metadata = leader === group.cluster.leaderId ? new Map<string, string>() : this.#o.metadata;
          const features = this.ownFeatures();
          const question = encodeQuestion({
            kind: 'hello',
            name: this.#o.name(),
            skewMs,
            latencyMs,
            metadata,
            features,
          });
          const answer = decodeHelloAnswer(await group.ask(question, askMs));
          const tookMs = clock.monotonic() - began;
          this.#confirmedMs = Math.max(this.#confirmedMs, began);
          this.#wasConfirmed = true;
          this.#hello = {
            leader: answer.leader,
            quorum: answer.quorum,
            // As NTP does it (RFC 5905, 8).
            skewMs: (sentMs - answer.receivedMs + (sentMs + tookMs - answer.sentMs)) / 2,
            latencyMs: Math.max(0, tookMs - (answer.sentMs - answer.receivedMs)),
          };
          for (const { globalId, message } of answer.pushes) this.push(globalId, message);
          pauseMs = 0;
          if (leader !== group.cluster.leaderId) {
            leader = group.cluster.leaderId;
            this.#again();
          }
        } catch (error) {
          if (this.#closed) return;
          if (!isElsewhere(error)) this.#o.log.warn('the mon that leads did not answer', { error: errorText(error) });
        }
      await new Promise<void>((resolve) => {
        this.#timer = clock.after(pauseMs, resolve);
      });
    }
  }

  /** A block of global ids for this mon. */
  async reserveIds(): Promise<{ from: number; below: number }> {
    for (;;) {
      const change = this.#change;
      try {
        if (this.#leads) return await this.#o.reserve();
        if (!this.#o.group.leads && hasLeader(this.#o.group))
          return decodeReserved(await this.#o.group.ask(encodeQuestion({ kind: 'reserve' }), askMs));
      } catch (error) {
        if (!isElsewhere(error)) throw error;
      }
      if (this.#closed) throw new NotLeadingError();
      await this.#changed(change);
    }
  }
}

function sumFeatures(counts: readonly FeatureCount[]): FeatureCount[] {
  const sums = new Map<string, FeatureCount>();
  for (const { type, features, count } of counts) {
    const key = `${type} ${features}`;
    sums.set(key, { type, features, count: (sums.get(key)?.count ?? 0) + count });
  }
  return [...sums.values()];
}

/** Another mon may be able to, or this one in a moment. */
export function isElsewhere(error: unknown): boolean {
  return /^(NOT_LEADING|NOT_LEADER|NO_LEADER|LEADER_CHANGED|TIMEOUT)$/.test(errorCode(error) ?? '');
}
