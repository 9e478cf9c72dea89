import { type Random, seededRandom } from '../../internal/base/random.ts';
import { until } from '../e2e/harness.ts';
import { FaultCluster, type Machine } from './fault-cluster.ts';
import { History } from './history.ts';
import { ModelClients } from './model-clients.ts';

const minute = 60_000;
const replicated = 'model';
const erasure = 'model-ec';

/** How often each fault comes, and what it is. */
const faults = {
  'kill an OSD': 4,
  'kill two OSDs': 3,
  'kill all OSDs': 1,
  'kill a mon': 2,
  'kill two mons and an OSD': 2,
  'kill the manager': 1,
  'kill the clients': 2,
  'power of a machine': 4,
  'power of two machines': 2,
  'power of all machines': 2,
  'cut a machine off for a moment': 3,
  'cut a machine off': 2,
  'cut two machines apart': 2,
  'a machine hears nothing from another': 2,
  'an OSD stands still for a moment': 2,
  'an OSD stands still': 2,
  'a mon stands still': 1,
  'slow disk': 3,
  'full disk': 2,
  'OSDs full': 2,
  'flipped bits': 3,
  'flipped bits and a killed OSD': 2,
  'damaged maps and a killed OSD': 2,
  'out and in': 2,
} as const;
export type Fault = keyof typeof faults;

const bag = (Object.entries(faults) as [Fault, number][]).flatMap(([fault, weight]) =>
  Array<Fault>(weight).fill(fault),
);

export interface FaultOptions {
  seed: number;
  binary?: string;
  env?: Record<string, string>;
  /** Planted: syncs of these files do nothing. */
  ignoreSync?: string;
}

/**
 * Three machines with a mon and an OSD each, under clients on two of them that write and read objects of a replicated and of an erasure-coded pool. A round brings
 * a fault at a random moment, waits until all is well again, and throws when a client saw anything that cannot be (history.ts).
 */
export class FaultRounds {
  readonly cluster: FaultCluster;
  readonly history = new History();
  readonly #clients: ModelClients;
  readonly #random: Random;
  readonly #seed: number;
  #round = 0;

  constructor(options: FaultOptions) {
    this.#seed = options.seed;
    this.#random = seededRandom(options.seed);
    this.cluster = new FaultCluster(options);
    const [first, , third] = this.cluster.machines.map(({ node }) => node);
    this.#clients = new ModelClients([first!, third!], [replicated, `${erasure}:erasure`], this.history);
  }

  async setUp(): Promise<void> {
    await this.cluster.setUp();
    await this.cluster.makePools(replicated, erasure);
    await this.cluster.comeBack();
    this.#clients.start(this.#seed);
    await until('the clients write', minute, () => Promise.resolve(this.history.acks > 100));
  }

  async tearDown(): Promise<void> {
    await this.#clients.kill();
    await this.cluster.tearDown();
  }

