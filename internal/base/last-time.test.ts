import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { clockProblem, keepLastTime, lastTime, nodeClock, noteTime } from './last-time-system.ts';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'last-time-'));
});
afterEach(() => rmSync(directory, { recursive: true }));

const future = '2099-01-02T03:04:05.000Z';
const write = (text: string): void => writeFileSync(join(directory, 'last-time'), text);

test('time is noted forward only; who asks for it notes it back, and the clock of the next start follows', () => {
  expect(lastTime(directory)).toBeUndefined();
  keepLastTime(directory);
  expect(Math.abs(Date.now() - lastTime(directory)!)).toBeLessThan(60_000);
  write(`${future}\n`);
  keepLastTime(directory);
  expect(readFileSync(join(directory, 'last-time'), 'utf8')).toBe(`${future}\n`);
  expect(nodeClock(directory).now()).toBeGreaterThanOrEqual(Date.parse(future));
  expect(clockProblem(directory)).toContain(future);
  noteTime(directory);
  expect(nodeClock(directory).now()).toBeLessThan(Date.parse(future));
  expect(clockProblem(directory)).toBeUndefined();
});

test.each(['', 'soon\n', '\0\0\0\0'])('what is no time is as if none was noted: %j', (text) => {
  write(text);
  expect(lastTime(directory)).toBeUndefined();
});
