import { mkdtempSync, readdirSync, rmSync, writeFileSync, appendFileSync, renameSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { utf8, utf8Text } from '../../../base/bytes.ts';
import { silentLogger } from '../../../base/log.ts';
import { systemClock } from '../../../base/system.ts';
import { LineSplitter, LogFilter, type LogOptions, parseLogLine } from './cri-log.ts';
import type { RuntimeContainer } from '../pod/runtime.ts';
import { rotateIfLong } from './log-rotation-shell.ts';
import { logTail, readLog } from './log-reader-shell.ts';

const stamp = (s: number): string => `2026-11-21T00:00:${String(s).padStart(2, '0')}.000000001Z`;
const line = (s: number, text: string, stream = 'stdout', tag = 'F'): string =>
  `${stamp(s)} ${stream} ${tag} ${text}\n`;

function filter(options: Partial<LogOptions>, lines: string[]): string {
  const f = new LogFilter({ follow: false, timestamps: false, ...options });
  return lines
    .map((text) => f.take(parseLogLine(utf8(text.slice(0, -1)))!))
    .map((out) => (out ? utf8Text(out) : ''))
    .join('');
}

describe('container logs', () => {
  test('full lines and pieces', () => {
    expect(filter({}, [line(1, 'a', 'stdout', 'P'), line(1, 'b'), line(2, '')])).toBe('ab\n\n');
    expect(parseLogLine(utf8('rubbish'))).toBeUndefined();
    expect(parseLogLine(utf8('x y z'))).toBeUndefined();
  });

  test('timestamps stand before whole lines only', () => {
    expect(filter({ timestamps: true }, [line(1, 'a', 'stdout', 'P'), line(2, 'b'), line(3, 'c')])).toBe(
      `${stamp(1)} ab\n${stamp(3)} c\n`,
    );
  });

  test('since, stream and limit', () => {
    const lines = [line(1, 'a'), line(2, 'b', 'stderr'), line(3, 'c')];
    expect(filter({ sinceMs: Date.parse(stamp(2)) }, lines)).toBe('b\nc\n');
    expect(filter({ stream: 'stderr' }, lines)).toBe('b\n');
    expect(filter({ limitBytes: 1 }, lines)).toBe('a');
  });

  test('lines are cut wherever the reads end', () => {
    const splitter = new LineSplitter();
    expect([...'ab\ncd\ne'].flatMap((c) => splitter.push(utf8(c))).map(utf8Text)).toEqual(['ab', 'cd']);
  });

  const directory = mkdtempSync(join(tmpdir(), 'crilog-'));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  async function collect(options: Partial<LogOptions>, alive: () => boolean = () => false): Promise<string> {
    let out = '';
    const pieces = readLog(
      join(directory, '0.log'),
      { follow: false, timestamps: false, ...options },
      systemClock,
      alive,
      new AbortController().signal,
    );
    for await (const piece of pieces) out += utf8Text(piece);
    return out;
  }

  test('the last lines of a file', async () => {
    const file = join(directory, '0.log');
    writeFileSync(file, [1, 2, 3, 4].map((n) => line(n, `l${n}`)).join(''));
    expect(await collect({ tailLines: 2 })).toBe('l3\nl4\n');
    expect(await collect({ tailLines: 0 })).toBe('');
    expect(await collect({ tailLines: 99 })).toBe('l1\nl2\nl3\nl4\n');
    expect(await logTail(file, 100, 1)).toBe('l4\n');
    expect(await logTail(file, 2, 10)).toBe('4\n');
  });

  test('a long log is set aside, older ones are packed, the oldest go', async () => {
    const file = join(directory, 'rot.log');
    let reopened = 0;
    const container = { id: 'x', logPath: file } as RuntimeContainer;
    let now = Date.parse('2026-11-21T00:00:00Z');
    const clock = { ...systemClock, now: () => now };
    const options = { running: () => [], reopen: async () => void reopened++, clock, log: silentLogger, maxBytes: 10 };
    for (let round = 0; round < 7; round++) {
      writeFileSync(file, line(round, 'x'.repeat(20)));
      now += 1000;
      expect(await rotateIfLong(options, container)).toBe(true);
    }
    expect(reopened).toBe(7);
    expect(
      readdirSync(directory)
        .filter((name) => name.startsWith('rot.log'))
        .sort(),
    ).toEqual([
      'rot.log.20261121-000004.gz',
      'rot.log.20261121-000005.gz',
      'rot.log.20261121-000006.gz',
      'rot.log.20261121-000007',
    ]);
    writeFileSync(file, 'short');
    expect(await rotateIfLong(options, container)).toBe(false);
  });

  test('follow goes on through a rotation until the container has ended', async () => {
    const file = join(directory, '0.log');
    writeFileSync(file, line(1, 'a'));
    let alive = true;
    const reading = collect({ follow: true }, () => alive);
    await Bun.sleep(300);
    appendFileSync(file, line(2, 'b'));
    await Bun.sleep(300);
    renameSync(file, `${file}.1`);
    writeFileSync(file, line(3, 'c'));
    await Bun.sleep(300);
    alive = false;
    expect(await reading).toBe('a\nb\nc\n');
  });
});