  pick(): Fault {
    return (process.env.FAULT as Fault | undefined) ?? bag[this.#random.uint32() % bag.length]!;
  }

  async round(fault: Fault): Promise<void> {
    const number = ++this.#round;
    this.#clients.appendTo(`${replicated}/log-${number}`);
    await Bun.sleep(300 + (this.#random.uint32() % 1500));
    const times: string[] = [];
    let begun = performance.now();
    const took = (phase: string): void => {
      const now = performance.now();
      times.push(`${phase} ${((now - begun) / 1000).toFixed(1)}`);
      begun = now;
    };
    await this.#inflict(fault);
    took('fault');
    const before = this.history.acks;
    await until('writes go on', 3 * minute, () => Promise.resolve(this.history.acks > before + 40));
    took('writes');
    await this.cluster.comeBack();
    took('clean');
    // Every copy is read: flipped bits are found where they are; of the others each tenth time.
    if (fault.startsWith('flipped')) await this.cluster.scrub(true);
    else if (number % 10 === 0) await this.cluster.scrub(false);
    took('scrub');
    await this.#clients.quiet();
    took('quiet');
    console.log(
      `round ${number}, ${fault}: ${times.join(', ')} s; ${this.history.acks} writes, ${this.history.reads} reads`,
    );
    const wrong = [...this.history.judge(), ...this.history.errors.splice(0).map((text) => `ERROR ${text}`)];
    if (wrong.length > 0) throw new Error(`${wrong.length} wrong after "${fault}":\n${wrong.slice(0, 10).join('\n')}`);
    this.#clients.go();
  }

  #any<T>(of: readonly T[]): T {
    return of[this.#random.uint32() % of.length]!;
  }

  /** Some milliseconds of the fault. */
  #while(fromMs: number, toMs: number): Promise<void> {
    return Bun.sleep(fromMs + (this.#random.uint32() % (toMs - fromMs)));
  }

  async #inflict(fault: Fault): Promise<void> {
    const { cluster } = this;
    const { machines } = cluster;
    const one = this.#any(machines);
    const others = machines.filter((machine) => machine !== one);
    const other = this.#any(others);
    switch (fault) {
      case 'kill an OSD':
        await cluster.signal(one, /^osd/, 'SIGKILL');
        return;
      case 'kill two OSDs':
        await Promise.all(others.map((machine) => cluster.signal(machine, /^osd/, 'SIGKILL')));
        return;
      case 'kill all OSDs':
        await Promise.all(machines.map((machine) => cluster.signal(machine, /^osd/, 'SIGKILL')));
        return;
      case 'kill a mon':
        await cluster.signal(one, /^mon$/, 'SIGKILL');
        return;
      case 'kill two mons and an OSD':
        await Promise.all([
          ...others.map((machine) => cluster.signal(machine, /^mon$/, 'SIGKILL')),
          cluster.signal(one, /^osd/, 'SIGKILL'),
        ]);
        return;
      case 'kill the manager':
        await cluster.signal(machines[0]!, /^mgr$/, 'SIGKILL');
        return;
      case 'kill the clients':
        await this.#clients.kill();
        this.#clients.start(this.#seed);
        this.#clients.appendTo(`${replicated}/log-${this.#round}b`);
        return;
      case 'power of a machine':
        return this.#power([one]);
      case 'power of two machines':
        return this.#power(others);
      case 'power of all machines':
        return this.#power(machines);
      case 'cut a machine off for a moment':
        return this.#cut(one, [], 'both', [1000, 8000]);
      case 'cut a machine off':
        return this.#cut(one, [], 'both', [24_000, 35_000]);
      case 'cut two machines apart':
        return this.#cut(one, [other], 'both', [3000, 30_000]);
      case 'a machine hears nothing from another':
        return this.#cut(one, [other], 'in', [3000, 30_000]);
      case 'an OSD stands still for a moment':
        return this.#still(one, /^osd/, [1000, 8000]);
      case 'an OSD stands still':
        return this.#still(one, /^osd/, [24_000, 32_000]);
      case 'a mon stands still':
        return this.#still(one, /^mon$/, [2000, 15_000]);
      case 'slow disk':
        one.disk.slow(20 + (this.#random.uint32() % 300));
        await this.#while(2000, 8000);
        one.disk.slow(0);
        return;
      case 'full disk':
        one.disk.full();
        await this.#while(2000, 6000);
        one.disk.full(false);
        return;
      case 'OSDs full':
        return this.#ratios();
      case 'flipped bits':
        await cluster.flipBits(one, this.#random.uint32(), 10);
        await this.#clients.sweep();
        return;
      case 'flipped bits and a killed OSD':
        // The other copies must be right: bits of one disk only.
        await cluster.flipBits(one, this.#random.uint32(), 10);
        await cluster.signal(one, /^osd/, 'SIGKILL');
        return;
      case 'damaged maps and a killed OSD':
        await cluster.flipMaps(one, this.#random.uint32());
        await cluster.signal(one, /^osd/, 'SIGKILL');
        return;
      case 'out and in': {
        await cluster.admin.mon('osd out', { ids: [String(one.osd)] });
        await this.#while(1000, 5000);
        await cluster.signal(other, /^osd/, 'SIGKILL');
        await this.#while(1000, 4000);
        await cluster.admin.mon('osd in', { ids: [String(one.osd)] });
      }
    }
  }

  async #power(of: readonly Machine[]): Promise<void> {
    await this.cluster.losePower(of);
    await this.#while(100, 3000);
    await this.cluster.powerOn(of);
  }

  async #cut(one: Machine, peers: Machine[], ways: 'both' | 'in', [fromMs, toMs]: [number, number]): Promise<void> {
    await this.cluster.cut(one, peers, ways);
    await this.#while(fromMs, toMs);
    await this.cluster.mend(one);
  }

  async #still(one: Machine, role: RegExp, [fromMs, toMs]: [number, number]): Promise<void> {
    const pid = await this.cluster.signal(one, role, 'SIGSTOP');
    await this.#while(fromMs, toMs);
    try {
      process.kill(pid, 'SIGCONT');
    } catch {
      // The supervisor has ended what gave no sign of life.
    }
  }

  /** The cluster counts as full: writes wait, reads do not, and nothing is lost. */
  async #ratios(): Promise<void> {
    const set = async (nearfull: string, backfillfull: string, full: string): Promise<void> => {
      for (const [name, ratio] of [
        ['set-full-ratio', full],
        ['set-backfillfull-ratio', backfillfull],
        ['set-nearfull-ratio', nearfull],
      ] as const)
        await this.cluster.admin.mon(`osd ${name}`, { ratio: Number(ratio) });
    };
    await set('0.0000001', '0.0000002', '0.0000003');
    await this.#while(4000, 9000);
    const reads = this.history.reads;
    await until('reads go on', minute, () => Promise.resolve(this.history.reads > reads + 20));
    await set('0.85', '0.9', '0.95');
  }
}
