import * as fs from 'node:fs';
import * as os from 'node:os';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemDisk } from '../base/disk-system.ts';
import { silentLogger } from '../base/log.ts';
import { seededRandom } from '../base/random.ts';
import { systemClock } from '../base/system.ts';
import type { RequestOp, Store } from './api.ts';
import { toEtcdError } from './etcd/errors.ts';
import { grpcCode } from './grpc/status.ts';
import { keyText, prefixEnd } from './keys.ts';
import { maxSub, subBits } from './schema.ts';
import { openStore } from './store.ts';
import { bytes } from './testing.ts';

/** Instead of a million. */
const maxChanges = 3;

let dir: string;
let opened: Store[];

beforeEach(() => {
  dir = fs.mkdtempSync(`${os.tmpdir()}/many-changes-`);
  opened = [];
});
afterEach(async () => {
  for (const store of opened) await store.close();
  fs.rmSync(dir, { recursive: true });
});

async function start(path = `${dir}/store`): Promise<Store> {
  const store = await openStore({
    ...{ dir: path, disk: systemDisk, clock: systemClock, random: seededRandom(1), log: silentLogger },
    ...{ writer: 'inline', segmentBytes: 1 << 20, recentBytes: 0, maxChanges },
  });
  opened.push(store);
  return store;
}

async function fill(store: Store, keys: string, lease = 0n): Promise<void> {
  for (const key of keys) await store.put({ key: bytes(`k/${key}`), value: bytes('v'), lease });
}

const all = { key: bytes('k/'), rangeEnd: prefixEnd(bytes('k/')) };
const keysOf = async (store: Store): Promise<string> =>
  (await store.range(all)).kvs.map(({ key }) => keyText(key).slice(2)).join('');

/** What a watch from a revision of the past is told up to now: revision and keys. */
async function historyOf(store: Store, startRevision: number): Promise<[number, string][]> {
  const told: [number, string][] = [];
  const watch = store.watch(
    { ...all, startRevision },
    {
      onEvents: (events, revision) =>
        told.push([revision, events.map(({ type, kv }) => `${type[0]}${keyText(kv.key).slice(2)}`).join(' ')]),
      onEnd: () => undefined,
    },
  );
  while ((told.at(-1)?.[0] ?? 0) < store.revision) await new Promise((resolve) => setTimeout(resolve, 2));
  watch.close();
  return told;
}

test('a store holds as many changes of a revision as the place of a change has numbers', () => {
  expect(maxSub + 1).toBe(2 ** subBits);
});

const remove = (from: string, to: string): RequestOp => ({
  op: 'delete',
  request: { key: bytes(`k/${from}`), rangeEnd: bytes(`k/${to}`) },
});
const put: RequestOp = { op: 'put', request: { key: bytes('other'), value: bytes('v') } };

test.each<[string, number, (store: Store) => Promise<unknown>]>([
  ['a delete of a range', 4, (store) => store.delete(all)],
  ['a transaction', 4, (store) => store.txn({ compare: [], success: [put, remove('a', 'd')], failure: [] })],
  [
    'a transaction with others in it',
    4,
    (store) => {
      const request = { compare: [], success: [remove('c', 'e')], failure: [] };
      return store.txn({ compare: [], success: [remove('a', 'c'), { op: 'txn', request }], failure: [] });
    },
  ],
])('%s with more changes than a revision holds is refused and changes nothing', async (_what, changes, ask) => {
  const store = await start();
  await fill(store, 'abcd');
  const { revision } = store;
  const refused = await ask(store).catch((error: unknown) => error);
  expect(refused).toMatchObject({
    code: 'INVALID_REQUEST',
    message: `the request would change ${changes} keys, and one revision holds 3 changes: delete them in parts, range by range`,
  });
  expect(toEtcdError(refused)).toMatchObject({ status: grpcCode.invalidArgument });
  expect([store.revision, await keysOf(store)]).toEqual([revision, 'abcd']);
  expect((await store.range({ key: bytes('other') })).count).toBe(0);
  // In parts.
  await store.txn({ compare: [], success: [remove('a', 'd')], failure: [put] });
  await store.delete(all);
  expect([store.revision, await keysOf(store)]).toEqual([revision + 2, '']);
});

test('a lease with more keys than a revision holds ends as a whole, in several revisions, also where the log is applied again', async () => {
  const store = await start();
  const { id } = await store.leaseGrant(100);
  await fill(store, 'x');
  await fill(store, 'gfedcba', id);
  const { revision } = store;
  const live: number[] = [];
  store.watch(all, { onEvents: (_events, at) => live.push(at), onEnd: () => undefined });
  await store.leaseRevoke(id);
  expect(store.revision).toBe(revision + 3);
  expect(live).toEqual([revision + 1, revision + 2, revision + 3]);
  // As the power leaves it: nothing of this is in the database yet.
  fs.cpSync(`${dir}/store`, `${dir}/killed`, { recursive: true });
  const again = await start(`${dir}/killed`);
  for (const one of [store, again]) {
    expect([one.revision, await keysOf(one), await one.leases()]).toEqual([revision + 3, 'x', []]);
    // What the database has, read as history.
    await one.hashKv();
    expect(await historyOf(one, revision + 1)).toEqual([
      [revision + 1, 'da db dc'],
      [revision + 2, 'dd de df'],
      [revision + 3, 'dg'],
    ]);
    const middle = await one.range({ ...all, revision: revision + 1 });
    expect(middle.kvs.map(({ key }) => keyText(key))).toEqual(['k/d', 'k/e', 'k/f', 'k/g', 'k/x']);
  }
  expect((await again.hashKv()).hash).toBe((await store.hashKv()).hash);
  await fill(again, 'y');
  expect([again.revision, await keysOf(again)]).toEqual([revision + 4, 'xy']);
});
