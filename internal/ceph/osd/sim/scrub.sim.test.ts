import { describe, expect, test } from 'vitest';
import { bytesEqual, utf8 } from '../../../base/bytes.ts';
import { wholeCrc32c } from '../../../base/crc32c.ts';
import type { TransactionOp } from '../../blockstore/api.ts';
import { Decoder, encoded, Encoder, utimeFromMs } from '../../wire/encoding.ts';
import { LOG_ERROR } from '../../wire/messages/log.ts';
import { hasPgState, PG_CLEAN, PG_FAILED_REPAIR, PG_INCONSISTENT } from '../../wire/messages/osd_mgr.ts';
import { OP, OsdOp } from '../../wire/messages/osd_op.ts';
import { encodeHObject, type HObject, hobjectMin, pgText, SNAP_HEAD } from '../../wire/types.ts';
import { decodeObjectInfo, encodeObjectInfo, infoXattr, type ObjectInfo, snapsetXattr } from '../object-info.ts';
import { firstObjectKey, objectKey, objectOfKey } from '../object-key.ts';
import type { Pg } from '../pg.ts';
import { OBJECT, SHARD, SNAPSET } from '../scrub-compare.ts';
import { SimClient } from './client.testing.ts';
import { type TestClient, threeOsds } from './single.testing.ts';
import { simPool } from './map.testing.ts';
import { SimCluster } from './world.testing.ts';

const cid = '1.0';
const pg0 = { pool: simPool, seed: 0 };

function oidOf(name: string, snap = SNAP_HEAD): HObject {
  const hash = [...name].reduce((h, c) => (Math.imul(h, 31) + c.charCodeAt(0)) >>> 0, 7);
  return { key: '', name, snap, hash, max: false, nspace: '', pool: simPool };
}
const keyOf = (name: string, snap = SNAP_HEAD): Uint8Array => objectKey(oidOf(name, snap));

function leaderOf(cluster: SimCluster, pg = pg0): Pg {
  return cluster.osds[cluster.map.place(pg).actingPrimary]!.osd!.pgs.get(pgText(pg))!;
}

/** Changes a copy behind the OSD's back. */
function spoil(cluster: SimCluster, osd: number, ops: TransactionOp[]): void {
  cluster.osds[osd]!.store.queue({ ops }).catch(() => undefined);
}

/** Copies that each OSD had to have replaced. */
const repairs = (cluster: SimCluster): number[] => cluster.osds.map(({ osd }) => osd!.shardsRepaired);

async function scrub(cluster: SimCluster, repair = false, deep = true): Promise<Pg> {
  const leader = cluster.osds[cluster.map.place(pg0).actingPrimary]!.osd!;
  const pg = leader.pgs.get(cid)!;
  leader.scrubs.request([pg0], { deep, repair });
  const busy = (): boolean => pg.scrubber.busy || pg.scrubber.wanted !== undefined || !pg.clean;
  await cluster.scheduler.run(cluster.scheduler.timeMs + 60_000, () => !busy());
  expect(busy()).toBe(false);
  for (const osd of cluster.osds) if (osd.fatal !== undefined) throw osd.fatal;
  return pg;
}

const omapOf = (key: string, value: string): Uint8Array =>
  new Encoder().stringMap(new Map([[key, value]]), (e, v) => e.string(v)).finish();

async function put(client: TestClient, name: string, text: string): Promise<void> {
  const data = utf8(text);
  const omap = omapOf('k', 'v');
  const ops = [OsdOp.extent(OP.WRITEFULL, 0, data.length, [data]), OsdOp.make(OP.OMAPSETVALS, [omap])];
  expect((await client.exec(name, ops)).result).toBe(0);
}

async function expectEqualCopies(cluster: SimCluster): Promise<void> {
  for (let seed = 0; seed < cluster.map.pgs.pgNum; seed++) {
    const place = cluster.map.place({ pool: simPool, seed });
    const id = pgText({ pool: simPool, seed });
    const [first, ...others] = place.acting.map((osd) => cluster.osds[osd]!.store);
    const keys = first!.list(id, firstObjectKey, 1e6);
    for (const store of others) {
      expect(store.list(id, firstObjectKey, 1e6)).toEqual(keys);
      for (const key of keys) {
        const [a, b] = await Promise.all([first!.read(id, key, 0, 1e9), store.read(id, key, 0, 1e9)]);
        if (!bytesEqual(a!, b!)) throw new Error(`${objectOfKey(key, simPool).name} differs`);
        expect(store.xattrs(id, key)).toEqual(first!.xattrs(id, key));
        expect(store.omapList(id, key, { limit: 1e6 })).toEqual(first!.omapList(id, key, { limit: 1e6 }));
      }
    }
  }
}

