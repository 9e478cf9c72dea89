import { posix } from 'node:path';
import { z } from 'zod';
import { isIPv4 } from './cidr.ts';
import type { NodeTaint, RoleName } from './config.ts';
import { didYouMean } from './nearest.ts';

/** The kinds of value that keys of `appliance.yaml` have: what a user may write, and what is read from it. */
export interface ValueType<T> {
  /** Checks what was written; every message of it reads `expected …, got …`. */
  readonly schema: z.ZodType<T, unknown>;
  /** How the value is written in one environment variable or flag. */
  readonly form: 'text' | 'number' | 'list' | 'map' | 'items';
  /** What `--help` calls the value. */
  readonly placeholder: string;
  /** What a user would write for a value; the value itself when absent. */
  readonly write?: (value: T) => unknown;
}

/** What was written, short enough for a message. */
export function shown(value: unknown): string {
  if (value === null || value === undefined) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty list' : 'a list';
  if (typeof value === 'object') return 'a map of keys';
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value);
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

const saying = (expects: string) => ({
  error: (issue: { input?: unknown }): string => `expected ${expects}, got ${shown(issue.input)}`,
});

/** A text of at most `max` characters (253) that passes `pattern` and `test`. */
function text(
  expects: string,
  { max = 253, pattern, test }: { max?: number; pattern?: RegExp; test?: (value: string) => boolean },
): z.ZodType<string, unknown> {
  const fits = (value: string): boolean =>
    value.length <= max && (pattern?.test(value) ?? true) && (test?.(value) ?? true);
  const schema = z.string(saying(expects)).refine(fits, saying(expects));
  return (pattern ? schema.meta({ pattern: pattern.source }) : schema) as unknown as z.ZodType<string, unknown>;
}

function whole(min: number, max: number, expects = `a whole number from ${min} to ${max}`): z.ZodType<number, unknown> {
  return z.int(saying(expects)).min(min, saying(expects)).max(max, saying(expects));
}

const one = <T>(
  schema: z.ZodType<T, unknown>,
  placeholder: string,
  form: 'text' | 'number' = 'text',
): ValueType<T> => ({
  schema,
  form,
  placeholder,
});

const list = <T>(
  item: z.ZodType<T, unknown>,
  expects: string,
  placeholder: string,
  least = 0,
): ValueType<readonly T[]> => ({
  schema: z
    .array(item, saying(expects))
    .min(least, saying(`${expects} with at least one entry`))
    .max(64, saying(`${expects} with at most 64 entries`)),
  form: 'list',
  placeholder,
});

/** One of a few words; a near miss is told. */
function choice<const T extends string>(words: readonly T[], what: string): z.ZodType<T, unknown> {
  return z.enum(words as readonly [T, ...T[]], {
    error: (issue) =>
      `expected ${what}: ${words.join(', ')}; got ${shown(issue.input)}${typeof issue.input === 'string' ? didYouMean(issue.input, words) : ''}`,
  }) as unknown as z.ZodType<T, unknown>;
}

export const word = <const T extends string>(words: readonly T[], what: string): ValueType<T> =>
  one(choice(words, what), words.length > 4 ? 'WORD' : words.join('|'));

const ipv4Schema = text('an IPv4 address such as 192.168.1.10', { test: isIPv4 });
export const ipv4 = one(ipv4Schema, 'ADDRESS');

export const cidr = one(
  text('an IPv4 network such as 10.42.0.0/16', {
    test: (value) =>
      /^[^/]+\/\d{1,2}$/.test(value) && isIPv4(value.split('/')[0]!) && Number(value.split('/')[1]) <= 32,
  }),
  'NETWORK',
);

/** `true` and `false`; also as text, which is how variables and flags give it. */
export const yesNo: ValueType<boolean> = one(
  z
    .union([z.boolean(), z.enum(['true', 'false'])], saying('true or false'))
    .transform((given) => given === true || given === 'true') as unknown as z.ZodType<boolean, unknown>,
  'true|false',
);

export const port = (max = 65535): ValueType<number> => one(whole(1, max, `a port from 1 to ${max}`), 'PORT', 'number');

export const count = (min: number, max: number): ValueType<number> => one(whole(min, max), 'NUMBER', 'number');

/** Written in one way only, so that paths can be compared: no `.`, `..`, double or closing slash. */
const pathSchema = text('an absolute path such as /var/lib/appliance', {
  max: 4096,
  test: (value) => value.startsWith('/') && !/[\0\r\n]/.test(value),
}).transform((value) => posix.normalize(value).replace(/(?<=.)\/$/, '')) as unknown as z.ZodType<string, unknown>;
export const path = one(pathSchema, 'PATH');
export const paths = list(pathSchema, 'a list of absolute paths', 'PATH', 1);

