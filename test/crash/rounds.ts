import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorText } from '../../internal/base/errors.ts';
import { type Random, seededRandom } from '../../internal/base/random.ts';
import { must, root, run, TestNode, until } from '../e2e/harness.ts';
import { LossyMount } from '../lossy/lossy.ts';
import { RadosLoad, type ObjectVersions, verifyObjects } from './rados-load.ts';

const minute = 60_000;
const pool = 'crash';
/** Objects that no OSD has for so long, while all are up, are lost. */
const unfoundMs = 45_000;
/** A container that was killed often is restarted after up to five minutes (the kubelet's back-off). */
const readyMs = 7 * minute;

/** What may be killed; `power` loses what was not synced as well. */
const targets = [
  'container',
  'mon',
  'mgr',
  'osd.0',
  'osd.1',
  'osd.2',
  'two osds',
  'server',
  'containerd',
  'agent',
  'edge',
  'rbd-fuse',
  'everything',
  'power',
  'power',
] as const;
export type Target = (typeof targets)[number];

/**
 * A node under load from librados and from a pod whose whole data directory stands on a file system that forgets what was not synced. `round` kills
 * something at a random moment, waits until all is well again, and throws when anything that was acknowledged is missing.
 */
export class CrashRounds {
  readonly #random: Random;
  readonly #seed: number;
  readonly #directory = mkdtempSync(join(tmpdir(), 'crash-'));
  readonly #lossy: LossyMount;
  readonly #options: { binary?: string; env?: Record<string, string> };
  readonly #objects: ObjectVersions = new Map();
  #node: TestNode | undefined;
  #records = 0;

