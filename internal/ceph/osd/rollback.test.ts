import { expect, test } from 'vitest';
import type { TransactionOp } from '../blockstore/api.ts';
import { memoryStore } from '../blockstore/memory.ts';
import type { LogEntry } from '../wire/messages/osd_pg.ts';
import { eversionZero, type HObject, SNAP_HEAD } from '../wire/types.ts';
import { objectKey } from './object-key.ts';
import { PgMeta } from './pg-meta.ts';

const pg = { pool: 1, seed: 0, shard: 2 };
const cid = '1.0s2';

function oid(name: string): HObject {
  return { key: '', name, snap: SNAP_HEAD, hash: 7, max: false, nspace: '', pool: 1 };
}

function utf8Maybe(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : Buffer.from(bytes).toString();
}

function entry(name: string, version: number, prior: number, op: LogEntry['op'] = 'modify'): LogEntry {
  return {
    op,
    oid: oid(name),
    version: { epoch: 1, version },
    prior: prior === 0 ? eversionZero : { epoch: 1, version: prior },
    userVersion: version,
    reqid: undefined,
    mtime: { sec: 0, nsec: 0 },
    returnCode: 0,
    returns: undefined,
  };
}

async function shard() {
  const store = memoryStore();
  const meta = new PgMeta(pg);
  await store.queue({ ops: meta.createOps() });
  const write = async (e: LogEntry, text: string | undefined): Promise<void> => {
    const key = objectKey(e.oid);
    const undo = meta.rollback.note(store, [e]);
    meta.append(e);
    const change =
      text === undefined
        ? [{ op: 'remove' as const, cid, key }]
        : [{ op: 'write' as const, cid, key, offset: 0, data: [Buffer.from(text)] }];
    await store.queue({ ops: [...undo, ...change, ...meta.writeOps()] });
  };
  const read = async (name: string): Promise<string | undefined> => {
    return utf8Maybe(await store.read(cid, objectKey(oid(name)), 0, 100));
  };
  const keys = (): number => store.list(cid, new Uint8Array(0), 100).length;
  return { store, meta, write, read, keys };
}

test('entries are taken back, also after a restart: what was made goes, what was changed or deleted comes back', async () => {
  const s = await shard();
  await s.write(entry('a', 1, 0), 'one');
  await s.write(entry('b', 2, 0), 'bee');
  await s.store.queue({ ops: [...s.meta.rollback.forward({ epoch: 1, version: 2 }), ...s.meta.writeOps()] });
  expect(s.meta.rollback.versions()).toEqual([]);
  await s.write(entry('a', 3, 1), 'two');
  await s.write(entry('a', 4, 3), 'six');
  await s.write(entry('b', 5, 2, 'delete'), undefined);
  await s.write(entry('c', 6, 0), 'new');
  expect([await s.read('a'), await s.read('b'), await s.read('c')]).toEqual(['six', undefined, 'new']);

  const { rollback } = PgMeta.load(s.store, pg)!;
  expect(rollback.versions()).toEqual([3, 4, 5, 6]);
  const ops = [
    ...rollback.undo([entry('a', 3, 1), entry('a', 4, 3)]),
    ...rollback.undo([entry('b', 5, 2, 'delete')]),
    ...rollback.undo([entry('c', 6, 0)]),
  ];
  const set = new Map<string, Uint8Array>();
  await s.store.queue({ ops: [...ops, ...rollback.writeOps(set)] });
  expect([await s.read('a'), await s.read('b'), await s.read('c')]).toEqual(['one', 'bee', undefined]);
  // Nothing is left of what was kept: the PG's own object and the two.
  expect(s.keys()).toBe(3);
  expect(PgMeta.load(s.store, pg)!.rollback.versions()).toEqual([]);
});

test('what the disk has lost cannot be given back, and is not noted', async () => {
  const s = await shard();
  expect(s.meta.rollback.note(s.store, [entry('gone', 4, 2)])).toEqual([]);
  expect(s.meta.rollback.can({ epoch: 1, version: 4 })).toBe(false);
});

test('a shard that starts from nothing keeps nothing', async () => {
  const s = await shard();
  await s.write(entry('a', 1, 0), 'one');
  await s.write(entry('a', 2, 1), 'two');
  const ops = s.meta.replaceLog({ tail: eversionZero, head: eversionZero, entries: [], dups: [] });
  await s.store.queue({ ops: [...ops, ...s.meta.writeOps()] });
  expect(PgMeta.load(s.store, pg)!.rollback.versions()).toEqual([]);
  expect(s.keys()).toBe(2);
});

test('a PG that splits off takes with it what its entries need to be taken back, the rest stays', async () => {
  const s = await shard();
  await s.write(entry('stays', 1, 0), 'S1');
  await s.write(entry('goes', 2, 0), 'G1');
  await s.store.queue({ ops: [...s.meta.rollback.forward({ epoch: 1, version: 2 }), ...s.meta.writeOps()] });
  await s.write(entry('goes', 3, 2), 'G2');
  await s.write(entry('stays', 4, 1), 'S2');
  await s.write(entry('goes too', 5, 0), 'new');
  await s.write(entry('goes', 6, 3), 'G3');

  const child = { ...pg, seed: 1 };
  const inside = ({ name }: HObject): boolean => name.startsWith('goes');
  const { part, moves } = s.meta.splitOff(child, inside, s.store);
  const [create, ...rows] = part.createOps();
  // What the move of the PG's objects does.
  const objects = ['goes', 'goes too'].map((name): TransactionOp => {
    const first = objectKey(oid(name));
    return { op: 'move-range', cid, to: part.cid, first, end: Uint8Array.of(...first, 0) };
  });
  await s.store.queue({ ops: [create!, ...objects, ...moves, ...rows, ...s.meta.writeOps()] });

  const [left, gone] = [PgMeta.load(s.store, pg)!.rollback, PgMeta.load(s.store, child)!.rollback];
  expect([left.versions(), gone.versions()]).toEqual([[4], [3, 5, 6]]);
  // The child takes both of its objects back, the parent its own.
  const set = new Map<string, Uint8Array>();
  const ops = [
    ...gone.undo([entry('goes', 3, 2), entry('goes', 6, 3)]),
    ...gone.undo([entry('goes too', 5, 0)]),
    ...left.undo([entry('stays', 4, 1)]),
    ...gone.writeOps(set),
    ...left.writeOps(set),
  ];
  await s.store.queue({ ops });
  const text = async (from: string, name: string): Promise<string | undefined> =>
    utf8Maybe(await s.store.read(from, objectKey(oid(name)), 0, 100));
  expect([await text(cid, 'stays'), await text(cid, 'goes')]).toEqual(['S1', undefined]);
  expect([await text(part.cid, 'goes'), await text(part.cid, 'goes too')]).toEqual(['G1', undefined]);
  for (const id of [pg, child]) expect(PgMeta.load(s.store, id)!.rollback.versions()).toEqual([]);
  // Nothing is left of what was kept: each its own object and one of a client.
  for (const of of [cid, part.cid]) expect(s.store.list(of, new Uint8Array(0), 100)).toHaveLength(2);
});

test('shards that merge keep nothing to take back', async () => {
  const s = await shard();
  await s.write(entry('a', 1, 0), 'one');
  await s.write(entry('a', 2, 1), 'two');
  await s.store.queue({ ops: [...s.meta.mergeFrom([], 9, s.store), ...s.meta.writeOps()] });
  expect(PgMeta.load(s.store, pg)!.rollback.versions()).toEqual([]);
  expect(await s.read('a')).toBe('two');
  expect(s.keys()).toBe(2);
});
