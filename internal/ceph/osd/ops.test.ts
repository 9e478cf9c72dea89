import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { AppError } from '../../base/errors.ts';
import { concatBytes, utf8, utf8Text } from '../../base/bytes.ts';
import { compareText, Decoder, encoded, Encoder, textFromBytes } from '../wire/encoding.ts';
import {
  OSD_FLAG_ORDERSNAP,
  OSD_FLAG_RETURNVEC,
  OSD_FLAG_RWORDERED,
  WATCH_NOTIFY,
  WATCH_NOTIFY_COMPLETE,
} from '../wire/messages/osd_client.ts';
import {
  OP,
  OP_FLAG_EXCL,
  OP_FLAG_FAILOK,
  OsdOp,
  WATCH_OP_PING,
  WATCH_OP_UNWATCH,
  WATCH_OP_WATCH,
} from '../wire/messages/osd_op.ts';
import {
  decodeHObject,
  encodeHObject,
  encodeLocator,
  type HObject,
  hobjectMin,
  SNAP_DIR,
  SNAP_HEAD,
} from '../wire/types.ts';
import { ChecksumError } from '../blockstore/errors.ts';
import { severalPgs, singleOsd, TestClient, threeOsds } from './sim/single.testing.ts';
import { simHash, simPool } from './sim/map.testing.ts';
import type { SimCluster } from './sim/world.testing.ts';

let cluster: SimCluster;
let client: TestClient;
beforeEach(async () => {
  cluster = await singleOsd();
  client = new TestClient(cluster);
});

const write = (text: string, offset = 0): OsdOp => OsdOp.extent(OP.WRITE, offset, utf8(text).length, [utf8(text)]);
const oidOf = (name: string): HObject => ({ ...hobjectMin, name, snap: SNAP_HEAD, hash: simHash(name), pool: simPool });
const writeFull = (text: string): OsdOp => OsdOp.extent(OP.WRITEFULL, 0, utf8(text).length, [utf8(text)]);
const read = (offset = 0, length = 0): OsdOp => OsdOp.extent(OP.READ, offset, length);
const omapSet = (entries: Record<string, string>): OsdOp =>
  OsdOp.make(OP.OMAPSETVALS, [encoded((e) => e.stringMap(new Map(Object.entries(entries)), (x, v) => x.string(v)))]);
const join = (op: OsdOp): OsdOp => {
  op.data = [concatBytes(op.data)];
  return op;
};
const xattr = (code: number, name: string, value = '', cmp = 0, mode = 0): OsdOp =>
  join(OsdOp.xattr(code, name, utf8(value), cmp, mode));

