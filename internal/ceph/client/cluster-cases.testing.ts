import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../base/bytes.ts';
import type { Clock } from '../../base/clock.ts';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { parseKeyring } from '../auth/keyring.ts';
import { CON_MODE_CRC, CON_MODE_SECURE } from '../wire/messenger.ts';
import { OP, OsdOp } from '../wire/messages/osd_op.ts';
import { ENTITY_OSD } from '../wire/types.ts';
import { parseMonHosts } from './ceph-conf.ts';
import { ENOENT, EOPNOTSUPP, ESHUTDOWN, ETIMEDOUT, isRadosError } from './errors.ts';
import type { PoolIo } from './ioctx.ts';
import { connectRados, type Rados, type RadosClientOptions } from './rados-client.ts';
import { Rbd } from './rbd-image.ts';

/** A cluster that runs, whoever's its daemons are: four OSDs, a pool `rbd`. */
export interface RunningCluster {
  /** With `mon host`, and `keyring` of client.admin. */
  readonly conf: string;
  /** Sends SIGKILL to `mon`, `osd.2`; whoever supervises it starts it again. Absent: cases that need it are left out. */
  kill?(instance: string): Promise<void>;
}

const minute = 60_000;
const retryMs = 250;

/** The table of what our client does with a cluster: the same for ours and for a real one. */
export function clientCases(cluster: () => RunningCluster, { kills }: { kills: boolean }): void {
  let client: Rados;
  let io: PoolIo;
  let conf: string;
  const prefix = `t${systemRandom.uint32()}-`;
  const connect = (more: Partial<RadosClientOptions> = {}): Promise<Rados> => {
    const text = readFileSync(conf, 'utf8');
    const keyring = /^\s*keyring\s*=\s*(.*)$/m.exec(text)![1]!.trim().replace('$name', 'client.admin');
    return connectRados({
      entity: { type: 8, id: 'admin' },
      key: parseKeyring(readFileSync(keyring, 'utf8')).get('client.admin')!.key,
      monAddrs: parseMonHosts(text, conf).monAddrs,
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
      ...more,
    });
  };
  const until = async (what: string, check: () => Promise<boolean> | boolean): Promise<void> => {
    const deadline = performance.now() + 2 * minute;
    while (!(await check())) {
      if (performance.now() > deadline) throw new Error(`${what}: not within two minutes`);
      await Bun.sleep(retryMs);
    }
  };
  const makePool = async (name: string, more: Record<string, unknown> = {}): Promise<PoolIo> => {
    await client.check({ prefix: 'osd pool create', pool: name, pg_num: 8, ...more });
    await client.check({ prefix: 'osd pool application enable', pool: name, app: 'test' });
    return client.ioctx(name);
  };
  const primaryOf = async (pool: string, object: string): Promise<number> => {
    const map = JSON.parse(await client.check({ prefix: 'osd map', pool, object, format: 'json' })) as {
      acting_primary: number;
    };
    return map.acting_primary;
  };

  beforeAll(async () => {
    conf = cluster().conf;
    client = await connect();
    io = await client.ioctx('rbd');
  }, minute);
  afterAll(async () => {
    await client?.close();
  });

  test('data: write, append, overwrite, truncate, read at the end, remove', async () => {
    const oid = `${prefix}data`;
    await io.writeFull(oid, utf8('hello'));
    await io.append(oid, [utf8(' '), utf8('world')]);
    await io.write(oid, utf8('J'));
    expect(utf8Text(await io.read(oid))).toBe('Jello world');
    expect(utf8Text(await io.read(oid, 6, 100))).toBe('world');
    await io.truncate(oid, 4);
    expect((await io.stat(oid))?.size).toBe(4);
    await io.remove(oid);
    expect(await io.stat(oid)).toBeUndefined();
    const error = await io.read(oid).catch((e: unknown) => e);
    expect(isRadosError(error, ENOENT)).toBe(true);
  });

  test('8 MiB there and back', async () => {
    const data = systemRandom.bytes(8 << 20);
    await io.writeFull(`${prefix}big`, data);
    expect(Buffer.compare(await io.read(`${prefix}big`), data)).toBe(0);
    await io.remove(`${prefix}big`);
  });

  test('xattrs and omap', async () => {
    const oid = `${prefix}meta`;
    await io.create(oid);
    await io.setXattr(oid, 'a', utf8('1'));
    await io.setXattr(oid, 'b', utf8('2'));
    await io.removeXattr(oid, 'a');
    expect([...(await io.getXattrs(oid)).keys()]).toEqual(['b']);
    expect(utf8Text(await io.getXattr(oid, 'b'))).toBe('2');
    await io.omapSet(oid, new Map(['k1', 'k2', 'k3'].map((k) => [k, utf8(`v${k}`)])));
    await io.omapSetHeader(oid, utf8('header'));
    await io.omapRemove(oid, ['k2']);
    expect((await io.omapList(oid, '', 10)).entries.map(([k]) => k)).toEqual(['k1', 'k3']);
    expect((await io.omapList(oid, 'k1', 10)).entries.map(([k]) => k)).toEqual(['k3']);
    expect([...(await io.omapGet(oid, ['k3', 'none'])).keys()]).toEqual(['k3']);
    expect(utf8Text(await io.omapHeader(oid))).toBe('header');
    await io.remove(oid);
  });

  test('steps are one transaction: an exclusive create that fails writes nothing', async () => {
    const oid = `${prefix}atomic`;
    await io.writeFull(oid, utf8('old'));
    const steps = [
      { op: 'write-full', data: utf8('new') },
      { op: 'create', exclusive: true },
    ] as const;
    await expect(io.operate(oid, steps)).rejects.toThrow('EEXIST');
    expect(utf8Text(await io.read(oid))).toBe('old');
    await io.remove(oid);
  });

  test('a listing shows every object once', async () => {
    const names = Array.from({ length: 60 }, (_, i) => `${prefix}list${i}`);
    await Promise.all(names.map((name) => io.writeFull(name, utf8(name))));
    const seen: string[] = [];
    for await (const name of io.listObjects()) if (name.startsWith(`${prefix}list`)) seen.push(name);
    expect(seen.sort()).toEqual([...names].sort());
    await Promise.all(names.map((name) => io.remove(name)));
  });

  test('watch and notify', async () => {
    const oid = `${prefix}watched`;
    await io.create(oid);
    const got: string[] = [];
    const watch = await io.watch(
      oid,
      (payload) => {
        got.push(utf8Text(payload));
        return utf8('heard');
      },
      () => undefined,
    );
    expect(await io.listWatchers(oid)).toMatchObject([{ entity: `client.${client.globalId}`, cookie: watch.cookie }]);
    const result = await io.notify(oid, utf8('ping'), 5000);
    expect(got).toEqual(['ping']);
    expect(result.acks.map((a) => utf8Text(a.reply))).toEqual(['heard']);
    expect(result.missed).toEqual([]);
    await watch.close();
    expect((await io.notify(oid, utf8('nobody'), 5000)).acks).toEqual([]);
    await io.remove(oid);
  });

  test('commands to the mon', async () => {
    expect(JSON.parse(await client.check({ prefix: 'osd tree', format: 'json' }))).toHaveProperty('nodes');
    const { code } = await client.command({ prefix: 'osd pool rename', srcpool: 'no-such', destpool: 'x' });
    expect(code).toBe(ENOENT);
  });

  test('images: ours looks to `rbd` as its own, grows, and goes without a trace', async () => {
    const rbd = (...args: string[]): string => spawnSync('rbd', ['-c', conf, ...args], { encoding: 'utf8' }).stdout;
    const images = new Rbd(client, io, systemClock, systemRandom);
    const name = `${prefix}image`;
    const theirs = `${prefix}theirs`;
    const id = await images.create(name, { sizeBytes: 64 << 20 });
    rbd('create', theirs, '--size', '64M');
    const facts = (text: string): string[] =>
      text.split('\n').filter((line) => !/image|id:|prefix|timestamp/.test(line));
    expect(facts(rbd('info', name))).toEqual(facts(rbd('info', theirs)));
    expect((await images.list()).get(name)).toBe(id);
    await images.resize(name, 100 << 20);
    expect(JSON.parse(rbd('info', name, '--format', 'json'))).toMatchObject({ size: 100 << 20, objects: 25 });
    await expect(images.create(name, { sizeBytes: 1 })).rejects.toThrow('EEXIST');
    expect(await images.remove(name)).toBe(true);
    expect(await images.remove(name)).toBe(false);
    expect(await images.remove(theirs)).toBe(true);
    expect(rbd('ls')).not.toContain(prefix);
    for await (const oid of io.listObjects()) expect(oid).not.toContain(id);
  });

  test('an object class: its answer, and its refusal', { timeout: minute }, async () => {
    const oid = `${prefix}class`;
    await io.execWrite(oid, 'hello', 'record_hello', utf8('client'));
    expect(utf8Text(await io.exec(oid, 'hello', 'say_hello', utf8('client')))).toBe('Hello, client!');
    expect(utf8Text(await io.exec(oid, 'hello', 'replay'))).toBe('Hello, client!');
    await expect(io.exec(oid, 'hello', 'no_such_method')).rejects.toThrow('EOPNOTSUPP');
    await io.remove(oid);
  });

  test('snapshots that the client manages: an older state is read, and brought back', { timeout: minute }, async () => {
    const pool = await makePool(`${prefix}snaps`);
    await pool.writeFull('one', utf8('first'));
    const first = await client.createSelfManagedSnap(pool.poolId);
    const after = pool.with({ snapContext: { seq: first, snaps: [first] } });
    await after.writeFull('one', utf8('second'));
    const then = pool.with({ snapId: first });
    expect(utf8Text(await then.read('one'))).toBe('first');
    expect(utf8Text(await pool.read('one'))).toBe('second');
    await after.run('one', [OsdOp.snap(OP.ROLLBACK, first)], true);
    expect(utf8Text(await pool.read('one'))).toBe('first');
    await client.removeSelfManagedSnap(pool.poolId, first);
    await until('the snapshot is gone', async () =>
      isRadosError(await then.read('one').catch((error: unknown) => error), ENOENT),
    );
  });

  test('an erasure-coded pool: appended, read in part and whole; it has no omap', { timeout: 2 * minute }, async () => {
    const name = `${prefix}ec`;
    const profile = ['k=2', 'm=1', 'crush-failure-domain=osd'];
    await client.check({ prefix: 'osd erasure-code-profile set', name, profile });
    const pool = await makePool(name, { pool_type: 'erasure', erasure_code_profile: name });
    const data = systemRandom.bytes(300_000);
    await pool.writeFull('one', data);
    expect(Buffer.compare(await pool.read('one'), data)).toBe(0);
    expect(Buffer.compare(await pool.read('one', 100_001, 50_000), data.subarray(100_001, 150_001))).toBe(0);
    const refused = await pool.omapSet('one', new Map([['k', utf8('v')]])).catch((error: unknown) => error);
    expect(isRadosError(refused, EOPNOTSUPP)).toBe(true);
  });

  test.each([
    ['secure', CON_MODE_SECURE],
    ['crc', CON_MODE_CRC],
  ] as const)('connections in mode %s only', { timeout: minute }, async (name, mode) => {
    const only = await connect({ monModes: [mode], modes: [mode] });
    try {
      expect(only.mon.connection!.mode).toBe(mode);
      const own = await only.ioctx('rbd');
      await own.writeFull(`${prefix}${name}`, utf8(name));
      expect(utf8Text(await own.read(`${prefix}${name}`))).toBe(name);
      await own.remove(`${prefix}${name}`);
    } finally {
      await only.close();
    }
  });

  test('tickets that are over by the clock are renewed before the next daemon is spoken to', {
    timeout: 2 * minute,
  }, async () => {
    let aheadMs = 0;
    const clock: Clock = { ...systemClock, now: () => systemClock.now() + aheadMs };
    const late = await connect({ clock });
    try {
      const own = await late.ioctx('rbd');
      // An authorizer begins with the ticket, which is the same until it is renewed.
      const ticket = (): string => Buffer.from(late.mon.clientAuth(ENTITY_OSD).begin()).toString('hex', 0, 60);
      const before = ticket();
      expect(ticket()).toBe(before);
      // Tickets of services are good for an hour. No OSD has been spoken to so far.
      aheadMs = 2 * 3600_000;
      await until('another ticket', () => ticket() !== before);
      await own.writeFull(`${prefix}late`, utf8('late'));
      await own.remove(`${prefix}late`);
    } finally {
      await late.close();
    }
  });

  test('a client that is blocklisted is told so; another one is not', { timeout: 2 * minute }, async () => {
    const oid = `${prefix}blocked`;
    const blocked = await connect();
    try {
      const own = await blocked.ioctx('rbd');
      await own.writeFull(oid, utf8('mine'));
      const watch = await own.watch(
        oid,
        () => utf8(''),
        () => undefined,
      );
      const address = (await own.listWatchers(oid))[0]!.address;
      await client.check({ prefix: 'osd blocklist', blocklistop: 'add', addr: address });
      const answers = async (): Promise<unknown> => own.writeFull(oid, utf8('again')).catch((error: unknown) => error);
      await until('it is refused', async () => isRadosError(await answers(), ESHUTDOWN));
      await io.writeFull(oid, utf8('of another'));
      await client.check({ prefix: 'osd blocklist', blocklistop: 'rm', addr: address });
      await watch.close().catch(() => undefined);
    } finally {
      await blocked.close();
    }
    await io.remove(oid);
  });

  test('a pool that has reached its quota: writes wait until that is raised', { timeout: 4 * minute }, async () => {
    const name = `${prefix}full`;
    const pool = await makePool(name);
    const setMax = (val: string): Promise<string> =>
      client.check({ prefix: 'osd pool set-quota', pool: name, field: 'max_objects', val });
    await setMax('1');
    const hasty = pool.with({ timeoutMs: 2000 });
    let n = 0;
    await until('a write waits', async () => {
      const answer = await hasty.writeFull(`o${n++}`, utf8('x')).catch((error: unknown) => error);
      return isRadosError(answer, ETIMEDOUT);
    });
    const waiting = pool.writeFull('waiting', utf8('x'));
    await setMax('0');
    await waiting;
    expect(await pool.exists('waiting')).toBe(true);
  });

  test('placement groups are split and OSDs leave under load: everything written is there', {
    timeout: 4 * minute,
  }, async () => {
    const name = `${prefix}split`;
    const pool = await makePool(name, { pg_num: 4, autoscale_mode: 'off' });
    const epoch = client.map.epoch;
    let ended = false;
    let written = 0;
    const load = (async () => {
      for (; !ended; written++) await pool.writeFull(`o${written}`, utf8(`content ${written}`));
    })();
    load.catch(() => undefined);
    await client.check({ prefix: 'osd pool set', pool: name, var: 'pg_num', val: '16' });
    await client.check({ prefix: 'osd out', ids: ['3'] });
    await until('all groups are there', async () => {
      await client.latestMap();
      return client.map.pools.get(pool.poolId)?.pgNum === 16;
    });
    await client.check({ prefix: 'osd in', ids: ['3'] });
    const before = written;
    await until('writes go on', () => written > before + 20);
    ended = true;
    await load;
    expect(client.map.epoch).toBeGreaterThan(epoch + 2);
    for (let n = 0; n < written; n++) expect(utf8Text(await pool.read(`o${n}`))).toBe(`content ${n}`);
  });

  test.runIf(kills)(
    'the primary of an object is killed: the write is done, the watch is there again',
    {
      timeout: 4 * minute,
    },
    async () => {
      const oid = `${prefix}primary`;
      await io.writeFull(oid, utf8('0'));
      const heard: string[] = [];
      const watch = await io.watch(
        oid,
        (payload) => {
          heard.push(utf8Text(payload));
          return utf8('yes');
        },
        () => undefined,
      );
      await cluster().kill!(`osd.${await primaryOf('rbd', oid)}`);
      for (let n = 1; n <= 20; n++) {
        await io.append(oid, utf8(`,${n}`));
        expect(utf8Text(await io.read(oid)).split(',')).toHaveLength(n + 1);
      }
      await until('the watcher hears', async () => {
        await io.notify(oid, utf8('there?'), 5000).catch(() => undefined);
        return heard.length > 0;
      });
      await watch.close();
      await io.remove(oid);
    },
  );

  test.runIf(kills)(
    'the mon is killed: objects are served meanwhile, a command waits for it',
    {
      timeout: 4 * minute,
    },
    async () => {
      const oid = `${prefix}mon`;
      await io.writeFull(oid, utf8('0'));
      await cluster().kill!('mon');
      await io.append(oid, utf8('1'));
      expect(JSON.parse(await client.check({ prefix: 'osd pool ls', format: 'json' }))).toContain('rbd');
      expect(utf8Text(await io.read(oid))).toBe('01');
      await io.remove(oid);
    },
  );
}
