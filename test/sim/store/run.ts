import { concatBytes, utf8Text } from '../../../internal/base/bytes.ts';
import { errorCode, errorText } from '../../../internal/base/errors.ts';
import { seededRandom } from '../../../internal/base/random.ts';
import type { Store } from '../../../internal/store/api.ts';
import { prefixEnd } from '../../../internal/store/keys.ts';
import { bytes } from '../../../internal/store/testing.ts';
import { calm, type Life, SimulatedGroup, type SimulatedMember, timing } from './group.ts';
import { Clients } from './clients.ts';
import { MemberChanges } from './member-changes.ts';
import { History, type Operation, pairs, Violation } from './history.ts';
import { Leases } from './leases.ts';
import { forecast, nemesis, type Weather } from './weather.ts';
import { World } from './world.ts';

export interface SimulationOptions {
  seed: number;
  /** Members at first: 1, 3 or 5; default by the seed. */
  members?: number;
  /** Virtual milliseconds under load and faults; default 12,000. */
  durationMs?: number;
  /** What happens: default by the seed. */
  weather?: Weather;
  /** Less load, and no wait for the end of all leases. */
  short?: boolean;
  /** As many members all the time, and writes that may be lost only where one is alone from the beginning to the end. */
  steady?: boolean;
  /** Members that join start at once. */
  prompt?: boolean;
}

export interface SimulationResult {
  seed: number;
  members: number;
  violation: string | undefined;
  operations: number;
  acknowledged: number;
  revision: number;
  events: number;
  trace: string[];
}

const utf8 = bytes;

/** One whole history under one seed. The same seed gives the same history, whatever the machine does. */
export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  const random = seededRandom(options.seed);
  const world = new World(random);
  const members = options.members ?? [1, 3, 3, 5][random.uint32() % 4]!;
  const weather = options.weather ?? forecast(world, options.steady ?? false);
  const late = !options.steady && !options.prompt;
  const group = new SimulatedGroup(world, {
    segmentBytes: 8192,
    checkpointBytes: 6000,
    flushAfterMs: 300,
    // Blocks of reserved revisions end, and writes that wait for others go to the disk by themselves, many times in a history.
    ...(!options.steady && {
      reserveBlock: world.pick([2, 20, 10_000]),
      unsynced: { volatileSyncMs: world.pick([50, 500]), deferredMs: world.pick([100, 1000, 60_000]) },
    }),
    ...(late && { comeWithinMs: world.pick([1500, 60_000]) }),
    timing: {
      ...timing,
      keepBytes: world.pick([500, 5000, 100_000]),
      ...(weather.maxMessageBytes !== undefined && { maxMessageBytes: weather.maxMessageBytes }),
    },
  });
  const run = new Run(group, members, options.steady ?? false, late);
  try {
    await run.story(weather, options.durationMs ?? (options.short ? 1500 : 12_000), options.short ?? false);
  } catch (error) {
    group.violate(error instanceof Error ? error : new Error(String(error)));
  }
  return {
    seed: options.seed,
    members,
    violation: group.violation?.message,
    operations: run.operations.length,
    acknowledged: run.operations.filter(({ outcome }) => outcome === 'done').length,
    revision: run.revision,
    events: world.count,
    trace: group.trace,
  };
}

export class Run {
  readonly clients: Clients;
  readonly changes: MemberChanges;
  /** Of histories that have ended. */
  readonly #before: Operation[] = [];
  readonly world: World;
  revision = 0;
  #calm = false;
  #restartMs = 3000;
  #snapshot: { bytes: Uint8Array; revision: number } | undefined;

  constructor(
    readonly group: SimulatedGroup,
    readonly size: number,
    readonly steady: boolean,
    late: boolean,
  ) {
    this.world = group.world;
    this.clients = new Clients(group, steady, steady ? size : 2);
    this.changes = new MemberChanges(group, this.clients, size, late);
  }

