import { describe, expect, test } from 'vitest';
import { encoded } from '../wire/encoding.ts';
import { OP, OsdOp } from '../wire/messages/osd_op.ts';
import { encodeHObject, hobjectMin } from '../wire/types.ts';
import { E2BIG, EMSGSIZE } from './ops/errno.ts';
import { maxPgOps } from './ops/limits.ts';
import { type HeldReply, ReplyBudget } from './reply-budget.ts';
import { simPool } from './sim/map.testing.ts';
import { singleOsd, TestClient } from './sim/single.testing.ts';

const mib = 2 ** 20;
const read = (): OsdOp => OsdOp.extent(OP.READ, 0, 0);
const writeFull = (fill: number, bytes: number): OsdOp =>
  OsdOp.extent(OP.WRITEFULL, 0, bytes, [new Uint8Array(bytes).fill(fill)]);

describe('memory for replies', () => {
  test('reads go in order as far as there is room; one alone always goes; what a read gave back in truth counts', () => {
    const clients = new Map<string, object>();
    const budget = new ReplyBudget<object>(
      10,
      () => 0,
      () => undefined,
    );
    const held = new Map<string, HeldReply>();
    const take = (name: string, bytes: number): void => {
      clients.set(name, {});
      budget.take(clients.get(name)!, bytes, (h) => void held.set(name, h));
    };
    take('alone', 100);
    expect([...held.keys()]).toEqual(['alone']);
    take('large', 9);
    take('small', 1);
    take('next', 1);
    expect([...held.keys()]).toEqual(['alone']);
    held.get('alone')!.give();
    held.get('alone')!.give();
    expect([...held.keys()]).toEqual(['alone', 'large', 'small']);
    held.get('large')!.is(3);
    expect([...held.keys()].at(-1)).toBe('next');
    expect([budget.bytes, budget.waiting]).toEqual([5, 0]);
    for (const each of held.values()) each.give();
    expect(budget.bytes).toBe(0);
  });

  test('one client gets half of it, and the reads of others pass its next one; what gives nothing back never waits', () => {
    const budget = new ReplyBudget<object>(
      10,
      () => 0,
      () => undefined,
    );
    const [slow, other] = [{}, {}];
    const held: [string, HeldReply][] = [];
    const take = (name: string, client: object, bytes: number): void =>
      budget.take(client, bytes, (h) => void held.push([name, h]));
    const names = (): string[] => held.map(([name]) => name);
    take('first', slow, 3);
    take('second', slow, 3);
    take('third', slow, 1);
    take('other', other, 4);
    expect(names()).toEqual(['first', 'other']);
    take('large', other, 6);
    take('stat', slow, 0);
    expect(names()).toEqual(['first', 'other', 'stat']);
    held[0]![1].give();
    expect(names()).toEqual(['first', 'other', 'stat', 'second', 'third']);
  });

  test('who takes none of its replies is ended, but only when others wait', () => {
    let nowMs = 0;
    const ended: string[] = [];
    const held: HeldReply[] = [];
    const names = new Map<object, string>();
    const budget = new ReplyBudget<object>(
      10,
      () => nowMs,
      (client) => void ended.push(names.get(client)!),
    );
    const [stuck, lively] = [{}, {}];
    names.set(stuck, 'stuck').set(lively, 'lively');
    budget.take(stuck, 5, (h) => void held.push(h));
    budget.take(lively, 3, (h) => void held.push(h));
    budget.take(lively, 2, (h) => void held.push(h));
    nowMs = 100_000;
    budget.tick();
    expect(ended).toEqual([]);
    held[1]!.give();
    budget.take(lively, 5, () => undefined);
    budget.tick();
    expect(ended).toEqual(['stuck']);
  });

  test('a hundred reads of an object of 8 MiB in one request are refused, the whole object is read all the same', async () => {
    const client = new TestClient(await singleOsd());
    await client.exec('big', [writeFull(1, 8 * mib)]);
    const refused = await client.exec(
      'big',
      Array.from({ length: 100 }, () => read()),
    );
    expect(refused.result).toBe(EMSGSIZE);
    expect(refused.outs.every((out) => out.length === 0)).toBe(true);
    expect((await client.exec('big', [read()])).outs[0]).toHaveLength(8 * mib);
  });

  test('a reader does not take its replies: the reads of others wait, in their turn before a write, until it does', async () => {
    const cluster = await singleOsd(1, { replyBytes: 8 * mib });
    const [slow, deaf, other] = [4000, 4002, 4001].map((num) => new TestClient(cluster, num)) as [
      TestClient,
      TestClient,
      TestClient,
    ];
    await other.exec('x', [writeFull(1, 4 * mib)]);
    await other.exec('y', [writeFull(1, 1)]);
    for (const client of [slow, deaf]) {
      client.unread = [];
      expect((await client.exec('x', [read()])).result).toBe(0);
    }
    let answered = 0;
    const late = other.exec('x', [read()]).finally(() => answered++);
    const write = other.exec('x', [writeFull(2, 4 * mib)]).finally(() => answered++);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 1000);
    expect(answered).toBe(0);
    expect((await other.exec('y', [OsdOp.make(OP.STAT)])).result).toBe(0);
    slow.unread!.shift()!();
    const [was, { result }] = await Promise.all([late, write]);
    expect([was.outs[0]!.length, was.outs[0]![0], result]).toEqual([4 * mib, 1, 0]);
  });

  test('a request with many listings of a PG is refused; of few each is answered', async () => {
    const client = new TestClient(await singleOsd());
    await client.exec('x', [writeFull(1, 1)]);
    const list = (): OsdOp => {
      const op = OsdOp.make(OP.PGNLS, [encoded((e) => encodeHObject(e, { ...hobjectMin, pool: simPool }))]);
      return op;
    };
    const many = await client.exec('', Array.from({ length: maxPgOps + 1 }, list));
    expect(many.result).toBe(E2BIG);
    const few = await client.exec('', Array.from({ length: maxPgOps }, list));
    expect(few.result).toBe(0);
    expect(few.outs.filter((out) => out.length > 0)).toHaveLength(maxPgOps);
  });
});
