/**
 * Where a copy of a PG stands between two changes of its interval.
 * Primary: get-info (who has what) -> get-log (take the best log over) -> get-missing (what do the others lack) -> wait-up-thru -> activating -> active;
 * aside: down (a past interval cannot be asked), incomplete (no copy may speak for the PG), wait-acting (asked the mon for another acting set).
 * Others: stray until the primary's log arrives, then replica.
 */
export type PeeringPhase =
  | 'idle'
  | 'get-info'
  | 'down'
  | 'get-log'
  | 'incomplete'
  | 'wait-acting'
  | 'get-missing'
  | 'wait-up-thru'
  | 'activating'
  | 'active'
  | 'stray'
  | 'replica';

export interface PeeringHooks {
  /** A new interval (or a new attempt in it) begins: nothing of the old one may be acknowledged. */
  reset(): void;
  /** The primary serves (or, with fewer copies than min_size, only recovers). */
  active(): void;
  /** The PG is to merge, and can now, or cannot. */
  mergeReady(): void;
  /** A replica has taken the primary's log over. */
  replicaActive(): void;
  /** The copy is no longer needed. */
  removeMe(): void;
  /** Some copy that could have given objects is gone. */
  lostStray(): void;
  /** News of a copy that peering did not wait for. */
  foundStray(osd: number): void;
}
