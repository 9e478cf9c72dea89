/** Set by the build of the crash tests alone (`cmd/build/main.ts faulty`); a release does not have it. */
declare const APPLIANCE_PLANTED_FAULTS: boolean | undefined;

/** Faults that a test of the tests can plant, to see that the crash rounds notice them. */
export type PlantedFault = 'ack-before-commit' | 'skip-replica';

/** Always false in a release. */
export function plantedFault(fault: PlantedFault): boolean {
  return typeof APPLIANCE_PLANTED_FAULTS === 'boolean' && process.env.APPLIANCE_PLANTED_FAULT === fault;
}
