import { seededRandom } from '../../../internal/base/random.ts';
import type { Mon } from '../../../internal/ceph/mon/mon.ts';
import { calm, SimulatedGroup, type SimulatedMember, timing } from '../store/group.ts';
import { Violation } from '../store/history.ts';
import { World } from '../store/world.ts';
import { SimulatedMons } from './mons.ts';

export interface MonSimulation {
  seed: number;
  mons: 1 | 3 | 5;
  /** Virtual milliseconds under load and faults. */
  durationMs: number;
}

export interface MonResult {
  violation: string | undefined;
  acknowledged: number;
  reads: number;
  ids: number;
  leaders: number;
  trace: readonly string[];
}

/** A cluster of mons under load, in which processes end, the power fails, members are cut off and stand still. The same seed gives the same history. */
export async function simulateMons({ seed, mons: size, durationMs }: MonSimulation): Promise<MonResult> {
  const world = new World(seededRandom(seed));
  const group = new SimulatedGroup(world, {
    segmentBytes: 65_536,
    checkpointBytes: 60_000,
    flushAfterMs: 300,
    // Some lag so far behind that they get a whole state.
    timing: { ...timing, keepBytes: world.pick([20_000, 1_000_000]) },
  });
  const mons = new SimulatedMons(group);
  const load = new Load(mons, world);
  let leaders = 0;
  group.onLeader = () => leaders++;
  const until = async (limitMs: number, condition: () => boolean, what: string): Promise<void> => {
    await world.run(world.now + limitMs, () => condition() || group.violation !== undefined);
    if (!condition() && group.violation === undefined) group.violate(new Violation(`not in time: ${what}`));
  };
  const serving = (): Mon[] => mons.alive.map(({ mon }) => mon).filter((mon) => mon.quorum.serves);

  group.add('a');
  await until(20_000, () => serving().length === 1, 'the first mon serves');
  for (const name of ['b', 'c', 'd', 'e'].slice(0, size - 1)) {
    const cluster = group.leader?.life.store.cluster;
    if (cluster === undefined) break;
    let id = 0n;
    const peer = `https://10.0.0.${name.charCodeAt(0)}:3301`;
    const add = async (): Promise<void> => {
      while (id === 0n)
        try {
          id = (await cluster.addMember([peer], true)).id;
        } catch {
          await world.sleep(500);
        }
    };
    void add();
    await until(30_000, () => id !== 0n, `room for mon.${name}`);
    group.add(name, { clusterId: cluster.clusterId, memberId: id });
  }
  const voters = (): number => group.leader?.life.log?.configuration.voters.length ?? 0;
  const complete = (): boolean =>
    voters() === size && serving().length === size && serving().every((mon) => mon.state.monmap.mons.length === size);
  await until(60_000, complete, 'all mons serve and have votes');

  group.faults = { ...calm, lossProbability: 0.005, delayMs: 5, lateMs: 300, lateProbability: 0.005, syncMs: 3 };
  const end = world.now + durationMs;
  load.begin();
  const back = (member: SimulatedMember): void => {
    world.after(world.between(100, 3000), () => {
      if (member.life === undefined) group.start(member);
    });
  };
  const strike = (): void => {
    if (world.now >= end || group.violation !== undefined) return;
    const member = world.chance(0.5) ? (group.leader ?? world.pick(group.members)) : world.pick(group.members);
    const kind = world.pick(['crash', 'crash', 'kill', 'cut', 'cut', 'pause'] as const);
    if (kind === 'crash') group.crash(member);
    if (kind === 'kill') group.kill(member);
    if (kind === 'pause') group.pause(member, world.between(200, 4000));
    if (kind === 'cut') {
      const others = group.members.filter((each) => each !== member).map(({ id }) => id);
      group.parts = [new Set([member.id]), new Set(others)];
      group.say(`${member.name} is cut off`);
      world.after(world.between(500, 8000), () => {
        group.parts = undefined;
      });
    } else back(member);
    world.after(world.between(500, 3000), strike);
  };
  world.after(1000, strike);
  await world.run(end, () => group.violation !== undefined);

  group.parts = undefined;
  group.faults = calm;
  for (const member of group.members) if (member.life === undefined) group.start(member);
  load.stopped = true;
  await until(60_000, complete, 'all mons serve again');
  await until(60_000, () => load.busy === 0, 'what was asked for is answered or given up');
  const pictures = (): Set<string> => new Set(serving().map(SimulatedMons.picture));
  for (let tries = 0; tries < 10 && pictures().size > 1; tries++) await world.run(world.now + 1000);
  if (pictures().size > 1) {
    for (const mon of serving()) group.say(`mon.${mon.name}: ${SimulatedMons.picture(mon)}`);
    group.violate(new Violation('the mons do not have the same state'));
  }
  if (group.violation === undefined)
    for (const mon of serving())
      for (const name of load.acknowledged)
        if (mon.state.osdmap.poolId(name) === undefined)
          group.violate(new Violation(`mon.${mon.name} has lost the pool ${name}, which was acknowledged`));
  return {
    violation: group.violation?.message,
    acknowledged: load.acknowledged.size,
    reads: load.reads,
    ids: mons.ids,
    leaders,
    trace: group.trace,
  };
}

