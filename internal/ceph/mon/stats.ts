import type { OsdMap } from '../maps/osdmap.ts';
import type { MMonMgrReportValue, PoolDigest } from '../wire/messages/mgr_mon.ts';
import { objectSumFields } from '../wire/messages/osd_mgr.ts';
import {
  MGetPoolStats,
  MGetPoolStatsReply,
  MStatfs,
  MStatfsReply,
  type PoolStat,
  zeroObjectStatSum,
} from '../wire/messages/mon_stats.ts';
import type { Mon } from './mon.ts';

/** What clients stored in a pool, replication taken off. */
export function poolStored(digest: MMonMgrReportValue, map: OsdMap, id: number): { bytes: number; objects: number } {
  const pool = digest.pools.get(id);
  if (pool === undefined || !map.pools.has(id)) return { bytes: 0, objects: 0 };
  return { bytes: pool.sums.bytes, objects: pool.sums.objects };
}

/** `pool_stat_t` of a pool, for clients (`rados df`). */
export function poolStat(pool: PoolDigest): PoolStat {
  const sum = zeroObjectStatSum();
  for (const name of objectSumFields) sum[name] = pool.sums[name];
  return {
    sum,
    store: {
      total: 0,
      available: 0,
      internallyReserved: 0,
      allocated: pool.allocatedBytes,
      dataStored: pool.dataBytes,
      dataCompressed: pool.compressed.stored,
      dataCompressedAllocated: pool.compressed.allocated,
      dataCompressedOriginal: pool.compressed.original,
      omapAllocated: pool.omapBytes,
      internalMetadata: 0,
    },
    logSize: pool.logSize,
    ondiskLogSize: pool.ondiskLogSize,
    up: pool.up,
    acting: pool.acting,
    stores: pool.storeReports,
  };
}

/** Statistics that clients ask for without a command. */
export function handleStats(mon: Mon): void {
  mon.handlers
    .on(MStatfs, (session, { pool }, { tid }) => {
      if (!session.may('pg', 'r')) return;
      const { fsid } = mon.state;
      const { digest } = mon;
      const kb = (bytes: number): number => Math.floor(bytes / 1024);
      const version = digest?.version ?? 0;
      const of = pool === undefined ? undefined : digest?.pools.get(pool);
      if (of !== undefined) {
        const used = kb(of.sums.bytes);
        const avail = kb(of.maxAvailBytes);
        session.connection.send(
          MStatfsReply,
          { fsid, version, kb: used + avail, kbUsed: used, kbAvail: avail, objects: of.sums.objects },
          { tid },
        );
        return;
      }
      const space = digest?.space;
      session.connection.send(
        MStatfsReply,
        {
          fsid,
          version,
          kb: kb(space?.totalBytes ?? 0),
          kbUsed: kb((space?.totalBytes ?? 0) - (space?.availableBytes ?? 0)),
          kbAvail: kb(space?.availableBytes ?? 0),
          objects: digest?.sums.objects ?? 0,
        },
        { tid },
      );
    })
    .on(MGetPoolStats, (session, { pools }, { tid }) => {
      if (!session.may('pg', 'r')) return;
      const { fsid, osdmap } = mon.state;
      const out = new Map<string, PoolStat>();
      for (const name of pools) {
        const id = osdmap.poolId(name);
        const digest = id === undefined ? undefined : mon.digest?.pools.get(id);
        if (digest !== undefined) out.set(name, poolStat(digest));
      }
      const version = mon.digest?.version ?? 0;
      session.connection.send(MGetPoolStatsReply, { version, fsid, pools: out, perPool: true }, { tid });
    });
}
