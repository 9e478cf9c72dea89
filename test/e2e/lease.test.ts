import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { must, root, TestNode, TestSwitch, until } from './harness.ts';

/** Read leases between two machines: one has the mon and two OSDs, the other one an OSD and a client beside it. Its cable is pulled out. */

const minute = 60_000;
const network = new TestSwitch();
const directory = mkdtempSync(join(tmpdir(), 'node-'));
const osds = (...names: string[]): string =>
  `storage: {osd: [${names.map((name) => `{directory: ${directory}/${name}, size: 1Gi}`).join(', ')}]}`;
const server = new TestNode({ network, config: osds('a', 'b') });
const second = new TestNode({ name: 'node-2', ip: '10.98.0.2', network, config: osds('c') });
const pool = 'leases';
/** The lease of the test: 20 s × 0.2. */
const ratio = '0.2';

const client = (node: TestNode, object: string, ...argv: string[]): string[] =>
  node.inside('/usr/bin/python3', join(root, 'test/e2e/lease_client.py'), server.cephConf, pool, object, ...argv);

const ceph = async <T>(...argv: string[]): Promise<T> =>
  JSON.parse(await server.mustTool(['ceph', ...argv, '-f', 'json'])) as T;

/** An object whose PG the OSD leads. */
async function objectOf(osd: number): Promise<string> {
  for (let i = 0; ; i++) {
    const { acting_primary } = await ceph<{ acting_primary: number }>('osd', 'map', pool, `o${i}`);
    if (acting_primary === osd) return `o${i}`;
  }
}

interface Sample {
  sent: number;
  answered: number;
  content: string;
}
const samples = (file: string): Sample[] =>
  readFileSync(file, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => {
      const [sent, answered, content] = line.split(' ');
      return { sent: Number(sent), answered: Number(answered), content: content! };
    });

const allUp = () =>
  until('three OSDs are up and the PGs clean', 3 * minute, async () => {
    const { num_up_osds } = await ceph<{ num_up_osds: number }>('osd', 'stat');
    const { pg_stats } = await ceph<{ pg_stats: { state: string }[] }>('pg', 'ls-by-pool', pool);
    return num_up_osds === 3 && pg_stats.length === 8 && pg_stats.every(({ state }) => state === 'active+clean');
  });

let remote = 0;

beforeAll(async () => {
  await network.make();
  for (const node of [server, second]) await node.makeNetwork();
  await server.up(200_000);
  const token = await server.appliance('token', 'create');
  await second.start(['join', token.stdout.trim(), '--server', `https://${server.ip}:6443`], 200_000);
  await server.mustTool(['ceph', 'config', 'set', 'osd', 'osd_pool_default_read_lease_ratio', ratio]);
  await server.mustTool(['ceph', 'osd', 'crush', 'rule', 'create-replicated', 'by-osd', 'default', 'osd']);
  await server.mustTool(['ceph', 'osd', 'pool', 'create', pool, '8', '8', 'replicated', 'by-osd']);
  await server.mustTool(['ceph', 'osd', 'pool', 'set', pool, 'size', '3']);
  await server.mustTool(['ceph', 'osd', 'pool', 'application', 'enable', pool, 'test']);
  const tree = await ceph<{ nodes: { name: string; children?: number[] }[] }>('osd', 'tree');
  remote = tree.nodes.find(({ name }) => name === 'node-2')!.children![0]!;
  await allUp();
}, 10 * minute);

afterAll(async () => {
  for (const node of [second, server]) await node.remove();
  await network.remove();
  rmSync(directory, { recursive: true, force: true });
}, 4 * minute);

describe('read leases', () => {
  test('a primary whose cable is pulled out answers the client beside it for a while, but nothing that was overwritten; back again it gives the new content', {
    timeout: 5 * minute,
  }, async () => {
    const object = await objectOf(remote);
    await must(client(server, object, 'write', 'old'));
    const file = join(directory, 'reads');
    writeFileSync(file, '');
    const reader = Bun.spawn(client(second, object, 'read'), { stdout: Bun.file(file), stderr: 'inherit' });
    try {
      await until('the client beside the primary reads', minute, async () => samples(file).length > 20);
      await network.connect(second, false);
      const before = samples(file).length;
      await until('it still reads', minute, async () => samples(file).length > before + 5);
      await server.mustTool(['ceph', 'osd', 'down', String(remote)]);
      const [, acknowledged] = (await must(client(server, object, 'write', 'new'))).trim().split(' ').map(Number);
      // Whatever it would tell now is told.
      await Bun.sleep(5000);
      const cut = samples(file);
      expect(cut.length).toBeGreaterThan(before + 5);
      expect(cut.filter(({ sent, content }) => sent > acknowledged! && content !== 'new')).toEqual([]);
      expect(cut.at(-1)!.content).toBe('old');

      await network.connect(second, true);
      await until('it reads what was written', 2 * minute, async () => samples(file).at(-1)!.content === 'new');
      expect(samples(file).filter(({ sent, content }) => sent > acknowledged! && content !== 'new')).toEqual([]);
    } finally {
      reader.kill('SIGKILL');
    }
    await allUp();
  });

  test('replicas answer reads from any copy, and never with less than was acknowledged', {
    timeout: 5 * minute,
  }, async () => {
    const object = await objectOf(remote);
    const served = async (): Promise<number> => {
      let sum = 0;
      for (const osd of [0, 1, 2]) {
        const { osd: counts } = await ceph<{ osd: { replica_read_served: number } }>(
          'tell',
          `osd.${osd}`,
          'perf',
          'dump',
        );
        sum += counts.replica_read_served;
      }
      return sum;
    };
    const before = await served();
    for (let round = 0; round < 5; round++) {
      await must(client(server, object, 'write', `text-${round}`));
      const seen = (await must(client(server, object, 'any', '30'))).trim().split('\n');
      expect([...new Set(seen)]).toEqual([`text-${round}`]);
    }
    // Replicas are told by the next renewal that the last write is on all disks.
    await until('replicas answer', minute, async () => {
      await must(client(server, object, 'any', '30'));
      return (await served()) > before;
    });
  });

  test('an RBD image read with rbd_read_from_replica_policy is what was written', { timeout: 3 * minute }, async () => {
    const file = (name: string): string => join(directory, name);
    writeFileSync(file('image'), Buffer.alloc(8 << 20, 'a text that repeats. '));
    await server.mustTool(['rbd', 'import', file('image'), `${pool}/image`]);
    for (const policy of ['balance', 'localize']) {
      const out = file(`exported-${policy}`);
      await server.mustTool(['rbd', '--rbd_read_from_replica_policy', policy, 'export', `${pool}/image`, out]);
      expect(readFileSync(out).equals(readFileSync(file('image')))).toBe(true);
    }
  });
});
