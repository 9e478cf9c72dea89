import { AppError } from '../../internal/base/errors.ts';

/** One message of a role's log; lines that follow it without a time of their own, such as a stack, belong to it. */
export interface LogEntry {
  readonly instance: string;
  /** Milliseconds since the epoch; undefined before the first line that has a time. */
  readonly timeMs: number | undefined;
  readonly level: string | undefined;
  readonly text: string;
}

/** Our own lines (`internal/base/log.ts`) and containerd's (logfmt of logrus: `time="…" level=… msg=…`). */
const ownLine = /^(\d{4}-\d\d-\d\dT[\d:.]+Z) (debug|info|warn|error) +(.*)$/s;
const logfmtLine = /^time="([^"]+)" level=(\w+) (.*)$/s;
const levelNames: Readonly<Record<string, string>> = {
  warning: 'warn',
  fatal: 'error',
  panic: 'error',
  trace: 'debug',
};

/** The lines of a text that are whole, and what follows the last of them. */
export function wholeLines(text: string): { lines: string[]; rest: string } {
  const lines = text.split('\n');
  return { rest: lines.pop() ?? '', lines };
}

/** The messages of whole lines. */
export function parseLogLines(instance: string, lines: readonly string[]): LogEntry[] {
  const entries: LogEntry[] = [];
  for (const line of lines) {
    const match = ownLine.exec(line) ?? logfmtLine.exec(line);
    const timeMs = match ? Date.parse(match[1]!) : Number.NaN;
    const before = entries.at(-1);
    if (match && !Number.isNaN(timeMs))
      entries.push({ instance, timeMs, level: levelNames[match[2]!] ?? match[2], text: match[3]! });
    else if (before) entries[entries.length - 1] = { ...before, text: `${before.text}\n${line}` };
    else entries.push({ instance, timeMs: undefined, level: undefined, text: line });
  }
  return entries;
}

/** Several logs as one, by time; messages of one log keep their order. */
export function mergeLogs(logs: readonly (readonly LogEntry[])[]): LogEntry[] {
  return logs
    .flatMap((log) => {
      let latest = Number.NEGATIVE_INFINITY;
      return log.map((entry) => {
        latest = Math.max(latest, entry.timeMs ?? latest);
        return { entry, latest };
      });
    })
    .toSorted((a, b) => (a.latest === b.latest ? 0 : a.latest - b.latest))
    .map(({ entry }) => entry);
}

const unitMs: Readonly<Record<string, number>> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The moment that `--since` names: a duration such as `90s`, `10m`, `2h`, `3d`, `1h30m`, or a time such as `2024-05-01T12:00:00Z`. */
export function parseSince(text: string, nowMs: number): number {
  if (/^(\d+[smhd])+$/.test(text)) {
    const parts = text.match(/\d+[smhd]/g)!;
    return nowMs - parts.reduce((sum, part) => sum + Number(part.slice(0, -1)) * unitMs[part.at(-1)!]!, 0);
  }
  const moment = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(moment))
    throw new AppError(
      'USAGE',
      `--since takes a duration such as 10m or a time such as 2024-05-01T12:00:00Z, got ${text}`,
    );
  return moment;
}

/** What `logs` prints of a message for people; `alone` when only one log is shown, whose name says nothing then. */
export function logLine({ instance, timeMs, level, text }: LogEntry, alone: boolean): string {
  const time = timeMs === undefined ? ''.padEnd(24) : new Date(timeMs).toISOString();
  return `${time} ${alone ? '' : `${instance.padEnd(10)} `}${(level ?? '').padEnd(5)} ${text}`;
}
