import { errorText } from '../../base/errors.ts';
import { getPath, isObject, type Json, type JsonObject } from '../machinery/json.ts';
import { type FieldError, invalid } from '../machinery/status.ts';
import { invalidValue } from '../machinery/validation.ts';
import { isExempt } from './matching.ts';
import type { AdmissionPlugin } from './types.ts';

type Expressions = typeof import('./expressions.ts');
type Scope = import('./expressions.ts').Scope;

const objects = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);

/** Expressions of webhooks and policies compile when they are written. What did not change since is not looked at again. */
export const expressionValidation: AdmissionPlugin = {
  name: 'AdmissionExpressions',
  async validate(request) {
    if (!isExempt(request.kind) || request.object === undefined || request.subresource !== '') return;
    const found = [...expressionsOf(request.object)];
    if (found.length === 0) return;
    const before = new Set([...expressionsOf(request.old ?? {})].map(({ text }) => text));
    const expressions = await import('./expressions.ts');
    const errors: FieldError[] = [];
    for (const one of found) if (!before.has(one.text)) errors.push(...check(expressions, one));
    if (errors.length > 0) throw invalid(request.kind.group, request.kind.kind, request.name, errors);
  },
};

interface Found {
  readonly path: string;
  readonly text: string;
  readonly scope: 'condition' | 'policy' | 'plain policy';
  /** What it must give; '' for anything. */
  readonly type: '' | 'bool' | 'string';
}

function* listed(
  value: Json | undefined,
  path: string,
  field: string,
  scope: Found['scope'],
  type: Found['type'],
): Generator<Found> {
  for (const [index, one] of objects(value).entries()) {
    const text = getPath(one, ...field.split('.'));
    if (typeof text === 'string' && text !== '') yield { path: `${path}[${index}].${field}`, text, scope, type };
  }
}

function* expressionsOf(object: JsonObject): Generator<Found> {
  for (const [index, hook] of objects(object.webhooks).entries())
    yield* listed(hook.matchConditions, `webhooks[${index}].matchConditions`, 'expression', 'condition', 'bool');
  const { spec } = object;
  if (!isObject(spec)) return;
  const scope = isObject(spec.paramKind) ? 'policy' : 'plain policy';
  yield* listed(spec.matchConditions, 'spec.matchConditions', 'expression', scope, 'bool');
  yield* listed(spec.variables, 'spec.variables', 'expression', scope, '');
  yield* listed(spec.validations, 'spec.validations', 'expression', scope, 'bool');
  yield* listed(spec.validations, 'spec.validations', 'messageExpression', scope, 'string');
  yield* listed(spec.auditAnnotations, 'spec.auditAnnotations', 'valueExpression', scope, '');
  yield* listed(spec.mutations, 'spec.mutations', 'applyConfiguration.expression', scope, '');
  yield* listed(spec.mutations, 'spec.mutations', 'jsonPatch.expression', scope, '');
}

function check(expressions: Expressions, { path, text, scope, type }: Found): FieldError[] {
  const scopes: Record<Found['scope'], Scope> = {
    condition: expressions.conditionScope,
    policy: expressions.policyScope,
    'plain policy': expressions.plainPolicyScope,
  };
  const declared = scopes[scope];
  try {
    const program = expressions.compile(text, declared);
    if (type === '' || program.type === type || program.type === 'dyn') return [];
    return [invalidValue(path, text, `must evaluate to ${type}`)];
  } catch (error) {
    return [invalidValue(path, text, `compilation failed: ERROR: ${errorText(error)}`)];
  }
}
