import type { Clock, Timer } from '../base/clock.ts';
import { errorCode, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import { NotLeaderError, ProposalRefusedError } from '../raft/errors.ts';
import { everybody, isJoint } from '../raft/membership.ts';
import type { MemberId } from '../raft/types.ts';
import type { Cluster, Member } from './api.ts';
import { AwaitedMembers } from './awaited-members.ts';
import { ClusterError } from './errors.ts';
import { type Identity, randomId } from './identity.ts';
import type { GroupLog } from './log.ts';
import type { Waiting } from './member.ts';
import {
  changeMembers,
  checkUrls,
  encodeRecords,
  listMembers,
  type MemberChange,
  memberIdOf,
  type Membership,
  type MemberRecord,
  promotion,
  raftId,
  removedBy,
  type Target,
} from './members.ts';

export interface GroupClusterOptions {
  identity: Identity;
  clock: Clock;
  random: Random;
  log: Logger;
  entries: GroupLog<Waiting>;
  /** As of the newest applied entry. */
  membership(): Membership;
  /** Asks the leader to do what this member was asked for. */
  askLeader(request: ClusterRequest): Promise<void>;
  /** How this member wants to be called and found. */
  own: Omit<MemberRecord, 'id'> | undefined;
  /** A member that was added and has not started after this is let go. */
  comeWithinMs: number;
}

/** What only the leader can do. */
export type ClusterRequest = MemberChange | { op: 'member-promote'; id: string };

/** A learner counts as caught up when it lacks at most so many entries. */
const caughtUpEntries = 1000;
const promoteEveryMs = 1000;
const changeTimeoutMs = 20_000;

/** The members of a store, and changes of them. Every change goes through the log. */
export class GroupCluster implements Cluster {
  readonly clusterId: bigint;
  readonly memberId: bigint;
  readonly #options: GroupClusterOptions;
  readonly #awaited: AwaitedMembers;
  #waiters: (() => void)[] = [];
  #timer: Timer | undefined;
  #closed = false;

  constructor(options: GroupClusterOptions) {
    this.#options = options;
    this.clusterId = options.identity.clusterId;
    this.memberId = options.identity.memberId;
    this.#awaited = new AwaitedMembers(options.comeWithinMs);
    this.#schedule();
  }

  get leaderId(): bigint {
    const { leader } = this.#options.entries.node.leadership;
    return this.#options.membership().records.find(({ id }) => raftId(id) === leader)?.id ?? 0n;
  }

  get term(): number {
    return this.#options.entries.node.raft.term;
  }

  get commitIndex(): number {
    return this.#options.entries.node.raft.log.committed;
  }

  members(): readonly Member[] {
    return listMembers(this.#options.membership());
  }

  #find(id: bigint): Member {
    const found = this.members().find((member) => member.id === id);
    if (found === undefined) throw new ClusterError('MEMBER_NOT_FOUND', `there is no member ${id.toString(16)}`);
    return found;
  }

  /** Every new member begins as a learner and is promoted when it has caught up and the number of voters stays odd. */
  async addMember(peerUrls: readonly string[], _learner: boolean, node?: string): Promise<Member> {
    checkUrls(this.#options.membership().records, peerUrls);
    const id = randomId(this.#options.random);
    const on = node === undefined ? {} : { node };
    await this.#leaderDoes({ op: 'member-add', id: id.toString(16), peerUrls, ...on });
    return { id, name: '', peerUrls, clientUrls: [], learner: true, ...on };
  }

  async removeMember(id: bigint): Promise<void> {
    this.#find(id);
    await this.#leaderDoes({ op: 'member-remove', id: id.toString(16) });
  }

  async updateMember(id: bigint, peerUrls: readonly string[]): Promise<void> {
    this.#find(id);
    await this.#leaderDoes({ op: 'member-update', id: id.toString(16), change: { peerUrls } });
  }

  /** Tells the group what this member is called and where it is found, when it does not know yet. */
  async #publish(): Promise<void> {
    const { own, entries } = this.#options;
    const { configuration, records } = this.#options.membership();
    const known = records.find(({ id }) => id === this.memberId);
    const mine = known ?? everybody(configuration).find((id) => id === raftId(this.memberId));
    if (own === undefined || mine === undefined || entries.node.leadership.leader === 0) return;
    const same = (a: readonly string[], b: readonly string[]): boolean => a.join(' ') === b.join(' ');
    const found = known && same(known.clientUrls, own.clientUrls) && same(known.peerUrls, own.peerUrls);
    if (known?.name === own.name && known.node === own.node && found) return;
    await this.#leaderDoes({ op: 'member-update', id: this.memberId.toString(16), change: own });
  }

  async promoteMember(id: bigint): Promise<void> {
    if (!this.#find(id).learner) throw new ClusterError('NOT_LEARNER', `member ${id.toString(16)} is no learner`);
    await this.#leaderDoes({ op: 'member-promote', id: id.toString(16) });
  }

  successor(): Member | undefined {
    const next = this.#options.entries.node.raft.leading?.successor();
    return this.members().find(({ id }) => raftId(id) === next);
  }

  async moveLeader(to: bigint): Promise<void> {
    const { entries, clock } = this.#options;
    const target = this.members().find(({ id }) => id === to);
    if (target === undefined || target.learner)
      throw new ClusterError('BAD_LEADER_TRANSFEREE', `there is no member ${to.toString(16)} with a vote`);
    if (!entries.leads) throw new ClusterError('NOT_LEADER', 'this member does not lead; ask the leader');
    entries.node.transferLeadership(raftId(to));
    const moved = await this.#until(() => entries.node.leadership.leader === raftId(to), changeTimeoutMs, clock);
    if (!moved) throw new ClusterError('TIMEOUT', `member ${to.toString(16)} did not take the lead in time`);
  }

  // --- changes

  async #leaderDoes(request: ClusterRequest): Promise<void> {
    if (this.#options.entries.leads) await this.carryOut(request);
    else await this.#options.askLeader(request);
  }

  /** On the leader. */
  async carryOut(request: ClusterRequest): Promise<void> {
    const { entries } = this.#options;
    // Else what is applied here is not what the change would be made to.
    if (entries.leads && !entries.node.raft.configurationIsApplied)
      throw new ClusterError(
        'UNHEALTHY_CLUSTER',
        'another change of the members is under way',
        'Try again in a moment.',
      );
    const membership = this.#options.membership();
    if (request.op === 'member-promote') {
      await this.#propose(membership.records, this.#promotionOf(memberIdOf(request.id)));
      return;
    }
    const changed = changeMembers(membership, request, {
      id: entries.node.leadership.leader,
      hears: (id) => entries.node.raft.leading?.hears(id) === true,
      ready: this.#readyLearners(),
    });
    if (changed !== undefined) await this.#propose(changed.records, changed.target);
  }

  /** Throws ClusterError when this learner cannot get its vote now. */
  #promotionOf(member: bigint): Target {
    const id = raftId(member);
    const ready = this.#readyLearners();
    if (!ready.includes(id))
      throw new ClusterError('LEARNER_NOT_READY', `member ${member.toString(16)} has not caught up with the leader`);
    const target = promotion(this.#options.membership().configuration, [id, ...ready.filter((each) => each !== id)]);
    if (target === undefined)
      throw new ClusterError(
        'LEARNER_NOT_READY',
        `member ${member.toString(16)} would make the number of voters even`,
        'It is promoted by itself, together with another learner.',
      );
    return target;
  }

  async #propose(records: readonly MemberRecord[], target: Target): Promise<void> {
    const { entries, clock } = this.#options;
    const removed = removedBy(this.#options.membership(), records);
    try {
      await new Promise<void>((resolve, reject) =>
        entries.proposeMembership(target, encodeRecords({ records, removed }), {
          command: undefined,
          resolve: () => resolve(),
          reject,
        }),
      );
    } catch (error) {
      if (error instanceof NotLeaderError) throw new ClusterError('NOT_LEADER', error.message);
      if (error instanceof ProposalRefusedError)
        throw new ClusterError('UNHEALTHY_CLUSTER', error.message, 'Try again in a moment.');
      throw error;
    }
    const done = await this.#until(() => !isJoint(this.#options.membership().configuration), changeTimeoutMs, clock);
    if (!done) throw new ClusterError('TIMEOUT', 'the change of the members was not finished in time');
  }

  /** The members or the leader changed. */
  changed(): void {
    for (const waiter of this.#waiters.splice(0)) waiter();
  }

  async #until(condition: () => boolean, timeoutMs: number, clock: Clock): Promise<boolean> {
    const end = clock.monotonic() + timeoutMs;
    while (!condition()) {
      if (this.#closed || clock.monotonic() >= end) return false;
      await new Promise<void>((resolve) => {
        const timer = clock.after(Math.max(0, end - clock.monotonic()), resolve);
        this.#waiters.push(() => {
          timer.cancel();
          resolve();
        });
      });
    }
    return true;
  }

  // --- promotion and removal by itself

  #readyLearners(): MemberId[] {
    const { leading, log } = this.#options.entries.node.raft;
    if (leading === undefined) return [];
    return this.#options.membership().configuration.learners.filter((id) => {
      const progress = leading.progress.get(id);
      // One that is gone must not be counted on.
      if (progress?.active !== true) return false;
      return progress.state === 'replicate' && progress.match > 0 && log.committed - progress.match <= caughtUpEntries;
    });
  }

  #schedule(): void {
    this.#timer = this.#options.clock.after(promoteEveryMs, () => {
      this.#publish()
        .then(() => this.#promote())
        .then(() => this.#letGo())
        .catch((error: unknown) => {
          if (!this.#closed && !isTransient(error))
            this.#options.log.warn('store: the members were not changed', { error: errorText(error) });
        })
        .finally(() => {
          if (!this.#closed) this.#schedule();
        });
    });
  }

  async #promote(): Promise<void> {
    const { entries, log } = this.#options;
    if (!entries.leads || !entries.node.raft.configurationIsApplied) return;
    const { configuration, records } = this.#options.membership();
    if (isJoint(configuration) || configuration.learners.length === 0) return;
    const target = promotion(configuration, this.#readyLearners());
    if (target === undefined) return;
    await this.#propose(records, target);
    log.info('store: learners have a vote now', { voters: target.voters.length });
  }

  /** Removes members that were added and have never come. */
  async #letGo(): Promise<void> {
    const { entries, clock, log } = this.#options;
    const { records, configuration } = this.#options.membership();
    const { leading } = entries.node.raft;
    const missing = records.filter(({ id, name }) => {
      const to = raftId(id);
      return name === '' && configuration.learners.includes(to) && leading?.hears(to) === false;
    });
    const overdue = this.#awaited.overdue(
      missing.map(({ id }) => id),
      clock.monotonic(),
    );
    for (const id of overdue) {
      const { node, peerUrls } = missing.find((record) => record.id === id)!;
      log.warn('store: a member that was added and never came is removed', {
        member: id.toString(16),
        peerUrls,
        ...(node !== undefined && { node }),
      });
      await this.carryOut({ op: 'member-remove', id: id.toString(16) });
    }
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.changed();
  }
}

/** It is tried again in a moment. */
function isTransient(error: unknown): boolean {
  return /^(UNHEALTHY_CLUSTER|NOT_LEADER|NO_LEADER|LEADER_CHANGED|TIMEOUT|STORE_CLOSED)$/.test(errorCode(error) ?? '');
}
