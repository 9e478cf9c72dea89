import type { JsonObject } from './json.ts';
import { isObject } from './json.ts';
import { badRequest } from './status.ts';

/**
 * Label and field selectors (k8s.io/apimachinery/pkg/labels, …/fields). Parsing errors are StatusErrors 400 with upstream's wording.
 */
export type Operator = 'in' | 'notin' | '=' | '==' | '!=' | 'exists' | '!' | 'gt' | 'lt';

export interface Requirement {
  key: string;
  operator: Operator;
  values: string[];
}

export interface LabelSelector {
  requirements: Requirement[];
  /** True for the selector that selects no object at all (a null metav1.LabelSelector). */
  nothing: boolean;
}

export const everything: LabelSelector = { requirements: [], nothing: false };
export const nothing: LabelSelector = { requirements: [], nothing: true };

const namePattern = /^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)$/;
const prefixPattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const nameMessage =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const valueMessage =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const subdomainMessage =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/** Why `value` is no qualified name (label key, annotation key, condition type), as upstream's IsQualifiedName; empty when it is one. */
export function qualifiedNameErrors(value: string): string[] {
  const errors: string[] = [];
  const slash = value.indexOf('/');
  let name = value;
  if (slash >= 0) {
    if (value.indexOf('/', slash + 1) >= 0)
      return [
        `a qualified name must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`,
      ];
    const prefix = value.slice(0, slash);
    name = value.slice(slash + 1);
    if (prefix === '') errors.push('prefix part must be non-empty');
    else {
      if (prefix.length > 253) errors.push('prefix part must be no more than 253 bytes');
      if (!prefixPattern.test(prefix)) errors.push(`prefix part ${subdomainMessage}`);
    }
  }
  if (name === '') errors.push('name part must be non-empty');
  else if (name.length > 63) errors.push('name part must be no more than 63 bytes');
  if (!namePattern.test(name)) errors.push(nameMessage);
  return errors;
}

/** Why `value` cannot be a label's value; empty when it can. */
export function labelValueErrors(value: string): string[] {
  const errors: string[] = [];
  if (value.length > 63) errors.push('must be no more than 63 bytes');
  if (value !== '' && !namePattern.test(value)) errors.push(valueMessage);
  return errors;
}

interface Token {
  kind: 'id' | 'op' | 'end';
  text: string;
}

function tokens(text: string): Token[] {
  const out: Token[] = [];
  let i = 0;
  while (i < text.length) {
    const c = text[i]!;
    if (c === ' ' || c === '\t' || c === '\n' || c === '\r') {
      i++;
    } else if ('(),'.includes(c)) {
      out.push({ kind: 'op', text: c });
      i++;
    } else if ('=!<>'.includes(c)) {
      const two = text.slice(i, i + 2);
      if (two === '==' || two === '!=') {
        out.push({ kind: 'op', text: two });
        i += 2;
      } else {
        out.push({ kind: 'op', text: c });
        i++;
      }
    } else {
      let j = i;
      while (j < text.length && !' \t\n\r(),=!<>'.includes(text[j]!)) j++;
      out.push({ kind: 'id', text: text.slice(i, j) });
      i = j;
    }
  }
  out.push({ kind: 'end', text: '' });
  return out;
}

function cannotParse(message: string): never {
  throw badRequest(`unable to parse requirement: ${message}`);
}

