import type { OomCounts } from './cgroup.ts';

/** Why a process ended, in words for status and log. */

export interface Death {
  readonly exitCode: number | null;
  /** `SIGKILL`. */
  readonly signal: string | null;
  /** Why the supervisor itself killed it. */
  readonly killedFor?: string;
  /** What the process said before it ended. */
  readonly failure?: string;
  /** What the kernel counted of its group's want of memory while it ran. */
  readonly oom: OomCounts;
  /** Its memory budget; undefined: none. */
  readonly limitBytes: number | undefined;
}

/** Exit codes by which the programs that start it (sh, setsid, unshare, setpriv) tell that they could not (POSIX, Exit Status for Commands). */
const cannotStart: Readonly<Record<number, string>> = {
  126: 'not executable',
  127: 'not found, or not executable for its user',
};

const meanings: Readonly<Record<string, string>> = {
  SIGSEGV: 'a fault in native code',
  SIGBUS: 'a fault in native code, or a file that was cut while it was mapped',
  SIGILL: 'an instruction that this processor does not have',
  SIGABRT: 'it gave up',
};

/** The kernel kills in a group also when that is within its limit and the machine has no memory left. */
function memoryReason({ oom, limitBytes }: Death): string {
  if (limitBytes === undefined) return 'out of memory: the machine had none left';
  const limit = `${Math.round(limitBytes / 2 ** 20)} MiB`;
  return oom.limitHits > 0
    ? `out of memory: limit ${limit}`
    : `out of memory: the machine had none left; its own limit of ${limit} was not reached`;
}

export function deathReason(death: Death): string {
  if (death.killedFor !== undefined) return `killed: ${death.killedFor}`;
  if (death.signal === 'SIGKILL' && death.oom.kills > 0) return memoryReason(death);
  if (death.signal !== null) {
    const meaning = meanings[death.signal];
    return `killed by ${death.signal}${meaning === undefined ? '' : ` (${meaning})`}`;
  }
  if (death.failure !== undefined) return `${death.failure} (exit ${death.exitCode})`;
  const cause = cannotStart[death.exitCode ?? 0];
  return `exit ${death.exitCode}${cause === undefined ? '' : ` (${cause})`}`;
}
