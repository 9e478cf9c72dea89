import { describe, expect, test } from 'vitest';
import { DecodeError, utf8 } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import { fuzzCount, fuzzSeed, mutate, plausibleEncoding } from '../../base/fuzz.testing.ts';
import { seededRandom } from '../../base/random.ts';
import { encoded } from '../wire/encoding.ts';
import { OP, type OsdOp } from '../wire/messages/osd_op.ts';
import { addrV2, encodeAddr, encodeEntityNum, encodeHObject, hobjectMax } from '../wire/types.ts';
import { PoolIo } from './ioctx.ts';
import type { Lingers } from './linger.ts';
import type { MapFollower } from './map-follower.ts';
import type { Objecter } from './objecter.ts';
import { callTarget } from '../osd/ops/classify.ts';
import { imageInfo } from './rbd.ts';

const values = encoded((e) =>
  e
    .stringMap(
      new Map([
        ['a', utf8('1')],
        ['b', utf8('2')],
      ]),
      (x, v) => x.blob(v),
    )
    .u8(1),
);

/** What a real OSD answers, by op code or class method. */
const good: Readonly<Record<string, Uint8Array>> = {
  [OP.STAT]: encoded((e) => e.u64(4096).utime({ sec: 1, nsec: 2 })),
  [OP.GETXATTRS]: values,
  [OP.OMAPGETVALS]: values,
  [OP.OMAPGETVALSBYKEYS]: values,
  [OP.LIST_WATCHERS]: encoded((e) =>
    e.struct(1, 1, (x) =>
      x.list([7n], (y, cookie) =>
        y.struct(2, 1, (z) => {
          encodeEntityNum(z, { type: 8, num: 4100 });
          z.u64b(cookie).u32(30);
          encodeAddr(z, addrV2('10.0.0.1', 0, 5));
        }),
      ),
    ),
  ),
  [OP.PGNLS]: encoded((e) =>
    e.struct(1, 1, (x) => {
      encodeHObject(x, hobjectMax);
      x.list(['one', 'two'], (y, name) => y.string('space').string(name).string(''));
    }),
  ),
  get_id: encoded((e) => e.string('1234')),
  get_size: encoded((e) => e.u8(22).u64(2 ** 30)),
  get_features: encoded((e) => e.u64(1).u64(1)),
  get_object_prefix: encoded((e) => e.string('rbd_data.1234')),
};

describe('fuzz: answers of OSDs that say anything', () => {
  const random = seededRandom(fuzzSeed);
  let damaged = true;
  const answer = (op: OsdOp): Uint8Array => {
    const known = good[op.op === OP.CALL ? methodOf(op) : op.op] ?? expect.unreachable(`no answer to ${op.name}`);
    return !damaged || random.uint32() % 4 === 0
      ? known
      : random.uint32() % 4 === 0
        ? plausibleEncoding(random)
        : mutate(random, known);
  };
  const methodOf = (op: OsdOp): string => {
    op.data = [new Uint8Array(Buffer.concat([...op.data]))];
    return callTarget(op)!.method;
  };
  const objecter = {
    submit: async ({ ops }: { ops: readonly OsdOp[] }) => ({
      result: 0,
      ops: ops.map((op) => ({ rval: 0, out: [answer(op)] })),
    }),
  } as unknown as Objecter;
  const parts = { objecter, lingers: {} as Lingers, maps: { epoch: 1 } as MapFollower };
  const io = new PoolIo(parts, { id: 1, name: 'pool' }, {});

  const reads: [string, () => Promise<unknown>][] = [
    ['stat', () => io.stat('o')],
    ['xattrs', () => io.getXattrs('o')],
    ['a page of omap', () => io.omapList('o', '', 10)],
    ['values of omap', () => io.omapGet('o', ['a'])],
    ['watchers', () => io.listWatchers('o')],
    ['a listing', () => io.list().next()],
    ['facts of an image', () => imageInfo(io, 'image')],
  ];
  test.each(reads)('%s', { timeout: 3_600_000 }, async (_, read) => {
    damaged = false;
    await expect(read()).resolves.toBeDefined();
    damaged = true;
    let understood = 0;
    for (let i = 0; i < fuzzCount; i++)
      await read().then(
        () => understood++,
        (error: unknown) => {
          if (!(error instanceof DecodeError) && !(error instanceof AppError)) throw error;
        },
      );
    expect(understood).toBeGreaterThan(0);
  });
});
