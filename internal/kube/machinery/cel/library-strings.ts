import type { Environment } from '@marcbachmann/cel-js';
import { hasFormat, isDuration } from '../structural/formats.ts';
import { compileRe2, findsRe2 } from '../structural/regexp.ts';
import { dns1035LabelErrors, dns1123LabelErrors, dns1123SubdomainErrors } from '../validation.ts';
import { labelValueErrors, qualifiedNameErrors } from '../selectors.ts';
import { registerNamespace } from './library-namespace.ts';
import { charge, chargeText } from './meter.ts';
import { optionalOf } from './optional.ts';
import { jsonOf } from './values.ts';

/** Text: the strings and regex libraries, `format`. Names that the interpreter has itself stand in `renamedMethods`. */

/** The interpreter's `matches` runs JavaScript's expressions, whose time has no bound: ours takes its place. */
export const renamedMethods: Readonly<Record<string, string>> = { matches: 're2Matches' };

class StringFormat {
  readonly name: string;
  readonly errors: (text: string) => string[];
  constructor(name: string, errors: (text: string) => string[]) {
    this.name = name;
    this.errors = errors;
  }
}

const checked =
  (test: (text: string) => boolean, why: string): ((text: string) => string[]) =>
  (text) =>
    test(text) ? [] : [why];
const prefixed =
  (errors: (text: string) => string[]): ((text: string) => string[]) =>
  (text) =>
    errors(text.endsWith('-') ? `${text}a` : text);

/** Formats by name (docs: reference/using-api/cel, "Kubernetes format library"). */
const namedFormats: Readonly<Record<string, (text: string) => string[]>> = {
  dns1123Label: dns1123LabelErrors,
  dns1123Subdomain: dns1123SubdomainErrors,
  dns1035Label: dns1035LabelErrors,
  qualifiedName: qualifiedNameErrors,
  dns1123LabelPrefix: prefixed(dns1123LabelErrors),
  dns1123SubdomainPrefix: prefixed(dns1123SubdomainErrors),
  dns1035LabelPrefix: prefixed(dns1035LabelErrors),
  labelValue: labelValueErrors,
  uri: checked((text) => hasFormat('uri', text), 'invalid URI'),
  uuid: checked((text) => hasFormat('uuid', text), 'does not match the UUID format'),
  byte: checked((text) => hasFormat('byte', text), 'invalid base64'),
  date: checked((text) => hasFormat('date', text), 'invalid date'),
  datetime: checked((text) => hasFormat('date-time', text), 'invalid datetime'),
  duration: checked(isDuration, 'invalid duration'),
};

export function registerStrings(environment: Environment): void {
  const matches = (text: string, pattern: string): boolean => {
    chargeText(text.length * Math.max(1, pattern.length / 4));
    return findsRe2(pattern, text);
  };
  environment.registerFunction('string.re2Matches(string): bool', matches);
  environment.registerFunction('matches(string, string): bool', matches);
  environment.registerFunction('string.find(string): string', (text: string, pattern: string) => {
    chargeText(text.length * Math.max(1, pattern.length / 4));
    const matcher = compileRe2(pattern).matcher(text);
    return matcher.find() ? (matcher.group() ?? '') : '';
  });
  environment.registerFunction('string.findAll(string): list<string>', (text: string, pattern: string) =>
    findAll(text, pattern, -1),
  );
  environment.registerFunction(
    'string.findAll(string, int): list<string>',
    (text: string, pattern: string, most: bigint) => findAll(text, pattern, Number(most)),
  );
  environment.registerFunction('string.charAt(int): string', (text: string, index: bigint) => {
    const points = [...text];
    if (index < 0n || index > BigInt(points.length)) throw new Error(`index out of range: ${index}`);
    return points[Number(index)] ?? '';
  });
  environment.registerFunction('string.replace(string, string): string', (text: string, old: string, next: string) =>
    replace(text, old, next, -1),
  );
  environment.registerFunction(
    'string.replace(string, string, int): string',
    (text: string, old: string, next: string, most: bigint) => replace(text, old, next, Number(most)),
  );
  environment.registerFunction('string.reverse(): string', (text: string) => [...text].reverse().join(''));
  const strings = registerNamespace(environment, 'strings');
  environment.registerFunction(`${strings}.quote(string): string`, ((_strings: unknown, text: string) =>
    JSON.stringify(text)) as never);
  environment.registerFunction('string.format(list): string', (text: string, values: unknown[]) => {
    chargeText(text.length);
    return format(text, values);
  });
  environment.registerType('kubernetes.NamedFormat', StringFormat as never);
  const formats = registerNamespace(environment, 'format');
  environment.registerFunction(`${formats}.named(string): optional<kubernetes.NamedFormat>`, ((
    _namespace: unknown,
    name: string,
  ) =>
    optionalOf(Object.hasOwn(namedFormats, name) ? new StringFormat(name, namedFormats[name]!) : undefined)) as never);
  for (const name of Object.keys(namedFormats))
    environment.registerFunction(
      `${formats}.${name}(): kubernetes.NamedFormat`,
      (() => new StringFormat(name, namedFormats[name]!)) as never,
    );
  environment.registerFunction('kubernetes.NamedFormat.validate(string): optional<list<string>>', ((
    one: StringFormat,
    text: string,
  ) => {
    chargeText(text.length);
    const errors = one.errors(text);
    return optionalOf(errors.length === 0 ? undefined : errors);
  }) as never);
}

