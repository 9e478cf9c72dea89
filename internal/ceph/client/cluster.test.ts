import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../base/bytes.ts';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { parseKeyring } from '../auth/keyring.ts';
import { parseAddr } from '../wire/types.ts';
import { ENOENT, isRadosError } from './errors.ts';
import type { PoolIo } from './ioctx.ts';
import { connectRados, type Rados } from './rados-client.ts';
import { Rbd } from './rbd-image.ts';

/**
 * Our client against a running cluster, a real one or ours: `CEPH_TEST_CONF=/dir/ceph.conf`, with `mon host` and `keyring` of client.admin in it and
 * a pool `rbd`. Skipped without.
 */
const conf = process.env.CEPH_TEST_CONF;
const setting = (name: string): string =>
  new RegExp(`^\\s*${name}\\s*=\\s*(.*)$`, 'm').exec(readFileSync(conf!, 'utf8'))?.[1]?.trim() ?? '';

describe.skipIf(conf === undefined)('RADOS client and a running cluster', () => {
  let client: Rados;
  let io: PoolIo;
  const prefix = `t${systemRandom.uint32()}-`;

  beforeAll(async () => {
    const addr = parseAddr(setting('mon host').replace(/^\[|\]$/g, ''));
    const keyring = setting('keyring').replace('$name', 'client.admin');
    client = await connectRados({
      entity: { type: 8, id: 'admin' },
      key: parseKeyring(readFileSync(keyring, 'utf8')).get('client.admin')!.key,
      monAddrs: [[addr!]],
      clock: systemClock,
      random: systemRandom,
      log: silentLogger,
    });
    io = await client.ioctx('rbd');
  });
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
    const rbd = (...args: string[]): string => spawnSync('rbd', ['-c', conf!, ...args], { encoding: 'utf8' }).stdout;
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
});