/** Where a Ceph monitor listens for msgr v2; 3300 when no port is named. */
export const monHosts = list(
  text('the address of a monitor such as 192.168.1.20:3300', {
    test: (value) => {
      const match = /^([\d.]+)(?::(\d{1,5}))?$/.exec(value);
      return match !== null && isIPv4(match[1]!) && (match[2] === undefined || (+match[2] > 0 && +match[2] < 65536));
    },
  }),
  'a list of addresses of monitors',
  'HOST:PORT',
);

export const uuid = one(
  text('a UUID such as 3b1f0e3c-9a5c-4a53-8d4e-0c4e1f1c9d11', {
    pattern: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/,
  }),
  'UUID',
);

/** Names of users and pools of Ceph, without what its command line and its files take for something else. */
export const cephName = (expects: string): ValueType<string> =>
  one(text(expects, { max: 128, pattern: /^[A-Za-z0-9_][-A-Za-z0-9_.]*$/ }), 'NAME');

/** Its message does not repeat what was written. A cephx secret: type 1 (AES), time, length 16, key (`CryptoKey`, src/auth/Crypto.cc). */
export const cephKey = one(
  z
    .string({ error: 'expected a key as `ceph auth get-key` prints it' })
    .refine((value) => /^AQ[A-Za-z0-9+/]{36}==$/.test(value), {
      error: 'expected a key as `ceph auth get-key` prints it: 40 characters that begin with AQ and end with ==',
    }) as unknown as z.ZodType<string, unknown>,
  'KEY',
);

export const program = one(
  text('the name or path of a program', { max: 4096, test: (value) => value.trim() !== '' && !/[\0\r\n]/.test(value) }),
  'PROGRAM',
);

const label = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
export const dnsLabel = one(
  text('lower-case letters, digits and "-", such as node-1', { max: 63, pattern: new RegExp(`^${label}$`) }),
  'NAME',
);
const dnsNamePattern = new RegExp(`^${label}(\\.${label})*$`);
export const dnsName = one(text('a DNS name such as cluster.local', { pattern: dnsNamePattern }), 'NAME');
export const hosts = list(
  text('a DNS name or an IPv4 address', {
    test: (value) => (/^[\d.]+$/.test(value) ? isIPv4(value) : dnsNamePattern.test(value)),
  }),
  'a list of DNS names and IPv4 addresses',
  'HOST',
);

/** Names of labels and taints: `[DNS name/]name` (apimachinery `IsQualifiedName`). */
function isQualifiedName(text: string): boolean {
  const slash = text.indexOf('/');
  const prefix = slash < 0 ? undefined : text.slice(0, slash);
  const name = text.slice(slash + 1);
  if (prefix !== undefined && (prefix.length > 253 || !dnsNamePattern.test(prefix))) return false;
  return name.length <= 63 && /^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/.test(name);
}
const isLabelValue = (text: string): boolean =>
  text.length <= 63 && /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$/.test(text);

export const labels: ValueType<Readonly<Record<string, string>>> = {
  schema: z.record(
    text('the name of a label such as example.com/disk', { max: 317, test: isQualifiedName }) as z.ZodType<
      string,
      string
    >,
    text('the value of a label: at most 63 letters, digits, "-", "_" and ".", in quotes when it looks like a number', {
      max: 63,
      test: isLabelValue,
    }),
    saying('a map of labels such as {disk: ssd}'),
  ) as unknown as z.ZodType<Readonly<Record<string, string>>, unknown>,
  form: 'map',
  placeholder: 'NAME=VALUE',
};

const taintEffects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'] as const;

/** A taint from `key=value:effect` or `key:effect`; undefined when it is not one. */
export function parseTaint(text: string): NodeTaint | undefined {
  const match = /^([^=:]+)(?:=([^=:]*))?:(\w+)$/.exec(text);
  const effect = taintEffects.find((known) => known === match?.[3]);
  if (!match || !effect || !isQualifiedName(match[1]!) || !isLabelValue(match[2] ?? '')) return undefined;
  return { key: match[1]!, ...(match[2] ? { value: match[2] } : {}), effect };
}

export const taints: ValueType<readonly NodeTaint[]> = {
  ...(list(
    text(`a taint such as dedicated=storage:NoSchedule; effects are ${taintEffects.join(', ')}`, {
      max: 400,
      test: (value) => parseTaint(value) !== undefined,
    }).transform((value) => parseTaint(value)!) as unknown as z.ZodType<NodeTaint, unknown>,
    'a list of taints',
    'KEY=VALUE:EFFECT',
  ) as ValueType<readonly NodeTaint[]>),
  write: (value) => value.map(({ key, value, effect }) => `${key}${value ? `=${value}` : ''}:${effect}`),
};

