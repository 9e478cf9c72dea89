import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { haveRecorded } from '../../crush/recorded.testing.ts';
import { recordedRoot } from '../recorded.testing.ts';
import { absentCommands } from './absent.ts';
import { monCommands } from './all.ts';
import { FLAG_MGR, FLAG_TELL } from './table.ts';

/**
 * What a real mon says of its commands, and what ours says: the same words, parameters, permissions, modules and flags. Only the sentences of the help are our own. What the
 * mgr executes is compared elsewhere.
 */

interface Description {
  sig: (string | Record<string, string | boolean>)[];
  help: string;
  module: string;
  perm: string;
  flags: number;
}

const table = monCommands();

/** Commands that are described otherwise, each with the reason. */
const exceptions: Readonly<Record<string, string>> = {
  tell: 'the tool never sends it',
  'mon add': 'mons here have no place in CRUSH',
  'fs new': 'there are no file systems: of its parameters only those that older tools know',
  'osd pool get': 'later releases have eio, which their test programs set',
  'osd pool set': 'the same',
  'osd pool application get': 'answers without a pool, as a real mon does, though the tool never asks so',
};

/** Words of `ceph tell mon.a`, which a real mon lists among all commands too; each is served or refused there. */
const toldHere = Object.values(
  JSON.parse(table.descriptions(({ flags }) => flags === FLAG_TELL)) as Record<string, Description>,
).map(wordsOf);

function wordsOf({ sig }: Description): string {
  return sig.filter((part) => typeof part === 'string').join(' ');
}

/** Without the order of a parameter's attributes, and without what says nothing. */
function comparable({ flags, module, perm, sig }: Description): unknown {
  const parameters = sig
    .filter((part) => typeof part !== 'string')
    .map((part) => {
      const entries = Object.entries(part).map(([key, value]): [string, unknown] => [
        key,
        key === 'req' ? String(value).toLowerCase() !== 'false' : value,
      ]);
      return Object.fromEntries(entries.filter(([key, value]) => key !== 'req' || value === false));
    });
  return { flags, module, perm, parameters };
}

/** Of commands with the same words, in an order that does not depend on the tables. */
function sorted(some: readonly Description[]): unknown[] {
  return some.map(comparable).sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

/** Refused by name, alone or with all that begin so. */
function isAbsent(words: string): boolean {
  const prefixes = absentCommands.map(({ signature }) => signature.replace(/ name=.*$/, ''));
  if (table.find(words).length > 0) return prefixes.includes(words);
  return prefixes.some((prefix) => words === prefix || words.startsWith(`${prefix} `));
}

describe.skipIf(!haveRecorded)('commands are described as by 16.2.15', () => {
  const recorded = haveRecorded
    ? Object.values(
        JSON.parse(gunzipSync(readFileSync(`${recordedRoot}descriptions/mon.json.gz`)).toString()) as Record<
          string,
          Description
        >,
      ).filter(({ flags }) => (flags & FLAG_MGR) === 0)
    : [];
  const ours = Object.values(JSON.parse(table.descriptions()) as Record<string, Description>);

  for (const [words, theirs] of Map.groupBy(recorded, wordsOf)) {
    const same = sorted(ours.filter((one) => wordsOf(one) === words));
    const absent = isAbsent(words) ? 'it is not here, and refused by name' : undefined;
    const why = exceptions[words] ?? absent;
    test(`${words}${why === undefined ? '' : `: ${why}`}`, () => {
      if (theirs.every(({ flags }) => flags === FLAG_TELL))
        expect([words, toldHere.some((told) => words === told || words.startsWith(`${told} `))]).toEqual([words, true]);
      else if (why === undefined) expect(same).toEqual(sorted(theirs));
      else expect(same).not.toEqual(sorted(theirs));
    });
  }

  test('each has words of help', () => {
    expect(ours.filter(({ help }) => help === '').map(wordsOf)).toEqual([]);
  });

  test('what a real mon does not have is hidden from the tool', () => {
    const known = new Set(recorded.map(wordsOf));
    const own = ours.filter(
      (one) => !known.has(wordsOf(one)) && (one.flags & FLAG_MGR) === 0 && !isAbsent(wordsOf(one)),
    );
    expect(own.filter(({ flags }) => (flags & 32) === 0).map(wordsOf)).toEqual([]);
  });
});
