import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../base/bytes.ts';
import type { Disk, DiskFile } from '../../base/disk.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { errorText } from '../../base/errors.ts';
import { silentLogger } from '../../base/log.ts';
import { systemClock, systemRandom } from '../../base/system.ts';
import { nodePaths, type Paths } from '../../config/paths.ts';
import { memberToBe } from '../../join/join-server-system.ts';
import { ensureServerPki } from '../../pki/server-pki-system.ts';
import type { RoleContext } from '../role.ts';
import { standardConfig } from '../standard-config.testing.ts';
import { openControlStore } from './control-store.ts';

let directory: string;
let paths: Paths;
let stopping: AbortController;
let failures: unknown[];

function freePort(): number {
  const server = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data: () => undefined } });
  const { port } = server;
  server.stop(true);
  return port;
}

async function contextOf(ports: { etcd: number; etcdPeer: number }, ...more: string[]): Promise<RoleContext> {
  const config = standardConfig(
    [
      ...more,
      `dataDir: ${directory}/data`,
      `runDir: ${directory}/run`,
      'mdns: false',
      'node: {ip: 127.0.0.1}',
      'snapshots: {everyHours: 0}',
      `ports: {etcd: ${ports.etcd}, etcdPeer: ${ports.etcdPeer}}`,
    ].join('\n'),
  );
  paths = nodePaths(config.dataDir, config.runDir);
  await ensureServerPki(config, paths, ['127.0.0.1'], systemClock, systemRandom);
  return {
    ...{ role: 'server', instance: 'server', config, paths, log: silentLogger },
    ...{ clock: systemClock, random: systemRandom, stopping: stopping.signal },
    waits: () => undefined,
    fail: (error) => failures.push(error),
  };
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'control-store-'));
  stopping = new AbortController();
  failures = [];
});
afterEach(() => {
  stopping.abort();
  rmSync(directory, { recursive: true });
});

test('a machine that is to be a member may not make its store anew as that one from its first word to the others on', async () => {
  const busy = Bun.listen({ hostname: '0.0.0.0', port: 0, socket: { data: () => undefined } });
  try {
    const context = await contextOf({ etcd: freePort(), etcdPeer: busy.port });
    mkdirSync(paths.pki, { recursive: true });
    writeFileSync(`${paths.pki}/member.json`, JSON.stringify({ clusterId: 'c1', memberId: 'd2' }));
    expect(memberToBe(paths)).toEqual({ clusterId: 0xc1n, memberId: 0xd2n });
    // It gets as far as to the network, and no farther.
    await expect(openControlStore(context)).rejects.toMatchObject({
      code: 'PORT',
      message: `port ${busy.port} of 0.0.0.0 is in use`,
    });
    expect(existsSync(`${paths.store}/identity.json`)).toBe(true);
    expect(memberToBe(paths)).toBeUndefined();
  } finally {
    busy.stop(true);
  }
});

/** The machine's disk until `fails` is called: from then on no file takes a write. */
function failingDisk(): { disk: Disk; fails: (code: string) => void } {
  let failure: string | undefined;
  const check = (): void => {
    if (failure !== undefined) throw Object.assign(new Error(`${failure}: the disk failed, write`), { code: failure });
  };
  const failing = (file: DiskFile): DiskFile =>
    new Proxy(file, {
      get: (target, name) => {
        const member: unknown = Reflect.get(target, name);
        if (typeof member !== 'function') return member;
        return async (...args: unknown[]) => {
          if (/write|sync/i.test(String(name))) check();
          return Reflect.apply(member, target, args) as unknown;
        };
      },
    });
  const disk = new Proxy(systemDisk, {
    get: (target, name) =>
      name === 'open'
        ? async (...args: Parameters<Disk['open']>) => failing(await target.open(...args))
        : (Reflect.get(target, name) as unknown),
  });
  return {
    disk,
    fails: (code) => {
      failure = code;
    },
  };
}

test.each(['EIO', 'ENOSPC'])(
  'a disk that takes no writes any more (%s) ends the role with that reason; what was acknowledged is there when it starts again',
  async (code) => {
    const context = await contextOf({ etcd: freePort(), etcdPeer: freePort() });
    const { disk, fails } = failingDisk();
    const { store } = await openControlStore(context, disk);
    await store.put({ key: utf8('a'), value: utf8('1') });
    const ends: unknown[] = [];
    store.watch({ key: utf8('a') }, { onEvents: () => undefined, onEnd: (error) => ends.push(error) });
    fails(code);
    await expect(store.put({ key: utf8('a'), value: utf8('2') })).rejects.toThrow();
    expect(failures).toHaveLength(1);
    expect(failures[0]).toMatchObject({ code: 'STORE_FAILED', hint: expect.stringContaining('Check the disk') });
    expect(errorText(failures[0])).toContain(`the store in ${paths.store} failed`);
    expect(errorText(failures[0])).toContain(code);
    expect(ends).toHaveLength(1);
    // Nothing is served from memory that the disk does not have.
    await expect(store.range({ key: utf8('a'), serializable: true })).rejects.toMatchObject({ code: 'STORE_FAILED' });
    await store.close();

    const again = await openControlStore(await contextOf({ etcd: freePort(), etcdPeer: freePort() }));
    expect((await again.store.range({ key: utf8('a') })).kvs.map(({ value }) => utf8Text(value))).toEqual(['1']);
    await again.close();
  },
);

test('a certificate for a real etcd that cannot be read is named, with who has to be able to', async () => {
  const key = `${directory}/none.key`;
  const context = await contextOf(
    { etcd: freePort(), etcdPeer: freePort() },
    'datastore: etcd://127.0.0.1:1',
    `datastoreTls: {caFile: ${directory}/ca.crt, certFile: ${directory}/client.crt, keyFile: ${key}}`,
  );
  for (const name of ['ca.crt', 'client.crt']) writeFileSync(`${directory}/${name}`, '');
  await expect(openControlStore(context)).rejects.toMatchObject({
    code: 'ENOENT',
    message: `${key}, which opens the etcd, cannot be read`,
    hint: expect.stringContaining('appliance-server'),
  });
});
