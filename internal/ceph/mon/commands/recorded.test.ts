import { gunzipSync } from 'node:zlib';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { silentLogger } from '../../../base/log.ts';
import { seededRandom } from '../../../base/random.ts';
import type { Store } from '../../../store/api.ts';
import { haveRecorded } from '../../crush/recorded.testing.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { Mon } from '../mon.ts';
import { recordedState } from '../recorded-state.testing.ts';
import {
  answerOf,
  findRun,
  loadedOf,
  recordedMaps,
  recordedRoot,
  type Run,
  runsOf,
  soleGroup,
} from '../recorded.testing.ts';
import { parseLine } from '../tool.testing.ts';
import { readUpstreamOptions } from '../upstream-options-system.ts';
import { monCommands } from './all.ts';
import type { CommandContext } from './dispatch.ts';
import { readArguments } from './signature.ts';
import { FLAG_MGR } from './table.ts';

/**
 * Every command of the mon that was recorded in the six states of a real cluster is run on the state of that time, in both formats, and answers the same; or it
 * stands here, with the reason why not, and differs.
 */

const table = monCommands();

const inStatusTest = 'made of the statistics of the mgr: format/status.test.ts compares it';
const noFileSystems = 'there are no file systems';
const notRecorded = 'made of the past of the cluster, which is not part of the recorded state';
const changes = 'it changes the cluster: refusals.test.ts runs it';

/** By what a command line begins with. The first that fits counts. */
const exceptions: Readonly<Record<string, string>> = {
  '-s': inStatusTest,
  status: inStatusTest,
  df: inStatusTest,
  health: inStatusTest,
  'osd pool get-quota rep3': inStatusTest,
  'osd last-stat-seq': 'made of the statistics of the mgr',
  'fs ls': noFileSystems,
  'fs dump': noFileSystems,
  'fs get cephfs': noFileSystems,
  'fs feature ls': noFileSystems,
  'mds stat': noFileSystems,
  'mds metadata': noFileSystems,
  'mds versions': noFileSystems,
  'mds compat show': noFileSystems,
  versions: noFileSystems,
  'node ls': noFileSystems,
  'osd tier cache-mode': 'there are no cache tiers',
  'log last': notRecorded,
  'log stat': notRecorded,
  'config log': notRecorded,
  'config-key': 'keys of modules that are not here',
  features: 'made of who is connected',
  'osd metadata 0': 'the store holds what that OSD said when it started last, which is later',
  'mgr module ls': 'modules that are not here are not always on',
  'osd set-require-min-compat-client': changes,
  tell: 'commands of one daemon: their own tests have them',
};

/** What no two runs have in common: ages, and the order of a hash table. */
function normal(line: string, text: string): string {
  const aged = text
    .replace(/\b(since|age) \d\w*/g, '$1')
    .replace(/("quorum_age": ?)\d+/g, '$1')
    .replace(/("(?:blocklist|range_blocklist)":)\{[^}]*\}/g, '$1{}');
  if (line.startsWith('osd dump') && !text.startsWith('{')) return aged.split('\n').sort().join('\n');
  if (line === 'osd blocklist ls') {
    const entries = text.startsWith('[') ? (text.match(/\{[^}]*\}/g) ?? []) : text.split('\n');
    return entries.sort().join('\n');
  }
  return aged;
}

const states = [
  'a-fresh',
  'b-pools-data',
  'c-osd-down',
  'd-osd-out-recovering',
  'e-flags-quota-mute',
  'f-scrub-error',
] as const;

/** Prefixes that a real mon answers itself. */
function ownPrefixes(): Set<string> {
  const bytes = gunzipSync(readFileSync(`${recordedRoot}descriptions/mon.json.gz`));
  const all = Object.values(JSON.parse(bytes.toString()) as Record<string, { sig: unknown[]; flags: number }>);
  const words = (sig: unknown[]): string => sig.filter((part) => typeof part === 'string').join(' ');
  return new Set(all.filter(({ flags }) => (flags & FLAG_MGR) === 0).map(({ sig }) => words(sig)));
}

