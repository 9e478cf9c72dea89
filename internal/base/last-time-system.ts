import { flooredClock } from './floored-clock.ts';
import type { Clock } from './clock.ts';
import { runCommand } from './command-system.ts';
import { errorText } from './errors.ts';
import { readFileIfThere, writeFileAtomic } from './files-system.ts';
import { kernelTime } from './kernel-time-system.ts';
import { systemClock } from './system.ts';

/**
 * The last known time of a node, in `last-time` of its data directory: a machine without a clock battery wakes up in the past, where its certificates are not
 * valid yet and its leases come from the future. What happens then:
 *
 * - as root, where nothing has synchronised the time (adjtimex(2)), the machine's clock is set forward to the last known time;
 * - where that is not allowed, or the time is called synchronised and still is earlier, the roles' own clocks never show less than the last known time and
 *   go on from there; `appliance status` says so.
 *
 * Time is never set back, and never by more than what was written here. A time that was noted while the clock was far in the future is taken back by
 * `appliance doctor --fix` (`noteTime`), never by itself: a clock that is called synchronised may be the wrong one.
 */

/** Written so often, and when the node stops: an SD card does not mind. */
export const lastTimeEveryMs = 3_600_000;
/** A clock that is behind by less is not worth a word. */
const toleranceMs = 1000;

const fileOf = (dataDir: string): string => `${dataDir}/last-time`;

/** Milliseconds since the epoch; undefined when none was written, or nothing that can be read: then the machine's time is all there is. */
export function lastTime(dataDir: string): number | undefined {
  const ms = Date.parse(readFileIfThere(fileOf(dataDir))?.trim() ?? '');
  return Number.isNaN(ms) ? undefined : ms;
}

/** The clock of a node's roles. */
export function nodeClock(dataDir: string): Clock {
  const floor = lastTime(dataDir);
  return floor === undefined ? systemClock : flooredClock(systemClock, floor);
}

/** Notes the time; one that goes back is not noted. */
export function keepLastTime(dataDir: string): void {
  if (systemClock.now() > (lastTime(dataDir) ?? 0)) noteTime(dataDir);
}

/** Notes the machine's time whatever was noted before; holds from the next start on. */
export function noteTime(dataDir: string): void {
  writeFileAtomic(fileOf(dataDir), `${new Date(systemClock.now()).toISOString()}\n`, 0o644);
}

/** How far the machine's time is behind the last known one, in words; undefined when it is not. */
export function clockProblem(dataDir: string): string | undefined {
  const floor = lastTime(dataDir);
  const behindMs = floor === undefined ? 0 : floor - systemClock.now();
  if (floor === undefined || behindMs < toleranceMs) return undefined;
  return `the clock of this machine is ${Math.round(behindMs / 1000)} s behind the last known time, ${new Date(floor).toISOString()}; the node goes on from there. Set it: timedatectl set-ntp true. Is it right and the noted one wrong? \`appliance doctor\` tells what to do`;
}

/** At the start of a node: sets the machine's clock forward where that is right. Returns what was done or is wrong, in words. */
export async function wakeClock(dataDir: string): Promise<string | undefined> {
  const problem = clockProblem(dataDir);
  if (problem === undefined || kernelTime().synchronized) return problem;
  const floor = lastTime(dataDir)!;
  try {
    await runCommand(['date', '-u', '-s', new Date(floor).toISOString()], { timeoutMs: 5000 });
    return `the clock of this machine was set forward to the last known time, ${new Date(floor).toISOString()}`;
  } catch (error) {
    return `${problem} (it could not be set: ${errorText(error)})`;
  }
}