describe('data', () => {
  test('write, read, append, truncate, zero, stat', async () => {
    expect((await client.exec('a', [read()])).result).toBe(-2);
    const first = await client.exec('a', [write('hello')]);
    expect(first).toMatchObject({ result: 0, rvals: [0] });
    expect(first.reply.replayVersion.version).toBeGreaterThan(0);
    expect(first.reply.badReplayVersion.version).toBe(first.userVersion);
    await client.exec('a', [OsdOp.extent(OP.APPEND, 0, 3, [utf8('XYZ')])]);
    expect(utf8Text((await client.exec('a', [read()])).outs[0]!)).toBe('helloXYZ');
    expect(utf8Text((await client.exec('a', [read(1, 3)])).outs[0]!)).toBe('ell');
    expect((await client.exec('a', [read(100, 3)])).outs[0]!.length).toBe(0);
    await client.exec('a', [OsdOp.extent(OP.ZERO, 1, 2)]);
    expect([...(await client.exec('a', [read()])).outs[0]!.subarray(0, 4)]).toEqual([104, 0, 0, 108]);
    await client.exec('a', [OsdOp.extent(OP.TRUNCATE, 2, 0)]);
    const stat = new Decoder((await client.exec('a', [OsdOp.make(OP.STAT)])).outs[0]!);
    expect([stat.u64(), stat.utime().sec]).toEqual([2, 1_700_000_000]);
    expect((await client.exec('a', [OsdOp.extent(OP.WRITE, 0, 9, [utf8('x')])])).result).toBe(-22);
    expect((await client.exec('a', [OsdOp.extent(OP.WRITE, 2 ** 40, 1, [utf8('x')])])).result).toBe(-27);
  });

  test('hints that tell what compresses reach the store; others, and none where there was none, are the object’s only', async () => {
    const { store } = cluster.osds[0]!;
    const hints: number[] = [];
    const queue = store.queue.bind(store);
    store.queue = (transaction) => {
      for (const op of transaction.ops) if (op.op === 'set-alloc-hint') hints.push(op.flags);
      return queue(transaction);
    };
    const hint = (flags: number): OsdOp => OsdOp.allocHint(4096, 4096, flags);
    for (const flags of [0, 1 | 16, 256 | 1, 512, 0, 0])
      expect((await client.exec('hinted', [hint(flags), write('x')])).result).toBe(0);
    expect(hints).toEqual([256, 512, 0]);
  });

  test('create exclusively, delete, and the failed write is remembered', async () => {
    expect((await client.exec('b', [OsdOp.make(OP.DELETE)], { tid: 50 })).result).toBe(-2);
    expect((await client.exec('b', [OsdOp.make(OP.CREATE, [], OP_FLAG_EXCL)])).result).toBe(0);
    expect((await client.exec('b', [OsdOp.make(OP.CREATE, [], OP_FLAG_EXCL)])).result).toBe(-17);
    // The delete of before comes again: it must not delete now.
    expect((await client.exec('b', [OsdOp.make(OP.DELETE)], { tid: 50, retry: 1 })).result).toBe(-2);
    expect((await client.exec('b', [OsdOp.make(OP.STAT)])).result).toBe(0);
    expect((await client.exec('b', [OsdOp.make(OP.DELETE)])).result).toBe(0);
    expect((await client.exec('b', [OsdOp.make(OP.STAT)])).result).toBe(-2);
  });

  test('a repeated request is answered once, also after a restart and when its entry left the log', async () => {
    const append = (): OsdOp => OsdOp.extent(OP.APPEND, 0, 1, [utf8('x')]);
    const first = await client.exec('c', [append()], { tid: 7 });
    const again = await client.exec('c', [append()], { tid: 7, retry: 1 });
    expect([again.result, again.userVersion]).toEqual([0, first.userVersion]);
    cluster.crash(0);
    cluster.start(0);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 10_000, () => cluster.allClean());
    const later = await client.exec('c', [append()], { tid: 7, retry: 2 });
    expect([later.result, later.userVersion]).toEqual([0, first.userVersion]);
    for (let i = 0; i < 700; i++) await client.exec('other', [write('y')]);
    expect(cluster.osds[0]!.osd!.pgs.get('1.0')!.core.meta.log.length).toBeLessThan(700);
    const old = await client.exec('c', [append()], { tid: 7, retry: 3 });
    expect([old.result, old.userVersion]).toEqual([0, first.userVersion]);
    expect((await client.exec('c', [read()])).outs[0]!.length).toBe(1);
  });

  test('a vector is atomic; FAILOK lets it go on; RETURNVEC gives results', async () => {
    expect((await client.exec('d', [write('kept'), xattr(OP.CMPXATTR, 'v', 'x', 1, 1)])).result).toBe(-125);
    expect((await client.exec('d', [OsdOp.make(OP.STAT)])).result).toBe(-2);
    const failok = OsdOp.make(OP.DELETE, [], OP_FLAG_FAILOK);
    expect((await client.exec('d', [failok, write('ok')])).result).toBe(0);
    const vec = await client.exec('d', [xattr(OP.SETXATTR, 'v', '1'), xattr(OP.CMPXATTR, 'n', '', 1, 1)], {
      flags: OSD_FLAG_RETURNVEC,
    });
    expect(vec).toMatchObject({ result: 1, rvals: [0, 1] });
  });

  test('CMPEXT tells where the first difference is; CHECKSUM, WRITESAME, SPARSE_READ', async () => {
    await client.exec('e', [writeFull('abcdef')]);
    const cmp = (text: string): OsdOp => OsdOp.extent(OP.CMPEXT, 0, utf8(text).length, [utf8(text)]);
    expect((await client.exec('e', [cmp('abcdef')])).result).toBe(0);
    expect((await client.exec('e', [cmp('abXdef')])).result).toBe(-4097);
    const same = OsdOp.make(OP.WRITESAME, [utf8('ab')], 0, (u) => {
      u.setUint32(0, 0, true);
      u.setUint32(8, 6, true);
      u.setUint32(16, 2, true);
    });
    expect((await client.exec('e', [same])).result).toBe(0);
    expect(utf8Text((await client.exec('e', [read()])).outs[0]!)).toBe('ababab');
    const sum = OsdOp.make(OP.CHECKSUM, [new Encoder().u32(0xffffffff).finish()], 0, (u) => {
      u.setUint32(8, 6, true);
      u.setUint8(20, 2);
    });
    const out = new Decoder((await client.exec('e', [sum])).outs[0]!);
    expect(out.u32()).toBe(1);
    const sparse = new Decoder((await client.exec('e', [OsdOp.extent(OP.SPARSE_READ, 0, 100)])).outs[0]!);
    expect(sparse.list((d) => [d.u64(), d.u64()])).toEqual([[0, 6]]);
    expect(utf8Text(sparse.blob())).toBe('ababab');
  });

  test('SPARSE_READ tells holes by the byte; zeroes that were written are none', async () => {
    const extents = async (oid: string): Promise<[[number, number][], string]> => {
      const d = new Decoder((await client.exec(oid, [OsdOp.extent(OP.SPARSE_READ, 0, 200_000)])).outs[0]!);
      return [d.list((x) => [x.u64(), x.u64()]), utf8Text(d.blob()).replaceAll('\0', '.')];
    };
    await client.exec('small', [write('X', 1), write('Y', 3)]);
    expect(await extents('small')).toEqual([
      [
        [1, 1],
        [3, 1],
      ],
      'XY',
    ]);
    await client.exec('large', [write('X', 4096), write('Y', 160_000)]);
    const [found, data] = await extents('large');
    expect(found).toEqual([
      [4096, 1],
      [160_000, 1],
    ]);
    expect(data).toBe('XY');
    await client.exec('zeros', [write('\0\0\0')]);
    expect(await extents('zeros')).toEqual([[[0, 3]], '...']);
  });

  test('unknown ops, long names, empty names, forbidden clients', async () => {
    expect((await client.exec('f', [OsdOp.make(0x12ff)])).result).toBe(-2);
    await client.exec('f', [write('x')]);
    expect((await client.exec('f', [OsdOp.make(0x12ff)])).result).toBe(-95);
    expect((await client.exec('f', [join(OsdOp.call('nosuch', 'method', new Uint8Array(0)))])).result).toBe(-95);
    expect((await client.exec('x'.repeat(2049), [write('x')])).result).toBe(-36);
    expect((await client.exec('', [write('x')])).result).toBe(-22);
    client.allow = false;
    expect((await client.exec('f', [read()])).result).toBe(-1);
  });

  test('a write that is older than the last truncation is clipped, a newer one truncates first', async () => {
    const at = (text: string, offset: number, seq: number, size: number): OsdOp =>
      OsdOp.make(OP.WRITE, [utf8(text)], 0, (u) => {
        u.setUint32(0, offset, true);
        u.setUint32(8, utf8(text).length, true);
        u.setUint32(16, size, true);
        u.setUint32(24, seq, true);
      });
    await client.exec('t', [writeFull('0123456789')]);
    await client.exec('t', [at('ab', 0, 3, 4)]);
    expect(utf8Text((await client.exec('t', [read()])).outs[0]!)).toBe('ab23');
    await client.exec('t', [at('wxyz', 2, 2, 10)]);
    expect(utf8Text((await client.exec('t', [read()])).outs[0]!)).toBe('abwx');
  });
});

