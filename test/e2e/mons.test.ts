import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { must, run, TestNode, TestSwitch, until } from './harness.ts';

/** Three mons on nodes in network namespaces on one switch, used by Debian's unmodified tools: mons that are killed under load, one that is cut off, one that is removed. */

const minute = 60_000;
const network = new TestSwitch();
const first = new TestNode({
  network,
  config: [
    'roles: [server, mon, mgr, osd]',
    `storage: {osd: [${[0, 1, 2].map((id) => `{id: ${id}, file: DIRECTORY/osd.${id}, size: 1Gi}`).join(', ')}]}`,
  ].join('\n'),
});
const second = new TestNode({ name: 'node-2', ip: '10.98.0.2', network });
const third = new TestNode({ name: 'node-3', ip: '10.98.0.3', network });
const nodes = [first, second, third];
const byMon: Record<string, TestNode> = { a: first, b: second, c: third };

interface QuorumStatus {
  quorum_names: string[];
  quorum_leader_name: string;
  monmap: { mons: { name: string }[] };
}

const quorum = async (through: TestNode): Promise<QuorumStatus> =>
  JSON.parse(await through.mustTool(['ceph', 'quorum_status'], { timeoutMs: 30_000 })) as QuorumStatus;

const inQuorum = (through: TestNode, names: string): Promise<unknown> =>
  until(`quorum ${names}`, minute, async () => (await quorum(through)).quorum_names.join() === names);

async function monPid(node: TestNode): Promise<number> {
  const { instances } = await node.status();
  return instances.find(({ name }) => name === 'mon')!.pid!;
}

beforeAll(async () => {
  writeFileSync(first.configFile, readFileSync(first.configFile, 'utf8').replaceAll('DIRECTORY', first.directory));
  await network.make();
  for (const node of nodes) await node.makeNetwork();
}, minute);
afterAll(async () => {
  for (const node of nodes.reverse()) await node.remove();
  await network.remove();
}, 4 * minute);