interface Damage {
  name: string;
  spoil: (cluster: SimCluster, osd: number) => void;
  /** Bits of `OBJECT`, and of `SHARD` of the bad copy. */
  object: number;
  shard: number;
  /** What a deep scrub adds. */
  deepShard?: number;
  shallow: boolean;
}

const damages: Damage[] = [
  {
    name: 'a bit of its data flipped behind its checksum',
    spoil: (c, osd) => spoil(c, osd, [{ op: 'write', cid, key: keyOf('b'), offset: 1, data: [utf8('X')] }]),
    object: OBJECT.dataDigestMismatch,
    shard: SHARD.dataDigestMismatchInfo,
    shallow: false,
  },
  {
    name: 'a block cannot be read',
    spoil: (c, osd) => c.rot(osd, cid, keyOf('b')),
    object: 0,
    shard: SHARD.readError,
    shallow: false,
  },
  {
    name: 'its entry in the store is damaged',
    spoil: (c, osd) => c.spoilEntry(osd, cid, keyOf('b')),
    object: 0,
    shard: SHARD.statError,
    shallow: true,
  },
  {
    name: 'it is missing',
    spoil: (c, osd) => spoil(c, osd, [{ op: 'remove', cid, key: keyOf('b') }]),
    object: 0,
    shard: SHARD.missing,
    shallow: true,
  },
  {
    name: 'it is shorter',
    spoil: (c, osd) => spoil(c, osd, [{ op: 'truncate', cid, key: keyOf('b'), size: 2 }]),
    object: OBJECT.sizeMismatch | OBJECT.dataDigestMismatch,
    shard: SHARD.objectSizeInfoMismatch | SHARD.sizeMismatchInfo,
    deepShard: SHARD.dataDigestMismatchInfo,
    shallow: true,
  },
  {
    name: 'it has an attribute too many',
    spoil: (c, osd) =>
      spoil(c, osd, [{ op: 'set-xattrs', cid, key: keyOf('b'), xattrs: new Map([['_stray', utf8('x')]]) }]),
    object: OBJECT.attrNameMismatch,
    shard: 0,
    shallow: true,
  },
  {
    name: 'it has another omap value',
    spoil: (c, osd) => spoil(c, osd, [{ op: 'omap-set', cid, key: keyOf('b'), entries: new Map([['k', utf8('w')]]) }]),
    object: OBJECT.omapDigestMismatch,
    shard: 0,
    shallow: false,
  },
  {
    name: 'it has lost its object info',
    spoil: (c, osd) => spoil(c, osd, [{ op: 'remove-xattr', cid, key: keyOf('b'), name: infoXattr }]),
    object: 0,
    shard: SHARD.infoMissing,
    shallow: true,
  },
  {
    name: 'its object info cannot be read',
    spoil: (c, osd) =>
      spoil(c, osd, [{ op: 'set-xattrs', cid, key: keyOf('b'), xattrs: new Map([[infoXattr, utf8('?')]]) }]),
    object: 0,
    shard: SHARD.infoCorrupted,
    shallow: true,
  },
  {
    name: 'its object info is another',
    spoil: (c, osd) => {
      const { store } = c.osds[osd]!;
      const info = decodeObjectInfo(store.xattr(cid, keyOf('b'), infoXattr)!);
      const other = encodeObjectInfo({ ...info, mtime: { sec: 1, nsec: 0 } });
      spoil(c, osd, [{ op: 'set-xattrs', cid, key: keyOf('b'), xattrs: new Map([[infoXattr, other]]) }]);
    },
    object: OBJECT.infoInconsistency,
    shard: 0,
    shallow: true,
  },
];

