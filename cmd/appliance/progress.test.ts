import { EventEmitter } from 'node:events';
import type { WriteStream } from 'node:tty';
import { stripVTControlCharacters } from 'node:util';
import { expect, test } from 'vitest';
import type { NodeInstance } from '../../internal/node/status.ts';
import type { Phase } from '../../internal/node/supervision.ts';
import { createProgress } from './progress.ts';
import { UpSteps } from './up-steps.ts';

class Output extends EventEmitter {
  text = '';
  isTTY = false;
  columns = 80;
  failure: NodeJS.ErrnoException | undefined;
  write(text: string): boolean {
    if (this.failure) throw this.failure;
    this.text += text;
    return true;
  }
}
const failing = (code: string): NodeJS.ErrnoException => Object.assign(new Error(code), { code });
const progressOn = (out: Output) => createProgress(out as unknown as WriteStream);

test('away from a terminal each step is a line, a wait is printed once', () => {
  const out = new Output();
  const progress = progressOn(out);
  progress.wait('starting mon');
  progress.wait('starting mon');
  progress.done('mon runs');
  expect(out.text.replaceAll(/[\d.]+ s/g, 'N s')).toBe('  N s  … starting mon\n  N s  ✓ mon runs\n');
});

test.each(['EPIPE', 'EIO'])(
  'a reader that is gone (%s) ends nothing, whether the write throws or the stream tells',
  (code) => {
    const out = new Output();
    const progress = progressOn(out);
    progress.line('before');
    out.failure = failing(code);
    progress.line('lost');
    out.failure = undefined;
    progress.done('lost as well');
    expect(out.text).toBe('before\n');
    const other = new Output();
    const told = progressOn(other);
    other.emit('error', failing(code));
    told.line('lost');
    expect(other.text).toBe('');
  },
);

test('any other failure of the output is told', () => {
  const out = new Output();
  out.failure = failing('ENOSPC');
  expect(() => progressOn(out).line('text')).toThrow('ENOSPC');
});

/** What a terminal shows in the end: each line as it was last redrawn. */
const screen = (text: string): string[] =>
  text
    .split('\n')
    .map((line) => stripVTControlCharacters(line.split('\r\x1b[2K').at(-1)!).replace(/^ *[\d.]+ s {2}/, ''));

test('on a terminal a finished step is the end of what was waited for; anything else leaves it below', () => {
  const out = new Output();
  out.isTTY = true;
  const progress = progressOn(out);
  progress.wait('deleting /data');
  progress.line('WARN something');
  expect(screen(out.text)).toEqual(['WARN something', '… deleting /data']);
  progress.done('nothing is left');
  expect(screen(out.text)).toEqual(['WARN something', '✓ nothing is left', '']);
});

test('a role restarts after the node was ready: nothing is left of its start when it runs again', () => {
  const out = new Output();
  out.isTTY = true;
  const steps = new UpSteps(progressOn(out));
  const shows = (phase: Phase): void => steps.onChange({ instances: [{ name: 'server', phase } as NodeInstance] });
  shows('running');
  shows('starting');
  expect(screen(out.text).at(-1)).toBe('… starting server');
  shows('running');
  expect(screen(out.text)).toEqual(['✓ server runs', '✓ server runs', '']);
});

test('a step that is longer than the terminal is wide is cut between words', () => {
  const out = new Output();
  out.isTTY = true;
  out.columns = 44;
  progressOn(out).wait('stopping pods and unmounting volumes of them');
  expect(screen(out.text)).toEqual(['… stopping pods and unmounting…']);
});
