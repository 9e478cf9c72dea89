import type { Cluster } from '../../../store/api.ts';

/** What a mon needs of the group that keeps its store (`MemberStore` is one). */
export interface MonGroup {
  /** This one leads, as far as it knows. */
  readonly leads: boolean;
  /** This one leads, and there is no other. */
  readonly alone: boolean;
  /** Everything acknowledged anywhere before the call is in the store here. Errors: ClusterError. */
  confirm(): Promise<void>;
  /** Asks the mon that leads. Errors: ClusterError, and those of the answer. */
  ask(question: Uint8Array, timeoutMs: number): Promise<Uint8Array>;
  /**
   * Who keeps the store. A member is called as its mon, and its client URL is where that is reached (`v2:10.0.0.1:3300/0`); both are empty until it has
   * started.
   */
  readonly cluster: Cluster;
}

/** Somebody leads, as far as this mon knows. */
export function hasLeader({ cluster }: MonGroup): boolean {
  return cluster.leaderId !== 0n;
}
