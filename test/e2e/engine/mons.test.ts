import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run, TestNode, TestSwitch, until } from '../harness.ts';

/** The engine `ceph` on three machines: each has a ceph-mon and a ceph-mgr. One is killed under load, moves, is removed, comes back as a new one. */

const minute = 60_000;
const directory = mkdtempSync(join(tmpdir(), 'engine-mons-'));
// Users of roles pass through it.
chmodSync(directory, 0o755);
const network = new TestSwitch();
const osds = [0, 1].map((id) => `{id: ${id}, file: ${directory}/node-1/osd.${id}.img, size: 4Gi}`);
const first = new TestNode({
  directory: join(directory, 'node-1'),
  network,
  config: `roles: [server, mon, mgr, osd]\nstorage: {engine: ceph, osd: [${osds.join(', ')}]}`,
});
const [second, third] = [2, 3].map(
  (n) => new TestNode({ directory: join(directory, `node-${n}`), name: `node-${n}`, ip: `10.98.0.${n}`, network }),
) as [TestNode, TestNode];
const nodes = [first, second, third];
const url = `https://${first.ip}:6443`;

const inQuorum = (through: TestNode, names: string): Promise<unknown> =>
  until(`quorum ${names}`, 2 * minute, async () => {
    const text = await through.mustTool(['ceph', 'quorum_status', '--connect-timeout', '15'], { timeoutMs: 30_000 });
    // In the order in which they came.
    const now = (JSON.parse(text) as { quorum_names: string[] }).quorum_names.sort().join();
    if (now !== names) throw new Error(`it is ${now}`);
    return true;
  });
const instance = async (node: TestNode, name: string) =>
  (await node.status()).instances.find((one) => one.name === name) as
    | { pid?: number; phase: string; user?: string; detail?: string }
    | undefined;
const put = async (through: TestNode, name: string): Promise<void> => {
  await through.mustTool(['rados', '-p', 'data', 'put', name, '-'], { input: `content of ${name}`, timeoutMs: minute });
};
const token = async (...argv: string[]): Promise<string> =>
  (await first.appliance('token', 'create', '--role', 'server', ...argv)).stdout.trim();

beforeAll(async () => {
  await network.make();
  for (const node of nodes) await node.makeNetwork();
}, minute);
afterAll(async () => {
  for (const node of [...nodes].reverse()) await node.remove();
  await network.remove();
  await run(['rm', '-rf', directory]);
}, 4 * minute);

