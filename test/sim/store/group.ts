import { type MemoryDisk, memoryDisk } from '../../../internal/base/disk-memory.ts';
import { AppError, errorText } from '../../../internal/base/errors.ts';
import { type LogFields, type Logger, silentLogger } from '../../../internal/base/log.ts';
import { type Random, seededRandom } from '../../../internal/base/random.ts';
import type { NodeMessage, OutgoingSnapshot } from '../../../internal/raft/node.ts';
import { decodeMessage, encodeMessage } from '../../../internal/raft/wire.ts';
import type { Store } from '../../../internal/store/api.ts';
import type { GroupCluster } from '../../../internal/store/group-cluster.ts';
import type { Identity } from '../../../internal/store/identity.ts';
import type { RaftTiming } from '../../../internal/store/log.ts';
import type { MemberStore, Waiting } from '../../../internal/store/member.ts';
import type { GroupLog } from '../../../internal/store/log.ts';
import { raftId } from '../../../internal/store/members.ts';
import { openStore, resetCluster, type StoreOptions } from '../../../internal/store/store.ts';
import { slowDisk } from './disk.ts';
import { PlatterFiles, SimulatedFiles } from './files.ts';
import { Violation } from './history.ts';
import { ProcessClock, type World } from './world.ts';

/** One life of a member's process. */
export interface Life {
  readonly clock: ProcessClock;
  /** Set once it takes part in the group. */
  log?: GroupLog<Waiting>;
  /** The same store, also while it opens. */
  opening?: MemberStore;
  /** Set once clients can use it. */
  store?: Store & MemberStore;
  /** Rejects what waits for it when it ends. */
  readonly ended: { promise: Promise<never>; reject: (error: Error) => void };
}

export interface SimulatedMember {
  readonly name: string;
  readonly dir: string;
  id: number;
  memberId: bigint;
  join: Identity | undefined;
  disk: MemoryDisk;
  platter: PlatterFiles;
  life: Life | undefined;
  /** A bit of its disk was flipped: it may refuse to start. */
  damaged: boolean;
  refused: string | undefined;
  removed: boolean;
  /** Somebody asked for its removal. */
  leaving: boolean;
  /** It was told that it was removed. */
  told: boolean;
}

export interface GroupFaults {
  lossProbability: number;
  duplicateProbability: number;
  delayMs: number;
  /** Now and then a message takes this long. */
  lateMs: number;
  lateProbability: number;
  syncMs: number;
}

export const calm: GroupFaults = {
  lossProbability: 0,
  duplicateProbability: 0,
  delayMs: 2,
  lateMs: 0,
  lateProbability: 0,
  syncMs: 1,
};

export const timing: RaftTiming = { heartbeatMs: 100, electionMs: 500, requestMs: 3000 };

/** The name by which the lost process's requests end: what became of them is not known. */
const endedError = new AppError('ENDED', 'the process ended');

/** Members of one store in one process: their disks, their clocks and the network between them. */
export class SimulatedGroup {
  readonly members: SimulatedMember[] = [];
  faults: GroupFaults = calm;
  /** Members that reach one another; undefined: all do. */
  parts: Set<number>[] | undefined;
  /** Messages that are lost whatever the weather. */
  withhold: ((message: NodeMessage) => boolean) | undefined;
  violation: Error | undefined;
  /** A test has taken the members' records away. */
  nameless = false;
  /** Lines for a person that looks at a failed seed. */
  readonly trace: string[] = [];
  onVote: (member: SimulatedMember) => void = () => undefined;
  onLeader: (member: SimulatedMember) => void = () => undefined;
  /** What stands on the stores: more options of one, and told of each that is open. */
  above: (member: SimulatedMember, life: Life) => Partial<StoreOptions> = () => ({});
  onOpen: (member: SimulatedMember, life: Life & { store: Store & MemberStore }) => void = () => undefined;
  readonly #leaders = new Map<number, number>();
  /** Members that leaders have let go because they had not started, also such that start after all; hexadecimal. */
  readonly #letGo = new Set<string>();
  /** What each leader last said of its commit index. */
  readonly #commits = new Map<number, { term: number; commit: number }>();

  constructor(
    readonly world: World,
    readonly tuning: Required<Pick<StoreOptions, 'segmentBytes' | 'checkpointBytes' | 'flushAfterMs' | 'timing'>> &
      Pick<StoreOptions, 'reserveBlock' | 'unsynced' | 'comeWithinMs'>,
  ) {}

  say(line: string): void {
    this.trace.push(`${(this.world.now / 1000).toFixed(3)} ${line}`);
  }

  violate(error: Error): void {
    if (this.violation !== undefined) return;
    this.violation = error;
    this.say(`violation: ${error.message}`);
  }

  get alive(): (SimulatedMember & { life: Life & { store: Store & MemberStore } })[] {
    return this.members.filter((member) => member.life?.store !== undefined) as never;
  }

  /** A member that clients can use. */
  anyone(): (typeof this.alive)[number] | undefined {
    const { alive } = this;
    return alive.length === 0 ? undefined : this.world.pick(alive);
  }

