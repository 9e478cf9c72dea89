import { isMap, isScalar, type YAMLMap } from 'yaml';
import type { z } from 'zod';
import { AppError } from '../base/errors.ts';
import type { Config, KeyPath } from './config.ts';
import {
  nested,
  keyPaths,
  keys,
  type MachineFacts,
  otherVariables,
  sections,
  variableOf,
  writtenForm,
} from './keys.ts';
import { didYouMean, nearest } from './nearest.ts';
import { rules } from './rules.ts';
import { osdKeys, shown } from './values.ts';
import { readYaml } from './yaml-source.ts';

export { type MachineFacts, osdPlace } from './keys.ts';

/** Where a value comes from. */
export type Origin =
  | { readonly from: 'default' }
  /** What the cluster that this machine joined has. */
  | { readonly from: 'cluster' }
  | { readonly from: 'file'; readonly file: string; readonly line: number; readonly column: number }
  | { readonly from: 'environment'; readonly variable: string }
  | { readonly from: 'flag'; readonly flag: string };

/** `default`, `cluster`, `FILE:LINE:COLUMN`, the name of the variable, the flag. */
export function originText(origin: Origin): string {
  if (origin.from === 'file') return `${origin.file}:${origin.line}:${origin.column}`;
  if (origin.from === 'environment') return origin.variable;
  return origin.from === 'flag' ? `--${origin.flag}` : origin.from;
}

/** What values are read from. Of several, the later wins: the order is the file, those of conf.d by name, the environment, the flags. */
export type Source =
  | { readonly kind: 'file'; readonly file: string; readonly text: string }
  /** A file that somebody took for the configuration, and that is not: its name is another one. */
  | { readonly kind: 'unread'; readonly file: string; readonly instead: string }
  /** All variables of the process; those that begin with APPLIANCE_ are read. */
  | { readonly kind: 'environment'; readonly variables: Readonly<Record<string, string | undefined>> }
  /** By name without `--`, every time that it was given. */
  | { readonly kind: 'flags'; readonly flags: Readonly<Record<string, readonly string[]>> };

/** One mistake in the configuration, with its place. */
export interface ConfigProblem {
  readonly origin: Origin;
  /** `storage.osd[1].size`. */
  readonly path: string;
  readonly message: string;
}

export function problemText({ origin, path, message }: ConfigProblem): string {
  return `${origin.from === 'default' || origin.from === 'cluster' ? '' : `${originText(origin)}: `}${path ? `${path}: ` : ''}${message}`;
}

/** Every mistake at once; `message` has a line `file:line:column: path: what was expected` for each. */
export class ConfigError extends AppError {
  readonly problems: readonly ConfigProblem[];
  constructor(problems: readonly ConfigProblem[]) {
    super('CONFIG', problems.map(problemText).join('\n'), {
      hint: '`appliance config explain KEY` tells what a key takes',
    });
    this.problems = problems;
  }
}

/** One effective value. Of a map there is one for each of its keys. */
export interface EffectiveValue {
  readonly path: string;
  readonly value: unknown;
  readonly origin: Origin;
}

export interface Evaluation {
  /** With problems, the keys that have them are at their defaults. */
  readonly config: Config;
  readonly problems: readonly ConfigProblem[];
  readonly origins: ReadonlyMap<KeyPath, Origin>;
  /** All of it as it would be written in a file; secrets are left out. */
  readonly written: Readonly<Record<string, unknown>>;
  /** Effective values in the order of the table, for people: as they would be written in the file. */
  readonly values: readonly EffectiveValue[];
}

type Inside = readonly (string | number)[];

/** A key that a source sets. */
interface Setting {
  readonly path: KeyPath;
  readonly raw: unknown;
  at(inside: Inside): Origin;
}

/** So many mistakes of one file are told. */
const maxProblems = 100;

interface Reading {
  readonly settings: Setting[];
  readonly problems: ConfigProblem[];
}

export function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return text ? `${text}.${String(step)}` : String(step);
  }, '');
}

const isKey = (path: string): path is KeyPath => Object.hasOwn(keys, path);

