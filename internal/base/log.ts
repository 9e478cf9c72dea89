export type LogLevel = 'debug' | 'info' | 'warn' | 'error';
export type LogFields = Record<string, unknown>;

/** Where a component tells what it does. Fields never hold secrets. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** The same log with `fields` added to every line. */
  with(fields: LogFields): Logger;
}

const rank: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

function fieldText(value: unknown): string {
  if (value instanceof Error)
    return JSON.stringify(value.cause ? `${value.message}: ${String(value.cause)}` : value.message);
  if (typeof value === 'bigint') return value.toString();
  const text =
    typeof value === 'string'
      ? value
      : (JSON.stringify(value, (_k, v) => (typeof v === 'bigint' ? v.toString() : v)) ?? 'undefined');
  return /[\s"=]/.test(text) || text === '' ? JSON.stringify(text) : text;
}

/** A logger of `time level message key=value…` lines. `level` may be changed while it runs. */
export function createLogger(options: {
  write: (line: string) => void;
  now: () => number;
  level: { value: LogLevel };
  fields?: LogFields;
}): Logger {
  const emit = (level: LogLevel, message: string, fields?: LogFields): void => {
    if (rank[level] < rank[options.level.value]) return;
    let line = `${new Date(options.now()).toISOString()} ${level.padEnd(5)} ${message}`;
    for (const [key, value] of Object.entries({ ...options.fields, ...fields })) line += ` ${key}=${fieldText(value)}`;
    options.write(`${line}\n`);
  };
  return {
    debug: (message, fields) => emit('debug', message, fields),
    info: (message, fields) => emit('info', message, fields),
    warn: (message, fields) => emit('warn', message, fields),
    error: (message, fields) => emit('error', message, fields),
    with: (fields) => createLogger({ ...options, fields: { ...options.fields, ...fields } }),
  };
}

/** Discards everything; for tests. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  with: () => silentLogger,
};