  get operations(): readonly Operation[] {
    return [...this.#before, ...this.clients.history.operations];
  }

  async story(weather: Weather, durationMs: number, short: boolean): Promise<void> {
    const { group, world } = this;
    group.add('n1');
    await this.#until(60_000, () => group.alive.length === 1, 'the first member opens');
    this.clients.begin();
    await this.#grow(Array.from({ length: this.size - 1 }, (_, i) => `n${i + 2}`));
    group.faults = weather.faults;
    this.#restartMs = short ? 1000 : 3000;
    group.onLeader = (leader) => {
      if (this.#calm || !world.chance(weather.newLeaderFalls ?? 0)) return;
      world.after(world.between(0, 400), () => {
        if (world.chance(0.5)) this.restartLater(leader, 'crash');
        else this.partition(leader.id);
      });
    };
    group.onVote = (voter) => {
      if (this.#calm || !world.chance(weather.voterFalls ?? 0)) return;
      world.after(world.between(0, 20), () => {
        this.group.crash(voter);
        this.group.start(voter);
      });
    };
    const end = world.now + durationMs;
    const names = (Object.keys(nemesis) as (keyof typeof nemesis)[]).flatMap((name) =>
      Array.from({ length: weather.weights[name] ?? 0 }, () => name),
    );
    const strike = (): void => {
      if (world.now >= end || group.violation !== undefined) return;
      if (names.length > 0) nemesis[world.pick(names)](this);
      world.after(world.between(0, 2 * weather.everyMs), strike);
    };
    strike();
    if (!this.steady) world.after(world.between(0, durationMs), () => this.#takeSnapshot());
    await world.run(end, () => group.violation !== undefined);
    await this.#calmDown(short);
    if (this.steady || this.clients.history.hasEnded || group.violation !== undefined || !world.chance(0.5)) return;
    if (this.#snapshot !== undefined && world.chance(0.5)) await this.#restore(this.#snapshot);
    else await this.#loseMajority();
    await this.#calmDown(short);
  }

  /** In the story the world is run from here; during faults it runs already. */
  async #grow(names: readonly string[]): Promise<void> {
    const { group, world } = this;
    for (const name of names)
      await this.changes.join(name, {
        settle: (promise) => this.#runUntilSettled(promise),
        pass: (ms) => world.run(world.now + ms),
      });
    const voters = (): number | undefined => group.leader?.life.store.membership.configuration.voters.length;
    await this.#until(60_000, () => voters() === this.changes.present.length, 'the members get their votes');
  }

  /** All but one are lost for good, at a moment at which that one has everything; it goes on alone, and others join again. */
  async #loseMajority(): Promise<void> {
    const { group, world } = this;
    const { cluster, revision } = group.leader!.life.store;
    const ids = cluster.members().map(({ id }) => id);
    // One that has just joined may still have nothing, not even the term.
    const whole = group.alive.filter(
      ({ memberId, life }) => ids.includes(memberId) && life.store.revision === revision,
    );
    const left = world.pick(whole);
    group.say(`all but ${left.name} are lost`);
    for (const member of this.changes.present) {
      group.crash(member);
      member.removed = member !== left;
    }
    // The group goes on as another one, which knows none of them.
    for (const member of group.members) member.leaving = false;
    await this.#runUntilSettled(group.reset(left));
    group.start(left);
    await this.#until(60_000, () => group.leader?.id === left.id, 'the one that is left leads');
    if (group.violation !== undefined) return;
    this.#calm = false;
    this.clients.begin();
    await this.#grow([this.changes.newName(), this.changes.newName()]);
    await world.run(world.now + 1000, () => group.violation !== undefined);
  }

  /** Of any member, while things go wrong. */
  #takeSnapshot(): void {
    const { group } = this;
    const member = this.group.anyone();
    if (member === undefined) return;
    const { life, name } = member;
    const take = async (): Promise<void> => {
      const { revision, pieces } = await life.store.snapshot();
      const parts: Uint8Array[] = [];
      for await (const piece of pieces()) parts.push(piece);
      if (member.life !== life) return;
      this.#snapshot = { bytes: concatBytes(parts), revision };
      group.say(`a snapshot of ${name} at revision ${revision}`);
    };
    take().catch((error: unknown) => group.say(`${name} makes no snapshot: ${errorText(error)}`));
  }

  /** Everything is lost but a snapshot: a new group begins with what that has, and nothing that was told since comes again under another meaning. */
  async #restore({ bytes, revision }: { bytes: Uint8Array; revision: number }): Promise<void> {
    const { group, world } = this;
    group.say(`everything is lost but the snapshot of revision ${revision}`);
    for (const member of group.members) {
      group.kill(member);
      member.removed = true;
      member.leaving = false;
    }
    group.forgetTerms();
    const newest = Math.max(this.revision, this.clients.known);
    const member = group.add(this.changes.newName(), undefined, bytes);
    await this.#until(60_000, () => group.leader?.id === member.id, 'the restored member leads');
    if (group.violation !== undefined) return;
    const { store } = group.leader!.life;
    if (store.revision <= newest)
      group.violate(new Violation(`the restored store is at revision ${store.revision}, and ${newest} was told`));
    const all = { key: utf8('\0'), rangeEnd: utf8('\0') };
    let found: Awaited<ReturnType<Store['range']>> | undefined;
    await this.#runUntilSettled(
      store.range(all).then((answer) => {
        found = answer;
      }),
    );
    if (found === undefined) return;
    const restored = pairs(found.kvs);
    this.clients.history.checkState(
      revision,
      restored.filter(([key]) => key.startsWith('k')),
    );
    this.#before.push(...this.clients.history.operations);
    const holes = this.clients.history.hasHoles;
    this.clients.history = new History();
    this.clients.history.begin(store.compactRevision, restored);
    this.clients.history.hasHoles = holes;
    this.clients.compacted = store.compactRevision;
    this.clients.known = store.compactRevision;
    this.clients.leases = new Leases();
    this.#calm = false;
    this.clients.begin();
    await this.#grow([this.changes.newName(), this.changes.newName()]);
    await world.run(world.now + 1000, () => group.violation !== undefined);
  }