describe('what is too much for a store, or a defect, fails one request: the OSD and the object go on', () => {
  afterEach(async () => expect((await client.exec('m', [write('after')])).result).toBe(0));

  test('a truncation that a write brings along, beyond the largest object', async () => {
    await client.exec('m', [writeFull('x')]);
    const far = OsdOp.make(OP.WRITE, [utf8('x')], 0, (u) => {
      u.setUint32(8, 1, true);
      u.setBigUint64(16, 2n ** 50n, true);
      u.setUint32(24, 7, true);
    });
    expect((await client.exec('m', [far])).result).toBe(-27);
    expect((await client.exec('m', [OsdOp.make(OP.STAT)])).outs[0]![0]).toBe(1);
  });

  test('names that the store cannot write', async () => {
    await client.exec('m', [omapSet({ a: '1' })]);
    const long = 'k'.repeat(70_000);
    const keys = encoded((e) => e.stringSet([long]));
    const range = new Encoder(100).string('a').string(long).finish();
    expect((await client.exec('m', [omapSet({ [long]: 'v' })])).result).toBe(-36);
    expect((await client.exec('m', [OsdOp.make(OP.OMAPRMKEYS, [keys])])).result).toBe(-36);
    expect((await client.exec('m', [OsdOp.make(OP.OMAPRMKEYRANGE, [range])])).result).toBe(-36);
    expect((await client.exec('m', [omapSet({ ['k'.repeat(32_000)]: 'v' })])).result).toBe(0);
  });

  test('more attributes, small writes or repeated data than a transaction takes', async () => {
    const value = 'v'.repeat(15 << 20);
    expect((await client.exec('m', [omapSet({ a: value, b: value })])).result).toBe(-90);
    expect((await client.exec('m', [omapSet({ a: value })])).result).toBe(0);
    const writes = Array.from({ length: 4000 }, (_, i) => write('x', i * 8192));
    expect((await client.exec('m', writes)).result).toBe(-90);
    const same = OsdOp.make(OP.WRITESAME, [utf8('x')], 0, (u) => {
      u.setUint32(8, 100 << 20, true);
      u.setUint32(16, 1, true);
    });
    expect((await client.exec('m', [same])).result).toBe(-90);
    const half = OsdOp.make(OP.WRITESAME, [utf8('x')], 0, (u) => {
      u.setUint32(8, 50 << 20, true);
      u.setUint32(16, 1, true);
    });
    expect((await client.exec('m', [half, half])).result).toBe(-90);
    expect((await client.exec('m', [OsdOp.make(OP.STAT)])).outs[0]![0]).toBe(0);
  });

  test('more xattrs than a row of the store holds', async () => {
    const many = (from: number, count: number): OsdOp[] =>
      Array.from({ length: count }, (_, i) => xattr(OP.SETXATTR, `x${from + i}`, 'v'));
    expect((await client.exec('m', many(0, 9000))).result).toBe(0);
    expect((await client.exec('m', many(9000, 2000))).result).toBe(-28);
    const large = (prefix: string): OsdOp[] =>
      Array.from({ length: 100 }, (_, i) => xattr(OP.SETXATTR, `${prefix}${i}`, 'v'.repeat(64_000)));
    expect((await client.exec('o', large('a'))).result).toBe(0);
    expect((await client.exec('o', large('b'))).result).toBe(0);
    expect((await client.exec('o', [xattr(OP.SETXATTR, 'c', 'v')])).result).toBe(-28);
  });

  test('more output than an object is long', async () => {
    await client.exec('m', [OsdOp.extent(OP.WRITE, 70 << 20, 1, [utf8('x')])]);
    expect((await client.exec('m', [read(), read()])).result).toBe(-90);
    const sum = OsdOp.make(OP.CHECKSUM, [new Encoder().u32(0).finish()], 0, (u) => {
      u.setUint32(8, 70 << 20, true);
      u.setUint32(16, 4, true);
      u.setUint8(20, 2);
    });
    expect((await client.exec('m', [sum])).result).toBe(-22);
  });

  test('an op whose code throws', async () => {
    await client.exec('m', [write('x')]);
    const { store } = cluster.osds[0]!;
    const { omapHeader } = store;
    store.omapHeader = () => {
      throw new Error('a defect');
    };
    expect((await client.exec('m', [OsdOp.make(OP.OMAPGETHEADER)])).result).toBe(-5);
    store.omapHeader = omapHeader;
  });
});

