/** How Python prints values: what upstream's modules give as they are. */

/** A float as `repr` has it. */
export function pyFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan';
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf';
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e16)) {
    const [digits, exponent] = value.toExponential().split('e') as [string, string];
    const sign = exponent.startsWith('-') ? '-' : '+';
    return `${digits}e${sign}${exponent.replace(/^[-+]/, '').padStart(2, '0')}`;
  }
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

/** `repr` of numbers, strings, lists and dictionaries (maps and plain objects). Whole numbers are floats when `float` says so. */
export function pyRepr(value: unknown, float = false): string {
  if (typeof value === 'number') return float || !Number.isInteger(value) ? pyFloat(value) : String(value);
  if (typeof value === 'boolean') return value ? 'True' : 'False';
  if (value === undefined || value === null) return 'None';
  if (typeof value === 'string') {
    const escaped = value.replaceAll('\\', '\\\\');
    return value.includes("'") && !value.includes('"') ? `"${escaped}"` : `'${escaped.replaceAll("'", "\\'")}'`;
  }
  if (Array.isArray(value)) return `[${value.map((item) => pyRepr(item, float)).join(', ')}]`;
  const entries = value instanceof Map ? [...value] : Object.entries(value as object);
  return `{${entries.map(([key, item]) => `${pyRepr(key)}: ${pyRepr(item, float)}`).join(', ')}}`;
}

/** `json.dumps(value)`: one line, with spaces behind commas and colons. */
export function pyDumps(value: unknown): string {
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  if (Array.isArray(value)) return `[${value.map(pyDumps).join(', ')}]`;
  return `{${Object.entries(value)
    .map(([name, item]) => `${JSON.stringify(name)}: ${pyDumps(item)}`)
    .join(', ')}}`;
}

/** `json.dumps(value, indent=4, sort_keys=True)`. */
export function pyJson(value: unknown): string {
  return JSON.stringify(pySorted(value), null, 4);
}

/** With the members of dictionaries in order, as `sort_keys` has it. */
export function pySorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(pySorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, pySorted(item)]),
  );
}

/** `time.asctime` of a moment in UTC: `Sat Nov 21 00:48:43 2026`. */
export function pyAsctime(ms: number): string {
  const [, day, date, month, year, time] = /^(\w+), (\d+) (\w+) (\d+) ([\d:]+)/.exec(new Date(ms).toUTCString())!;
  return `${day} ${month} ${String(Number(date)).padStart(2)} ${time} ${year}`;
}

/** `str` of a `timedelta`: `0:00:00.001186`. */
export function pyDuration(ms: number): string {
  const micros = Math.round(ms * 1000);
  const seconds = Math.floor(micros / 1e6);
  const two = (n: number): string => String(n).padStart(2, '0');
  const rest = micros % 1e6 === 0 ? '' : `.${String(micros % 1e6).padStart(6, '0')}`;
  return `${Math.floor(seconds / 3600)}:${two(Math.floor(seconds / 60) % 60)}:${two(seconds % 60)}${rest}`;
}