describe('ceph-mons and ceph-mgrs of machines that joined', () => {
  test('two machines bring one of each: three agree, two mgrs stand by', { timeout: 15 * minute }, async () => {
    await first.up(6 * minute);
    await first.healthy(3 * minute);
    const joining = await token();
    const said: string[] = [];
    for (const node of [second, third])
      said.push(await node.start(['join', joining, '--server', url, '--role', 'mon,mgr'], 4 * minute));
    expect(said[0]).toContain('two ceph-mons need each other');
    expect(said[1]).not.toContain('two ceph-mons need each other');
    for (const node of nodes) await inQuorum(node, 'a,node-2,node-3');
    for (const node of [second, third]) {
      for (const name of ['mon', 'mgr']) {
        const one = (await instance(node, name))!;
        expect(one).toMatchObject({ phase: 'running', user: 'ceph' });
        const argv = readFileSync(`/proc/${one.pid}/cmdline`, 'utf8').split('\0');
        expect(argv.slice(0, 4)).toEqual([`ceph-${name}`, '-f', '-i', node.name]);
      }
    }
    await until('two mgrs stand by', 2 * minute, async () => {
      const stat = JSON.parse(await third.mustTool(['ceph', 'mgr', 'dump', '-f', 'json'])) as {
        standbys: { name: string }[];
      };
      return stat.standbys.length === 2;
    });
    await first.healthy(2 * minute);
    expect(readFileSync(third.cephConf, 'utf8')).toMatch(/mon host = .*10\.98\.0\.3:3300.*10\.98\.0\.1:3300/);
  });

  test('kill -9 of the mon that leads: writes go on, and it is in the quorum again', {
    timeout: 6 * minute,
  }, async () => {
    await first.mustTool(['ceph', 'osd', 'pool', 'create', 'data', '8']);
    await first.mustTool(['ceph', 'osd', 'pool', 'application', 'enable', 'data', 'test']);
    let written = 0;
    let ended = false;
    const load = (async () => {
      for (; !ended; written++) await put(second, `o${written}`);
    })();
    load.catch(() => undefined);
    await until('writes', minute, () => Promise.resolve(written > 2));
    process.kill((await instance(first, 'mon'))!.pid!, 'SIGKILL');
    const before = written;
    await until('writes go on', minute, () => Promise.resolve(written > before + 2));
    await third.mustTool(['ceph', 'osd', 'pool', 'create', 'meanwhile', '1'], { timeoutMs: minute });
    for (const node of nodes) await inQuorum(node, 'a,node-2,node-3');
    ended = true;
    await load;
    for (let n = 0; n < written; n++)
      expect(await third.mustTool(['rados', '-p', 'data', 'get', `o${n}`, '-'])).toBe(`content of o${n}`);
  });

  test('the machine of the active mgr is cut off: a standby follows it', { timeout: 6 * minute }, async () => {
    const active = async (): Promise<string> => {
      const stat = JSON.parse(await first.mustTool(['ceph', 'mgr', 'stat', '-f', 'json'])) as {
        available: boolean;
        active_name: string;
      };
      return stat.available ? stat.active_name : '';
    };
    await first.mustTool(['ceph', 'mgr', 'fail', await active()]);
    const next = await until(
      'a standby is active',
      2 * minute,
      async () => (await active()) !== 'a' && (await active()),
    );
    const metrics = await first.mustTool([
      'curl',
      '-s',
      '-m',
      '20',
      `http://${nodes[Number(next.at(-1)) - 1]!.ip}:9283/metrics`,
    ]);
    expect(metrics).toContain('ceph_mon_quorum_status');
    await first.healthy(3 * minute);
  });

  test('a mon that has another address is another one to the others, and agrees with them again', {
    timeout: 6 * minute,
  }, async () => {
    expect((await third.appliance('down')).code).toBe(0);
    await third.waitForExit();
    await third.moveTo('10.98.0.33');
    await third.up(6 * minute);
    for (const node of nodes) await inQuorum(node, 'a,node-2,node-3');
    expect(await first.mustTool(['ceph', 'mon', 'stat'])).toContain('node-3=v2:10.98.0.33:3300/0');
    await put(third, 'moved');
  });

  test('a mon that is removed says so, and joins again as a new one', { timeout: 8 * minute }, async () => {
    await first.mustTool(['ceph', 'mon', 'rm', 'node-2']);
    await inQuorum(first, 'a,node-3');
    await until('its log says why', 2 * minute, async () =>
      (await second.appliance('logs', 'mon')).stdout.includes('the other mons have removed this one'),
    );
    expect((await second.appliance('down')).code).toBe(0);
    await second.waitForExit();
    const said = await second.start(['join', await token(), '--server', url, '--role', 'mon,mgr'], 4 * minute);
    expect(said).toContain('the store of an earlier mon is put aside');
    for (const node of nodes) await inQuorum(node, 'a,node-2,node-3');
  });

  test('a machine that was installed again takes its place: its mon of before is forgotten', {
    timeout: 8 * minute,
  }, async () => {
    expect((await second.appliance('down')).code).toBe(0);
    await second.waitForExit();
    rmSync(second.data, { recursive: true });
    const joining = await token('--replace', 'node-2');
    await second.start(['join', joining, '--server', url, '--role', 'mon,mgr'], 4 * minute);
    for (const node of nodes) await inQuorum(node, 'a,node-2,node-3');
    for (const name of ['moved', 'o0'])
      expect(await second.mustTool(['rados', '-p', 'data', 'get', name, '-'])).toBe(`content of ${name}`);
  });
});