/** Clients of whichever mon lets them in. */
class Load {
  readonly acknowledged = new Set<string>();
  /** Newest epoch that anybody was told of. */
  #epoch = 0;
  reads = 0;
  busy = 0;
  stopped = false;
  #next = 1;

  constructor(
    readonly mons: SimulatedMons,
    readonly world: World,
  ) {}

  begin(): void {
    for (let i = 0; i < 4; i++) this.#client();
  }

  #client(): void {
    const { world } = this;
    const next = (): void => {
      if (this.stopped || this.mons.group.violation !== undefined) return;
      const alive = this.mons.alive;
      const one = alive.length === 0 ? undefined : world.pick(alive);
      const peer = one && this.mons.connect(one.mon);
      if (one === undefined || peer === undefined) {
        world.after(100, next);
        return;
      }
      this.mons.admit(one.mon);
      one.member.life?.ended.promise.catch(() => peer.close());
      this.busy++;
      void this.#use(peer, one.mon.name)
        .catch(() => undefined)
        .finally(() => {
          this.busy--;
          peer.close();
          world.after(world.between(0, 200), next);
        });
    };
    next();
  }

  async #use(peer: NonNullable<ReturnType<SimulatedMons['connect']>>, mon: string): Promise<void> {
    const { world } = this;
    const violate = (what: string): void => this.mons.group.violate(new Violation(`mon.${mon}: ${what}`));
    for (let n = 0; n < 5 && peer.open && !this.stopped; n++) {
      const known = [...this.acknowledged];
      const epoch = this.#epoch;
      const kind = world.pick(['create', 'create', 'list', 'version', 'config'] as const);
      if (kind === 'create') {
        const pool = `p${this.#next++}`;
        const { code, status } = await peer.command({ prefix: 'osd pool create', pool, pg_num: 1 });
        // As many as there may be.
        if (code === -34) continue;
        if (code !== 0) violate(`osd pool create ${pool}: ${code} ${status}`);
        this.acknowledged.add(pool);
        // Whoever was told of it finds it at the mon that told.
        const version = await peer.osdmapVersion();
        this.#epoch = Math.max(this.#epoch, version);
      } else if (kind === 'config') {
        const { code, status } = await peer.command({
          prefix: 'config set',
          who: 'global',
          name: 'osd_pool_default_pg_num',
          value: String(1 + (world.random.uint32() % 4)),
        });
        if (code !== 0) violate(`config set: ${code} ${status}`);
      } else if (kind === 'list') {
        const { output } = await peer.command({ prefix: 'osd pool ls', format: 'json' });
        this.reads++;
        const pools = new Set(JSON.parse(output) as string[]);
        const lost = known.find((name) => !pools.has(name));
        if (lost !== undefined) violate(`a list without the pool ${lost}, which was acknowledged before`);
      } else {
        const version = await peer.osdmapVersion();
        this.reads++;
        if (version < epoch) violate(`osdmap ${version} is the newest, after ${epoch} was told of`);
        this.#epoch = Math.max(this.#epoch, version);
      }
    }
  }
}
