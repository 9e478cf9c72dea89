import { appendFileSync, closeSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { tailLog } from './log-tail-system.ts';
import { cutLog, earlierLog, maxLogBytes, openLog } from './role-log-system.ts';

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'role-log-'));
  file = join(directory, 'mon.log');
});
afterEach(() => rmSync(directory, { recursive: true }));

const line = (number: number): string => `line ${String(number).padStart(94, '0')}\n`;
const perCut = Math.ceil(maxLogBytes / line(0).length) + 1;

describe('a log that a process has open', () => {
  test('is left alone up to its bound', () => {
    appendFileSync(file, Buffer.alloc(maxLogBytes, 'x'));
    cutLog(file);
    expect(statSync(file).size).toBe(maxLogBytes);
    expect(existsSync(earlierLog(file))).toBe(false);
  });

  test('is cut beyond it while the process writes on, and no line is lost', () => {
    const log = openLog(file);
    let next = 0;
    for (let cut = 0; cut < 3; cut++) {
      for (let i = 0; i < perCut; i++) writeSync(log, line(next++));
      cutLog(file);
      expect(statSync(file).size).toBe(0);
    }
    writeSync(log, line(next++));
    closeSync(log);
    expect(readFileSync(file, 'utf8')).toBe(line(next - 1));
    const kept = statSync(earlierLog(file)).size + statSync(file).size;
    expect(kept).toBeLessThanOrEqual(2 * maxLogBytes);
    const last = tailLog(file, 1000).text;
    expect(last).toBe(Array.from({ length: 1000 }, (_, i) => line(next - 1000 + i)).join(''));
  });

  test('of a process that wrote very much at once only the newest part is kept', () => {
    appendFileSync(file, Array.from({ length: 5 * perCut }, (_, i) => line(i)).join(''));
    closeSync(openLog(file));
    expect(statSync(file).size).toBe(0);
    expect(statSync(earlierLog(file)).size).toBe(maxLogBytes);
    expect(readFileSync(earlierLog(file), 'utf8').endsWith(line(5 * perCut - 1))).toBe(true);
  });

  test('one that is not there yet is nothing', () => {
    cutLog(file);
    expect(existsSync(file)).toBe(false);
  });
});
