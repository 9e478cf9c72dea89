import { describe, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../../internal/base/bytes.ts';
import { errorCode } from '../../../internal/base/errors.ts';
import { seededRandom } from '../../../internal/base/random.ts';
import { decodeMembership } from '../../../internal/raft/membership.ts';
import { toEtcdError } from '../../../internal/store/etcd/errors.ts';
import { encodeRecords, raftId } from '../../../internal/store/members.ts';
import { calm, SimulatedGroup, type SimulatedMember, timing } from './group.ts';
import { World } from './world.ts';

/** A group in calm weather, and what a scenario does with it. */
class Scenario {
  readonly world = new World(seededRandom(1));
  readonly group: SimulatedGroup;

  /** `keepBytes`: as `RaftTiming`. */
  constructor({ keepBytes = 1 << 20, ...more }: { keepBytes?: number; comeWithinMs?: number } = {}) {
    const tuning = { segmentBytes: 1 << 20, checkpointBytes: 1 << 20, flushAfterMs: 300, ...more };
    this.group = new SimulatedGroup(this.world, { ...tuning, timing: { ...timing, keepBytes } });
  }

  async until(done: () => boolean): Promise<void> {
    await this.world.run(this.world.now + 30_000, () => done() || this.group.violation !== undefined);
    expect(this.group.violation).toBeUndefined();
    expect(done()).toBe(true);
  }

  pass(ms: number): Promise<void> {
    return this.world.run(this.world.now + ms);
  }

  async settle<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    await this.until(() => settled);
    return promise;
  }
}

/** Three voters. */
class Three extends Scenario {
  static async start(keepBytes?: number): Promise<Three> {
    const three = new Three(keepBytes === undefined ? {} : { keepBytes });
    const { group } = three;
    group.add('n1');
    await three.until(() => group.leader !== undefined);
    for (const name of ['n2', 'n3']) {
      const { cluster } = group.leader!.life.store;
      const { id: memberId } = await three.settle(cluster.addMember([`https://${name}:2380`], true));
      group.add(name, { clusterId: cluster.clusterId, memberId }).id = raftId(memberId);
    }
    // With their votes and their names.
    await three.until(() =>
      group.alive.every(
        ({ life }) => life.store.cluster.members().filter(({ name, learner }) => name !== '' && !learner).length === 3,
      ),
    );
    return three;
  }

  get follower(): SimulatedMember & { life: { store: NonNullable<NonNullable<SimulatedMember['life']>['store']> } } {
    return this.group.alive.find(({ id }) => id !== this.group.leader!.id)!;
  }
}

test('a group that has forgotten who its members are learns it from them again', async () => {
  const three = await Three.start();
  const { group } = three;
  const before = group.leader!.life.store.cluster.members();
  const { log, store } = group.leader!.life;
  const { voters, learners } = store.membership.configuration;
  // What an earlier version wrote when another leader ended a change.
  group.nameless = true;
  const forgotten = encodeRecords({ records: [], removed: [] });
  const target = { voters: [...voters], learners: [...learners] };
  const written = new Promise<void>((resolve, reject) =>
    log!.proposeMembership(target, forgotten, { command: undefined, resolve: () => resolve(), reject }),
  );
  await three.settle(written);
  expect(store.cluster.members()).toEqual([]);
  await three.until(() => group.alive.every(({ life }) => life.store.cluster.members().length === 3));
  expect(group.leader!.life.store.cluster.members()).toEqual(before);
});

