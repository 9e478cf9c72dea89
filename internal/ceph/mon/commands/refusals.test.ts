import * as fs from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { MonClient } from '../../client/api.ts';
import { haveRecorded, recordedLines } from '../../crush/recorded.testing.ts';
import type { Run } from '../recorded.testing.ts';
import { Harness, startRecordedCluster } from '../role.testing.ts';
import { parseLine } from '../tool.testing.ts';
import { monCommands } from './all.ts';

/** Wrong uses of commands: a mon on loopback answers with the numbers and words of 16.2.15. */

const table = monCommands();

/** Why an answer is another one; by what the command begins with. */
const others: Readonly<Record<string, string>> = {
  'osd pool rm cephfs_data': 'there are no file systems that could use it',
  'osd pool mksnap rbd s1': 'the pool has no images here, which make it one of unmanaged snapshots',
  'osd erasure-code-profile set bad plugin=nosuch': 'plugins are not files that could be missing',
  'fs new': 'there are no file systems',
  'config set osd osd_max_backfills abc': 'says what was expected instead of the name of a function',
  'config set mon. fsid x': 'fsid is no option here',
  'config show': 'the mgr executes it, and none runs here: its own test has the words',
};

describe.skipIf(!haveRecorded)('wrong uses are refused as by 16.2.15', () => {
  const harness = new Harness();
  let admin: MonClient;

  const run = async (argv: readonly string[]): Promise<{ rc: number; text: string } | undefined> => {
    const given = parseLine(table, argv.slice(1));
    if (given === undefined) return undefined;
    const { code, status } = await admin.command(given);
    return { rc: Math.max(0, -code), text: status.trim() };
  };

  beforeAll(async () => {
    admin = await startRecordedCluster(harness);
    for (const { argv } of recordedLines<Run>('commands/setup-pools.jsonl')) await run(argv);
  });
  afterAll(async () => {
    await harness.stop();
    fs.rmSync(harness.data, { recursive: true, force: true });
  });

  const runs = haveRecorded ? recordedLines<Run>('commands/b-errors.jsonl') : [];
  const texts = runs.map(({ argv }) => argv.slice(1).join(' '));

  test('each exception is of a command that was recorded', () => {
    for (const start of Object.keys(others))
      expect([start, texts.some((text) => text.startsWith(start))]).toEqual([start, true]);
  });

  for (const [i, { argv, rc, stderr }] of runs.entries()) {
    const text = texts[i]!;
    const byTheTool = /Invalid command|no valid command found/.test(stderr);
    if (argv[0] !== 'ceph' || argv[1]!.startsWith('-') || byTheTool || parseLine(table, argv.slice(1)) === undefined)
      continue;
    const why = Object.entries(others).find(([start]) => text.startsWith(start))?.[1];
    const said = stderr.replace(/^Error E\w+: ?/, '').trim();
    test.skipIf(why !== undefined)(`${text}${why === undefined ? '' : `: ${why}`}`, async () => {
      expect(await run(argv)).toEqual({ rc, text: said });
    });
  }
});
