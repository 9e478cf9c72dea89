import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { must, TestNode, TestSwitch, until } from './harness.ts';

/** What docs/storage.md tells people to do when a disk, or the node that it was on, is gone; step by step as it is written there. */

const minute = 60_000;
const network = new TestSwitch();
const directory = mkdtempSync(join(tmpdir(), 'node-'));
const file = (name: string): string => join(directory, name);
const server = new TestNode({
  network,
  config: `storage: {osd: [{id: 0, file: ${file('a')}, size: 1Gi}, {id: 1, file: ${file('b')}, size: 1Gi}], replication: 2}`,
});
const second = new TestNode({
  name: 'node-2',
  ip: '10.98.0.2',
  network,
  config: `storage: {osd: [{file: ${file('c')}, size: 1Gi}]}`,
});

const osdTree = async (): Promise<{ name: string; type: string; status?: string }[]> =>
  (JSON.parse(await server.mustTool(['ceph', 'osd', 'tree', '-f', 'json'])) as { nodes: never[] }).nodes;
const osdUp = (osd: string): Promise<boolean> =>
  until(`${osd} is up`, 2 * minute, async () =>
    (await osdTree()).some(({ name, status }) => name === osd && status === 'up'),
  );
const uuidOf = async (osd: number): Promise<string> => {
  const { osds } = JSON.parse(await server.mustTool(['ceph', 'osd', 'dump', '-f', 'json'])) as {
    osds: { osd: number; uuid: string }[];
  };
  return osds.find((one) => one.osd === osd)!.uuid;
};

beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await network.make();
  for (const node of [server, second]) await node.makeNetwork();
  await server.up(200_000);
  const token = (await server.appliance('token', 'create')).stdout.trim();
  await second.start(['join', token, '--server', `https://${server.ip}:6443`], 200_000);
}, 10 * minute);
afterAll(async () => {
  for (const node of [second, server]) await node.remove();
  await network.remove();
  rmSync(directory, { recursive: true, force: true });
}, 4 * minute);

describe('disks', () => {
  test('data is on both of the first machine, and the second machine brought one more', {
    timeout: 2 * minute,
  }, async () => {
    await osdUp('osd.2');
    await server.mustTool(['ceph', 'osd', 'pool', 'create', 'kept', '8', '--size', '2']);
    await server.mustTool(['ceph', 'osd', 'pool', 'application', 'enable', 'kept', 'test']);
    await server.mustTool(['rados', '-p', 'kept', 'put', 'object', '-'], { input: 'content' });
    await server.healthy(2 * minute);
  });

  test('the node of a disk was installed again: the disk is refused by name, then brought back with its data', {
    timeout: 8 * minute,
  }, async () => {
    const before = await uuidOf(2);
    expect((await second.appliance('down')).code).toBe(0);
    await second.waitForExit();
    // Everything but the disk.
    rmSync(second.data, { recursive: true });
    const token = (await server.appliance('token', 'create', '--replace', 'node-2')).stdout.trim();
    await until('node-2 is a node again', 3 * minute, async () => {
      const joined = await second.appliance('join', token, '--server', `https://${server.ip}:6443`, '--no-start');
      if (joined.code !== 0) throw new Error(joined.stderr);
      return true;
    });

    const refused = await second.appliance('up');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`${file('c')} is the disk of osd.2, of which this node knows nothing`);
    expect(refused.stderr).toContain(`ceph auth get osd.2 -o osd.2.keyring`);
    const keyring = join(second.data, 'ceph/keyrings/osd.2.keyring');
    expect(refused.stderr).toContain(keyring);

    await server.mustTool(['ceph', 'auth', 'get', 'osd.2', '-o', keyring]);
    expect(statSync(keyring).size).toBeGreaterThan(50);
    const config = readFileSync(second.configFile, 'utf8');
    writeFileSync(second.configFile, config.replace('{file:', '{id: 2, file:'));
    await second.up(200_000);
    await osdUp('osd.2');
    expect(await uuidOf(2)).toBe(before);
    await server.healthy(2 * minute);
    expect(await server.mustTool(['rados', '-p', 'kept', 'get', 'object', '-'])).toBe('content');
  });

  test('a disk of the machine with the mon is lost for good: a new one takes its place', {
    timeout: 8 * minute,
  }, async () => {
    const before = await uuidOf(1);
    expect((await server.appliance('down')).code).toBe(0);
    await server.waitForExit();
    rmSync(file('b'));
    const starting = server.up(250_000).catch(() => undefined);
    await until('the new disk is refused', 2 * minute, async () =>
      (await server.appliance('status')).stdout.includes('the cluster knows osd.1 by another store'),
    );
    expect(await uuidOf(1)).toBe(before);
    await server.mustTool(['ceph', 'osd', 'purge', '1', '--yes-i-really-mean-it']);
    const reloaded = await server.appliance('reload');
    expect(reloaded.code, reloaded.stderr).toBe(0);
    await osdUp('osd.1');
    await starting;
    expect(await uuidOf(1)).not.toBe(before);
    await server.healthy(3 * minute);
    expect(await server.mustTool(['rados', '-p', 'kept', 'get', 'object', '-'])).toBe('content');
    expect(existsSync(file('b'))).toBe(true);
  });
});
