/** Selectors of an access review's resourceAttributes (KEP-4601; k8s.io/api/authorization/v1, FieldSelectorAttributes and LabelSelectorAttributes). */
import { isObject, type JsonObject } from '../machinery/json.ts';
import {
  type FieldRequirement,
  labelValueErrors,
  type Operator,
  parseFieldSelector,
  parseLabelSelector,
  qualifiedNameErrors,
  type Requirement,
} from '../machinery/selectors.ts';
import type { FieldError } from '../machinery/status.ts';
import { forbiddenField, invalidValue, required } from '../machinery/validation.ts';

const operators: Readonly<Record<string, Operator>> = { In: 'in', NotIn: 'notin', Exists: 'exists', DoesNotExist: '!' };

export interface ReviewSelectors {
  readonly fieldSelector: readonly FieldRequirement[];
  readonly labelSelector: readonly Requirement[];
  /** What was left out, for status.evaluationError; '' when nothing was. */
  readonly ignored: string;
}

/**
 * What the review says that the request is narrowed to. What cannot be read is left out, as upstream: without it the request is for more, so that nobody is
 * told of a right that he has not. A field is compared with one value.
 */
export function reviewSelectors(resource: JsonObject | undefined): ReviewSelectors {
  const fields = read('fieldSelector', resource, parseFieldSelector, fieldRequirement);
  const labels = read('labelSelector', resource, (text) => parseLabelSelector(text).requirements, labelRequirement);
  return {
    fieldSelector: fields.requirements,
    labelSelector: labels.requirements,
    ignored: [fields.ignored, labels.ignored].filter((one) => one !== '').join('; '),
  };
}

function read<T>(
  name: string,
  resource: JsonObject | undefined,
  parse: (text: string) => T[],
  requirement: (one: JsonObject) => T | undefined,
): { requirements: T[]; ignored: string } {
  const { raw, given } = partsOf(resource?.[name]);
  let requirements: T[] = [];
  let complete = true;
  if (given.length > 0) {
    requirements = given.flatMap((one) => requirement(one) ?? []);
    complete = requirements.length === given.length;
  } else if (raw !== '')
    try {
      requirements = parse(raw);
    } catch {
      complete = false;
    }
  if (complete) return { requirements, ignored: '' };
  const partially = requirements.length > 0 ? 'partially ' : '';
  return { requirements, ignored: `spec.resourceAttributes.${name} ${partially}ignored due to parse error` };
}

function partsOf(selector: unknown): { raw: string; given: JsonObject[] } {
  if (!isObject(selector)) return { raw: '', given: [] };
  return {
    raw: typeof selector.rawSelector === 'string' ? selector.rawSelector : '',
    given: Array.isArray(selector.requirements) ? selector.requirements.filter(isObject) : [],
  };
}

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');
const valuesOf = (one: JsonObject): string[] => (Array.isArray(one.values) ? one.values.map(textOf) : []);

function fieldRequirement(one: JsonObject): FieldRequirement | undefined {
  const [value, ...more] = valuesOf(one);
  const operator = operators[textOf(one.operator)];
  if (value === undefined || more.length > 0 || (operator !== 'in' && operator !== 'notin')) return undefined;
  return { field: textOf(one.key), operator: operator === 'in' ? '=' : '!=', value };
}

function labelRequirement(one: JsonObject): Requirement | undefined {
  const operator = operators[textOf(one.operator)];
  return operator === undefined ? undefined : { key: textOf(one.key), operator, values: valuesOf(one) };
}

/** What is wrong with the selectors themselves. An operator that nobody knows is none of it: clients may be newer than this server. */
export function reviewSelectorErrors(resource: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const name of ['fieldSelector', 'labelSelector']) {
    if (!isObject(resource[name])) continue;
    const at = `${path}.${name}`;
    const { raw, given } = partsOf(resource[name]);
    if (raw !== '' && given.length > 0)
      errors.push(invalidValue(`${at}.rawSelector`, raw, 'may not specified at the same time as requirements'));
    if (raw === '' && given.length === 0)
      errors.push(required(`${at}.requirements`, `when ${at} is specified, requirements or rawSelector is required`));
    for (const [index, one] of given.entries())
      errors.push(...requirementErrors(one, `${at}.requirements[${index}]`, name === 'labelSelector'));
  }
  return errors;
}

function requirementErrors(one: JsonObject, path: string, isLabel: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const key = textOf(one.key);
  const values = valuesOf(one);
  const listed = one.operator === 'In' || one.operator === 'NotIn';
  if (!isLabel && key === '') errors.push(required(`${path}.key`, 'must be specified'));
  if (listed && values.length === 0)
    errors.push(required(`${path}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
  if ((one.operator === 'Exists' || one.operator === 'DoesNotExist') && values.length > 0)
    errors.push(forbiddenField(`${path}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
  if (!isLabel) return errors;
  for (const why of qualifiedNameErrors(key)) errors.push(invalidValue(`${path}.key`, key, why));
  for (const [index, value] of values.entries())
    for (const why of labelValueErrors(value)) errors.push(invalidValue(`${path}.values[${index}]`, value, why));
  return errors;
}
