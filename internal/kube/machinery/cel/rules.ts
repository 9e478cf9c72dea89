import { isObject, type Json, jsonEqual } from '../json.ts';
import { isNode, type Structural, type ValidationRule } from '../structural/schema.ts';
import { childPath, correlated } from '../structural/values.ts';
import type { FieldError, FieldErrorType } from '../status.ts';
import { estimateCost } from './estimate.ts';
import { type Budget, CostExceeded } from './meter.ts';

export { requestCostMax } from './meter.ts';
import { optionalOf } from './optional.ts';
import { errorText } from '../../../base/errors.ts';
import { compile, type Program, reasonOf, type Scope, walkNodes } from './program.ts';
import { celTypeOf } from './types.ts';
import { type CelValue, celValueOf } from './values.ts';

/** `x-kubernetes-validations` of a schema (KEP-2876): compiled once for the tree, run beside a value and what it replaces. */
export interface CompiledRule {
  readonly rule: ValidationRule;
  readonly program: Program | undefined;
  /** Why it does not compile. */
  readonly error: string | undefined;
  readonly message: Program | undefined;
  readonly messageError: string | undefined;
  /** Whether it speaks of oldSelf. */
  readonly transition: boolean;
  /** The most that one evaluation costs. */
  readonly cost: number;
}

export interface RuleTree {
  readonly node: Structural;
  readonly own: boolean;
  readonly rules: readonly CompiledRule[];
  readonly properties: ReadonlyMap<string, RuleTree>;
  readonly items: RuleTree | undefined;
  readonly additional: RuleTree | undefined;
}

/** The branches that have rules; undefined when there are none. `own`: the root of an object, or an embedded one. */
export function compileRules(node: Structural, own = true): RuleTree | undefined {
  const properties = new Map<string, RuleTree>();
  for (const [key, child] of node.properties) {
    const tree = compileRules(child, child.embeddedResource);
    if (tree !== undefined) properties.set(key, tree);
  }
  const items = node.items === undefined ? undefined : compileRules(node.items, node.items.embeddedResource);
  const more = isNode(node.additionalProperties) ? node.additionalProperties : undefined;
  const additional = more === undefined ? undefined : compileRules(more, more.embeddedResource);
  if (node.rules.length === 0 && properties.size === 0 && items === undefined && additional === undefined)
    return undefined;
  return { node, own, rules: compileAll(node, own), properties, items, additional };
}

function compileAll(node: Structural, own: boolean): CompiledRule[] {
  if (node.rules.length === 0) return [];
  const type = celTypeOf(node, own);
  const plain: Scope = { variables: { self: type, oldSelf: type } };
  const optional: Scope = { variables: { self: type, oldSelf: { optional: type } } };
  return node.rules.map((rule) => compileRule(rule, node, rule.optionalOldSelf === true ? optional : plain));
}

function compileRule(rule: ValidationRule, node: Structural, scope: Scope): CompiledRule {
  let program: Program | undefined;
  let error: string | undefined;
  let message: Program | undefined;
  let messageError: string | undefined;
  let transition = false;
  try {
    program = compile(rule.rule, scope);
    if (program.type !== 'bool' && program.type !== 'dyn') error = 'cel expression must evaluate to a bool';
    walkNodes(program.ast, (one) => {
      if (one.op === 'id' && one.args === 'oldSelf') transition = true;
    });
  } catch (failure) {
    error = `compilation failed: ERROR: ${errorText(failure)}`;
  }
  try {
    if (rule.messageExpression !== undefined) {
      message = compile(rule.messageExpression, scope);
      if (message.type !== 'string' && message.type !== 'dyn')
        messageError = 'messageExpression must evaluate to a string';
    }
  } catch (failure) {
    messageError = `messageExpression compilation failed: ERROR: ${errorText(failure)}`;
  }
  const roots = new Map([
    ['self', node],
    ['oldSelf', node],
  ]);
  const cost = program === undefined ? 0 : estimateCost(program.ast, roots);
  return { rule, program, error, message, messageError, transition, cost };
}

const errorsMax = 100;

/** What the rules say of a value. `old`: what it replaces; undefined on create. Ends when the budget is used up. */
export function ruleErrors(
  tree: RuleTree,
  value: Json,
  old: Json | undefined,
  budget: Budget,
  path = '',
): FieldError[] {
  const out: FieldError[] = [];
  try {
    check(tree, value, old, path, budget, out);
  } catch (error) {
    if (!(error instanceof CostExceeded)) throw error;
  }
  return out;
}

