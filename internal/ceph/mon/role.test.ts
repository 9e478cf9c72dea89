import * as fs from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { emptyBytes, utf8Text } from '../../base/bytes.ts';
import { systemRandom } from '../../base/system.ts';
import { newCryptoKey, parseCryptoKey } from '../auth/crypto.ts';
import type { MonClient } from '../client/api.ts';
import { applyIncremental } from '../maps/apply.ts';
import { decodeIncremental } from '../maps/incremental-codec.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { decodeOsdMap } from '../maps/osdmap-codec.ts';
import { FEATURES_PACIFIC } from '../wire/features.ts';
import { MMgrCommand, MMgrCommandReply } from '../wire/messages/command.ts';
import { MLog } from '../wire/messages/log.ts';
import { MMgrBeacon } from '../wire/messages/mgr_mon.ts';
import { MMonSubscribe, MOSDMap } from '../wire/messages/mon.ts';
import {
  MPoolOp,
  MPoolOpReply,
  POOL_OP_CREATE_UNMANAGED_SNAP,
  POOL_OP_DELETE_UNMANAGED_SNAP,
} from '../wire/messages/mon_stats.ts';
import { MOSDAlive, MOSDBoot, MOSDFailure, MOSDMarkMeDown, MOSDPGTemp } from '../wire/messages/osd_mon.ts';
import { addrV2 } from '../wire/types.ts';
import { absentCommands } from './commands/absent.ts';
import { monCommands } from './commands/all.ts';
import { fsid, Harness, osdBoot } from './role.testing.ts';

const harnesses: Harness[] = [];

async function cluster(): Promise<Harness> {
  const harness = new Harness();
  harnesses.push(harness);
  await harness.start();
  return harness;
}

afterEach(async () => {
  for (const harness of harnesses.splice(0)) {
    await harness.stop();
    fs.rmSync(harness.data, { recursive: true, force: true });
  }
});

/** Follows the OSD map, and checks each increment's checksum on the way. */
function follow(
  client: MonClient,
  start = 0,
): { map(): OsdMap; until(condition: (map: OsdMap) => boolean): Promise<void> } {
  let map: OsdMap | undefined;
  client.on(MOSDMap, (message) => {
    for (const bytes of message.full.values()) {
      const next = decodeOsdMap(bytes.slice());
      if (map === undefined || next.epoch > map.epoch) map = next;
    }
    for (const [epoch, bytes] of [...message.incrementals].sort(([a], [b]) => a - b)) {
      if (map === undefined || epoch !== map.epoch + 1) continue;
      map = applyIncremental(map, decodeIncremental(bytes.slice()));
    }
    client.got('osdmap', map!.epoch);
  });
  client.subscribe('osdmap', start);
  return {
    map: () => map!,
    until: async (condition) => {
      for (let i = 0; i < 400 && !(map !== undefined && condition(map)); i++)
        await new Promise((r) => setTimeout(r, 10));
      expect(map !== undefined && condition(map)).toBe(true);
    },
  };
}

const addrs = (port: number) => [addrV2('127.0.0.1', port, port)];

function boot(client: MonClient, osdId: number, life = 0): void {
  client.send(MOSDBoot, osdBoot(osdId, { port: 30_000 + osdId * 10 + life * 100, host: 'n', weightTiB: 0.5 }));
}

async function command(client: MonClient, given: Record<string, unknown>): Promise<{ code: number; text: string }> {
  const { code, status, output } = await client.command(given);
  return { code, text: output.length > 0 ? utf8Text(output) : status };
}

