import { describe, expect, test } from 'vitest';
import type { TransactionOp } from '../../blockstore/api.ts';
import { MOSDPGPush, MOSDRepOp } from '../../wire/messages/osd_osd.ts';
import { compareEVersion, pgText } from '../../wire/types.ts';
import { decodeObjectInfo, encodeObjectInfo, infoXattr } from '../object-info.ts';
import { firstObjectKey, isObjectKey } from '../object-key.ts';
import { SimClient } from './client.testing.ts';
import { type SimOptions, simPool } from './map.testing.ts';
import { calm, changePgs, moveShards, options, settleAndCheck, storm } from './storm.testing.ts';
import { SimCluster } from './world.testing.ts';

/** k data and m coding shards on one OSD more than that, so that PGs move. */
function erasure(seed: number, k: number, m: number, fault?: SimOptions['fault']): SimOptions {
  return {
    ...options(seed, fault),
    scrub: { ...options(seed).scrub, scrubAutoRepair: true },
    osds: k + m + (seed % 3 === 0 ? 0 : 1),
    size: k + m,
    minSize: k + Math.min(1, m - 1),
    erasure: { k, chunkBytes: 32 },
  };
}

interface Damage {
  /** Shards of 3 + 2 from which on it can be found before anybody reads it: what the leader takes for true is only seen by scrubs. */
  from: number;
  spoil(cluster: SimCluster, osd: number, cid: string, key: Uint8Array): void;
}

/** A shard's disk gives other bytes than were written: by its checksums, or behind them. */
const damages: Record<string, Damage> = {
  'cannot be read': { from: 0, spoil: (cluster, osd, cid, key) => cluster.rot(osd, cid, key) },
  'has a bit flipped behind its checksum': {
    from: 3,
    spoil: (cluster, osd, cid, key) =>
      spoil(cluster, osd, { op: 'write', cid, key, offset: 3, data: [Uint8Array.of(7)] }),
  },
  'has a damaged entry': { from: 0, spoil: (cluster, osd, cid, key) => cluster.spoilEntry(osd, cid, key) },
  'is missing': { from: 1, spoil: (cluster, osd, cid, key) => spoil(cluster, osd, { op: 'remove', cid, key }) },
  'is of another version': {
    from: 1,
    spoil: (cluster, osd, cid, key) => {
      const info = decodeObjectInfo(cluster.osds[osd]!.store.xattr(cid, key, infoXattr)!);
      const older = encodeObjectInfo({ ...info, version: { epoch: 1, version: 1 } });
      spoil(cluster, osd, { op: 'set-xattrs', cid, key, xattrs: new Map([[infoXattr, older]]) });
    },
  },
};

function spoil(cluster: SimCluster, osd: number, op: TransactionOp): void {
  cluster.osds[osd]!.store.queue({ ops: [op] }).catch(() => undefined);
}

const shapes = [
  [2, 2],
  [2, 1],
  [3, 2],
] as const;
const first = Number(process.env.SIM_SEED ?? 1);
const count = Number(process.env.SIM_SEEDS ?? 6);

describe('simulated OSDs, erasure-coded pool', () => {
  test('shards become clean and serve', async () => {
    for (const [k, m] of shapes) await calm(erasure(1, k, m));
  }, 60_000);

  for (const [name, { from, spoil: damage }] of Object.entries(damages))
    test(`a shard ${name}: clients read what they wrote, and the shard is made anew`, async () => {
      const cluster = new SimCluster({ ...erasure(3, 3, 2), pgNum: 1 });
      const client = new SimClient(cluster, 1, 3);
      await cluster.begin([client]);
      client.start();
      const { scheduler } = cluster;
      for (let shard = from; shard < 5; shard++) {
        await scheduler.run(scheduler.timeMs + 300);
        const osd = cluster.map.place({ pool: simPool, seed: 0 }).acting[shard]!;
        const cid = pgText({ pool: simPool, seed: 0, shard });
        const keys = cluster.osds[osd]!.store.list(cid, firstObjectKey, 100).filter(isObjectKey);
        const key = keys[cluster.random.uint32() % Math.max(1, keys.length)];
        if (key !== undefined) damage(cluster, osd, cid, key);
        // One at a time: scrubs and reads find it.
        await scheduler.run(scheduler.timeMs + 10_000);
        expect(client.errors).toEqual([]);
      }
      await settleAndCheck(cluster, [client], true);
    }, 120_000);

  test('a shard that was away for longer than the log reaches gives what others lack', async () => {
    // An even seed: the log is short.
    const cluster = new SimCluster({ ...erasure(6, 3, 2), minSize: 3, pgNum: 1 });
    const [owner, other] = [1, 2].map((num) => new SimClient(cluster, num, 5)) as [SimClient, SimClient];
    await cluster.begin([owner, other]);
    const { scheduler } = cluster;
    const pause = (ms: number): Promise<void> => scheduler.run(scheduler.timeMs + ms);
    const { acting } = cluster.map.place({ pool: simPool, seed: 0 });
    const [first, , away, late, deaf] = acting as [number, number, number, number, number];
    const stop = async (osd: number): Promise<void> => {
      cluster.crash(osd);
      cluster.markDown(osd, true);
      await pause(3000);
    };
    // Of these writes one shard hears nothing, and another is not there.
    await stop(late);
    cluster.dropMessage = (_from, to, type) => (to === deaf ? type === MOSDRepOp.type : type === MOSDPGPush.type);
    owner.start();
    await pause(500);
    owner.stopped = true;
    await stop(deaf);
    // Both come back, and are given nothing.
    cluster.dropMessage = (_from, _to, type) => type === MOSDPGPush.type;
    for (const osd of [late, deaf]) cluster.start(osd);
    await pause(3000);
    await stop(away);
    const { core, recovery } = cluster.osds[first]!.osd!.pgs.get(pgText({ pool: simPool, seed: 0, shard: 0 }))!;
    const newest = core.meta.log.head;
    other.start();
    await pause(10_000);
    expect(compareEVersion(core.meta.log.tail, newest)).toBeGreaterThan(0);
    expect(recovery.unfound).toBeGreaterThan(0);
    cluster.dropMessage = undefined;
    await settleAndCheck(cluster, [owner, other]);
  }, 120_000);

  for (let seed = first; seed < first + count; seed++)
    test(`crashes, partitions, false downs, shards that move: nothing acknowledged is lost (seed ${seed})`, async () => {
      const [k, m] = shapes[seed % shapes.length]!;
      const acknowledged = await storm(erasure(seed, k, m), 60_000, moveShards);
      expect(acknowledged).toBeGreaterThan(30);
    }, 180_000);

  for (let seed = first; seed < first + count; seed++)
    test(`PGs split and merge under all that: nothing acknowledged is lost (seed ${seed})`, async () => {
      const [k, m] = shapes[seed % shapes.length]!;
      const pgNums = new Set<number>();
      const acknowledged = await storm(erasure(seed, k, m), 30_000, (cluster) => {
        if (cluster.chance(0.3)) moveShards(cluster);
        else changePgs(cluster);
        pgNums.add(cluster.map.pgs.pgNum);
      });
      expect(acknowledged).toBeGreaterThan(30);
      expect(pgNums.size).toBeGreaterThan(1);
    }, 180_000);
});
