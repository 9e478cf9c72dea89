/**
 * JSON as Ceph's formatter writes it (`src/common/Formatter.cc`): numbers that are not whole with 17 significant digits, pretty form with four
 * spaces, object members in the order given (a Map where names look like numbers, which plain objects would sort).
 */
export type Json =
  | string
  | number
  | bigint
  | boolean
  | null
  | readonly Json[]
  | ReadonlyMap<string, Json>
  | { readonly [name: string]: Json | undefined };

export type JsonObject = { [name: string]: Json | undefined };

export type OutputFormat = 'plain' | 'json' | 'json-pretty';

/** A double as C's `%.17g` prints it. */
export function numberText(value: number): string {
  if (Number.isSafeInteger(value)) return Object.is(value, -0) ? '-0' : String(value);
  if (!Number.isFinite(value)) return Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf';
  return generalText(value, 17);
}

/** C's `%.<digits>g`. */
export function generalText(value: number, digits: number): string {
  if (value === 0) return '0';
  const [mantissa, exponentText] = exponential(value, digits).split('e') as [string, string];
  const exponent = Number(exponentText);
  const trimmed = (text: string): string => (text.includes('.') ? text.replace(/\.?0+$/, '') : text);
  if (exponent < -4 || exponent >= digits) {
    const size = Math.abs(exponent).toString().padStart(2, '0');
    return `${trimmed(mantissa)}e${exponent < 0 ? '-' : '+'}${size}`;
  }
  return trimmed(fixed(mantissa, exponent));
}

/** `toExponential`, but a tie goes to the even digit, as in C: values that were floats often are ties at 17 digits. */
function exponential(value: number, digits: number): string {
  const rounded = value.toExponential(digits - 1);
  const [exact, exponent] = value.toExponential(digits + 40).split('e') as [string, string];
  const cut = exact.startsWith('-') ? digits + 2 : digits + 1;
  if (!/^50*$/.test(exact.slice(cut))) return rounded;
  const down = exact.slice(0, cut);
  return Number(down.at(-1)) % 2 === 0 ? `${down}e${exponent}` : rounded;
}

/** The number `mantissa * 10^exponent` without an exponent. */
function fixed(mantissa: string, exponent: number): string {
  const sign = mantissa.startsWith('-') ? '-' : '';
  const digits = mantissa.replace(/[-.]/g, '');
  if (exponent < 0) return `${sign}0.${'0'.repeat(-exponent - 1)}${digits}`;
  const whole = digits.slice(0, exponent + 1);
  const rest = digits.slice(exponent + 1);
  return rest === '' ? sign + whole : `${sign}${whole}.${rest}`;
}

function isMap(value: Json): value is ReadonlyMap<string, Json> {
  return value instanceof Map;
}

function members(value: ReadonlyMap<string, Json> | { readonly [name: string]: Json | undefined }): [string, Json][] {
  const entries = isMap(value as Json) ? [...(value as ReadonlyMap<string, Json>)] : Object.entries(value);
  return entries.filter((entry): entry is [string, Json] => entry[1] !== undefined);
}

export function jsonText(value: Json, pretty = false): string {
  return write(value, pretty ? '\n' : '');
}

function write(value: Json, indent: string): string {
  if (value === null) return 'null';
  switch (typeof value) {
    case 'string':
      return quoted(value);
    case 'number':
      return numberText(value);
    case 'bigint':
    case 'boolean':
      return String(value);
  }
  const inner = indent === '' ? '' : `${indent}    `;
  if (Array.isArray(value)) {
    const items = value as readonly Json[];
    if (items.length === 0) return '[]';
    return `[${items.map((item) => inner + write(item, inner)).join(',')}${indent}]`;
  }
  const entries = members(value as ReadonlyMap<string, Json>);
  if (entries.length === 0) return '{}';
  const colon = indent === '' ? ':' : ': ';
  const body = entries.map(([name, item]) => inner + quoted(name) + colon + write(item, inner)).join(',');
  return `{${body}${indent}}`;
}

const escapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\t': '\\t',
};

/** `src/common/escape.cc`: the four escapes above, other control characters as \u. */
function quoted(text: string): string {
  let out = '"';
  for (const c of text) {
    const known = escapes[c];
    if (known !== undefined) out += known;
    else if (c < ' ' || c === '\x7f') out += `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`;
    else out += c;
  }
  return `${out}"`;
}