describe('scrub', () => {
  for (const damage of damages)
    for (const which of ['the primary', 'a replica'] as const)
      test(`an object of ${which}: ${damage.name}: a scrub finds it, repair mends it from a good copy`, async () => {
        const { cluster, clients } = await threeOsds(which === 'a replica' ? 3 : 4);
        for (const name of ['a', 'b', 'c']) await put(clients[0]!, name, `content of ${name}`);
        const { acting } = cluster.map.place(pg0);
        const bad = acting[which === 'a replica' ? 1 : 0]!;
        damage.spoil(cluster, bad);

        const shallow = await scrub(cluster, false, false);
        expect(shallow.scrubber.record!.objects.length).toBe(damage.shallow ? 1 : 0);

        const pg = await scrub(cluster);
        const [found, ...more] = pg.scrubber.record!.objects;
        expect(more).toEqual([]);
        expect(found!.oid.name).toBe('b');
        expect(found!.errors).toBe(damage.object);
        expect(found!.shards.map(({ osd, errors }) => [osd, errors])).toEqual(
          [0, 1, 2].map((osd) => [osd, osd === bad ? damage.shard | (damage.deepShard ?? 0) : 0]),
        );
        expect(pg.core.hasState(PG_INCONSISTENT)).toBe(true);
        expect(pg.core.info.sums.scrubErrors).toBeGreaterThan(0);

        await scrub(cluster, true);
        expect(pg.scrubber.record!.objects).toEqual([]);
        expect(pg.core.hasState(PG_INCONSISTENT)).toBe(false);
        expect(pg.core.hasState(PG_FAILED_REPAIR)).toBe(false);
        expect(pg.core.info.sums.scrubErrors).toBe(0);
        expect(pg.core.info.sums.objectsRepaired).toBe(1);
        expect(repairs(cluster)).toEqual(cluster.osds.map(({ id }) => (id === bad ? 1 : 0)));
        await expectEqualCopies(cluster);
        const answer = await clients[0]!.exec('b', [OsdOp.extent(OP.READ, 0, 0)]);
        expect(Buffer.from(answer.outs[0]!).toString()).toBe('content of b');
      });

  const infoOn = (cluster: SimCluster, osd: number, name: string): ObjectInfo =>
    decodeObjectInfo(cluster.osds[osd]!.store.xattr(cid, keyOf(name), infoXattr)!);

  test('two copies are damaged in the same way: the one that is as the object says of itself is right', async () => {
    const { cluster, clients } = await threeOsds();
    await put(clients[0]!, 'b', 'content');
    const { acting } = cluster.map.place(pg0);
    for (const osd of acting.slice(0, 2))
      spoil(cluster, osd, [{ op: 'write', cid, key: keyOf('b'), offset: 1, data: [utf8('X')] }]);
    const pg = await scrub(cluster);
    const [found] = pg.scrubber.record!.objects;
    expect(found!.errors).toBe(OBJECT.dataDigestMismatch);
    const shards = new Map(found!.shards.map(({ osd, errors }) => [osd, errors]));
    expect(acting.map((osd) => shards.get(osd))).toEqual([
      SHARD.dataDigestMismatchInfo,
      SHARD.dataDigestMismatchInfo,
      0,
    ]);
    await scrub(cluster, true);
    await expectEqualCopies(cluster);
    const answer = await clients[0]!.exec('b', [OsdOp.extent(OP.READ, 0, 0)]);
    expect(Buffer.from(answer.outs[0]!).toString()).toBe('content');
  });

  test('all copies are the same and not what the object says of itself: told of all; a repair changes what it says', async () => {
    const { cluster, clients } = await threeOsds();
    await put(clients[0]!, 'b', 'content');
    for (const osd of [0, 1, 2])
      spoil(cluster, osd, [{ op: 'write', cid, key: keyOf('b'), offset: 1, data: [utf8('X')] }]);
    const pg = await scrub(cluster);
    const [found] = pg.scrubber.record!.objects;
    expect([found!.errors, found!.shards.map(({ errors }) => errors)]).toEqual([
      0,
      [SHARD.dataDigestMismatchInfo, SHARD.dataDigestMismatchInfo, SHARD.dataDigestMismatchInfo],
    ]);
    expect(pg.core.info.sums.deepScrubErrors).toBe(3);
    await scrub(cluster, true);
    const after = await scrub(cluster);
    expect(after.scrubber.record!.objects).toEqual([]);
    expect(infoOn(cluster, 1, 'b').dataDigest).toBe(wholeCrc32c(utf8('cXntent')));
    await expectEqualCopies(cluster);
  });

  test('a deep scrub notes the digests of objects that are not young, and nothing else of them changes', async () => {
    const { cluster, clients } = await threeOsds();
    for (const name of ['old', 'young']) {
      await put(clients[0]!, name, 'content');
      const mtime = utimeFromMs(cluster.scheduler.now() - (name === 'old' ? 7_300_000 : 7_000_000));
      const part = OsdOp.extent(OP.WRITE, 1, 1, [utf8('o')]);
      expect((await clients[0]!.exec(name, [part], { mtime })).result).toBe(0);
      const { dataDigest, omapDigest } = infoOn(cluster, 1, name);
      expect([dataDigest, omapDigest]).toEqual([undefined, undefined]);
    }
    const before = infoOn(cluster, 1, 'old');
    await scrub(cluster);
    const after = infoOn(cluster, 1, 'old');
    expect(after.dataDigest).toBe(wholeCrc32c(utf8('content')));
    expect(after.omapDigest).toBeTypeOf('number');
    expect(after).toEqual({ ...before, ...after, mtime: before.mtime, userVersion: before.userVersion });
    expect(infoOn(cluster, 1, 'young').dataDigest).toBeUndefined();
    await expectEqualCopies(cluster);
    const again = await scrub(cluster);
    expect(again.scrubber.record!.objects).toEqual([]);
    expect(infoOn(cluster, 1, 'old')).toEqual(after);
  });

  test('damage on all copies: it is found, repair says that it failed, nothing is made up', async () => {
    const { cluster, clients } = await threeOsds();
    await put(clients[0]!, 'b', 'content');
    for (const osd of [0, 1, 2]) cluster.rot(osd, cid, keyOf('b'));
    const pg = await scrub(cluster, true);
    expect(pg.core.hasState(PG_INCONSISTENT)).toBe(true);
    expect(pg.core.hasState(PG_FAILED_REPAIR)).toBe(true);
    expect(pg.core.info.sums.deepScrubErrors).toBe(3);
  });

  test('clones: a missing one and one without a head are told of as snapset errors', async () => {
    const { cluster, clients } = await threeOsds();
    for (const name of ['a', 'b']) {
      await put(clients[0]!, name, 'one');
      const data = utf8('two, longer');
      const change = { snapSeq: 5n, snaps: [5n] };
      const ops = [OsdOp.extent(OP.WRITEFULL, 0, data.length, [data])];
      expect((await clients[0]!.exec(name, ops, change)).result).toBe(0);
    }
    expect((await scrub(cluster)).scrubber.record).toEqual({ objects: [], snapsets: [] });
    for (const osd of [0, 1, 2]) {
      spoil(cluster, osd, [{ op: 'remove', cid, key: keyOf('a', 5n) }]);
      spoil(cluster, osd, [{ op: 'remove', cid, key: keyOf('b') }]);
    }
    const { snapsets } = (await scrub(cluster)).scrubber.record!;
    const told = new Map(snapsets.map((s) => [s.oid.name, s]));
    expect(told.get('a')!.errors).toBe(SNAPSET.cloneMissing);
    expect(told.get('a')!.missing).toEqual([5n]);
    expect(told.get('b')!.errors).toBe(SNAPSET.headless);
  });

  test('a primary that lost the snapset of a head does not make the others wrong', async () => {
    const { cluster, clients } = await threeOsds();
    await put(clients[0]!, 'a', 'one');
    const ops = [OsdOp.extent(OP.WRITEFULL, 0, 3, [utf8('two')])];
    await clients[0]!.exec('a', ops, { snapSeq: 5n, snaps: [5n] });
    const primary = cluster.map.place(pg0).actingPrimary;
    spoil(cluster, primary, [{ op: 'remove-xattr', cid, key: keyOf('a'), name: snapsetXattr }]);
    const pg = await scrub(cluster);
    const [found] = pg.scrubber.record!.objects;
    expect(found!.shards.map(({ osd, errors }) => [osd, errors])).toEqual(
      [0, 1, 2].map((osd) => [osd, osd === primary ? SHARD.snapsetMissing : 0]),
    );
    await scrub(cluster, true);
    await expectEqualCopies(cluster);
  });

  test('SCRUBLS: not known before a scrub; then pages of findings; another interval is refused', async () => {
    const { cluster, clients } = await threeOsds();
    for (let i = 0; i < 7; i++) await put(clients[0]!, `o${i}`, 'content');
    const list = async (interval: number, after: string, limit: bigint) => {
      const input = new Encoder().struct(1, 1, (e) =>
        e.u32(interval).u32(0).string(after).string('').u64b(SNAP_HEAD).u64b(limit),
      );
      return clients[0]!.exec('', [OsdOp.make(OP.SCRUBLS, [input.finish()])]);
    };
    expect((await list(0, '', 10n)).result).toBe(-2);
    const bad = cluster.map.place(pg0).acting[2]!;
    for (let i = 0; i < 7; i++) spoil(cluster, bad, [{ op: 'remove', cid, key: keyOf(`o${i}`) }]);
    const pg = await scrub(cluster);
    const names: string[] = [];
    for (let after = ''; ; ) {
      const answer = await list(pg.core.interval, after, 3n);
      expect(answer.result).toBe(0);
      const { interval, values } = new Decoder(answer.outs[0]!).struct('scrub_ls_result_t', 1, (d) => ({
        interval: d.u32(),
        values: d.list((x) => x.blob()),
      }));
      expect(interval).toBe(pg.core.interval);
      for (const value of values)
        after = new Decoder(value).struct('inconsistent_obj_t', 2, (d) => {
          d.u64();
          return d.struct('object_id_t', 1, (x) => x.string());
        });
      names.push(...values.map(() => after));
      if (values.length < 3) break;
    }
    expect(names.length).toBe(7);
    expect((await list(pg.core.interval + 1, '', 3n)).result).toBe(-11);
  });

  test('a client that reads a damaged copy gets the right bytes, and the copy is mended', async () => {
    const { cluster, clients } = await threeOsds();
    await put(clients[0]!, 'b', 'content');
    const primary = cluster.map.place(pg0).actingPrimary;
    cluster.rot(primary, cid, keyOf('b'));
    const answer = await clients[0]!.exec('b', [OsdOp.extent(OP.READ, 0, 0)]);
    expect(Buffer.from(answer.outs[0]!).toString()).toBe('content');
    expect(leaderOf(cluster).core.info.sums.objectsRepaired).toBe(1);
    expect(repairs(cluster)).toEqual(cluster.osds.map(({ id }) => (id === primary ? 1 : 0)));
    const pg = await scrub(cluster);
    expect(pg.scrubber.record!.objects).toEqual([]);
  });

  describe('an entry in the store of the primary is damaged', () => {
    const read = OsdOp.extent(OP.READ, 0, 0);
    async function damaged(forget: (pg: Pg) => void) {
      const { cluster, clients } = await threeOsds();
      await put(clients[0]!, 'b', 'content');
      const primary = cluster.map.place(pg0).actingPrimary;
      forget(leaderOf(cluster));
      cluster.spoilEntry(primary, cid, keyOf('b'));
      return { cluster, client: clients[0]!, primary };
    }

    test.each([
      ['and the object is in use', () => undefined],
      ['and the log has the object', (pg: Pg) => pg.engine.contexts.clear()],
    ])('%s: a client gets the right bytes, and the copy is mended', async (_, forget) => {
      const { cluster, client, primary } = await damaged(forget);
      const answer = await client.exec('b', [read]);
      expect(Buffer.from(answer.outs[0]!).toString()).toBe('content');
      expect(repairs(cluster)).toEqual(cluster.osds.map(({ id }) => (id === primary ? 1 : 0)));
      await expectEqualCopies(cluster);
    });

    test('and the log knows nothing of the object: an error and no wrong answer, until a scrub has it mended', async () => {
      const { cluster, client, primary } = await damaged((pg) => {
        pg.engine.contexts.clear();
        pg.core.meta.trim(pg.core.info.lastUpdate);
      });
      const stat = OsdOp.make(OP.STAT, []);
      const write = OsdOp.extent(OP.WRITE, 3, 1, [utf8('!')]);
      for (const op of [read, stat, write, OsdOp.make(OP.GETXATTRS, []), OsdOp.make(OP.DELETE, [])])
        expect((await client.exec('b', [op])).result).toBe(-5);
      const list = await client.exec('', [
        OsdOp.pgls(OP.PGNLS, 100, 0, [encoded((e) => encodeHObject(e, hobjectMin))]),
      ]);
      expect(list.result).toBe(1);
      expect(Buffer.from(list.outs[0]!).toString('latin1')).toContain('b');

      const pg = await scrub(cluster, false, false);
      const [found] = pg.scrubber.record!.objects;
      expect(found!.shards.find(({ osd }) => osd === primary)!.errors).toBe(SHARD.statError);
      await scrub(cluster, true);
      expect(Buffer.from((await client.exec('b', [read])).outs[0]!).toString()).toBe('content');
      await expectEqualCopies(cluster);
    });
  });

  test('a replica cannot tell anything of the head: a write is answered, and the replica gets the object again', async () => {
    const { cluster, clients } = await threeOsds();
    await put(clients[0]!, 'b', 'content');
    const replica = cluster.map.place(pg0).acting[1]!;
    await cluster.scheduler.run(cluster.scheduler.timeMs + 1000);
    cluster.spoilEntry(replica, cid, keyOf('b'));
    expect((await clients[0]!.exec('b', [OsdOp.extent(OP.APPEND, 0, 1, [utf8('+')])])).result).toBe(0);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 2000);
    expect(repairs(cluster)).toEqual(cluster.osds.map(({ id }) => (id === replica ? 1 : 0)));
    await expectEqualCopies(cluster);
  });

  const snapped = { snapSeq: 5n, snaps: [5n] };
  const append = (text: string): OsdOp => OsdOp.extent(OP.APPEND, 0, text.length, [utf8(text)]);
  for (const [name, ops, change] of [
    ['that makes a clone', [append('+')], snapped],
    ['that appends', [append('+')], {}],
    ['of a key', [OsdOp.make(OP.OMAPSETVALS, [omapOf('k2', 'v')])], {}],
  ] as const)
    test(`a replica has lost the head: a write ${name} is answered, and the replica gets the object again`, async () => {
      const { cluster, clients } = await threeOsds();
      await put(clients[0]!, 'b', 'content');
      const replica = cluster.map.place(pg0).acting[1]!;
      await cluster.scheduler.run(cluster.scheduler.timeMs + 1000);
      spoil(cluster, replica, [{ op: 'remove', cid, key: keyOf('b') }]);
      expect((await clients[0]!.exec('b', [...ops], change)).result).toBe(0);
      expect(leaderOf(cluster).core.info.sums.objectsRepaired).toBe('snaps' in change ? 2 : 1);
      await cluster.scheduler.run(cluster.scheduler.timeMs + 2000);
      expect(leaderOf(cluster).clean).toBe(true);
      expect(repairs(cluster)).toEqual(cluster.osds.map(({ id }) => (id === replica ? 1 : 0)));
      await expectEqualCopies(cluster);
      const pg = await scrub(cluster);
      expect(pg.scrubber.record!.objects).toEqual([]);
    });

  test('writes go on while a scrub runs, and it ends', async () => {
    const cluster = new SimCluster({
      seed: 9,
      osds: 3,
      size: 3,
      minSize: 2,
      pgNum: 1,
      scrub: { scrubChunkMax: 4, scrubChunkMin: 1 },
    });
    const client = new SimClient(cluster, 1, 5);
    await cluster.begin([client]);
    client.start();
    await cluster.scheduler.run(cluster.scheduler.timeMs + 2000);
    const before = client.acknowledged;
    for (let i = 0; i < 5; i++) await scrub(cluster);
    expect(client.acknowledged).toBeGreaterThan(before);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 2000);
    expect(client.errors).toEqual([]);
    expect(cluster.clusterLog.filter(({ level }) => level === LOG_ERROR)).toEqual([]);
  });

  test('one place an OSD: PGs of several primaries are all scrubbed, never more than one at a time on an OSD', async () => {
    const cluster = new SimCluster({ seed: 5, osds: 3, size: 3, minSize: 2, pgNum: 12 });
    for (const osd of cluster.osds) cluster.start(osd.id);
    await cluster.scheduler.run(20_000, () => cluster.allClean());
    const pgs = Array.from({ length: 12 }, (_, seed) => ({ pool: simPool, seed }));
    for (const { osd } of cluster.osds) osd!.scrubs.request(pgs, { deep: true, repair: false });
    const done = (): boolean => cluster.clusterLog.filter(({ text }) => text.endsWith('deep-scrub ok')).length === 12;
    await cluster.scheduler.run(cluster.scheduler.timeMs + 600_000, () => {
      const running = pgs.filter((pg) => leaderOf(cluster, pg).scrubber.position !== undefined);
      expect(running.length).toBeLessThanOrEqual(1);
      return done();
    });
    expect(done()).toBe(true);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 2000);
    for (const { osd } of cluster.osds) expect(osd!.scrubs.taken).toBe(0);
  });
});

