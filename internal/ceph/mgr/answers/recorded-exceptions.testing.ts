import type { RecordedRun } from './recorded.testing.ts';

/** How much of a recorded answer this mgr's is compared with. `form`: all but numbers, times, states of PGs and how many rows there are. */
export type Compared = 'form' | 'no';

/** Why answers of a command are not the recorded ones to the letter. */
export interface Exception {
  /** Commands, whole. */
  readonly commands: readonly string[];
  /** Names of recordings; all, when not given. */
  readonly files?: readonly string[];
  readonly compared: Compared;
  readonly reason: string;
}

/** Phases with pools. */
const withData = ['b-pools-data', 'c-osd-down', 'd-osd-out-recovering', 'e-flags-quota-mute', 'f-scrub-error'];

/** Statistics are those of `pg dump` as JSON. Where reports, samples or recovery came between that and another answer, numbers are others. */
function moved(command: string, ...files: readonly string[]): Exception[] {
  return files.map((file) => ({
    commands: [command],
    files: [file],
    compared: 'form',
    reason: `${file}: time went on between the recorded answers`,
  }));
}

/**
 * Every recorded answer of upstream's mgr that this mgr does not give to the letter, from what was recorded of the same phase. What is in no exception is
 * compared in full, in the formats that were recorded; an exception that is not needed any more fails the test.
 */
export const exceptions: readonly Exception[] = [
  // --- The recording is not of one moment ---
  ...moved('pg dump', 'a-fresh', 'd-osd-out-recovering', 'f-scrub-error'),
  ...moved('pg dump sum', 'c-osd-down', 'd-osd-out-recovering', 'e-flags-quota-mute'),
  ...moved('pg dump osds', 'c-osd-down', 'd-osd-out-recovering', 'e-flags-quota-mute'),
  ...moved('pg ls-by-pool rep3', ...withData),
  ...moved('pg ls-by-primary 1', ...withData),
  ...moved('pg ls inconsistent', 'f-scrub-error'),
  ...moved('osd df', 'b-pools-data', 'd-osd-out-recovering', 'f-scrub-error'),
  ...moved('osd df tree', 'b-pools-data', 'd-osd-out-recovering', 'f-scrub-error'),
  ...moved('osd df class hdd', 'd-osd-out-recovering', 'f-scrub-error'),
  ...moved('osd df name osd.0', 'd-osd-out-recovering'),
  ...moved('osd perf', 'e-flags-quota-mute'),
  ...moved('osd pool autoscale-status', 'b-pools-data', 'c-osd-down', 'd-osd-out-recovering'),
  ...moved('pg ls', 'd-osd-out-recovering'),
  ...moved('pg ls-by-osd 0', 'd-osd-out-recovering'),
  ...moved('pg dump_pools_json', 'd-osd-out-recovering'),
  ...moved('osd safe-to-destroy 0', 'd-osd-out-recovering'),
  ...moved('osd safe-to-destroy 1 2', 'd-osd-out-recovering'),
  ...moved('pg dump_stuck unclean', 'c-osd-down', 'd-osd-out-recovering'),
  ...moved('pg dump_stuck undersized degraded', 'c-osd-down'),
  {
    commands: ['pg dump_stuck undersized degraded'],
    files: ['d-osd-out-recovering'],
    compared: 'no',
    reason: 'what was stuck then was not yet when statistics were recorded',
  },
  {
    commands: ['osd pool stats'],
    files: ['b-pools-data', 'c-osd-down', 'd-osd-out-recovering'],
    compared: 'no',
    reason: 'rates are in no other answer, and lines without any are left out (cluster-stats.test.ts)',
  },
  {
    commands: ['pg stat'],
    files: ['d-osd-out-recovering'],
    compared: 'no',
    reason: 'the same, of recovery',
  },
  {
    commands: [
      'osd purge 0',
      'osd destroy 0',
      'osd test-reweight-by-utilization',
      'osd reweight-by-utilization',
      'balancer eval',
    ],
    files: ['b-errors', 'b-changes'],
    compared: 'form',
    reason:
      'pools and places had changed since statistics were recorded; what follows from the map is in tests of their own below',
  },
  {
    commands: ['balancer status'],
    files: ['a-fresh', 'b-pools-data'],
    compared: 'form',
    reason: 'when the balancer last looked, and how long that took',
  },
  {
    commands: ['balancer status'],
    files: ['c-osd-down', 'd-osd-out-recovering', 'e-flags-quota-mute', 'f-scrub-error'],
    compared: 'no',
    reason: 'it was off since an earlier phase, and still says what it found then (modules.test.ts)',
  },
  {
    commands: ['progress', 'progress json'],
    files: ['c-osd-down', 'd-osd-out-recovering', 'e-flags-quota-mute', 'f-scrub-error'],
    compared: 'no',
    reason: 'a history of what happened before the phase, which no recorded answer tells (progress.test.ts)',
  },
  // --- This mgr differs ---
  {
    commands: ['osd ok-to-stop 0', 'osd ok-to-stop 1 2'],
    files: ['c-osd-down', 'd-osd-out-recovering'],
    compared: 'form',
    reason:
      'OSDs do not say which member of a PG lacks objects: one counts as incomplete, and sometimes more is refused than upstream refuses',
  },
  {
    commands: ['config show osd.0', 'config show osd.1 osd_max_backfills', 'config show-with-defaults osd.1'],
    compared: 'no',
    reason:
      'daemons here read no ceph.conf and have none of the thousand options that nothing acts on (modules.test.ts)',
  },
  {
    commands: ['orch status'],
    compared: 'no',
    reason: 'no orchestrator was there; here one shows the roles of nodes (modules.test.ts)',
  },
  {
    commands: ['insights'],
    compared: 'no',
    reason: 'there is no such module to enable: the command is refused with the same number and says so',
  },
  {
    commands: ['fs status', 'fs status cephfs', 'fs subvolume ls cephfs'],
    files: withData,
    compared: 'no',
    reason: 'file systems are not served by this engine',
  },
  {
    commands: ['tell mgr.a help'],
    compared: 'no',
    reason: 'the `ceph` tool makes it of the descriptions, which list what this mgr has',
  },
  {
    commands: ['pg dump nosuch'],
    compared: 'no',
    reason: 'refused by the `ceph` tool, from the signature that the mon describes',
  },
];

/** The exception for a run; the last one that names it. */
export function exceptionOf({ command, file }: RecordedRun): Exception | undefined {
  return exceptions.findLast(
    ({ commands, files }) => commands.includes(command) && (files === undefined || files.includes(file)),
  );
}
