import {
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  readSync,
  fsyncSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BufferPool } from '../../internal/base/buffer-pool.ts';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { newCryptoKey } from '../../internal/ceph/auth/crypto.ts';
import { formatKeyring } from '../../internal/ceph/auth/keyring.ts';
import { type BlockStore, openBlockStore } from '../../internal/ceph/blockstore/blockstore.ts';
import { openSqliteIndex } from '../../internal/ceph/blockstore/index-sqlite-shell.ts';
import { MgrServer } from '../../internal/ceph/mgr/server.ts';
import { cephVersion } from '../../internal/ceph/mon/version.ts';
import { start as startMon } from '../../internal/ceph/mon/role.ts';
import { OsdServer } from '../../internal/ceph/osd/osd-server.ts';
import { firstObjectKey, objectOfKey } from '../../internal/ceph/osd/object-key.ts';
import { addrV2, parsePg } from '../../internal/ceph/wire/types.ts';
import type { Config } from '../../internal/config/config.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import type { RoleHandle } from '../../internal/node/role.ts';
import { until } from './harness.ts';

/** A mon, a mgr and three OSDs in this process, the unmodified tools of Debian's ceph-common beside it. */

const minute = 60_000;
const fsid = '1f6f2a3c-7d57-4d0b-9f0e-3a8b1c2d4e60';
const port = 23_950;
const directory = mkdtempSync(join(tmpdir(), 'scrub-'));
const paths = nodePaths(directory, join(directory, 'run'));
const conf = join(directory, 'ceph.conf');
const stores: BlockStore[] = [];
const osds: OsdServer[] = [];
let mon: RoleHandle;
let mgr: MgrServer;

const caps: Record<string, Record<string, string>> = {
  'mon.': { mon: 'allow *' },
  'client.admin': { mon: 'allow *', osd: 'allow *', mgr: 'allow *', mds: 'allow *' },
  'mgr.a': { mon: 'allow profile mgr', osd: 'allow *', mds: 'allow *' },
  'osd.0': { mon: 'allow profile osd', mgr: 'allow profile osd', osd: 'allow *' },
  'osd.1': { mon: 'allow profile osd', mgr: 'allow profile osd', osd: 'allow *' },
  'osd.2': { mon: 'allow profile osd', mgr: 'allow profile osd', osd: 'allow *' },
};

/** Runs a tool; gives what it printed. */
async function tool(argv: string[], input = ''): Promise<{ code: number; stdout: string; stderr: string }> {
  const [name, ...rest] = argv;
  const child = Bun.spawn([name!, '-c', conf, ...rest], { stdin: new Blob([input]), stdout: 'pipe', stderr: 'pipe' });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  return { code: await child.exited, stdout, stderr };
}

async function must(argv: string[], input = ''): Promise<string> {
  const { code, stdout, stderr } = await tool(argv, input);
  if (code !== 0) throw new Error(`${argv.join(' ')}: ${stderr}`);
  return stdout;
}

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

/** Content of an object that goes to the data file itself, and is found there. */
const contentOf = (name: string): string => `<<content of ${name}>>`.padEnd(4096, name).repeat(48);

beforeAll(async () => {
  mkdirSync(join(paths.ceph, 'keyrings'), { recursive: true });
  const keys = new Map(Object.keys(caps).map((name) => [name, newCryptoKey(Date.now(), systemRandom)]));
  const keyring = (name: string): string =>
    formatKeyring(new Map([[name, { key: keys.get(name)!, caps: caps[name]! }]]));
  for (const name of keys.keys()) writeFileSync(paths.keyring(name), keyring(name));
  writeFileSync(
    conf,
    `[global]\nfsid = ${fsid}\nmon host = [v2:127.0.0.1:${port}]\nkeyring = ${paths.keyring('client.admin')}\ncrash dir = ${directory}\n`,
  );
  writeFileSync(paths.cephConf, readFileSync(conf));
  mon = await startMon({
    role: 'mon',
    instance: 'mon',
    paths,
    log: silentLogger,
    clock: systemClock,
    random: systemRandom,
    stopping: new AbortController().signal,
    waits: () => undefined,
    fail: (error) => {
      throw error;
    },
    config: {
      node: { name: 'n', ip: '127.0.0.1', labels: {} },
      ports: { mon: port },
      storage: { engine: 'embedded', replication: 3, failureDomain: 'osd', osd: [] },
    } as unknown as Config,
  });
  const common = {
    fsid,
    monAddrs: [[addrV2('127.0.0.1', port)]],
    ip: '127.0.0.1',
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
  };
  for (const id of [0, 1, 2]) {
    const uuid = `00000000-0000-4000-8000-00000000000${id}`;
    const buffers = new BufferPool(systemDisk.alignedBuffer, 8 << 20);
    const store = await openBlockStore({
      buffers,
      disk: systemDisk,
      dir: join(directory, `osd${id}`),
      clock: systemClock,
      log: silentLogger,
      openIndex: openSqliteIndex,
      capacityBytes: 1 << 30,
    });
    stores.push(store);
    await must(['ceph', 'osd', 'new', uuid, String(id)]);
    osds.push(
      await OsdServer.start({
        ...common,
        id,
        uuid,
        key: keys.get(`osd.${id}`)!,
        portBase: port + 1,
        store,
        buffers,
        host: 'n',
        metadata: {},
        version: cephVersion,
        fatal: (error) => {
          throw error;
        },
      }),
    );
  }
  mgr = await MgrServer.start({
    ...common,
    name: 'a',
    key: keys.get('mgr.a')!,
    firstPort: port + 1,
    poolDefaultSize: 3,
    metadata: new Map(),
    version: cephVersion,
  });
  await must(['ceph', 'osd', 'pool', 'create', 'kept', '4']);
  await must(['ceph', 'osd', 'pool', 'application', 'enable', 'kept', 'test']);
  await until('all PGs are clean', minute, async () => /4 active\+clean/.test(await must(['ceph', 'pg', 'stat'])));
}, 3 * minute);

afterAll(async () => {
  await mgr?.stop();
  for (const osd of osds) await osd.stop();
  await mon?.stop();
  rmSync(directory, { recursive: true, force: true });
}, minute);

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
        selected_object_info: { oid: { oid: 'rotten' }, size: contentOf('rotten').length, flags: ['dirty'] },
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
      expect(other.union_shard_errors).toEqual(['size_mismatch_info', 'obj_size_info_mismatch']);
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
