import { describe, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../../base/bytes.ts';
import { Decoder, encoded, type Encoder, type UTime } from '../../wire/encoding.ts';
import { callOn, MemoryObject } from './memory.testing.ts';
import { findClassMethod } from './table.ts';

const lockOp = (type: number, cookie: string, flags = 0, tag = '', durationSec = 0): Uint8Array =>
  encoded((e) =>
    e.struct(1, 1, () =>
      e.string('l').u8(type).string(cookie).string(tag).string('why').u32(durationSec).u32(0).u8(flags),
    ),
  );
const unlockOp = (cookie: string): Uint8Array => encoded((e) => e.struct(1, 1, () => e.string('l').string(cookie)));

describe('class lock', () => {
  const as = (num: number) => (ctx: { client: { type: number; num: number } }) => {
    ctx.client = { type: 8, num };
  };

  test('exclusive: a second locker is busy, the same one exists, unlock lets the next one in', async () => {
    const o = new MemoryObject();
    expect((await callOn(o, 'lock', 'lock', lockOp(1, 'a'), as(1))).rval).toBe(0);
    expect((await callOn(o, 'lock', 'lock', lockOp(1, 'a'), as(1))).rval).toBe(-17);
    expect((await callOn(o, 'lock', 'lock', lockOp(1, 'a', 1), as(1))).rval).toBe(0);
    expect((await callOn(o, 'lock', 'lock', lockOp(1, 'b'), as(2))).rval).toBe(-16);
    expect((await callOn(o, 'lock', 'unlock', unlockOp('x'), as(1))).rval).toBe(-2);
    expect((await callOn(o, 'lock', 'unlock', unlockOp('a'), as(1))).rval).toBe(0);
    expect((await callOn(o, 'lock', 'lock', lockOp(1, 'b'), as(2))).rval).toBe(0);
  });

  test('shared: many lockers with one tag; expired ones do not count; must-renew needs a lock', async () => {
    const o = new MemoryObject();
    expect((await callOn(o, 'lock', 'lock', lockOp(2, 'a', 2), as(1))).rval).toBe(-2);
    expect((await callOn(o, 'lock', 'lock', lockOp(2, 'a', 0, 't', 10), as(1))).rval).toBe(0);
    expect((await callOn(o, 'lock', 'lock', lockOp(2, 'b', 0, 't'), as(2))).rval).toBe(0);
    expect((await callOn(o, 'lock', 'lock', lockOp(2, 'c', 0, 'u'), as(3))).rval).toBe(-16);
    const info = await callOn(
      o,
      'lock',
      'get_info',
      encoded((e) => e.struct(1, 1, () => e.string('l'))),
      (ctx) => {
        ctx.time = { sec: ctx.time.sec + 11, nsec: 0 };
      },
    );
    const d = new Decoder(info.out);
    d.open('lock_info_t', 1);
    expect(d.u32()).toBe(1);
  });

  test('ephemeral: the object goes with the lock', async () => {
    const o = new MemoryObject();
    await callOn(o, 'lock', 'lock', lockOp(3, 'a'), as(1));
    expect(o.exists).toBe(true);
    expect((await callOn(o, 'lock', 'unlock', unlockOp('a'), as(1))).rval).toBe(0);
    expect(o.exists).toBe(false);
  });
});

describe('class log', () => {
  const at = (sec: number, micros = 0): UTime => ({ sec, nsec: micros * 1000 });
  const entry = (time: UTime, name: string) => (e: Encoder) =>
    e.struct(2, 1, () => e.string('section').string(name).utime(time).blob(utf8('data')).string(''));
  const add = (o: MemoryObject, time: UTime, name: string, opIndex: number): Promise<{ rval: number }> =>
    callOn(
      o,
      'log',
      'add',
      encoded((e) => e.struct(2, 1, () => e.list([entry(time, name)], (x, write) => write(x)).bool(true))),
      (ctx) => {
        ctx.opIndex = opIndex;
      },
    );
  const list = async (
    o: MemoryObject,
    from: UTime,
    to: UTime,
    marker = '',
    max = 0,
  ): Promise<[string[], string, boolean]> => {
    const input = encoded((e) => e.struct(1, 1, () => e.utime(from).string(marker).utime(to).s32(max)));
    const d = new Decoder((await callOn(o, 'log', 'list', input)).out);
    return d.struct('ret', 1, () => [
      d.list((x) =>
        x.struct('entry', 1, () => {
          x.string();
          return x.string();
        }),
      ),
      d.string(),
      d.bool(),
    ]);
  };
  const trim = (o: MemoryObject, from: UTime, to: UTime): Promise<{ rval: number }> =>
    callOn(
      o,
      'log',
      'trim',
      encoded((e) => e.struct(2, 1, () => e.utime(from).utime(to).string('').string(''))),
    );

  test('entries come by time, in pages and up to a time; trimming takes a span away and says when nothing is left', async () => {
    const o = new MemoryObject();
    for (let i = 0; i < 5; i++) await add(o, at(100 + i), `n${i}`, i);
    expect((await list(o, at(0), at(0)))[0]).toEqual(['n0', 'n1', 'n2', 'n3', 'n4']);
    const [page, marker, more] = await list(o, at(0), at(0), '', 2);
    expect([page, more]).toEqual([['n0', 'n1'], true]);
    expect(await list(o, at(0), at(0), marker, 10)).toMatchObject([['n2', 'n3', 'n4'], {}, false]);
    expect((await list(o, at(101), at(103)))[0]).toEqual(['n1', 'n2']);
    expect((await trim(o, at(0), at(102))).rval).toBe(0);
    expect((await trim(o, at(0), at(102))).rval).toBe(-61);
    expect((await list(o, at(0), at(0)))[0]).toEqual(['n3', 'n4']);
  });

  test('an entry of the past is filed under the newest time; the header knows the newest', async () => {
    const o = new MemoryObject();
    await add(o, at(200), 'first', 0);
    await add(o, at(100), 'late', 1);
    expect((await list(o, at(150), at(300)))[0]).toEqual(['first', 'late']);
    const info = new Decoder(
      (
        await callOn(
          o,
          'log',
          'info',
          encoded((e) => e.struct(1, 1, () => e)),
        )
      ).out,
    );
    info.open('ret', 1);
    info.open('header', 1);
    expect([info.string(), info.utime()]).toEqual(['1_0000000200.000000_0.1', at(200)]);
  });
});

describe('small classes', () => {
  test('hello', async () => {
    const o = new MemoryObject();
    expect(utf8Text((await callOn(o, 'hello', 'say_hello', utf8('you'))).out)).toBe('Hello, you!');
    expect((await callOn(o, 'hello', 'record_hello', utf8(''))).rval).toBe(0);
    expect((await callOn(o, 'hello', 'record_hello', utf8(''))).rval).toBe(-17);
    await callOn(o, 'hello', 'turn_it_to_11', utf8(''));
    expect(utf8Text((await callOn(o, 'hello', 'replay', utf8(''))).out)).toBe('HELLO, WORLD!');
  });

  test('numops keeps ten digits', async () => {
    const o = new MemoryObject();
    const call = (method: string, value: string): Promise<{ rval: number }> =>
      callOn(
        o,
        'numops',
        method,
        encoded((e) => e.string('k').string(value)),
      );
    await call('add', '10.5');
    await call('mul', '-3');
    expect(utf8Text(o.omap.get('k')!)).toBe('-31.5');
    expect((await call('add', 'x')).rval).toBe(-22);
    await call('mul', '1e30');
    expect(utf8Text(o.omap.get('k')!)).toBe('-3.15e+31');
  });

  test('refcount: the last put removes the object; a retired tag puts nothing; no object, no references', async () => {
    const o = new MemoryObject();
    const op = (tag: string): Uint8Array => encoded((e) => e.struct(1, 1, () => e.string(tag).bool(true)));
    expect((await callOn(o, 'refcount', 'get', op('a'))).rval).toBe(-2);
    o.exists = true;
    await callOn(o, 'refcount', 'get', op('a'));
    await callOn(o, 'refcount', 'put', op('a'));
    expect(o.exists).toBe(true);
    await callOn(o, 'refcount', 'put', op('a'));
    expect(o.exists).toBe(true);
    await callOn(o, 'refcount', 'put', op('b'));
    expect(o.exists).toBe(false);
  });

  test('names of what every object has are no methods', () => {
    expect(findClassMethod('rbd', 'toString')).toBeUndefined();
  });
});
