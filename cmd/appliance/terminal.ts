import type { WriteStream } from 'node:tty';

/** What a stream may be given: a line that is redrawn, and colours. NO_COLOR (no-color.org) switches the latter off. */
export function terminal(out: WriteStream): { live: boolean; color: boolean } {
  const live = out.isTTY === true && process.env.TERM !== 'dumb';
  return { live, color: live && !process.env.NO_COLOR };
}
