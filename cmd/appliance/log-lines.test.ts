import { describe, expect, test } from 'vitest';
import { logLine, mergeLogs, parseLogLines, parseSince, wholeLines } from './log-lines.ts';

const at = (second: number): string => `2026-01-01T00:00:${String(second).padStart(2, '0')}.000Z`;

describe('logs', () => {
  test('our lines and containerd’s; a stack belongs to the message before it', () => {
    expect(
      parseLogLines('mon', [`${at(1)} error it failed error="x"`, '    at f (a.ts:1)', 'more', `${at(2)} info  ok`]),
    ).toEqual([
      {
        instance: 'mon',
        timeMs: Date.parse(at(1)),
        level: 'error',
        text: 'it failed error="x"\n    at f (a.ts:1)\nmore',
      },
      { instance: 'mon', timeMs: Date.parse(at(2)), level: 'info', text: 'ok' },
    ]);
    expect(parseLogLines('containerd', ['time="2026-01-01T00:00:03Z" level=warning msg="slow"'])).toEqual([
      { instance: 'containerd', timeMs: Date.parse(at(3)), level: 'warn', text: 'msg="slow"' },
    ]);
    expect(parseLogLines('mon', ['no time'])).toEqual([
      { instance: 'mon', timeMs: undefined, level: undefined, text: 'no time' },
    ]);
  });

  test('a line that is being written waits for its end', () => {
    expect(wholeLines('a\nb\nc')).toEqual({ lines: ['a', 'b'], rest: 'c' });
    expect(wholeLines('a\n')).toEqual({ lines: ['a'], rest: '' });
    expect(wholeLines('')).toEqual({ lines: [], rest: '' });
  });

  test('logs are merged by time; a clock that was set back does not reorder one log', () => {
    const a = parseLogLines('a', [`${at(5)} info  a5`, `${at(1)} info  a1`, `${at(7)} info  a7`]);
    const b = parseLogLines('b', [`${at(2)} info  b2`, `${at(6)} info  b6`]);
    expect(mergeLogs([a, b]).map(({ text }) => text)).toEqual(['b2', 'a5', 'a1', 'b6', 'a7']);
    expect(mergeLogs([])).toEqual([]);
  });

  test.each([
    ['90s', 910_000],
    ['1h30m', 1_000_000 - 5_400_000],
    ['1970-01-01T00:00:30Z', 30_000],
  ])('--since %s', (text, expected) => expect(parseSince(text, 1_000_000)).toBe(expected));

  test.each(['', 'yesterday', '10', '-5m', '5 m'])('--since %j is refused', (text) => {
    expect(() => parseSince(text, 0)).toThrow('--since takes a duration such as 10m');
  });

  test('for people', () => {
    const [entry] = parseLogLines('osd.0', [`${at(1)} warn  slow ms=5`]);
    expect(logLine(entry!, false)).toBe(`${at(1)} osd.0      warn  slow ms=5`);
    expect(logLine(entry!, true)).toBe(`${at(1)} warn  slow ms=5`);
  });
});
