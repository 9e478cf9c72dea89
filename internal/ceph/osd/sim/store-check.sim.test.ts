import { describe, expect, test } from 'vitest';
import { utf8 } from '../../../base/bytes.ts';
import { type Fault, FaultList } from '../../blockstore/fault.ts';
import { SNAP_HEAD } from '../../wire/types.ts';
import { OP, OsdOp } from '../../wire/messages/osd_op.ts';
import { decodeObjectInfo, encodeObjectInfo, infoXattr } from '../object-info.ts';
import { metaKey, objectKey } from '../object-key.ts';
import { checkOsdState, loadPg, readMaps } from '../store-check.ts';
import { markMissing } from '../store-repair.ts';
import type { TransactionOp } from '../../blockstore/api.ts';
import { SimClient } from './client.testing.ts';
import { threeOsds } from './single.testing.ts';
import { simHash, simPool } from './map.testing.ts';
import { SimCluster } from './world.testing.ts';

const cid = '1.0';
const keyOf = (name: string): Uint8Array =>
  objectKey({ key: '', name, snap: SNAP_HEAD, hash: simHash(name), max: false, nspace: '', pool: simPool });

async function faultsOf(cluster: SimCluster, osd: number): Promise<Fault[]> {
  const list = new FaultList();
  await checkOsdState(cluster.osds[osd]!.store, list, async () => undefined);
  return list.faults;
}

async function change(cluster: SimCluster, osd: number, ops: TransactionOp[]): Promise<void> {
  const { store } = cluster.osds[osd]!;
  const done = store.queue({ ops });
  store.commit(store.uncommitted);
  await done;
}

describe('what an OSD keeps, compared with itself', () => {
  test('nothing is found on the disks of OSDs that were killed at any moment, and of those that ended in peace', async () => {
    for (let seed = 1; seed <= 6; seed++) {
      // Replicated, and shards of two data chunks and one for their loss.
      const shape =
        seed % 3 === 0
          ? { osds: 4, size: 3, minSize: 2, erasure: { k: 2, chunkBytes: 32 } }
          : { osds: 3, size: 3, minSize: 2 };
      const cluster = new SimCluster({ seed, ...shape, pgNum: 4, ...(seed % 2 ? { logEntries: 8 } : {}) });
      const clients = [1, 2].map((num) => new SimClient(cluster, num, 4));
      await cluster.begin(clients);
      for (const client of clients) client.start();
      for (let round = 0; round < 6; round++) {
        const { scheduler } = cluster;
        await scheduler.run(scheduler.timeMs + cluster.between(100, 3000));
        const id = round % 3;
        cluster.crash(id);
        expect(await faultsOf(cluster, id), `seed ${seed}, round ${round}`).toEqual([]);
        await scheduler.run(scheduler.timeMs + cluster.between(100, 3000));
        cluster.start(id);
      }
    }
  });

  const put = async (count = 3) => {
    const { cluster, clients } = await threeOsds();
    for (let n = 0; n < count; n++) {
      const data = utf8(`content ${n}`);
      expect((await clients[0]!.exec(`o${n}`, [OsdOp.extent(OP.WRITEFULL, 0, data.length, [data])])).result).toBe(0);
    }
    await cluster.scheduler.run(cluster.scheduler.timeMs + 3000);
    const osd = cluster.map.place({ pool: simPool, seed: 0 }).acting[1]!;
    cluster.crash(osd);
    return { cluster, client: clients[0]!, osd };
  };

  const planted: readonly [string, (cluster: SimCluster, osd: number) => TransactionOp[], string, Fault['mend']][] = [
    ['an object is gone', () => [{ op: 'remove', cid, key: keyOf('o1') }], 'was written by', 'fetched'],
    [
      'an object has no version',
      () => [{ op: 'remove-xattr', cid, key: keyOf('o1'), name: infoXattr }],
      'has no version',
      'fetched',
    ],
    [
      'an object is shorter than it says',
      () => [{ op: 'truncate', cid, key: keyOf('o1'), size: 3 }],
      'should have 9 bytes and has 3',
      'fetched',
    ],
    [
      'an object is older than the log says',
      (cluster, osd) => {
        const info = decodeObjectInfo(cluster.osds[osd]!.store.xattr(cid, keyOf('o1'), infoXattr)!);
        const older = encodeObjectInfo({ ...info, version: { epoch: 1, version: 1 } });
        return [{ op: 'set-xattrs', cid, key: keyOf('o1'), xattrs: new Map([[infoXattr, older]]) }];
      },
      'its log says',
      'fetched',
    ],
    [
      'the newest log entry is gone',
      (cluster, osd) => {
        const rows = cluster.osds[osd]!.store.omapList(cid, metaKey, { prefix: 'l', limit: 1000 }).entries;
        return [{ op: 'omap-remove', cid, key: metaKey, keys: [rows.at(-1)![0]] }];
      },
      'its log ends at',
      'none',
    ],
    [
      'the info cannot be read',
      () => [{ op: 'omap-set', cid, key: metaKey, entries: new Map([['i', utf8('nonsense')]]) }],
      'cannot be read',
      'none',
    ],
  ];
  test.each(planted)('%s: it is found', async (_, plant, text, mend) => {
    const { cluster, osd } = await put();
    expect(await faultsOf(cluster, osd)).toEqual([]);
    await change(cluster, osd, plant(cluster, osd));
    const faults = await faultsOf(cluster, osd);
    expect(faults.map((fault) => fault.mend)).toEqual([mend]);
    expect(faults[0]!.text).toContain(text);
  });

  test('an object that is marked as missing is fetched from another copy when the OSD starts', async () => {
    const { cluster, client, osd } = await put();
    const { store } = cluster.osds[osd]!;
    const key = keyOf('o1');
    // What is left of it is not what it was.
    await change(cluster, osd, [{ op: 'write', cid, key, offset: 0, data: [utf8('XXXX')] }]);
    const marking = markMissing(store, [{ cid, key }], () => 3);
    store.commit(store.uncommitted);
    expect(await marking).toEqual({ marked: [{ cid, key }], left: [] });
    expect(loadPg(store, cid)!.missing.size).toBe(1);
    cluster.start(osd);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 60_000, () => cluster.allClean());
    expect(cluster.allClean()).toBe(true);
    await cluster.scheduler.run(cluster.scheduler.timeMs + 2000);
    expect(await cluster.osds[osd]!.store.read(cid, key, 0, 100)).toEqual(utf8('content 1'));
    expect((await client.exec('o1', [OsdOp.extent(OP.READ, 0, 100)])).outs[0]).toEqual(utf8('content 1'));
  });

  test('an object without another copy is left as it is, and so is what is no object', async () => {
    const { cluster, osd } = await put();
    const { store } = cluster.osds[osd]!;
    const objects = [
      { cid, key: keyOf('o1') },
      { cid, key: metaKey },
      { cid: 'meta', key: metaKey },
    ];
    expect((await markMissing(store, objects.slice(0, 1), () => 1)).left[0]!.why).toBe('there is no other copy of it');
    expect((await markMissing(store, objects.slice(0, 1), () => undefined)).marked).toEqual([]);
    expect((await markMissing(store, objects.slice(1), () => 3)).left).toHaveLength(2);
    expect(store.uncommitted).toBe(0);
  });

  test('a store without maps has none', async () => {
    const { cluster, osd } = await put();
    expect(await readMaps(cluster.osds[osd]!.store)).toBeUndefined();
  });
});
