import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { effectiveConfig } from '../../config/load.ts';
import { nodePaths } from '../../config/paths.ts';
import { askDaemon, parseAnswer } from './admin-socket-client.ts';
import { blueStoreOwner, parseBlueStoreLabel } from './bluestore-label.ts';
import { holdsBlueStoreOf } from './bluestore-place-system.ts';
import { daemonConf } from './daemon-conf.ts';
import { daemonHealth } from './daemon-health.ts';
import { mdsCommand, mgrCommand, monCommand, osdCommand, rgwCommand } from './daemon-scripts.ts';
import { embeddedRecord, parseEngineRecord, serverUsers, whyOtherEngine } from './engine-record.ts';
import { checkEngine, keepEngineRecord, readEngineRecord } from './engine-record-system.ts';

const fsid = '3b1f0e3c-9a5c-4a53-8d4e-0c4e1f1c9d11';
const uuid = '11111111-2222-4333-8444-555555555555';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'engine-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const text = (value: string): Buffer => {
  const out = Buffer.alloc(4 + value.length);
  out.writeUInt32LE(value.length);
  out.write(value, 4, 'latin1');
  return out;
};
const label = (meta: Record<string, string>, store = uuid): Buffer =>
  Buffer.concat([
    Buffer.from(`bluestore block device\n${store}\n\x02\x01`, 'latin1'),
    ...Object.entries(meta).flatMap(([key, value]) => [text(key), text(value)]),
    Buffer.alloc(100),
  ]);

describe('the label of a BlueStore', () => {
  test('says whose it is', () => {
    const found = parseBlueStoreLabel(label({ ceph_fsid: fsid, whoami: '7' }));
    expect(found).toEqual({ uuid, fsid, osd: 7 });
    expect(blueStoreOwner(found!)).toBe(`osd.7 of Ceph cluster ${fsid} (BlueStore)`);
    expect(parseBlueStoreLabel(label({}))).toEqual({ uuid, fsid: undefined, osd: undefined });
    expect(parseBlueStoreLabel(Buffer.alloc(4096))).toBeUndefined();
  });

  test('fuzz: a damaged one is none, or says less', () => {
    const whole = label({ ceph_fsid: fsid, whoami: '7' });
    const random = seededRandom(Number(process.env.FUZZ_SEED ?? 3));
    for (let i = 0; i < Number(process.env.FUZZ_ROUNDS ?? 2000); i++) {
      const bytes = Buffer.from(whole);
      for (let k = 0; k < 8; k++) bytes[random.uint32() % bytes.length] = random.uint32();
      const found = parseBlueStoreLabel(bytes.subarray(0, random.uint32() % bytes.length));
      expect(found?.fsid?.length ?? 0).toBeLessThanOrEqual(64);
      expect(found?.osd ?? 0).toBeGreaterThanOrEqual(0);
    }
  });

  const place = async (bytes: Buffer | undefined, own: Partial<Parameters<typeof holdsBlueStoreOf>[1]> = {}) => {
    const path = join(directory, 'block');
    if (bytes) {
      writeFileSync(path, bytes);
      truncateSync(path, 8 << 20);
    }
    return holdsBlueStoreOf(path, { osd: 7, fsid, uuid, ...own });
  };
  const foreign = (what: string) => ({ code: 'FOREIGN_DISK', message: expect.stringContaining(what) });

  test('decides whether a disk is this OSD’s: nothing there, blank, its own, half made', async () => {
    expect(await place(undefined)).toBe(false);
    expect(await place(Buffer.alloc(0))).toBe(false);
    expect(await place(label({ ceph_fsid: fsid, whoami: '7' }))).toBe(true);
    expect(await place(label({}))).toBe(true);
    // For those who only look, the node's records may be gone.
    expect(await place(label({ ceph_fsid: fsid, whoami: '7' }), { uuid: undefined })).toBe(true);
  });

  test('and refuses what is somebody else’s, in words', async () => {
    const other = '77777777-9a5c-4a53-8d4e-0c4e1f1c9d11';
    await expect(place(label({ ceph_fsid: other, whoami: '7' }, other))).rejects.toMatchObject(foreign(other));
    await expect(place(label({ ceph_fsid: fsid, whoami: '8' }, other))).rejects.toMatchObject(foreign('osd.8'));
    await expect(place(label({ ceph_fsid: fsid, whoami: '8' }), { uuid: undefined })).rejects.toMatchObject(
      foreign('osd.8'),
    );
    await expect(place(label({}), { fsid: undefined, uuid: undefined })).rejects.toMatchObject(foreign('osd.?'));
    await expect(place(Buffer.from('films'))).rejects.toMatchObject(foreign('its first'));
  });
});

