/**
 * Schedules of CronJobs as github.com/robfig/cron/v3 (ParseStandard) reads them, with its words for what is wrong: five fields or a descriptor, no seconds,
 * days of the week from 0 (Sunday) to 6.
 */
export interface CronSchedule {
  minutes: ReadonlySet<number>;
  hours: ReadonlySet<number>;
  daysOfMonth: ReadonlySet<number>;
  months: ReadonlySet<number>;
  daysOfWeek: ReadonlySet<number>;
  /** Whether the field was `*`: when both days are restricted, either of them is enough. */
  anyDayOfMonth: boolean;
  anyDayOfWeek: boolean;
}

/** `@every 1h30m`: not bound to the calendar. */
export interface IntervalSchedule {
  everySeconds: number;
}

interface Bounds {
  min: number;
  max: number;
  names: readonly string[];
}

const bounds = {
  minute: { min: 0, max: 59, names: [] },
  hour: { min: 0, max: 23, names: [] },
  dayOfMonth: { min: 1, max: 31, names: [] },
  month: {
    min: 1,
    max: 12,
    names: ['', 'jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'],
  },
  dayOfWeek: { min: 0, max: 6, names: ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] },
} as const satisfies Record<string, Bounds>;

const descriptors: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
};

/** The text of a schedule is not one. The message is what the API answers. */
export class CronError extends Error {}

function numberOf(text: string, expression: string): number {
  if (!/^[+-]?\d+$/.test(text))
    throw new CronError(
      `failed to parse int from ${expression}: strconv.Atoi: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  const value = Number(text);
  if (value < 0) throw new CronError(`negative number (${value}) not allowed: ${expression}`);
  return value;
}

function rangeOf(expression: string, { min, max, names }: Bounds): { values: number[]; star: boolean } {
  const [range = '', ...steps] = expression.split('/');
  const ends = range.split('-');
  const named = (text: string): number => {
    const index = names.indexOf(text.toLowerCase());
    return index >= 0 && text !== '' ? index : numberOf(text, text);
  };
  let star = false;
  let start: number;
  let end: number;
  if (ends[0] === '*' || ends[0] === '?') {
    [start, end, star] = [min, max, true];
  } else {
    start = named(ends[0] ?? '');
    if (ends.length > 2) throw new CronError(`too many hyphens: ${expression}`);
    end = ends.length === 2 ? named(ends[1]!) : start;
  }
  if (steps.length > 1) throw new CronError(`too many slashes: ${expression}`);
  let step = 1;
  if (steps.length === 1) {
    step = numberOf(steps[0]!, steps[0]!);
    // `3/15` goes on to the end.
    if (ends.length === 1) end = max;
    if (step > 1) star = false;
  }
  if (start < min) throw new CronError(`beginning of range (${start}) below minimum (${min}): ${expression}`);
  if (end > max) throw new CronError(`end of range (${end}) above maximum (${max}): ${expression}`);
  if (start > end) throw new CronError(`beginning of range (${start}) beyond end of range (${end}): ${expression}`);
  if (step === 0) throw new CronError(`step of range should be a positive number: ${expression}`);
  const values: number[] = [];
  for (let value = start; value <= end; value += step) values.push(value);
  return { values, star };
}

function fieldOf(text: string, limits: Bounds): { values: Set<number>; star: boolean } {
  const values = new Set<number>();
  let star = false;
  for (const expression of text.split(',').filter((part) => part !== '')) {
    const range = rangeOf(expression, limits);
    for (const value of range.values) values.add(value);
    star ||= range.star;
  }
  return { values, star };
}

const unitSeconds: Readonly<Record<string, number>> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };

/** Go's time.ParseDuration, in seconds; undefined for what is none. */
function durationOf(text: string): number | undefined {
  const match = /^[+]?((?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/.exec(text);
  if (match === null) return undefined;
  let seconds = 0;
  for (const [, value, unit] of text.matchAll(/(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)/g))
    seconds += Number(value) * unitSeconds[unit!]!;
  return seconds;
}

function descriptorOf(text: string): CronSchedule | IntervalSchedule {
  const standard = descriptors[text];
  if (standard !== undefined) return parseCron(standard);
  if (!text.startsWith('@every ')) throw new CronError(`unrecognized descriptor: ${text}`);
  const duration = text.slice('@every '.length);
  const seconds = durationOf(duration);
  if (seconds === undefined)
    throw new CronError(`failed to parse duration ${text}: time: invalid duration ${JSON.stringify(duration)}`);
  return { everySeconds: Math.max(1, Math.floor(seconds)) };
}

/** A schedule from its text, without the time zone that old objects begin it with. Throws CronError. */
export function parseCron(schedule: string): CronSchedule | IntervalSchedule {
  if (schedule === '') throw new CronError('empty spec string');
  const text = schedule.replace(/^(CRON_)?TZ=\S+\s+/, '').trim();
  if (text.startsWith('@')) return descriptorOf(text);
  const fields = text.split(/\s+/).filter((field) => field !== '');
  if (fields.length !== 5)
    throw new CronError(`expected exactly 5 fields, found ${fields.length}: [${fields.join(' ')}]`);
  const [minutes, hours, daysOfMonth, months, daysOfWeek] = [
    fieldOf(fields[0]!, bounds.minute),
    fieldOf(fields[1]!, bounds.hour),
    fieldOf(fields[2]!, bounds.dayOfMonth),
    fieldOf(fields[3]!, bounds.month),
    fieldOf(fields[4]!, bounds.dayOfWeek),
  ];
  return {
    minutes: minutes.values,
    hours: hours.values,
    daysOfMonth: daysOfMonth.values,
    months: months.values,
    daysOfWeek: daysOfWeek.values,
    anyDayOfMonth: daysOfMonth.star,
    anyDayOfWeek: daysOfWeek.star,
  };
}
