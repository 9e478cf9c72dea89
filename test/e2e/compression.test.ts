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

beforeAll(async () => {
  await cluster.start(3);
  await pool('packed', ['mode', 'aggressive'], ['algorithm', 'zstd'], ['required_ratio', '.8']);
}, 5 * minute);
afterAll(() => cluster.stop(), minute);

describe('compression, with the unmodified tools', () => {
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
    8 * minute,
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
    8 * minute,
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
    8 * minute,
  );
});