/** Names that may stand in a section; of the file as a whole with ''. */
function namesIn(section: string): string[] {
  const prefix = section === '' ? '' : `${section}.`;
  return [
    ...new Set(
      keyPaths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length).split('.')[0]!),
    ),
  ];
}

/** What to write instead of an unknown key. */
function suggestion(key: string, section: string): string {
  const names = namesIn(section);
  const near = nearest(key, names);
  if (near !== undefined) return `; did you mean ${near}?`;
  // The right name in the wrong place, or K3s' name of it.
  const elsewhere = keyPaths.find(
    (path) => path.split('.').at(-1)!.toLowerCase() === key.toLowerCase() || keys[path].flag === key,
  );
  return elsewhere ? `; did you mean ${elsewhere}?` : `; known here: ${names.join(', ')}`;
}

function readFile(file: string, text: string): Reading {
  const yaml = readYaml(text);
  const origin = (path: readonly PropertyKey[]): Origin => ({ from: 'file', file, ...yaml.at(path) });
  const settings: Setting[] = [];
  const problems: ConfigProblem[] = yaml.problems.map(({ line, column, message }) => ({
    origin: { from: 'file', file, line, column },
    path: '',
    message,
  }));
  const walk = (map: YAMLMap, at: readonly string[]): void => {
    for (const { key, value } of map.items) {
      if (problems.length >= maxProblems) return;
      const name = isScalar(key) ? String(key.value) : undefined;
      if (name === undefined) {
        problems.push({ origin: origin(at), path: pathText(at), message: 'expected names as keys, got a list or map' });
        continue;
      }
      const path = [...at, name];
      const text = path.join('.');
      const known = at.length === 0 || !name.includes('.');
      if (known && isKey(text)) {
        let raw: unknown;
        try {
          raw = yaml.plain(value);
        } catch {
          problems.push({
            origin: origin(path),
            path: text,
            message: 'expected fewer aliases: they repeat each other',
          });
          continue;
        }
        settings.push({ path: text, raw: raw ?? null, at: (inside) => origin([...path, ...inside]) });
      } else if (known && Object.hasOwn(sections, text)) {
        if (isMap(value)) walk(value, path);
        // A section whose keys are all commented out.
        else if (value !== null && !(isScalar(value) && value.value === null))
          problems.push({
            origin: origin(path),
            path: text,
            message: `expected keys: ${namesIn(text).join(', ')}; got ${shown(yaml.plain(value))}`,
          });
      } else
        problems.push({
          origin: origin(path),
          path: pathText(path),
          message: `unknown key${suggestion(name, at.join('.'))}`,
        });
    }
  };
  if (yaml.top && yaml.problems.length === 0) walk(yaml.top, []);
  return { settings, problems };
}

/** What a text in a variable or flag stands for, before it is checked. Throws the mistake in words. */
function fromText(path: KeyPath, texts: readonly string[]): unknown {
  const { form } = keys[path].type;
  const last = texts.at(-1)!;
  if (form === 'text') return last;
  if (form === 'number') return /^-?\d{1,15}$/.test(last) ? Number(last) : last;
  if (form === 'items') {
    const items = texts.flatMap((text): unknown[] => {
      const yaml = readYaml(text.startsWith('[') ? `items: ${text}` : `items: [${text}]`);
      if (yaml.problems[0]) throw new AppError('CONFIG', yaml.problems[0].message);
      const value = yaml.plain(yaml.top) as { items?: unknown } | undefined;
      return Array.isArray(value?.items) ? value.items : [];
    });
    return items;
  }
  const parts = texts
    .flatMap((text) => text.split(','))
    .map((part) => part.trim())
    .filter((part) => part !== '');
  if (form === 'list') return parts;
  const pairs = parts.map((part) => {
    const equals = part.indexOf('=');
    if (equals < 0) throw new AppError('CONFIG', `expected NAME=VALUE, got ${shown(part)}`);
    return [part.slice(0, equals), part.slice(equals + 1)] as const;
  });
  return Object.fromEntries(pairs);
}

function readTexts(given: readonly { path: KeyPath; texts: readonly string[]; origin: Origin }[]): Reading {
  const reading: Reading = { settings: [], problems: [] };
  for (const { path, texts, origin } of given) {
    try {
      reading.settings.push({ path, raw: fromText(path, texts), at: () => origin });
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      reading.problems.push({ origin, path, message: error.message });
    }
  }
  return reading;
}

