import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readFileSync, readSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CephCluster } from './ceph-cluster.ts';
import { until } from './harness.ts';

const minute = 60_000;
const mib = 2 ** 20;
const cluster = new CephCluster('compression', 25_350);
const { directory, stores } = cluster;
const tool = cluster.tool.bind(cluster);
const must = cluster.must.bind(cluster);

interface PoolStats {
  stored: number;
  bytes_used: number;
  compress_bytes_used: number;
  compress_under_bytes: number;
}

interface PgRow {
  pgid: string;
  state: string;
  last_deep_scrub_stamp: string;
  stat_sum: { num_scrub_errors: number };
}

/** What `ceph df detail` says of a pool, after the OSDs have told. */
async function df(pool: string): Promise<PoolStats> {
  for (const osd of cluster.osds.keys()) await must(['ceph', 'tell', `osd.${osd}`, 'flush_pg_stats']);
  // The manager tells the mon every two seconds.
  await Bun.sleep(4000);
  const { pools } = JSON.parse(await must(['ceph', 'df', 'detail', '--format', 'json'])) as {
    pools: { name: string; stats: PoolStats }[];
  };
  return pools.find(({ name }) => name === pool)!.stats;
}

async function pool(name: string, ...settings: [string, string][]): Promise<void> {
  await must(['ceph', 'osd', 'pool', 'create', name, '4']);
  await must(['ceph', 'osd', 'pool', 'application', 'enable', name, 'rbd']);
  for (const [option, value] of settings)
    await must(['ceph', 'osd', 'pool', 'set', name, `compression_${option}`, value]);
  await until('all PGs are clean', minute, async () => {
    const { num_pgs, num_pg_by_state: states } = JSON.parse(await must(['ceph', 'pg', 'stat', '--format', 'json']))
      .pg_summary as { num_pgs: number; num_pg_by_state: { name: string; num: number }[] };
    return states.length === 1 && states[0]!.name === 'active+clean' && states[0]!.num === num_pgs;
  });
}

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex');
const total = (of: (store: (typeof stores)[number]) => number): number => stores.reduce((sum, s) => sum + of(s), 0);
const allocated = (): number => total((store) => store.statfs().allocatedBytes);

/** Lines as of a log: they come to a fifth or less. */
function lines(bytes: number, seed: string): Buffer {
  let text = '';
  for (let n = 0; text.length < bytes; n++)
    text += `2026-01-02T03:04:${String(n % 60).padStart(2, '0')} ${seed} request ${n * 7919} of client ${n % 13} took ${(n * 31) % 977} ms\n`;
  return Buffer.from(text.slice(0, bytes));
}

beforeAll(() => cluster.start(3), 3 * minute);
afterAll(() => cluster.stop(), minute);

