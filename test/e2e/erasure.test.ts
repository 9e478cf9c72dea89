import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { firstObjectKey, objectOfKey } from '../../internal/ceph/osd/object-key.ts';
import { CephCluster } from './ceph-cluster.ts';
import { until } from './harness.ts';

const minute = 60_000;
const cluster = new CephCluster('erasure', 24_150);
const tool = cluster.tool.bind(cluster);
const must = cluster.must.bind(cluster);
const file = (name: string): string => join(cluster.directory, name);

async function allClean(pgs: number): Promise<void> {
  const clean = new RegExp(`^${pgs} pgs: ${pgs} active\\+clean`);
  await until('all PGs are clean', minute, async () => clean.test(await must(['ceph', 'pg', 'stat'])));
}

/** What `rados get` gives of an object. */
async function get(pool: string, object: string): Promise<Buffer> {
  await must(['rados', '-p', pool, 'get', object, file('got')]);
  return readFileSync(file('got'));
}

beforeAll(async () => {
  await cluster.start(4);
  const profile = ['ceph', 'osd', 'erasure-code-profile', 'set', 'ec22', 'k=2', 'm=2', 'crush-failure-domain=osd'];
  await must(profile);
  await must(['ceph', 'osd', 'pool', 'create', 'ec', '4', '4', 'erasure', 'ec22']);
  await must(['ceph', 'osd', 'pool', 'application', 'enable', 'ec', 'test']);
  await allClean(4);
}, 3 * minute);

afterAll(() => cluster.stop(), minute);

interface PoolRow {
  pool_name: string;
  pg_num: number;
  pg_placement_num: number;
}

/** Asks for another pg_num and waits until PGs and places are as many, and all clean. `meanwhile` runs every few seconds until then. */
async function reach(pool: string, pgNum: number, meanwhile: () => Promise<void>): Promise<void> {
  expect((await tool(['ceph', 'osd', 'pool', 'set', pool, 'pg_num', String(pgNum)])).stderr).toMatch(
    new RegExp(`^set pool \\d+ pg_num to ${pgNum}\n$`),
  );
  await until(`${pgNum} PGs`, 6 * minute, async () => {
    await meanwhile();
    const rows = JSON.parse(await must(['ceph', 'osd', 'pool', 'ls', 'detail', '--format', 'json'])) as PoolRow[];
    const { pg_num, pg_placement_num } = rows.find((row) => row.pool_name === pool)!;
    return pg_num === pgNum && pg_placement_num === pgNum;
  });
  await allClean(pgNum);
}