describe('xattrs and omap', () => {
  test('xattrs: set, get, list, compare, remove', async () => {
    await client.exec('x', [xattr(OP.SETXATTR, 'one', '1'), xattr(OP.SETXATTR, 'two', '22')]);
    expect(utf8Text((await client.exec('x', [xattr(OP.GETXATTR, 'two')])).outs[0]!)).toBe('22');
    expect((await client.exec('x', [xattr(OP.GETXATTR, 'none')])).result).toBe(-61);
    const all = new Decoder((await client.exec('x', [OsdOp.make(OP.GETXATTRS)])).outs[0]!);
    expect([...all.stringStringMap()]).toEqual([
      ['one', '1'],
      ['two', '22'],
    ]);
    expect((await client.exec('x', [xattr(OP.CMPXATTR, 'one', '1', 1, 1)])).rvals).toEqual([1]);
    expect((await client.exec('x', [xattr(OP.CMPXATTR, 'one', '2', 1, 1)])).result).toBe(-125);
    const number = join(OsdOp.xattr(OP.CMPXATTR, 'two', new Encoder().u64(23).finish(), 3, 2));
    expect((await client.exec('x', [number])).result).toBe(1);
    await client.exec('x', [xattr(OP.RMXATTR, 'one')]);
    expect((await client.exec('x', [xattr(OP.GETXATTR, 'one')])).result).toBe(-61);
  });

  test('omap: pages, prefixes, header, compare, removal of keys and ranges', async () => {
    await client.exec('o', [omapSet({ a: '1', b: '2', ba: '3', c: '4' })]);
    const vals = (after: string, max: number, prefix: string): OsdOp =>
      OsdOp.make(OP.OMAPGETVALS, [new Encoder().string(after).u64(max).string(prefix).finish()]);
    const page = async (op: OsdOp): Promise<[Record<string, string>, boolean]> => {
      const d = new Decoder((await client.exec('o', [op])).outs[0]!);
      return [Object.fromEntries(d.stringStringMap()), d.bool()];
    };
    expect(await page(vals('', 2, ''))).toEqual([{ a: '1', b: '2' }, true]);
    expect(await page(vals('b', 10, ''))).toEqual([{ ba: '3', c: '4' }, false]);
    expect(await page(vals('', 10, 'b'))).toEqual([{ b: '2', ba: '3' }, false]);
    const cmp = (value: string, op: number): OsdOp =>
      OsdOp.make(OP.OMAP_CMP, [new Encoder().u32(1).string('a').string(value).s32(op).finish()]);
    expect((await client.exec('o', [cmp('1', 1)])).result).toBe(0);
    expect((await client.exec('o', [cmp('2', 1)])).result).toBe(-125);
    expect((await client.exec('o', [cmp('2', 5)])).result).toBe(0);
    await client.exec('o', [OsdOp.make(OP.OMAPSETHEADER, [utf8('head')])]);
    expect(utf8Text((await client.exec('o', [OsdOp.make(OP.OMAPGETHEADER)])).outs[0]!)).toBe('head');
    await client.exec('o', [OsdOp.make(OP.OMAPRMKEYS, [encoded((e) => e.stringSet(['a']))])]);
    await client.exec('o', [OsdOp.make(OP.OMAPRMKEYRANGE, [new Encoder().string('b').string('c').finish()])]);
    expect(await page(vals('', 10, ''))).toEqual([{ c: '4' }, false]);
    expect((await client.exec('nothing', [OsdOp.make(OP.OMAPCLEAR)])).result).toBe(-2);
    await client.exec('o', [OsdOp.make(OP.OMAPCLEAR)]);
    expect(await page(vals('', 10, ''))).toEqual([{}, false]);
  });

  test('keys and names of any bytes come back as they were, in byte order', async () => {
    const keys = [[0xc3, 0xa9], [0x7f], [0x80], [0xff, 0xfe, 0x41], [0xff, 0xfd], [0x01, 0x00, 0xff], [0x61]].map((b) =>
      textFromBytes(Uint8Array.from(b)),
    );
    await client.exec('k', [omapSet(Object.fromEntries(keys.map((k, i) => [k, String(i)])))]);
    const input = new Encoder().string('').u64(100).string('').finish();
    const d = new Decoder((await client.exec('k', [OsdOp.make(OP.OMAPGETVALS, [input])])).outs[0]!);
    expect([...d.stringStringMap().keys()]).toEqual([...keys].sort(compareText));
    const wanted = encoded((e) => e.stringSet(keys));
    const by = new Decoder((await client.exec('k', [OsdOp.make(OP.OMAPGETVALSBYKEYS, [wanted])])).outs[0]!);
    expect(by.stringStringMap().size).toBe(keys.length);
    const name = textFromBytes(Uint8Array.of(0x61, 0xff));
    await client.exec('k', [xattr(OP.SETXATTR, name, 'v')]);
    expect(utf8Text((await client.exec('k', [xattr(OP.GETXATTR, name)])).outs[0]!)).toBe('v');
    const all = new Decoder((await client.exec('k', [OsdOp.make(OP.GETXATTRS)])).outs[0]!);
    expect([...all.stringStringMap().keys()]).toEqual([name]);
  });

  test('the user version grows with each change and can be asserted', async () => {
    const one = await client.exec('v', [write('1')]);
    const two = await client.exec('v', [write('2')]);
    expect(two.userVersion).toBeGreaterThan(one.userVersion);
    expect((await client.exec('v', [OsdOp.assertVersion(two.userVersion), read()])).result).toBe(0);
    expect((await client.exec('v', [OsdOp.assertVersion(one.userVersion), read()])).result).toBe(-34);
    expect((await client.exec('v', [OsdOp.assertVersion(two.userVersion + 1), read()])).result).toBe(-75);
  });
});

