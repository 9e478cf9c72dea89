import { expect, test } from 'vitest';
import { GtestOutput, KnownResults, testNames } from './gtest.ts';

test('names: suites with their tests, without the remarks behind them', () => {
  const listing =
    'did not load config\nLibRadosIo.\n  SimpleWrite\n  Read\nParam/Suite.  # TypeParam = x\n  A/0  # GetParam() = 1\n';
  expect(testNames(listing)).toEqual(['LibRadosIo.SimpleWrite', 'LibRadosIo.Read', 'Param/Suite.A/0']);
});

test('outcomes: a mark behind what a test printed counts, the summary at the end does not', () => {
  const output = new GtestOutput();
  const text = `[ RUN      ] S.One
some text[       OK ] S.One (3 ms)
[ RUN      ] S.Two
expected 1
[  FAILED  ] S.Two, where GetParam() = 1 (4 ms)
[ RUN      ] S.Three
[  SKIPPED ] S.Three (0 ms)
[----------] 3 tests
[  FAILED  ] S.Two, where GetParam() = 1`;
  for (const line of text.split('\n')) output.line(line);
  output.end('failed');
  expect(Object.fromEntries(output.outcomes)).toEqual({ 'S.One': 'passed', 'S.Two': 'failed', 'S.Three': 'skipped' });
  expect(output.said.get('S.Two')).toEqual(['expected 1']);
});

test('outcomes: the test in which the program ended did not pass', () => {
  const output = new GtestOutput();
  output.line('[ RUN      ] S.One');
  output.end('hung');
  expect(output.outcomes.get('S.One')).toBe('hung');
});

test('known results: names with stars, with their reason', () => {
  const known = new KnownResults('# remark\n\nS.One no disk\n*EC*.*  needs coding\n');
  expect(known.reason('S.One')).toBe('no disk');
  expect(known.reason('S.OneMore')).toBeUndefined();
  expect(known.reason('LibRadosIoECPP.Read/0')).toBe('needs coding');
});