test('of two members the only voter is removed: the other one has its vote, everything, and leads; the first hears of it', async () => {
  const two = new Scenario();
  const { group } = two;
  const first = group.add('n1');
  await two.until(() => group.leader !== undefined);
  const { store } = group.leader!.life;
  const { id: memberId } = await two.settle(store.cluster.addMember(['https://n2:2380'], true));
  // It is not there yet: nobody could go on.
  await expect(two.settle(store.cluster.removeMember(first.memberId))).rejects.toMatchObject({
    code: 'NOT_ENOUGH_MEMBERS',
  });
  const second = group.add('n2', { clusterId: store.cluster.clusterId, memberId });
  second.id = raftId(memberId);
  await two.settle(store.put({ key: utf8('a'), value: utf8('1') }));
  await two.until(() => second.life?.store !== undefined && second.life.store.revision === store.revision);
  await two.pass(2000);
  // Asked of the one that stays, as `kubectl delete node` there is.
  first.leaving = true;
  const asked = second.life!.store!.cluster.removeMember(first.memberId);
  asked.catch(() => undefined);
  await two.until(() => group.leader?.id === second.id && first.told);
  const { store: left } = group.leader!.life;
  expect(left.cluster.members().map(({ id, learner }) => [id, learner])).toEqual([[memberId, false]]);
  await two.settle(left.put({ key: utf8('b'), value: utf8('2') }));
  const all = await two.settle(left.range({ key: utf8('a'), rangeEnd: utf8('z') }));
  expect(all.kvs.map(({ key }) => utf8Text(key))).toEqual(['a', 'b']);
});

test('a leader that was replaced while it stood still does not say that a lease is gone which the next one renewed', async () => {
  const three = await Three.start();
  const { group, world } = three;
  const old = group.leader!;
  const { id } = await three.settle(old.life.store.leaseGrant(3));
  await three.pass(1080);
  const others = group.members.filter((member) => member.id !== old.id);
  group.parts = [new Set([old.id]), new Set(others.map((member) => member.id))];
  group.pause(old, 1900);
  await three.until(() => group.leader !== undefined && group.leader.id !== old.id);
  await three.pass(500);
  await three.settle(group.leader!.life.store.leaseKeepAlive(id));
  const renewedAt = world.now;
  // By its own clock the lease is over soon after it goes on; nobody told it yet who leads.
  await world.run(old.life.clock.pausedUntil + 50);
  expect(old.life.log!.leads).toBe(true);
  const asked = old.life.store.leaseKeepAlive(id).then(
    () => 'renewed',
    (error: unknown) => errorCode(error),
  );
  group.parts = undefined;
  expect(await three.settle(asked)).not.toBe('LEASE_NOT_FOUND');
  expect(world.now - renewedAt).toBeLessThan(3000);
  expect(await three.settle(group.leader!.life.store.leases())).toEqual([id]);
});

test('a lease that is over is gone only when it is revoked: a leader without a majority does not say so', async () => {
  const three = await Three.start();
  const { group } = three;
  const old = group.leader!;
  const { id } = await three.settle(old.life.store.leaseGrant(2));
  await three.pass(1990);
  group.parts = [new Set([old.id])];
  await three.pass(100);
  const asked = old.life.store.leaseKeepAlive(id).then(
    () => 'renewed',
    (error: unknown) => errorCode(error),
  );
  expect(await three.settle(asked)).not.toBe('LEASE_NOT_FOUND');
});

test('a request of a member that comes late does not undo a change of the members that was made since', async () => {
  const three = await Three.start();
  const { group } = three;
  const { follower } = three;
  const removed = group.members.find(({ id }) => id !== follower.id && id !== group.leader!.id)!;
  group.faults = { ...calm, lateProbability: 1, lateMs: 4000 };
  const late = follower.life.store.cluster.updateMember(follower.memberId, ['https://elsewhere:2380']);
  late.catch(() => undefined);
  group.faults = calm;
  await three.settle(group.leader!.life.store.cluster.removeMember(removed.memberId));
  await three.pass(10_000);
  const names = group.leader!.life.store.cluster.members().map(({ name }) => name);
  expect(names).not.toContain(removed.name);
  expect(group.leader!.life.log!.configuration.voters).not.toContain(removed.id);
});

test('a member that was not alone meanwhile and started again reserves revisions before it hands them out unsynced', async () => {
  const one = new Scenario();
  const { group } = one;
  const member = group.add('n1');
  const open = (): Promise<void> => one.until(() => group.leader === member);
  const volatile = () => one.settle(group.leader!.life.store.put({ key: utf8('a'), value: utf8('b') }, 'volatile'));
  await open();
  await volatile();
  // What was reserved is in the database.
  await one.settle(group.leader!.life.store.hashKv());
  const learner = await one.settle(group.leader!.life.store.cluster.addMember(['https://n2:2380'], true));
  await one.pass(50);
  group.kill(member);
  group.start(member);
  await open();
  await one.settle(group.leader!.life.store.cluster.removeMember(learner.id));
  let told = 0;
  for (let i = 0; i < 20; i++) told = (await volatile()).revision;
  group.crash(member);
  group.start(member);
  await open();
  const { revision } = await one.settle(group.leader!.life.store.put({ key: utf8('a'), value: utf8('c') }));
  expect(revision).toBeGreaterThan(told);
});