/** Parses the `labelSelector` query parameter: `a=b,c!=d,e in (x,y),f,!g`. Empty selects everything. */
export function parseLabelSelector(text: string | undefined): LabelSelector {
  if (text === undefined || text.trim() === '') return everything;
  if (text.length > 64 * 1024) throw badRequest('label selector is too long');
  const list = tokens(text);
  let at = 0;
  const peek = (): Token => list[at]!;
  const next = (): Token => list[at++]!;
  const requirements: Requirement[] = [];
  for (;;) {
    const first = next();
    if (first.kind === 'op' && first.text === '!') {
      const key = next();
      if (key.kind !== 'id') cannotParse(`found '${key.text}', expected: identifier`);
      requirements.push(checked({ key: key.text, operator: '!', values: [] }));
    } else if (first.kind === 'id') {
      const op = peek();
      if (op.kind === 'end' || op.text === ',') {
        requirements.push(checked({ key: first.text, operator: 'exists', values: [] }));
      } else {
        next();
        let operator: Operator;
        if (op.text === '=' || op.text === '==' || op.text === '!=') operator = op.text;
        else if (op.text === '<') operator = 'lt';
        else if (op.text === '>') operator = 'gt';
        else if (op.kind === 'id' && (op.text === 'in' || op.text === 'notin')) operator = op.text;
        else cannotParse(`found '${op.text}', expected: in, notin, =, ==, !=, gt, lt`);
        const values: string[] = [];
        if (operator === 'in' || operator === 'notin') {
          const open = next();
          if (open.text !== '(') cannotParse(`found '${open.text}' expected: '('`);
          for (;;) {
            const value = next();
            if (value.kind === 'id') {
              values.push(value.text);
              const after = next();
              if (after.text === ')') break;
              if (after.text !== ',') cannotParse(`found '${after.text}', expected: ',' or ')'`);
              if (peek().text === ')') {
                values.push('');
                next();
                break;
              }
            } else if (value.text === ',') {
              values.push('');
              if (peek().text === ')') {
                values.push('');
                next();
                break;
              }
            } else if (value.text === ')') {
              values.push('');
              break;
            } else cannotParse(`found '${value.text}', expected: ',', ')' or identifier`);
          }
        } else {
          const value = peek();
          if (value.kind === 'id') {
            next();
            values.push(value.text);
          } else if (value.kind === 'end' || value.text === ',') values.push('');
          else cannotParse(`found '${value.text}', expected: identifier`);
        }
        requirements.push(checked({ key: first.text, operator, values }));
      }
    } else cannotParse(`found '${first.text}', expected: !, identifier, or ','`);
    const end = next();
    if (end.kind === 'end') break;
    if (end.text !== ',') cannotParse(`found '${end.text}', expected: ',' or 'end of string'`);
    if (peek().kind === 'end') cannotParse("found '', expected: identifier after ','");
  }
  return { requirements, nothing: false };
}

function quoted(text: string): string {
  return JSON.stringify(text);
}

function checked(requirement: Requirement): Requirement {
  const wrong = qualifiedNameErrors(requirement.key);
  if (wrong.length > 0) cannotParse(`<nil>: Invalid value: ${quoted(requirement.key)}: ${wrong.join('; ')}`);
  if (requirement.operator === 'gt' || requirement.operator === 'lt') {
    const value = requirement.values[0] ?? '';
    if (!/^[+-]?\d+$/.test(value))
      cannotParse(
        `values[0][${requirement.key}]: Invalid value: ${quoted(value)}: for 'Gt', 'Lt' operators, the value must be an integer`,
      );
  }
  requirement.values.forEach((value, index) => {
    const bad = labelValueErrors(value);
    if (bad.length > 0)
      cannotParse(`values[${index}][${requirement.key}]: Invalid value: ${quoted(value)}: ${bad.join('; ')}`);
  });
  return requirement;
}

/** metav1.LabelSelector {matchLabels, matchExpressions}; undefined or null selects nothing, {} everything. */
export function labelSelectorOf(selector: unknown): LabelSelector {
  if (!isObject(selector)) return nothing;
  const requirements: Requirement[] = [];
  if (isObject(selector.matchLabels))
    for (const key in selector.matchLabels)
      requirements.push({ key, operator: '=', values: [String(selector.matchLabels[key])] });
  if (Array.isArray(selector.matchExpressions))
    for (const expression of selector.matchExpressions) {
      if (!isObject(expression)) continue;
      const values = Array.isArray(expression.values) ? expression.values.map(String) : [];
      const key = String(expression.key);
      const operator = ({ In: 'in', NotIn: 'notin', Exists: 'exists', DoesNotExist: '!', Gt: 'gt', Lt: 'lt' } as const)[
        String(expression.operator)
      ];
      if (operator === undefined) return nothing;
      requirements.push({ key, operator, values });
    }
  return { requirements, nothing: false };
}

