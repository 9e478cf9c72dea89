import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Counter, counterManifest } from '../counter.ts';
import { must, run, TestNode, TestSwitch, until } from '../harness.ts';
import { storageClientTests } from '../storage-clients.ts';
import { makePartition, type TestPartition } from './partition.ts';

/** The engine `ceph`: the storage part of the story, with Debian's daemons as the roles mon, mgr, osd, mds and rgw; then a second machine joins with a disk. */

const minute = 60_000;
const directory = mkdtempSync(join(tmpdir(), 'engine-ceph-'));
// Users of roles pass through it.
chmodSync(directory, 0o755);
const network = new TestSwitch();
let partition: TestPartition | undefined;
const osds = [0, 1, 2].map((id) => `    - {id: ${id}, file: ${directory}/node/data/osd/osd.${id}.img, size: 8Gi}`);
const node = new TestNode({
  directory: join(directory, 'node'),
  network,
  config: ['roles: [server, agent, mon, mgr, osd, mds, rgw]', 'storage:', '  engine: ceph', '  osd:', ...osds].join(
    '\n',
  ),
});
const second = new TestNode({ directory: join(directory, 'second'), name: 'node-2', ip: '10.98.0.2', network });
const counter = new Counter(node);
const daemons = ['mon', 'mgr', 'osd.0', 'osd.1', 'osd.2', 'mds', 'rgw'];

beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await network.make();
  for (const one of [node, second]) await one.makeNetwork();
}, 5 * minute);
afterAll(async () => {
  await run(['umount', '-l', mountpoint]);
  for (const one of [second, node]) await one.remove();
  await network.remove();
  await partition?.remove();
  await run(['rm', '-rf', directory]);
}, 3 * minute);

const mountpoint = join(directory, 'files');
const instances = async (): Promise<{ name: string; pid?: number; phase: string; user?: string; detail?: string }[]> =>
  (await node.status()).instances;