  /** Everything is repaired: the group must answer again, and what it has must be what it said. */
  async #calmDown(short: boolean): Promise<void> {
    const { group, world } = this;
    group.say('calm');
    this.#calm = true;
    group.faults = calm;
    group.parts = undefined;
    // Whoever is to start again has done so by then.
    await world.run(world.now + this.#restartMs + 100, () => group.violation !== undefined);
    for (const member of group.members) {
      member.disk.setCapacity(2 ** 30);
      const hears = !member.removed || (member.leaving && !member.told && world.chance(0.5));
      if (member.life === undefined && hears && member.refused === undefined) group.start(member);
    }
    if (this.#lostByDamage()) {
      this.clients.history.hasEnded = true;
      return;
    }
    await this.#until(60_000, () => group.leader !== undefined, 'somebody leads');
    // One that nobody has called yet knows nobody to ask, and one that knows only members that were removed, too, has nobody who would answer.
    const present = new Set(group.members.filter(({ removed }) => !removed).map(({ memberId }) => memberId));
    const deaf = (life: Life | undefined): boolean =>
      life === undefined || life.store?.cluster.members().every(({ id }) => !present.has(id)) === true;
    await this.#until(
      30_000,
      () => group.members.every(({ removed, told, life }) => !removed || told || deaf(life)),
      'removed members hear of it',
    );
    await world.run(world.now + (short ? 500 : 11_000), () => group.violation !== undefined);
    this.clients.stopped = true;
    await this.#until(60_000, () => this.clients.busy === 0, 'clients end');
    if (group.violation !== undefined) return;
    // One that stands still since before the calm is left by its followers only now.
    await this.#until(60_000, () => group.leader !== undefined, 'somebody leads at the end');
    if (group.violation !== undefined) return;
    const { store } = group.leader!.life;
    const finalPromise = store.range({ key: utf8('k'), rangeEnd: prefixEnd(utf8('k')) });
    let final: Awaited<typeof finalPromise> | undefined;
    finalPromise.then(
      (answer) => {
        final = answer;
      },
      (error: unknown) => group.violate(new Violation(`the last read: ${errorText(error)}`)),
    );
    await this.#until(20_000, () => final !== undefined, 'the last read is answered');
    if (final === undefined) return;
    this.revision = final.revision;
    // Else nobody might know what became of requests without an answer.
    await this.#until(
      60_000,
      () => this.clients.watched.every(({ upTo }) => upTo >= this.revision),
      'watches are told of everything',
    );
    if (group.violation !== undefined) return;
    this.clients.last = this.revision;
    this.clients.history.check({ revision: final.revision, kvs: pairs(final.kvs) });
    await this.#until(
      60_000,
      () => {
        const ids = store.cluster.members().map(({ id }) => id);
        return group.alive.every(
          ({ memberId, life }) => !ids.includes(memberId) || life.store.revision >= this.revision,
        );
      },
      'every member has everything',
    );
    if (group.violation !== undefined) return;
    await this.#compareMembers();
    this.clients.leases.check(...(await this.#leasesLeft(store)), group, !short);
  }

  /** Leases, and of which lease each key is that has one. */
  async #leasesLeft(store: Store): Promise<[bigint[], Map<string, bigint>]> {
    const keys = new Map<string, bigint>();
    let left: bigint[] | undefined;
    const look = async (): Promise<void> => {
      const { kvs } = await store.range({ key: utf8('lease/'), rangeEnd: prefixEnd(utf8('lease/')) });
      for (const { key, lease } of kvs) keys.set(utf8Text(key), lease);
      left = await store.leases();
    };
    look().catch((error: unknown) => this.group.violate(new Violation(`leases are not listed: ${errorText(error)}`)));
    await this.#until(10_000, () => left !== undefined, 'leases are listed');
    return [left ?? [], keys];
  }

  /** With one member, a bit that was flipped may cost everything: it was told. */
  #lostByDamage(): boolean {
    const voters = this.group.members.filter(({ removed }) => !removed);
    return voters.filter(({ refused }) => refused !== undefined).length * 2 >= voters.length;
  }

  /** Every member has the same versions of every key. */
  async #compareMembers(): Promise<void> {
    const answers: { name: string; said: string; hash: number }[] = [];
    const { alive } = this.group;
    let gone = 0;
    for (const { name, life, leaving } of alive)
      life.store.hashKv().then(
        ({ revision, compactRevision, hash }) =>
          answers.push({ name, said: `revision ${revision}, compacted ${compactRevision}`, hash }),
        (error: unknown) => {
          // It hears only now that it was removed.
          if (leaving && errorCode(error) === 'REMOVED') gone++;
          else this.group.violate(new Violation(`${name} has no hash: ${errorText(error)}`));
        },
      );
    await this.#until(30_000, () => answers.length + gone === alive.length, 'every member tells its hash');
    for (const { name, said, hash } of answers) {
      const other = answers.find((answer) => answer.said === said && answer.hash !== hash);
      if (other !== undefined) this.group.violate(new Violation(`${name} and ${other.name} differ at ${said}`));
    }
  }

  async #until(withinMs: number, done: () => boolean, what: string): Promise<void> {
    const { group, world } = this;
    await world.run(world.now + withinMs, () => done() || group.violation !== undefined);
    if (!done()) group.violate(new Violation(`not within ${withinMs / 1000} s: ${what}`));
  }

  // --- faults

  restartLater(member: SimulatedMember | undefined, how: 'crash' | 'kill'): void {
    if (member?.life === undefined) return;
    this.group[how](member);
    this.world.after(
      this.world.chance(0.5) ? this.world.between(1, 30) : this.world.between(30, this.#restartMs),
      () => {
        if (member.life === undefined && !member.removed && member.refused === undefined) this.group.start(member);
      },
    );
  }

  partition(alone?: number): void {
    const { group, world } = this;
    if (this.changes.present.length === 1) return;
    const ids = group.members.map(({ id }) => id);
    const apart = new Set(alone !== undefined ? [alone] : ids.filter(() => world.chance(0.5)));
    group.parts = [apart, new Set(ids.filter((id) => !apart.has(id)))];
    group.say(`partition: ${group.members.filter(({ id }) => apart.has(id)).map(({ name }) => name)} | the others`);
    const mine = group.parts;
    world.after(world.between(100, 4000), () => {
      if (group.parts !== mine) return;
      group.parts = undefined;
      group.say('the partition ends');
    });
  }

  fillDisk(): void {
    const member = this.group.anyone();
    if (member === undefined) return;
    const { disk } = member;
    this.group.say(`${member.name}: its disk is full`);
    void disk.space('/').then(({ total, available }) => {
      const used = total - available;
      disk.setCapacity(used + Math.floor(this.world.between(0, 8192)));
      this.world.after(this.world.between(200, 3000), () => {
        member.disk.setCapacity(2 ** 30);
        this.world.after(50, () => {
          if (member.life === undefined && !member.removed && member.refused === undefined) this.group.start(member);
        });
      });
    });
  }

  /** Only where others have the data too, and only what a later record proves to have been written (a last record may be torn). */
  flipBit(): void {
    const member = this.group.anyone();
    const raft = this.group.leader?.life.log?.node.raft;
    // A change of the voters that is under way may need just this member, which was the only one.
    const voters = raft?.configurationIsCommitted ? raft.configuration.voters.length : 0;
    if (member === undefined || voters < 3 || this.changes.running || this.changes.damaged !== undefined) return;
    const dir = `${member.dir}/journal`;
    void member.disk.list(dir).then(async (names) => {
      const segments = names.filter((name) => name.startsWith('seg-'));
      if (segments.length < 2) return;
      const path = `${dir}/${segments[0]}`;
      const offset = Math.floor(this.world.between(4096, 6000));
      member.damaged = true;
      member.disk.flipBit(path, offset, this.world.random.uint32() % 8);
      this.group.say(`${member.name}: a bit of ${path} is flipped at ${offset}`);
      this.restartLater(member, 'kill');
    });
  }

  compact(): void {
    const store = this.group.anyone()?.life.store;
    // Not what nobody has told yet: the history would have holes.
    const revision = Math.floor(this.world.between(1, this.clients.known));
    if (store === undefined || revision <= store.compactRevision) return;
    this.clients.compacted = Math.max(this.clients.compacted, revision);
    this.group.say(`compaction to ${revision}`);
    store.compact(revision).catch(() => undefined);
  }

  moveLeader(): void {
    const leader = this.group.leader;
    const target = this.group.anyone();
    if (leader === undefined || target === undefined || leader === target) return;
    this.group.say(`${target.name} is to lead`);
    this.group
      .cluster(leader)
      ?.moveLeader(target.memberId)
      .catch(() => undefined);
  }

  async #runUntilSettled(promise: Promise<unknown>): Promise<void> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    await this.world.run(this.world.now + 30_000, () => settled || this.group.violation !== undefined);
    if (settled) await promise;
  }
}
