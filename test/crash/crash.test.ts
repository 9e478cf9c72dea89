import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seededRandom } from '../../internal/base/random.ts';
import { must, root, run, TestNode, until } from '../e2e/harness.ts';

/**
 * Crash rounds: under load from `rados` and from a pod, something is killed at a random moment; after the node came back by itself (or by the
 * same command) nothing that was acknowledged may be missing. `CRASH_ROUNDS` (50) and `CRASH_SEED` choose how many and which.
 */

const rounds = Number(process.env.CRASH_ROUNDS ?? 50);
const seed = Number(process.env.CRASH_SEED ?? Math.floor(Date.now() / 1000));
const minute = 60_000;
const node = new TestNode();
const pool = 'crash';
const python = '/usr/bin/python3';
const script = join(root, 'test/crash/rados_load.py');

/** What each object is known to hold: the newest acknowledged and the newest tried version. */
const objects = new Map<string, { acked: number; tried: number }>();
let records = 0;

class RadosLoad {
  readonly #child: Bun.Subprocess<'pipe', 'pipe', 'pipe'>;
  readonly #done: Promise<void>;
  acks = 0;

  constructor(round: number) {
    const child = Bun.spawn(node.inside(python, script, node.cephConf, pool, 'write', String(seed + round)), {
      stdin: 'pipe',
      stdout: 'pipe',
      stderr: 'pipe',
    });
    for (const [name, { tried }] of objects) child.stdin.write(`${name} ${tried}\n`);
    void child.stdin.end();
    this.#child = child;
    this.#done = (async () => {
      let rest = '';
      const decoder = new TextDecoder();
      for await (const chunk of child.stdout) {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
        rest = lines.pop()!;
        for (const line of lines) {
          const [what, name, version] = line.split(' ') as [string, string, string];
          const object = objects.get(name) ?? { acked: 0, tried: 0 };
          if (what === 'try') object.tried = Math.max(object.tried, Number(version));
          else {
            object.acked = Math.max(object.acked, Number(version));
            this.acks++;
          }
          objects.set(name, object);
        }
      }
    })();
  }

  async stop(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.#done;
  }
}

async function verifyObjects(): Promise<void> {
  const input = [...objects].map(([name, { acked, tried }]) => `${name} ${acked} ${tried}\n`).join('');
  const output = await run(node.inside(python, script, node.cephConf, pool, 'verify'), {
    input,
    timeoutMs: 2 * minute,
  });
  if (output.code !== 0) throw new Error(`seed ${seed}: ${output.stdout}${output.stderr}`);
  // What was read is what stands: a version that was only tried may not vanish again.
}

async function verifyRecords(): Promise<void> {
  const text = await until('the records can be read', 2 * minute, async () => {
    const output = await node.kubectl(
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
      throw new Error(`seed ${seed}: record ${index + 1} of ${lines.length} is damaged: ${line}`);
  });
  if (lines.length < records) throw new Error(`seed ${seed}: ${lines.length} records, ${records} were acknowledged`);
  records = lines.length;
}

/** The newest acknowledged record, from the container's log on disk: it is there also while the API server is not. */
async function acknowledgedRecords(): Promise<number> {
  const text = await must([
    'sh',
    '-c',
    `cat ${node.data}/logs/pods/counter_counter-0_*/counter/*.log ${node.data}/logs/pods/counter_counter-0_*/counter/*.log.* 2>/dev/null || true`,
  ]);
  let newest = 0;
  for (const match of text.matchAll(/ ack (\d+)$/gm)) newest = Math.max(newest, Number(match[1]));
  return newest;
}

async function comeBack(): Promise<void> {
  await until('HEALTH_OK and clean', 3 * minute, async () => {
    const status = JSON.parse(await node.mustTool(['ceph', '-s', '-f', 'json'], { timeoutMs: 20_000 })) as {
      health: { status: string };
      pgmap: { num_pgs: number; pgs_by_state: { state_name: string; count: number }[] };
    };
    const clean = status.pgmap.pgs_by_state.find((state) => state.state_name === 'active+clean')?.count ?? 0;
    return status.health.status === 'HEALTH_OK' && clean === status.pgmap.num_pgs;
  });
  await until('the counter is ready', 3 * minute, async () => {
    const output = await node.kubectl(
      ['-n', 'counter', 'wait', '--for=condition=Ready', 'pod/counter-0', '--timeout=5s'],
      { timeoutMs: 20_000 },
    );
    return output.code === 0;
  });
}

beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await node.makeNetwork();
  await node.up(150_000);
  await node.mustTool(['ceph', 'osd', 'pool', 'create', pool, '16']);
  await node.mustTool(['ceph', 'osd', 'pool', 'application', 'enable', pool, 'test']);
  await node.mustKubectl(['apply', '-f', join(root, 'examples/counter.yaml')]);
  await comeBack();
}, 8 * minute);
afterAll(() => node.remove(), 3 * minute);

describe('crash', () => {
  const random = seededRandom(seed);
  for (let round = 1; round <= rounds; round++) {
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
      'everything',
    ];
    const target = targets[random.uint32() % targets.length]!;
    const delayMs = 500 + (random.uint32() % 4000);
    test(`round ${round}: kill -9 of ${target} after ${delayMs} ms`, { timeout: 10 * minute }, async () => {
      const load = new RadosLoad(round);
      await until('the load runs', minute, async () => load.acks > 20);
      await Bun.sleep(delayMs);
      const everything = target === 'everything';
      await kill(target);
      if (everything) {
        await load.stop();
        records = Math.max(records, await acknowledgedRecords());
        await node.up(150_000);
      } else {
        const before = load.acks;
        await until('writes go on', 2 * minute, async () => load.acks > before + 20);
        await load.stop();
        records = Math.max(records, await acknowledgedRecords());
      }
      await comeBack();
      await verifyObjects();
      await verifyRecords();
      expect(load.acks).toBeGreaterThan(0);
    });
  }
});

async function kill(target: string): Promise<void> {
  const pids: number[] = [];
  if (target === 'everything')
    pids.push(node.supervisorPid, ...(await node.traces()).processes.map((line) => Number(line.split(' ')[0])));
  else if (target === 'rbd-fuse' || target === 'container') {
    const pattern = target === 'rbd-fuse' ? `rbd-fuse.*${node.directory}` : 'scripts/counter.sh';
    const found = await run(['pgrep', '-f', pattern]);
    pids.push(
      ...found.stdout
        .split('\n')
        .filter(Boolean)
        .map(Number)
        .filter((pid) => pid !== process.pid),
    );
  } else {
    const names = target === 'two osds' ? ['osd.0', 'osd.2'] : [target];
    for (const instance of (await node.status()).instances)
      if (names.includes(instance.name) && instance.pid) pids.push(instance.pid);
  }
  expect(pids.length, `nothing to kill for ${target}`).toBeGreaterThan(0);
  for (const pid of pids)
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It died with its parent.
    }
}
