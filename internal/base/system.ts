import { randomBytes } from 'node:crypto';
import type { Clock } from './clock.ts';
import { createLogger, type Logger, type LogLevel } from './log.ts';
import type { Random } from './random.ts';

/** The machine's own clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (delayMs, fn) => {
    const handle = setTimeout(fn, Math.max(0, Math.min(delayMs, 0x7fff_ffff)));
    return { cancel: () => clearTimeout(handle) };
  },
};

/** The machine's own random source. */
export const systemRandom: Random = {
  bytes: (length) => new Uint8Array(randomBytes(length)),
  uint32: () => randomBytes(4).readUInt32LE(0),
  float: () => randomBytes(4).readUInt32LE(0) / 0x1_0000_0000,
};

/** A logger on standard error. */
export function systemLogger(level: { value: LogLevel }): Logger {
  return createLogger({ write: (line) => void process.stderr.write(line), now: () => Date.now(), level });
}