export const fileMode = one(
  text('permission bits in quotes such as "0600" or "0644"', { pattern: /^0?[0-7]{3}$/ }),
  'MODE',
);

export const serverUrl = one(
  text('the address of a server such as https://192.168.1.10:6443', {
    max: 300,
    pattern: /^https:\/\/[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:\d{1,5})?\/?$/,
  }).transform((value) => value.replace(/\/$/, '')) as unknown as z.ZodType<string, unknown>,
  'URL',
);

/** Its messages do not repeat what was written. */
export const token = one(
  z
    .string({ error: 'expected a token as `appliance token create` prints it, in quotes when it looks like a number' })
    .refine((value) => /^[!-~]{8,512}$/.test(value), {
      error: 'expected a token of 8 to 512 characters without spaces',
    }) as unknown as z.ZodType<string, unknown>,
  'TOKEN',
);

export const datastore = one(
  text('an etcd such as etcd://10.0.0.5:2379,10.0.0.6:2379', {
    max: 2000,
    pattern: /^etcd:\/\/[-A-Za-z0-9.[\]:]+(,[-A-Za-z0-9.[\]:]+)*$/,
    test: (value) =>
      value
        .slice('etcd://'.length)
        .split(',')
        .every((address) => /^(\[[0-9a-fA-F:]+\]|[^:[\]]+):\d{1,5}$/.test(address)),
  }),
  'ENDPOINTS',
);

export const bucketUrl = one(
  text('the address of a bucket such as https://s3.example.com/backups/home', {
    max: 1000,
    pattern: /^https?:\/\/[-A-Za-z0-9.[\]:]+\/[-A-Za-z0-9._]{3,63}(\/[-A-Za-z0-9._/]*)?$/,
  }),
  'URL',
);

export const region = one(text('a region such as us-east-1', { pattern: /^[-a-z0-9]{1,40}$/ }), 'REGION');

/** Its messages do not repeat what was written. */
export const secret = one(
  z
    .string({ error: 'expected a text, in quotes when it looks like a number' })
    .refine((value) => /^[!-~]{1,512}$/.test(value), {
      error: 'expected a text of 1 to 512 characters without spaces',
    }) as unknown as z.ZodType<string, unknown>,
  'TEXT',
);

export const portRange: ValueType<readonly [number, number]> = {
  schema: text('a range of ports such as 30000-32767, low first', {
    pattern: /^\d{1,5}-\d{1,5}$/,
    test: (value) => {
      const [low, high] = value.split('-').map(Number) as [number, number];
      return low >= 1 && high <= 65535 && low <= high;
    },
  }).transform((value) => value.split('-').map(Number) as [number, number]) as unknown as z.ZodType<
    readonly [number, number],
    unknown
  >,
  form: 'text',
  placeholder: 'LOW-HIGH',
  write: ([low, high]) => `${low}-${high}`,
};

/** What a node runs that is told nothing. */
export const usualRoles = ['server', 'agent', 'mon', 'mgr', 'osd'] as const satisfies readonly RoleName[];
export const roleNames = [...usualRoles, 'mds', 'rgw'] as const satisfies readonly RoleName[];

export const roles = list(
  z.enum(roleNames, {
    error: (issue) =>
      `expected roles of ${roleNames.join(', ')}; ${shown(issue.input)} is not one${
        typeof issue.input === 'string' ? didYouMean(issue.input, roleNames) : ''
      }`,
  }) as unknown as z.ZodType<RoleName, unknown>,
  'a list of roles such as [server, agent]',
  'ROLE',
  1,
);

const sizeUnits: Record<string, number> = {
  '': 1,
  K: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** Bytes of `10Gi`, `500M`, `1073741824`; undefined when it is not a size. */
export function parseSize(text: string | number): number | undefined {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]i?)?B?$/.exec(String(text).trim().slice(0, 32));
  if (!match) return undefined;
  const bytes = Math.floor(Number(match[1]) * sizeUnits[match[2] ?? '']!);
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
}

/** The shortest text that `parseSize` reads as `bytes`. */
export function sizeText(bytes: number): string | number {
  for (const unit of ['Ti', 'Gi', 'Mi', 'Ki'])
    if (bytes % sizeUnits[unit]! === 0) return `${bytes / sizeUnits[unit]!}${unit}`;
  return bytes;
}

