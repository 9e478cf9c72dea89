import {
  hasPgState,
  PG_DEGRADED,
  PG_FORCED_BACKFILL,
  PG_FORCED_RECOVERY,
  PG_UNDERSIZED,
} from '../wire/messages/osd_mgr.ts';

/** Upstream's scale (`OSD_RECOVERY_PRIORITY_*`, `src/osd/osd_types.h`): backfill of what is only misplaced first, what an operator forced last. */
const BACKFILL = 100;
const BACKFILL_DEGRADED = 140;
const RECOVERY = 180;
/** Of PGs that have fewer copies than `min_size`: data is at risk, or clients wait. */
const INACTIVE = 220;
const HIGHEST = 253;
export const BACKFILL_FORCED = 254;
export const RECOVERY_FORCED = 255;

export interface RecoveryUrgency {
  /** Bits of the PG's state. */
  state: number;
  size: number;
  minSize: number;
  /** Members of the acting set. */
  acting: number;
  /** Of those, the ones that lack nothing. */
  complete: number;
  /** The pool's `recovery_priority`, -10..10. */
  pool: number;
}

function within(priority: number, pool: number, highest: number): number {
  return Math.max(0, Math.min(highest, priority + pool));
}

/** How urgent recovery by log is (`PeeringState::get_recovery_priority`). */
export function recoveryPriority({ state, minSize, complete, pool }: RecoveryUrgency): number {
  if (hasPgState(state, PG_FORCED_RECOVERY)) return RECOVERY_FORCED;
  if (hasPgState(state, PG_DEGRADED) && complete < minSize) return within(INACTIVE + minSize - complete, pool, HIGHEST);
  return within(RECOVERY, pool, INACTIVE - 1);
}

/** How urgent backfill is (`PeeringState::get_backfill_priority`). */
export function backfillPriority({ state, size, minSize, acting, pool }: RecoveryUrgency): number {
  if (hasPgState(state, PG_FORCED_BACKFILL)) return BACKFILL_FORCED;
  if (acting < minSize) return within(INACTIVE + minSize - acting, pool, HIGHEST);
  if (hasPgState(state, PG_UNDERSIZED)) return within(BACKFILL_DEGRADED + size - acting, pool, RECOVERY - 1);
  if (hasPgState(state, PG_DEGRADED)) return within(BACKFILL_DEGRADED, pool, RECOVERY - 1);
  return within(BACKFILL, pool, BACKFILL_DEGRADED - 1);
}
