import type { Check } from '../check.ts';
import { kernelChecks } from './kernel.ts';
import { machineChecks } from './machine.ts';
import { networkChecks } from './network.ts';
import { programChecks } from './programs.ts';
import { storageChecks } from './storage.ts';
import { timeChecks } from './time.ts';

/** Every check, in the order in which they are shown. */
export const checks: readonly Check[] = [
  ...machineChecks,
  ...kernelChecks,
  ...programChecks,
  ...timeChecks,
  ...storageChecks,
  ...networkChecks,
];

/** What `up` and `run` ask before anything starts. */
export const preflightChecks: readonly Check[] = checks.filter(({ blocking }) => blocking);
