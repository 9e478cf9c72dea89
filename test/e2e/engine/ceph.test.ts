import { chmodSync, mkdtempSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Counter, counterManifest } from '../counter.ts';
import { must, run, TestNode, until } from '../harness.ts';
import { storageClientTests } from '../storage-clients.ts';

/** The engine `ceph`: the storage part of the story, with Debian's daemons as the roles mon, mgr and osd. */

const minute = 60_000;
const directory = mkdtempSync(join(tmpdir(), 'engine-ceph-'));
// Users of roles pass through it.
chmodSync(directory, 0o755);
const osds = [0, 1, 2].map((id) => `    - {id: ${id}, file: ${directory}/node/data/osd/osd.${id}.img, size: 8Gi}`);
const node = new TestNode({
  directory: join(directory, 'node'),
  config: ['storage:', '  engine: ceph', '  osd:', ...osds].join('\n'),
});
const counter = new Counter(node);
const daemons = ['mon', 'mgr', 'osd.0', 'osd.1', 'osd.2'];

beforeAll(async () => {
  await must(['sh', 'cmd/setup/busybox-image.sh', 'dist/images/busybox.tar']);
  await must(['sh', 'test/setup/kubectl.sh', '.cache/bin'], { timeoutMs: 3 * minute });
  await node.makeNetwork();
}, 5 * minute);
afterAll(async () => {
  await node.remove();
  await run(['rm', '-rf', directory]);
}, 3 * minute);

const instances = async (): Promise<{ name: string; pid?: number; phase: string; user?: string; detail?: string }[]> =>
  (await node.status()).instances;

describe('the engine ceph', () => {
  test('up: Debian’s daemons are the roles, and the storage is healthy', { timeout: 4 * minute }, async () => {
    expect(await node.up(3 * minute)).toContain('Ready after');
    await node.healthy(2 * minute);
    const all = await instances();
    for (const name of daemons) {
      const one = all.find((instance) => instance.name === name);
      expect(one).toMatchObject({ phase: 'running', user: 'ceph' });
      const [program, ...argv] = readFileSync(`/proc/${one!.pid}/cmdline`, 'utf8').split('\0');
      expect(program).toBe(`ceph-${name.split('.')[0]}`);
      expect(argv.join(' ')).toContain(`${node.runDir}/roles/${name}/ceph.conf`);
      const status = readFileSync(`/proc/${one!.pid}/status`, 'utf8');
      expect(status).toMatch(/^CapEff:\t0+$/m);
      expect(status).toMatch(/^NoNewPrivs:\t1$/m);
      expect(statSync(`/proc/${one!.pid}`).uid).toBeGreaterThan(0);
    }
    expect(all.find(({ name }) => name === 'mon')?.detail).toBe('leader, 1 in quorum');
    expect(all.find(({ name }) => name === 'osd.0')?.detail).toMatch(/^active, osdmap e\d+, \d+ PGs$/);
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

  test.each(['mon', 'mgr', 'osd.1'])(
    'kill -9 of %s: it comes back and nothing acknowledged is lost',
    { timeout: 4 * minute },
    async (name) => {
      const last = await counter.lastAcknowledged();
      const before = await counter.restarts();
      const pid = (await instances()).find((instance) => instance.name === name)?.pid;
      expect(pid).toBeGreaterThan(1);
      process.kill(pid!, 'SIGKILL');
      await until(`${name} runs again`, minute, async () => {
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
    writeFileSync(other, readFileSync(node.configFile, 'utf8').replace('engine: ceph', 'engine: embedded'));
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
