import { expect, test } from 'vitest';
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
    const bytes = await store.read(cid, objectKey(oid(name)), 0, 100);
    return bytes === undefined ? undefined : Buffer.from(bytes).toString();
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
