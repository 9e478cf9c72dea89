import type { ObjectStore, TransactionOp } from '../blockstore/api.ts';
import { childSeeds, reversedHashRange, seedAt } from '../maps/pg-num.ts';
import { splitObjectSums } from '../wire/messages/osd_mgr.ts';
import { compareEVersion, type EVersion, hobjectMin, type PgId } from '../wire/types.ts';
import type { MapView, PoolView } from './map-view.ts';
import { endObjectKey, hashKey, metaKey } from './object-key.ts';
import type { PgCore } from './pg-core.ts';
import type { PgMeta } from './pg-meta.ts';

/** The keys of a PG's objects: one stretch, [first, end). */
function keyRange(seed: number, pgNum: number): { first: Uint8Array; end: Uint8Array } {
  const { first, end } = reversedHashRange(seed, pgNum);
  return { first: hashKey(first), end: end >= 2 ** 32 ? endObjectKey : hashKey(end) };
}

/**
 * Splits a copy of a PG, which has been taken to the map where the pool has more PGs than `before`: gives what its children are and the store operations
 * that make them, one transaction (`PeeringState::split_into`). Every copy splits by itself, and all come to the same.
 */
export function splitPg(core: PgCore, before: number): { children: PgMeta[]; ops: TransactionOp[] } {
  const { meta, map, env } = core;
  const { pool, seed } = core.id;
  const { pgNum } = map.pool(pool)!;
  const { info } = meta;
  const seeds = childSeeds(seed, before, pgNum);
  if (seeds.length === 0) return { children: [], ops: [] };
  const [left, ...sums] = splitObjectSums(info.sums, seeds.length + 1);
  info.sums = left!;
  info.sumsEstimated = true;
  info.history.lastEpochSplit = map.epoch;
  if (!info.lastBackfill.max) {
    // Begun anew on all parts.
    info.lastBackfill = hobjectMin;
    meta.missing.clear();
  }
  const ops: TransactionOp[] = [];
  const children = seeds.map((child, i) => {
    const id: PgId = { ...core.id, seed: child };
    const { part, moves } = meta.splitOff(id, (oid) => seedAt(oid.hash, pgNum) === child, env.store);
    const { history } = part.info;
    part.info.sums = sums[i]!;
    history.epochCreated = map.epoch;
    history.sameIntervalSince = map.epoch;
    history.sameUpSince = map.epoch;
    if (map.place(id).actingPrimary !== core.key.actingPrimary) history.samePrimarySince = map.epoch;
    const [create, ...rows] = part.createOps();
    ops.push(create!, { op: 'move-range', cid: meta.cid, to: part.cid, ...keyRange(child, pgNum) });
    ops.push(...moves, ...rows);
    return part;
  });
  meta.touchInfo();
  meta.touchPast();
  ops.push(...meta.writeOps());
  return { children, ops };
}

/** The versions at which two PGs were found ready to merge (`pg_merge_meta_t`). */
export interface MergeVersions {
  sourceSeed: number;
  sourceVersion: EVersion;
  targetVersion: EVersion;
}

function whole(core: PgCore, version: EVersion): boolean {
  const { info } = core.meta;
  const complete = info.lastBackfill.max && compareEVersion(info.lastComplete, info.lastUpdate) === 0;
  return complete && compareEVersion(info.lastUpdate, version) === 0;
}

/**
 * Merges copies of PGs into that of the PG they came from (`PeeringState::merge_from`); all have been taken to the map where the pool has fewer PGs than
 * `before`. A part that is missing or not the one that was found ready leaves the whole to be backfilled from another copy. Gives the one transaction.
 */
export function mergePgs(
  target: PgCore,
  sources: readonly PgCore[],
  before: number,
  pool: PoolView,
  store: ObjectStore,
): TransactionOp[] {
  const { meta } = target;
  const { sourceSeed, sourceVersion, targetVersion } = pool.lastMerge;
  const expected = childSeeds(target.id.seed, pool.pgNum, before);
  const [only] = sources;
  const complete =
    expected.length === 1 &&
    expected[0] === sourceSeed &&
    only !== undefined &&
    only.id.seed === sourceSeed &&
    whole(only, sourceVersion) &&
    whole(target, targetVersion);
  const ops: TransactionOp[] = [];
  for (const source of sources) {
    const { cid } = source.meta;
    const { first, end } = keyRange(source.id.seed, before);
    for (const key of store.list(cid, metaKey, Number.MAX_SAFE_INTEGER)) {
      if (Buffer.compare(key, first) >= 0) break;
      ops.push({ op: 'remove', cid, key });
    }
    for (const key of store.list(cid, end, Number.MAX_SAFE_INTEGER)) ops.push({ op: 'remove', cid, key });
    ops.push({ op: 'move-range', cid, to: meta.cid, first, end }, { op: 'remove-collection', cid });
  }
  const parts = sources.map((source) => source.meta);
  ops.push(...meta.mergeFrom(parts, target.map.epoch, store));
  if (!complete) meta.info.lastBackfill = hobjectMin;
  ops.push(...meta.writeOps());
  return ops;
}

/** Whether the PG's place and what it merges with are such that the merge can be (`OSDService::set_ready_to_merge_*`). */
export function sameActing(map: MapView, a: PgId, b: PgId): boolean {
  const [x, y] = [map.place(a), map.place(b)];
  return (
    x.actingPrimary === y.actingPrimary &&
    x.acting.length === y.acting.length &&
    x.acting.every((osd, i) => osd === y.acting[i])
  );
}
