import { emptyBytes, utf8, utf8Text } from '../../../base/bytes.ts';
import { seededRandom } from '../../../base/random.ts';
import { recordedJson, recordedLines, recordedNames } from '../../crush/recorded.testing.ts';
import type { ServiceMap } from '../../maps/servicemap.ts';
import { readArguments } from '../../mon/commands/signature.ts';
import { ENOENT, Refusal } from '../../mon/errno.ts';
import type { OutputFormat } from '../../mon/format/json.ts';
import { cephVersion } from '../../mon/version.ts';
import { pgText } from '../../wire/types.ts';
import { Balancer } from '../balancer.ts';
import { Crashes } from '../crashes.ts';
import { defaultHealthOptions } from '../health.ts';
import { Devices } from '../devices.ts';
import { HealthHistory } from '../health-history.ts';
import { ModuleOptions } from '../module-options.ts';
import { ProgressTracker } from '../progress.ts';
import { parseTime, type RecordedCommand, type RecordedPhase } from '../recorded-stats.testing.ts';
import type { MgrView } from './context.ts';
import { mgrCommandTable } from './table.ts';

const table = mgrCommandTable();

/** As the `ceph` tool reads a command line. Undefined: the mgr has no such command. */
function parse(argv: readonly string[]): Record<string, unknown> | undefined {
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
  return undefined;
}

/** A mon that answers what the recorded one did in the same phase. */
function recordedMon(phase: RecordedPhase): MgrView['mon'] {
  return async ({ prefix, who, id, key, name, value }) => {
    const words = [prefix, who, id, key].filter((word) => word !== undefined).join(' ');
    const done = (output: string) => ({ code: 0, status: '', output: utf8(output) });
    if (words === 'osd metadata')
      return done(JSON.stringify(phase.stats.map.osds().map((osd) => ({ id: osd, hostname: 'vm' }))));
    if (words.startsWith('config-key dump')) return done('{}');
    if (name !== undefined && value !== undefined) return done('');
    const run = phase.commands.find(({ argv, format }) => format === 'json' && argv.slice(1).join(' ') === words);
    if (run === undefined) return { code: -ENOENT, status: 'not recorded', output: emptyBytes };
    return { code: -run.rc, status: '', output: utf8(run.stdout.trimStart()) };
  };
}

/** The map of services is in no other recorded answer than the one that shows it. */
function recordedServices(phase: RecordedPhase): ServiceMap {
  const { epoch, modified } = JSON.parse(phase.output('service dump', 'json')) as { epoch: number; modified: string };
  return { epoch, modified: parseTime(modified), services: new Map() };
}

/** What the mons' configuration said for the mgr. */
function recordedConfig(phase: RecordedPhase): Map<string, string> {
  const all = JSON.parse(phase.output('config dump', 'json')) as { section: string; name: string; value: string }[];
  return new Map(
    all.filter(({ section }) => ['global', 'mgr'].includes(section)).map(({ name, value }) => [name, value]),
  );
}

/** A mgr that knows what the recorded one did when it answered `asked`. `told`: what OSDs are told to scrub. */
export function recordedView(phase: RecordedPhase, asked = '', told: unknown[] = []): MgrView {
  // Not before the newest time that the answer names.
  const times = [...asked.matchAll(/\d{4}-\d\d-\d\dT[\d:]+\.\d+/g)].map(([time]) => Date.parse(`${time}Z`));
  const nowMs = Math.max(phase.stats.stampMs, ...times);
  const random = seededRandom(1);
  const mon = recordedMon(phase);
  const config = recordedConfig(phase);
  const modules = new ModuleOptions(() => config, mon);
  const time = { now: () => nowMs, monotonic: () => 0 };
  return {
    stats: phase.stats,
    options: defaultHealthOptions,
    services: recordedServices(phase),
    progress: new ProgressTracker(random),
    balancer: new Balancer(modules, random),
    devices: new Devices(modules, mon),
    history: new HealthHistory(mon),
    metricsPort: 9283,
    crashes: new Crashes(modules, mon),
    modules,
    config,
    input: emptyBytes,
    time,
    ready: true,
    version: cephVersion,
    nowMs: () => nowMs,
    forceRecovery: (osd, pgs, what, wanted) => {
      told.push([osd, pgs.map(pgText), what, wanted]);
      return true;
    },
    scrub: (osd, pgs, how) => {
      told.push([osd, pgs.map(pgText), how]);
      return true;
    },
    mon,
  };
}

export interface ComparedAnswer {
  code: number;
  status: string;
  output: unknown;
}

/** What this mgr answers, made comparable. */
export async function answer(view: MgrView, command: string, format: OutputFormat): Promise<ComparedAnswer> {
  const raw = await rawAnswer(view, command, format);
  return { ...raw, output: comparable(raw.output) };
}