  get leader(): (SimulatedMember & { life: Life & { store: Store & MemberStore } }) | undefined {
    let newest: (typeof this.alive)[number] | undefined;
    const term = (member: typeof newest): number => member?.life.log?.node.raft.term ?? -1;
    // One that was cut off does not know that it was replaced.
    for (const member of this.alive) if (member.life.log?.leads && term(member) > term(newest)) newest = member;
    return newest;
  }

  /** `snapshot`: it begins with what that holds. */
  add(name: string, join?: Identity, snapshot?: Uint8Array): SimulatedMember {
    const member: SimulatedMember = {
      name,
      dir: `/${name}/store`,
      id: 0,
      memberId: 0n,
      join,
      disk: memoryDisk({ random: this.#fork() }),
      platter: new PlatterFiles(),
      life: undefined,
      damaged: false,
      refused: undefined,
      removed: false,
      leaving: join !== undefined && this.#letGo.has(join.memberId.toString(16)),
      told: false,
    };
    this.members.push(member);
    if (snapshot !== undefined) member.platter.restore(snapshot);
    this.start(member);
    return member;
  }

  #fork(): Random {
    return seededRandom(this.world.random.uint32());
  }

  // --- processes

  start(member: SimulatedMember): void {
    const clock = new ProcessClock(this.world);
    const ended = Promise.withResolvers<never>();
    ended.promise.catch(() => undefined);
    const life: Life = { clock, ended: { promise: ended.promise, reject: ended.reject } };
    member.life = life;
    this.say(`${member.name} starts`);
    openStore({
      ...this.#options(member, clock),
      ...this.above(member, life),
      log: this.#logger(member, life),
      connect: ({ identity, store, log }) => {
        life.opening = store;
        member.memberId = identity.memberId;
        member.id = raftId(identity.memberId);
        life.log = log;
        return {
          send: (message) => this.#send(message),
          close: () => undefined,
          sendSnapshot: (to, term, snapshot) => this.#sendSnapshot(member, to, term, snapshot),
        };
      },
    }).then(
      (store) => {
        if (member.life !== life) return;
        life.store = store;
        this.say(`${member.name} is open at revision ${store.revision}`);
        this.onOpen(member, life as Life & { store: Store & MemberStore });
      },
      (error: unknown) => {
        if (member.life !== life) return;
        this.#ended(member);
        member.refused = errorText(error);
        this.say(`${member.name} refuses to start: ${member.refused}`);
        if (!member.damaged && !isDiskFault(error)) this.violate(new Violation(`${member.name}: ${member.refused}`));
      },
    );
  }

  /** Terms begin anew: who starts from now on is of another group. */
  forgetTerms(): void {
    this.#leaders.clear();
    this.#commits.clear();
  }

  /** Makes a member that does not run the only one of its group. */
  reset(member: SimulatedMember): Promise<void> {
    return resetCluster(this.#options(member, new ProcessClock(this.world)));
  }

  #options(member: SimulatedMember, clock: ProcessClock): StoreOptions {
    const wait = (): Promise<void> =>
      new Promise((resolve) => clock.after(this.world.between(0, 2 * this.faults.syncMs), resolve));
    const disk = slowDisk(member.disk, wait);
    return {
      dir: member.dir,
      disk,
      clock,
      random: this.#fork(),
      log: silentLogger,
      cacheBytes: 1 << 16,
      recentBytes: 2000,
      ...this.tuning,
      member: { name: member.name, peerUrls: [`https://${member.name}:2380`], clientUrls: [] },
      ...(member.join && { join: member.join }),
      openFiles: async () => new SimulatedFiles(member.platter, disk, wait),
    };
  }

  #ended(member: SimulatedMember): void {
    const { life } = member;
    if (life === undefined) return;
    life.clock.dead = true;
    life.ended.reject(endedError);
    member.life = undefined;
  }

  /** The power fails. */
  crash(member: SimulatedMember): void {
    if (member.life === undefined) return;
    this.say(`${member.name} crashes`);
    this.#ended(member);
    member.disk.crash();
    member.disk = member.disk.restart(this.#fork());
    member.platter.survive(this.world.random);
  }

  /** The process is killed: what the operating system has stays. */
  kill(member: SimulatedMember): void {
    if (member.life === undefined) return;
    this.say(`${member.name} is killed`);
    this.#ended(member);
  }

  pause(member: SimulatedMember, ms: number): void {
    if (member.life === undefined) return;
    this.say(`${member.name} stands still for ${Math.round(ms)} ms`);
    member.life.clock.pausedUntil = this.world.now + ms;
  }

  #logger(member: SimulatedMember, life: Life): Logger {
    const say = (message: string, fields?: LogFields): void =>
      this.say(`${member.name}: ${message} ${fields === undefined ? '' : JSON.stringify(fields, bigints)}`);
    return {
      debug: () => undefined,
      info: (message, fields) => {
        say(message, fields);
        if (/^store: (the members changed|took over the state)/.test(message)) this.#checkRecords(member, life.opening);
        if (message === 'store: leadership' && fields?.role === 'leader') this.#led(member, Number(fields.term));
      },
      warn: (message, fields) => {
        say(message, fields);
        if (message !== 'store: a member that was added and never came is removed') return;
        const id = String(fields?.member);
        this.#letGo.add(id);
        for (const one of this.members) if (one.id.toString(16) === id) one.leaving = true;
      },
      error: (message, fields) => {
        say(message, fields);
        if (message === 'store: the others have removed this member') {
          if (!member.leaving) this.violate(new Violation(`${member.name} was told that it was removed`));
          member.told = true;
          member.removed = true;
          this.world.after(0, () => {
            if (member.life === life) this.#ended(member);
          });
        }
        // The role ends and is started again by its supervisor.
        if (message !== 'store: failed' || member.life !== life) return;
        const error = String(fields?.error);
        if (/invariant broken|not a function|undefined/.test(error))
          this.violate(new Violation(`${member.name}: ${error}`));
        this.world.after(0, () => {
          if (member.life === life) this.#ended(member);
        });
      },
      with: () => this.#logger(member, life),
    };
  }