describe('compression, with the unmodified tools', () => {
  test(
    'options are taken, shown and refused in the words of Ceph',
    async () => {
      await pool('packed', ['mode', 'aggressive'], ['algorithm', 'zstd'], ['required_ratio', '.8']);
      expect(await must(['ceph', 'osd', 'pool', 'get', 'packed', 'compression_algorithm'])).toBe(
        'compression_algorithm: zstd\n',
      );
      const all = await must(['ceph', 'osd', 'pool', 'get', 'packed', 'all']);
      expect(all).toContain(
        'compression_mode: aggressive\ncompression_algorithm: zstd\ncompression_required_ratio: 0.8\n',
      );
      expect(await must(['ceph', 'osd', 'pool', 'ls', 'detail'])).toContain(
        'compression_algorithm zstd compression_mode aggressive compression_required_ratio 0.8',
      );
      const wrong = await tool(['ceph', 'osd', 'pool', 'set', 'packed', 'compression_mode', 'always']);
      expect([wrong.code, wrong.stderr]).toEqual([22, "Error EINVAL: unrecognized compression mode 'always'\n"]);
      await must(['ceph', 'osd', 'pool', 'set', 'packed', 'compression_required_ratio', '0']);
      expect((await tool(['ceph', 'osd', 'pool', 'get', 'packed', 'compression_required_ratio'])).stderr).toContain(
        "option 'compression_required_ratio' is not set on pool 'packed'",
      );
    },
    2 * minute,
  );

  test(
    'rados bench: what it wrote takes a part of its size, on the disks, too, and is read as it was',
    async () => {
      await pool('plain');
      const bench = ['bench', '3', 'write', '-b', String(mib), '-t', '4', '--no-cleanup', '--run-name'];
      await must(['rados', '-p', 'packed', ...bench, 'r']);
      const packed = await df('packed');
      expect(packed.stored).toBeGreaterThan(3 * mib);
      expect(packed.compress_under_bytes).toBeGreaterThan(2.9 * packed.stored);
      expect(packed.compress_bytes_used).toBeLessThan(packed.compress_under_bytes / 4);
      expect(packed.bytes_used).toBeLessThan(packed.stored);
      // The data files are sparse: what they take is what was written.
      const onDisk = (): number =>
        stores.reduce((sum, _, osd) => sum + statSync(join(directory, `osd${osd}`, 'data')).blocks * 512, 0);
      expect(onDisk()).toBeLessThan(packed.stored);
      await must(['rados', '-p', 'packed', 'bench', '2', 'seq', '-t', '4', '--run-name', 'r']);
      await must(['rados', '-p', 'packed', 'bench', '2', 'rand', '-t', '4', '--run-name', 'r']);

      const before = onDisk();
      await must(['rados', '-p', 'plain', ...bench, 'r']);
      const plain = await df('plain');
      expect([plain.compress_bytes_used, plain.compress_under_bytes]).toEqual([0, 0]);
      expect(plain.bytes_used).toBeGreaterThan(2.9 * plain.stored);
      expect(onDisk() - before).toBeGreaterThan(2.9 * plain.stored);
      expect(await must(['ceph', 'df', 'detail'])).toMatch(/USED COMPR {2}UNDER COMPR/);
      const perf = JSON.parse(await must(['ceph', 'tell', 'osd.0', 'perf', 'dump', 'bluestore'])).bluestore;
      expect(perf.bluestore_compressed_original).toBeGreaterThan(4 * perf.bluestore_compressed_allocated);
      expect(perf.compress_success_count).toBeGreaterThan(16);
      for (const name of ['packed', 'plain']) await must(['rados', '-p', name, 'cleanup', '--run-name', 'r']);
    },
    4 * minute,
  );

  test(
    'rbd: an image goes in and comes out, with overwrites and a snapshot, and replicas agree',
    async () => {
      const file = join(directory, 'image');
      const image = lines(20 * mib, 'image');
      writeFileSync(file, image);
      await must(['rbd', 'import', file, 'packed/image']);
      await must(['rbd', 'snap', 'create', 'packed/image@before']);
      const first = allocated();
      await must(
        'rbd bench --io-type write --io-pattern rand --io-size 4096 --io-threads 8 --io-total 2M packed/image'.split(
          ' ',
        ),
      );
      expect(allocated()).toBeGreaterThan(first);
      const exported = async (name: string): Promise<string> => {
        const out = join(directory, 'out');
        await must(['rbd', 'export', name, out]);
        const sum = md5(readFileSync(out));
        await Bun.file(out).delete();
        return sum;
      };
      expect(await exported('packed/image@before')).toBe(md5(image));
      const changed = await exported('packed/image');
      expect(changed).not.toBe(md5(image));
      await cluster.stopOsd(2);
      await cluster.startOsd(2);
      await until('all are up', minute, async () => /3 up/.test(await must(['ceph', 'osd', 'stat'])));
      expect(await exported('packed/image')).toBe(changed);
      // Every replica has the same, whatever it is stored as.
      const pgs = async (): Promise<PgRow[]> =>
        JSON.parse(await must(['ceph', 'pg', 'ls-by-pool', 'packed', '--format', 'json'])).pg_stats as PgRow[];
      const stamps = (await pgs()).map((pg) => pg.last_deep_scrub_stamp);
      await must(['ceph', 'osd', 'pool', 'deep-scrub', 'packed']);
      await until('a deep scrub of all PGs', 2 * minute, async () => {
        const now = await pgs();
        expect(now.map((pg) => pg.stat_sum.num_scrub_errors)).toEqual(now.map(() => 0));
        return now.every((pg, i) => pg.state === 'active+clean' && pg.last_deep_scrub_stamp !== stamps[i]);
      });
      await must(['rbd', 'snap', 'rollback', 'packed/image@before', '--no-progress']);
      expect(await exported('packed/image')).toBe(md5(image));
      await must(['rbd', 'snap', 'purge', 'packed/image', '--no-progress']);
      await must(['rbd', 'rm', 'packed/image', '--no-progress']);
    },
    6 * minute,
  );

  test(
    'hints steer: a passive pool compresses what rbd says is compressible',
    async () => {
      await pool('hinted', ['mode', 'passive'], ['algorithm', 'lz4']);
      const file = join(directory, 'hinted');
      writeFileSync(file, lines(4 * mib, 'hint'));
      await must(['rbd', 'import', file, 'hinted/without']);
      expect((await df('hinted')).compress_under_bytes).toBe(0);
      await must(['rbd', 'import', '--rbd_compression_hint=compressible', file, 'hinted/with']);
      expect((await df('hinted')).compress_under_bytes).toBeGreaterThan(2.7 * 4 * mib);
      await must(['ceph', 'osd', 'pool', 'set', 'hinted', 'compression_mode', 'aggressive']);
      await must(['rbd', 'import', '--rbd_compression_hint=incompressible', file, 'hinted/not']);
      expect((await df('hinted')).compress_under_bytes).toBeLessThan(3 * 5 * mib);
    },
    3 * minute,
  );

  test(
    'another mode of a pool with data: what is there stays and is read, what is written follows',
    async () => {
      await pool('changing');
      const content = lines(8 * mib, 'change');
      const file = join(directory, 'change');
      writeFileSync(file, content);
      const put = (name: string): Promise<string> => must(['rados', '-p', 'changing', 'put', name, file]);
      const look = async (...names: string[]): Promise<void> => {
        for (const name of names) {
          await must(['rados', '-p', 'changing', 'get', name, `${file}.out`]);
          expect(md5(readFileSync(`${file}.out`)), name).toBe(md5(content));
        }
      };
      await put('a');
      const under = async (): Promise<number> => (await df('changing')).compress_under_bytes / (3 * 8 * mib);
      expect(await under()).toBe(0);
      // The configuration holds for pools that say nothing.
      await must(['ceph', 'config', 'set', 'osd', 'bluestore_compression_mode', 'force']);
      await until('the OSDs know', minute, async () => {
        const shown = await Promise.all(
          [0, 1, 2].map((osd) => must(['ceph', 'tell', `osd.${osd}`, 'config', 'get', 'bluestore_compression_mode'])),
        );
        return shown.every((text) => text.includes('force'));
      });
      // What the OSD knows its store is told within a tick.
      await Bun.sleep(4000);
      await put('b');
      expect(await under()).toBeCloseTo(1, 2);
      for (const algorithm of ['lz4', 'zlib']) {
        await must(['ceph', 'osd', 'pool', 'set', 'changing', 'compression_algorithm', algorithm]);
        await put(algorithm);
      }
      expect(await under()).toBeCloseTo(3, 2);
      await must(['ceph', 'osd', 'pool', 'set', 'changing', 'compression_mode', 'none']);
      await put('c');
      await put('b');
      expect(await under()).toBeCloseTo(2, 2);
      await look('a', 'b', 'c', 'lz4', 'zlib');
      await must(['ceph', 'config', 'rm', 'osd', 'bluestore_compression_mode']);
    },
    4 * minute,
  );

  test(
    'an erasure-coded pool: its chunks are compressed',
    async () => {
      await must('ceph osd erasure-code-profile set ec21 k=2 m=1 crush-failure-domain=osd'.split(' '));
      await must(['ceph', 'osd', 'pool', 'create', 'chunks', '4', '4', 'erasure', 'ec21']);
      await must(['ceph', 'osd', 'pool', 'application', 'enable', 'chunks', 'rbd']);
      for (const [name, value] of [
        ['mode', 'aggressive'],
        ['algorithm', 'zstd'],
      ])
        await must(['ceph', 'osd', 'pool', 'set', 'chunks', `compression_${name}`, value!]);
      const content = lines(16 * mib, 'chunk');
      const file = join(directory, 'chunk');
      writeFileSync(file, content);
      await must(['rados', '-p', 'chunks', 'put', 'o', file]);
      const stats = await df('chunks');
      // The two pieces with data; the third may not be worth it.
      expect(stats.compress_under_bytes).toBeGreaterThan(0.9 * content.length);
      expect(stats.compress_bytes_used).toBeLessThan(0.6 * stats.compress_under_bytes);
      await must(['rados', '-p', 'chunks', 'get', 'o', `${file}.out`]);
      expect(md5(readFileSync(`${file}.out`))).toBe(md5(content));
    },
    2 * minute,
  );

  test(
    'a wrong bit in compressed data is found by a deep scrub and mended from a replica',
    async () => {
      await pool('kept', ['mode', 'force'], ['algorithm', 'lz4']);
      const content = lines(mib, 'mend-me-please');
      await must(['rados', '-p', 'kept', 'put', 'o', '-'], content);
      const { pgid, acting } = JSON.parse(await must('ceph osd map kept o --format json'.split(' '))) as {
        pgid: string;
        acting: number[];
      };
      const replica = acting[1]!;
      await stores[replica]!.checkpoint();
      // LZ4 leaves the first line as it is.
      const path = join(directory, `osd${replica}`, 'data');
      const fd = openSync(path, 'r+');
      const block = Buffer.alloc(mib);
      let flipped = 0;
      for (let at = 0; flipped === 0 && at < statSync(path).size; at += block.length) {
        const found = block.subarray(0, readSync(fd, block, 0, block.length, at)).indexOf('mend-me-please');
        if (found < 0) continue;
        flipped = writeSync(fd, Buffer.of(block[found]! ^ 4), 0, 1, at + found);
      }
      fsyncSync(fd);
      closeSync(fd);
      expect(flipped).toBe(1);
      const state = async (): Promise<string> => {
        const { pg_stats } = JSON.parse(await must(['ceph', 'pg', 'ls', '--format', 'json'])) as {
          pg_stats: { pgid: string; state: string }[];
        };
        return pg_stats.find((pg) => pg.pgid === pgid)!.state;
      };
      await must(['ceph', 'pg', 'deep-scrub', pgid]);
      await until('the scrub finds it', minute, async () => /^active\+clean\+inconsistent$/.test(await state()));
      await must(['ceph', 'pg', 'repair', pgid]);
      await until('it is mended', minute, async () => (await state()) === 'active+clean');
      await must(['rados', '-p', 'kept', 'get', 'o', join(directory, 'mended')]);
      expect(md5(readFileSync(join(directory, 'mended')))).toBe(md5(content));
    },
    3 * minute,
  );
});
