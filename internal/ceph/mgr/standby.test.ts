import * as fs from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { utf8Text } from '../../base/bytes.ts';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { parseCryptoKey } from '../auth/crypto.ts';
import type { MonClient } from '../client/api.ts';
import { fsid, Harness } from '../mon/role.testing.ts';
import { addrV2 } from '../wire/types.ts';
import { MgrServer } from './server.ts';

/** Several mgrs and a mon on loopback. */

let harness: Harness | undefined;
const servers: MgrServer[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) await server.stop();
  await harness?.stop();
  if (harness !== undefined) fs.rmSync(harness.data, { recursive: true, force: true });
  harness = undefined;
});

interface Mgr {
  server: MgrServer;
  deposed: boolean;
}

async function startMgr(admin: MonClient, name: string): Promise<Mgr> {
  const caps = ['mon', 'allow profile mgr', 'osd', 'allow *', 'mds', 'allow *'];
  const entity = `mgr.${name}`;
  const given = name === 'a' ? { prefix: 'auth get', entity } : { prefix: 'auth get-or-create', entity, caps };
  const [{ key }] = (await ask(admin, given)) as [{ key: string }];
  const mgr = { deposed: false } as Mgr;
  mgr.server = await MgrServer.start({
    name,
    fsid,
    key: parseCryptoKey(key),
    auth: 'cephx',
    monAddrs: [[addrV2('127.0.0.1', harness!.port)]],
    ip: '127.0.0.1',
    firstPort: harness!.port + 10_000,
    poolDefaultSize: 3,
    metricsPort: 9283,
    metadata: new Map([['hostname', name]]),
    services: new Map([['prometheus', `http://${name}:9283/`]]),
    version: 'ceph version 16.2.15',
    deposed: () => {
      mgr.deposed = true;
    },
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  });
  servers.push(mgr.server);
  return mgr;
}

async function ask(client: MonClient, command: Record<string, unknown>): Promise<unknown> {
  const { code, output, status } = await client.command({ ...command, format: 'json' });
  if (code !== 0) throw new Error(`${String(command.prefix)}: ${status}`);
  return output.length === 0 ? undefined : JSON.parse(utf8Text(output));
}

interface Stat {
  active_name: string;
  available: boolean;
  num_standby: number;
}

async function statIs(admin: MonClient, wanted: Omit<Stat, 'available'>): Promise<void> {
  const expected = { ...wanted, available: true };
  let stat: Stat | undefined;
  for (let n = 0; n < 500; n++) {
    stat = (await ask(admin, { prefix: 'mgr stat' })) as Stat;
    if (Object.entries(expected).every(([name, value]) => stat![name as keyof Stat] === value)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(stat).toMatchObject(expected);
}

describe('mgrs', () => {
  test('the active one is failed: it ends, a standby serves; that one stops in order: the next follows at once', async () => {
    harness = new Harness();
    await harness.start();
    const admin = await harness.client('client.admin');
    const a = await startMgr(admin, 'a');
    await statIs(admin, { active_name: 'a', num_standby: 0 });
    const b = await startMgr(admin, 'b');
    await statIs(admin, { active_name: 'a', num_standby: 1 });
    const c = await startMgr(admin, 'c');
    await statIs(admin, { active_name: 'a', num_standby: 2 });
    expect(await ask(admin, { prefix: 'mgr services' })).toEqual({ prometheus: 'http://a:9283/' });
    expect(await a.server.metrics()).toContain('ceph_health_status');
    expect(await b.server.metrics()).toBe('');

    await ask(admin, { prefix: 'mgr fail' });
    // What was active says nothing more under its old id: a process that lost its place begins anew.
    for (let n = 0; n < 500 && !a.deposed; n++) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(a.deposed).toBe(true);
    await a.server.stop();
    const next = (await ask(admin, { prefix: 'mgr stat' })) as Stat;
    const [active, standby] = next.active_name === 'b' ? [b, c] : [c, b];
    const standbyName = active === b ? 'c' : 'b';
    await statIs(admin, { active_name: next.active_name, num_standby: 1 });
    expect(await active.server.metrics()).toContain('ceph_health_status');
    expect(await ask(admin, { prefix: 'mgr services' })).toEqual({ prometheus: `http://${next.active_name}:9283/` });
    expect(active.deposed).toBe(false);

    await active.server.stop();
    expect(active.deposed).toBe(false);
    expect(await ask(admin, { prefix: 'mgr stat' })).toMatchObject({ active_name: standbyName });
    await statIs(admin, { active_name: standbyName, num_standby: 0 });
    expect(standby.deposed).toBe(false);
  });
});
