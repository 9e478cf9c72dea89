import { isObject, type Json } from './json.ts';

/**
 * JSONPath as printer columns use it (docs: reference/kubectl/jsonpath): fields, indexes, slices, wildcards, recursive descent and filters such as
 * `[?(@.type=="Ready")]`.
 */
type Step = (values: Json[]) => Json[];

export type JsonPath = (value: Json) => Json[];

const lengthMax = 1000;
const resultsMax = 1000;

/** Reads a path with or without braces: `.status.phase`, `{.status.phase}`. Throws Error for what is none. */
export function parseJsonPath(text: string): JsonPath {
  const inner = text.startsWith('{') && text.endsWith('}') ? text.slice(1, -1) : text;
  if (inner.length > lengthMax) throw new Error(`JSONPath is longer than ${lengthMax} characters`);
  const steps: Step[] = [];
  let at = inner.startsWith('$') ? 1 : 0;
  while (at < inner.length) {
    const rest = inner.slice(at);
    const field = /^(\.\.?)((?:\\.|[^.[\]\\])+)/.exec(rest);
    if (field !== null) {
      if (field[1] === '..') steps.push(descend);
      const name = field[2]!.replace(/\\(.)/g, '$1');
      steps.push(name === '*' ? children : named(name));
      at += field[0].length;
      continue;
    }
    if (rest.startsWith('[')) {
      const end = closing(rest);
      steps.push(bracket(rest.slice(1, end)));
      at += end + 1;
      continue;
    }
    throw new Error(`unexpected text in JSONPath: ${JSON.stringify(rest)}`);
  }
  return (value) => {
    let values: Json[] = [value];
    for (const step of steps) {
      values = step(values);
      if (values.length > resultsMax) values.length = resultsMax;
    }
    return values;
  };
}

/** Where the bracket that starts `text` ends. */
function closing(text: string): number {
  let quote = '';
  let depth = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (quote !== '') {
      if (c === '\\') i++;
      else if (c === quote) quote = '';
    } else if (c === '"' || c === "'") quote = c;
    else if (c === '[') depth++;
    else if (c === ']' && --depth === 0) return i;
  }
  throw new Error('unterminated array in JSONPath');
}

const named =
  (name: string): Step =>
  (values) =>
    values.flatMap((value) =>
      isObject(value) && Object.hasOwn(value, name) && value[name] !== undefined ? [value[name]] : [],
    );

const childrenOf = (value: Json): Json[] =>
  Array.isArray(value) ? value : isObject(value) ? Object.values(value).filter((child) => child !== undefined) : [];

const children: Step = (values) => values.flatMap(childrenOf);

const descend: Step = (values) => {
  const out: Json[] = [];
  const queue = [...values];
  for (let value = queue.shift(); value !== undefined && out.length < resultsMax; value = queue.shift()) {
    out.push(value);
    queue.push(...childrenOf(value));
  }
  return out;
};

function bracket(inner: string): Step {
  const text = inner.trim();
  if (text === '*') return children;
  const quoted = /^(['"])((?:\\.|(?!\1).)*)\1$/.exec(text);
  if (quoted !== null) return named(quoted[2]!.replace(/\\(.)/g, '$1'));
  if (/^-?\d+$/.test(text)) return (values) => values.flatMap((value) => itemAt(value, Number(text)));
  const slice = /^(-?\d*):(-?\d*)(?::(\d+))?$/.exec(text);
  if (slice !== null) return (values) => values.flatMap((value) => slices(value, slice[1]!, slice[2]!, slice[3]));
  const filter = /^\?\((.*)\)$/.exec(text);
  if (filter !== null) return filtered(filter[1]!);
  throw new Error(`invalid array index in JSONPath: ${JSON.stringify(inner)}`);
}

function itemAt(value: Json, index: number): Json[] {
  if (!Array.isArray(value)) return [];
  const item = value.at(index);
  return item === undefined ? [] : [item];
}

function slices(value: Json, from: string, to: string, step = '1'): Json[] {
  if (!Array.isArray(value)) return [];
  const part = value.slice(from === '' ? 0 : Number(from), to === '' ? undefined : Number(to));
  return part.filter((_, index) => index % Math.max(1, Number(step)) === 0);
}

const comparisons: Readonly<Record<string, (a: Json, b: Json) => boolean>> = {
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => Number(a) < Number(b),
  '<=': (a, b) => Number(a) <= Number(b),
  '>': (a, b) => Number(a) > Number(b),
  '>=': (a, b) => Number(a) >= Number(b),
};

function filtered(condition: string): Step {
  const match = /^\s*@((?:\.|\[).*?)?\s*(==|!=|<=|>=|<|>)\s*(.+?)\s*$/.exec(condition);
  if (match === null) {
    const exists = /^\s*@((?:\.|\[).*?)\s*$/.exec(condition);
    if (exists === null) throw new Error(`unsupported filter in JSONPath: ${JSON.stringify(condition)}`);
    const path = parseJsonPath(exists[1]!);
    return (values) => values.flatMap(childrenOf).filter((item) => path(item).length > 0);
  }
  const path = parseJsonPath(match[1] ?? '');
  const compare = comparisons[match[2]!]!;
  const operand = literal(match[3]!);
  return (values) =>
    values.flatMap(childrenOf).filter((item) => {
      const [left] = path(item);
      return left !== undefined && compare(left, operand);
    });
}

function literal(text: string): Json {
  const quoted = /^(['"])(.*)\1$/.exec(text);
  if (quoted !== null) return quoted[2]!.replace(/\\(.)/g, '$1');
  if (text === 'true' || text === 'false') return text === 'true';
  if (text === 'null') return null;
  const number = Number(text);
  if (text.trim() === '' || Number.isNaN(number))
    throw new Error(`unsupported operand in JSONPath: ${JSON.stringify(text)}`);
  return number;
}
