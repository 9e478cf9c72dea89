import { describe, expect, test } from 'vitest';
import { emptyBytes, utf8 } from '../../../base/bytes.ts';
import { seededRandom } from '../../../base/random.ts';
import { emptyServiceMap } from '../../maps/servicemap.ts';
import { readArguments } from '../../mon/commands/signature.ts';
import { Refusal } from '../../mon/errno.ts';
import { pgText } from '../../wire/types.ts';
import { Balancer } from '../balancer.ts';
import { Crashes } from '../crashes.ts';
import { defaultHealthOptions } from '../health.ts';
import { ModuleOptions } from '../module-options.ts';
import { ProgressTracker } from '../progress.ts';
import { recordedLines } from '../../crush/recorded.testing.ts';
import { haveRecorded, type RecordedCommand, RecordedPhase, recordedMap } from '../recorded-stats.testing.ts';
import type { MgrView } from './context.ts';
import { mgrCommandTable } from './table.ts';

const table = mgrCommandTable();

/** As the `ceph` tool reads a command line. */
function parse(argv: readonly string[]): Record<string, unknown> {
  for (let n = argv.length; n > 0; n--) {
    const prefix = argv.slice(0, n).join(' ');
    const command = table.find(prefix)[0];
    if (command === undefined) continue;
    const out: Record<string, unknown> = { prefix };
    const rest = argv.slice(n);
    for (const { name, type, many, strings } of command.signature.arguments) {
      const next = rest[0];
      if (next === undefined) break;
      if (strings?.includes(next) === false || (type === 'CephInt' && !/^\d+$/.test(next))) continue;
      out[name] = many ? rest.splice(0) : rest.shift();
    }
    return out;
  }
  throw new Error(`no command '${argv.join(' ')}'`);
}

async function answer(
  phase: RecordedPhase,
  command: string,
  format: 'plain' | 'json',
  told: unknown[] = [],
): Promise<string> {
  const nowMs = phase.stats.stampMs;
  const hosts = phase.stats.map.osds().map((id) => ({ id, hostname: 'vm' }));
  const random = seededRandom(1);
  const mon: MgrView['mon'] = async (given) => ({
    code: 0,
    status: '',
    output: utf8(JSON.stringify(given.prefix === 'config-key dump' ? {} : hosts)),
  });
  const config = new Map<string, string>();
  const modules = new ModuleOptions(() => config, mon);
  const view: MgrView = {
    stats: phase.stats,
    options: defaultHealthOptions,
    services: emptyServiceMap,
    progress: new ProgressTracker(random),
    balancer: new Balancer(modules, random),
    crashes: new Crashes(modules, mon),
    modules,
    config,
    input: emptyBytes,
    time: { now: () => nowMs, monotonic: () => 0 },
    ready: true,
    version: '',
    nowMs: () => nowMs,
    scrub: (osd, pgs, how) => {
      told.push([osd, pgs.map(pgText), how]);
      return true;
    },
    mon,
  };
  const given = parse(command.split(' '));
  const found = table.find(given.prefix as string)[0]!;
  let status = '';
  let output: string | Uint8Array = '';
  let code = 0;
  try {
    ({ status = '', output = '' } = await found.handler!(view, readArguments(found.signature, given), format));
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    ({ errno: code, message: status, output } = error);
  }
  return JSON.stringify({ code, status, output: comparable(String(output)) });
}

/** What we do not keep, and orders that upstream leaves to a hash table. */
const leftOut = new Set(['network_ping_times', 'avail_no_missing', 'object_location_counts', 'stamp_delta']);

function comparable(text: string): unknown {
  const by =
    <T>(key: (item: T) => string) =>
    (a: T, b: T): number =>
      key(a) < key(b) ? -1 : 1;
  try {
    return JSON.parse(text, (name, value) => {
      if (leftOut.has(name)) return undefined;
      if (name === 'pg_stats' || name === 'stuck_pg_stats') return value.sort(by((pg: { pgid: string }) => pg.pgid));
      return value;
    });
  } catch {
    // A table: how long ago something was depends on when it was asked.
    return text
      .replace(/ +\d+[sm] {2}/g, ' S ')
      .split('\n')
      .sort();
  }
}

function recorded(phase: RecordedPhase, command: string, format: 'plain' | 'json'): string {
  const { rc, stdout, stderr } = phase.find(command, format);
  const status = stderr.replace(/\n$/, '').replace(/^Error \w+: /, '');
  return JSON.stringify({ code: rc, status, output: comparable(format === 'json' ? stdout.slice(1) : stdout) });
}

const always = [
  'osd blocked-by',
  'osd df name osd.0',
  'osd safe-to-destroy 0',
  'osd status',
  'pg debug degraded_pgs_exist',
  'pg debug unfound_objects_exist',
  'pg dump pgs_brief',
  'pg dump pools',
  'pg dump_pools_json',
  'pg dump_stuck',
  'service status',
];
const stop = ['osd ok-to-stop 0', 'osd ok-to-stop 1 2', 'osd safe-to-destroy 1 2', 'osd pool stats rep3'];
const stuck = ['pg dump_stuck unclean', 'pg dump_stuck undersized degraded'];
const df = ['osd df', 'osd df tree', 'osd df class hdd'];
const lists = ['pg ls', 'pg ls-by-osd 0'];

