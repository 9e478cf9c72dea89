import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { afterEach, expect, test } from 'vitest';
import { utf8Text } from '../base/bytes.ts';
import { systemDisk } from '../base/disk-system.ts';
import { silentLogger } from '../base/log.ts';
import { seededRandom } from '../base/random.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import type { KeyValue, RequestOp } from './api.ts';
import { Directories } from './directories.ts';
import { keyRange, prefixEnd } from './keys.ts';
import { openStore } from './store.ts';
import { bytes } from './testing.ts';

const dirs: string[] = [];
afterEach(() => {
  for (const dir of dirs.splice(0)) rmSync(dir, { recursive: true, force: true });
});

const rangeOf = (prefix: string) => keyRange({ key: bytes(prefix), rangeEnd: prefixEnd(bytes(prefix)) });
const version = (key: string, size = 10): KeyValue => ({
  key: bytes(key),
  value: new Uint8Array(size),
  createRevision: 2,
  modRevision: 2,
  version: 1,
  lease: 0n,
});

test('a directory is known until something in it, however deep, changes', () => {
  const known = new Directories(100_000);
  const fill = (): void => {
    known.set(rangeOf('/a/'), [version('/a/b/c')]);
    known.set(rangeOf('/a/b/'), [version('/a/b/c')]);
    known.set(rangeOf('/a/x/'), []);
  };
  const which = (): boolean[] => ['/a/', '/a/b/', '/a/x/'].map((prefix) => known.get(rangeOf(prefix)) !== undefined);
  fill();
  expect(which()).toEqual([true, true, true]);
  expect(known.get(rangeOf('/a/x/'))).toEqual([]);
  for (const [key, left] of [
    ['/a/b/c', [false, false, true]],
    ['/a/x/y/z', [false, true, false]],
    ['/a/n', [false, true, true]],
    ['/a/b', [false, true, true]],
    ['/ab/c', [true, true, true]],
    ['a/b/c', [true, true, true]],
  ] as const) {
    fill();
    known.changed(key);
    expect(which(), key).toEqual(left);
  }
  for (const prefix of ['/a/', '/a/b/', '/a/x/']) known.changed(`${prefix}k`);
  expect(known.bytes).toBe(0);
});

test('only all of a small directory is kept, and of all together no more than the bound', () => {
  const known = new Directories(2000);
  const kept = (range: ReturnType<typeof keyRange>, versions: KeyValue[] = []): boolean => {
    known.set(range, versions);
    return known.get(range) !== undefined;
  };
  expect(kept(rangeOf('/a/'))).toBe(true);
  expect(kept(rangeOf('/a'))).toBe(false);
  expect(kept(keyRange({ key: bytes('/b/') }))).toBe(false);
  expect(kept(keyRange({ key: bytes('/b/'), rangeEnd: bytes('/c0') }))).toBe(false);
  expect(kept(keyRange({ key: bytes('/b/'), rangeEnd: bytes('/b0x') }))).toBe(false);
  expect(kept(keyRange({ key: bytes('/b/'), rangeEnd: new Uint8Array(1) }))).toBe(false);
  expect(kept(rangeOf('/'.repeat(11)))).toBe(false);
  expect(kept(rangeOf('/b/'), [version('/b/c', 3000)])).toBe(false);
  expect(new Directories(1 << 20).get(rangeOf('/c/'))).toBeUndefined();
  for (let i = 0; i < 100; i++) {
    known.set(rangeOf(`/n${i}/`), [version(`/n${i}/k`)]);
    known.get(rangeOf('/a/'));
    expect(known.bytes).toBeLessThanOrEqual(2000);
  }
  expect(known.get(rangeOf('/a/'))).toEqual([]);
  expect(known.get(rangeOf('/n1/'))).toBeUndefined();
});

test('whatever is written, deleted, or ends with its lease, a directory is listed as it is', async () => {
  const dir = mkdtempSync(`${tmpdir()}/directories-test-`);
  dirs.push(dir);
  const store = await openStore({
    dir,
    disk: systemDisk,
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    writer: 'inline',
  });
  const random = seededRandom(7);
  const below = (bound: number): number => Math.floor(random.float() * bound);
  const places = ['/r/', '/r/a/', '/r/a/x/', '/r/b/'];
  const model = new Map<string, string>();
  const leased = new Set<string>();
  let lease = 0n;
  const list = async (prefix: string, limit = 0): Promise<[string, string][]> => {
    const { kvs, count } = await store.range({ key: bytes(prefix), rangeEnd: prefixEnd(bytes(prefix)), limit });
    expect(count).toBe([...model.keys()].filter((key) => key.startsWith(prefix)).length);
    return kvs.map(({ key, value }) => [utf8Text(key), utf8Text(value)]);
  };
  for (let step = 0; step < 1500; step++) {
    const key = `${places[below(places.length)]}${below(5)}`;
    const put = (to: string, value: string): RequestOp => ({
      op: 'put',
      request: { key: bytes(to), value: bytes(value), lease },
    });
    const what = below(10);
    if (what < 4) {
      await store.put({ key: bytes(key), value: bytes(`${step}`), lease });
      model.set(key, `${step}`);
      if (lease !== 0n) leased.add(key);
      else leased.delete(key);
    } else if (what < 6) {
      await store.delete({ key: bytes(key) });
      model.delete(key);
      leased.delete(key);
    } else if (what < 8) {
      // A transaction lists what it has changed itself.
      const prefix = '/r/a/';
      const within: RequestOp = {
        op: 'range',
        request: { key: bytes(prefix), rangeEnd: prefixEnd(bytes(prefix)) },
      };
      const { responses } = await store.txn({
        compare: [],
        success: [within, put(`${prefix}t`, `${step}`), within],
        failure: [],
      });
      model.set(`${prefix}t`, `${step}`);
      if (lease !== 0n) leased.add(`${prefix}t`);
      else leased.delete(`${prefix}t`);
      const last = responses[2];
      expect(last?.op === 'range' && last.response.kvs.find((kv) => utf8Text(kv.key) === `${prefix}t`)?.value).toEqual(
        bytes(`${step}`),
      );
    } else if (lease === 0n) lease = (await store.leaseGrant(1000)).id;
    else {
      await store.leaseRevoke(lease);
      for (const one of leased) model.delete(one);
      leased.clear();
      lease = 0n;
    }
    const prefix = places[below(places.length)]!;
    const expected = [...model].filter(([name]) => name.startsWith(prefix)).sort(([a], [b]) => (a < b ? -1 : 1));
    expect(await list(prefix)).toEqual(expected);
    expect(await list(prefix, 2)).toEqual(expected.slice(0, 2));
  }
  await store.close();
}, 60_000);
