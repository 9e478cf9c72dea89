import type { FieldError, FieldErrorType } from './status.ts';

/**
 * Checks of names and the wording of field errors, as in k8s.io/apimachinery/pkg/util/validation. Each `…Errors` function answers what is wrong,
 * empty when nothing is.
 */
const labelPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const label1035Pattern = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;
const subdomainPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const labelText =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const label1035Text =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const subdomainText =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

function tooLong(max: number): string {
  return `must be no more than ${max} bytes`;
}

export function dns1123LabelErrors(value: string): string[] {
  const out: string[] = [];
  if (value.length > 63) out.push(tooLong(63));
  if (!labelPattern.test(value)) out.push(labelText);
  return out;
}

export function dns1035LabelErrors(value: string): string[] {
  const out: string[] = [];
  if (value.length > 63) out.push(tooLong(63));
  if (!label1035Pattern.test(value)) out.push(label1035Text);
  return out;
}

export function dns1123SubdomainErrors(value: string): string[] {
  const out: string[] = [];
  if (value.length > 253) out.push(tooLong(253));
  if (!subdomainPattern.test(value)) out.push(subdomainText);
  return out;
}

/** Names that may be anything that fits in a URL path (RBAC). */
export function pathSegmentErrors(value: string): string[] {
  if (value === '.' || value === '..') return [`may not be '${value}'`];
  const out: string[] = [];
  for (const illegal of ['/', '%']) if (value.includes(illegal)) out.push(`may not contain '${illegal}'`);
  return out;
}

export function portNumberErrors(value: number): string[] {
  return value >= 1 && value <= 65535 ? [] : ['must be between 1 and 65535, inclusive'];
}

/** IANA service names: `http`, `my-port1`. */
export function portNameErrors(value: string): string[] {
  const out: string[] = [];
  if (value.length > 15) out.push('must be no more than 15 characters');
  if (!/^[-a-z0-9]+$/.test(value)) out.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  if (!/[a-z]/.test(value)) out.push('must contain at least one letter (a-z)');
  if (value.includes('--')) out.push('must not contain consecutive hyphens');
  if (value.startsWith('-') || value.endsWith('-')) out.push('must not begin or end with a hyphen');
  return out;
}

/** Environment variable names since 1.30 (RelaxedEnvironmentVariableValidation): printable ASCII without `=`. */
export function envVarNameErrors(value: string): string[] {
  if (/^[ -<>-~]+$/.test(value)) return [];
  return ["a valid environment variable name must consist only of printable ASCII characters other than '='"];
}

/** Keys of ConfigMaps and Secrets. */
export function configMapKeyErrors(value: string): string[] {
  const out: string[] = [];
  if (value.length > 253) out.push(tooLong(253));
  if (!/^[-._a-zA-Z0-9]+$/.test(value))
    out.push(
      "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
    );
  if (value === '.') out.push("must not be '.'");
  if (value === '..') out.push("must not be '..'");
  else if (value.startsWith('..')) out.push("must not start with '..'");
  return out;
}

const ipv4Pattern = /^(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(\.(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)){3}$/;

export function isIPv4(value: string): boolean {
  return ipv4Pattern.test(value);
}

export function isIPv6(value: string): boolean {
  if (!value.includes(':') || !/^[0-9a-fA-F:.]+$/.test(value) || value.length > 45) return false;
  const halves = value.split('::');
  if (halves.length > 2) return false;
  let groups = 0;
  for (const half of halves) {
    if (half === '') continue;
    const parts = half.split(':');
    for (const [index, part] of parts.entries()) {
      if (part.includes('.')) {
        if (index !== parts.length - 1 || !isIPv4(part)) return false;
        groups += 2;
      } else {
        if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return false;
        groups++;
      }
    }
  }
  return halves.length === 2 ? groups <= 7 : groups === 8;
}

export function ipErrors(value: string): string[] {
  return isIPv4(value) || isIPv6(value) ? [] : ['must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'];
}

/** A value as Go's %#v-like error text shows it: strings quoted, objects as JSON. */
function shown(value: unknown): string {
  if (value === undefined || value === null) return 'null';
  return typeof value === 'string' || typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function fieldError(type: FieldErrorType, field: string, detail: string): FieldError {
  return { type, field, detail };
}

export function required(field: string, why = ''): FieldError {
  return fieldError('FieldValueRequired', field, why === '' ? 'Required value' : `Required value: ${why}`);
}

export function invalidValue(field: string, value: unknown, why: string): FieldError {
  return fieldError('FieldValueInvalid', field, `Invalid value: ${shown(value)}: ${why}`);
}

/** The same where the value is too large or too obvious to be shown. */
export function invalidField(field: string, why: string): FieldError {
  return fieldError('FieldValueInvalid', field, `Invalid value: ${why}`);
}

export function notSupported(field: string, value: unknown, allowed: readonly string[]): FieldError {
  return fieldError(
    'FieldValueNotSupported',
    field,
    `Unsupported value: ${shown(value)}: supported values: ${[...allowed]
      .sort()
      .map((item) => JSON.stringify(item))
      .join(', ')}`,
  );
}

export function duplicate(field: string, value: unknown): FieldError {
  return fieldError('FieldValueDuplicate', field, `Duplicate value: ${shown(value)}`);
}

export function forbiddenField(field: string, why: string): FieldError {
  return fieldError('FieldValueForbidden', field, `Forbidden: ${why}`);
}

export function notFoundField(field: string, value: unknown): FieldError {
  return fieldError('FieldValueNotFound', field, `Not found: ${shown(value)}`);
}

export function tooLongField(field: string, max: number): FieldError {
  return fieldError('FieldValueTooLong', field, `Too long: may not be more than ${max} bytes`);
}

export function tooManyField(field: string, actual: number, max: number): FieldError {
  return fieldError('FieldValueTooMany', field, `Too many: ${actual}: must have at most ${max} items`);
}

export const immutableMessage = 'field is immutable';
