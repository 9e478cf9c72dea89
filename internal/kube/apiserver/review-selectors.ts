/** Selectors of an access review's resourceAttributes (KEP-4601; k8s.io/api/authorization/v1, FieldSelectorAttributes and LabelSelectorAttributes). */
import { isObject, type JsonObject } from '../machinery/json.ts';
import {
  type FieldRequirement,
  type Operator,
  parseFieldSelector,
  parseLabelSelector,
  type Requirement,
} from '../machinery/selectors.ts';

const operators: Readonly<Record<string, Operator>> = { In: 'in', NotIn: 'notin', Exists: 'exists', DoesNotExist: '!' };

/**
 * What the review says that the request is narrowed to. What cannot be read is left out, as upstream: without it the request is for more, so that nobody is
 * told of a right that he has not. A field is compared with one value.
 */
export function reviewSelectors(resource: JsonObject | undefined): {
  fieldSelector: readonly FieldRequirement[];
  labelSelector: readonly Requirement[];
} {
  const fields = requirementsOf(resource?.fieldSelector).flatMap(({ key, operator, values }): FieldRequirement[] => {
    const [value, ...more] = values;
    if (value === undefined || more.length > 0 || (operator !== 'in' && operator !== 'notin')) return [];
    return [{ field: key, operator: operator === 'in' ? '=' : '!=', value }];
  });
  return {
    fieldSelector: [...rawOf(resource?.fieldSelector, parseFieldSelector, []), ...fields],
    labelSelector: [
      ...rawOf(resource?.labelSelector, (text) => parseLabelSelector(text).requirements, []),
      ...requirementsOf(resource?.labelSelector),
    ],
  };
}

function rawOf<T>(selector: unknown, parse: (text: string) => T, none: T): T {
  if (!isObject(selector) || typeof selector.rawSelector !== 'string') return none;
  try {
    return parse(selector.rawSelector);
  } catch {
    return none;
  }
}

function requirementsOf(selector: unknown): Requirement[] {
  if (!isObject(selector) || !Array.isArray(selector.requirements)) return [];
  return selector.requirements.filter(isObject).flatMap((one): Requirement[] => {
    const operator = operators[String(one.operator)];
    if (operator === undefined || typeof one.key !== 'string') return [];
    return [{ key: one.key, operator, values: Array.isArray(one.values) ? one.values.map(String) : [] }];
  });
}