  /** Whoever is to be reached is known: one that leaves may be unknown while it still decides. */
  #checkRecords(member: SimulatedMember, store: MemberStore | undefined): void {
    if (this.nameless) return;
    const { configuration, records } = store!.membership;
    const known = new Set(records.map(({ id }) => raftId(id)));
    for (const id of [...configuration.voters, ...configuration.learners])
      if (!known.has(id)) this.violate(new Violation(`${member.name} has no record of member ${id.toString(16)}`));
  }

  /** Election safety (figure 3 of the paper). */
  #led(member: SimulatedMember, term: number): void {
    const other = this.#leaders.get(term);
    if (other !== undefined && other !== member.id)
      this.violate(new Violation(`two members lead in term ${term}: ${other} and ${member.id}`));
    this.#leaders.set(term, member.id);
    this.onLeader(member);
  }

  // --- network

  reaches(from: number, to: number): boolean {
    return this.parts === undefined || this.parts.some((part) => part.has(from) && part.has(to));
  }

  #delay(): number {
    const { delayMs, lateMs, lateProbability } = this.faults;
    return this.world.chance(lateProbability) ? this.world.between(0, lateMs) : this.world.between(0, 2 * delayMs);
  }

  #send(message: NodeMessage): void {
    const bytes = encodeMessage(message);
    if (message.type === 'vote-reply' && message.granted)
      this.onVote(this.members.find(({ id }) => id === message.from)!);
    if (message.type === 'append') this.#checkCommit(message);
    if (this.withhold?.(message)) return;
    let copies = this.world.chance(this.faults.lossProbability) ? 0 : 1;
    if (copies > 0 && this.world.chance(this.faults.duplicateProbability)) copies++;
    for (; copies > 0; copies--) this.world.after(this.#delay(), () => this.#deliver(message, bytes));
  }

  #deliver({ from, to }: NodeMessage, bytes: Uint8Array): void {
    const member = this.members.find(({ id }) => id === to);
    const life = member?.life;
    if (life?.log === undefined || !this.reaches(from, to)) return;
    if (life.clock.pausedUntil > this.world.now) {
      // It waits in the socket.
      this.world.after(life.clock.pausedUntil - this.world.now, () => {
        if (member!.life === life) life.log!.node.step(decodeMessage(bytes));
      });
      return;
    }
    life.log.node.step(decodeMessage(bytes));
  }

  async #sendSnapshot(from: SimulatedMember, to: number, term: number, snapshot: OutgoingSnapshot): Promise<void> {
    const pieces: Uint8Array[] = [];
    for await (const piece of snapshot.pieces()) pieces.push(piece.slice());
    await this.world.sleep(this.#delay() + 5);
    const life = this.members.find(({ id }) => id === to)?.life;
    if (life?.log === undefined || !this.reaches(from.id, to) || this.world.chance(this.faults.lossProbability))
      throw new AppError('UNREACHABLE', 'the snapshot did not arrive');
    const stream = async function* (): AsyncGenerator<Uint8Array> {
      yield* pieces;
    };
    await Promise.race([
      life.log.node.receiveSnapshot(from.id, term, snapshot.meta, stream()),
      life.ended.promise,
      this.world.sleep(5000).then(() => {
        throw new AppError('UNREACHABLE', 'the snapshot was not answered');
      }),
    ]);
  }

  /** A leader's commit index moves to entries of its own term only (5.4.2 of the paper). */
  #checkCommit({ from, term, commit }: Extract<NodeMessage, { type: 'append' }>): void {
    const before = this.#commits.get(from);
    this.#commits.set(from, { term, commit });
    if (before?.term !== term || commit <= before.commit) return;
    const of = this.members.find(({ id }) => id === from)?.life?.log?.node.raft.log.term(commit);
    if (of !== undefined && of !== term)
      this.violate(new Violation(`member ${from} commits entry ${commit} of term ${of} by counting in term ${term}`));
  }

  cluster(member: SimulatedMember): GroupCluster | undefined {
    return member.life?.store?.cluster as GroupCluster | undefined;
  }
}

function isDiskFault(error: unknown): boolean {
  return /ENOSPC|no space/.test(errorText(error));
}

function bigints(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString(16) : value;
}
