import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { AppError } from '../../internal/base/errors.ts';
import { describeFailure } from './failure.ts';

const denied = (code: 'EACCES' | 'EPERM'): Error =>
  Object.assign(new Error(`${code}: permission denied, open '/run/appliance/effective.json'`), {
    code,
    path: '/run/appliance/effective.json',
    syscall: 'open',
  });

test.each(['EACCES', 'EPERM'] as const)('%s of who is not root: names the file, and that it needs root', (code) => {
  expect(describeFailure(denied(code), false)).toEqual({
    text: 'appliance: /run/appliance/effective.json is root’s: permission denied\n  start it with sudo',
    exit: 'failed',
  });
});

test('root is not told to become root', () => {
  const { text, exit } = describeFailure(denied('EPERM'), true);
  expect(exit).toBe('failed');
  expect(text).toContain("open '/run/appliance/effective.json'");
  expect(text).not.toContain('sudo');
});

test('an expected failure: message and hint; several mistakes on lines of their own', () => {
  expect(describeFailure(new AppError('CONFIG', 'a.yaml:1:1: x\nb.yaml:1:1: y', { hint: 'do' }), true)).toEqual({
    text: 'appliance: several things are wrong:\na.yaml:1:1: x\nb.yaml:1:1: y\n  do',
    exit: 'usage',
  });
});

test('a defect: message, stack and causes, and no source', () => {
  const marker = 'source of this line';
  const cause = new TypeError('the cause');
  const { text, exit } = describeFailure(new Error('the defect', { cause }), true); // source of this line
  expect(readFileSync(import.meta.filename, 'utf8')).toContain(`true); // ${marker}`);
  expect(exit).toBe('defect');
  expect(text).toMatch(/^appliance: this is a defect: Error: the defect\n\s+at /);
  expect(text).toContain('caused by TypeError: the cause');
  expect(text).not.toContain(marker);
  expect(describeFailure({ odd: 1 }, true).text).toBe('appliance: this is a defect: { odd: 1 }');
});
