import { describe, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../../base/bytes.ts';
import { Decoder, type Encoder, encoded } from '../../wire/encoding.ts';
import { hobjectMin } from '../../wire/types.ts';
import { callOn, MemoryObject } from './memory.testing.ts';
import { encodeHObject } from '../../wire/types.ts';

const make = (write: (e: Encoder) => void): Uint8Array => encoded(write);
const u64 = (value: bigint): Uint8Array => make((e) => e.u64b(value));

/** Calls a method that must succeed; what it gives. */
async function must(o: MemoryObject, name: string, method: string, input: Uint8Array): Promise<Decoder> {
  const { rval, out } = await callOn(o, name, method, input);
  expect([method, rval]).toEqual([method, 0]);
  return new Decoder(out);
}
const code = async (o: MemoryObject, name: string, method: string, input: Uint8Array): Promise<number> =>
  (await callOn(o, name, method, input)).rval;

describe('class journal', () => {
  const positions = (list: [bigint, bigint, bigint][]) => (e: Encoder) =>
    e.struct(1, 1, () =>
      e.list(list, (x, [object, tag, entry]) => {
        x.struct(1, 1, () => x.u64b(object).u64b(tag).u64b(entry));
      }),
    );
  const commit = (o: MemoryObject, id: string, list: [bigint, bigint, bigint][]): Promise<Decoder> =>
    must(
      o,
      'journal',
      'client_commit',
      make((e) => {
        e.string(id);
        positions(list)(e);
      }),
    );
  const tag = (tid: bigint, tagClass: bigint): Uint8Array => make((e) => e.u64b(tid).u64b(tagClass).blob(utf8('t')));
  const newClass = 2n ** 64n - 1n;
  const register = (o: MemoryObject, id: string): Promise<Decoder> =>
    must(
      o,
      'journal',
      'client_register',
      make((e) => e.string(id).blob(utf8('data'))),
    );
  const listTags = async (o: MemoryObject, client: string, tagClass?: bigint): Promise<bigint[]> => {
    const d = await must(
      o,
      'journal',
      'tag_list',
      make((e) => {
        e.u64b(0n)
          .u64b(100n)
          .string(client)
          .bool(tagClass !== undefined);
        if (tagClass !== undefined) e.u64b(tagClass);
      }),
    );
    return d.list((x) =>
      x.struct('Tag', 1, () => {
        const tid = x.u64b();
        x.u64b();
        x.blob();
        return tid;
      }),
    );
  };
  async function journal(): Promise<MemoryObject> {
    const o = new MemoryObject();
    const input = make((e) => e.u8(24).u8(4).u64b(7n));
    await must(o, 'journal', 'create', input);
    expect(await code(o, 'journal', 'create', input)).toBe(-17);
    return o;
  }

  test('the header: what it was made with, and sets of objects that only go forward', async () => {
    const o = await journal();
    const none = new Uint8Array(0);
    expect((await must(o, 'journal', 'get_order', none)).u8()).toBe(24);
    expect((await must(o, 'journal', 'get_splay_width', none)).u8()).toBe(4);
    expect((await must(o, 'journal', 'get_pool_id', none)).u64b()).toBe(7n);
    expect(await code(o, 'journal', 'set_minimum_set', u64(1n))).toBe(-22);
    await must(o, 'journal', 'set_active_set', u64(5n));
    expect(await code(o, 'journal', 'set_active_set', u64(4n))).toBe(-116);
    await must(o, 'journal', 'set_minimum_set', u64(5n));
    expect(await code(o, 'journal', 'set_minimum_set', u64(4n))).toBe(-116);
    expect(await code(o, 'journal', 'set_active_set', u64(4n))).toBe(-22);
    expect((await must(o, 'journal', 'get_active_set', none)).u64b()).toBe(5n);
    expect(await code(new MemoryObject(), 'journal', 'get_order', none)).toBe(-2);
  });

  test('tags: one after the other, and those go that no client can meet any more', async () => {
    const o = await journal();
    await register(o, 'a');
    expect(await code(o, 'journal', 'tag_create', tag(1n, newClass))).toBe(-116);
    expect(await code(o, 'journal', 'tag_create', tag(0n, 0n))).toBe(-22);
    await must(o, 'journal', 'tag_create', tag(0n, newClass));
    expect(await code(o, 'journal', 'tag_create', tag(0n, newClass))).toBe(-17);
    await must(o, 'journal', 'tag_create', tag(1n, newClass));
    for (const tid of [2n, 3n]) await must(o, 'journal', 'tag_create', tag(tid, 0n));
    expect(await listTags(o, 'a')).toEqual([0n, 1n, 2n, 3n]);
    expect(await listTags(o, 'a', 1n)).toEqual([1n]);
    await commit(o, 'a', [
      [1n, 3n, 9n],
      [0n, 2n, 8n],
    ]);
    expect(await listTags(o, 'a')).toEqual([1n, 2n, 3n]);
    // A second client begins where the first one is.
    await register(o, 'b');
    await must(o, 'journal', 'tag_create', tag(4n, 1n));
    expect(
      [...o.omap.keys()].filter((key) => key.startsWith('tag_')).map((key) => Number.parseInt(key.slice(4), 16)),
    ).toEqual([1, 2, 3, 4]);
    await commit(o, 'a', [[1n, 4n, 1n]]);
    await must(
      o,
      'journal',
      'client_unregister',
      make((e) => e.string('b')),
    );
    expect(await listTags(o, 'a')).toEqual([3n, 4n]);
    expect([...o.omap.keys()].filter((key) => key.startsWith('tag_')).length).toBe(2);
    expect(
      await code(
        o,
        'journal',
        'client_unregister',
        make((e) => e.string('b')),
      ),
    ).toBe(-2);
  });

  test('clients: listed from one on; a commit has no more positions than objects in turn', async () => {
    const o = await journal();
    for (const id of ['x', 'y', 'z']) await register(o, id);
    expect(
      await code(
        o,
        'journal',
        'client_register',
        make((e) => e.string('x').blob(new Uint8Array(0))),
      ),
    ).toBe(-17);
    const d = await must(
      o,
      'journal',
      'client_list',
      make((e) => e.string('x').u64b(1n)),
    );
    expect(d.u32()).toBe(1);
    d.open('Client', 1);
    expect([d.string(), utf8Text(d.blob())]).toEqual(['y', 'data']);
    const many = Array.from({ length: 5 }, (_, i): [bigint, bigint, bigint] => [BigInt(i), 0n, 0n]);
    await expect(commit(o, 'x', many)).rejects.toThrow();
    await must(
      o,
      'journal',
      'client_update_state',
      make((e) => e.string('x').u8(1)),
    );
    await must(
      o,
      'journal',
      'client_update_data',
      make((e) => e.string('x').blob(utf8('new'))),
    );
    const client = await must(
      o,
      'journal',
      'get_client',
      make((e) => e.string('x')),
    );
    client.open('Client', 1);
    expect([client.string(), utf8Text(client.blob())]).toEqual(['x', 'new']);
  });

  test('an object takes entries until it is full', async () => {
    const o = new MemoryObject();
    const append = (text: string): Uint8Array => make((e) => e.u64b(6n).blob(utf8(text)));
    await must(o, 'journal', 'append', append('four'));
    await must(o, 'journal', 'append', append('and more'));
    expect(utf8Text(o.data)).toBe('fourand more');
    expect(await code(o, 'journal', 'append', append('x'))).toBe(-75);
    expect(await code(o, 'journal', 'guard_append', u64(12n))).toBe(-75);
    expect(await code(o, 'journal', 'guard_append', u64(13n))).toBe(0);
  });
});

describe('class cas', () => {
  const ref = (name: string) => (e: Encoder) => encodeHObject(e, { ...hobjectMin, name, pool: 3 });
  const one = (name: string): Uint8Array => make((e) => e.struct(1, 1, () => ref(name)(e)));
  const create = (name: string, data: string, verify = false): Uint8Array =>
    make((e) =>
      e.struct(1, 1, () => {
        ref(name)(e);
        e.u64b(verify ? 1n : 0n).blob(utf8(data));
      }),
    );

  test('a chunk goes with its last reference; what was not referred to cannot be put', async () => {
    const o = new MemoryObject();
    expect(await code(o, 'cas', 'chunk_get_ref', one('a'))).toBe(-2);
    await must(o, 'cas', 'chunk_create_or_get_ref', create('a', 'data'));
    await must(o, 'cas', 'chunk_get_ref', one('b'));
    expect(await code(o, 'cas', 'chunk_create_or_get_ref', create('c', 'other', true))).toBe(-42);
    await must(o, 'cas', 'chunk_create_or_get_ref', create('a', 'other'));
    expect(utf8Text(o.data)).toBe('data');
    expect(await code(o, 'cas', 'chunk_put_ref', one('c'))).toBe(-67);
    for (const name of ['a', 'b']) await must(o, 'cas', 'chunk_put_ref', one(name));
    expect(o.exists).toBe(true);
    await must(o, 'cas', 'chunk_put_ref', one('a'));
    expect(o.exists).toBe(false);
    expect(
      await code(
        o,
        'cas',
        'references_chunk',
        make((e) => e.string('x')),
      ),
    ).toBe(-67);
  });
});

describe('class timeindex', () => {
  const time = (sec: number) => ({ sec, nsec: 0 });
  const list = async (o: MemoryObject, from: number, to: number, limit = 10): Promise<unknown> => {
    const d = await must(
      o,
      'timeindex',
      'list',
      make((e) => e.struct(1, 1, () => e.utime(time(from)).string('').utime(time(to)).u32(limit))),
    );
    return d.struct('ret', 1, () => [
      d.list((x) => x.struct('entry', 1, () => [x.utime().sec, x.string(), utf8Text(x.blob())])),
      d.string(),
      d.bool(),
    ]);
  };

  test('values come by time, from and to; trimmed until nothing is left', async () => {
    const o = new MemoryObject();
    const entries: [number, string][] = [
      [30, 'c'],
      [10, 'a'],
      [20, 'b'],
    ];
    await must(
      o,
      'timeindex',
      'add',
      make((e) =>
        e.struct(1, 1, () =>
          e.list(entries, (x, [sec, name]) => {
            x.struct(1, 1, () =>
              x
                .utime(time(sec))
                .string(name)
                .blob(utf8(`v${name}`)),
            );
          }),
        ),
      ),
    );
    expect(await list(o, 0, 30)).toEqual([
      [
        [10, 'a', 'va'],
        [20, 'b', 'vb'],
      ],
      '1_0000000030.000000_c',
      false,
    ]);
    expect(await list(o, 15, 100, 1)).toEqual([[[20, 'b', 'vb']], '1_0000000020.000000_b', true]);
    const trim = make((e) => e.struct(1, 1, () => e.utime(time(0)).utime(time(20)).string('').string('')));
    await must(o, 'timeindex', 'trim', trim);
    expect([...o.omap.keys()]).toEqual(['1_0000000030.000000_c']);
    expect(await code(o, 'timeindex', 'trim', trim)).toBe(-61);
  });
});

describe('class user', () => {
  const bucket = (e: Encoder, name: string): void =>
    void e.struct(9, 8, () => e.string(name).string('m').string('id').string('default'));
  const set = (name: string, size: bigint, add: boolean): Uint8Array =>
    make((e) =>
      e.struct(1, 1, () =>
        e
          .list([name], (x, n) => {
            x.struct(9, 5, () => {
              x.string('').u64b(size).u32(5).u64b(2n);
              bucket(x, n);
              x.u64b(4096n).bool(false).utime({ sec: 5, nsec: 6 });
            });
          })
          .bool(add)
          .utime({ sec: 100, nsec: 0 }),
      ),
    );
  const sums = async (o: MemoryObject): Promise<bigint[]> => {
    const d = await must(
      o,
      'user',
      'get_header',
      make((e) => e.struct(1, 1, () => undefined)),
    );
    return d.struct('ret', 1, () =>
      d.struct('header', 1, () => d.struct('stats', 1, () => [d.u64b(), d.u64b(), d.u64b()])),
    );
  };

  test('sums follow the buckets; one that is gone is not made again', async () => {
    const o = new MemoryObject();
    await must(o, 'user', 'set_buckets_info', set('a', 100n, true));
    await must(o, 'user', 'set_buckets_info', set('b', 10n, true));
    await must(o, 'user', 'set_buckets_info', set('a', 50n, false));
    await must(o, 'user', 'set_buckets_info', set('gone', 50n, false));
    expect(await sums(o)).toEqual([4n, 60n, 8192n]);
    const d = await must(
      o,
      'user',
      'list_buckets',
      make((e) => e.struct(2, 1, () => e.string('').u32(1).string(''))),
    );
    d.open('ret', 1);
    expect(d.u32()).toBe(1);
    await must(
      o,
      'user',
      'remove_bucket',
      make((e) => e.struct(1, 1, () => bucket(e, 'a'))),
    );
    const reset = make((e) =>
      e.struct(1, 1, () =>
        e
          .utime({ sec: 200, nsec: 0 })
          .string('')
          .struct(1, 1, () => e.u64b(0n).u64b(0n).u64b(0n)),
      ),
    );
    await must(o, 'user', 'reset_user_stats2', reset);
    expect(await sums(o)).toEqual([2n, 10n, 4096n]);
  });
});