const pathOfVariable = new Map(keyPaths.map((path) => [variableOf(path), path]));

/** Without the prefix, which all of them share: it would make short names near. */
function nearVariable(variable: string): string {
  const rest = (name: string): string => name.slice('APPLIANCE_'.length);
  const known = [...pathOfVariable.keys(), ...Object.keys(otherVariables)];
  const near = nearest(rest(variable), known.map(rest));
  return near === undefined ? '' : `; did you mean APPLIANCE_${near}?`;
}

function readEnvironment(variables: Readonly<Record<string, string | undefined>>): Reading {
  const given: Parameters<typeof readTexts>[0][number][] = [];
  const problems: ConfigProblem[] = [];
  for (const [variable, text] of Object.entries(variables)) {
    if (!variable.startsWith('APPLIANCE_') || text === undefined || Object.hasOwn(otherVariables, variable)) continue;
    const path = pathOfVariable.get(variable);
    const origin: Origin = { from: 'environment', variable };
    if (path) given.push({ path, texts: [text], origin });
    else
      problems.push({
        origin,
        path: '',
        message: `unknown variable${nearVariable(variable)}`,
      });
  }
  const reading = readTexts(given);
  return { settings: reading.settings, problems: [...problems, ...reading.problems] };
}

const pathOfFlag = new Map(keyPaths.map((path) => [keys[path].flag, path]));

function readFlags(flags: Readonly<Record<string, readonly string[]>>): Reading {
  return readTexts(
    Object.entries(flags).flatMap(([flag, texts]) => {
      const path = pathOfFlag.get(flag);
      return path && texts.length > 0 ? [{ path, texts, origin: { from: 'flag', flag } as const }] : [];
    }),
  );
}

const readers: { [K in Source['kind']]: (source: Extract<Source, { kind: K }>) => Reading } = {
  file: ({ file, text }) => readFile(file, text),
  unread: ({ file, instead }) => {
    const message = `expected the name ${instead}: a file of this name is not read; rename it, or name it with --config`;
    return { settings: [], problems: [{ origin: { from: 'file', file, line: 1, column: 1 }, path: '', message }] };
  },
  environment: ({ variables }) => readEnvironment(variables),
  flags: ({ flags }) => readFlags(flags),
};

/** A mistake that a value type found, in words; they all say `expected` themselves but for these. */
function issueProblems(setting: Setting, issue: z.core.$ZodIssue): ConfigProblem[] {
  const inside = issue.path as Inside;
  if (issue.code === 'unrecognized_keys') {
    // The only values with named keys of their own are OSDs.
    const known = Object.keys(osdKeys);
    return issue.keys.map((key) => ({
      origin: setting.at([...inside, key]),
      path: pathText([setting.path, ...inside, key]),
      message: `unknown key${didYouMean(key, known) || `; known here: ${known.join(', ')}`}`,
    }));
  }
  const message = issue.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue.message;
  return [{ origin: setting.at(inside), path: pathText([setting.path, ...inside]), message }];
}

interface Effective {
  value: unknown;
  at(inside: Inside): Origin;
}

const byDefault: Origin = { from: 'default' };
const byCluster: Origin = { from: 'cluster' };

