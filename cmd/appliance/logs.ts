import { closeSync, fstatSync, openSync, readdirSync, readSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';
import { AppError, errorCode } from '../../internal/base/errors.ts';
import { runningConfig } from '../../internal/config/machine-system.ts';
import { didYouMean } from '../../internal/config/nearest.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { roleTable } from '../../internal/node/role-table.ts';
import {
  type CommandModule,
  configArguments,
  type OutputFormat,
  suggestions,
  withExamples,
  withOutput,
} from './command.ts';
import { type LogEntry, logLine, mergeLogs, parseLogLines, parseSince } from './log-lines.ts';
import { print } from './output.ts';

interface LogOptions {
  follow?: boolean;
  since?: string;
  tail?: string;
  output: OutputFormat;
}

export const command: CommandModule = {
  define(command) {
    withOutput(command)
      .argument('[role]', 'a role such as osd, or one process such as osd.2 (default: all, by time)')
      .option('-f, --follow', 'go on with what is written from now on, until Ctrl-C')
      .option('--since <when>', 'from this time on: 10m, 2h, 1d, or 2024-05-01T12:00:00Z')
      .option('--tail <lines>', 'so many messages of the end (default: 100, with --since all)');
    suggestions.set(
      command,
      roleTable.map(({ role }) => role),
    );
    withExamples(command, [
      ['appliance logs', 'the last 100 messages of all roles, by time'],
      ['appliance logs osd -f', 'what the OSDs write from now on'],
      ['appliance logs server --since 10m', 'also when nothing runs: logs outlive their roles'],
      ['appliance logs mon -o json', 'instance, time, level and text of each, for programs'],
    ]).action((role: string | undefined, options: LogOptions) => {
      const config = runningConfig(configArguments(command));
      return logs(nodePaths(config.dataDir, config.runDir).logs, role, options);
    });
  },
};

/** Of a longer log only the end is read. */
const maxBytes = 16 << 20;
const newline = 0x0a;

async function logs(directory: string, role: string | undefined, options: LogOptions): Promise<void> {
  const sinceMs = options.since === undefined ? undefined : parseSince(options.since, Date.now());
  if (options.tail !== undefined && !/^\d{1,9}$/.test(options.tail))
    throw new AppError('USAGE', `--tail takes a number of messages, got ${options.tail}`);
  const tail =
    options.tail === undefined ? (sinceMs === undefined ? 100 : Number.MAX_SAFE_INTEGER) : Number(options.tail);

  const followed = new Map<string, Followed>();
  const names = logNames(directory, role);
  for (const name of names) followed.set(name, new Followed(join(directory, `${name}.log`), name));
  const recent = (entry: LogEntry): boolean => sinceMs === undefined || (entry.timeMs ?? 0) >= sinceMs;
  const shown = mergeLogs([...followed.values()].map((one) => one.read())).filter(recent);
  show(tail === 0 ? [] : shown.slice(-tail), options, names.length === 1);
  if (!options.follow) return;

  const more = (): void => {
    for (const name of logNames(directory, role, true))
      if (!followed.has(name)) followed.set(name, new Followed(join(directory, `${name}.log`), name));
    show(mergeLogs([...followed.values()].map((one) => one.read())).filter(recent), options, names.length === 1);
  };
  // The kernel tells of every write; several at once are read together.
  let waiting = false;
  watch(directory, () => {
    if (waiting) return;
    waiting = true;
    setTimeout(() => {
      waiting = false;
      more();
    }, 50);
  });
  more();
  await new Promise<never>(() => undefined);
}

/** Names of the logs that belong to a role or are one process's. AppError LOGS when there is none, unless they may come later. */
function logNames(directory: string, role: string | undefined, mayBeNone = false): string[] {
  let all: string[];
  try {
    all = readdirSync(directory)
      .filter((name) => name.endsWith('.log'))
      .map((name) => name.slice(0, -'.log'.length))
      .sort();
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    throw new AppError('LOGS', `there are no logs: ${directory} does not exist`, {
      hint: 'no node has been started with this data directory; --config or --data-dir name another one',
    });
  }
  const found = all.filter((name) => role === undefined || name === role || name.startsWith(`${role}.`));
  if (found.length === 0 && !mayBeNone)
    throw new AppError('USAGE', `no log of ${role ?? 'any role'} in ${directory}${role ? didYouMean(role, all) : ''}`, {
      hint: all.length > 0 ? `there are ${all.join(', ')}` : 'nothing has been logged yet',
    });
  return found;
}

function show(entries: readonly LogEntry[], { output, follow }: LogOptions, alone: boolean): void {
  const data = entries.map(({ instance, timeMs, level, text }) => ({
    instance,
    time: timeMs === undefined ? null : new Date(timeMs).toISOString(),
    level: level ?? null,
    text,
  }));
  // What goes on for ever is printed a document a message.
  if (follow && output === 'json') for (const one of data) console.log(JSON.stringify(one));
  else if (output !== 'table') print(output, data, String);
  else if (entries.length > 0) console.log(entries.map((entry) => logLine(entry, alone)).join('\n'));
}

/** A log file that is read on from where it was read last; one that was replaced or cut is read from its beginning. */
class Followed {
  readonly #path: string;
  readonly #instance: string;
  #inode = -1;
  #at = 0;
  #rest = Buffer.alloc(0);
  #last: number | undefined;

  constructor(path: string, instance: string) {
    this.#path = path;
    this.#instance = instance;
  }

  /** The messages of the whole lines that are new. */
  read(): LogEntry[] {
    if (!statSync(this.#path, { throwIfNoEntry: false })) return [];
    const fd = openSync(this.#path, 'r');
    try {
      const { ino, size } = fstatSync(fd);
      if (ino !== this.#inode || size < this.#at) {
        this.#inode = ino;
        this.#at = Math.max(0, size - maxBytes);
        this.#rest = Buffer.alloc(0);
      }
      const bytes = Buffer.alloc(Math.min(maxBytes, size - this.#at));
      const read = readSync(fd, bytes, 0, bytes.length, this.#at);
      this.#at += read;
      const text = Buffer.concat([this.#rest, bytes.subarray(0, read)]);
      const end = text.lastIndexOf(newline) + 1;
      this.#rest = Buffer.from(text.subarray(end));
      if (end === 0) return [];
      const entries = parseLogLines(
        this.#instance,
        text
          .subarray(0, end - 1)
          .toString('utf8')
          .split('\n'),
        this.#last,
      );
      this.#last = entries.at(-1)?.timeMs ?? this.#last;
      return entries;
    } finally {
      closeSync(fd);
    }
  }
}
