import { expect, test } from 'vitest';
import { doctorText } from './doctor.ts';

test('why a check matters stands once, below the first of what is not well', () => {
  const text = doctorText(
    [
      {
        ...{ id: 'a', title: 'first', why: 'It matters.', result: 'fail' },
        findings: [
          { result: 'ok', text: 'x is well' },
          { result: 'warn', text: 'y is not', fix: 'mend y' },
          { result: 'fail', text: 'z is not', fix: 'mend z' },
        ],
      },
      { ...{ id: 'b', title: 'second', why: 'Never told.', result: 'ok' }, findings: [{ result: 'ok', text: 'w' }] },
    ],
    [],
    false,
  );
  expect(text.split('\n').map((line) => line.trimEnd())).toEqual([
    'ok    first   x is well',
    'warn          y is not',
    '              why: It matters.',
    '              fix: mend y',
    'FAIL          z is not',
    '              fix: mend z',
    'ok    second  w',
    '',
    '1 fail, 1 warn, 0 unknown, 2 ok',
  ]);
});
