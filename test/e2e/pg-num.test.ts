import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { join } from 'node:path';
import { CephCluster } from './ceph-cluster.ts';
import { until } from './harness.ts';

const minute = 60_000;
const cluster = new CephCluster('pg-num', 23_970);
const must = (argv: string[], input = ''): Promise<string> => cluster.must(argv, input);

interface PoolRow {
  pool_name: string;
  pg_num: number;
  pg_placement_num: number;
  pg_num_target: number;
}

async function pool(): Promise<PoolRow> {
  const rows = JSON.parse(await must(['ceph', 'osd', 'pool', 'ls', 'detail', '--format', 'json'])) as PoolRow[];
  return rows.find((row) => row.pool_name === 'p')!;
}

/** Asks for another pg_num and waits until PGs and places are as many, and all clean. */
async function reach(pgNum: number): Promise<void> {
  const { stderr } = await cluster.tool(['ceph', 'osd', 'pool', 'set', 'p', 'pg_num', String(pgNum)]);
  expect(stderr).toBe(`set pool 1 pg_num to ${pgNum}\n`);
  await until(`${pgNum} PGs`, 8 * minute, async () => {
    const { pg_num, pg_placement_num } = await pool();
    if (pg_num !== pgNum || pg_placement_num !== pgNum) return false;
    return new RegExp(`^${pgNum} pgs: ${pgNum} active\\+clean;`).test(await must(['ceph', 'pg', 'stat']));
  });
}

/** Where `osdmaptool` puts the PGs of the cluster's own map, and where the OSDs have them. */
async function expectPlacedAsOracle(): Promise<void> {
  const file = join(cluster.directory, 'osdmap');
  await must(['ceph', 'osd', 'getmap', '-o', file]);
  const tool = Bun.spawnSync(['osdmaptool', file, '--test-map-pgs-dump', '--pool', '1']);
  const oracle = new Map(
    [...tool.stdout.toString().matchAll(/^(1\.[0-9a-f]+)\s+\[([\d,]*)\]/gm)].map((m) => [m[1]!, m[2]!]),
  );
  const { pg_stats } = JSON.parse(await must(['ceph', 'pg', 'ls', '--format', 'json'])) as {
    pg_stats: { pgid: string; up: number[] }[];
  };
  expect(new Map(pg_stats.map(({ pgid, up }) => [pgid, up.join(',')]))).toEqual(oracle);
}

const names = Array.from({ length: 24 }, (_, i) => `kept-${i}`);
const contentOf = (name: string): string => `${name};`.repeat(700);

beforeAll(async () => {
  await cluster.start(3);
  await must(['ceph', 'osd', 'pool', 'create', 'p', '8']);
  await must(['ceph', 'osd', 'pool', 'application', 'enable', 'p', 'test']);
  await until('all PGs are clean', minute, async () => /8 active\+clean/.test(await must(['ceph', 'pg', 'stat'])));
  await must(['ceph', 'config', 'set', 'mgr', 'mgr_debug_aggressive_pg_num_changes', 'true']);
}, 3 * minute);

function watch(object: string) {
  const child = Bun.spawn(['rados', '-c', cluster.conf, '-p', 'p', 'watch', object], {
    stdin: 'pipe',
    stdout: 'pipe',
    stderr: 'pipe',
  });
  watchers.push(child);
  return child;
}
const watchers: Bun.Subprocess[] = [];

afterAll(async () => {
  for (const child of watchers) child.kill();
  await cluster.stop();
}, minute);

async function expectAllKept(): Promise<void> {
  const listed = (await must(['rados', '-p', 'p', 'ls'])).split('\n').filter((name) => name.startsWith('kept-'));
  expect(listed.sort()).toEqual([...names].sort());
  for (const name of names) {
    expect(await must(['rados', '-p', 'p', 'get', name, '-'])).toBe(contentOf(name));
    expect(await must(['rados', '-p', 'p', 'getomapval', name, 'key'])).toContain(`${name.length + 1} bytes`);
  }
  expect(await must(['rados', '-p', 'p', '-s', 'before', 'get', 'snapped', '-'])).toMatch(/old$/);
  expect(await must(['rados', '-p', 'p', 'get', 'snapped', '-'])).toBe('new');
}

describe('pg_num, with the unmodified tools', () => {
  test(
    'from 8 to 32 and back under load: every object is read back, nobody fails, a watch lives on',
    async () => {
      for (const name of names) {
        await must(['rados', '-p', 'p', 'put', name, '-'], contentOf(name));
        await must(['rados', '-p', 'p', 'setomapval', name, 'key', `=${name}`]);
      }
      await must(['rados', '-p', 'p', 'put', 'snapped', '-'], 'old');
      await must(['rados', '-p', 'p', 'mksnap', 'before']);
      await must(['rados', '-p', 'p', 'put', 'snapped', '-'], 'new');
      const watcher = watch('kept-0');
      const load = (seconds: number, run: string): Promise<string> =>
        must([
          ...['rados', '-p', 'p', 'bench', String(seconds), 'write', '-b', '4096', '-t', '4'],
          ...['--run-name', run, '--no-cleanup'],
        ]);
      await until(
        'the watch stands',
        minute,
        async () => (await must(['rados', '-p', 'p', 'listwatchers', 'kept-0'])) !== '',
      );

      const up = load(20, 'up');
      await Bun.sleep(2000);
      await reach(32);
      await expectPlacedAsOracle();
      await up;
      await expectAllKept();

      const down = load(30, 'down');
      await Bun.sleep(2000);
      await reach(8);
      await expectPlacedAsOracle();
      await down;
      await expectAllKept();
      for (const run of ['up', 'down'])
        await must(['rados', '-p', 'p', 'bench', '60', 'seq', '-t', '4', '--run-name', run]);

      await must(['rados', '-p', 'p', 'notify', 'kept-0', 'hello']);
      watcher.stdin.write('\n');
      watcher.stdin.end();
      expect(await new Response(watcher.stdout).text()).toContain('NOTIFY');
      for (const store of cluster.stores)
        expect(store.collections().filter((cid) => cid.startsWith('1.'))).toHaveLength(8);
    },
    12 * minute,
  );
});