describe('listing', () => {
  test('pages of heads in hash order, by namespace; 1 and the end of the PG at last', async () => {
    for (let i = 0; i < 20; i++) await client.exec(`n${i}`, [write('x')]);
    await client.exec('hidden', [write('x')], { locator: { pool: 1, key: '', nspace: 'ns', hash: -1 } });
    const names = new Set<string>();
    let cursor = hobjectMin;
    for (let pages = 0; pages < 10; pages++) {
      const op = OsdOp.pgls(OP.PGNLS, 7, 0, [encoded((e) => encodeHObject(e, cursor))]);
      const answer = await client.exec('', [op]);
      const d = new Decoder(answer.outs[0]!);
      d.open('pg_nls_response', 1);
      cursor = decodeHObject(d);
      for (const [nspace, name] of d.list((x) => [x.string(), x.string(), x.string()])) names.add(`${nspace}/${name}`);
      if (answer.result === 1) break;
    }
    expect(cursor.max).toBe(true);
    expect(names.size).toBe(20);
    const all = await client.exec('', [OsdOp.pgls(OP.PGNLS, 100, 0, [encoded((e) => encodeHObject(e, hobjectMin))])], {
      locator: { pool: 1, key: '', nspace: '\u0001', hash: -1 },
    });
    const d = new Decoder(all.outs[0]!);
    d.open('pg_nls_response', 1);
    decodeHObject(d);
    expect(d.list((x) => [x.string(), x.string(), x.string()]).length).toBe(21);
  });
});

describe('listing with a filter', () => {
  test('only objects whose xattr has the value; an unknown filter is refused', async () => {
    await client.exec('right', [write('x'), xattr(OP.SETXATTR, 'color', 'red')]);
    await client.exec('wrong', [write('x'), xattr(OP.SETXATTR, 'color', 'blue')]);
    await client.exec('none', [write('x')]);
    const list = (kind: string): OsdOp =>
      OsdOp.pgls(OP.PGNLS_FILTER, 100, 0, [
        encoded((e) => {
          e.string('pg').string('filter').string(kind).string('_color').string('red');
          encodeHObject(e, hobjectMin);
        }),
      ]);
    for (const kind of ['plain', 'hello.hello']) {
      const answer = await client.exec('', [list(kind)]);
      const d = new Decoder(answer.outs[0]!);
      d.open('pg_nls_response', 1);
      decodeHObject(d);
      expect(d.list((x) => [x.string(), x.string(), x.string()])).toEqual([['', 'right', '']]);
    }
    expect((await client.exec('', [list('hello.nosuch')])).result).toBe(-22);
  });
});

