import { describe, expect, test } from 'vitest';
import { recordedLines } from '../../crush/recorded.testing.ts';
import { haveRecorded, type RecordedCommand, RecordedPhase, recordedMap } from '../recorded-stats.testing.ts';
import { exceptionOf, exceptions } from './recorded-exceptions.testing.ts';
import {
  answer,
  type ComparedAnswer,
  formOf,
  rawAnswer,
  recorded,
  type RecordedRun,
  recordedRuns,
  recordedView,
} from './recorded.testing.ts';

/** The phase whose statistics a recording goes with, where it has none of its own. */
const phaseOf: Readonly<Record<string, string>> = {
  'b-changes': 'b-pools-data',
  'b-errors': 'b-pools-data',
  'b-once': 'b-pools-data',
  'f-repair': 'f-scrub-error',
};

const phases = new Map<string, RecordedPhase>();

function phase(file: string): RecordedPhase {
  const name = phaseOf[file] ?? file;
  const known = phases.get(name) ?? new RecordedPhase(name);
  phases.set(name, known);
  return known;
}

const runs = haveRecorded ? recordedRuns() : [];

/** A mgr as it was when the run was made: of its times, and those of the same command in the other format. */
function viewAt({ file, command }: RecordedRun): ReturnType<typeof recordedView> {
  const same = runs.filter((run) => run.file === file && run.command === command);
  const view = recordedView(phase(file), same.map(({ run }) => run.stdout).join('\n'));
  if (command === 'balancer status') view.balancer.optimize('auto', view.stats, [], 0.05, view.time);
  return view;
}

async function compare(run: RecordedRun): Promise<{ mine: ComparedAnswer; theirs: ComparedAnswer }> {
  return { mine: await answer(viewAt(run), run.command, run.format), theirs: recorded(run.run) };
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b);

describe.skipIf(!haveRecorded)('commands are answered as by 16.2.15', () => {
  test('every recorded answer is compared, or there is a reason why not', () => {
    const compared = (how: string): number =>
      runs.filter((run) => (exceptionOf(run)?.compared ?? 'whole') === how).length;
    expect(runs.length).toBeGreaterThan(590);
    expect(compared('whole')).toBeGreaterThan(380);
    expect(compared('whole') + compared('form') + compared('no')).toBe(runs.length);
  });

  for (const run of runs) {
    const how = exceptionOf(run)?.compared;
    if (how === 'no') continue;
    test(`${run.file}: ${run.command}, ${run.format}${how === 'form' ? ', its form' : ''}`, async () => {
      const { mine, theirs } = await compare(run);
      const [got, expected] = how === 'form' ? [formOf(mine), formOf(theirs)] : [mine, theirs];
      // The order of members counts.
      expect(JSON.stringify(got, undefined, 1)).toBe(JSON.stringify(expected, undefined, 1));
    });
  }

  for (const exception of exceptions)
    for (const command of exception.commands)
      test(`the exception for ${command} is needed: ${exception.reason}`, async () => {
        const named = runs.filter((run) => run.command === command && exceptionOf(run) === exception);
        const differs = await Promise.all(
          named.map(async (run) => {
            const { mine, theirs } = await compare(run);
            return exception.compared === 'form' ? !same(mine, theirs) : !same(formOf(mine), formOf(theirs));
          }),
        );
        expect(differs).toContain(true);
      });

  /** What was recorded as JSON only, in the pretty form: the same members, and none in the compact one's place. */
  for (const run of runs.filter(({ file, format }) => file === 'b-pools-data' && format === 'json'))
    test(`${run.command}: the pretty form says the same as the compact one`, async () => {
      const compact = await rawAnswer(viewAt(run), run.command, 'json');
      const pretty = await rawAnswer(viewAt(run), run.command, 'json-pretty');
      const read = (text: string): unknown => {
        try {
          return JSON.parse(text);
        } catch {
          // A line before the JSON, or a table.
          return text.replace(/\s+/g, '');
        }
      };
      expect({ ...pretty, output: read(pretty.output) }).toEqual({ ...compact, output: read(compact.output) });
    });

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
      const view = recordedView(new RecordedPhase('b-pools-data'), '', told);
      const given = await answer(view, command, 'plain');
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
    const given = await answer(recordedView(phase), command, 'plain');
    expect([given.status, comparable(given.output as string[])]).toEqual([
      'no change',
      comparable(run.stdout.split('\n')),
    ]);
  });

  test('b-changes: balancer eval, after an OSD was moved out of the root', async () => {
    const phase = new RecordedPhase('b-pools-data');
    phase.stats.applyMap(recordedMap(100), phase.stats.stampMs);
    const given = await answer(recordedView(phase), 'balancer eval', 'plain');
    expect(given.output).toEqual(['', 'current cluster score 0.101040 (lower is better)']);
  });

  for (const name of ['c-osd-down', 'd-osd-out-recovering', 'f-scrub-error'])
    test(`${name}: everything of pg dump`, async () => {
      const phase = new RecordedPhase(name);
      const mine = pgMap(await answer(recordedView(phase), 'pg dump', 'json'));
      const theirs = pgMap(recorded(phase.find('pg dump', 'json')));
      // Upstream shows what grew in the last seconds, too.
      for (const part of ['stamp', 'pg_stats_sum', 'osd_stats_sum', 'pg_stats', 'pool_stats', 'pool_statfs'])
        expect([part, sorted(mine[part])]).toEqual([part, sorted(theirs[part])]);
    });
});

function pgMap({ output }: ComparedAnswer): Record<string, unknown> {
  return (output as { pg_map: Record<string, unknown> }).pg_map;
}

function sorted(value: unknown): unknown {
  return Array.isArray(value) ? value.map((item) => JSON.stringify(item)).sort() : value;
}
