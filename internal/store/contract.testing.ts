import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { seededRandom } from '../base/random.ts';
import type { RequestOp, Store, TxnRequest, TxnResponse, WatchEvent, WatchRequest } from './api.ts';
import {
  CompactedError,
  FutureRevisionError,
  KeyNotFoundError,
  LeaseExistsError,
  LeaseNotFoundError,
} from './errors.ts';
import { prefixEnd } from './keys.ts';
import { bytes, Model, plain, randomTxn } from './testing.ts';

/** Without the revisions of nested transactions: etcd's answers have none. */
function told(response: TxnResponse): object {
  return {
    ...response,
    responses: response.responses.map((op) =>
      op.op === 'txn' ? { op: 'txn', response: { ...told(op.response), revision: undefined } } : op,
    ),
  };
}

/** The order of equal ones is nobody's promise, and which of them a limit cuts: everything is sorted by key. */
function withoutTies(txn: TxnRequest): TxnRequest {
  const branch = (ops: readonly RequestOp[]): RequestOp[] =>
    ops.map((op) => {
      if (op.op === 'txn') return { op: 'txn', request: withoutTies(op.request) };
      if (op.op !== 'range' || op.request.sort === undefined) return op;
      return { op: 'range', request: { ...op.request, sort: { ...op.request.sort, by: 'key' } } };
    });
  return { compare: txn.compare, success: branch(txn.success), failure: branch(txn.failure) };
}