function isOwn(line: string, own: ReadonlySet<string>): boolean {
  if (line === '-s') return true;
  const words = line.split(' ');
  // The longest match counts, as the tool has it; the mgr has `osd pool stats`, the mon `osd pool ls`.
  for (let n = words.length; n > 0; n--) {
    const prefix = words.slice(0, n).join(' ');
    if (own.has(prefix)) return true;
    if (table.find(prefix).length > 0) return false;
  }
  return false;
}

function monOf(state: ReturnType<typeof recordedState>): Mon {
  return new Mon({
    name: 'a',
    // Only read-only commands are run.
    store: {} as Store,
    group: soleGroup,
    addrs: state.monmap.mons[0]!.addrs,
    peerPort: 0,
    clock: { now: () => 0, monotonic: () => 0, after: () => ({ cancel: () => undefined }) },
    random: seededRandom(1),
    log: silentLogger,
    loaded: loadedOf(state),
    metadata: new Map(),
    upstreamOptions: readUpstreamOptions,
  });
}

async function answer(mon: Mon, run: Run): Promise<string> {
  const given = parseLine(table, run.argv.slice(1));
  if (given === undefined) return 'the command is not here';
  const { prefix, ...args } = given;
  const [command] = table.find(String(prefix));
  const context: CommandContext = {
    mon,
    caller: { entity: 'client.admin', from: '', may: () => true },
    input: new Uint8Array(0),
  };
  try {
    const result = await command!.handler!(context, readArguments(command!.signature, args), run.format);
    return typeof result.output === 'string' ? result.output : '';
  } catch (error) {
    return `refused: ${(error as Error).message}`;
  }
}

/** The map at the time of a run: the epoch that the answer names, or that of the whole recording. */
function mapOf(maps: ReadonlyMap<number, OsdMap>, { stdout }: Run, fallback: number): OsdMap | undefined {
  const named =
    /"epoch":(\d+),"(?:fsid":"[\w-]+","created|pool)"/.exec(stdout)?.[1] ??
    /osdmap e(\d+) /.exec(stdout)?.[1] ??
    /^epoch (\d+)\nfsid .*\ncreated .*\nmodified .*\nflags/.exec(stdout)?.[1];
  return maps.get(named === undefined ? fallback : Number(named)) ?? maps.get(fallback);
}

const exceptionOf = (line: string): [start: string, why: string] | undefined =>
  Object.entries(exceptions).find(([start]) => line === start || line.startsWith(`${start} `));

describe.skipIf(!haveRecorded)('commands answer as 16.2.15 did', () => {
  const maps = haveRecorded ? recordedMaps() : new Map<number, OsdMap>();
  const own = haveRecorded ? ownPrefixes() : new Set<string>();
  const differed = new Set<string>();

  for (const file of haveRecorded ? states : []) {
    const runs = runsOf(file);
    const { epoch } = JSON.parse(answerOf(findRun(runs, 'osd stat', 'json')!)) as { epoch: number };
    const mons = new Map<OsdMap, Mon>();
    const monAt = (map: OsdMap): Mon => {
      const mon = mons.get(map) ?? monOf(recordedState(runs, map));
      mons.set(map, mon);
      return mon;
    };
    const lines = Map.groupBy(
      runs.filter(({ argv }) => argv[0] === 'ceph' && isOwn(argv.slice(1).join(' '), own)),
      ({ argv }) => argv.slice(1).join(' '),
    );
    for (const [line, both] of lines) {
      const exception = exceptionOf(line);
      test(`${file}: ${line}${exception === undefined ? '' : `: ${exception[1]}`}`, async () => {
        expect(both.map(({ format }) => format).sort()).toEqual(['json', 'plain']);
        for (const run of both) {
          const map = mapOf(maps, run, epoch)!;
          const [ours, theirs] = [await answer(monAt(map), run), answerOf(run)];
          if (exception === undefined) expect(normal(line, ours)).toBe(normal(line, theirs));
          else if (normal(line, ours) !== normal(line, theirs)) differed.add(exception[0]);
        }
      });
    }
  }

  test('no exception is there without need', () => {
    expect(Object.keys(exceptions).filter((start) => !differed.has(start) && start !== 'tell')).toEqual([]);
  });
});
