import * as fs from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8Text } from '../../../base/bytes.ts';
import type { MonClient } from '../../client/api.ts';
import { haveRecorded, recordedLines } from '../../crush/recorded.testing.ts';
import { MOSDBoot } from '../../wire/messages/osd_mon.ts';
import type { Run } from '../recorded.testing.ts';
import { Harness, osdBoot } from '../role.testing.ts';
import { absentCommands } from './absent.ts';
import { monCommands } from './all.ts';
import type { Signature } from './signature.ts';

/** Wrong uses of commands: a mon on loopback answers with the numbers and words of 16.2.15. */

const table = monCommands();
const absent = new Set(absentCommands.map(({ signature }) => signature.replace(/ name=.*$/, '')));

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

/** As the `ceph` tool reads a command line; undefined for what it refuses by itself, or what the mon does not execute. */
function parse(argv: readonly string[]): Record<string, unknown> | undefined {
  for (let n = argv.length; n > 0; n--) {
    const prefix = argv.slice(0, n).join(' ');
    const found = table.find(prefix);
    if (found.length === 0) continue;
    if (absent.has(prefix) || found[0]!.handler === undefined) return undefined;
    for (const { signature } of found) {
      const given = read(signature, argv.slice(n));
      if (given !== undefined) return { prefix, ...given };
    }
    return undefined;
  }
  return undefined;
}

function read({ arguments: wanted }: Signature, words: readonly string[]): Record<string, unknown> | undefined {
  const out: Record<string, unknown> = {};
  const flags = words.filter((word) => /^--[a-z]/.test(word));
  const rest = words.filter((word) => !flags.includes(word));
  for (const flag of flags) {
    const name = flag.slice(2).replaceAll('-', '_');
    const argument = wanted.find((one) => one.name === name || one.strings?.includes(flag));
    if (argument === undefined) return undefined;
    out[argument.name] = argument.type === 'CephBool' ? true : flag;
  }
  for (const { many, name, range, required, strings, type } of wanted) {
    if (out[name] !== undefined || type === 'CephBool') continue;
    const [next] = rest;
    const isNumber = type === 'CephInt' || type === 'CephFloat';
    const outside = range !== undefined && (Number(next) < range[0]! || Number(next) > (range[1] ?? Infinity));
    const fits =
      next !== undefined &&
      strings?.includes(next) !== false &&
      !(isNumber && (Number.isNaN(Number(next)) || outside)) &&
      !(type === 'CephPgid' && !/^\d+\.[0-9a-f]+$/.test(next));
    if (!fits) {
      if (required) return undefined;
      continue;
    }
    const value = (word: string): unknown => (isNumber ? Number(word) : word);
    out[name] = many ? rest.splice(0).map(value) : value(rest.shift()!);
  }
  return rest.length > 0 ? undefined : out;
}

describe.skipIf(!haveRecorded)('wrong uses are refused as by 16.2.15', () => {
  const harness = new Harness();
  let admin: MonClient;

  const run = async (argv: readonly string[]): Promise<{ rc: number; text: string } | undefined> => {
    const given = parse(argv.slice(1));
    if (given === undefined) return undefined;
    const { code, status } = await admin.command(given);
    return { rc: Math.max(0, -code), text: status.trim() };
  };

  beforeAll(async () => {
    await harness.start();
    admin = await harness.client('client.admin');
    for (const osdId of [0, 1, 2]) {
      const osd = await harness.client(`osd.${osdId}`);
      osd.send(MOSDBoot, osdBoot(osdId, { port: 31_000 + osdId * 10, host: 'vm', weightTiB: 0.006 }));
    }
    for (let n = 0; n < 200; n++) {
      const stat = utf8Text((await admin.command({ prefix: 'osd stat' })).output);
      if (stat.includes('3 up')) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    for (const name of ['mon_allow_pool_delete', 'mon_allow_pool_size_one'])
      await admin.command({ prefix: 'config set', who: 'global', name, value: 'true' });
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
    if (argv[0] !== 'ceph' || argv[1]!.startsWith('-') || byTheTool || parse(argv.slice(1)) === undefined) continue;
    const why = Object.entries(others).find(([start]) => text.startsWith(start))?.[1];
    const said = stderr.replace(/^Error E\w+: ?/, '').trim();
    test.skipIf(why !== undefined)(`${text}${why === undefined ? '' : `: ${why}`}`, async () => {
      expect(await run(argv)).toEqual({ rc, text: said });
    });
  }
});