function check(
  tree: RuleTree,
  value: Json,
  old: Json | undefined,
  path: string,
  budget: Budget,
  out: FieldError[],
): void {
  if (out.length >= errorsMax || value === null) return;
  const same = old !== undefined && jsonEqual(old, value);
  if (tree.rules.length > 0) {
    const self = celValueOf(tree.node, value, tree.own);
    const oldSelf = old === undefined || old === null ? undefined : celValueOf(tree.node, old, tree.own);
    for (const rule of tree.rules) {
      // What did not change is not complained about, unless the rule is about changes (KEP-4008).
      if (same && !rule.transition) continue;
      const error = checkRule(rule, tree.node, self, oldSelf, path, budget);
      if (error !== undefined) out.push(error);
    }
  }
  if (Array.isArray(value)) {
    if (tree.items === undefined) return;
    const before = correlated(tree.node, old);
    for (const [index, item] of value.entries())
      check(tree.items, item, before(item), `${path}[${index}]`, budget, out);
  } else if (isObject(value)) {
    const before = isObject(old) ? old : {};
    for (const key in value) {
      const child = value[key];
      const branch = tree.properties.get(key) ?? (tree.node.properties.has(key) ? undefined : tree.additional);
      if (child !== undefined && branch !== undefined)
        check(branch, child, before[key], childPath(path, key), budget, out);
    }
  }
}

const errorTypes: Readonly<Record<string, FieldErrorType>> = {
  FieldValueInvalid: 'FieldValueInvalid',
  FieldValueForbidden: 'FieldValueForbidden',
  FieldValueRequired: 'FieldValueRequired',
  FieldValueDuplicate: 'FieldValueDuplicate',
};

function checkRule(
  compiled: CompiledRule,
  node: Structural,
  self: CelValue,
  oldSelf: CelValue | undefined,
  path: string,
  budget: Budget,
): FieldError | undefined {
  const { rule, program, transition } = compiled;
  const field = `${path === '' && rule.fieldPath === undefined ? '<nil>' : path}${rule.fieldPath ?? ''}`.replace(
    /^\./,
    '',
  );
  const type = errorTypes[rule.reason ?? ''] ?? 'FieldValueInvalid';
  const invalid = (detail: string): FieldError => ({
    type: 'FieldValueInvalid',
    field,
    detail: `Invalid value: ${JSON.stringify(node.type ?? 'any')}: ${detail}`,
  });
  if (compiled.error !== undefined || program === undefined) return invalid(`rule compile error: ${compiled.error}`);
  if (transition && oldSelf === undefined && rule.optionalOldSelf !== true) return undefined;
  const values = { self, oldSelf: rule.optionalOldSelf === true ? optionalOf(oldSelf) : oldSelf };
  try {
    if (program.run(values, budget) === true) return undefined;
  } catch (error) {
    if (error instanceof CostExceeded && budget.remaining <= 0)
      return invalid('validation failed due to running out of cost budget, no further validation rules will be run');
    const what = rule.message ?? rule.rule.trim();
    if (error instanceof CostExceeded)
      return invalid(`call cost exceeds limit for rule: ${what}, no further validation rules will be run`);
    return invalid(`${reasonOf(error)} evaluating rule: ${what}`);
  }
  const detail = messageOf(compiled, values, budget);
  if (type === 'FieldValueRequired') return { type, field, detail: `Required value: ${detail}` };
  if (type === 'FieldValueForbidden') return { type, field, detail: `Forbidden: ${detail}` };
  if (type === 'FieldValueDuplicate')
    return { type, field, detail: `Duplicate value: ${JSON.stringify(node.type ?? 'any')}` };
  return invalid(detail);
}

function messageOf(compiled: CompiledRule, values: Record<string, CelValue>, budget: Budget): string {
  const { rule, message } = compiled;
  const fallback = rule.message ?? `failed rule: ${rule.rule.trim().split('\n').join(' ')}`;
  if (message === undefined) return fallback;
  try {
    const text = message.run(values, budget);
    return typeof text === 'string' && text.trim() !== '' && !text.includes('\n') && text.length <= 5120
      ? text.trim()
      : fallback;
  } catch {
    // A message that cannot be made is no reason not to tell that the rule failed.
    return fallback;
  }
}