describe('copy-from', () => {
  const copyFrom = (from: string, version = 0, snap = SNAP_HEAD, flags = 0): OsdOp =>
    OsdOp.make(
      OP.COPY_FROM2,
      [
        encoded((e) => {
          e.string(from);
          encodeLocator(e, { pool: simPool, key: '', nspace: '', hash: -1 });
          e.u32(5).u64(100);
        }),
      ],
      0,
      (u) => {
        u.setBigUint64(0, snap, true);
        u.setBigUint64(8, BigInt(version), true);
        u.setUint8(16, flags);
      },
    );

  test('data with holes, xattrs, omap, user version and time come from the source', async () => {
    const source = await client.exec('s', [
      write('tail', 9_000_000),
      xattr(OP.SETXATTR, 'a', '1'),
      omapSet({ k: 'v' }),
      OsdOp.make(OP.OMAPSETHEADER, [utf8('head')]),
    ]);
    await client.exec('t', [write('old'), xattr(OP.SETXATTR, 'gone', '1'), omapSet({ old: '1' })]);
    const copied = await client.exec('t', [copyFrom('s')]);
    expect([copied.result, copied.userVersion]).toEqual([0, source.userVersion]);
    const bytes = (await client.exec('t', [read()])).outs[0]!;
    expect([bytes.length, utf8Text(bytes.subarray(9_000_000)), bytes[5]]).toEqual([9_000_004, 'tail', 0]);
    expect(utf8Text((await client.exec('t', [xattr(OP.GETXATTR, 'a')])).outs[0]!)).toBe('1');
    expect((await client.exec('t', [xattr(OP.GETXATTR, 'gone')])).result).toBe(-61);
    const input = new Encoder().string('').u64(10).string('').finish();
    const omap = new Decoder((await client.exec('t', [OsdOp.make(OP.OMAPGETVALS, [input])])).outs[0]!);
    expect(Object.fromEntries(omap.stringStringMap())).toEqual({ k: 'v' });
    expect(utf8Text((await client.exec('t', [OsdOp.make(OP.OMAPGETHEADER)])).outs[0]!)).toBe('head');
    expect((await client.exec('t', [write('more')])).userVersion).toBeGreaterThan(source.userVersion);
  });

  test('another version, no source, itself, unknown flags, a forbidden source', async () => {
    await client.exec('s', [write('x')]);
    const { userVersion } = await client.exec('s', [write('y')]);
    expect((await client.exec('t', [copyFrom('s', userVersion + 1)])).result).toBe(-75);
    expect((await client.exec('t', [copyFrom('s', userVersion - 1)])).result).toBe(-34);
    expect((await client.exec('t', [copyFrom('nosuch')])).result).toBe(-2);
    expect((await client.exec('s', [copyFrom('s')])).result).toBe(-22);
    expect((await client.exec('t', [copyFrom('s', 0, SNAP_HEAD, 64)])).result).toBe(-22);
    expect((await client.exec('t', [OsdOp.make(OP.STAT)])).result).toBe(-2);
    expect((await client.exec('t', [copyFrom('s', userVersion)])).result).toBe(0);
    // Writing is allowed, reading is not.
    client.client.allowed = (_pool, _nspace, _oid, kinds) => kinds.needsWrite;
    expect((await client.exec('t', [copyFrom('s')])).result).toBe(-1);
  });

  test('the source as a snapshot saw it', async () => {
    await client.exec('s', [writeFull('before')]);
    await client.exec('s', [writeFull('after')], { snapSeq: 4n, snaps: [4n] });
    expect((await client.exec('t', [copyFrom('s', 0, 4n)])).result).toBe(0);
    expect(utf8Text((await client.exec('t', [read()])).outs[0]!)).toBe('before');
    expect((await client.exec('s', [copyFrom('s', 0, 4n)])).result).toBe(0);
    expect(utf8Text((await client.exec('s', [read()])).outs[0]!)).toBe('before');
    expect((await client.exec('s', [copyFrom('s', 0, 3n)])).result).toBe(-2);
    expect((await client.exec('s', [copyFrom('s', 0, 9n)])).result).toBe(-22);
  });

  test('a write behind a copy waits for it, also when the source is led by another OSD that restarts meanwhile', async () => {
    const { cluster: three, client: one } = await severalPgs();
    const leader = (oid: string): number => three.map.place(three.map.pgOfHash(simPool, simHash(oid))).actingPrimary;
    const names = [...'abcdefghijklmnop'];
    const target = names[0]!;
    const source = names.find((name) => leader(name) !== leader(target))!;
    one.aim(source);
    await one.exec(source, [writeFull('copied')]);
    one.aim(target);
    await one.exec(target, [writeFull('old')]);
    three.crash(leader(source));
    const copying = one.exec(target, [copyFrom(source)]);
    three.markDown(leader(source));
    expect((await copying).result).toBe(0);
    expect((await one.exec(target, [OsdOp.extent(OP.APPEND, 0, 1, [utf8('!')])])).result).toBe(0);
    expect(utf8Text((await one.exec(target, [read()])).outs[0]!)).toBe('copied!');
  });
});