test('learners that are gone do not get a vote, and get it when they are back', async () => {
  const scenario = new Scenario();
  const { group } = scenario;
  group.add('n1');
  await scenario.until(() => group.leader !== undefined);
  const voters = (): number => group.leader!.life.log!.configuration.voters.length;
  const join = async (name: string): Promise<SimulatedMember> => {
    const { cluster } = group.leader!.life.store;
    const { id: memberId } = await scenario.settle(cluster.addMember([`https://${name}:2380`], true));
    return group.add(name, { clusterId: cluster.clusterId, memberId });
  };
  const second = await join('n2');
  await scenario.until(
    () => second.life?.log?.node.raft.log.committed === group.leader!.life.log!.node.raft.log.committed,
  );
  await scenario.pass(2000);
  group.kill(second);
  await scenario.pass(3000);
  await join('n3');
  await scenario.pass(5000);
  expect(voters()).toBe(1);
  group.start(second);
  await scenario.until(() => voters() === 3);
});

describe('a member that was added and has never started', () => {
  const comeWithinMs = 60_000;
  const alone = async (): Promise<Scenario> => {
    const scenario = new Scenario({ comeWithinMs });
    scenario.group.add('n1');
    await scenario.until(() => scenario.group.leader !== undefined);
    return scenario;
  };
  const add = (scenario: Scenario) => {
    const { cluster } = scenario.group.leader!.life.store;
    return scenario.settle(cluster.addMember(['https://n2:2380'], true));
  };
  const names = ({ group }: Scenario): string[] => group.leader!.life.store.cluster.members().map(({ name }) => name);

  test('is let go in time: the one that is there is alone again, and puts off what it may', async () => {
    const scenario = await alone();
    const { group } = scenario;
    await add(scenario);
    await scenario.pass(comeWithinMs - 2000);
    expect(names(scenario).sort()).toEqual(['', 'n1']);
    expect(group.leader!.life.log!.alone).toBe(false);
    await scenario.pass(5000);
    expect(names(scenario)).toEqual(['n1']);
    expect(group.leader!.life.log!.alone).toBe(true);
    // Its address is free again.
    await add(scenario);
  });

  test('is not called when it comes too late', async () => {
    const scenario = await alone();
    const { group } = scenario;
    const { clusterId } = group.leader!.life.store.cluster;
    const { id: memberId } = await add(scenario);
    await scenario.pass(comeWithinMs + 5000);
    const late = group.add('n2', { clusterId, memberId });
    late.leaving = true;
    late.id = raftId(memberId);
    await scenario.pass(5000);
    // It knows nobody whom it could ask either.
    expect(late.life!.store!.cluster.members()).toEqual([]);
    expect(names(scenario)).toEqual(['n1']);
  });

  test('stays when it comes in time, and from then on however long it is off', async () => {
    const scenario = await alone();
    const { group } = scenario;
    const { clusterId } = group.leader!.life.store.cluster;
    const { id: memberId } = await add(scenario);
    await scenario.pass(comeWithinMs - 5000);
    const second = group.add('n2', { clusterId, memberId });
    await scenario.until(() => names(scenario).includes('n2'));
    group.kill(second);
    await scenario.pass(2 * comeWithinMs);
    expect(names(scenario).sort()).toEqual(['n1', 'n2']);
  });
});

test('a lease with a negative id is renewed, read and revoked through a follower as any other is', async () => {
  const three = await Three.start();
  for (const id of [-5n, -(1n << 63n), (1n << 63n) - 1n]) {
    const { store } = three.follower.life;
    await three.settle(store.leaseGrant(60, id));
    expect(await three.settle(store.leaseKeepAlive(id))).toEqual({ ttlSeconds: 60 });
    expect(await three.settle(store.leaseTimeToLive(id))).toMatchObject({ grantedTtlSeconds: 60 });
    expect(await three.settle(store.leases())).toEqual([id]);
    await three.settle(store.leaseRevoke(id));
    await expect(three.settle(store.leaseKeepAlive(id))).rejects.toMatchObject({ code: 'LEASE_NOT_FOUND' });
  }
});

