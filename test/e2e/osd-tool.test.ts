import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CephCluster } from './ceph-cluster.ts';
import { root, run, until } from './harness.ts';

/** What docs/osd-disks.md tells people to do with disks of OSDs that do not run, with the program's own command line and the unmodified tools. Needs root. */

const minute = 60_000;
const cluster = new CephCluster('osd-tool', 24_950);
const { directory } = cluster;
const must = cluster.must.bind(cluster);
const config = join(directory, 'appliance.yaml');
const disk = (id: number): string => join(directory, `osd${id}`);
const file = (pg: string): string => join(directory, `${pg}.pg`);
const contentOf = (name: string): string => `<<content of ${name}>>`.repeat(9000);
/** Compresses well; LZ4 leaves the first line as it is. */
const packedContent = (name: string): string => `<${name}> went that way and came back\n`.repeat(9000);
const packedNames = Array.from({ length: 8 }, (_, n) => `packed-${n}`);
const names = Array.from({ length: 8 }, (_, n) => `object-${n}`);

async function osd<T = Record<string, unknown>>(...argv: string[]): Promise<{ code: number; data: T; stderr: string }> {
  const main = join(root, 'cmd/appliance/main.ts');
  const { code, stdout, stderr } = await run([process.execPath, main, '-c', config, 'osd', ...argv, '-o', 'json']);
  return { code, data: (stdout === '' ? undefined : JSON.parse(stdout)) as T, stderr };
}
const placeOf = async (name: string, pool = 'single'): Promise<{ pgid: string; acting: number[] }> =>
  JSON.parse(await must(['ceph', 'osd', 'map', pool, name, '--format', 'json'])) as never;

beforeAll(async () => {
  await cluster.start(2);
  const osds = [0, 1].map((id) => `{id: ${id}, directory: ${disk(id)}}`).join(', ');
  writeFileSync(config, `dataDir: ${directory}\nrunDir: ${directory}/run\nstorage: {osd: [${osds}]}\n`);
  await must(['ceph', 'config', 'set', 'mon', 'mon_allow_pool_size_one', 'true']);
  for (const pool of ['single', 'packed']) {
    await must(['ceph', 'osd', 'pool', 'create', pool, '4']);
    await must(['ceph', 'osd', 'pool', 'set', pool, 'size', '1', '--yes-i-really-mean-it']);
    await must(['ceph', 'osd', 'pool', 'application', 'enable', pool, 'test']);
  }
  await must(['ceph', 'osd', 'pool', 'set', 'packed', 'compression_algorithm', 'lz4']);
  await must(['ceph', 'osd', 'pool', 'set', 'packed', 'compression_mode', 'force']);
  await until('all PGs are clean', minute, async () => /8 active\+clean/.test(await must(['ceph', 'pg', 'stat'])));
}, 3 * minute);
afterAll(() => cluster.stop(), minute);

