import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { followFile, tailLog } from './log-tail-system.ts';

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tail-'));
  file = join(directory, 'role.log');
});
afterEach(() => rmSync(directory, { recursive: true }));

const lines = (from: number, to: number): string =>
  Array.from({ length: to - from + 1 }, (_, i) => `line ${from + i}\n`).join('');

describe('the end of a log', () => {
  test.each([
    ['', 5, ''],
    ['one\n', 5, 'one\n'],
    ['one\ntwo\nthree\n', 2, 'two\nthree\n'],
    ['one\ntwo\nthree', 2, 'two\nthree'],
    ['one\n\n\n', 2, '\n\n'],
    ['one\ntwo\n', 0, ''],
    ['one\ntwo\n', 2, 'one\ntwo\n'],
  ])('%j, %i lines: %j', (content, count, expected) => {
    writeFileSync(file, content);
    expect(tailLog(file, count).text).toBe(expected);
  });

  test('over several blocks of the file', () => {
    writeFileSync(file, lines(1, 50_000));
    expect(tailLog(file, 20_000).text).toBe(lines(30_001, 50_000));
    expect(tailLog(file, 100_000).text).toBe(lines(1, 50_000));
  });

  test('one line without an end is cut at a bound', () => {
    writeFileSync(file, Buffer.alloc(6 << 20, 'x'));
    const { text } = tailLog(file, 1);
    expect(text.length).toBeLessThanOrEqual((4 << 20) + (64 << 10));
  });

  test('goes on in what the log was cut from', () => {
    writeFileSync(`${file}.1`, lines(1, 10));
    writeFileSync(file, lines(11, 13));
    expect(tailLog(file, 5).text).toBe(lines(9, 13));
    expect(tailLog(file, 3).text).toBe(lines(11, 13));
    expect(tailLog(file, 100).text).toBe(lines(1, 13));
  });

  test('a file that is not there yet is empty', () => {
    expect(tailLog(file, 5)).toEqual({ text: '', end: { inode: 0, offset: 0 } });
  });
});

describe('following a log', () => {
  async function follower(count = 1) {
    const { text, end } = tailLog(file, count);
    let closed = 0;
    const stream = followFile(file, text, end, () => {
      closed++;
    });
    const reader = stream.getReader();
    let seen = '';
    return {
      closed: () => closed,
      cancel: () => reader.cancel(),
      until: async (what: string) => {
        while (!seen.includes(what)) seen += Buffer.from((await reader.read()).value!).toString();
        return seen;
      },
    };
  }

  test('gives what is added, also when it is replaced or cut, and ends when its reader goes', async () => {
    writeFileSync(file, lines(1, 3));
    const one = await follower();
    expect(await one.until('line 3\n')).toBe('line 3\n');
    appendFileSync(file, lines(4, 5));
    await one.until('line 5\n');
    writeFileSync(`${file}.new`, lines(6, 6));
    renameSync(`${file}.new`, file);
    await one.until('line 6\n');
    truncateSync(file, 0);
    appendFileSync(file, '7\n');
    expect(await one.until('7\n')).toBe(`${lines(3, 6)}7\n`);
    await one.cancel();
    expect(one.closed()).toBe(1);
  });

  test('a log that comes later is given from its beginning', async () => {
    const one = await follower();
    writeFileSync(file, lines(1, 2));
    expect(await one.until('line 2\n')).toBe(lines(1, 2));
    await one.cancel();
  });
});
