import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { readEngineRecord } from '../ceph/engine/engine-record-system.ts';
import { monSelf } from '../ceph/mon/self-system.ts';
import { nodePaths, type Paths } from '../config/paths.ts';
import { takeMonBundle } from './join-mon-system.ts';
import { decodeMonBundle, encodeMonBundle, type MonBundle } from './mon-bundle.ts';

let data: string;
let paths: Paths;
const key = 'AQAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAA==';
const bundle = (member: string): MonBundle => ({
  format: 1,
  fsid: '1f6f2a3c-7d57-4d0b-9f0e-3a8b1c2d4e5f',
  monHosts: ['[v2:10.0.0.1:3300]', '[v2:10.0.0.2:3300]'],
  self: { name: 'b', cluster: 'c1', member },
  keys: { 'mon.': key, 'client.admin': key, 'client.bootstrap-osd': key },
});

beforeEach(() => {
  data = mkdtempSync(join(tmpdir(), 'join-mon-'));
  paths = nodePaths(data, `${data}/run`);
});
afterEach(() => rmSync(data, { recursive: true, force: true }));

test('a machine that joins with a mon knows who it is, and has the keys for itself', async () => {
  expect(await takeMonBundle(paths, bundle('d2'), 0)).toBeUndefined();
  expect(monSelf(paths.instanceDir('mon'))).toEqual({
    name: 'b',
    joined: true,
    join: { clusterId: 0xc1n, memberId: 0xd2n },
    removed: false,
  });
  expect(readFileSync(paths.cephConf, 'utf8')).toContain('mon host = [v2:10.0.0.1:3300],[v2:10.0.0.2:3300]');
  for (const entity of ['mon.', 'client.admin', 'client.bootstrap-osd'])
    expect(statSync(paths.keyring(entity)).mode & 0o777).toBe(0o600);
});

test('the store of the same member stays when the machine joins again, that of another is put aside', async () => {
  const dir = paths.instanceDir('mon');
  mkdirSync(dir, { recursive: true });
  const store = (member: string): void => {
    writeFileSync(`${dir}/state.db`, 'rows');
    writeFileSync(`${dir}/identity.json`, JSON.stringify({ version: 1, clusterId: 'c1', memberId: member }));
  };
  store('d2');
  expect(await takeMonBundle(paths, bundle('d2'), 0)).toBeUndefined();
  expect(existsSync(`${dir}/state.db`)).toBe(true);
  const aside = await takeMonBundle(paths, bundle('d3'), Date.UTC(2026, 0, 2));
  expect(aside).toMatch(/instances\/mon\.before-/);
  expect(readFileSync(`${aside}/state.db`, 'utf8')).toBe('rows');
  expect(existsSync(`${dir}/state.db`)).toBe(false);
  expect(monSelf(dir).join?.memberId).toBe(0xd3n);
});

test('a ceph-mon is told its name; its earlier store, which the others have forgotten, is put aside', async () => {
  const ceph: MonBundle = { ...bundle('d2'), engine: 'ceph', self: { name: 'node-2' } };
  expect(decodeMonBundle(encodeMonBundle(ceph))).toEqual(ceph);
  expect(await takeMonBundle(paths, ceph, 0)).toBeUndefined();
  const dir = paths.instanceDir('mon');
  expect(readFileSync(`${dir}/mon.json`, 'utf8')).toBe('{"name":"node-2"}\n');
  expect(readEngineRecord(paths)?.engine).toBe('ceph');
  expect(readFileSync(paths.keyring('mon.'), 'utf8')).toContain('caps mon = "allow *"');
  mkdirSync(`${dir}/store`);
  expect(await takeMonBundle(paths, ceph, 0)).toMatch(/instances\/mon\.before-/);
  expect(existsSync(`${dir}/store`)).toBe(false);
  expect(existsSync(`${dir}/mon.json`)).toBe(true);
});

test('a mon whose store is gone is not made again as the same member', async () => {
  const dir = paths.instanceDir('mon');
  mkdirSync(dir, { recursive: true });
  writeFileSync(`${dir}/mon.json`, '{"name":"b"}');
  expect(() => monSelf(dir)).toThrow('the store of mon.b is gone');
});
