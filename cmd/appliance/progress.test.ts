import { EventEmitter } from 'node:events';
import type { WriteStream } from 'node:tty';
import { expect, test } from 'vitest';
import { createProgress } from './progress.ts';

class Output extends EventEmitter {
  text = '';
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
