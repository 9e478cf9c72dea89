import { existsSync, rmSync, writeFileSync } from 'node:fs';
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
const names = Array.from({ length: 8 }, (_, n) => `object-${n}`);

async function osd<T = Record<string, unknown>>(...argv: string[]): Promise<{ code: number; data: T; stderr: string }> {
  const main = join(root, 'cmd/appliance/main.ts');
  const { code, stdout, stderr } = await run([process.execPath, main, '-c', config, 'osd', ...argv, '-o', 'json']);
  return { code, data: (stdout === '' ? undefined : JSON.parse(stdout)) as T, stderr };
}
const placeOf = async (name: string): Promise<{ pgid: string; acting: number[] }> =>
  JSON.parse(await must(['ceph', 'osd', 'map', 'single', name, '--format', 'json'])) as never;

beforeAll(async () => {
  await cluster.start(2);
  const osds = [0, 1].map((id) => `{id: ${id}, directory: ${disk(id)}}`).join(', ');
  writeFileSync(config, `dataDir: ${directory}\nrunDir: ${directory}/run\nstorage: {osd: [${osds}]}\n`);
  await must(['ceph', 'config', 'set', 'mon', 'mon_allow_pool_size_one', 'true']);
  await must(['ceph', 'osd', 'pool', 'create', 'single', '4']);
  await must(['ceph', 'osd', 'pool', 'set', 'single', 'size', '1', '--yes-i-really-mean-it']);
  await must(['ceph', 'osd', 'pool', 'application', 'enable', 'single', 'test']);
  await until('all PGs are clean', minute, async () => /4 active\+clean/.test(await must(['ceph', 'pg', 'stat'])));
}, 3 * minute);
afterAll(() => cluster.stop(), minute);

describe.runIf(process.getuid?.() === 0)('disks of OSDs that do not run', () => {
  const kept = new Map<string, { pgid: string; acting: number[] }>();

  test(
    'the disk of an OSD that runs is refused; of one that is stopped everything is listed, and nothing is wrong',
    async () => {
      for (const name of names) await must(['rados', '-p', 'single', 'put', name, '-'], contentOf(name));
      for (const name of names) await must(['rados', '-p', 'single', 'setomapval', name, 'key', name]);
      for (const name of names) kept.set(name, await placeOf(name));
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
    'its PGs are exported from one disk, that disk is lost, and their objects are read from the other one, into which they were imported',
    async () => {
      const lost = names.filter((name) => kept.get(name)!.acting[0] === 0);
      expect(lost.length).toBeGreaterThan(0);
      const pool = kept.get(names[0]!)!.pgid.split('.')[0]!;
      const { data: held } = await osd<{ pg: string; objects: number }[]>('list', 'osd.0');
      for (const { pg, objects } of held.filter((one) => one.pg.startsWith(`${pool}.`))) {
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
    },
    5 * minute,
  );
});