describe.runIf(process.getuid?.() === 0)('disks of OSDs that do not run', () => {
  const kept = new Map<string, { pgid: string; acting: number[] }>();
  const packed = new Map<string, { pgid: string; acting: number[] }>();

  test(
    'the disk of an OSD that runs is refused; of one that is stopped everything is listed, and nothing is wrong',
    async () => {
      for (const name of names) await must(['rados', '-p', 'single', 'put', name, '-'], contentOf(name));
      for (const name of names) await must(['rados', '-p', 'single', 'setomapval', name, 'key', name]);
      for (const name of names) kept.set(name, await placeOf(name));
      for (const name of packedNames) await must(['rados', '-p', 'packed', 'put', name, '-'], packedContent(name));
      for (const name of packedNames) packed.set(name, await placeOf(name, 'packed'));
      const running = await osd('fsck', disk(0));
      expect([running.code, running.stderr]).toEqual([1, expect.stringContaining('is in use: an OSD runs on it')]);

      for (const id of [0, 1]) await cluster.stopOsd(id);
      expect((await osd<unknown[]>('list')).data.slice(0, 2)).toMatchObject([
        { disk: disk(0), osd: 0, state: 'stopped' },
        { disk: disk(1), osd: 1, state: 'stopped' },
      ]);
      for (const id of [0, 1])
        expect(await osd('fsck', `osd.${id}`)).toMatchObject({ code: 0, data: { osd: id, clean: true, faults: [] } });
      for (const [name, { pgid, acting }] of kept) {
        const listed = await osd<{ object: string; size: number }[]>('list', `osd.${acting[0]}`, pgid);
        expect(listed.data).toContainEqual(expect.objectContaining({ object: name, size: contentOf(name).length }));
      }
    },
    4 * minute,
  );

  test(
    'a wrong bit in compressed data is found; the PG is exported without that object only when that is asked for; what repair leaves has no fault',
    async () => {
      const [bad, { pgid }] = [...packed].find(([, { acting }]) => acting[0] === 0)!;
      const path = join(disk(0), 'data');
      const data = readFileSync(path);
      const at = data.indexOf(`<${bad}> went`);
      expect(at).toBeGreaterThan(0);
      data[at + 5]! ^= 4;
      writeFileSync(path, data);
      const found = await osd<{ clean: boolean; faults: { text: string }[] }>('fsck', 'osd.0');
      expect(found).toMatchObject({ data: { clean: false } });
      expect(found.data.faults.map(({ text }) => text).join('\n')).toContain(bad);
      const copy = file(`damaged-${pgid}`);
      expect(await osd('export', 'osd.0', pgid, copy)).toMatchObject({ code: 1, stderr: expect.stringContaining(bad) });
      const without = await osd<{ objects: number }>('export', 'osd.0', pgid, copy, '--skip-damaged');
      const inPg = [...packed.values()].filter((each) => each.pgid === pgid).length;
      expect(without).toMatchObject({ code: 0, data: { objects: inPg - 1 } });
      await osd('repair', 'osd.0', '--yes');
      expect(await osd('fsck', 'osd.0')).toMatchObject({ code: 0, data: { clean: true } });
      rmSync(copy);
      packed.delete(bad);
    },
    4 * minute,
  );

  test(
    'its PGs are exported from one disk, that disk is lost, and their objects are read from the other one, into which they were imported',
    async () => {
      const lost = names.filter((name) => kept.get(name)!.acting[0] === 0);
      expect(lost.length).toBeGreaterThan(0);
      const pool = kept.get(names[0]!)!.pgid.split('.')[0]!;
      const packedPool = [...packed.values()][0]!.pgid.split('.')[0]!;
      const { data: held } = await osd<{ pg: string; objects: number }[]>('list', 'osd.0');
      for (const { pg, objects } of held.filter((one) => [pool, packedPool].includes(one.pg.split('.')[0]!))) {
        expect(await osd('export', 'osd.0', pg, file(pg))).toMatchObject({ code: 0, data: { pg, osd: 0, objects } });
        expect(await osd('import', 'osd.1', file(pg))).toMatchObject({
          code: 0,
          data: { pg, from: 0, osd: 1, objects },
        });
        if (objects > 0) expect((await osd('import', 'osd.1', file(pg))).stderr).toContain('has a copy of PG');
      }
      expect(await osd('fsck', 'osd.1')).toMatchObject({ code: 0, data: { clean: true } });

      rmSync(disk(0), { recursive: true });
      await cluster.startOsd(1);
      await must(['ceph', 'osd', 'down', '0']);
      await must(['ceph', 'osd', 'lost', '0', '--yes-i-really-mean-it']);
      await must(['ceph', 'osd', 'out', '0']);
      for (const name of lost)
        await until(`${name} is read`, minute, async () => {
          const read = ['timeout', '10', 'rados', '-c', cluster.conf, '-p', 'single', 'get', name, '-'];
          return (await run(read)).stdout === contentOf(name);
        });
      for (const name of lost) {
        expect((await placeOf(name)).acting).toEqual([1]);
        expect(await must(['rados', '-p', 'single', 'listomapkeys', name])).toBe('key\n');
      }
      expect(existsSync(disk(0))).toBe(false);
      for (const name of packed.keys())
        await until(`${name} is read`, minute, async () => {
          const read = ['timeout', '10', 'rados', '-c', cluster.conf, '-p', 'packed', 'get', name, '-'];
          return (await run(read)).stdout === packedContent(name);
        });
      // As the pool says, also what an import brought.
      const sums = cluster.stores[1]!.compressed().get(Number(packedPool));
      expect(sums!.original).toBeGreaterThan(0.9 * packed.size * packedContent('packed-0').length);
      expect(sums!.allocated).toBeLessThan(sums!.original / 4);
    },
    5 * minute,
  );
});