/** What was recorded while the cluster did not change between `pg dump` and the command. */
const still: Record<string, readonly string[]> = {
  'a-fresh': [
    ...always,
    'crash ls',
    'crash stat',
    'device ls',
    'fs status',
    'orch status',
    'osd pool autoscale-status',
    ...df,
    ...lists,
    'osd ok-to-stop 0',
    'osd perf',
    'osd pool stats',
    'pg dump sum',
    'pg stat',
    'progress',
    'progress json',
  ],
  'b-pools-data': [
    ...always,
    ...stop,
    ...stuck,
    ...lists,
    'osd df class hdd',
    'osd perf',
    'pg dump sum',
    'pg dump',
    'pg stat',
  ],
  'c-osd-down': [...always, ...df, 'osd perf', 'osd safe-to-destroy 1 2', 'osd pool stats rep3'],
  'e-flags-quota-mute': [...always, ...stop, ...stuck, ...df, ...lists, 'osd pool stats', 'pg dump', 'pg stat'],
  'f-scrub-error': [...always, ...stop, ...stuck, ...lists, 'osd perf', 'osd pool stats', 'pg dump sum'],
};

describe.skipIf(!haveRecorded)('commands are answered as by 16.2.15', () => {
  for (const [name, commands] of Object.entries(still)) {
    const phase = haveRecorded ? new RecordedPhase(name) : undefined;
    for (const command of commands)
      for (const format of ['plain', 'json'] as const)
        test(`${name}: ${command}, ${format}`, async () => {
          expect(await answer(phase!, command, format)).toBe(recorded(phase!, command, format));
        });
  }

  const scrubs: [command: string, code: number, status: string, told: unknown[]][] = [
    ['pg scrub 2.0', 0, 'instructing pg 2.0 on osd.2 to scrub', [[2, ['2.0'], { deep: false, repair: false }]]],
    [
      'pg deep-scrub 2.0',
      0,
      'instructing pg 2.0 on osd.2 to deep-scrub',
      [[2, ['2.0'], { deep: true, repair: false }]],
    ],
    ['pg repair 2.0', 0, 'instructing pg 2.0 on osd.2 to repair', [[2, ['2.0'], { deep: true, repair: true }]]],
    ['pg scrub 99.0', 2, 'pg 99.0 does not exist', []],
    ['osd scrub 0', 0, 'instructed osd(s) 0 to scrub', [[0, expect.arrayContaining(['7.3']), expect.anything()]]],
    [
      'osd deep-scrub all',
      0,
      'instructed osd(s) 0,1,2 to deep-scrub',
      [0, 1, 2].map((osd) => [osd, expect.anything(), { deep: true, repair: false }]),
    ],
    ['osd pool repair nopool', 2, "unrecognized pool 'nopool'", []],
  ];
  for (const [command, code, status, expected] of scrubs)
    test(`b-pools-data: ${command}`, async () => {
      const told: unknown[] = [];
      const given = JSON.parse(await answer(new RecordedPhase('b-pools-data'), command, 'plain', told));
      expect([given.code, given.status]).toEqual([code, status]);
      expect(told).toEqual(expected);
    });

  test('b-changes: osd test-reweight-by-utilization, after an OSD was moved out of the root', async () => {
    const phase = new RecordedPhase('b-pools-data');
    phase.stats.applyMap(recordedMap(100), phase.stats.stampMs);
    const command = 'osd test-reweight-by-utilization';
    const run = recordedLines<RecordedCommand>('commands/b-changes.jsonl.gz').find(
      ({ argv }) => argv.join(' ') === `ceph ${command}`,
    )!;
    // How full OSDs were was not recorded at that moment.
    const comparable = (lines: readonly string[]): string[] =>
      lines.filter((line) => !/_utilization /.test(line)).sort();
    const given = JSON.parse(await answer(phase, command, 'plain'));
    expect([given.status, comparable(given.output)]).toEqual(['no change', comparable(run.stdout.split('\n'))]);
  });

  test('b-changes: balancer eval, after an OSD was moved out of the root', async () => {
    const phase = new RecordedPhase('b-pools-data');
    phase.stats.applyMap(recordedMap(100), phase.stats.stampMs);
    const given = JSON.parse(await answer(phase, 'balancer eval', 'plain'));
    expect(given.output).toEqual(['', 'current cluster score 0.101040 (lower is better)']);
  });

  for (const name of ['c-osd-down', 'd-osd-out-recovering', 'f-scrub-error'])
    test(`${name}: everything of pg dump`, async () => {
      const phase = new RecordedPhase(name);
      const mine = JSON.parse(await answer(phase, 'pg dump', 'json')).output.pg_map;
      const theirs = JSON.parse(recorded(phase, 'pg dump', 'json')).output.pg_map;
      // Upstream shows what grew in the last seconds, and nothing of the store of an OSD that is out.
      for (const part of ['stamp', 'pg_stats_sum', 'osd_stats_sum', 'pg_stats', 'pool_stats', 'pool_statfs'])
        expect([part, sorted(mine[part])]).toEqual([part, sorted(theirs[part])]);
    });
});

function sorted(value: unknown): unknown {
  return Array.isArray(value) ? value.map((item) => JSON.stringify(item)).sort() : value;
}
