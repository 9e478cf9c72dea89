import { utimeFromMs } from '../wire/encoding.ts';
import {
  hasPgState,
  type ObjectSums,
  PG_ACTIVE,
  PG_CLEAN,
  PG_DEGRADED,
  PG_PEERED,
  PG_STALE,
  PG_UNDERSIZED,
  type PgStamps,
  type PgStat,
  zeroPgStamps,
} from '../wire/messages/osd_mgr.ts';
import { reverseBits32 } from '../wire/types.ts';
import type { PgCore } from './pg-core.ts';
import { osdOf, placed } from './shards.ts';

/** Copies that should be and are not: `num_objects_degraded`, `_misplaced` and the like (`PeeringState::update_calc_stats`). */
export function countCopies(core: PgCore, unfound: number): ObjectSums {
  const sums = { ...core.info.sums };
  const { key } = core;
  sums.objectCopies = sums.objects * key.size;
  sums.objectsDirty = sums.objects;
  sums.objectsMissingOnPrimary = core.meta.missing.size;
  sums.objectsUnfound = unfound;
  if (!hasPgState(core.state, PG_ACTIVE) && !hasPgState(core.state, PG_PEERED)) {
    sums.objectsDegraded = 0;
    sums.objectsMisplaced = 0;
    return sums;
  }
  let degraded = 0;
  let misplaced = 0;
  let missing = core.meta.missing.size;
  degraded += core.meta.missing.size;
  let complete = 1;
  for (const osd of core.members) {
    const peer = core.peers.get(osd);
    if (peer === undefined) continue;
    const lacking = core.backfillTargets.has(osd) && !peer.info.lastBackfill.max ? backlog(core, osd) : 0;
    const count = (peer.missing?.size ?? 0) + lacking;
    missing += peer.missing?.size ?? 0;
    if (key.acting.includes(osd) || placed(key.acting) < key.size) degraded += count;
    else misplaced += count;
    complete++;
  }
  degraded += Math.max(0, key.size - complete) * sums.objects;
  sums.objectsMissing = missing;
  sums.objectsDegraded = Math.min(degraded, sums.objectCopies);
  sums.objectsMisplaced = misplaced;
  return sums;
}

/** Objects that a backfill target does not hold yet, as far as it is known. */
function backlog(core: PgCore, osd: number): number {
  const { lastBackfill } = core.peers.get(osd)!.info;
  if (lastBackfill.max) return 0;
  // The hash says how far into the PG's objects it has come; names are hashed evenly.
  const done = lastBackfill.name === '' ? 0 : reverseBits32(lastBackfill.hash) / 2 ** 32;
  const start = reverseBits32(core.id.seed) / 2 ** 32;
  const width = 1 / Math.max(1, core.key.pgNum);
  const share = Math.min(1, Math.max(0, (done - start) / width));
  return Math.ceil(core.info.sums.objects * (1 - share));
}

/** Keeps the stamps of a PG's states and makes its report. */
export class PgReporter {
  readonly #stamps: PgStamps = zeroPgStamps();
  #lastState = -1;
  #sequence = 0;

  report(core: PgCore, unfound: number, blockedBy: number[], nowMs: number): PgStat {
    const now = utimeFromMs(nowMs);
    const s = this.#stamps;
    const sums = countCopies(core, unfound);
    if (sums.objectsDegraded > 0) core.setState(PG_DEGRADED);
    else core.clearState(PG_DEGRADED);
    const { state } = core;
    const active = hasPgState(state, PG_ACTIVE);
    const peered = active || hasPgState(state, PG_PEERED);
    if (state !== this.#lastState) {
      s.lastChange = now;
      if (active && !hasPgState(Math.max(0, this.#lastState), PG_ACTIVE)) s.lastBecameActive = now;
      if (peered && this.#lastState >= 0 && !hasPgState(this.#lastState, PG_PEERED)) s.lastBecamePeered = now;
      this.#lastState = state;
    }
    s.lastFresh = now;
    if (hasPgState(state, PG_CLEAN)) s.lastClean = now;
    if (active) s.lastActive = now;
    if (peered) s.lastPeered = now;
    if (!hasPgState(state, PG_STALE)) s.lastUnstale = now;
    if (!hasPgState(state, PG_DEGRADED)) s.lastUndegraded = now;
    if (!hasPgState(state, PG_UNDERSIZED)) s.lastFullsized = now;
    const { info, meta, key } = core;
    return {
      ...s,
      pg: core.id,
      state,
      up: key.up.map(osdOf),
      acting: key.acting.map(osdOf),
      upPrimary: osdOf(key.upPrimary),
      actingPrimary: osdOf(key.actingPrimary),
      reportedEpoch: core.map.epoch,
      reportedSeq: ++this.#sequence,
      version: info.lastUpdate,
      logStart: meta.log.tail,
      ondiskLogStart: meta.log.tail,
      logSize: meta.log.length,
      ondiskLogSize: meta.log.length,
      createdEpoch: info.history.epochCreated,
      lastEpochClean: info.history.lastEpochClean,
      mappingEpoch: info.history.sameIntervalSince,
      lastScrub: info.history.lastScrub,
      lastDeepScrub: info.history.lastDeepScrub,
      lastScrubStamp: info.history.lastScrubStamp,
      lastDeepScrubStamp: info.history.lastDeepScrubStamp,
      lastCleanScrubStamp: info.history.lastCleanScrubStamp,
      snaptrimqLen: 0,
      blockedBy: blockedBy.map(osdOf),
      sums,
    };
  }
}