describe('order', () => {
  test('a read that is ordered with writes does not pass those that wait until a copy has caught up', async () => {
    const { cluster: three, clients } = await threeOsds();
    const [one] = clients as [TestClient];
    await one.exec('x', [writeFull('first')]);
    const pg = three.osds[one.target]!.osd!.pgs.get('1.0')!;
    // As after a restart of a member that missed a write: the object is still missing there.
    const member = pg.core.members[0]!;
    const { version } = pg.engine.contexts.get(oidOf('x')).info;
    pg.core.peers.get(member)!.missing!.set(oidOf('x'), version, { epoch: 0, version: 0 });
    const order: string[] = [];
    const write1 = one.exec('x', [writeFull('second')]).then(() => order.push('write'));
    const read1 = one.exec('x', [read()], { flags: OSD_FLAG_RWORDERED }).then(({ outs }) => {
      order.push(utf8Text(outs[0]!));
    });
    await Promise.all([write1, read1]);
    expect(order).toEqual(['write', 'second']);
  });

  test('a read that waited behind the removal of its object finds none', async () => {
    const { clients } = await threeOsds();
    const [one] = clients as [TestClient];
    await one.exec('x', [writeFull('first')]);
    const [, removed, found] = await Promise.all([
      one.exec('x', [writeFull('second')]),
      // Alone in its turn, because it reads: it begins when the write before it is on all disks.
      one.exec('x', [OsdOp.make(OP.STAT), OsdOp.make(OP.DELETE)]),
      one.exec('x', [read()]),
    ]);
    expect([removed.result, found.result]).toEqual([0, -2]);
  });

  test('a read of a snapshot that waited behind the write that makes its clone reads the clone', async () => {
    const { clients } = await threeOsds();
    const [one] = clients as [TestClient];
    await one.exec('x', [writeFull('first')]);
    const snapped = { snapSeq: 4n, snaps: [4n] };
    const [, , found] = await Promise.all([
      one.exec('x', [xattr(OP.SETXATTR, 'v', '1')]),
      one.exec('x', [OsdOp.make(OP.STAT), writeFull('second')], snapped),
      one.exec('x', [read()], { snapId: 4n }),
    ]);
    expect([found.result, utf8Text(found.outs[0]!)]).toEqual([0, 'first']);
  });
});

describe('watch and notify', () => {
  test('watchers get the notification, the notifier their answers; a silent one is missed and removed', async () => {
    await client.exec('w', [write('x')]);
    const other = new TestClient(cluster, 4001);
    expect((await other.exec('w', [OsdOp.watch(9n, WATCH_OP_PING, 0)])).result).toBe(-107);
    expect((await other.exec('w', [OsdOp.watch(9n, WATCH_OP_WATCH, 10)])).result).toBe(0);
    expect((await other.exec('w', [OsdOp.watch(9n, WATCH_OP_PING, 0)])).result).toBe(0);
    const payload = new Encoder().u32(1).u32(3).string('news').finish();
    const id = new Decoder((await client.exec('w', [OsdOp.notify(77n, [payload])])).outs[0]!).u64b();
    expect(other.notifies.at(-1)).toMatchObject({ opcode: WATCH_NOTIFY, cookie: 9n, notifyId: id });
    expect(utf8Text(other.notifies.at(-1)!.payload)).toBe('news');
    const ack = new Encoder().u64b(id).u64b(9n).string('heard').finish();
    await other.exec('w', [OsdOp.make(OP.NOTIFY_ACK, [ack])]);
    const done = client.notifies.at(-1)!;
    expect(done).toMatchObject({ opcode: WATCH_NOTIFY_COMPLETE, cookie: 77n, notifyId: id, returnCode: 0 });
    const d = new Decoder(done.data);
    expect(d.list((x) => [x.u64(), x.u64b(), x.string()])).toEqual([[4001, 9n, 'heard']]);
    // No answer and no pings: the notification times out, then the watch does.
    await client.exec('w', [OsdOp.notify(78n, [payload])]);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 4000);
    expect(client.notifies.at(-1)).toMatchObject({ cookie: 78n, returnCode: -110 });
    await cluster.scheduler.run(cluster.scheduler.timeMs + 15_000);
    const listed = new Decoder((await client.exec('w', [OsdOp.make(OP.LIST_WATCHERS)])).outs[0]!);
    listed.open('watchers', 1);
    expect(listed.u32()).toBe(0);
  });

  test('an unwatch ends it; the watch does not change the user version', async () => {
    const version = (await client.exec('u', [write('x')])).userVersion;
    await client.exec('u', [OsdOp.watch(1n, WATCH_OP_WATCH, 30)]);
    await client.exec('u', [OsdOp.watch(1n, WATCH_OP_UNWATCH, 0)]);
    expect((await client.exec('u', [read()])).userVersion).toBe(version);
    await client.exec('u', [OsdOp.notify(5n, [new Encoder().u32(1).u32(1).string('').finish()])]);
    expect(client.notifies.at(-1)).toMatchObject({ opcode: WATCH_NOTIFY_COMPLETE, cookie: 5n });
  });
});

