import { Database } from 'bun:sqlite';
import { closeSync, fsyncSync, openSync, readFileSync, readSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { BlockStore } from '../../internal/ceph/blockstore/blockstore.ts';
import { firstObjectKey, objectOfKey } from '../../internal/ceph/osd/object-key.ts';
import { parsePg } from '../../internal/ceph/wire/types.ts';
import { CephCluster } from './ceph-cluster.ts';
import { until } from './harness.ts';

const minute = 60_000;
const cluster = new CephCluster('scrub', 23_950);
const { directory, stores } = cluster;
const tool = cluster.tool.bind(cluster);
const must = cluster.must.bind(cluster);

interface PgRow {
  pgid: string;
  state: string;
  acting: number[];
  last_deep_scrub_stamp: string;
  stat_sum: Record<string, number>;
}

async function pgRow(pgid: string): Promise<PgRow> {
  const { pg_stats } = JSON.parse(await must(['ceph', 'pg', 'ls', '--format', 'json'])) as { pg_stats: PgRow[] };
  return pg_stats.find((pg) => pg.pgid === pgid)!;
}

async function placeOf(object: string): Promise<{ pgid: string; acting: number[] }> {
  return JSON.parse(await must(['ceph', 'osd', 'map', 'kept', object, '--format', 'json'])) as never;
}

/** Tells a PG's primary to scrub, and waits until that is done. */
async function scrub(word: 'deep-scrub' | 'repair', pgid: string): Promise<PgRow> {
  const before = (await pgRow(pgid)).last_deep_scrub_stamp;
  const { stderr } = await tool(['ceph', 'pg', word, pgid]);
  expect(stderr).toMatch(new RegExp(`^instructing pg ${pgid} on osd\\.\\d to ${word}`));
  let row!: PgRow;
  await until(`${word} of ${pgid}`, minute, async () => {
    row = await pgRow(pgid);
    const done = row.last_deep_scrub_stamp !== before && /^active\+clean(\+inconsistent)?$/.test(row.state);
    return done && (word !== 'repair' || !row.state.includes('inconsistent'));
  });
  return row;
}

/** The store's key of an object in its PG. */
function keyOf(store: BlockStore, pgid: string, name: string): Uint8Array {
  const { pool } = parsePg(pgid)!;
  return store.list(pgid, firstObjectKey, 1000).find((key) => objectOfKey(key, pool).name === name)!;
}

/** Flips a bit on the disk of an OSD, where `pattern` lies. */
function flipBit(osd: number, pattern: string): void {
  const fd = openSync(join(directory, `osd${osd}`, 'data'), 'r+');
  const { size } = statSync(join(directory, `osd${osd}`, 'data'));
  const block = Buffer.alloc(1 << 20);
  let flipped = 0;
  for (let at = 0; at < size; at += block.length) {
    const length = readSync(fd, block, 0, block.length, at);
    const found = block.subarray(0, length).indexOf(pattern);
    if (found < 0) continue;
    writeSync(fd, Buffer.of(block[found]! ^ 4), 0, 1, at + found);
    flipped++;
    break;
  }
  fsyncSync(fd);
  closeSync(fd);
  expect(flipped).toBe(1);
}

/** Flips a bit on the disk of an OSD that does not run, in the row that its index has of an object. */
function flipIndexBit(osd: number, name: string): void {
  const path = join(directory, `osd${osd}`, 'index.sqlite');
  const index = new Database(path, { readonly: true });
  const rows = index.query<{ key: Uint8Array; value: Uint8Array }, []>('SELECT key, value FROM objects').all();
  index.close();
  const row = rows.find(({ key }) => Buffer.from(key).includes(name))!.value;
  const file = readFileSync(path);
  const at = file.indexOf(row);
  expect(at).toBeGreaterThan(0);
  file[at + row.length - 5]! ^= 16;
  writeFileSync(path, file);
}

/** Content of an object that goes to the data file itself, and is found there. */
const contentOf = (name: string): string => `<<content of ${name}>>`.padEnd(4096, name).repeat(48);

beforeAll(async () => {
  await cluster.start(3);
  await must(['ceph', 'osd', 'pool', 'create', 'kept', '4']);
  await must(['ceph', 'osd', 'pool', 'application', 'enable', 'kept', 'test']);
  await until('all PGs are clean', minute, async () => /4 active\+clean/.test(await must(['ceph', 'pg', 'stat'])));
}, 3 * minute);

afterAll(() => cluster.stop(), minute);

describe('scrub, with the unmodified tools', () => {
  test(
    'before the first scrub there is nothing to list; after one that found nothing the list is empty',
    async () => {
      await must(['rados', '-p', 'kept', 'put', 'fine', '-'], contentOf('fine'));
      const { pgid } = await placeOf('fine');
      const none = await tool(['rados', 'list-inconsistent-obj', pgid]);
      expect([none.code, none.stderr]).toEqual([
        1,
        `No scrub information available for pg ${pgid}\nerror 2: (2) No such file or directory\n`,
      ]);
      const row = await scrub('deep-scrub', pgid);
      expect(row.state).toBe('active+clean');
      expect(JSON.parse(await must(['rados', 'list-inconsistent-obj', pgid]))).toMatchObject({ inconsistents: [] });
      expect(JSON.parse(await must(['rados', 'list-inconsistent-pg', 'kept']))).toEqual([]);
    },
    2 * minute,
  );

  test(
    'a bit flips on the disk of a replica: deep scrub finds it, it shows in health, repair mends it',
    async () => {
      await must(['rados', '-p', 'kept', 'put', 'rotten', '-'], contentOf('rotten'));
      const { pgid, acting } = await placeOf('rotten');
      const bad = acting[1]!;
      flipBit(bad, '<<content of rotten>>');
      const row = await scrub('deep-scrub', pgid);
      expect(row.state).toBe('active+clean+inconsistent');
      expect(row.stat_sum.num_deep_scrub_errors).toBe(1);
      expect(JSON.parse(await must(['rados', 'list-inconsistent-pg', 'kept']))).toEqual([pgid]);
      const { inconsistents } = JSON.parse(await must(['rados', 'list-inconsistent-obj', pgid])) as {
        inconsistents: {
          object: { name: string; snap: string };
          errors: string[];
          union_shard_errors: string[];
          selected_object_info: { oid: { oid: string }; size: number; flags: string[] };
          shards: { osd: number; primary: boolean; errors: string[]; size: number; data_digest?: string }[];
        }[];
      };
      const [found, ...more] = inconsistents;
      expect(more).toEqual([]);
      expect(found).toMatchObject({
        object: { name: 'rotten', snap: 'head' },
        errors: [],
        union_shard_errors: ['read_error'],
        selected_object_info: {
          oid: { oid: 'rotten' },
          size: contentOf('rotten').length,
          flags: ['dirty', 'data_digest', 'omap_digest'],
        },
      });
      for (const shard of found!.shards)
        expect([shard.osd, shard.primary, shard.errors]).toEqual([
          shard.osd,
          shard.osd === acting[0],
          shard.osd === bad ? ['read_error'] : [],
        ]);
      await until('health tells', minute, async () => {
        const { checks, status } = JSON.parse(await must(['ceph', 'health', 'detail', '--format', 'json'])) as {
          status: string;
          checks: Record<string, { summary: { message: string }; detail: { message: string }[] }>;
        };
        return (
          status === 'HEALTH_ERR' &&
          checks.OSD_SCRUB_ERRORS?.summary.message === '1 scrub errors' &&
          checks.PG_DAMAGED?.summary.message === 'Possible data damage: 1 pg inconsistent' &&
          checks.PG_DAMAGED.detail[0]?.message ===
            `pg ${pgid} is active+clean+inconsistent, acting [${acting.join(',')}]`
        );
      });
      const mended = await scrub('repair', pgid);
      expect(mended.stat_sum.num_scrub_errors).toBe(0);
      expect(mended.stat_sum.num_objects_repaired).toBe(1);
      const store = stores[bad]!;
      const bytes = await store.read(pgid, keyOf(store, pgid, 'rotten'), 0, 1 << 20, true);
      expect(Buffer.from(bytes!).toString()).toBe(contentOf('rotten'));
      await until('health is fine', minute, async () => !/scrub|damage/.test(await must(['ceph', 'health'])));
    },
    3 * minute,
  );

  test(
    'a bit flips on the disk of the primary: a reader gets the right bytes, and it is mended',
    async () => {
      await must(['rados', '-p', 'kept', 'put', 'read', '-'], contentOf('read'));
      const { pgid, acting } = await placeOf('read');
      flipBit(acting[0]!, '<<content of read>>');
      expect(await must(['rados', '-p', 'kept', 'get', 'read', '-'])).toBe(contentOf('read'));
      const store = stores[acting[0]!]!;
      await until('it is mended', minute, async () => {
        const bytes = await store.read(pgid, keyOf(store, pgid, 'read'), 0, 1 << 20, true).catch(() => undefined);
        return bytes !== undefined && Buffer.from(bytes).toString() === contentOf('read');
      });
      expect((await scrub('deep-scrub', pgid)).state).toBe('active+clean');
    },
    2 * minute,
  );

  test(
    'a bit flips in an entry of the index: of a replica a scrub tells and repair mends it, of the primary a reader has it mended',
    async () => {
      const clean = (): Promise<true> =>
        until('all PGs are clean', minute, async () => /4 active\+clean;/.test(await must(['ceph', 'pg', 'stat'])));
      await must(['rados', '-p', 'kept', 'put', 'entry', '-'], contentOf('entry'));
      await must(['rados', '-p', 'kept', 'setomapval', 'entry', 'key', 'value']);
      const { pgid, acting } = await placeOf('entry');
      const [primary, bad] = acting as [number, number];
      await cluster.stopOsd(bad);
      flipIndexBit(bad, 'entry');
      await cluster.startOsd(bad);
      await clean();
      expect(stores[bad]!.stat(pgid, keyOf(stores[bad]!, pgid, 'entry'))).toEqual({ size: 0, damaged: true });
      expect((await scrub('deep-scrub', pgid)).state).toBe('active+clean+inconsistent');
      const { inconsistents } = JSON.parse(await must(['rados', 'list-inconsistent-obj', pgid])) as {
        inconsistents: {
          errors: string[];
          union_shard_errors: string[];
          shards: { osd: number; errors: string[] }[];
        }[];
      };
      expect(inconsistents).toMatchObject([{ errors: [], union_shard_errors: ['stat_error'] }]);
      expect(inconsistents[0]!.shards.filter(({ errors }) => errors.length > 0).map(({ osd }) => osd)).toEqual([bad]);
      await scrub('repair', pgid);
      const whole = async (osd: number): Promise<void> => {
        const store = stores[osd]!;
        const key = keyOf(store, pgid, 'entry');
        expect(Buffer.from((await store.read(pgid, key, 0, 1 << 20, true))!).toString()).toBe(contentOf('entry'));
        expect(store.omapGet(pgid, key, ['key']).size).toBe(1);
      };
      await whole(bad);

      await cluster.stopOsd(primary);
      flipIndexBit(primary, 'entry');
      await cluster.startOsd(primary);
      await clean();
      expect((await placeOf('entry')).acting[0]).toBe(primary);
      expect(await must(['rados', '-p', 'kept', 'get', 'entry', '-'])).toBe(contentOf('entry'));
      await whole(primary);
      expect((await scrub('deep-scrub', pgid)).state).toBe('active+clean');
    },
    4 * minute,
  );

  test(
    'an object is lost and another has grown and has an attribute that it should not have: all is told and mended',
    async () => {
      await must(['rados', '-p', 'kept', 'put', 'lost', '-'], 'here');
      const { pgid, acting } = await placeOf('lost');
      let grown = '';
      for (let i = 0; grown === ''; i++) if ((await placeOf(`grown${i}`)).pgid === pgid) grown = `grown${i}`;
      await must(['rados', '-p', 'kept', 'put', grown, '-'], 'short');
      await must(['rados', '-p', 'kept', 'setxattr', grown, 'colour', 'blue']);
      const bad = acting[2]!;
      const store = stores[bad]!;
      const key = keyOf(store, pgid, grown);
      await store.queue({
        ops: [
          { op: 'remove', cid: pgid, key: keyOf(store, pgid, 'lost') },
          { op: 'write', cid: pgid, key, offset: 5, data: [Buffer.from('er')] },
          { op: 'set-xattrs', cid: pgid, key, xattrs: new Map([['_stray', Buffer.from('x')]]) },
        ],
      });
      await scrub('deep-scrub', pgid);
      const { inconsistents } = JSON.parse(await must(['rados', 'list-inconsistent-obj', pgid])) as {
        inconsistents: {
          object: { name: string };
          errors: string[];
          union_shard_errors: string[];
          shards: {
            osd: number;
            size?: number;
            attrs?: { name: string; value: string }[];
            object_info?: { size: number };
          }[];
        }[];
      };
      const byName = new Map(inconsistents.map((one) => [one.object.name, one]));
      expect([...byName.keys()].sort()).toEqual([grown, 'lost'].sort());
      expect(byName.get('lost')).toMatchObject({ errors: [], union_shard_errors: ['missing'] });
      const other = byName.get(grown)!;
      expect(other.errors).toEqual(['data_digest_mismatch', 'size_mismatch', 'attr_name_mismatch']);
      expect(other.union_shard_errors).toEqual([
        'data_digest_mismatch_info',
        'size_mismatch_info',
        'obj_size_info_mismatch',
      ]);
      const shard = other.shards.find(({ osd }) => osd === bad)!;
      expect([shard.size, shard.object_info?.size]).toEqual([7, 5]);
      expect(shard.attrs?.map(({ name, value }) => [name, value])).toEqual([
        ['colour', 'blue'],
        ['stray', 'x'],
      ]);
      expect(JSON.parse(await must(['rados', 'list-inconsistent-snapset', pgid]))).toMatchObject({ inconsistents: [] });
      await scrub('repair', pgid);
      expect(JSON.parse(await must(['rados', 'list-inconsistent-obj', pgid]))).toMatchObject({ inconsistents: [] });
      expect(store.stat(pgid, keyOf(store, pgid, grown))?.size).toBe(5);
      expect(store.stat(pgid, keyOf(store, pgid, 'lost'))?.size).toBe(4);
    },
    3 * minute,
  );

  test(
    'noscrub and nodeep-scrub do not hold an operator back; whole OSDs and pools are told',
    async () => {
      for (const flag of ['noscrub', 'nodeep-scrub']) await must(['ceph', 'osd', 'set', flag]);
      const { pgid } = await placeOf('fine');
      await scrub('deep-scrub', pgid);
      for (const flag of ['noscrub', 'nodeep-scrub']) await must(['ceph', 'osd', 'unset', flag]);
      const stamps = async (): Promise<string[]> => {
        const { pg_stats } = JSON.parse(await must(['ceph', 'pg', 'ls', '--format', 'json'])) as { pg_stats: PgRow[] };
        return pg_stats.map((pg) => pg.last_deep_scrub_stamp);
      };
      const before = await stamps();
      const all = await tool(['ceph', 'osd', 'deep-scrub', 'all']);
      expect(all.stderr).toBe('instructed osd(s) 0,1,2 to deep-scrub\n');
      expect((await tool(['ceph', 'osd', 'pool', 'scrub', 'kept'])).code).toBe(0);
      await until('all PGs are scrubbed deeply', minute, async () =>
        (await stamps()).every((stamp, i) => stamp !== before[i]),
      );
      const due = JSON.parse(await must(['ceph', 'tell', 'osd.0', 'dump_scrubs'])) as { pgid: string }[];
      expect(due.every(({ pgid }) => /^1\.[0-3]$/.test(pgid))).toBe(true);
    },
    3 * minute,
  );
});
