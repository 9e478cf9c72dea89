import { isIPv4, isIPv6 } from '../validation.ts';

/** Formats that are checked (docs: custom-resource-definitions, "Validation"); others are taken as they are. */
const pattern =
  (regexp: RegExp): ((value: string) => boolean) =>
  (value) =>
    regexp.test(value);

const uuid = (version: string): ((value: string) => boolean) =>
  pattern(new RegExp(`^[0-9a-f]{8}-?[0-9a-f]{4}-?${version}[0-9a-f]{3}-?[0-9a-f]{4}-?[0-9a-f]{12}$`, 'i'));

function isDate(value: string): boolean {
  const match = /^(\d{4})-(\d{2})-(\d{2})$/.exec(value);
  if (match === null) return false;
  const date = new Date(Date.UTC(Number(match[1]), Number(match[2]) - 1, Number(match[3])));
  return date.getUTCMonth() === Number(match[2]) - 1 && date.getUTCDate() === Number(match[3]);
}

function isDateTime(value: string): boolean {
  const match = /^(\d{4}-\d{2}-\d{2})[Tt ]([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]\d{2}:?\d{2})$/.exec(
    value,
  );
  return match !== null && isDate(match[1]!);
}

function isUri(value: string): boolean {
  return value !== '' && (URL.canParse(value) || /^\/[^\s]*$/.test(value));
}

function isCidr(value: string): boolean {
  const [address, bits, ...more] = value.split('/');
  if (address === undefined || bits === undefined || more.length > 0 || !/^\d{1,3}$/.test(bits)) return false;
  return isIPv4(address) ? Number(bits) <= 32 : isIPv6(address) && Number(bits) <= 128;
}

/** Go's time.ParseDuration, and the units of strfmt. */
export function isDuration(value: string): boolean {
  return (
    /^[-+]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$/.test(value) ||
    value === '0' ||
    /^\d+ ?(nanos(econds?)?|micros(econds?)?|millis(econds?)?|seconds?|secs?|minutes?|mins?|hours?|hrs?|days?|weeks?|wks?|d|w)$/i.test(
      value,
    )
  );
}

const label = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';

const formats: Readonly<Record<string, (value: string) => boolean>> = {
  bsonobjectid: pattern(/^[0-9a-f]{24}$/i),
  uri: isUri,
  email: pattern(/^[^\s@<>]+@[^\s@<>.]+(\.[^\s@<>.]+)*$/),
  hostname: pattern(/^(?=.{1,255}$)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*\.?$/i),
  ipv4: isIPv4,
  ipv6: isIPv6,
  cidr: isCidr,
  mac: pattern(/^([0-9a-f]{2}[:-]){5}([0-9a-f]{2})$|^([0-9a-f]{4}\.){2}[0-9a-f]{4}$/i),
  uuid: uuid('[0-9a-f]'),
  uuid3: uuid('3'),
  uuid4: uuid('4'),
  uuid5: uuid('5'),
  isbn10: pattern(/^(\d[- ]?){9}[\dX]$/i),
  isbn13: pattern(/^(\d[- ]?){13}$/),
  isbn: pattern(/^(\d[- ]?){9}[\dX]$|^(\d[- ]?){13}$/i),
  creditcard: pattern(/^(\d[- ]?){12,18}\d$/),
  ssn: pattern(/^\d{3}[- ]?\d{2}[- ]?\d{4}$/),
  hexcolor: pattern(/^#?([0-9a-f]{3}|[0-9a-f]{6})$/i),
  rgbcolor: pattern(/^rgb\(\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3}\s*\)$/i),
  byte: pattern(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/),
  date: isDate,
  'date-time': isDateTime,
  datetime: isDateTime,
  duration: isDuration,
  'k8s-short-name': (value) => value.length <= 63 && new RegExp(`^${label}$`).test(value),
  'k8s-long-name': (value) => value.length <= 253 && new RegExp(`^${label}(\\.${label})*$`).test(value),
};

/** Whether a text has the format; true for formats that nobody checks. */
export function hasFormat(format: string, value: string): boolean {
  return !Object.hasOwn(formats, format) || formats[format]!(value);
}