/** What every store does, ours and a real etcd. `open` gives one that nobody else writes to. */
export function storeContract(name: string, open: () => Promise<{ store: Store; close(): Promise<void> }>): void {
  describe(`store contract: ${name}`, () => {
    let store: Store;
    let close: () => Promise<void>;

    beforeAll(async () => {
      ({ store, close } = await open());
    }, 60_000);
    afterAll(async () => {
      await close?.();
    });

    const put = (key: string, value: string, lease = 0n) => store.put({ key: bytes(key), value: bytes(value), lease });
    const get = async (key: string, revision = 0) => plain((await store.range({ key: bytes(key), revision })).kvs);

    const collect = (request: Omit<WatchRequest, 'key'> & { key: string }) => {
      const seen: [number, WatchEvent[]][] = [];
      const ended: Error[] = [];
      const watch = store.watch(
        { ...request, key: bytes(request.key) },
        { onEvents: (events, revision) => seen.push([revision, events]), onEnd: (error) => ended.push(error) },
      );
      return { seen, ended, watch };
    };
    const until = async (condition: () => boolean): Promise<void> => {
      for (let i = 0; i < 4000 && !condition(); i++) await new Promise((resolve) => setTimeout(resolve, 3));
      expect(condition()).toBe(true);
    };

    test('revisions, versions and previous values', async () => {
      const first = (await put('rev/a', '1')).revision;
      const second = await store.put({ key: bytes('rev/a'), value: bytes('2'), prevKv: true });
      expect(second.revision).toBe(first + 1);
      expect(plain(second.prevKv)).toMatchObject({ value: '1', version: 1 });
      expect(await get('rev/a')).toMatchObject([
        { value: '2', createRevision: first, modRevision: first + 1, version: 2, lease: '0n' },
      ]);
      expect(await get('rev/a', first)).toMatchObject([{ value: '1' }]);
      expect(store.revision).toBeGreaterThanOrEqual(first + 1);
      const gone = await store.delete({ key: bytes('rev/a'), prevKv: true });
      expect([gone.deleted, plain(gone.prevKvs)]).toMatchObject([1, [{ value: '2' }]]);
      expect(await get('rev/a')).toEqual([]);
      await store.put({ key: bytes('rev/empty'), value: bytes('') });
      expect(await get('rev/empty')).toMatchObject([{ value: '' }]);
    });

    test('random transactions answer as a plain model does', async () => {
      const random = seededRandom(11);
      await store.delete({ key: bytes('key/'), rangeEnd: prefixEnd(bytes('key/')) });
      await put('key-start', 'x');
      const model = new Model();
      model.revision = store.revision;
      const begin = model.revision;
      // "Every key from here on" meets the other tests' keys too; they stand before and are counted by the model.
      const before = await store.range({ key: bytes('key/'), rangeEnd: bytes('\0') });
      for (const kv of before.kvs) model.versions.push({ key: plain(kv.key) as string, kv });
      for (let step = 0; step < 300; step++) {
        const txn = withoutTies(randomTxn(random, model.revision, begin));
        const answer = await store.txn(txn).catch((error: unknown) => error);
        if (answer instanceof Error) {
          expect(answer).toMatchObject({ code: 'DUPLICATE_KEY' });
          continue;
        }
        expect(plain(told(answer as TxnResponse))).toEqual(plain(told(model.apply(txn))));
      }
      const watched = collect({
        key: 'key/',
        rangeEnd: prefixEnd(bytes('key/')),
        startRevision: begin + 1,
        prevKv: true,
      });
      const expected = model.events.flatMap(({ revision, events }) => {
        const mine = events.filter(({ kv }) => (plain(kv.key) as string).startsWith('key/'));
        return mine.length > 0 ? [{ revision, events: mine }] : [];
      });
      await until(() => watched.seen.length >= expected.length);
      watched.watch.close();
      expect(plain(watched.seen)).toEqual(plain(expected.map(({ revision, events }) => [revision, events])));
    }, 120_000);

    test('a put keeps value or lease only of a key that exists; a key is put once in a transaction', async () => {
      await expect(store.put({ key: bytes('keep/none'), value: bytes(''), ignoreValue: true })).rejects.toBeInstanceOf(
        KeyNotFoundError,
      );
      await expect(put('keep/x', '1', 12345n)).rejects.toBeInstanceOf(LeaseNotFoundError);
      const one: RequestOp = { op: 'put', request: { key: bytes('twice'), value: bytes('v') } };
      await expect(store.txn({ compare: [], success: [one, one], failure: [] })).rejects.toMatchObject({
        code: 'DUPLICATE_KEY',
      });
      await expect(put('', 'x')).rejects.toMatchObject({ code: 'EMPTY_KEY' });
    });

    test('a future and a compacted revision are refused, and a watch from one ends', async () => {
      for (let i = 0; i < 6; i++) await put('old', `${i}`);
      const { revision } = store;
      await expect(store.range({ key: bytes('old'), revision: revision + 1000 })).rejects.toBeInstanceOf(
        FutureRevisionError,
      );
      await store.compact(revision - 2, { physical: true });
      await expect(get('old', revision - 3)).rejects.toBeInstanceOf(CompactedError);
      await expect(store.compact(revision - 2)).rejects.toBeInstanceOf(CompactedError);
      expect(await get('old', revision - 2)).toMatchObject([{ value: '3' }]);
      expect(store.compactRevision).toBe(revision - 2);
      const late = collect({ key: 'old', startRevision: revision - 4 });
      await until(() => late.ended.length === 1);
      expect(late.ended[0]).toBeInstanceOf(CompactedError);
      expect((late.ended[0] as CompactedError).compactRevision).toBe(revision - 2);
    });

    test('a watch leaves out what it filters, tells a transaction in one call, and ends with close', async () => {
      const start = store.revision + 1;
      const deletes = collect({ key: 'w/', rangeEnd: prefixEnd(bytes('w/')), startRevision: start, noPut: true });
      const all = collect({ key: 'w/', rangeEnd: prefixEnd(bytes('w/')), startRevision: start });
      const success = ['w/1', 'w/2', 'w/3'].map(
        (key): RequestOp => ({ op: 'put', request: { key: bytes(key), value: bytes('v') } }),
      );
      const { revision } = await store.txn({ compare: [], success, failure: [] });
      await store.delete({ key: bytes('w/2') });
      await until(() => all.seen.length === 2 && deletes.seen.length === 1);
      expect(all.seen.map(([at, events]) => [at, events.length])).toEqual([
        [revision, 3],
        [revision + 1, 1],
      ]);
      expect(deletes.seen[0]![1]).toMatchObject([{ type: 'delete' }]);
      all.watch.close();
      await put('w/1', 'after');
      deletes.watch.close();
      expect(all.seen.length).toBe(2);
    });

    test('leases: granted, renewed, listed, with their keys, revoked with them', async () => {
      const { id, ttlSeconds } = await store.leaseGrant(60);
      expect(ttlSeconds).toBe(60);
      await expect(store.leaseGrant(60, id)).rejects.toBeInstanceOf(LeaseExistsError);
      await put('l/1', 'x', id);
      await put('l/2', 'x', id);
      await store.put({ key: bytes('l/2'), value: bytes('y'), ignoreLease: true });
      expect((await store.leaseKeepAlive(id)).ttlSeconds).toBe(60);
      expect(await store.leases()).toContain(id);
      const found = await store.leaseTimeToLive(id, { keys: true });
      expect([found.grantedTtlSeconds, found.keys.map(plain)]).toEqual([60, ['l/1', 'l/2']]);
      const { revision } = store;
      const watched = collect({ key: 'l/', rangeEnd: prefixEnd(bytes('l/')), startRevision: revision + 1 });
      await store.leaseRevoke(id);
      await until(() => watched.seen.length === 1);
      watched.watch.close();
      expect(watched.seen[0]![1].map(({ type }) => type)).toEqual(['delete', 'delete']);
      for (const ask of [() => store.leaseRevoke(id), () => store.leaseKeepAlive(id), () => store.leaseTimeToLive(id)])
        await expect(ask()).rejects.toBeInstanceOf(LeaseNotFoundError);
    });

    test('alarms are raised, seen and disarmed', async () => {
      const { memberId } = store.cluster;
      await store.raiseAlarm({ memberId, type: 'nospace' });
      expect(await store.alarms()).toEqual([{ memberId, type: 'nospace' }]);
      await expect(put('full', 'x')).rejects.toMatchObject({ code: 'NO_SPACE' });
      expect(await store.disarmAlarm({ memberId: 0n, type: 'nospace' })).toHaveLength(1);
      await put('full', 'x');
    });

    test('members, status, hash, defragmentation and a snapshot', async () => {
      expect(store.cluster.members().map(({ id }) => id)).toEqual([store.cluster.memberId]);
      expect(store.cluster.leaderId).toBe(store.cluster.memberId);
      expect(store.status().databaseBytes).toBeGreaterThan(0);
      const hash = await store.hashKv();
      await store.defragment();
      expect(await store.hashKv()).toEqual(hash);
      const snapshot = await store.snapshot();
      let size = 0;
      for await (const piece of snapshot.pieces()) size += piece.length;
      expect(size % 512).toBe(32);
    });
  });
}
