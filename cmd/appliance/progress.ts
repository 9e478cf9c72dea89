import type { WriteStream } from 'node:tty';
import { errorCode } from '../../internal/base/errors.ts';
import { terminal } from './terminal.ts';

/**
 * Progress for people: finished steps stay, the current one is redrawn on a terminal and printed once elsewhere. That nobody reads any more, because the terminal was closed or
 * a pipe ended, stops nothing: a node that is stopped by that has its disks to write out.
 */
export interface Progress {
  line(text: string): void;
  done(text: string): void;
  wait(text: string): void;
  clear(): void;
}

export function createProgress(out: WriteStream): Progress {
  const { live, color } = terminal(out);
  const began = performance.now();
  let waiting = '';
  const seconds = (): string => `${((performance.now() - began) / 1000).toFixed(1).padStart(5)} s`;
  let gone = false;
  const lost = (error: unknown): void => {
    if (!['EPIPE', 'EIO'].includes(errorCode(error) ?? '')) throw error;
    gone = true;
  };
  out.on('error', lost);
  const write = (text: string): void => {
    if (gone) return;
    try {
      out.write(text);
    } catch (error) {
      lost(error);
    }
  };
  const clear = (): void => {
    if (live && waiting) write('\r\x1b[2K');
    waiting = '';
  };
  const line = (text: string): void => {
    const again = waiting;
    clear();
    write(`${text}\n`);
    if (again && live) wait(again);
  };
  const wait = (text: string): void => {
    if (text === waiting) return;
    clear();
    waiting = text;
    if (live) write(`${seconds()}  … ${text}`.slice(0, (out.columns || 80) - 1));
    else write(`${seconds()}  … ${text}\n`);
  };
  return {
    line,
    wait,
    clear,
    done: (text) => line(`${seconds()}  ${color ? '\x1b[32m✓\x1b[0m' : '✓'} ${text}`),
  };
}