describe('mon', () => {
  test('OSDs boot, fail, come back elsewhere, stop in order; clients see every epoch', async () => {
    const h = await cluster();
    const admin = await h.client('client.admin');
    const watched = follow(admin);
    const osds = await Promise.all([0, 1, 2].map((id) => h.client(`osd.${id}`)));
    for (const [id, osd] of osds.entries()) boot(osd, id);
    await watched.until((map) => map.countUp() === 3 && map.countIn() === 3);
    expect((await command(admin, { prefix: 'osd tree' })).text).toContain('host n');
    expect(JSON.parse((await command(admin, { prefix: 'health', format: 'json' })).text)).toMatchObject({
      status: 'HEALTH_OK',
      checks: {},
    });

    const failure = { fsid, target: 2, targetAddrs: addrs(30_020), failedForMs: 25_000, epoch: 5 } as const;
    osds[0]!.send(MOSDFailure, { ...failure, reporter: 0, kind: 'failed' });
    // One reporter is not believed while two could report, nor is somebody who speaks for another OSD.
    osds[0]!.send(MOSDFailure, { ...failure, reporter: 1, kind: 'failed' });
    await new Promise((r) => setTimeout(r, 100));
    expect(watched.map().isUp(2)).toBe(true);
    osds[1]!.send(MOSDFailure, { ...failure, reporter: 1, kind: 'failed' });
    await watched.until((map) => !map.isUp(2));

    boot(osds[2]!, 2, 1);
    await watched.until((map) => map.isUp(2) && map.clientAddrsOf(2)[0]!.port === 30_120);
    // A report about its former life is void.
    osds[1]!.send(MOSDFailure, { ...failure, reporter: 1, kind: 'immediate' });
    osds[1]!.send(MOSDMarkMeDown, { fsid, osdId: 1, addrs: addrs(30_010), epoch: 5, dead: false });
    await watched.until((map) => !map.isUp(1));
    expect(watched.map().isUp(2)).toBe(true);
    // Another disk cannot take the id.
    const otherDisk: MOSDBoot = {
      ...({} as MOSDBoot),
      fsid,
      osdId: 1,
      osdUuid: '00000000-0000-4000-8000-0000000000ff',
      bootEpoch: 1,
      clientAddrs: addrs(31_000),
      clusterAddrs: addrs(31_001),
      hbBackAddrs: addrs(31_002),
      hbFrontAddrs: addrs(31_003),
      features: FEATURES_PACIFIC,
      crush: { root: 'default', host: 'n', weightTiB: 1 },
      metadata: new Map(),
    };
    osds[1]!.send(MOSDBoot, otherDisk);
    await new Promise((r) => setTimeout(r, 100));
    expect(watched.map().isUp(1)).toBe(false);
    // Until the old one is forgotten.
    const purged = await admin.command({ prefix: 'osd purge-actual', id: 1, yes_i_really_mean_it: true });
    expect(purged.code).toBe(0);
    osds[1]!.send(MOSDBoot, otherDisk);
    await watched.until((map) => map.isUp(1) && map.osdUuid[1] === otherDisk.osdUuid);
  });

  test('up_thru and pg_temp are granted, what CRUSH says anyway is not kept', async () => {
    const h = await cluster();
    const admin = await h.client('client.admin');
    const watched = follow(admin);
    const osds = await Promise.all([0, 1, 2].map((id) => h.client(`osd.${id}`)));
    for (const [id, osd] of osds.entries()) boot(osd, id);
    await watched.until((map) => map.countUp() === 3);
    await command(admin, { prefix: 'osd pool create', pool: 'p', pg_num: 4 });
    await watched.until((map) => map.pools.size === 1);
    const [pool] = [...watched.map().pools.keys()];
    osds[0]!.send(MOSDAlive, { fsid, osdId: 0, epoch: watched.map().epoch, wantUpThru: watched.map().epoch });
    await watched.until((map) => map.infoOf(0).upThru > 0);
    const pg = { pool: pool!, seed: 1 };
    osds[0]!.send(MOSDPGTemp, { fsid, osdId: 0, epoch: watched.map().epoch, pgTemp: [{ pg, osds: [2, 0] }] });
    await watched.until((map) => map.pgTemp.get(pg.pool, pg.seed)?.join() === '2,0');
    osds[0]!.send(MOSDPGTemp, { fsid, osdId: 0, epoch: watched.map().epoch, pgTemp: [{ pg, osds: [] }] });
    await watched.until((map) => map.pgTemp.size === 0);
  });

  test('a client that was away gets the increments it missed, also after the mon restarted', async () => {
    const h = await cluster();
    const admin = await h.client('client.admin');
    for (let i = 0; i < 45; i++) await command(admin, { prefix: 'osd pool create', pool: `p${i}`, pg_num: 1 });
    const { newest } = await admin.version('osdmap');
    expect(newest).toBeGreaterThan(40);
    await h.stop();
    await h.start();
    const later = await h.client('client.admin');
    const watched = follow(later, 1);
    await watched.until((map) => map.epoch === newest);
    expect(watched.map().pools.size).toBe(45);
    const middle = await command(later, { prefix: 'osd dump', epoch: 20, format: 'json' });
    expect((JSON.parse(middle.text) as { epoch: number }).epoch).toBe(20);
  });

  test('old OSDMaps are let go, whoever is behind them begins with a whole map', async () => {
    const h = await cluster();
    const admin = await h.client('client.admin');
    await command(admin, { prefix: 'config set', who: 'mon', name: 'mon_min_osdmap_epochs', value: '64' });
    for (let i = 0; i < 90; i++)
      for (const prefix of ['osd set', 'osd unset']) await command(admin, { prefix, key: 'noout' });
    let { oldest, newest } = await admin.version('osdmap');
    for (let i = 0; i < 60 && oldest === 1; i++) {
      await new Promise((r) => setTimeout(r, 50));
      ({ oldest, newest } = await admin.version('osdmap'));
    }
    expect(oldest).toBeGreaterThan(64);
    expect((await command(admin, { prefix: 'osd dump', epoch: 5 })).code).toBe(-2);
    for (const epoch of [oldest, oldest + 7, newest])
      expect((await command(admin, { prefix: 'osd dump', epoch })).text).toContain(`epoch ${epoch}\n`);
    const watched = follow(admin, 3);
    await watched.until((map) => map.epoch === newest);
    await h.stop();
    await h.start();
    const again = await h.client('client.admin');
    expect(await again.version('osdmap')).toEqual({ newest, oldest });
    expect((await command(again, { prefix: 'osd dump', epoch: oldest })).code).toBe(0);
  });

  test('capabilities: an rbd client reads maps and takes snapshots in its pool, and may do nothing else', async () => {
    const h = await cluster();
    const admin = await h.client('client.admin');
    await command(admin, { prefix: 'osd pool create', pool: 'images', pg_num: 1 });
    await command(admin, { prefix: 'osd pool create', pool: 'other', pg_num: 1 });
    const rbd = await h.client('client.rbd');
    const watched = follow(rbd);
    await watched.until((map) => map.pools.size === 2);
    expect((await command(rbd, { prefix: 'osd dump' })).code).toBe(0);
    expect((await command(rbd, { prefix: 'osd pool create', pool: 'mine' })).code).toBe(-13);
    expect((await command(rbd, { prefix: 'auth ls' })).code).toBe(-13);
    expect((await command(rbd, { prefix: 'config-key get', key: 'x' })).code).toBe(-13);
    const ask = (pool: string, op: number, snapId = 0n) =>
      rbd.request(
        MPoolOp,
        { version: 0, fsid, pool: watched.map().poolId(pool)!, op, snapId, name: '', crushRule: 0 },
        MPoolOpReply,
      );
    const made = await ask('images', POOL_OP_CREATE_UNMANAGED_SNAP);
    expect(made.code).toBe(0);
    const snap = Buffer.from(made.data!).readBigUInt64LE();
    expect(snap).toBe(2n);
    expect((await ask('images', POOL_OP_DELETE_UNMANAGED_SNAP, snap)).code).toBe(0);
    await watched.until((map) => map.removedSnapsQueue.size === 1);
    expect((await ask('other', POOL_OP_CREATE_UNMANAGED_SNAP)).code).toBe(-1);
  });

  test('what was answered is there after a restart, an entity that was removed stays away', async () => {
    const h = await cluster();
    const admin = await h.client('client.admin');
    await command(admin, { prefix: 'osd pool create', pool: 'kept', pg_num: 2 });
    await command(admin, { prefix: 'config-key set', key: 'k', val: 'v' });
    await command(admin, { prefix: 'config set', who: 'osd', name: 'osd_max_backfills', value: '3' });
    await command(admin, { prefix: 'auth get-or-create', entity: 'client.new', caps: ['mon', 'allow r'] });
    await command(admin, { prefix: 'auth rm', entity: 'client.rbd' });
    await command(admin, { prefix: 'osd set', key: 'noout' });
    const before = (await command(admin, { prefix: 'auth export' })).text;
    await h.stop();
    await h.start();
    const again = await h.client('client.admin');
    expect((await command(again, { prefix: 'osd pool ls' })).text).toBe('kept\n');
    expect((await command(again, { prefix: 'config-key get', key: 'k' })).text).toBe('v');
    expect((await command(again, { prefix: 'config get', who: 'osd.1', key: 'osd_max_backfills' })).text).toBe('3\n');
    expect((await command(again, { prefix: 'auth export' })).text).toBe(before);
    expect(before).toContain('client.new');
    expect(before).not.toContain('client.rbd');
    expect((await command(again, { prefix: 'health' })).text).toContain('noout flag(s) set');
    const osd = await h.client('osd.1');
    expect(osd.config.get('osd_max_backfills')).toBe('3');
  });

  test('a mgr becomes active, available and is replaced under its own name', async () => {
    const h = await cluster();
    const admin = await h.client('client.admin');
    const mgr = await h.client('mgr.a');
    const beacon = {
      fsid,
      gid: mgr.globalId,
      name: 'a',
      addrs: addrs(32_000),
      available: false,
      features: FEATURES_PACIFIC,
      metadata: new Map([['hostname', 'n']]),
      modules: ['status'],
      clients: [],
      services: new Map<string, string>(),
    };
    const stat = async () => JSON.parse((await command(admin, { prefix: 'mgr stat', format: 'json' })).text) as object;
    mgr.send(MMgrBeacon, beacon);
    for (let i = 0; i < 50 && !JSON.stringify(await stat()).includes('"a"'); i++)
      await new Promise((r) => setTimeout(r, 20));
    expect(await stat()).toMatchObject({ active_name: 'a', available: false });
    mgr.send(MMgrBeacon, { ...beacon, available: true });
    for (let i = 0; i < 50 && !JSON.stringify(await stat()).includes('true'); i++)
      await new Promise((r) => setTimeout(r, 20));
    expect(await stat()).toMatchObject({ available: true, num_standby: 0 });
    // Commands of the mgr that come to the mon go on to it, for those who may give them.
    mgr.on(MMgrCommand, ({ command: words }, { tid }) => {
      mgr.connection!.send(
        MMgrCommandReply,
        { code: -2, status: `heard ${words.join()}`, output: emptyBytes },
        { tid },
      );
    });
    expect(await command(admin, { prefix: 'service dump' })).toEqual({
      code: -2,
      text: 'heard {"prefix":"service dump"}',
    });
    expect((await command(await h.client('client.none'), { prefix: 'service dump' })).code).toBe(-13);
    await command(admin, { prefix: 'mgr fail' });
    expect((await command(admin, { prefix: 'service dump' })).code).toBe(-11);
    expect(await stat()).toMatchObject({ available: false, active_name: '' });
    const { osdmap } = { osdmap: (await command(admin, { prefix: 'osd blocklist ls' })).text };
    expect(osdmap).toContain('127.0.0.1:32000/32000');
  });

  test('a standby follows the mgr that is failed, with what it serves; facts about the other are gone', async () => {
    const h = await cluster();
    const admin = await h.client('client.admin');
    const json = async (prefix: string): Promise<unknown> =>
      JSON.parse((await command(admin, { prefix, format: 'json' })).text);
    const until = async (what: string, prefix: string, holds: (value: Record<string, unknown>) => boolean) => {
      for (let i = 0; i < 100; i++) {
        if (holds((await json(prefix)) as Record<string, unknown>)) return;
        await new Promise((r) => setTimeout(r, 20));
      }
      throw new Error(`never: ${what}`);
    };
    const own = async (name: string): Promise<MonClient> => {
      const caps = ['mon', 'allow profile mgr', 'osd', 'allow *', 'mds', 'allow *'];
      const entity = `mgr.${name}`;
      const given = name === 'a' ? { prefix: 'auth get', entity } : { prefix: 'auth get-or-create', entity, caps };
      const [{ key }] = JSON.parse((await command(admin, { ...given, format: 'json' })).text) as [{ key: string }];
      return h.client(entity, parseCryptoKey(key));
    };
    const names = ['a', 'b', 'c'];
    const mgrs = [];
    for (const [i, name] of names.entries()) {
      const mgr = await own(name);
      const beacon = {
        fsid,
        gid: mgr.globalId,
        name,
        addrs: addrs(32_000 + i),
        available: false,
        features: FEATURES_PACIFIC,
        metadata: new Map([['hostname', `host-${name}`]]),
        modules: ['status'],
        clients: [],
        services: new Map<string, string>(),
      };
      const serves = { ...beacon, available: true, services: new Map([['prometheus', `http://${name}:9283/`]]) };
      mgr.send(MMgrBeacon, beacon);
      if (i === 0) {
        await until('active', 'mgr stat', (stat) => stat.active_name === 'a');
        mgr.send(MMgrBeacon, serves);
      } else await until('standby', 'mgr stat', (stat) => stat.num_standby === i);
      mgrs.push({ mgr, serves });
    }
    expect(await json('mgr services')).toEqual({ prometheus: 'http://a:9283/' });
    expect(((await json('mgr metadata')) as { name: string }[]).map(({ name }) => name)).toEqual(names);
    expect((await command(admin, { prefix: 'status' })).text).toMatch(/mgr: a\(active, since .*\), standbys: b, c/);

    expect(await command(admin, { prefix: 'mgr fail', who: 'nobody' })).toMatchObject({ code: 0 });
    await command(admin, { prefix: 'mgr fail' });
    // Until it says that it serves, nobody is sent to it.
    expect(await json('mgr dump')).toMatchObject({
      active_name: 'b',
      available: false,
      services: {},
    });
    mgrs[1]!.mgr.send(MMgrBeacon, mgrs[1]!.serves);
    await until('available', 'mgr stat', (stat) => stat.available === true);
    expect(await json('mgr services')).toEqual({ prometheus: 'http://b:9283/' });
    expect(((await json('mgr metadata')) as { name: string }[]).map(({ name }) => name)).toEqual(['b', 'c']);
    const log = (await command(admin, { prefix: 'log last', num: 20, level: 'debug' })).text;
    for (const line of ['Standby manager daemon c started', 'Manager daemon b is now available'])
      expect(log).toContain(line);
    // A standby that came again under its name is one, not two.
    const again = await own('c');
    again.send(MMgrBeacon, { ...mgrs[2]!.serves, gid: again.globalId, available: false, services: new Map() });
    await until('the same number', 'mgr dump', ({ standbys }) =>
      (standbys as { gid: number }[]).every(({ gid }) => BigInt(gid) === again.globalId),
    );
    await command(admin, { prefix: 'mgr fail', who: 'c' });
    expect(await json('mgr stat')).toMatchObject({ active_name: 'b', num_standby: 0 });
    expect(((await json('mgr metadata')) as { name: string }[]).map(({ name }) => name)).toEqual(['b']);
  });

  test('no command that is there is also listed as absent', () => {
    const prefixOf = ({ signature }: { signature: string }): string => signature.replace(/ name=.*$/, '');
    const absent = absentCommands.map(prefixOf);
    expect(new Set(absent).size).toBe(absent.length);
    const table = monCommands();
    for (const prefix of absent) expect([prefix, table.find(prefix).length]).toEqual([prefix, 1]);
  });

  test('the copies that I/O needs follow a change of the size, or what the configuration says', async () => {
    const h = await cluster();
    const admin = await h.client('client.admin');
    await command(admin, { prefix: 'osd pool create', pool: 'p', pg_num: 1 });
    const minSize = async (size: number): Promise<string> => {
      await command(admin, { prefix: 'osd pool set', pool: 'p', var: 'size', val: String(size) });
      return (await command(admin, { prefix: 'osd pool get', pool: 'p', var: 'min_size' })).text;
    };
    // As ceph-mon 16.2.15 answers.
    for (const [size, min] of [
      [2, 1],
      [3, 2],
      [5, 3],
      [4, 2],
      [2, 1],
    ] as const)
      expect(await minSize(size)).toContain(`min_size: ${min}`);
    await command(admin, { prefix: 'config set', who: 'mon', name: 'osd_pool_default_min_size', value: '2' });
    for (const size of [2, 3, 5, 4, 2]) expect(await minSize(size)).toContain('min_size: 2');
  });

  test('the log: another level takes the place of the one before', async () => {
    const h = await cluster();
    const admin = await h.client('client.admin');
    const seen: string[] = [];
    admin.on(MLog, ({ entries }) => {
      for (const { message } of entries) seen.push(message);
    });
    const watch = (what: string): void =>
      admin.send(MMonSubscribe, { what: new Map([[what, { start: 0, once: false }]]), hostname: '' });
    const say = async (text: string): Promise<void> => {
      await command(admin, { prefix: 'log', logtext: [text] });
      // Its answer comes behind what the log had to tell.
      await command(admin, { prefix: 'log last' });
    };
    watch('log-info');
    await say('first');
    expect(seen.join()).toContain('first');
    watch('log-error');
    await say('second');
    expect(seen.join()).not.toContain('second');
    watch('log-info');
    await say('third');
    expect(seen.join()).toContain('third');
  });

  test('wrong keys and unknown commands are refused', async () => {
    const h = await cluster();
    const admin = await h.client('client.admin');
    expect(await command(admin, { prefix: 'no such' })).toEqual({ code: -22, text: 'command not known' });
    expect((await command(admin, { prefix: 'osd pool get', pool: 'none', var: 'size' })).code).toBe(-2);
    expect((await command(admin, { prefix: 'osd erasure-code-profile set', name: 'x', profile: ['k=1'] })).code).toBe(
      -22,
    );
    // What the `ceph` tool sends for `ceph nfs cluster ls`.
    expect(await command(admin, { prefix: 'nfs', args: ['cluster', 'ls'] })).toEqual({
      code: -95,
      text: "'nfs' is not supported by this version: NFS exports",
    });
    h.entries.set('osd.0', { ...h.entries.get('osd.0')!, key: newCryptoKey(Date.now(), systemRandom) });
    await expect(h.client('osd.0')).rejects.toThrow();
  });
});
