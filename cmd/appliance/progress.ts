import type { WriteStream } from 'node:tty';
import { errorCode } from '../../internal/base/errors.ts';
import { cutAtWord } from '../../internal/base/words.ts';
import { terminal } from './terminal.ts';

/**
 * Progress for people: finished steps stay, the current one is redrawn on a terminal and printed once elsewhere. That nobody reads any more, because the terminal was closed or
 * a pipe ended, stops nothing: a node that is stopped by that has its disks to write out.
 */
export interface Progress {
  /** Something to know; the current step goes on. */
  line(text: string): void;
  /** A step is finished, and what was waited for is over: who waits for more says so again. */
  done(text: string): void;
  /** The current step. */
  wait(text: string): void;
  /** Nothing is waited for any more. */
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
    if (live) write(cutAtWord(`${seconds()}  … ${text}`, (out.columns || 80) - 1));
    else write(`${seconds()}  … ${text}\n`);
  };
  return {
    line,
    wait,
    clear,
    done(text) {
      clear();
      line(`${seconds()}  ${color ? '\x1b[32m✓\x1b[0m' : '✓'} ${text}`);
    },
  };
}
