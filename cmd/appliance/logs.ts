import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { AppError, errorCode } from '../../internal/base/errors.ts';
import { runningConfig } from '../../internal/config/machine-system.ts';
import { didYouMean } from '../../internal/config/nearest.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { followFile, maxTailLines, type TailEnd, tailLog } from '../../internal/node/log-tail-system.ts';
import { roleTable } from '../../internal/node/role-table.ts';
import {
  type CommandModule,
  configArguments,
  type OutputFormat,
  suggestions,
  withExamples,
  withOutput,
} from './command.ts';
import { type LogEntry, logLine, mergeLogs, parseLogLines, parseSince, wholeLines } from './log-lines.ts';
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
      .option('-f, --follow', 'then go on with what is written, until Ctrl-C')
      .option('--since <when>', 'from this time on: 10m, 2h, 1d, or 2024-05-01T12:00:00Z')
      .option('--tail <lines>', 'so many messages of the end (default: 100, with --since all)');
    suggestions.set(
      command,
      roleTable.map(({ role }) => role),
    );
    withExamples(command, [
      ['appliance logs', 'the last 100 messages of all roles, by time'],
      ['appliance logs osd -f', 'the last 100 messages of the OSDs, then what they write'],
      ['appliance logs osd -f --tail 0', 'only what they write from now on'],
      ['appliance logs server --since 10m', 'also when nothing runs: logs outlive their roles'],
      ['appliance logs mon -o json', 'instance, time, level and text of each, for programs'],
    ]).action((role: string | undefined, options: LogOptions) => {
      const config = runningConfig(configArguments(command));
      return logs(nodePaths(config.dataDir, config.runDir).logs, role, options);
    });
  },
};

/** Logs that appear later are looked for this often. */
const lookEveryMs = 1000;

async function logs(directory: string, role: string | undefined, options: LogOptions): Promise<void> {
  const sinceMs = options.since === undefined ? undefined : parseSince(options.since, Date.now());
  if (options.tail !== undefined && !/^\d{1,9}$/.test(options.tail))
    throw new AppError('USAGE', `--tail takes a number of messages, got ${options.tail}`);
  const last = options.tail ?? (sinceMs === undefined ? 100 : undefined);
  const recent = (entry: LogEntry): boolean => sinceMs === undefined || (entry.timeMs ?? 0) >= sinceMs;
  const pathOf = (name: string): string => join(directory, `${name}.log`);

  const names = logNames(directory, role);
  const alone = names.length === 1;
  const beginnings = names.map((name) => ({ name, ...tailLog(pathOf(name), maxTailLines) }));
  const shown = mergeLogs(beginnings.map(({ name, text }) => parseLogLines(name, wholeLines(text).lines))).filter(
    recent,
  );
  show(last === undefined ? shown : Number(last) === 0 ? [] : shown.slice(-Number(last)), options, alone);
  if (!options.follow) return;

  const follow = async (name: string, first: string, end: TailEnd): Promise<void> => {
    let rest = first;
    const decoder = new TextDecoder();
    for await (const bytes of followFile(pathOf(name), '', end, () => undefined)) {
      const text = wholeLines(rest + decoder.decode(bytes, { stream: true }));
      rest = text.rest;
      show(parseLogLines(name, text.lines).filter(recent), options, alone);
    }
  };
  const followed = new Set(names);
  const following = beginnings.map(({ name, text, end }) => follow(name, wholeLines(text).rest, end));
  for (;;) {
    await Promise.race([Bun.sleep(lookEveryMs), ...following]);
    for (const name of logNames(directory, role, true)) {
      if (followed.has(name)) continue;
      followed.add(name);
      following.push(follow(name, '', { inode: 0, offset: 0 }));
    }
  }
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
    throw new AppError(
      'USAGE',
      `no log of ${role ?? 'any role'} in ${directory}${role ? didYouMean(role, [...new Set(all.map((name) => name.split('.')[0]!))]) : ''}`,
      {
        hint: all.length > 0 ? `there are ${all.join(', ')}` : 'nothing has been logged yet',
      },
    );
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
  if (follow && output === 'json') for (const one of data) process.stdout.write(`${JSON.stringify(one)}\n`);
  else if (output !== 'table') print(output, data, String);
  else if (entries.length > 0) process.stdout.write(`${entries.map((entry) => logLine(entry, alone)).join('\n')}\n`);
}
