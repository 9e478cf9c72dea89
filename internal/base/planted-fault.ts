/** Set by the build of the crash tests alone (`cmd/build/main.ts faulty`); a release does not have it. */
declare const APPLIANCE_PLANTED_FAULTS: boolean | undefined;

/** Faults that a test of the tests can plant, to see that the crash rounds notice them. */
export type PlantedFault =
  | 'ack-before-commit'
  | 'skip-replica'
  /** raft: entries of earlier terms count as committed once a majority has them (figure 8 of the paper). */
  | 'commit-old-term'
  /** raft: the vote is not stored. */
  | 'forget-vote'
  /** store: a watch that was compacted away goes on behind the gap. */
  | 'watch-gap'
  /** store: log segments are let go before the checkpoint that contains them is on disk. */
  | 'reclaim-early'
  /** store: after a power loss revisions that were handed out are used again. */
  | 'reuse-revision'
  /** store: a lease that was renewed ends as if it had not been. */
  | 'forget-renewal'
  /** store: the last write of a transaction of several is left out. */
  | 'cut-transaction'
  /** store: a range of an earlier revision shows some keys as they are now. */
  | 'past-as-now';

/** Always false in a release. */
export function plantedFault(fault: PlantedFault): boolean {
  return typeof APPLIANCE_PLANTED_FAULTS === 'boolean' && process.env.APPLIANCE_PLANTED_FAULT === fault;
}
