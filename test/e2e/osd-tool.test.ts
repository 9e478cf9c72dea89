import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestNode, until } from './harness.ts';

/** What docs/osd-disks.md tells people to do with the disks of a node that is stopped, step by step as it is written there. */

const minute = 60_000;
const directory = mkdtempSync(join(tmpdir(), 'osd-tool-'));
const file = (name: string): string => join(directory, name);
const node = new TestNode({
  config: `roles: [mon, mgr, osd]\nstorage: {osd: [{id: 0, file: ${file('a')}, size: 1Gi}, {id: 1, file: ${file('b')}, size: 1Gi}], replication: 1}`,
});
const content = 'content that is on one disk alone\n'.repeat(4000);
const names = Array.from({ length: 8 }, (_, n) => `object-${n}`);

async function osd(...argv: string[]): Promise<{ code: number; data: never; stderr: string }> {
  const { code, stdout, stderr } = await node.appliance('osd', ...argv, '-o', 'json');
  return { code, data: (stdout === '' ? undefined : JSON.parse(stdout)) as never, stderr };
}
async function down(): Promise<void> {
  expect((await node.appliance('down')).code).toBe(0);
  await node.waitForExit();
}
const placeOf = async (name: string): Promise<{ pgid: string; acting: number[] }> =>
  JSON.parse(await node.mustTool(['ceph', 'osd', 'map', 'single', name, '-f', 'json'])) as never;

beforeAll(async () => {
  await node.makeNetwork();
  await node.up(200_000);
}, 5 * minute);
afterAll(async () => {
  await node.remove();
  rmSync(directory, { recursive: true, force: true });
}, 2 * minute);

describe('disks of a node that is stopped', () => {
  test('a PG is exported from one disk, that disk is lost, and its objects are read from the disk that it was imported into', {
    timeout: 10 * minute,
  }, async () => {
    await node.mustTool(['ceph', 'osd', 'pool', 'create', 'single', '4', '--size', '1', '--yes-i-really-mean-it']);
    await node.mustTool(['ceph', 'osd', 'pool', 'application', 'enable', 'single', 'test']);
    for (const name of names)
      await node.mustTool(['rados', '-p', 'single', 'put', name, '-'], { input: content + name });
    await node.mustTool(['rados', '-p', 'single', 'setomapval', names[0]!, 'key', 'value']);
    const places = new Map<string, Awaited<ReturnType<typeof placeOf>>>();
    for (const name of names) places.set(name, await placeOf(name));
    const lost = names.filter((name) => places.get(name)!.acting[0] === 0);
    const pgs = [...new Set(lost.map((name) => places.get(name)!.pgid))];
    expect(lost.length).toBeGreaterThan(0);
    const running = await osd('fsck', 'osd.0');
    expect(running.code).toBe(1);
    expect(running.stderr).toContain('is in use');
    await down();

    expect((await osd('list')).data).toMatchObject([
      { disk: file('a'), osd: 0, state: 'stopped' },
      { disk: file('b'), osd: 1, state: 'stopped' },
    ]);
    for (const disk of ['osd.0', file('b')])
      expect(await osd('fsck', disk), disk).toMatchObject({ code: 0, data: { clean: true } });
    const held = (await osd('list', 'osd.0')).data as { pg: string; objects: number }[];
    for (const pg of pgs) expect(held.find((one) => one.pg === pg)!.objects).toBeGreaterThan(0);
    const objects = (await osd('list', 'osd.0', pgs[0]!)).data as { object: string }[];
    expect(lost).toEqual(expect.arrayContaining(objects.map(({ object }) => object)));
    for (const pg of held.filter(({ pg }) => pg.startsWith(`${pgs[0]!.split('.')[0]}.`)).map(({ pg }) => pg)) {
      expect(await osd('export', 'osd.0', pg, file(`${pg}.pg`)), pg).toMatchObject({ code: 0 });
      expect(await osd('import', 'osd.1', file(`${pg}.pg`)), pg).toMatchObject({
        code: 0,
        data: { pg, from: 0, osd: 1 },
      });
      expect((await osd('import', 'osd.1', file(`${pg}.pg`))).code, 'twice').toBe(pgs.includes(pg) ? 1 : 0);
    }
    expect(await osd('fsck', 'osd.1')).toMatchObject({ code: 0, data: { clean: true } });

    // The disk of osd.0 is lost for good.
    rmSync(file('a'));
    const config = readFileSync(node.configFile, 'utf8');
    writeFileSync(node.configFile, config.replace(`{id: 0, file: ${file('a')}, size: 1Gi}, `, ''));
    const starting = node.up(250_000).catch(() => undefined);
    await until('the mon answers', 2 * minute, async () => (await node.tool(['ceph', '-s'])).code === 0);
    await node.mustTool(['ceph', 'osd', 'down', '0']);
    await node.mustTool(['ceph', 'osd', 'lost', '0', '--yes-i-really-mean-it']);
    await node.mustTool(['ceph', 'osd', 'out', '0']);
    for (const name of lost) {
      const got = await until(`${name} is read`, 2 * minute, async () => {
        const { code, stdout } = await node.tool(['rados', '-p', 'single', 'get', name, '-'], { timeoutMs: 20_000 });
        return code === 0 && stdout;
      });
      expect(got).toBe(content + name);
      expect((await placeOf(name)).acting).toEqual([1]);
    }
    if (lost.includes(names[0]!))
      expect(await node.mustTool(['rados', '-p', 'single', 'listomapkeys', names[0]!])).toBe('key\n');
    await starting;
  });
});