export async function rawAnswer(
  view: MgrView,
  command: string,
  format: OutputFormat,
): Promise<{ code: number; status: string; output: string }> {
  const words = command.split(' ');
  const tell = words[0] === 'tell';
  const given = parse(tell ? words.slice(2) : words);
  if (given === undefined) return { code: -1, status: `no command '${command}'`, output: '' };
  const found = table.find(given.prefix as string)[0]!;
  try {
    // The tool takes a positive number, which modules answer with, for success.
    const { status = '', output = '' } = await found.handler!(view, readArguments(found.signature, given), format);
    return { code: 0, status, output: typeof output === 'string' ? output : utf8Text(output) };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { code: error.errno, status: error.message, output: error.output };
  }
}

/** What 16.2.15 answered, made comparable. The tool writes an empty line before JSON, and the errno's name before a refusal's text. */
export function recorded({ rc, stdout, stderr, format }: RecordedCommand): ComparedAnswer {
  const status = stderr.replace(/\n$/, '').replace(/^Error \w+: /, '');
  return { code: rc, status, output: comparable(format === 'json' ? stdout.replace(/^\n/, '') : stdout) };
}

/** Members that this mgr has not, or that no two runs have alike. */
export const leftOut: Readonly<Record<string, string>> = {
  network_ping_times: 'OSDs do not report how long pings take (README of the OSD)',
  avail_no_missing: 'a hint for peering that upstream keeps in statistics; ours is in peering itself',
  object_location_counts: 'the same',
  stamp_delta: 'how long ago the sample before was taken',
};

/** Lists that upstream keeps in hash tables, with what is unlike in every item. */
const unordered: Readonly<Record<string, string>> = {
  pg_stats: 'pgid',
  stuck_pg_stats: 'pgid',
  num_pg_by_state: 'name',
};

function comparable(text: string): unknown {
  try {
    return JSON.parse(text, (name, value) => {
      if (Object.hasOwn(leftOut, name)) return undefined;
      const key = unordered[name];
      return key === undefined ? value : value.sort(byMember(key));
    });
  } catch {
    // A table: how long ago something was depends on when it was asked, and lines stand in the order of a hash table.
    return text
      .replace(/ +\d+[sm] {2}/g, ' S ')
      .replace(/(pgs: )([^;]*)(;)/, (_, head: string, list: string, end: string) =>
        [head, list.split(', ').sort().join(', '), end].join(''),
      )
      .split('\n')
      .sort();
  }
}

function byMember(key: string): (a: Record<string, string>, b: Record<string, string>) => number {
  return (a, b) => (a[key]! < b[key]! ? -1 : 1);
}

/** What is left of an answer when numbers, times, states of PGs and how many lines or items there are do not count. */
export function formOf({ code, status, output }: ComparedAnswer): ComparedAnswer {
  return { code, status: maskedText(status), output: masked(output) };
}

function maskedText(text: string): string {
  return text
    .replace(/\b[a-z_]+(\+[a-z_]+)+\b/g, 'STATE')
    .replace(/\d+(?:[.:,'/-]\d+)*/g, '#')
    .replace(/\[(?:#,?)*\]/g, '[#]')
    .replace(/ +/g, ' ');
}

function masked(value: unknown): unknown {
  if (typeof value === 'number') return '#';
  if (typeof value === 'string') return maskedText(value);
  if (Array.isArray(value)) return [...new Set(value.map((item) => JSON.stringify(masked(item))))].sort();
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, masked(item)]));
}

/** A recorded run of a command that upstream's mgr executes. */
export interface RecordedRun {
  /** Name of the recording: `a-fresh`. */
  file: string;
  command: string;
  format: 'plain' | 'json';
  run: RecordedCommand;
}

/** The words of every command that upstream's mgr describes. */
function mgrPrefixes(): Set<string> {
  const described = recordedJson<Record<string, { sig: (string | object)[] }>>('descriptions/mgr.json.gz');
  return new Set(
    Object.values(described).map(({ sig }) => {
      const end = sig.findIndex((part) => typeof part !== 'string');
      return sig.slice(0, end < 0 ? sig.length : end).join(' ');
    }),
  );
}

/** Every recorded run that the mgr answered. */
export function recordedRuns(): RecordedRun[] {
  const prefixes = mgrPrefixes();
  const ours = (words: readonly string[]): boolean =>
    (words[0] === 'tell' && words[1]?.startsWith('mgr') === true) ||
    words.some((_, n) => prefixes.has(words.slice(0, n + 1).join(' ')));
  return recordedNames('commands').flatMap((name) =>
    recordedLines<RecordedCommand>(`commands/${name}`)
      .filter(({ argv }) => argv[0] === 'ceph' && ours(argv.slice(1)))
      .map((run) => ({
        file: name.replace(/\.jsonl(\.gz)?$/, ''),
        command: run.argv.slice(1).join(' '),
        format: run.format,
        run,
      })),
  );
}