/** The effective configuration from all sources, with the origin of every value and every mistake. */
export function evaluate(sources: readonly Source[], facts: MachineFacts): Evaluation {
  const problems: ConfigProblem[] = [];
  const set = new Map<KeyPath, Effective>();
  const wrong = new Set<KeyPath>();
  for (const source of sources) {
    const reading = readers[source.kind](source as never);
    problems.push(...reading.problems);
    for (const problem of reading.problems) if (isKey(problem.path)) wrong.add(problem.path);
    for (const setting of reading.settings) {
      const parsed = keys[setting.path].type.schema.safeParse(setting.raw);
      if (parsed.success) set.set(setting.path, merged(set.get(setting.path), parsed.data, setting));
      else {
        wrong.add(setting.path);
        problems.push(...parsed.error.issues.flatMap((issue) => issueProblems(setting, issue)));
      }
    }
  }

  const values = new Map<KeyPath, unknown>();
  const resolve = (path: KeyPath): unknown => {
    if (!values.has(path))
      values.set(path, keys[path].resolve(wrong.has(path) ? undefined : set.get(path)?.value, context));
    return values.get(path);
  };
  const context = { facts, get: (path: KeyPath) => resolve(path) as never };
  for (const path of keyPaths) resolve(path);
  const config = nested((path) => values.get(path)) as unknown as Config;

  const originOf = (path: KeyPath, inside: Inside = []): Origin =>
    set.get(path)?.at(inside) ?? (facts.joined && keys[path].joined ? byCluster : byDefault);
  const departs = (path: KeyPath): boolean =>
    set.has(path) && JSON.stringify(values.get(path)) !== JSON.stringify(keys[path].resolve(undefined, context));
  for (const rule of rules) {
    if (rule.reads.some((path) => wrong.has(path))) continue;
    rule.check(
      config,
      (path, message, ...inside) => {
        // A default that does not fit is blamed on what made it not fit.
        const blamed = set.has(path) ? undefined : rule.reads.find((other) => set.has(other));
        problems.push({
          origin: blamed ? originOf(blamed) : originOf(path, inside),
          path: pathText([path, ...inside]),
          message,
        });
      },
      { facts, isSet: (path) => set.has(path), departs },
    );
  }

  return {
    config,
    problems: inOrder(problems, sources),
    origins: new Map(keyPaths.map((path) => [path, originOf(path)])),
    written: nested((path) => {
      const value = values.get(path);
      return value === undefined || keys[path].secret ? undefined : writtenForm(path, value);
    }),
    values: keyPaths.flatMap((path) => shownValues(path, values.get(path), (inside) => originOf(path, inside))),
  };
}

/** Maps are merged by key, everything else is replaced as a whole. */
function merged(before: Effective | undefined, value: unknown, setting: Setting): Effective {
  if (!before || keys[setting.path].type.form !== 'map') return { value, at: setting.at };
  const own = value as Record<string, unknown>;
  return {
    value: { ...(before.value as Record<string, unknown>), ...own },
    at: (inside) =>
      inside.length === 0 || Object.hasOwn(own, String(inside[0])) ? setting.at(inside) : before.at(inside),
  };
}

/** In the order of the sources, within a file in the order of its lines, what spans sources last. */
function inOrder(problems: readonly ConfigProblem[], sources: readonly Source[]): ConfigProblem[] {
  const rank = ({ origin }: ConfigProblem): number => {
    if (origin.from === 'default' || origin.from === 'cluster') return sources.length;
    return sources.findIndex((source) =>
      origin.from === 'file'
        ? (source.kind === 'file' || source.kind === 'unread') && source.file === origin.file
        : source.kind === (origin.from === 'flag' ? 'flags' : 'environment'),
    );
  };
  const line = ({ origin }: ConfigProblem): number =>
    origin.from === 'file' ? origin.line * 65536 + origin.column : 0;
  return problems.toSorted((a, b) => rank(a) - rank(b) || line(a) - line(b));
}

function shownValues(path: KeyPath, value: unknown, at: (inside: Inside) => Origin): EffectiveValue[] {
  const { type, secret } = keys[path];
  if (value === undefined) return [];
  const written = secret ? '(hidden)' : writtenForm(path, value);
  if (type.form === 'map' && Object.keys(written as object).length > 0)
    return Object.entries(written as object).map(([key, one]) => ({
      path: `${path}.${key}`,
      value: one,
      origin: at([key]),
    }));
  if (type.form === 'items' && (written as unknown[]).length > 0)
    return (written as unknown[]).map((one, index) => ({ path: `${path}[${index}]`, value: one, origin: at([index]) }));
  return [{ path, value: written, origin: at([]) }];
}

/** The effective configuration from one file. Throws ConfigError with every mistake. */
export function effectiveConfig(text: string, file: string, facts: MachineFacts): Config {
  return checkedConfig(evaluate([{ kind: 'file', file, text }], facts));
}

/** The configuration of an evaluation without problems; else throws ConfigError. */
export function checkedConfig({ config, problems }: Evaluation): Config {
  if (problems.length > 0) throw new ConfigError(problems);
  return config;
}