describe('the engine ceph', () => {
  test('up: Debian’s daemons are the roles, and the storage is healthy', { timeout: 8 * minute }, async () => {
    expect(await node.up(6 * minute)).toContain('Ready after');
    await node.healthy(2 * minute);
    const all = await instances();
    for (const name of daemons) {
      const one = all.find((instance) => instance.name === name);
      expect(one).toMatchObject({ phase: 'running', user: 'ceph' });
      const [program, ...argv] = readFileSync(`/proc/${one!.pid}/cmdline`, 'utf8').split('\0');
      expect(program).toBe(name === 'rgw' ? 'radosgw' : `ceph-${name.split('.')[0]}`);
      expect(argv.join(' ')).toContain(`${node.runDir}/roles/${name}/ceph.conf`);
      const status = readFileSync(`/proc/${one!.pid}/status`, 'utf8');
      expect(status).toMatch(/^CapEff:\t0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\t1$/m);
      expect(statSync(`/proc/${one!.pid}`).uid).toBeGreaterThan(0);
    }
    expect(all.find(({ name }) => name === 'mon')?.detail).toBe('leader, 1 in quorum');
    expect(all.find(({ name }) => name === 'osd.0')?.detail).toMatch(/^active, osdmap e\d+, \d+ PGs$/);
    expect(all.find(({ name }) => name === 'mds')?.detail).toMatch(/^standby, fsmap e\d+$/);
    expect(all.find(({ name }) => name === 'rgw')?.detail).toBe('S3 on port 7480');
    expect(JSON.parse(await node.mustTool(['ceph', 'versions', '-f', 'json'])).osd).not.toEqual({});
    expect(await node.mustTool(['curl', '-s', '-m', '10', `http://${node.ip}:9283/metrics`])).toContain('ceph_osd_up');
  });

  test('a pod comes up on a volume', { timeout: 4 * minute }, async () => {
    await node.mustKubectl(['apply', '-f', counterManifest]);
    await counter.ready();
    await until('20 records', minute, async () => (await counter.acknowledged()).length >= 20);
    await counter.checkRecords(20);
  });

  storageClientTests(node);

  test('CephFS: a file system that `ceph fs volume create` makes is mounted by ceph-fuse', {
    timeout: 3 * minute,
  }, async () => {
    await node.mustTool(['ceph', 'fs', 'volume', 'create', 'files']);
    await until('the mds is active', minute, async () =>
      /^active/.test((await instances()).find(({ name }) => name === 'mds')?.detail ?? ''),
    );
    mkdirSync(mountpoint);
    const content = Buffer.alloc(9_000_000, 'appliance ');
    const mounted = async (use: () => void): Promise<void> => {
      await node.mustTool(['ceph-fuse', '--id', 'admin', mountpoint], { timeoutMs: minute });
      use();
      await must(['umount', mountpoint]);
    };
    await mounted(() => {
      mkdirSync(join(mountpoint, 'a/b'), { recursive: true });
      writeFileSync(join(mountpoint, 'a/b/one'), content);
    });
    await mounted(() => expect(readFileSync(join(mountpoint, 'a/b/one')).equals(content)).toBe(true));
  });

  test('S3: s3cmd makes a bucket, sends and fetches objects, a large one in parts', {
    timeout: 3 * minute,
  }, async () => {
    const [access, secret] = ['ENGINEACCESS', 'engine-secret-of-a-test'];
    const user = ['--uid', 'tester', '--display-name', 'Tester', '--access-key', access, '--secret-key', secret];
    await node.mustTool(['radosgw-admin', 'user', 'create', ...user], { timeoutMs: minute });
    const host = `${node.ip}:7480`;
    const keys = [`--access_key=${access}`, `--secret_key=${secret}`];
    const s3 = (...argv: string[]): Promise<string> =>
      must(
        node.inside(
          's3cmd',
          '-c',
          '/dev/null',
          ...keys,
          `--host=${host}`,
          `--host-bucket=${host}`,
          '--no-ssl',
          ...argv,
        ),
        {
          timeoutMs: minute,
        },
      );
    const file = join(directory, 'object');
    writeFileSync(file, Buffer.alloc(20_000_000, 'appliance '));
    await s3('mb', 's3://bucket');
    await s3('put', '--multipart-chunk-size-mb=5', '--no-progress', file, 's3://bucket/large');
    await s3('put', '--no-progress', join(import.meta.dirname, 'ceph.test.ts'), 's3://bucket/small');
    expect(await s3('ls', 's3://bucket')).toMatch(/20000000 +s3:\/\/bucket\/large\n[\s\S]*s3:\/\/bucket\/small/);
    await s3('get', '--no-progress', 's3://bucket/large', `${file}.back`);
    expect(readFileSync(`${file}.back`).equals(readFileSync(file))).toBe(true);
    await s3('rm', 's3://bucket/large', 's3://bucket/small');
    await s3('rb', 's3://bucket');
    expect(await s3('ls')).toBe('');
  });

  test('osd tools are for the other engine: they name those that do it', { timeout: minute }, async () => {
    const fsck = await node.appliance('osd', 'fsck', 'osd.0');
    expect(fsck.code).not.toBe(0);
    expect(fsck.stderr).toContain(`ceph-bluestore-tool fsck --path ${node.data}/instances/osd.0`);
    const listed = JSON.parse((await node.appliance('osd', 'list', '-o', 'json')).stdout) as { osd: number | null }[];
    for (const osd of [0, 1, 2]) expect(listed.find((one) => one.osd === osd)).toMatchObject({ state: 'running' });
    const wipe = await node.appliance('osd', 'wipe', 'osd.0', '--yes');
    expect(wipe.stderr).toContain('is in use: an OSD runs on it');
  });

  test.each(['mon', 'mgr', 'osd.1', 'mds', 'rgw'])(
    'kill -9 of %s: it comes back and nothing acknowledged is lost',
    { timeout: 6 * minute },
    async (name) => {
      const last = await counter.lastAcknowledged();
      const before = await counter.restarts();
      const pid = (await instances()).find((instance) => instance.name === name)?.pid;
      expect(pid).toBeGreaterThan(1);
      process.kill(pid!, 'SIGKILL');
      // A ceph-mgr loads two dozen modules before it says that it is there.
      await until(`${name} runs again`, 3 * minute, async () => {
        const instance = (await instances()).find((one) => one.name === name);
        return instance?.phase === 'running' && instance.pid !== pid;
      });
      await node.healthy(3 * minute);
      await counter.ready();
      await counter.checkRecords(last);
      expect(await counter.restarts()).toBe(before);
    },
  );

  test('logs and status tell of the daemons', { timeout: minute }, async () => {
    const logs = await node.appliance('logs', 'osd.1');
    expect(logs.stdout).toContain('osd.1');
    const status = await node.appliance('status');
    expect(status.stdout).toMatch(/Storage is healthy: 3 of 3 OSDs up/);
  });

  const hostOf = async (osd: number): Promise<{ host?: string; status?: string }> => {
    const { nodes } = JSON.parse(await node.mustTool(['ceph', 'osd', 'tree', '-f', 'json'])) as {
      nodes: { name: string; type: string; status?: string; children?: number[]; id: number }[];
    };
    const host = nodes.find(({ type, children }) => type === 'host' && children?.includes(osd))?.name;
    const status = nodes.find(({ id }) => id === osd)?.status;
    return { ...(host === undefined ? {} : { host }), ...(status === undefined ? {} : { status }) };
  };
  const url = `https://${node.ip}:6443`;

  test('a machine joins with a partition of a disk: its OSD is a ceph-osd of this cluster', {
    timeout: 5 * minute,
  }, async () => {
    partition = await makePartition(join(directory, 'second.disk'), 8 * 2 ** 30);
    writeFileSync(
      second.configFile,
      `${readFileSync(second.configFile, 'utf8')}storage: {osd: [{device: ${partition.path}}]}\n`,
    );
    const token = (await node.appliance('token', 'create')).stdout.trim();
    expect(await second.start(['join', token, '--server', url], 3 * minute)).toContain(
      'now node node-2 of the cluster',
    );
    await until('osd.3 is up', minute, async () => (await hostOf(3)).status === 'up');
    expect(await hostOf(3)).toEqual({ host: 'node-2', status: 'up' });
    const osd = (await second.status()).instances.find(({ name }) => name === 'osd.3') as {
      pid: number;
      user?: string;
    };
    expect(osd).toMatchObject({ phase: 'running', user: 'ceph' });
    expect(readFileSync(`/proc/${osd.pid}/cmdline`, 'utf8')).toMatch(/^ceph-osd\0/);
    await node.healthy(3 * minute);
  });

  test('that machine is installed again: its disk is refused by name, then comes back with its data', {
    timeout: 8 * minute,
  }, async () => {
    const uuid = async (): Promise<string> =>
      (
        JSON.parse(await node.mustTool(['ceph', 'osd', 'dump', '-f', 'json'])) as {
          osds: { osd: number; uuid: string }[];
        }
      ).osds.find(({ osd }) => osd === 3)!.uuid;
    const before = await uuid();
    expect((await second.appliance('down')).code).toBe(0);
    await second.waitForExit();
    rmSync(second.data, { recursive: true });
    const token = (await node.appliance('token', 'create', '--replace', 'node-2')).stdout.trim();
    await until('node-2 is a node again', 3 * minute, async () => {
      const joined = await second.appliance('join', token, '--server', url, '--no-start');
      if (joined.code !== 0) throw new Error(joined.stderr);
      return true;
    });
    const refused = await second.appliance('up');
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`${partition!.path} holds osd.3 of Ceph cluster`);
    expect(refused.stderr).toContain('ceph auth get osd.N -o osd.N.keyring');
    const keyring = join(second.data, 'ceph/keyrings/osd.3.keyring');
    await node.mustTool(['ceph', 'auth', 'get', 'osd.3', '-o', keyring]);
    const config = readFileSync(second.configFile, 'utf8');
    writeFileSync(second.configFile, config.replace('{device:', '{id: 3, device:'));
    await second.up(3 * minute);
    await until('osd.3 is up', minute, async () => (await hostOf(3)).status === 'up');
    expect(await uuid()).toBe(before);
    await node.healthy(3 * minute);
    expect((await second.appliance('down')).code).toBe(0);
    await second.waitForExit();
    await node.mustTool(['ceph', 'osd', 'purge', '3', '--yes-i-really-mean-it', '--force']);
    await node.healthy(3 * minute);
  });

  test('down leaves nothing behind; up continues with the data', { timeout: 6 * minute }, async () => {
    const last = await counter.lastAcknowledged();
    const output = await node.appliance('down');
    expect(output.code, output.stdout + output.stderr).toBe(0);
    await node.waitForExit();
    expect(await node.traces()).toEqual({ processes: [], mounts: [], namespaces: [], links: [], rules: [] });
    await node.up(3 * minute);
    await counter.ready();
    await counter.checkRecords(last);
  });

  test('another engine is refused before anything of it is touched', { timeout: 4 * minute }, async () => {
    expect((await node.appliance('down')).code).toBe(0);
    await node.waitForExit();
    const other = join(directory, 'embedded.yaml');
    const config = readFileSync(node.configFile, 'utf8');
    writeFileSync(other, config.replace('engine: ceph', 'engine: embedded').replace(', mds, rgw', ''));
    const up = await run(node.inside(node.binary, '-c', other, 'up'), { timeoutMs: minute });
    expect(up.code).not.toBe(0);
    expect(up.stderr).toContain('storage.engine is embedded, but the storage of this node');
    expect(up.stderr).toContain('Set storage.engine: ceph to go on with it');
  });

  test('reset takes all of it away', { timeout: 2 * minute }, async () => {
    const output = await node.appliance('reset', '--yes');
    expect(output.code, output.stdout + output.stderr).toBe(0);
    expect((await run(['ls', '-A', node.data])).stdout).toBe('');
  });
});
