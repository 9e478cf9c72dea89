import { expect, test } from 'vitest';
import { authorityWarning } from './authority-ends.ts';

const day = 86_400_000;
const now = Date.parse('2036-01-01T00:00:00Z');
const life = (name: string, days: number) => ({ name, fromMs: 0, endsMs: now + days * day });

test.each([
  ['none here', [], undefined],
  ['a year or more', [life('server-ca', 366)], undefined],
  [
    'within a year',
    [life('client-ca', 500), life('server-ca', 300)],
    {
      text: 'the authority server-ca of the cluster ends on 2036-10-27, in 300 days: no certificate of it is good after that',
      urgent: false,
    },
  ],
  [
    'all of them, told once each; a server has some in two places',
    [life('server-ca', 80), life('server-ca', 80), life('client-ca', 81)],
    {
      text: 'the authority server-ca of the cluster, and with it client-ca, ends on 2036-03-21, in 80 days: no certificate of it is good after that',
      urgent: true,
    },
  ],
  [
    'over',
    [life('server-ca', -2)],
    {
      text: 'the authority server-ca of the cluster has ended on 2035-12-30: no certificate of it is good any more',
      urgent: true,
    },
  ],
])('the end of authorities: %s', (_case, lives, warning) => {
  expect(authorityWarning(lives, now)).toEqual(warning);
});
