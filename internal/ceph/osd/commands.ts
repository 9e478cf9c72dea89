import { AppError, errorText } from '../../base/errors.ts';
import type { OpHistory, PastOp } from './op-history.ts';

/** What a command may use of the OSD. */
export interface CommandTarget {
  version(): string;
  status(): Record<string, unknown>;
  opsInFlight(): { ops: Record<string, unknown>[] };
  /** `nowMs` is since 1970. */
  opHistory(): { history: OpHistory; monotonicMs: number; nowMs: number };
  perf(): Record<string, unknown>;
  pgQuery(pgid: string): Record<string, unknown> | undefined;
  /** Undefined: the PG is not led by this OSD. */
  makeScrubDue(pgid: string, deep: boolean, seconds: number): string | undefined;
  scrubsDue(): unknown;
  scrubReservations(): unknown;
  /** Sends statistics now; gives the sequence number of the report. */
  flushStats(): number;
  mapEpochs(): { oldest: number; newest: number };
  config(): Record<string, string>;
}

export interface CommandOutcome {
  code: number;
  status: string;
  output: string;
}

interface Parameter {
  name: string;
  type: string;
  req?: 'false';
  n?: 'N';
  /** Choices, separated by `|`. */
  strings?: string;
}

interface Command {
  sig: readonly (string | Parameter)[];
  help: string;
  perm: string;
  run(target: CommandTarget, args: Record<string, unknown>): unknown;
}

const EINVAL = -22;
const ENOENT = -2;
const EOPNOTSUPP = -95;
const EACCES = -13;

class CommandError extends Error {
  constructor(
    readonly code: number,
    message: string,
  ) {
    super(message);
  }
}

/** Any words may follow. */
const anything: Parameter = { name: 'args', type: 'CephString', n: 'N', req: 'false' };

/** One entry a command of `ceph tell osd.N`. */
const commands: readonly Command[] = [
  { sig: ['version'], help: 'version of this daemon', perm: 'r', run: (t) => ({ version: t.version() }) },
  { sig: ['status'], help: 'state of this OSD', perm: 'r', run: (t) => t.status() },
  { sig: ['dump_ops_in_flight'], help: 'requests that are not answered yet', perm: 'r', run: dumpOps },
  { sig: ['ops'], help: 'requests that are not answered yet', perm: 'r', run: dumpOps },
  {
    sig: ['dump_historic_ops'],
    help: 'the slowest requests of the last minutes',
    perm: 'r',
    run: (t) => {
      const { history, monotonicMs, nowMs } = t.opHistory();
      const ops = history.slowest(monotonicMs).map((op) => pastOp(op, nowMs));
      return { size: history.size, duration: history.durationMs / 1000, ops };
    },
  },
  {
    sig: ['dump_historic_slow_ops'],
    help: 'requests of the last minutes that took longer than a threshold',
    perm: 'r',
    run: (t) => {
      const { history, monotonicMs, nowMs } = t.opHistory();
      const ops = history.slow(monotonicMs).map((op) => pastOp(op, nowMs));
      return { num_to_keep: history.size, threshold_to_keep: history.slowMs / 1000, ops };
    },
  },
  {
    sig: [
      'perf',
      'dump',
      { name: 'logger', type: 'CephString', req: 'false' },
      { name: 'counter', type: 'CephString', req: 'false' },
    ],
    help: 'performance counters',
    perm: 'r',
    run: (t, args) => {
      const all = t.perf();
      const logger = all[String(args.logger)];
      return args.logger === undefined || logger === undefined ? all : { [String(args.logger)]: logger };
    },
  },
  { sig: ['flush_pg_stats'], help: 'report statistics to the manager now', perm: 'r', run: (t) => t.flushStats() },
  {
    sig: ['get_latest_osdmap'],
    help: 'newest OSD map that this OSD has',
    perm: 'r',
    run: (t) => ({ epoch: t.mapEpochs().newest }),
  },
  { sig: ['config', 'show'], help: 'settings in effect', perm: 'r', run: (t) => t.config() },
  {
    sig: ['config', 'get', { name: 'var', type: 'CephString' }],
    help: 'one setting',
    perm: 'r',
    run: (t, args) => {
      const name = String(args.var ?? '');
      const value = t.config()[name];
      if (value === undefined) throw new CommandError(ENOENT, `this OSD has no setting '${name}'`);
      return { [name]: value };
    },
  },
  {
    sig: ['pg', { name: 'pgid', type: 'CephPgid' }, { name: 'cmd', type: 'CephChoices', strings: 'query' }],
    help: 'what this OSD knows of a PG',
    perm: 'r',
    run: pgQuery,
  },
  {
    sig: [
      'pg',
      { name: 'pgid', type: 'CephPgid' },
      { name: 'cmd', type: 'CephChoices', strings: 'mark_unfound_lost|list_unfound' },
      anything,
    ],
    help: 'not supported by this version: giving objects up that no OSD has',
    perm: 'r',
    run: (_t, args) => refuse(`pg ${String(args.cmd)}`),
  },
  ...(['scrub', 'deep_scrub'] as const).map(
    (name): Command => ({
      sig: [name, { name: 'pgid', type: 'CephPgid', req: 'false' }, { name: 'time', type: 'CephInt', req: 'false' }],
      help: 'make the next scrub of a PG due now (ceph tell <pgid> scrub)',
      perm: 'r',
      run: (t, args) => {
        const pgid = String(args.pgid ?? '');
        const stamp = t.makeScrubDue(pgid, name === 'deep_scrub', Number(args.time ?? 0));
        if (stamp === undefined) throw new CommandError(ENOENT, `i don't have pgid ${pgid}, or do not lead it`);
        return { deep: name === 'deep_scrub', stamp };
      },
    }),
  ),
  { sig: ['dump_scrubs'], help: 'when the next scrubs are due', perm: 'r', run: (t) => t.scrubsDue() },
  {
    sig: ['dump_scrub_reservations'],
    help: 'scrubs that this OSD takes part in',
    perm: 'r',
    run: (t) => t.scrubReservations(),
  },
  { sig: ['query'], help: 'what this OSD knows of a PG (ceph tell <pgid> query)', perm: 'r', run: pgQuery },
];

