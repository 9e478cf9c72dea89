import { chmodSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clientCases } from '../../../internal/ceph/client/cluster-cases.testing.ts';
import { must, run, TestNode, TestSwitch } from '../harness.ts';
import { makePartition, type TestPartition } from './partition.ts';

/** One table of what our client does, over the embedded engine and over Debian's daemons: a node with a mon, a mgr and four OSDs each, one of them on a partition, reached from outside of its namespace. */

const minute = 60_000;

describe.each(['embedded', 'ceph'] as const)('our client and the engine %s', (engine) => {
  const directory = mkdtempSync(join(tmpdir(), `client-${engine}-`));
  // Users of roles pass through it.
  chmodSync(directory, 0o755);
  const network = new TestSwitch();
  // This machine's end is in its own namespace: two runs at once have addresses of their own.
  const subnet = `10.97.${Math.floor(Math.random() * 250)}`;
  const link = `client-${Math.floor(Math.random() * 1e6)}`;
  const osds = [0, 1, 2].map((id) => `{id: ${id}, file: ${directory}/node/osd.${id}.img, size: 4Gi}`);
  let partition: TestPartition | undefined;
  const node = new TestNode({
    directory: join(directory, 'node'),
    ip: `${subnet}.1`,
    network,
    config: `roles: [mon, mgr, osd]\nstorage: {engine: ${engine}, osd: [${osds.join(', ')}, {id: 3, device: PARTITION}]}`,
  });

  beforeAll(async () => {
    partition = await makePartition(join(directory, 'disk'), 4 * 2 ** 30);
    const config = readFileSync(node.configFile, 'utf8');
    writeFileSync(node.configFile, config.replace('PARTITION', partition.path));
    await network.make();
    await node.makeNetwork();
    const argv = ['link', 'add', 'tester', 'type', 'veth', 'peer', 'name', link, 'netns', String(process.pid)];
    await must(['ip', '-n', network.namespace, ...argv]);
    await must(['ip', '-n', network.namespace, 'link', 'set', 'tester', 'master', 'switch', 'up']);
    await must(['ip', 'addr', 'add', `${subnet}.2/24`, 'dev', link]);
    await must(['ip', 'link', 'set', link, 'up']);
  }, minute);
  afterAll(async () => {
    await node.remove();
    await network.remove();
    await partition?.remove();
    await run(['rm', '-rf', directory]);
  }, 2 * minute);

  const pidOf = async (name: string): Promise<number | undefined> =>
    (await node.status()).instances.find((instance) => instance.name === name)?.pid;

  test('it comes up, and `rbd` has a pool', { timeout: 8 * minute }, async () => {
    await node.up(6 * minute);
    await node.mustTool(['ceph', 'osd', 'pool', 'create', 'rbd', '16']);
    await node.mustTool(['rbd', 'pool', 'init', 'rbd']);
    await node.healthy(2 * minute);
    expect(JSON.parse(await node.mustTool(['ceph', 'osd', 'stat', '-f', 'json']))).toMatchObject({ num_up_osds: 4 });
  });

  describe('client cases', () => {
    clientCases(
      () => ({
        conf: node.cephConf,
        kill: async (name) => {
          process.kill((await pidOf(name))!, 'SIGKILL');
        },
      }),
      { kills: true },
    );
  });

  test('the OSD on a partition: it is listed, and after a restart it has its data', {
    timeout: 9 * minute,
  }, async () => {
    const disks = async (): Promise<unknown> => {
      const all = JSON.parse((await node.appliance('osd', 'list', '-o', 'json')).stdout) as { osd: number | null }[];
      return all.find(({ osd }) => osd === 3);
    };
    expect(await disks()).toMatchObject({ disk: partition!.path, state: 'running' });
    await node.mustTool(['rados', '-p', 'rbd', 'put', 'kept', '-'], { input: 'content' });
    expect((await node.appliance('down')).code).toBe(0);
    await node.waitForExit();
    expect(await disks()).toMatchObject({ disk: partition!.path, state: 'stopped' });
    await node.up(6 * minute);
    await node.healthy(2 * minute);
    expect(await node.mustTool(['rados', '-p', 'rbd', 'get', 'kept', '-'])).toBe('content');
  });
});