test('what is left of a lease survives a change of the leader, and so does a renewal that the next one learns of only when it leads', async () => {
  const three = await Three.start();
  const { group, world } = three;
  const { id } = await three.settle(group.leader!.life.store.leaseGrant(1200));
  const left = async (): Promise<number> =>
    (await three.settle(group.leader!.life.store.leaseTimeToLive(id))).ttlSeconds;
  /** The next leader knows of nothing that this one's messages did not say yet. */
  const replaceLeader = async (): Promise<void> => {
    const old = group.leader!;
    group.parts = [new Set(group.members.map((member) => member.id).filter((each) => each !== old.id))];
    group.kill(old);
    await three.until(() => group.leader !== undefined);
    group.parts = undefined;
    group.start(old);
  };
  await world.run(world.now + 310_000, () => group.violation !== undefined);
  await replaceLeader();
  expect(await left()).toBeLessThan(910);
  await three.settle(group.leader!.life.store.leaseKeepAlive(id));
  await replaceLeader();
  expect(await left()).toBeGreaterThan(1190);
});

test('a member that has the first step of a change in its state only finishes it, and everybody stays known', async () => {
  const three = await Three.start(0);
  const { group, follower } = three;
  const old = group.leader!;
  const ids = (): number[] => group.members.map(({ id }) => id);
  const joint = (): boolean => follower.life.store.membership.configuration.outgoing.length > 0;
  for (const name of ['n4', 'n5']) {
    const { cluster } = old.life.store;
    const { id: memberId } = await three.settle(cluster.addMember([`https://${name}:2380`], true));
    group.add(name, { clusterId: cluster.clusterId, memberId }).id = raftId(memberId);
  }
  // The last step reaches nobody.
  group.withhold = (message) =>
    message.type === 'append' &&
    message.entries.some(({ type, data }) => {
      if (type !== 'membership') return false;
      const { voters, outgoing } = decodeMembership(data).configuration;
      return voters.length === 5 && outgoing.length === 0;
    });
  await three.until(joint);
  const applied = follower.life.store.status().appliedIndex;
  await three.pass(1000);
  expect(joint()).toBe(true);
  expect(follower.life.log!.node.raft.log.lastIndex).toBe(applied);
  group.kill(old);
  group.kill(follower);
  group.withhold = undefined;
  group.start(follower);
  await three.until(() => group.leader !== undefined);
  await three.until(() => group.alive.length === 4 && !joint());
  expect(ids()).toHaveLength(5);
  for (const { life } of group.alive) expect(life.store.cluster.members()).toHaveLength(5);
});

test('a watch of a quiet key goes on when its member takes over a state whose history is compacted', async () => {
  const three = await Three.start(500);
  const { group } = three;
  const { follower } = three;
  const put = (key: string) =>
    three.settle(group.leader!.life.store.put({ key: utf8(key), value: utf8('v'.repeat(100)) }));
  const told: string[] = [];
  follower.life.store.watch(
    { key: utf8('quiet') },
    {
      onEvents: (events) => told.push(...events.map(({ kv }) => utf8Text(kv.key))),
      onEnd: (error) => told.push(String(error)),
    },
  );
  for (let i = 0; i < 10; i++) await put('busy');
  await three.pass(500);
  const { revision } = follower.life.store;
  group.parts = [new Set([follower.id])];
  group.parts.push(new Set(group.members.map((member) => member.id).filter((id) => id !== follower.id)));
  await three.until(() => group.leader !== undefined && group.leader.id !== follower.id);
  for (let i = 0; i < 30; i++) await put('busy');
  await three.settle(group.leader!.life.store.compact(revision));
  group.parts = undefined;
  await three.until(() => follower.life.store.revision === group.leader!.life.store.revision);
  expect(group.trace.filter((line) => line.includes('took over')).at(-1)).toContain(follower.name);
  await put('quiet');
  await three.until(() => told.length > 0);
  expect(told).toEqual(['quiet']);
});

