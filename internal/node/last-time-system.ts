import { dlopen, FFIType, ptr } from 'bun:ffi';
import { flooredClock } from '../base/floored-clock.ts';
import type { Clock } from '../base/clock.ts';
import { runCommand } from '../base/command-system.ts';
import { errorText } from '../base/errors.ts';
import { readFileIfThere, writeFileAtomic } from '../base/files-system.ts';
import { systemClock } from '../base/system.ts';

/**
 * The last known time of a node, in `last-time` of its data directory: a machine without a clock battery wakes up in the past, where its certificates are not
 * valid yet and its leases come from the future. What happens then:
 *
 * - as root, where nothing has synchronised the time (adjtimex(2)), the machine's clock is set forward to the last known time;
 * - where that is not allowed, or the time is called synchronised and still is earlier, the roles' own clocks never show less than the last known time and
 *   go on from there; `appliance status` says so.
 *
 * Time is never set back, and never by more than what was written here.
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
  const now = systemClock.now();
  if (now > (lastTime(dataDir) ?? 0)) writeFileAtomic(fileOf(dataDir), `${new Date(now).toISOString()}\n`, 0o644);
}

/** How far the machine's time is behind the last known one, in words; undefined when it is not. */
export function clockProblem(dataDir: string): string | undefined {
  const floor = lastTime(dataDir);
  const behindMs = floor === undefined ? 0 : floor - systemClock.now();
  if (floor === undefined || behindMs < toleranceMs) return undefined;
  return `the clock of this machine is ${Math.round(behindMs / 1000)} s behind the last known time, ${new Date(floor).toISOString()}; the node goes on from there. Set it: timedatectl set-ntp true`;
}

const TIME_ERROR = 5;
/** `struct timex` has 208 bytes on 64-bit machines; modes 0 only reads. */
const timexBytes = 256;

/** Whether the kernel calls its time synchronised. */
function synchronised(): boolean {
  const { adjtimex } = dlopen('libc.so.6', { adjtimex: { args: [FFIType.ptr], returns: FFIType.i32 } }).symbols;
  const state = adjtimex(ptr(Buffer.alloc(timexBytes)));
  return state >= 0 && state !== TIME_ERROR;
}

/** At the start of a node: sets the machine's clock forward where that is right. Returns what was done or is wrong, in words. */
export async function wakeClock(dataDir: string): Promise<string | undefined> {
  const problem = clockProblem(dataDir);
  if (problem === undefined || synchronised()) return problem;
  const floor = lastTime(dataDir)!;
  try {
    await runCommand(['date', '-u', '-s', new Date(floor).toISOString()], { timeoutMs: 5000 });
    return `the clock of this machine was set forward to the last known time, ${new Date(floor).toISOString()}`;
  } catch (error) {
    return `${problem} (it could not be set: ${errorText(error)})`;
  }
}