/** A plain map of labels, as in Service.spec.selector. */
export function selectorOfMap(labels: Record<string, string>): LabelSelector {
  return {
    requirements: Object.keys(labels).map((key) => ({ key, operator: '=', values: [labels[key]!] })),
    nothing: false,
  };
}

function requirementMatches(requirement: Requirement, labels: Record<string, unknown>): boolean {
  const value = labels[requirement.key];
  const has = typeof value === 'string';
  switch (requirement.operator) {
    case '=':
    case '==':
    case 'in':
      return has && requirement.values.includes(value);
    case '!=':
    case 'notin':
      return !has || !requirement.values.includes(value);
    case 'exists':
      return has;
    case '!':
      return !has;
    case 'gt':
    case 'lt': {
      if (!has || !/^[+-]?\d+$/.test(value)) return false;
      const left = BigInt(value);
      const right = BigInt(requirement.values[0] ?? '0');
      return requirement.operator === 'gt' ? left > right : left < right;
    }
  }
}

export function matchesLabels(selector: LabelSelector, labels: Record<string, unknown> | undefined): boolean {
  if (selector.nothing) return false;
  const have = labels ?? {};
  return selector.requirements.every((requirement) => requirementMatches(requirement, have));
}

/** The canonical text, as in Scale.status.selector: requirements sorted by key. */
export function labelSelectorText(selector: LabelSelector): string {
  return [...selector.requirements]
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(({ key, operator, values }) => {
      switch (operator) {
        case 'exists':
          return key;
        case '!':
          return `!${key}`;
        case 'gt':
          return `${key}>${values[0]}`;
        case 'lt':
          return `${key}<${values[0]}`;
        case 'in':
        case 'notin':
          return `${key} ${operator} (${[...values].sort().join(',')})`;
        default:
          return `${key}${operator}${values[0] ?? ''}`;
      }
    })
    .join(',');
}

export interface FieldRequirement {
  field: string;
  operator: '=' | '!=';
  value: string;
}

/** Parses the `fieldSelector` query parameter: `metadata.name=x,status.phase!=Running`; `\,` `\=` `\\` are escapes. */
export function parseFieldSelector(text: string | undefined): FieldRequirement[] {
  if (text === undefined || text === '') return [];
  if (text.length > 64 * 1024) throw badRequest('field selector is too long');
  const terms: string[] = [];
  let term = '';
  for (let i = 0; i < text.length; i++) {
    const c = text[i]!;
    if (c === '\\' && i + 1 < text.length) {
      term += c + text[++i]!;
    } else if (c === ',') {
      terms.push(term);
      term = '';
    } else term += c;
  }
  terms.push(term);
  const out: FieldRequirement[] = [];
  for (const part of terms) {
    if (part === '') continue;
    const at = part.search(/!=|==|=/);
    if (at < 0) throw badRequest(`invalid selector: '${text}'; can't understand '${part}'`);
    const operator = part.startsWith('!=', at) ? '!=' : '=';
    const width = part.startsWith('!=', at) || part.startsWith('==', at) ? 2 : 1;
    const value = part.slice(at + width).replace(/\\(.)/g, (whole, c: string) => {
      if (c === ',' || c === '=' || c === '\\') return c;
      throw badRequest(`invalid field selector: invalid escape sequence: ${whole}`);
    });
    out.push({ field: part.slice(0, at), operator, value });
  }
  return out;
}

/**
 * Whether an object has the fields asked for. `fields` gives the value of a selectable field; a field that it does not know is a 400 with
 * upstream's text.
 */
export function matchesFields(
  requirements: readonly FieldRequirement[],
  object: JsonObject,
  fields: (name: string) => ((object: JsonObject) => string) | undefined,
): boolean {
  for (const { field, operator, value } of requirements) {
    const read = fields(field);
    if (read === undefined) throw badRequest(`field label not supported: ${field}`);
    if ((read(object) === value) !== (operator === '=')) return false;
  }
  return true;
}