/** Below this no role comes up. */
const minBudgetBytes = 64 * 2 ** 20;
const budgetExpected = 'a size such as 256Mi, at least 64Mi, or none';

/** A memory budget in bytes; 0 is none. */
export const memoryBudget: ValueType<number> = {
  ...one(
    z
      .union([z.string(), z.number()], saying(budgetExpected))
      .refine((value) => value === 'none' || (parseSize(value) ?? 0) >= minBudgetBytes, saying(budgetExpected))
      .transform((value) => (value === 'none' ? 0 : parseSize(value)!)) as unknown as z.ZodType<number, unknown>,
    'SIZE',
  ),
  write: (bytes) => (bytes === 0 ? 'none' : sizeText(bytes)),
};

/** Below this an OSD has no room for its journal and index. */
const minOsdBytes = 512 * 2 ** 20;
const osdSize = z
  .union([z.string(), z.number()], saying('a size such as 10Gi'))
  .refine((value) => parseSize(value) !== undefined, { ...saying('a size such as 10Gi'), abort: true })
  .refine((value) => parseSize(value)! >= minOsdBytes, saying('at least 512Mi'))
  .transform((value) => parseSize(value)!) as unknown as z.ZodType<number, unknown>;

const device = text('a path below /dev, or a name in /dev/disk/by-id', {
  max: 4096,
  test: (value) =>
    value.startsWith('/')
      ? /^\/dev\/[^\0\r\n]+$/.test(value)
      : /^[^\s/\0]+$/.test(value) && value !== '.' && value !== '..',
});
const serial = text('a serial number as `lsblk -o NAME,SERIAL` shows it, in quotes when it looks like a number', {
  max: 128,
  test: (value) => /^\S(.*\S)?$/.test(value),
});

/** What each key of an OSD means. */
export const osdKeys = {
  id: 'Number of the OSD, free in the cluster. Default: the place in the list, from 0; on a node that joined, one that the mon gives.',
  file: 'A sparse file, made on first use.',
  directory: 'A directory of a file system that is mounted already.',
  device:
    'A whole disk or a partition: a path below /dev, or a name in /dev/disk/by-id. Formatted if it is blank, refused if it holds anything else.',
  serial: 'A disk by its serial number, wherever it is plugged in.',
  partition: 'With serial: this partition of the disk. Default: the whole disk.',
  size: 'With file: its size. Default: that of the file if it is there, else a fifth of the free space, from 1 to 32 GiB. With directory: use at most this much.',
} as const;

const osdSchema = z
  .strictObject(
    {
      id: whole(0, 9999).optional().meta({ description: osdKeys.id }),
      file: pathSchema.optional().meta({ description: osdKeys.file }),
      directory: pathSchema.optional().meta({ description: osdKeys.directory }),
      device: device.optional().meta({ description: osdKeys.device }),
      serial: serial.optional().meta({ description: osdKeys.serial }),
      partition: whole(1, 255).optional().meta({ description: osdKeys.partition }),
      size: osdSize.optional().meta({ description: osdKeys.size }),
    },
    {
      error: (issue) =>
        issue.code === 'unrecognized_keys'
          ? undefined
          : `expected an OSD such as {device: /dev/sda}, got ${shown(issue.input)}`,
    },
  )
  .superRefine((value, context) => {
    const places = (['file', 'directory', 'device', 'serial'] as const).filter((place) => value[place] !== undefined);
    const problem = (message: string, ...path: string[]): void => context.addIssue({ code: 'custom', message, path });
    if (places.length !== 1)
      problem(`expected exactly one of file, directory, device and serial, got ${places.join(' and ') || 'none'}`);
    if (value.size !== undefined && (value.device !== undefined || value.serial !== undefined))
      problem(`expected no size with ${places.join(' and ')}: the whole device is used`, 'size');
    if (value.partition !== undefined && value.serial === undefined)
      problem(
        value.device === undefined
          ? 'expected no partition without serial'
          : 'expected no partition with device: name the partition itself, such as /dev/sda1',
        'partition',
      );
  });

/** What a user may write for one OSD. */
export type OsdEntry = z.infer<typeof osdSchema>;

export const osds: ValueType<readonly OsdEntry[]> = {
  schema: z
    .array(osdSchema, saying('a list of OSDs such as [{device: /dev/sda}]'))
    .max(64, saying('at most 64 OSDs')) as unknown as z.ZodType<readonly OsdEntry[], unknown>,
  form: 'items',
  placeholder: 'OSD',
  write: (value) => value.map((osd) => (osd.size === undefined ? osd : { ...osd, size: sizeText(osd.size) })),
};
