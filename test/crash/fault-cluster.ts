import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { must, run, TestNode, TestSwitch, until } from '../e2e/harness.ts';
import { LossyMount, type LossyOptions } from '../lossy/lossy.ts';
import { AdminCommands } from './admin-commands.ts';

const minute = 60_000;
const python = '/usr/bin/python3';

/** One machine of the cluster: its whole directory, with its mon and its OSD, is on a disk that forgets what was not synced. */
export interface Machine {
  node: TestNode;
  disk: LossyMount;
  osd: number;
  mon: string;
}

interface Status {
  fsid: string;
  quorum_names: string[];
  osdmap: { num_osds: number; num_up_osds: number };
  health: { checks: Record<string, { summary: { message: string } }> };
  pgmap: { num_pgs: number; pgs_by_state?: { state_name: string; count: number }[] };
}

/** Three machines on one switch, each with a mon and an OSD, and everything that can be done to them. */
export class FaultCluster {
  readonly machines: Machine[] = [];
  readonly #directory = mkdtempSync(join(tmpdir(), 'faults-'));
  readonly #network = new TestSwitch();
  readonly #env: Record<string, string>;
  #commands: AdminCommands | undefined;

  constructor(
    options: { seed: number; binary?: string; env?: Record<string, string> } & Pick<LossyOptions, 'ignoreSync'>,
  ) {
    chmodSync(this.#directory, 0o755);
    const { seed, ignoreSync = '', env = {}, ...rest } = options;
    this.#env = env;
    for (const n of [0, 1, 2]) {
      const mountpoint = join(this.#directory, `disk-${n}`);
      const directory = join(mountpoint, 'node');
      // The directory of a node is made when its disk is mounted.
      const disk = new LossyMount(join(this.#directory, `backing-${n}`), mountpoint, {
        seed: seed + n,
        early: 0.3,
        ignoreSync,
        // Who does not sync loses what is younger, and still has a store.
        ...(ignoreSync === '' ? {} : { writebackMs: 3000 }),
      });
      const node = new TestNode({
        name: `node-${n + 1}`,
        ip: `10.98.0.${n + 1}`,
        network: this.#network,
        directory,
        runDir: join(this.#directory, `run-${n}`),
        config: [
          n === 0 ? 'roles: [server, mon, mgr, osd]\nmdns: false' : 'roles: [mon, osd]',
          `storage: {osd: [{${n === 0 ? 'id: 0, ' : ''}directory: ${directory}/osd}]}`,
        ].join('\n'),
        ...rest,
      });
      this.machines.push({ node, disk, osd: n, mon: 'abc'[n]! });
    }
  }

  get first(): TestNode {
    return this.machines[0]!.node;
  }

  async setUp(): Promise<void> {
    await this.#network.make();
    for (const { node, disk } of this.machines) {
      rmSync(node.directory, { recursive: true, force: true });
      await disk.start();
      mkdirSync(node.directory, { recursive: true });
      await node.makeNetwork();
    }
    this.#run(this.first);
    await this.pid(this.first, /^osd\./, true);
    const server = `https://${this.first.ip}:6443`;
    const token = await until('the server gives out a token', 2 * minute, async () => {
      const output = await this.first.appliance('token', 'create', '--role', 'server');
      return output.code === 0 && output.stdout.trim();
    });
    for (const { node } of this.machines.slice(1)) {
      const joined = await node.appliance('join', token, '--server', server, '--no-start');
      if (joined.code !== 0) throw new Error(`join of ${node.name}: ${joined.stdout}${joined.stderr}`);
      this.#run(node);
      // One after the other: their OSDs have the numbers of their machines.
      await this.pid(node, /^osd\./, true);
    }
    for (const { node, osd } of this.machines) {
      const own = await this.pid(node, /^osd\./, true);
      if (own.name !== `osd.${osd}`) throw new Error(`${node.name} has ${own.name}, expected osd.${osd}`);
    }
  }

  /** The command of the service: it stays, and waits for nothing. */
  #run(node: TestNode): void {
    Bun.spawn(node.inside(node.binary, '-c', node.configFile, 'run'), {
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'ignore',
      env: { ...(process.env as Record<string, string>), ...this.#env, NO_COLOR: '1' },
    });
  }

  async makePools(replicated: string, erasure: string): Promise<void> {
    const ceph = (...argv: string[]): Promise<string> => this.first.mustTool(['ceph', ...argv], { timeoutMs: minute });
    await ceph('osd', 'pool', 'create', replicated, '8', '--size', '3');
    await ceph('osd', 'erasure-code-profile', 'set', 'ec21', 'k=2', 'm=1', 'crush-failure-domain=host');
    await ceph('osd', 'pool', 'create', erasure, '8', '8', 'erasure', 'ec21');
    await ceph('osd', 'pool', 'set', erasure, 'allow_ec_overwrites', 'true');
    for (const pool of [replicated, erasure]) {
      await ceph('osd', 'pool', 'set', pool, 'pg_autoscale_mode', 'off');
      await ceph('osd', 'pool', 'application', 'enable', pool, 'test');
    }
  }

  /** Through the mons of all machines. */
  get admin(): AdminCommands {
    this.#commands ??= new AdminCommands(this.first);
    return this.#commands;
  }

  async tearDown(): Promise<void> {
    this.#commands?.end();
    for (const machine of this.machines) {
      this.#signalAllOf(machine, 'SIGKILL');
      await machine.disk.crash().catch(() => undefined);
      await run(['ip', 'netns', 'del', machine.node.namespace]);
    }
    await this.#network.remove();
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async pid(node: TestNode, name: RegExp, wait = false): Promise<{ name: string; pid: number }> {
    const find = async () =>
      (await node.status()).instances.find((one) => name.test(one.name) && one.pid !== undefined);
    const found = wait ? await until(`${node.name} has ${name.source}`, minute, find) : await find();
    if (found === undefined) throw new Error(`${node.name} has no ${name.source} that runs`);
    return { name: found.name, pid: found.pid! };
  }

  /** SIGKILL, SIGSTOP or SIGCONT to a role of a machine. */
  async signal(machine: Machine, role: RegExp, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<number> {
    const { pid } = await this.pid(machine.node, role, true);
    process.kill(pid, signal);
    return pid;
  }

  /** Everything stops and says no more; the disk forgets what was not stable; then all is ended. */
  async losePower(machines: readonly Machine[]): Promise<void> {
    for (const machine of machines) this.#signalAllOf(machine, 'SIGSTOP');
    for (const { disk } of machines) await disk.crash();
    for (const machine of machines) this.#signalAllOf(machine, 'SIGKILL');
  }

  /** The power is back. */
  async powerOn(machines: readonly Machine[]): Promise<void> {
    for (const { disk } of machines) await disk.start();
    for (const { node } of machines) {
      rmSync(node.runDir, { recursive: true, force: true });
      this.#run(node);
    }
  }

  #signalAllOf({ node }: Machine, signal: 'SIGSTOP' | 'SIGKILL'): void {
    for (let round = 0; round < 2; round++)
      for (const name of readdirSync('/proc')) {
        if (!/^\d+$/.test(name) || Number(name) === process.pid) continue;
        try {
          const command = readFileSync(`/proc/${name}/cmdline`, 'utf8');
          if (/test\/lossy\/|model_load\.py|commands\.py/.test(command)) continue;
          const inside = readlinkSync(`/proc/${name}/cwd`).startsWith(node.directory);
          if (command.includes(node.directory) || command.includes(node.runDir) || inside)
            process.kill(Number(name), signal);
        } catch {
          // It ended meanwhile.
        }
      }
  }

  /** Packets between the machine and `peers` (all others, when none are given) are dropped: both ways, or those that come in only. */
  async cut(machine: Machine, peers: readonly Machine[] = [], ways: 'both' | 'in' = 'both'): Promise<void> {
    const matches = (end: 'saddr' | 'daddr', link: 'iifname' | 'oifname'): string[] =>
      peers.length === 0
        ? [`${link} uplink drop`]
        : peers.map(({ node }) => `${link} uplink ip ${end} ${node.ip} drop`);
    const chain = (name: string, rules: string[]): string =>
      `chain ${name} { type filter hook ${name} priority -400; ${rules.join('; ')}; }`;
    const chains = [chain('input', matches('saddr', 'iifname'))];
    if (ways === 'both') chains.push(chain('output', matches('daddr', 'oifname')));
    await must(machine.node.inside('nft', `table inet cut {\n${chains.join('\n')}\n}`));
  }

  async mend(machine: Machine): Promise<void> {
    await must(machine.node.inside('nft', 'delete', 'table', 'inet', 'cut'));
  }

  /** Flips bits of the stable bytes of an OSD's data; how many. `holding`: only in blocks with these bytes, in hex. */
  async flipBits({ node, disk }: Machine, seed: number, count: number, holding = ''): Promise<number> {
    disk.sync();
    const file = disk.backingFile(join(node.directory, 'osd/data'));
    const script = join(import.meta.dirname, 'flip_bits.py');
    const text = await must([python, script, file, String(seed), String(count), holding], { timeoutMs: minute });
    return text.trim().split('\n').filter(Boolean).length;
  }

  /** Flips bits of maps that an OSD keeps: each has the id of the cluster. */
  async flipMaps(machine: Machine, seed: number): Promise<void> {
    const { fsid } = await this.status();
    const flipped = await this.flipBits(machine, seed, 5, fsid.replaceAll('-', ''));
    if (flipped === 0) throw new Error(`no map on the disk of ${machine.node.name}`);
  }

  async status(): Promise<Status> {
    return this.admin.mon<Status>('status');
  }

  /** Every mon in the quorum, every OSD up, every PG active and clean. An object that nobody has, while all are up, is lost. */
  async comeBack(timeoutMs = 4 * minute): Promise<void> {
    const unfoundMs = 45_000;
    let unfoundSince: number | undefined;
    let last = '';
    const outcome = await until('all are back, and every PG is active+clean', timeoutMs, async () => {
      const status = await this.status();
      const { num_osds, num_up_osds } = status.osdmap;
      const states = status.pgmap.pgs_by_state ?? [];
      last = JSON.stringify({
        quorum: status.quorum_names,
        num_up_osds,
        states,
        checks: Object.keys(status.health.checks),
      });
      const unfound = status.health.checks.OBJECT_UNFOUND;
      if (unfound === undefined || num_up_osds < num_osds) unfoundSince = undefined;
      else unfoundSince ??= performance.now();
      if (unfound && unfoundSince !== undefined && performance.now() - unfoundSince > unfoundMs)
        return `LOST: ${unfound.summary.message}`;
      // A scrub that runs is none of a PG's troubles.
      const clean = states.filter(({ state_name }) => /^active\+clean(\+scrubbing(\+deep)?)?$/.test(state_name));
      const pgs = clean.reduce((sum, { count }) => sum + count, 0);
      return (
        status.quorum_names.length === this.machines.length &&
        num_up_osds === this.machines.length &&
        pgs > 0 &&
        pgs === status.pgmap.num_pgs &&
        'clean'
      );
    }).catch((error: unknown) => {
      throw new Error(`${error instanceof Error ? error.message : String(error)}: ${last}`, { cause: error });
    });
    if (outcome !== 'clean') throw new Error(outcome);
  }

  async #pgs(): Promise<
    { pgid: string; state: string; last_deep_scrub_stamp: string; stat_sum: { num_scrub_errors: number } }[]
  > {
    const { pg_stats } = await this.admin.mgr<{ pg_stats: { pgid: string }[] }>('pg ls');
    // Pool 1 is that of the volumes, of which there are none.
    return pg_stats.filter(({ pgid }) => !pgid.startsWith('1.')) as never[];
  }

  /** Each PG is compared, every byte of it, and mended; then compared again: nothing may be left. */
  async scrub(repair: boolean): Promise<void> {
    for (const how of repair ? ['repair', 'deep-scrub'] : ['deep-scrub']) {
      const before = new Map((await this.#pgs()).map((pg) => [pg.pgid, pg.last_deep_scrub_stamp]));
      for (const pgid of before.keys()) await this.admin.mgr(`pg ${how}`, { pgid });
      await until(`${how} of every PG`, 6 * minute, async () =>
        (await this.#pgs()).every(
          (pg) => pg.last_deep_scrub_stamp !== before.get(pg.pgid) && /^active\+clean$/.test(pg.state),
        ),
      ).catch(async (error: unknown) => {
        const left = (await this.#pgs()).map(({ pgid, state }) => `${pgid} ${state}`).join(', ');
        throw new Error(`${String(error)}: ${left}`, { cause: error });
      });
    }
    const wrong = (await this.#pgs()).filter((pg) => pg.stat_sum.num_scrub_errors > 0);
    if (wrong.length > 0) {
      const pgid = wrong[0]!.pgid;
      const listed = await this.first.tool(['rados', 'list-inconsistent-obj', pgid], { timeoutMs: 30_000 });
      throw new Error(
        `DAMAGED: a scrub found copies of ${wrong.map((pg) => pg.pgid).join(', ')} that differ: ${listed.stdout.slice(0, 1500)}`,
      );
    }
  }
}