/** Upstream's commands that are not here: who asks is told so by name. */
const absent: readonly string[][] = [
  ['bench'],
  ['cache'],
  ['cluster_log'],
  ['compact'],
  ['config', 'set'],
  ['config', 'unset'],
  ['cpu_profiler'],
  ['debug'],
  ['heap'],
  ['injectargs'],
  ['list_devices'],
  ['list_unfound'],
  ['log'],
  ['mark_unfound_lost'],
  ['perf', 'histogram'],
  ['smart'],
];

const allCommands: readonly Command[] = [
  ...commands,
  ...absent.map((words): Command => {
    const name = words.join(' ');
    return { sig: [...words, anything], help: 'not supported by this version', perm: 'r', run: () => refuse(name) };
  }),
];

function refuse(name: string): never {
  throw new CommandError(EOPNOTSUPP, `'${name}' is not supported by this version`);
}

function dumpOps(target: CommandTarget): unknown {
  const { ops } = target.opsInFlight();
  return { ops, num_ops: ops.length };
}

function pastOp(op: PastOp, nowMs: number): Record<string, unknown> {
  const initiatedAt = new Date(op.initiatedAtMs).toISOString();
  const age = (nowMs - op.initiatedAtMs) / 1000;
  return { description: op.description, initiated_at: initiatedAt, age, duration: op.durationMs / 1000 };
}

function pgQuery(target: CommandTarget, args: Record<string, unknown>): unknown {
  const pgid = String(args.pgid ?? '');
  const found = target.pgQuery(pgid);
  if (found === undefined) throw new CommandError(ENOENT, `i don't have pgid ${pgid}`);
  return found;
}

/** The words of a signature, as `prefix` has them. */
function prefixOf(command: Command): string {
  const words: string[] = [];
  for (const part of command.sig) {
    if (typeof part !== 'string') break;
    words.push(part);
  }
  return words.join(' ');
}

function matches(command: Command, args: Record<string, unknown>): boolean {
  if (prefixOf(command) !== args.prefix) return false;
  for (const part of command.sig)
    if (typeof part !== 'string' && part.strings !== undefined)
      if (!part.strings.split('|').includes(String(args[part.name]))) return false;
  return true;
}

function descriptions(): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  allCommands.forEach((command, i) => {
    out[`cmd${String(i).padStart(3, '0')}`] = {
      sig: command.sig,
      help: command.help,
      module: 'osd',
      perm: command.perm,
      flags: 0,
    };
  });
  return out;
}

/** Answers one command of `ceph tell`: JSON text as clients send it. */
export function runCommand(target: CommandTarget, text: string, allowed: boolean): CommandOutcome {
  let args: Record<string, unknown>;
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed !== 'object' || parsed === null) throw new AppError('COMMAND', 'not an object');
    args = parsed as Record<string, unknown>;
  } catch (error) {
    return { code: EINVAL, status: `command is not JSON: ${errorText(error)}`, output: '' };
  }
  if (!allowed) return { code: EACCES, status: 'access denied: it needs the capability osd "allow *"', output: '' };
  const prefix = String(args.prefix ?? '');
  if (prefix === 'get_command_descriptions') return { code: 0, status: '', output: JSON.stringify(descriptions()) };
  const command = allCommands.find((c) => matches(c, args));
  if (command === undefined)
    return { code: EOPNOTSUPP, status: `'${prefix}' is not supported by this OSD`, output: '' };
  try {
    const result = command.run(target, args);
    const compact = args.format === 'json';
    const output = typeof result === 'number' ? String(result) : JSON.stringify(result, bigintText, compact ? 0 : 4);
    return { code: 0, status: '', output: `${output}\n` };
  } catch (error) {
    if (error instanceof CommandError) return { code: error.code, status: error.message, output: '' };
    return { code: EINVAL, status: errorText(error), output: '' };
  }
}

function bigintText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? value.toString() : value;
}