describe('erasure-coded pools, with the unmodified tools', () => {
  test('profiles, pool and rule look as those of 16.2.15', async () => {
    expect(await must(['ceph', 'osd', 'erasure-code-profile', 'ls'])).toBe('default\nec22\n');
    expect(await must(['ceph', 'osd', 'pool', 'ls', 'detail'])).toContain(
      "'ec' erasure profile ec22 size 4 min_size 3 crush_rule 1 object_hash rjenkins pg_num 4 pgp_num 4",
    );
    expect(await must(['ceph', 'osd', 'crush', 'rule', 'ls'])).toContain('ec\n');
    const busy = await tool(['ceph', 'osd', 'erasure-code-profile', 'rm', 'ec22']);
    expect([busy.code, busy.stderr]).toEqual([
      16,
      "Error EBUSY: ec pool(s) are using the erasure code profile 'ec22'\n",
    ]);
  });

  test(
    'objects of all sizes come back, also with two OSDs down, and again when they are back',
    async () => {
      const kept = new Map<string, Buffer>();
      for (const size of [0, 1, 4096, 8191, 8192, 100_000, 5_000_000]) {
        const bytes = randomBytes(size);
        kept.set(`o${size}`, bytes);
        writeFileSync(file('put'), bytes);
        await must(['rados', '-p', 'ec', 'put', `o${size}`, file('put')]);
      }
      const check = async (): Promise<void> => {
        for (const [name, bytes] of kept) expect((await get('ec', name)).equals(bytes), name).toBe(true);
      };
      await check();
      await cluster.stopOsd(3);
      await check();
      const bytes = randomBytes(50_000);
      kept.set('o4096', bytes);
      writeFileSync(file('put'), bytes);
      await must(['rados', '-p', 'ec', 'put', 'o4096', file('put')]);
      await must(['rados', '-p', 'ec', 'rm', 'o1']);
      kept.delete('o1');
      await must(['ceph', 'osd', 'pool', 'set', 'ec', 'min_size', '2']);
      await cluster.stopOsd(0);
      await check();
      await cluster.startOsd(0);
      await cluster.startOsd(3);
      await allClean(4);
      await check();
      await cluster.stopOsd(1);
      await cluster.stopOsd(2);
      await check();
      await cluster.startOsd(1);
      await cluster.startOsd(2);
      await allClean(4);
      expect((await must(['rados', '-p', 'ec', 'ls'])).trim().split('\n').sort()).toEqual([...kept.keys()].sort());
    },
    4 * minute,
  );

  test('what a pool without overwrites cannot do is refused as upstream does', async () => {
    const omap = await tool(['rados', '-p', 'ec', 'setomapval', 'o1', 'k', 'v']);
    expect([omap.code, omap.stderr]).toEqual([1, 'error setting omap value ec/o1/k: (95) Operation not supported\n']);
    const truncated = await tool(['rados', '-p', 'ec', 'truncate', 'o100000', '10']);
    expect([truncated.code, truncated.stderr]).toEqual([
      1,
      'error truncating oid o100000 to 10: (95) Operation not supported\nerror 95: (95) Operation not supported\n',
    ]);
    expect((await tool(['ceph', 'osd', 'pool', 'set', 'ec', 'size', '5'])).stderr).toBe(
      'Error ENOTSUP: can not change the size of an erasure-coded pool\n',
    );
  });

  test(
    'overwrites once the pool allows them: parts, gaps, ends, truncations and appends read as in a file, also without two shards',
    async () => {
      expect((await tool(['rados', '-p', 'ec', 'put', 'o8192', '-', '--offset', '5'], 'x')).stderr).toContain(
        '(95) Operation not supported',
      );
      await must(['ceph', 'osd', 'pool', 'set', 'ec', 'allow_ec_overwrites', 'true']);
      expect((await tool(['ceph', 'osd', 'pool', 'set', 'ec', 'allow_ec_overwrites', 'false'])).stderr).toBe(
        'Error EINVAL: ec overwrites cannot be disabled once enabled\n',
      );
      let model = Buffer.alloc(0);
      const put = async (offset: number, bytes: Buffer): Promise<void> => {
        writeFileSync(file('put'), bytes);
        await must(['rados', '-p', 'ec', 'put', 'changed', file('put'), '--offset', String(offset)]);
        const grown = Buffer.alloc(Math.max(model.length, offset + bytes.length));
        model.copy(grown);
        bytes.copy(grown, offset);
        model = grown;
      };
      const check = async (): Promise<void> => expect((await get('ec', 'changed')).equals(model)).toBe(true);
      // Stripes are 8 KiB.
      await put(0, randomBytes(20_000));
      for (const [offset, length] of [
        [4095, 2],
        [8192, 8192],
        [100, 17_000],
        [19_990, 30],
        [40_001, 5],
        [65_536, 1],
      ] as const) {
        await put(offset, randomBytes(length));
        await check();
      }
      await must(['rados', '-p', 'ec', 'truncate', 'changed', '41000']);
      model = model.subarray(0, 41_000);
      await put(50_000, randomBytes(10));
      await check();
      writeFileSync(file('put'), randomBytes(300));
      await must(['rados', '-p', 'ec', 'append', 'changed', file('put')]);
      model = Buffer.concat([model, readFileSync(file('put'))]);
      await check();
      await cluster.stopOsd(0);
      await put(12_345, randomBytes(9000));
      await check();
      await cluster.stopOsd(3);
      await check();
      await cluster.startOsd(0);
      await cluster.startOsd(3);
      await allClean(4);
      await check();
    },
    4 * minute,
  );

  test(
    'with k shards and min_size k + 1 nothing is written until another one is back',
    async () => {
      await must(['ceph', 'osd', 'pool', 'set', 'ec', 'min_size', '3']);
      expect((await tool(['ceph', 'osd', 'pool', 'set', 'ec', 'min_size', '1'])).stderr).toBe(
        'Error EINVAL: pool min_size must be between 2 and size, which is set to 4\n',
      );
      await cluster.stopOsd(0);
      await cluster.stopOsd(1);
      await until('the PGs do not serve', minute, async () =>
        /4 undersized\+(degraded\+)?peered/.test(await must(['ceph', 'pg', 'stat'])),
      );
      const waiting = cluster.tool(['rados', '-p', 'ec', 'put', 'late', '-'], 'late');
      await Bun.sleep(2000);
      await cluster.startOsd(0);
      expect((await waiting).code).toBe(0);
      await cluster.startOsd(1);
      await allClean(4);
      expect((await get('ec', 'late')).toString()).toBe('late');
    },
    3 * minute,
  );

  test(
    'a shard is other than what was written: a scrub tells which, repair makes it anew',
    async () => {
      const content = randomBytes(100_000);
      writeFileSync(file('put'), content);
      await must(['rados', '-p', 'ec', 'put', 'wrong', file('put')]);
      const { pgid, acting } = JSON.parse(await must(['ceph', 'osd', 'map', 'ec', 'wrong', '--format', 'json'])) as {
        pgid: string;
        acting: number[];
      };
      const scrub = async (word: string, done: (state: string) => boolean): Promise<void> => {
        const row = async (): Promise<{ state: string; last_deep_scrub_stamp: string }> => {
          const { pg_stats } = JSON.parse(await must(['ceph', 'pg', 'ls', '--format', 'json'])) as {
            pg_stats: { pgid: string; state: string; last_deep_scrub_stamp: string }[];
          };
          return pg_stats.find((pg) => pg.pgid === pgid)!;
        };
        const before = (await row()).last_deep_scrub_stamp;
        await must(['ceph', 'pg', word, pgid]);
        await until(`${word} of ${pgid}`, minute, async () => {
          const { state, last_deep_scrub_stamp } = await row();
          return last_deep_scrub_stamp !== before && done(state);
        });
      };
      for (const shard of [1, 3]) {
        const store = cluster.stores[acting[shard]!]!;
        const cid = `${pgid}s${shard}`;
        const pool = Number(pgid.split('.')[0]);
        const key = store.list(cid, firstObjectKey, 1000).find((each) => objectOfKey(each, pool).name === 'wrong')!;
        const right = (await store.read(cid, key, 0, 1e6))!.slice();
        await store.queue({ ops: [{ op: 'write', cid, key, offset: 5000, data: [Buffer.from('wrong')] }] });
        await scrub('deep-scrub', (state) => state === 'active+clean+inconsistent');
        const { inconsistents } = JSON.parse(await must(['rados', 'list-inconsistent-obj', pgid])) as {
          inconsistents: { union_shard_errors: string[]; shards: { osd: number; shard: number; errors: string[] }[] }[];
        };
        expect(inconsistents).toMatchObject([{ union_shard_errors: ['ec_hash_error'] }]);
        expect(
          inconsistents[0]!.shards.filter(({ errors }) => errors.length > 0).map((each) => [each.osd, each.shard]),
        ).toEqual([[acting[shard], shard]]);
        await scrub('repair', (state) => state === 'active+clean');
        expect(Buffer.from((await store.read(cid, key, 0, 1e6, true))!).equals(right)).toBe(true);
      }
      expect((await get('ec', 'wrong')).equals(content)).toBe(true);
    },
    4 * minute,
  );

  test('an image itself needs omap: it is refused in an erasure-coded pool', async () => {
    const { code, stderr } = await tool(['rbd', 'create', '--size', '1M', 'ec/image']);
    expect([code, stderr]).toEqual([95, expect.stringContaining('(95) Operation not supported')]);
  });

  test(
    'an RBD image with its data in an erasure-coded pool: written, snapshotted, overwritten, exported',
    async () => {
      await must(['ceph', 'osd', 'pool', 'create', 'rbd', '4']);
      await must(['rbd', 'pool', 'init', 'rbd']);
      await allClean(8);
      const first = randomBytes(9_000_000);
      writeFileSync(file('image'), first);
      await must(['rbd', 'import', '--data-pool', 'ec', file('image'), 'rbd/one']);
      await must(['rbd', 'snap', 'create', 'rbd/one@s']);
      await must(['rbd', 'bench', '--io-type', 'write', '--io-size', '3000', '--io-total', '600000', 'rbd/one']);
      await must(['rbd', 'export', 'rbd/one@s', file('exported')]);
      expect(readFileSync(file('exported')).equals(first)).toBe(true);
      await must(['rbd', 'snap', 'rollback', 'rbd/one@s']);
      await must(['rbd', 'export', 'rbd/one', file('again')]);
      expect(readFileSync(file('again')).equals(first)).toBe(true);
      await must(['rbd', 'snap', 'rm', 'rbd/one@s']);
      await must(['rbd', 'rm', 'rbd/one']);
    },
    4 * minute,
  );

  test(
    'pg_num from 4 to 16 and back under load, with OSDs that die by SIGKILL: every object is read back',
    async () => {
      await must(['ceph', 'config', 'set', 'mon', 'mon_allow_pool_delete', 'true']);
      for (const pool of ['ec', 'rbd'])
        await must(['ceph', 'osd', 'pool', 'rm', pool, pool, '--yes-i-really-really-mean-it']);
      await must(['ceph', 'config', 'set', 'mgr', 'mgr_debug_aggressive_pg_num_changes', 'true']);
      await must(['ceph', 'osd', 'pool', 'create', 'grows', '4', '4', 'erasure', 'ec22']);
      await must(['ceph', 'osd', 'pool', 'application', 'enable', 'grows', 'test']);
      await must(['ceph', 'osd', 'pool', 'set', 'grows', 'allow_ec_overwrites', 'true']);
      await allClean(4);
      const kept = new Map<string, Buffer>();
      for (let i = 0; i < 24; i++) {
        const bytes = randomBytes(1 + i * 3001);
        kept.set(`kept-${i}`, bytes);
        writeFileSync(file('put'), bytes);
        await must(['rados', '-p', 'grows', 'put', `kept-${i}`, file('put')]);
        await must(['rados', '-p', 'grows', 'setxattr', `kept-${i}`, 'name', `x${i}`]);
      }
      await must(['rados', '-p', 'grows', 'mksnap', 'before']);
      await must(['rados', '-p', 'grows', 'put', 'kept-7', '-'], 'changed');
      const check = async (): Promise<void> => {
        const names = (await must(['rados', '-p', 'grows', 'ls'])).split('\n').filter((name) => /^kept-/.test(name));
        expect(names.sort()).toEqual([...kept.keys()].sort());
        for (const [name, bytes] of kept) {
          if (name !== 'kept-7') expect((await get('grows', name)).equals(bytes), name).toBe(true);
          expect(await must(['rados', '-p', 'grows', 'getxattr', name, 'name'])).toMatch(`x${name.slice(5)}`);
        }
        expect((await get('grows', 'kept-7')).toString()).toBe('changed');
        await must(['rados', '-p', 'grows', '-s', 'before', 'get', 'kept-7', file('got')]);
        expect(readFileSync(file('got')).equals(kept.get('kept-7')!)).toBe(true);
      };
      for (const id of [2, 3]) {
        await cluster.stopOsd(id);
        await cluster.spawnOsd(id);
      }
      await allClean(4);

      let kills = 0;
      const kill = async (): Promise<void> => {
        const id = 2 + (kills++ % 2);
        await cluster.killOsd(id);
        await cluster.spawnOsd(id);
        await Bun.sleep(2000);
      };
      const load = (run: string): Promise<string> =>
        must([
          ...['rados', '-p', 'grows', 'bench', '20', 'write', '-b', '4096', '-t', '4'],
          ...['--run-name', run, '--no-cleanup'],
        ]);
      const up = load('up');
      await reach('grows', 16, kill);
      await up;
      await check();
      const down = load('down');
      await reach('grows', 4, kill);
      await down;
      await check();
      expect(kills).toBeGreaterThan(4);
      for (const run of ['up', 'down'])
        await must(['rados', '-p', 'grows', 'bench', '60', 'seq', '-t', '4', '--run-name', run]);
      const { pg_stats } = JSON.parse(await must(['ceph', 'pg', 'ls', '--format', 'json'])) as {
        pg_stats: { pgid: string }[];
      };
      for (const { pgid } of pg_stats) await must(['ceph', 'pg', 'deep-scrub', pgid]);
      await until('all PGs are scrubbed', 2 * minute, async () => {
        const report = JSON.parse(await must(['ceph', 'pg', 'ls', '--format', 'json'])) as {
          pg_stats: { last_deep_scrub: string; version: string; state: string }[];
        };
        return report.pg_stats.every(({ last_deep_scrub, version, state }) => {
          expect(state).not.toContain('inconsistent');
          return last_deep_scrub === version;
        });
      });
    },
    14 * minute,
  );
});
