import * as fs from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8Text } from '../../../base/bytes.ts';
import type { MonClient } from '../../client/api.ts';
import { haveRecorded } from '../../crush/recorded.testing.ts';
import { type Run, runsOf } from '../recorded.testing.ts';
import { Harness, startRecordedCluster } from '../role.testing.ts';
import { parseLine } from '../tool.testing.ts';
import { monCommands } from './all.ts';

/**
 * Commands that change a cluster, one after another as they were recorded: a mon on loopback answers with the numbers, words and output of 16.2.15, in both formats; or the command stands
 * here, with the reason why not, and answers otherwise.
 */

const table = monCommands();

const ofMgr = 'the mgr executes it, and none runs here: its own tests have it';
const noFileSystems = 'there are no file systems';
const otherCrush = 'the hosts of the recorded cluster stood otherwise in CRUSH before that';

/** By what a command line begins with. */
const exceptions: Readonly<Record<string, string>> = {
  'fs new': noFileSystems,
  'auth get client.fs1': noFileSystems,
  'auth get-or-create mds.a': 'was made with a file of the tool (-o)',
  'config dump': 'the options that the recorded cluster had in its ceph.conf are set in the mon here',
  'config get osd.1': 'the same',
  'config log': 'numbers of versions depend on what was set before; ours says who did it',
  'config show': ofMgr,
  'config generate-minimal-conf': 'addresses and id of the cluster',
  'config-key ls': 'the history of options is not kept in keys',
  'osd crush move rack1': otherCrush,
  'osd crush rm rack9': otherCrush,
  'osd crush rule dump hddrule': otherCrush,
  'osd crush weight-set dump': otherCrush,
  'osd pool get-quota rep3': ofMgr,
  'mgr module': ofMgr,
};

/** Keys and times are new ones each time; epochs depend on what was there before. */
function normal(text: string): string {
  return text
    .trim()
    .replace(/AQ[A-Za-z0-9+/]{36}==/g, 'KEY')
    .replace(/20\d\d-\d\d-\d\dT[\d:.+]+/g, 'TIME');
}

const lineOf = ({ argv }: Run): string => argv.slice(1).join(' ');

const exceptionOf = (line: string): [start: string, why: string] | undefined =>
  Object.entries(exceptions).find(([start]) => line === start || line.startsWith(`${start} `));

describe.skipIf(!haveRecorded)('changes are answered as by 16.2.15', () => {
  const harness = new Harness();
  let admin: MonClient;
  const differed = new Set<string>();

  beforeAll(async () => {
    admin = await startRecordedCluster(harness);
    await admin.command({ prefix: 'config set', who: 'global', name: 'osd_pool_default_min_size', value: '1' });
    await admin.command({ prefix: 'osd pool create', pool: 'device_health_metrics', pg_num: 1 });
  });
  afterAll(async () => {
    await harness.stop();
    fs.rmSync(harness.data, { recursive: true, force: true });
  });

  const runs = haveRecorded ? [...runsOf('setup-pools'), ...runsOf('b-changes')] : [];
  for (const run of runs) {
    const line = lineOf(run);
    const given = run.argv[0] === 'ceph' ? parseLine(table, run.argv.slice(1)) : undefined;
    // What the tool refuses or asks somebody else.
    if (given === undefined || /no valid command found/.test(run.stderr)) continue;
    const exception = exceptionOf(line);
    test(`${line} (${run.format})${exception === undefined ? '' : `: ${exception[1]}`}`, async () => {
      const { code, output, status } = await admin.command({
        ...given,
        ...(run.format === 'json' && { format: 'json' }),
      });
      const ours = { rc: Math.max(0, -code), said: normal(status), output: normal(utf8Text(output)) };
      const said = normal(run.stderr.replace(/^Error E\w+: ?/, ''));
      const theirs = { rc: run.rc, said, output: normal(run.stdout) };
      if (exception === undefined) expect(ours).toEqual(theirs);
      else if (JSON.stringify(ours) !== JSON.stringify(theirs)) differed.add(exception[0]);
    });
  }

  test('no exception is there without need', () => {
    expect(Object.keys(exceptions).filter((start) => !differed.has(start))).toEqual([]);
  });
});
