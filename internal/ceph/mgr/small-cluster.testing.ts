import { createOrMoveItem } from '../crush/build.ts';
import { encodeCrushMap } from '../crush/codec.ts';
import { newCrushMap } from '../crush/default-map.ts';
import { applyIncremental } from '../maps/apply.ts';
import { OsdMapIncremental } from '../maps/incremental.ts';
import { OsdMap } from '../maps/osdmap.ts';
import { newPool } from '../maps/pool.ts';
import {
  emptyPgStat,
  type MPGStats,
  noCompressed,
  type OsdStat,
  PG_ACTIVE,
  PG_CLEAN,
  type PgStat,
  zeroOsdCounters,
} from '../wire/messages/osd_mgr.ts';
import { addrV2 } from '../wire/types.ts';
import type { ClusterStats } from './cluster-stats.ts';

const gib = 2 ** 30;

/** Three OSDs that are up and in, and pool 1 `data` of 8 PGs in two copies. */
export function smallMap(): OsdMap {
  const crush = newCrushMap('osd');
  for (const osd of [0, 1, 2]) createOrMoveItem(crush, osd, 0x10000, `osd.${osd}`, { root: 'default', host: 'h' });
  const inc = new OsdMapIncremental(1);
  inc.fsid = '0e14f8b8-0f1c-4b02-8d4a-0d7a36b1ff8e';
  inc.crush = encodeCrushMap(crush);
  inc.newMaxOsd = 3;
  for (const osd of [0, 1, 2]) {
    inc.newUpClient.set(osd, [addrV2('10.0.0.1', 6800 + osd, 1)]);
    inc.newWeight.set(osd, 0x10000);
  }
  inc.newPoolMax = 1;
  inc.newPoolNames.set(1, 'data');
  inc.newPools.set(
    1,
    newPool({ size: 2, minSize: 1, pgNum: 8, pgpNum: 8, pgNumTarget: 8, pgpNumTarget: 8, crushRule: 0 }),
  );
  return applyIncremental(new OsdMap(), inc);
}

export function nextMap(map: OsdMap, change: (inc: OsdMapIncremental) => void): OsdMap {
  const inc = new OsdMapIncremental(map.epoch + 1);
  inc.fsid = map.fsid;
  change(inc);
  return applyIncremental(map, inc);
}

export function osdStat(fields: Partial<OsdStat> = {}): OsdStat {
  return {
    totalBytes: 10 * gib,
    availableBytes: 8 * gib,
    dataBytes: gib,
    allocatedBytes: gib,
    omapBytes: 0,
    metaBytes: 0,
    compressed: noCompressed,
    pgs: 0,
    primaryPgs: 0,
    commitLatencyMs: 1,
    applyLatencyMs: 1,
    hbPeers: [],
    snapTrimQueueLen: 0,
    shardsRepaired: 0,
    counters: zeroOsdCounters(),
    pings: [],
    slowOps: { count: 0, oldestSec: 0 },
    ...fields,
  };
}

/** What an OSD reports of the PGs that it leads. */
export function report(
  stats: ClusterStats,
  osdId: number,
  seq: number,
  fields: Partial<PgStat> = {},
  stat: Partial<OsdStat> = {},
): MPGStats {
  const pgs: PgStat[] = [];
  for (let seed = 0; seed < 8; seed++) {
    const place = stats.placement.mapPg(1, seed);
    if (place.actingPrimary !== osdId) continue;
    pgs.push({
      ...emptyPgStat({ pool: 1, seed }),
      state: PG_ACTIVE + PG_CLEAN,
      up: [...place.up],
      acting: [...place.acting],
      upPrimary: place.upPrimary,
      actingPrimary: osdId,
      reportedEpoch: stats.map.epoch,
      reportedSeq: seq,
      ...fields,
    });
  }
  const { fsid, epoch } = stats.map;
  return { fsid, osdId, epoch, upFrom: 1, seq, osd: osdStat(stat), pools: new Map(), pgs };
}