const first = Number(process.env.SIM_SEED ?? 1);
const count = Number(process.env.SIM_SEEDS ?? 3);

describe('scrub under load', () => {
  for (let seed = first; seed < first + count; seed++)
    test(`flipped bits, lost objects and stray attributes are found and mended while clients write (seed ${seed})`, async () => {
      const cluster = new SimCluster({
        seed,
        osds: 3,
        size: 3,
        minSize: 2,
        pgNum: 4,
        scrub: { scrubChunkMax: 4, scrubChunkMin: 1 },
      });
      const { scheduler } = cluster;
      const clients = [1, 2, 3].map((num) => new SimClient(cluster, num, 5));
      await cluster.begin(clients);
      for (const client of clients) client.start();
      await scheduler.run(scheduler.timeMs + 3000);
      let planted = 0;
      for (let round = 0; round < 2; round++) {
        // One copy of each object at most: the others can tell what is right.
        for (let pgSeed = 0; pgSeed < 4; pgSeed++) {
          const pg = { pool: simPool, seed: pgSeed };
          const id = pgText(pg);
          const [primary, ...replicas] = cluster.map.place(pg).acting;
          for (const key of cluster.osds[primary!]!.store.list(id, firstObjectKey, 1000)) {
            if (!cluster.chance(0.3)) continue;
            const roll = cluster.random.float();
            const replica = replicas[cluster.random.uint32() % replicas.length]!;
            planted++;
            // What the primary's checksums do not see it would give to clients.
            if (roll < 0.1) cluster.spoilEntry(cluster.chance(0.5) ? primary! : replica, id, key);
            else if (roll < 0.4) cluster.rot(cluster.chance(0.5) ? primary! : replica, id, key);
            else if (roll < 0.6) spoil(cluster, replica, [{ op: 'remove', cid: id, key }]);
            else if (roll < 0.8)
              spoil(cluster, replica, [{ op: 'set-xattrs', cid: id, key, xattrs: new Map([['_stray', utf8('x')]]) }]);
            else {
              const size = cluster.osds[replica]!.store.stat(id, key)?.size ?? 0;
              if (size > 0) spoil(cluster, replica, [{ op: 'write', cid: id, key, offset: 0, data: [utf8('~')] }]);
            }
          }
          const leader = cluster.osds[primary!]!.osd!;
          leader.scrubs.request([pg], { deep: true, repair: true });
        }
        await scheduler.run(scheduler.timeMs + 3000);
        const busy = (): boolean =>
          [0, 1, 2, 3].some((s) => {
            const { scrubber } = leaderOf(cluster, { pool: simPool, seed: s });
            return scrubber.busy || scrubber.wanted !== undefined;
          });
        await scheduler.run(scheduler.timeMs + 120_000, () => !busy());
        for (const osd of cluster.osds) if (osd.fatal !== undefined) throw osd.fatal;
        expect(busy()).toBe(false);
      }
      expect(planted).toBeGreaterThan(10);
      for (const client of clients) client.stopped = true;
      await scheduler.run(scheduler.timeMs + 60_000, () => clients.every((c) => !c.busy) && cluster.allClean());
      for (let s = 0; s < 4; s++) {
        const { core } = leaderOf(cluster, { pool: simPool, seed: s });
        expect(core.info.sums.scrubErrors).toBe(0);
        expect(hasPgState(core.state, PG_CLEAN)).toBe(true);
      }
      for (const client of clients) {
        expect(client.errors).toEqual([]);
        for (const oid of client.expected.keys()) {
          let done = false;
          client.readAll(oid, () => {
            done = true;
          });
          await scheduler.run(scheduler.timeMs + 60_000, () => done);
          expect(done).toBe(true);
        }
        expect(client.errors).toEqual([]);
      }
      await scheduler.run(scheduler.timeMs + 1000);
      await expectEqualCopies(cluster);
    }, 180_000);
});
