import { isObject, type Json, type JsonObject } from '../json.ts';
import type { FieldError } from '../status.ts';
import { structuralOf } from '../structural/schema.ts';
import { forbiddenField, invalidValue, required } from '../validation.ts';
import { childrenBound, definitionCostMax, instancesMax, ruleCostMax } from './estimate.ts';
import { compileRules, type RuleTree } from './rules.ts';

const tryLess =
  'try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared';

function factor(cost: number, budget: number): string {
  const times = cost / budget;
  return times > 100 ? 'more than 100x' : `${times.toFixed(1)}x`;
}

/** What is wrong with the rules of a schema: they do not compile, or could cost too much. `path` is the schema's in the definition. */
export function ruleDefinitionErrors(schema: JsonObject, path: string): FieldError[] {
  const tree = compileRules(structuralOf(schema));
  const out: FieldError[] = [];
  if (tree === undefined) return out;
  const total = { cost: 0 };
  visit(tree, path, 1, total, out);
  if (total.cost > definitionCostMax)
    out.push(
      forbiddenField(
        path,
        `x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of ${factor(total.cost, definitionCostMax)} (${tryLess})`,
      ),
    );
  return out;
}

const reasons = ['FieldValueDuplicate', 'FieldValueForbidden', 'FieldValueInvalid', 'FieldValueRequired'];

/**
 * `times`: how many values of this schema there can be by the bounds of all lists and maps around it; undefined when one of them has none, so that the size
 * of a request is the only bound (apiextensions/validation, CELSchemaContext.MaxCardinality).
 */
function visit(
  tree: RuleTree,
  path: string,
  times: number | undefined,
  total: { cost: number },
  out: FieldError[],
): void {
  for (const [index, compiled] of tree.rules.entries()) {
    const { rule } = compiled;
    const at = `${path}.x-kubernetes-validations[${index}]`;
    if (rule.rule.trim() === '') out.push(required(`${at}.rule`, 'rule is not specified'));
    else if (compiled.error !== undefined) out.push(invalidValue(`${at}.rule`, rule.rule, compiled.error));
    if (compiled.messageError !== undefined)
      out.push(invalidValue(`${at}.messageExpression`, rule.messageExpression, compiled.messageError));
    if (rule.message !== undefined && rule.message.trim() === '')
      out.push(invalidValue(`${at}.message`, rule.message, 'message must be non-empty if specified'));
    if (rule.message?.includes('\n'))
      out.push(invalidValue(`${at}.message`, rule.message, 'message must not contain line breaks'));
    if (rule.rule.includes('\n') && rule.message === undefined && rule.messageExpression === undefined)
      out.push(required(`${at}.message`, 'message must be specified if rule contains line breaks'));
    if (rule.reason !== undefined && !reasons.includes(rule.reason))
      out.push({
        type: 'FieldValueNotSupported',
        field: `${at}.reason`,
        detail: `Unsupported value: ${JSON.stringify(rule.reason)}: supported values: ${reasons.map((one) => JSON.stringify(one)).join(', ')}`,
      });
    if (rule.fieldPath !== undefined && !reaches(tree.node.raw, rule.fieldPath))
      out.push(invalidValue(`${at}.fieldPath`, rule.fieldPath, 'fieldPath must be a valid path'));
    if (rule.optionalOldSelf === true && !compiled.transition)
      out.push(invalidValue(`${at}.optionalOldSelf`, true, 'may not be set if oldSelf is not used in rule'));
    const cost = compiled.cost * (times ?? instancesMax(tree.node));
    total.cost += cost;
    if (cost > ruleCostMax)
      out.push(
        forbiddenField(
          `${at}.rule`,
          `estimated rule cost exceeds budget by factor of ${factor(cost, ruleCostMax)} (${tryLess})`,
        ),
      );
  }
  for (const [key, child] of tree.properties) visit(child, `${path}.properties[${key}]`, times, total, out);
  const children = childrenBound(tree.node);
  const many = times === undefined || children === undefined ? undefined : times * children;
  if (tree.items !== undefined) visit(tree.items, `${path}.items`, many, total, out);
  if (tree.additional !== undefined) visit(tree.additional, `${path}.additionalProperties`, many, total, out);
}

/** Whether a fieldPath such as `.spec.x` or `['a-b']` names fields of the schema. */
function reaches(schema: JsonObject, fieldPath: string): boolean {
  let at: Json | undefined = schema;
  const steps = [...fieldPath.matchAll(/\.([A-Za-z_][A-Za-z0-9_]*)|\['((?:[^'\\]|\\.)*)'\]/g)];
  if (steps.length === 0 || steps.map((step) => step[0]).join('') !== fieldPath) return false;
  for (const [, plain, quoted] of steps) {
    const key = plain ?? quoted ?? '';
    if (!isObject(at)) return false;
    const properties: Json | undefined = at.properties;
    if (isObject(properties) && isObject(properties[key])) at = properties[key];
    else if (isObject(at.additionalProperties)) at = at.additionalProperties;
    else return false;
  }
  return true;
}