function findAll(text: string, pattern: string, most: number): string[] {
  chargeText(text.length * Math.max(1, pattern.length / 4));
  const matcher = compileRe2(pattern).matcher(text);
  const out: string[] = [];
  while ((most < 0 || out.length < most) && matcher.find()) {
    charge(1);
    out.push(matcher.group() ?? '');
  }
  return out;
}

function replace(text: string, old: string, next: string, most: number): string {
  chargeText(text.length);
  if (old === '') {
    const points = [...text];
    const times = most < 0 ? points.length + 1 : Math.min(most, points.length + 1);
    chargeText(times * next.length);
    return (
      points.map((point, index) => (index < times ? next + point : point)).join('') +
      (times > points.length ? next : '')
    );
  }
  const parts = text.split(old);
  const times = most < 0 ? parts.length - 1 : Math.min(most, parts.length - 1);
  chargeText(times * next.length);
  return (
    parts.slice(0, times + 1).join(next) + (times < parts.length - 1 ? old + parts.slice(times + 1).join(old) : '')
  );
}

/** cel-go's string.format: %s %d %f %e %b %x %X %o and a precision. */
function format(text: string, values: readonly unknown[]): string {
  let at = 0;
  return text.replace(
    /%(?:%|(?:\.(\d+))?([a-zA-Z]))/g,
    (all, precision: string | undefined, verb: string | undefined) => {
      if (all === '%%') return '%';
      if (at >= values.length) throw new Error(`index ${at} out of range`);
      const value = values[at++];
      const digits = precision === undefined ? 6 : Math.min(100, Number(precision));
      switch (verb) {
        case 's':
          return shown(value);
        case 'd':
          return String(value);
        case 'f':
          return Number(value).toFixed(digits);
        case 'e':
          return Number(value)
            .toExponential(digits)
            .replace(/e([+-])(\d)$/, 'e$10$2');
        case 'b':
          return typeof value === 'boolean' ? (value ? '1' : '0') : (value as bigint).toString(2);
        case 'o':
          return (value as bigint).toString(8);
        case 'x':
        case 'X': {
          const hex = typeof value === 'bigint' ? value.toString(16) : Buffer.from(value as string).toString('hex');
          return verb === 'X' ? hex.toUpperCase() : hex;
        }
        default:
          throw new Error(`could not parse formatting clause: unrecognized formatting clause "${verb ?? ''}"`);
      }
    },
  );
}

function shown(value: unknown): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint') return value.toString();
  const json = jsonOf(value);
  if (Array.isArray(json)) return `[${(value as unknown[]).map(shown).join(', ')}]`;
  return typeof json === 'string' ? json : JSON.stringify(json);
}
