import { expect, test } from 'vitest';
import { OpHistory } from './op-history.ts';

const named = (description: string) => () => ({ description, initiatedAtMs: 0, stage: 'done' });
/** So many requests of the last second, slow from 100 ms on. */
const ofSize = (size: number): OpHistory =>
  new OpHistory(() => ({
    opHistorySize: size,
    opHistoryDuration: 1,
    opHistorySlowOpSize: size,
    opHistorySlowOpThreshold: 0.1,
  }));
const names = (ops: readonly { description: string }[]): string => ops.map(({ description }) => description).join('');

test('the slowest stay, and what is not kept is not described', () => {
  const history = ofSize(3);
  for (const [i, ms] of [5, 9, 1, 7].entries()) history.add(ms, i, named(String(ms)));
  expect(names(history.slowest(4))).toBe('975');
  history.add(4, 5, () => {
    throw new Error('described');
  });
  expect(names(history.slowest(5))).toBe('975');
});

test('old ones make room for faster new ones', () => {
  const history = ofSize(2);
  history.add(50, 0, named('a'));
  history.add(60, 500, named('b'));
  history.add(1, 1200, named('c'));
  expect(names(history.slowest(1200))).toBe('bc');
  expect(names(history.slowest(1600))).toBe('c');
});

test('those above the threshold are kept apart, in their order', () => {
  const history = ofSize(2);
  for (const [i, ms] of [150, 300, 100, 20].entries()) history.add(ms, i, named(`${ms} `));
  expect(names(history.slow(4))).toBe('300 100 ');
  expect(names(history.slowest(4))).toBe('300 150 ');
});