  constructor(options: { seed: number; ignoreSync?: string; binary?: string; env?: Record<string, string> }) {
    this.#seed = options.seed;
    chmodSync(this.#directory, 0o755);
    this.#random = seededRandom(options.seed);
    this.#options = options;
    this.#lossy = new LossyMount(join(this.#directory, 'backing'), join(this.#directory, 'disk'), {
      seed: options.seed,
      early: 0.3,
      ...(options.ignoreSync === undefined ? {} : { ignoreSync: options.ignoreSync }),
    });
  }

  get node(): TestNode {
    return this.#node!;
  }

  async setUp(): Promise<void> {
    await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
    await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
    await this.#lossy.start();
    const runDir = join(this.#directory, 'run');
    const disk = join(this.#directory, 'disk/node');
    mkdirSync(disk, { recursive: true });
    // Small files: the forgetful disk lives in memory until a sync.
    const osd = [0, 1, 2].map((id) => `    - {id: ${id}, file: ${disk}/osd.${id}.img, size: 2Gi}`);
    this.#node = new TestNode({
      directory: disk,
      runDir,
      config: ['storage:', '  osd:', ...osd].join('\n'),
      ...this.#options,
    });
    await this.node.makeNetwork();
    await this.node.up(150_000);
    await this.node.mustTool(['ceph', 'osd', 'pool', 'create', pool, '16']);
    await this.node.mustTool(['ceph', 'osd', 'pool', 'application', 'enable', pool, 'test']);
    // The kernel does not tell FUSE of syncfs(2), by which the node makes unpacked images stable.
    this.#lossy.sync();
    await this.node.mustKubectl(['apply', '-f', join(root, 'examples/counter.yaml')]);
    await this.#comeBack();
  }

  pick(): { target: Target; delayMs: number } {
    const wanted = process.env.CRASH_TARGET as Target | undefined;
    return {
      target: wanted ?? targets[this.#random.uint32() % targets.length]!,
      delayMs: 500 + (this.#random.uint32() % 4000),
    };
  }

  async round(number: number, target: Target, delayMs: number): Promise<void> {
    const load = new RadosLoad(this.node, pool, this.#seed + number, this.#objects);
    try {
      await until('the load runs', minute, async () => load.acks > 20);
      await Bun.sleep(delayMs);
      this.#records = Math.max(this.#records, await this.#acknowledgedRecords());
      if (target === 'power' || target === 'everything') {
        await (target === 'power' ? this.#losePower() : this.#killEverything());
        await load.stop();
        await this.#upAgain();
      } else {
        await this.#kill(target);
        const before = load.acks;
        await until('writes go on', 2 * minute, async () => load.acks > before + 20);
      }
    } finally {
      await load.stop();
    }
    await this.#comeBack();
    await verifyObjects(this.node, pool, this.#objects);
    await this.#changePrimary(number % 3);
    await verifyObjects(this.node, pool, this.#objects);
    await this.#verifyRecords();
  }

  /** Lets one OSD answer all reads from now on: what it holds must be as good as what the others hold. */
  async #changePrimary(primary: number): Promise<void> {
    for (const id of [0, 1, 2])
      await this.node.mustTool(['ceph', 'osd', 'primary-affinity', String(id), id === primary ? '1' : '0']);
    await this.#comeBack();
  }

  async tearDown(): Promise<void> {
    if (this.#node) {
      await this.#killEverything();
      await this.#detachMounts();
      await run(['ip', 'netns', 'del', this.node.namespace]);
    }
    await this.#lossy.crash().catch(() => undefined);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  async #upAgain(): Promise<void> {
    try {
      await this.node.up(150_000);
    } catch (error) {
      const { stdout } = await this.node.tool(['ceph', 'health', 'detail'], { timeoutMs: 20_000 });
      if (/unfound|damage/i.test(stdout)) throw new Error(`LOST: ${stdout}`, { cause: error });
      throw error;
    }
  }

  async #comeBack(): Promise<void> {
    let unfoundSince: number | undefined;
    const lost = await until('HEALTH_OK and clean', 3 * minute, async () => {
      const status = JSON.parse(await this.node.mustTool(['ceph', '-s', '-f', 'json'], { timeoutMs: 20_000 })) as {
        health: { status: string; checks: Record<string, { summary: { message: string } }> };
        osdmap: { num_osds: number; num_up_osds: number };
        pgmap: { num_pgs: number; pgs_by_state: { state_name: string; count: number }[] };
      };
      const unfound = status.health.checks.OBJECT_UNFOUND;
      // With every OSD up nobody is left who could have it.
      if (!unfound || status.osdmap.num_up_osds < status.osdmap.num_osds) unfoundSince = undefined;
      else unfoundSince ??= performance.now();
      if (unfound && unfoundSince !== undefined && performance.now() - unfoundSince > unfoundMs)
        return unfound.summary.message;
      const clean = status.pgmap.pgs_by_state.find((state) => state.state_name === 'active+clean')?.count ?? 0;
      return (
        status.health.status === 'HEALTH_OK' && status.pgmap.num_pgs > 0 && clean === status.pgmap.num_pgs && 'clean'
      );
    });
    if (lost !== 'clean') throw new Error(`LOST: ${lost}`);
    try {
      await until('the counter is ready', readyMs, async () => {
        const output = await this.node.kubectl(
          ['-n', 'counter', 'wait', '--for=condition=Ready', 'pod/counter-0', '--timeout=5s'],
          { timeoutMs: 20_000 },
        );
        return output.code === 0;
      });
    } catch (error) {
      const { stdout } = await this.node.kubectl(['-n', 'counter', 'describe', 'pod/counter-0'], { timeoutMs: 20_000 });
      const log = readFileSync(`${this.node.data}/logs/agent.log`, 'utf8').split('\n').slice(-60).join('\n');
      throw new Error(`${errorText(error)}\n${stdout}\n${log}`, { cause: error });
    }
  }

  async #verifyRecords(): Promise<void> {
    const text = await until('the records can be read', 2 * minute, async () => {
      const output = await this.node.kubectl(
        ['-n', 'counter', 'exec', 'counter-0', '-c', 'counter', '--', 'cat', '/data/records'],
        { timeoutMs: 20_000 },
      );
      return output.code === 0 && output.stdout;
    });
    const lines = text.split('\n');
    lines.pop();
    lines.forEach((line, index) => {
      const [number, time, sum] = line.split(' ');
      const expected = new Bun.CryptoHasher('sha256').update(`${number} ${time} pepper`).digest('hex');
      if (Number(number) !== index + 1 || sum !== expected)
        throw new Error(`record ${index + 1} of ${lines.length} is damaged: ${line}`);
    });
    if (lines.length < this.#records)
      throw new Error(`LOST: ${lines.length} records, ${this.#records} were acknowledged`);
    this.#records = lines.length;
  }

  /** The newest acknowledged record, from the container's log on disk: it is there also while the API server is not. */
  async #acknowledgedRecords(): Promise<number> {
    const logs = `${this.node.data}/logs/pods/counter_counter-0_*/counter`;
    const text = await must(['sh', '-c', `cat ${logs}/*.log 2>/dev/null || true`]);
    let newest = 0;
    for (const match of text.matchAll(/ ack (\d+)$/gm)) newest = Math.max(newest, Number(match[1]));
    return newest;
  }

  async #kill(target: Target): Promise<void> {
    const pids: number[] = [];
    if (target === 'rbd-fuse' || target === 'container') {
      // Other nodes may run on this machine: only our own.
      const ours = new Set(this.#processes());
      const pattern = target === 'rbd-fuse' ? '^rbd-fuse' : 'sh /scripts/counter.sh';
      const found = (await run(['pgrep', '-f', pattern])).stdout.split('\n').filter(Boolean).map(Number);
      pids.push(...found.filter((pid) => ours.has(pid)));
    } else {
      const names = target === 'two osds' ? ['osd.0', 'osd.2'] : [target];
      for (const instance of (await this.node.status()).instances)
        if (names.includes(instance.name) && instance.pid) pids.push(instance.pid);
    }
    if (pids.length === 0) throw new Error(`nothing to kill for ${target}`);
    killAll(pids);
  }

  async #killEverything(): Promise<void> {
    killAll([this.node.supervisorPid, ...this.#processes()]);
    await Bun.sleep(100);
    killAll(this.#processes());
  }

  /** Processes that name our directory, live on our disk, or are in a container of one that does. */
  #processes(): number[] {
    const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid);
    const parents = new Map<number, number>();
    const ours = new Set<number>();
    for (const name of pids) {
      try {
        parents.set(Number(name), Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${name}/status`, 'utf8'))?.[1]));
        const command = readFileSync(`/proc/${name}/cmdline`, 'utf8');
        if (command.includes('test/lossy/')) continue;
        if (command.includes(this.#directory) || readlinkSync(`/proc/${name}/cwd`).startsWith(this.#directory))
          ours.add(Number(name));
      } catch {
        // It ended meanwhile.
      }
    }
    for (let grown = true; grown; ) {
      grown = false;
      for (const [pid, parent] of parents) if (ours.has(parent) && !ours.has(pid)) grown = ours.add(pid) !== undefined;
    }
    return [...ours];
  }

  /** The disk first: from that moment nothing more becomes stable. Then everything that a reboot would have ended. */
  async #losePower(): Promise<void> {
    await this.#lossy.crash();
    await this.#killEverything();
    await this.#detachMounts();
    rmSync(this.node.runDir, { recursive: true, force: true });
    await run(['ip', 'netns', 'del', this.node.namespace]);
    await this.node.makeNetwork();
    await this.#lossy.start();
  }

  async #detachMounts(): Promise<void> {
    // While the mounts stand, a loop device still names the file that it is on.
    for (const line of (await must(['losetup', '-l', '-n', '-O', 'NAME,BACK-FILE'])).split('\n'))
      if (line.includes(this.#directory)) await run(['losetup', '-d', line.split(' ')[0]!]);
    for (let round = 0; round < 5; round++) {
      const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .map((line) => line.split(' ')[4] ?? '')
        .filter((target) => target.startsWith(`${this.#directory}/`) && target !== this.#lossy.mountpoint);
      if (mounts.length === 0) break;
      for (const target of mounts.reverse()) await run(['umount', '-l', target]);
    }
  }
}

function killAll(pids: readonly number[]): void {
  for (const pid of pids)
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It died with its parent.
    }
}