describe('whose storage a node has', () => {
  test('records are read as they are written; of versions without one it is the embedded engine', () => {
    const paths = nodePaths(directory, `${directory}/run`);
    spawnSync('mkdir', ['-p', paths.ceph]);
    expect(readEngineRecord(paths)).toBeUndefined();
    expect(() => checkEngine(paths, 'ceph')).not.toThrow();
    writeFileSync(paths.cephConf, '[global]\n');
    expect(readEngineRecord(paths)).toEqual(embeddedRecord);
    expect(() => checkEngine(paths, 'ceph')).toThrow(
      /storage\.engine is ceph, but the storage of this node, in .*embedded/,
    );
    keepEngineRecord(paths, { format: 1, engine: 'external', user: 'client.k8s', pool: 'k8s' });
    expect(readEngineRecord(paths)).toEqual({ format: 1, engine: 'external', user: 'client.k8s', pool: 'k8s' });
    expect(() => checkEngine(paths, 'external')).not.toThrow();
  });

  test.each([
    '',
    '{}',
    '[]',
    'null',
    '{"format":2,"engine":"ceph"}',
    '{"format":1,"engine":"rook"}',
    '{"format":1,"engine":"ceph","user":1}',
  ])('%j is no record', (content) => {
    expect(() => parseEngineRecord(content, '/x/engine.json')).toThrow('/x/engine.json does not say');
  });

  test('a refusal names the way back and the way over', () => {
    expect(whyOtherEngine('ceph', 'ceph', '/d')).toBeUndefined();
    expect(whyOtherEngine('embedded', 'ceph', '/d')?.hint).toMatch(/storage\.engine: embedded.*appliance reset/);
  });

  test('users: those that the node made, or the one of the external cluster', () => {
    expect(serverUsers(embeddedRecord)).toEqual({
      admin: 'client.admin',
      provisioner: 'client.csi-rbd-provisioner',
      node: 'client.csi-rbd-node',
    });
    expect(new Set(Object.values(serverUsers({ format: 1, engine: 'external', user: 'client.k8s' })))).toEqual(
      new Set(['client.k8s']),
    );
  });
});

describe('daemons', () => {
  const config = effectiveConfig('storage: {engine: ceph, replication: 2}\nports: {mon: 3311, ceph: 7800}', 'a.yaml', {
    hostname: 'pi-1',
    ip: '192.0.2.1',
    freeBytes: 100 * 2 ** 30,
  });
  const paths = nodePaths('/data', '/run/a');
  const cluster = { fsid, monHosts: ['[v2:192.0.2.1:3311]', '[v2:192.0.2.9:3300]'] };

  test('their configuration has the node’s ports, address, copies and budgets', () => {
    const osd = daemonConf('osd', 'osd.2', cluster, config, paths);
    for (const line of [
      `fsid = ${fsid}`,
      'mon host = [v2:192.0.2.1:3311],[v2:192.0.2.9:3300]',
      'ms bind port min = 7800',
      'osd pool default size = 2',
      'osd pool default pg num = 16',
      'mon target pg per osd = 50',
      'osd crush chooseleaf type = 0',
      'osd data = /data/instances/osd.2',
      'admin socket = /run/a/roles/osd.2/ceph.asok',
      'crush location = root=default host=pi-1',
      `osd memory target = ${1152 * 2 ** 20}`,
    ])
      expect(osd.split('\n')).toContain(line);
    expect(osd).not.toContain('allow pool size one');
    const mon = daemonConf('mon', 'mon', cluster, config, paths);
    expect(mon).toContain('\nmon data = /data/instances/mon/store\n');
    // Without its key a mon takes no other one; without its address one that is in no map does not know where to be.
    expect(mon).toContain('\nkeyring = /data/instances/mon/store/keyring\n');
    expect(mon).toContain('\npublic addrv = [v2:192.0.2.1:3311]\n');
    const unlimited = {
      ...config,
      memory: { ...config.memory, osd: 0 },
      storage: { ...config.storage, replication: 1 },
    };
    expect(daemonConf('osd', 'osd.2', cluster, unlimited, paths)).not.toContain('memory target');
    expect(daemonConf('osd', 'osd.2', cluster, unlimited, paths)).toContain('mon allow pool size one = true');
  });

  test('an mds and an rgw have their own keys, a share of their budgets, and the rgw its port', () => {
    const mds = daemonConf('mds', 'mds', cluster, config, paths).split('\n');
    for (const line of [
      '[mds]',
      'keyring = /data/instances/mds/keyring',
      'mds data = /data/instances/mds',
      `mds cache memory limit = ${512 * 2 ** 20}`,
    ])
      expect(mds).toContain(line);
    const rgw = daemonConf('rgw', 'rgw', cluster, config, paths).split('\n');
    for (const line of [
      '[client.rgw.a]',
      'keyring = /data/instances/rgw/keyring',
      'rgw data = /data/instances/rgw',
      'rgw frontends = beast endpoint=192.0.2.1:7480',
    ])
      expect(rgw).toContain(line);
    expect(rgw.join('\n')).not.toContain('memory');
  });

  test('the scripts that make and start them are shell without a mistake', () => {
    const place = { conf: '/c', data: '/d', keyrings: '/k' };
    for (const argv of [
      monCommand(place, fsid, { id: 'a', host: '[v2:192.0.2.1:3300]', joins: false }),
      mgrCommand(place, 'a', 9283),
      osdCommand(place, { id: 1, uuid }),
      mdsCommand(place),
      rgwCommand(place),
    ]) {
      const { status, stderr } = spawnSync('sh', ['-n', '-c', argv[2]!]);
      expect(stderr.toString()).toBe('');
      expect(status).toBe(0);
    }
  });

  test.each([
    ['mon', { state: 'leader', quorum: [0] }, true, 'leader, 1 in quorum'],
    ['mon', { state: 'probing' }, false, 'probing, 0 in quorum'],
    ['mgr', { initialized: true, mgrmap_epoch: 4 }, true, 'mgrmap e4'],
    ['mgr', {}, false, 'mgrmap e?'],
    ['mds', { state: 'up:boot', mdsmap_epoch: 0 }, false, 'boot, fsmap e0'],
    ['mds', { state: 'up:standby', mdsmap_epoch: 3 }, true, 'standby, fsmap e3'],
    ['mds', { state: 'up:active', mdsmap_epoch: 7 }, true, 'active, fsmap e7'],
    ['mds', {}, false, '?, fsmap e?'],
    ['osd', { state: 'active', newest_map: 12, num_pgs: 33 }, true, 'active, osdmap e12, 33 PGs'],
    ['osd', { state: 'initializing' }, false, 'initializing, osdmap e?, ? PGs'],
    // With the flag noup it waits for people: it would not help to start it again.
    ['osd', { state: 'preboot', newest_map: 12, num_pgs: 0 }, true, 'preboot, osdmap e12, 0 PGs'],
  ] as const)('%s: %j', (daemon, answer, serves, detail) => {
    expect(daemonHealth(daemon, answer)).toEqual({ serves, detail });
  });
});