describe('mons', () => {
  test('two machines bring one each: three agree, and every node knows them all', { timeout: 8 * minute }, async () => {
    await first.up(3 * minute);
    const agentToken = (await first.appliance('token', 'create')).stdout.trim();
    const server = `https://${first.ip}:6443`;
    const refused = await second.appliance('join', agentToken, '--server', server, '--role', 'mon');
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain('because roles has mon');
    const token = (await first.appliance('token', 'create', '--role', 'server')).stdout.trim();
    for (const node of [second, third])
      await node.start(['join', token, '--server', server, '--role', 'mon,mgr'], 3 * minute);
    for (const node of nodes) await inQuorum(node, 'a,b,c');
    expect(await third.mustTool(['ceph', 'mon', 'stat'])).toMatch(
      /^e\d+: 3 mons at \{a=v2:10\.98\.0\.1:3300\/0,b=v2:10\.98\.0\.2:3300\/0,c=v2:10\.98\.0\.3:3300\/0\} removed_ranks: \{\}, election epoch \d+, leader \d [abc], quorum 0,1,2 a,b,c$/m,
    );
    const map = join(first.directory, 'monmap');
    await first.mustTool(['ceph', 'mon', 'getmap', '-o', map]);
    const printed = await must(['monmaptool', '--print', map]);
    expect(printed).toContain('2: v2:10.98.0.3:3300/0 mon.c');
    expect(readFileSync(third.cephConf, 'utf8')).toMatch(/mon host = .*10\.98\.0\.1:3300.*10\.98\.0\.2:3300/);
    await first.healthy(2 * minute);
    expect(await third.mustTool(['ceph', '-s'])).toMatch(/mon: 3 daemons, quorum a,b,c \(age /);
  });

  test('the mon that leads is killed three times under load: every command is carried out, I/O goes on', {
    timeout: 8 * minute,
  }, async () => {
    await first.mustTool(['ceph', 'osd', 'pool', 'create', 'data', '8']);
    await first.mustTool(['ceph', 'osd', 'pool', 'application', 'enable', 'data', 'test']);
    let ended = false;
    const made: string[] = [];
    const pools = async (node: TestNode, prefix: string): Promise<void> => {
      for (let n = 0; !ended; n++) {
        await node.mustTool(['ceph', 'osd', 'pool', 'create', `${prefix}${n}`, '1'], { timeoutMs: minute });
        made.push(`${prefix}${n}`);
      }
    };
    let written = 0;
    const objects = async (): Promise<void> => {
      for (; !ended; written++)
        await second.mustTool(['rados', '-p', 'data', 'put', `o${written}`, '-'], {
          input: `content ${written}`,
          timeoutMs: minute,
        });
    };
    const load = Promise.all([pools(second, 'p'), pools(third, 'q'), objects()]);
    load.catch(() => undefined);
    for (let kills = 0; kills < 3; kills++) {
      const { quorum_leader_name: leader } = await quorum(third);
      const node = byMon[leader]!;
      const before = made.length;
      process.kill(await monPid(node), 'SIGKILL');
      await until('pools are made again', minute, () => Promise.resolve(made.length > before + 2));
      for (const one of nodes) await inQuorum(one, 'a,b,c');
    }
    ended = true;
    await load;
    for (const node of nodes) {
      const there = JSON.parse(await node.mustTool(['ceph', 'osd', 'pool', 'ls', '-f', 'json'])) as string[];
      expect(there).toEqual(expect.arrayContaining(made));
    }
    expect(written).toBeGreaterThan(0);
    for (let n = 0; n < written; n++)
      expect(await first.mustTool(['rados', '-p', 'data', 'get', `o${n}`, '-'])).toBe(`content ${n}`);
  });

  test('a standby follows the mgr that a person fails, and the one whose machine is gone: statistics are right', {
    timeout: 8 * minute,
  }, async () => {
    const stat = async (): Promise<{ active_name: string; available: boolean; num_standby: number }> =>
      JSON.parse(await first.mustTool(['ceph', 'mgr', 'stat']));
    const serving = (standbys: number, not: string): Promise<string> =>
      until('another mgr serves', 2 * minute, async () => {
        const now = await stat();
        return now.available && now.num_standby === standbys && now.active_name !== not && now.active_name;
      });
    const mgrs: Record<string, TestNode> = { a: first, 'node-2': second, 'node-3': third };
    const before = await serving(2, '');
    const data = async (): Promise<unknown> => {
      const df = JSON.parse(await first.mustTool(['ceph', 'df', '-f', 'json'])) as {
        pools: { name: string; stats: { objects: number; stored: number } }[];
      };
      const { stats } = df.pools.find(({ name }) => name === 'data')!;
      const { pg_summary: pgs } = JSON.parse(await first.mustTool(['ceph', 'pg', 'stat', '-f', 'json'])) as {
        pg_summary: { num_pg_by_state: unknown };
      };
      return { objects: stats.objects, stored: stats.stored, pgs: pgs.num_pg_by_state };
    };
    const known = await data();
    const metrics = async (name: string): Promise<string> => {
      const url = `http://${mgrs[name]!.ip}:9283/metrics`;
      return must(first.inside('curl', '-sf', '--max-time', '10', url));
    };

    await first.mustTool(['ceph', 'mgr', 'fail']);
    // The one that was failed is a standby again.
    const failedOver = await serving(2, before);
    await until('its statistics', minute, async () => isDeepStrictEqual(await data(), known));
    expect(await metrics(failedOver)).toMatch(/^ceph_osd_up\{ceph_daemon="osd\.0"\} 1$/m);
    expect(await metrics(before)).toBe('');
    expect(JSON.parse(await first.mustTool(['ceph', 'mgr', 'services']))).toEqual({
      prometheus: `http://${mgrs[failedOver]!.ip}:9283/`,
    });

    // OSDs stay where they are: the machine that is cut off is one without them.
    if (failedOver === 'a') await first.mustTool(['ceph', 'mgr', 'fail']);
    const gone = failedOver === 'a' ? await serving(2, 'a') : failedOver;
    const link = (state: string) => must(['ip', '-n', mgrs[gone]!.namespace, 'link', 'set', 'uplink', state]);
    await link('down');
    const active = await serving(1, gone);
    await first.mustTool(['rados', '-p', 'data', 'put', 'one-more', '-'], { input: 'content' });
    await until('the new object is counted', minute, async () => {
      const { objects } = (await data()) as { objects: number };
      return objects === (known as { objects: number }).objects + 1;
    });
    expect(await first.mustTool(['ceph', '-s'])).toMatch(
      new RegExp(`mgr: ${active}\\(active, since \\S+\\), standbys: `),
    );
    expect(await metrics(active)).toMatch(/^ceph_osd_up\{ceph_daemon="osd\.2"\} 1$/m);
    expect(await first.mustTool(['ceph', 'log', 'last', '100'])).toContain(
      `Manager daemon ${gone} is unresponsive, replacing it with standby daemon ${active}`,
    );
    await link('up');
    await must(['ip', '-n', mgrs[gone]!.namespace, 'route', 'replace', 'default', 'dev', 'uplink']);
    expect(await serving(2, gone)).toBe(active);
    await inQuorum(first, 'a,b,c');
  });

  test('a mon that is cut off says nothing; the others go on, and it comes back', { timeout: 6 * minute }, async () => {
    const link = (state: string) => must(['ip', '-n', third.namespace, 'link', 'set', 'uplink', state]);
    await link('down');
    await inQuorum(first, 'a,b');
    expect(await first.mustTool(['ceph', 'health', 'detail'])).toMatch(
      /MON_DOWN: 1\/3 mons down, quorum a,b\n\s+mon\.c \(rank 2\) addr v2:10\.98\.0\.3:3300\/0 is down \(out of quorum\)/,
    );
    await first.mustTool(['ceph', 'osd', 'pool', 'create', 'meanwhile', '1']);
    // Its own address is gone with the link: asked on the machine itself.
    const asked = await run(third.inside('timeout', '10', 'ceph', '-m', '10.98.0.3:3300', 'osd', 'pool', 'ls'), {
      env: { CEPH_CONF: third.cephConf },
      timeoutMs: 30_000,
    });
    expect(asked.code).not.toBe(0);
    expect(asked.stdout).toBe('');
    await link('up');
    await must(['ip', '-n', third.namespace, 'route', 'replace', 'default', 'dev', 'uplink']);
    await inQuorum(third, 'a,b,c');
    expect(await third.mustTool(['ceph', 'osd', 'pool', 'ls'])).toContain('meanwhile');
  });

  test('every machine gets another address at once: the mons find each other, clients and OSDs find them, nothing is lost', {
    timeout: 10 * minute,
  }, async () => {
    for (const node of nodes) expect((await node.appliance('down')).code).toBe(0);
    for (const node of nodes) await node.waitForExit();
    for (const [i, node] of nodes.entries()) await node.moveTo(`10.98.0.${i + 51}`);
    await Promise.all(nodes.map((node) => node.up(5 * minute)));
    for (const node of nodes) await inQuorum(node, 'a,b,c');
    await until('the map has the new addresses', minute, async () =>
      (await third.mustTool(['ceph', 'mon', 'stat'])).includes(
        '{a=v2:10.98.0.51:3300/0,b=v2:10.98.0.52:3300/0,c=v2:10.98.0.53:3300/0}',
      ),
    );
    await until('the OSDs are up, and a mgr is active', 2 * minute, async () =>
      /mgr: \S+\(active, since .*\n.*osd: 3 osds: 3 up/.test(await second.mustTool(['ceph', '-s'])),
    );
    expect(await second.mustTool(['rados', '-p', 'data', 'get', 'one-more', '-'])).toBe('content');
    await first.mustTool(['ceph', 'osd', 'pool', 'create', 'after-the-move', '1']);
    expect(await third.mustTool(['ceph', 'osd', 'pool', 'ls'])).toContain('after-the-move');
  });

  test('a mon that is removed is gone from the map, and says so', { timeout: 4 * minute }, async () => {
    // Not by the one that goes: a tool whose mon went before it answered asks again, and hears that it is gone already.
    const removed = await first.tool(['ceph', '-m', '10.98.0.51:3300', 'mon', 'rm', 'c']);
    expect(removed.stderr).toMatch(/removing mon\.c at v2:10\.98\.0\.53:3300\/0, there will be 2 monitors/);
    await inQuorum(first, 'a,b');
    expect((await quorum(second)).monmap.mons.map(({ name }) => name)).toEqual(['a', 'b']);
    await until('node-3 says that its mon was removed', minute, async () =>
      (await third.appliance('status')).stdout.includes('the other mons have removed this one'),
    );
  });
});