test('while the members are being changed every other change of them is answered as etcd does, through whomever', async () => {
  const three = await Three.start();
  const leader = three.group.leader!.life.store.cluster;
  const refusal = (change: Promise<unknown>): Promise<unknown> => change.then(() => 'made', toEtcdError);
  const changing = leader.addMember(['https://n4:2380'], true);
  const others = [three.group.leader!.life.store, three.follower.life.store].flatMap(({ cluster }) => [
    refusal(cluster.addMember(['https://n5:2380'], true)),
    refusal(cluster.removeMember(three.follower.memberId)),
    refusal(cluster.updateMember(three.follower.memberId, ['https://n6:2380'])),
  ]);
  for (const told of await three.settle(Promise.all(others)))
    expect(told).toMatchObject({ status: 14, message: 'etcdserver: unhealthy cluster' });
  await three.settle(changing);
  await three.settle(leader.removeMember(leader.members().find(({ learner }) => learner)!.id));
});

test('a member that is removed while it runs is told: it takes no requests, and its watches end with that', async () => {
  const three = await Three.start();
  const { group } = three;
  const { follower } = three;
  const { store } = follower.life;
  const ends: unknown[] = [];
  store.watch({ key: utf8('a') }, { onEvents: () => undefined, onEnd: (error) => ends.push(errorCode(error)) });
  follower.leaving = true;
  await three.settle(group.leader!.life.store.cluster.removeMember(follower.memberId));
  await three.pass(50);
  expect(follower.told).toBe(true);
  expect(ends).toEqual(['REMOVED']);
  await expect(store.range({ key: utf8('a'), serializable: true })).rejects.toMatchObject({ code: 'REMOVED' });
});

test.each([0, 1])(
  'a leader that goes hands the lead to a voter that answers: the other one is down (%i)',
  async (down) => {
    const three = await Three.start();
    const { group } = three;
    const old = group.leader!;
    const { cluster } = old.life.store;
    const others = group.members.filter(({ id }) => id !== old.id).sort((a, b) => a.id - b.id);
    expect(others.map(({ memberId }) => memberId)).toContain(cluster.successor()!.id);
    expect(others.map(({ life }) => life!.store!.cluster.successor())).toEqual([undefined, undefined]);
    group.kill(others[down]!);
    await three.pass(5000);
    const next = others[1 - down]!;
    expect(cluster.successor()).toMatchObject({ id: next.memberId, name: next.name });
    await three.settle(cluster.moveLeader(next.memberId));
    expect(group.leader!.id).toBe(next.id);
    group.kill(next);
    await three.pass(5000);
    expect(cluster.successor()).toBeUndefined();
  },
);

test('the leader is removed: it finishes that and ends, and another one leads', async () => {
  const three = await Three.start();
  const { group } = three;
  const old = group.leader!;
  old.leaving = true;
  await three.settle(three.follower.life.store.cluster.removeMember(old.memberId));
  await three.until(() => old.told && group.leader !== undefined && group.leader.id !== old.id);
  expect(group.leader!.life.store.cluster.members()).toHaveLength(2);
});

test.each(['voter', 'learner'] as const)(
  'a %s that was cut off while it was removed hears of it when it is back',
  async (role) => {
    const three = await Three.start();
    const { group } = three;
    // With two of three voters left, one of them gives its vote up.
    const [first, second] = group.members.filter((member) => member.id !== group.leader!.id);
    if (role === 'learner') {
      first!.leaving = true;
      await three.settle(group.leader!.life.store.cluster.removeMember(first!.memberId));
    }
    const cutOff = role === 'learner' ? second! : first!;
    const { learners } = group.leader!.life.log!.configuration;
    expect(learners.includes(cutOff.id)).toBe(role === 'learner');
    group.parts = [new Set([cutOff.id]), new Set(group.members.map(({ id }) => id).filter((id) => id !== cutOff.id))];
    await three.pass(2000);
    cutOff.leaving = true;
    await three.settle(group.leader!.life.store.cluster.removeMember(cutOff.memberId));
    await three.pass(10_000);
    expect(cutOff.told).toBe(false);
    group.parts = undefined;
    await three.until(() => cutOff.told);
  },
);