describe('an admin socket', () => {
  let server: Server | undefined;
  afterEach(() => server?.close());
  const answering = async (answer: Buffer): Promise<string> => {
    const path = join(directory, 'asok');
    server = createServer((socket) => {
      let asked = '';
      socket.on('data', (bytes) => {
        asked += bytes.toString();
        if (!asked.endsWith('\0')) return;
        writeFileSync(join(directory, 'asked'), asked);
        socket.end(answer);
      });
      socket.on('error', () => undefined);
    });
    await new Promise<void>((listening) => server!.listen(path, listening));
    return path;
  };
  const framed = (json: string): Buffer => {
    const out = Buffer.alloc(4);
    out.writeUInt32BE(Buffer.byteLength(json));
    return Buffer.concat([out, Buffer.from(json)]);
  };

  test('is asked as Ceph’s own client asks', async () => {
    const path = await answering(framed('{"state":"active"}'));
    expect(await askDaemon(path, 'status')).toEqual({ state: 'active' });
    expect(readFileSync(join(directory, 'asked'), 'utf8')).toBe('{"prefix":"status","format":"json"}\0');
  });

  test('that is not there, ends early or says nonsense is an error', async () => {
    await expect(askDaemon(join(directory, 'none'), 'status')).rejects.toMatchObject({ code: 'ADMIN_SOCKET' });
    await expect(askDaemon(await answering(framed('{"a":1}').subarray(0, 8)), 'status')).rejects.toMatchObject({
      message: expect.stringContaining('no whole answer'),
    });
  });

  test('fuzz: garbage is no answer', () => {
    const random = seededRandom(Number(process.env.FUZZ_SEED ?? 5));
    const whole = framed('{"state":"active","num":[1,2,3]}');
    for (let i = 0; i < Number(process.env.FUZZ_ROUNDS ?? 2000); i++) {
      const bytes = Buffer.from(whole);
      for (let k = 0; k <= i % 4; k++) bytes[random.uint32() % bytes.length] = random.uint32();
      const answer = parseAnswer(bytes.subarray(0, random.uint32() % (bytes.length + 1)));
      expect(answer === undefined || typeof answer === 'object').toBe(true);
    }
  });
});
