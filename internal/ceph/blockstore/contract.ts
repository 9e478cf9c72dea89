/** What every ObjectStore must do; run over the block store and its in-memory twin. */
import { afterEach, describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import type { ObjectStore, TransactionOp } from './api.ts';
import { memoryStore } from './memory.ts';
import { dump, randomTransaction } from './workload.testing.ts';

export interface ContractOptions {
  /** An empty store of this capacity. */
  make(capacityBytes: number): Promise<ObjectStore>;
  /** Closes the store and opens it again with what it held; left out where nothing stays. */
  reopen?(store: ObjectStore): Promise<ObjectStore>;
  dispose?(): Promise<void>;
  /** It compresses what can be. */
  compresses?: boolean;
}

const cid = '1.0';
const key = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'latin1'));
const text = (bytes: Uint8Array | undefined): string | undefined => bytes && Buffer.from(bytes).toString('latin1');
const fill = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

export function objectStoreContract(name: string, options: ContractOptions): void {
  describe(`${name}: object store contract`, () => {
    let store: ObjectStore;
    const make = async (capacityBytes = 64 * 1024 * 1024): Promise<void> => {
      store = await options.make(capacityBytes);
      await store.queue({ ops: [{ op: 'create-collection', cid }] });
    };
    const run = (...ops: TransactionOp[]): Promise<void> => store.queue({ ops });
    const write = (k: string, offset: number, ...data: Uint8Array[]): TransactionOp => ({
      op: 'write',
      cid,
      key: key(k),
      offset,
      data,
    });
    const read = async (k: string, offset = 0, length = 1e9): Promise<string | undefined> =>
      text(await store.read(cid, key(k), offset, length));

    afterEach(async () => {
      await store.close();
      await options.dispose?.();
    });

    test('what is written is read at once, from pieces, cut at the size, holes as zeros', async () => {
      await make();
      const committed = run(write('a', 10000, key('hello '), key('world')));
      expect(store.stat(cid, key('a'))).toEqual({ size: 10011 });
      expect(await read('a', 9998)).toBe('\0\0hello world');
      await committed;
      expect(await read('a', 10006, 3)).toBe('wor');
      expect(await read('a', 10011, 5)).toBe('');
      expect(await read('a', 50000, 5)).toBe('');
      expect(await read('a', 0, 4)).toBe('\0\0\0\0');
      expect(await read('missing')).toBeUndefined();
      expect(store.stat(cid, key('missing'))).toBeUndefined();
      expect(store.extents(cid, key('a'), 0, 1e9)).toEqual([{ offset: 10000, length: 11 }]);
    });

    test('overwrites inside blocks, across blocks and of whole blocks', async () => {
      await make();
      await run(write('a', 0, fill(20000, 1)));
      await run(write('a', 100, fill(50, 2)));
      await run(write('a', 4000, fill(5000, 3)));
      await run(write('a', 12288, fill(4096, 4)), write('a', 12290, fill(1, 5)));
      const want = fill(20000, 1);
      want.fill(2, 100, 150).fill(3, 4000, 9000).fill(4, 12288, 16384).fill(5, 12290, 12291);
      expect(await store.read(cid, key('a'), 0, 30000)).toEqual(want);
      expect(await store.read(cid, key('a'), 3990, 5020)).toEqual(want.slice(3990, 9010));
    });

    test('many small overwrites queued without waiting are seen in order', async () => {
      await make();
      const want = fill(65536, 0);
      const random = seededRandom(5);
      const waits: Promise<void>[] = [];
      for (let i = 0; i < 300; i++) {
        const offset = random.uint32() % 60000;
        const bytes = random.bytes(1 + (random.uint32() % 5000));
        want.set(bytes.subarray(0, 65536 - offset), offset);
        waits.push(run(write('a', offset, bytes.subarray(0, 65536 - offset))));
        if (i % 50 === 0)
          expect(await store.read(cid, key('a'), 0, 65536)).toEqual(want.slice(0, store.stat(cid, key('a'))!.size));
      }
      await Promise.all(waits);
      expect(await store.read(cid, key('a'), 0, 65536)).toEqual(want.slice(0, store.stat(cid, key('a'))!.size));
    });

    test('zero frees whole blocks, and grows the object behind its end', async () => {
      await make();
      await run(write('a', 0, fill(16384, 7)));
      await run({ op: 'zero', cid, key: key('a'), offset: 4000, length: 4296 });
      const want = fill(16384, 7).fill(0, 4000, 8296);
      expect(await store.read(cid, key('a'), 0, 1e6)).toEqual(want);
      expect(store.extents(cid, key('a'), 0, 1e6)).toEqual([
        { offset: 0, length: 4000 },
        { offset: 8296, length: 8088 },
      ]);
      await run({ op: 'zero', cid, key: key('a'), offset: 20000, length: 10 });
      expect(store.stat(cid, key('a'))).toEqual({ size: 20010 });
      await run({ op: 'zero', cid, key: key('new'), offset: 5, length: 5 });
      expect(await read('new')).toBe('\0'.repeat(10));
      expect(store.extents(cid, key('new'), 0, 100)).toEqual([]);
    });

    test('holes are known by the byte: what is zeroed, cut off or skipped is none of the data, zeros that are written are', async () => {
      await make();
      const extents = (name: string): string =>
        store
          .extents(cid, key(name), 0, 1e9)
          .map(({ offset, length }) => `${offset}+${length}`)
          .join(' ');
      await run(write('a', 1, key('X')), write('a', 3, key('X')));
      expect(extents('a')).toBe('1+1 3+1');
      await run(write('a', 2, new Uint8Array(1)));
      expect(extents('a')).toBe('1+3');
      // Behind the end, in the same block and in another one.
      await run(write('a', 100, fill(10, 1)), write('a', 9000, fill(10, 1)));
      expect(extents('a')).toBe('1+3 100+10 9000+10');
      await run({ op: 'truncate', cid, key: key('a'), size: 105 });
      await run({ op: 'truncate', cid, key: key('a'), size: 5000 });
      expect(extents('a')).toBe('1+3 100+5');
      await run({ op: 'clone', cid, from: key('a'), to: key('b') }, write('a', 4, fill(96, 2)));
      expect([extents('a'), extents('b')]).toEqual(['1+104', '1+3 100+5']);
      await run(write('c', 0, fill(20000, 3)), {
        op: 'clone-range',
        cid,
        from: key('a'),
        to: key('c'),
        offset: 50,
        length: 4900,
      });
      expect(extents('c')).toBe('0+105 4950+15050');
      expect(await store.read(cid, key('c'), 104, 2)).toEqual(Uint8Array.of(1, 0));
      // A block of which nothing is left is given up.
      await run({ op: 'zero', cid, key: key('c'), offset: 16384, length: 2000 });
      expect(extents('c')).toBe('0+105 4950+11434 18384+1616');
      const { allocatedBytes } = store.statfs();
      await run({ op: 'zero', cid, key: key('c'), offset: 18000, length: 2000 });
      expect([extents('c'), store.statfs().allocatedBytes]).toEqual(['0+105 4950+11434', allocatedBytes - 4096]);
      expect(store.stat(cid, key('c'))).toEqual({ size: 20000 });
    });

    test('truncate cuts, and what it cut reads as zeros when the object grows again', async () => {
      await make();
      await run(write('a', 0, fill(10000, 9)));
      await run({ op: 'truncate', cid, key: key('a'), size: 5000 });
      expect(store.stat(cid, key('a'))).toEqual({ size: 5000 });
      await run({ op: 'truncate', cid, key: key('a'), size: 9000 });
      expect(await store.read(cid, key('a'), 0, 10000)).toEqual(fill(9000, 9).fill(0, 5000));
      await run({ op: 'truncate', cid, key: key('b'), size: 77 });
      expect(await read('b')).toBe('\0'.repeat(77));
    });

    test('a removed object is gone with xattrs and omap, also when it comes again in the same transaction', async () => {
      await make();
      const k = key('a');
      const attrs = new Map([['x', key('1')]]);
      await run(
        write('a', 0, fill(100, 1)),
        { op: 'set-xattrs', cid, key: k, xattrs: attrs },
        { op: 'omap-set', cid, key: k, entries: attrs },
      );
      await run({ op: 'remove', cid, key: k }, { op: 'touch', cid, key: k });
      expect(store.stat(cid, k)).toEqual({ size: 0 });
      expect(store.xattrs(cid, k).size).toBe(0);
      expect(store.omapList(cid, k, { limit: 10 })).toEqual({ entries: [], more: false });
      await run({ op: 'remove', cid, key: k });
      expect(store.stat(cid, k)).toBeUndefined();
      expect(store.list(cid, new Uint8Array(0), 10)).toEqual([]);
      await run({ op: 'remove', cid, key: k });
    });

    test('xattrs', async () => {
      await make();
      const k = key('a');
      await run({
        op: 'set-xattrs',
        cid,
        key: k,
        xattrs: new Map([
          ['_', key('oi')],
          ['snapset', key('ss')],
        ]),
      });
      await run({ op: 'set-xattrs', cid, key: k, xattrs: new Map([['_', key('')]]) });
      expect(store.xattr(cid, k, '_')).toEqual(new Uint8Array(0));
      expect(text(store.xattr(cid, k, 'snapset'))).toBe('ss');
      expect(store.xattr(cid, k, 'none')).toBeUndefined();
      await run({ op: 'remove-xattr', cid, key: k, name: '_' });
      expect([...store.xattrs(cid, k).keys()]).toEqual(['snapset']);
      await run({ op: 'clear-xattrs', cid, key: k });
      expect(store.xattrs(cid, k).size).toBe(0);
    });

    test('omap lists in UTF-8 byte order with after, prefix, limit', async () => {
      await make();
      const k = key('a');
      const names = ['b', 'a', 'é', '\uffee', '😀', 'ab', 'a\0b', 'B'];
      await run({ op: 'omap-set', cid, key: k, entries: new Map(names.map((n) => [n, Buffer.from(`v${n}`)])) });
      const sorted = [...names].sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y)));
      const keys = (o: Parameters<ObjectStore['omapList']>[2]): string[] =>
        store.omapList(cid, k, o).entries.map(([n]) => n);
      expect(keys({ limit: 100 })).toEqual(sorted);
      expect(store.omapList(cid, k, { limit: 3 }).more).toBe(true);
      expect(store.omapList(cid, k, { limit: names.length }).more).toBe(false);
      expect(keys({ after: 'a', limit: 2 })).toEqual(sorted.slice(sorted.indexOf('a') + 1).slice(0, 2));
      expect(keys({ after: 'a', inclusive: true, limit: 1 })).toEqual(['a']);
      expect(keys({ prefix: 'a', limit: 10 })).toEqual(['a', 'a\0b', 'ab']);
      expect(keys({ prefix: 'a', after: 'a', limit: 10 })).toEqual(['a\0b', 'ab']);
      expect(store.omapList(cid, k, { prefix: 'a', limit: 3 }).more).toBe(false);
      expect([...store.omapGet(cid, k, ['b', 'none'])].map(([n, v]) => [n, text(v)])).toEqual([['b', 'vb']]);
      await run({ op: 'omap-remove-range', cid, key: k, first: 'a', last: 'b' });
      expect(keys({ limit: 100 })).toEqual(['B', 'b', 'é', '\uffee', '😀']);
      await run(
        { op: 'omap-remove', cid, key: k, keys: ['b', 'none'] },
        { op: 'omap-set-header', cid, key: k, header: key('head') },
      );
      expect(text(store.omapHeader(cid, k))).toBe('head');
      await run({ op: 'omap-clear', cid, key: k });
      expect(keys({ limit: 100 })).toEqual([]);
      expect(store.omapHeader(cid, k).length).toBe(0);
    });

    test('many omap keys page without gaps', async () => {
      await make();
      const k = key('log');
      for (let i = 0; i < 2000; i += 100) {
        const entries = new Map<string, Uint8Array>();
        for (let j = i; j < i + 100; j++) entries.set(j.toString().padStart(10, '0'), fill(150, j));
        await run({ op: 'omap-set', cid, key: k, entries });
      }
      await run({ op: 'omap-remove-range', cid, key: k, first: '0000000000', last: '0000000500' });
      const all: string[] = [];
      let after: string | undefined;
      for (;;) {
        const page = store.omapList(cid, k, after === undefined ? { limit: 77 } : { after, limit: 77 });
        for (const [name, value] of page.entries) {
          all.push(name);
          expect(value).toEqual(fill(150, Number(name)));
        }
        after = all.at(-1);
        if (!page.more) break;
      }
      expect(all.length).toBe(1500);
      expect(all[0]).toBe('0000000500');
    });

    test('a clone shares and then goes its own way', async () => {
      await make();
      await run(write('a', 0, fill(10000, 1)), {
        op: 'set-xattrs',
        cid,
        key: key('a'),
        xattrs: new Map([['x', key('1')]]),
      });
      await run({ op: 'omap-set', cid, key: key('a'), entries: new Map([['k', key('v')]]) });
      await run(write('b', 0, fill(99, 9)));
      const before = store.statfs().allocatedBytes;
      await run({ op: 'clone', cid, from: key('a'), to: key('b') });
      expect(store.statfs().allocatedBytes).toBeLessThanOrEqual(before);
      await run(write('a', 5000, fill(10, 2)), write('b', 0, fill(1, 3)));
      await run({ op: 'omap-set', cid, key: key('a'), entries: new Map([['k', key('w')]]) });
      expect(await store.read(cid, key('a'), 0, 1e6)).toEqual(fill(10000, 1).fill(2, 5000, 5010));
      expect(await store.read(cid, key('b'), 0, 1e6)).toEqual(fill(10000, 1).fill(3, 0, 1));
      expect(text(store.xattr(cid, key('b'), 'x'))).toBe('1');
      expect(text(store.omapGet(cid, key('b'), ['k']).get('k'))).toBe('v');
      await run({ op: 'remove', cid, key: key('a') });
      expect(await store.read(cid, key('b'), 0, 1e6)).toEqual(fill(10000, 1).fill(3, 0, 1));
      await run({ op: 'remove', cid, key: key('b') });
      expect(store.statfs().allocatedBytes).toBe(0);
      expect(store.statfs().dataBytes).toBe(0);
    });

    test('clone-range copies data and holes at the same place, cut at the source size', async () => {
      await make();
      await run(write('a', 0, fill(4096, 1)), write('a', 12288, fill(3000, 2)), write('b', 0, fill(30000, 5)));
      await run({ op: 'clone-range', cid, from: key('a'), to: key('b'), offset: 100, length: 1e6 });
      const want = fill(30000, 5);
      want.fill(1, 100, 4096).fill(0, 4096, 12288).fill(2, 12288, 15288);
      expect(await store.read(cid, key('b'), 0, 1e6)).toEqual(want);
      await run({ op: 'clone-range', cid, from: key('a'), to: key('c'), offset: 4096, length: 9000 });
      expect(await store.read(cid, key('c'), 0, 1e6)).toEqual(fill(13096, 0).fill(2, 12288));
    });

    test('impossible transactions change nothing', async () => {
      await make();
      await run(write('a', 0, key('kept')));
      const before = await dump(store);
      const wrong: [string, TransactionOp][] = [
        ['ENOENT', { op: 'touch', cid: 'no', key: key('a') }],
        ['EEXIST', { op: 'create-collection', cid }],
        ['ENOTEMPTY', { op: 'remove-collection', cid }],
        ['ENOENT', { op: 'clone', cid, from: key('no'), to: key('b') }],
        ['ENOENT', { op: 'clone-range', cid, from: key('no'), to: key('b'), offset: 0, length: 1 }],
        ['EINVAL', { op: 'touch', cid, key: fill(5000, 1) }],
        ['EINVAL', write('a', -1, key('x'))],
        ['EINVAL', { op: 'truncate', cid, key: key('a'), size: 2 ** 52 }],
        ['EINVAL', { op: 'omap-set', cid, key: key('a'), entries: new Map([['\u00ff'.repeat(2 ** 15), key('x')]]) }],
        ['EINVAL', { op: 'omap-remove', cid, key: key('a'), keys: ['x'.repeat(2 ** 16)] }],
      ];
      for (const [code, op] of wrong)
        await expect(
          run(write('a', 0, key('lost')), { op: 'create-collection', cid: 'new' }, op),
        ).rejects.toMatchObject({ code });
      expect(await dump(store)).toBe(before);
      await run({ op: 'remove', cid, key: key('a') }, { op: 'remove-collection', cid });
      expect(store.collections()).toEqual([]);
    });

    test('lists in byte order from a start', async () => {
      await make();
      for (const k of ['\xff', 'b', 'a\0', 'a', '\x80']) await run(write(k, 0, key('x')));
      const list = (start: string, limit: number): string[] => store.list(cid, key(start), limit).map((k) => text(k)!);
      expect(list('', 10)).toEqual(['a', 'a\0', 'b', '\x80', '\xff']);
      expect(list('a\0', 2)).toEqual(['a\0', 'b']);
      expect(list('c', 1)).toEqual(['\x80']);
      expect(store.list('none', key(''), 10)).toEqual([]);
    });

    test('a full store refuses a transaction as a whole, and takes data again when something was removed', async () => {
      await make(4 * 1024 * 1024);
      let written = 0;
      let failure: unknown;
      while (failure === undefined) {
        await run(write(`o${written}`, 0, fill(256 * 1024, 1))).then(
          () => written++,
          (error: unknown) => {
            failure = error;
          },
        );
      }
      expect(failure).toMatchObject({ code: 'ENOSPC' });
      expect(store.hasRoom(256 * 1024)).toBe(false);
      expect(written).toBeGreaterThan(8);
      expect(store.stat(cid, key(`o${written}`))).toBeUndefined();
      for (let i = 0; i < written; i++) expect((await read(`o${i}`))?.length).toBe(256 * 1024);
      await run({ op: 'remove', cid, key: key('o0') }, { op: 'remove', cid, key: key('o1') });
      await run({ op: 'touch', cid, key: key('t') });
      await run(write('again', 0, fill(256 * 1024, 1)));
      for (let i = 2; i < written; i++) await run({ op: 'remove', cid, key: key(`o${i}`) });
      expect(store.hasRoom(256 * 1024)).toBe(true);
    });

    test('a range of objects moves to another collection, with everything, and back', async () => {
      await make();
      const to = '1.8';
      const move = (from: string, into: string, first: string, end: string): TransactionOp => ({
        op: 'move-range',
        cid: from,
        to: into,
        first: key(first),
        end: key(end),
      });
      const names = (collection: string): (string | undefined)[] =>
        store.list(collection, new Uint8Array(0), 100).map((k) => text(k));
      for (const name of ['a', 'b', 'c', 'd', 'e']) await run(write(name, 0, fill(9000, name.charCodeAt(0))));
      await run({ op: 'omap-set', cid, key: key('c'), entries: new Map([['k', key('v')]]) });
      await run({ op: 'clone', cid, from: key('c'), to: key('c2') }, { op: 'remove', cid, key: key('d') });
      if (options.reopen) store = await options.reopen(store);
      await run(write('b', 100, key('changed')), { op: 'remove', cid, key: key('c2') });
      await run({ op: 'create-collection', cid: to }, move(cid, to, 'b', 'e'), write('e', 9000, key('!')));
      expect(names(cid)).toEqual(['a', 'e']);
      expect(names(to)).toEqual(['b', 'c']);
      expect(store.stat(cid, key('c'))).toBeUndefined();
      expect(text(await store.read(to, key('b'), 100, 7))).toBe('changed');
      expect(store.omapGet(to, key('c'), ['k']).size).toBe(1);
      await run({ op: 'write', cid: to, key: key('d'), offset: 0, data: [key('new')] });
      await expect(run({ op: 'remove-collection', cid: to })).rejects.toMatchObject({ code: 'ENOTEMPTY' });
      await expect(run(move(cid, to, 'a', 'f'))).rejects.toMatchObject({ code: 'ENOTEMPTY' });
      await expect(run(move(cid, 'none', 'a', 'b'))).rejects.toMatchObject({ code: 'ENOENT' });
      await run({ op: 'create-collection', cid: '2.0' });
      await expect(run(move(cid, '2.0', 'a', 'b'))).rejects.toMatchObject({ code: 'EINVAL' });
      const dumped = await dump(store);
      if (options.reopen) store = await options.reopen(store);
      expect(await dump(store)).toBe(dumped);
      await run(move(to, cid, 'b', 'e'), { op: 'remove-collection', cid: to });
      expect(names(cid)).toEqual(['a', 'b', 'c', 'd', 'e']);
      expect(await read('d')).toBe('new');
      if (options.reopen) store = await options.reopen(store);
      expect(names(cid)).toEqual(['a', 'b', 'c', 'd', 'e']);
      expect(store.statfs().objects).toBe(5);
      for (const name of ['a', 'b', 'c', 'd', 'e']) await run({ op: 'remove', cid, key: key(name) });
      await run({ op: 'remove-collection', cid });
      expect(store.statfs()).toMatchObject({ objects: 0, dataBytes: 0, allocatedBytes: 0 });
    });

    test('statfs counts', async () => {
      await make();
      await run(write('a', 0, fill(10000, 1)), {
        op: 'omap-set',
        cid,
        key: key('a'),
        entries: new Map([['k', fill(100, 1)]]),
      });
      const s = store.statfs();
      expect(s.objects).toBe(1);
      expect(s.dataBytes).toBe(10000);
      expect(s.allocatedBytes).toBe(options.compresses ? 4096 : 12288);
      expect(s.omapBytes).toBeGreaterThanOrEqual(101);
      expect(s.availableBytes).toBeLessThanOrEqual(s.totalBytes - s.allocatedBytes);
    });

    for (const seed of [1, 2, 3])
      test(`300 random transactions give what the in-memory twin gives (seed ${seed})`, async () => {
        store = await options.make(64 * 1024 * 1024);
        const twin = memoryStore({ capacityBytes: 2 ** 40 });
        const random = seededRandom(seed);
        const waits: Promise<void>[] = [];
        let atOnce = 0;
        for (let i = 0; i < 300; i++) {
          const ops = randomTransaction(random, twin);
          await twin.queue({ ops });
          waits.push(store.queue({ ops }));
          if (i % 10 === 0) await Promise.all(waits.splice(0));
          if (i % 30 === 0) expect(await dump(store)).toBe(await dump(twin));
          for (const at of twin.collections())
            for (const name of twin.list(at, key(''), 20)) {
              const offset = random.uint32() % 20_000;
              const ready = store.readNow?.(at, name, offset, 5000);
              if (ready === undefined) continue;
              expect(ready).toEqual((await twin.read(at, name, offset, 5000))!);
              atOnce += ready.length;
            }
          if (i % 100 === 99 && options.reopen) store = await options.reopen(store);
        }
        await Promise.all(waits);
        expect(await dump(store)).toBe(await dump(twin));
        expect(store.statfs().dataBytes).toBe(twin.statfs().dataBytes);
        expect(store.statfs().objects).toBe(twin.statfs().objects);
        if (store.readNow !== undefined) expect(atOnce).toBeGreaterThan(100_000);
      });

    test.skipIf(options.reopen === undefined)('everything is there after closing and opening', async () => {
      await make();
      await run(write('a', 100, fill(50000, 3)), {
        op: 'set-xattrs',
        cid,
        key: key('a'),
        xattrs: new Map([['x', key('1')]]),
      });
      await run({ op: 'omap-set', cid, key: key('a'), entries: new Map([['k', key('v')]]) });
      await run({ op: 'clone', cid, from: key('a'), to: key('b') }, write('b', 0, fill(1, 1)));
      const before = await dump(store);
      const counts = store.statfs();
      store = await options.reopen!(store);
      expect(await dump(store)).toBe(before);
      const { dataBytes, allocatedBytes, objects } = store.statfs();
      expect([dataBytes, allocatedBytes, objects]).toEqual([counts.dataBytes, counts.allocatedBytes, counts.objects]);
      await run({ op: 'remove', cid, key: key('a') }, { op: 'remove', cid, key: key('b') });
      expect(store.statfs().allocatedBytes).toBe(0);
    });
  });
}