describe('snapshots', () => {
  test('clones keep what snapshots saw; list, rollback, deletion', async () => {
    const snapped = (seq: bigint): { snapSeq: bigint; snaps: bigint[] } => ({
      snapSeq: seq,
      snaps: seq === 2n ? [2n, 1n] : seq === 1n ? [1n] : [],
    });
    const at = async (snapId: bigint): Promise<string | number> => {
      const answer = await client.exec('s', [read()], { snapId });
      return answer.result < 0 ? answer.result : utf8Text(answer.outs[0]!);
    };
    await client.exec('s', [writeFull('first')]);
    await client.exec('s', [writeFull('second')], snapped(1n));
    await client.exec('s', [write('S')], snapped(2n));
    expect([await at(1n), await at(2n)]).toEqual(['first', 'second']);
    expect(utf8Text((await client.exec('s', [read()])).outs[0]!)).toBe('Second');
    expect((await client.exec('s', [write('x')], { ...snapped(1n), flags: OSD_FLAG_ORDERSNAP })).result).toBe(-85);
    const listed = new Decoder((await client.exec('s', [OsdOp.make(OP.LIST_SNAPS)], { snapId: SNAP_DIR })).outs[0]!);
    listed.open('list', 2);
    const clones = listed.list((d) =>
      d.struct('clone', 1, () => ({
        id: d.u64b(),
        snaps: d.list((x) => x.u64b()),
        overlap: d.list((x) => [x.u64(), x.u64()]),
        size: d.u64(),
      })),
    );
    expect(clones.map((c) => [c.id, c.size, c.overlap])).toEqual([
      [1n, 5, []],
      [2n, 6, [[1, 5]]],
      [0xffff_ffff_ffff_fffen, 6, []],
    ]);
    await client.exec('s', [OsdOp.snap(OP.ROLLBACK, 1n)], snapped(2n));
    expect(utf8Text((await client.exec('s', [read()])).outs[0]!)).toBe('first');
    await client.exec('s', [OsdOp.make(OP.DELETE)], snapped(2n));
    expect((await client.exec('s', [read()])).result).toBe(-2);
    expect([await at(1n), await at(2n)]).toEqual(['first', 'second']);
    // To a time when it was not there: it is removed, and the same again is no error.
    await client.exec('young', [writeFull('x')], snapped(2n));
    for (let again = 0; again < 2; again++) {
      expect((await client.exec('young', [OsdOp.snap(OP.ROLLBACK, 1n)], snapped(2n))).result).toBe(0);
      expect((await client.exec('young', [read()])).result).toBe(-2);
    }
  });
});

describe('damaged objects', () => {
  test.each([
    ['a read that meets one', () => new ChecksumError('s', '1.0', utf8('x'), 0, 'test')],
    ['a sector that the disk cannot read', () => new AppError('EIO', 'a read failed')],
  ])('%s is answered from another copy, which replaces it; writes behind it are not lost', async (_name, error) => {
    const { cluster, clients } = await threeOsds();
    const client = clients[0]!;
    await client.exec('x', [writeFull('sound')]);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 1000);
    const primary = cluster.osds[client.target]!;
    const pg = primary.osd!.pgs.get('1.0')!;
    const { store } = primary;
    const read = store.read.bind(store);
    let damaged = 1;
    store.read = (...args) => (damaged-- > 0 ? Promise.reject(error()) : read(...args));
    const first = client.exec('x', [OsdOp.extent(OP.READ, 0, 0)]);
    const second = client.exec('x', [OsdOp.extent(OP.APPEND, 0, 1, [utf8('!')])], { tid: 900 });
    expect(utf8Text((await first).outs[0]!)).toBe('sound');
    expect((await second).result).toBe(0);
    expect(utf8Text((await client.exec('x', [OsdOp.extent(OP.READ, 0, 0)])).outs[0]!)).toBe('sound!');
    expect([pg.core.meta.missing.size, pg.core.info.sums.objectsRepaired]).toEqual([0, 1]);
  });
});
