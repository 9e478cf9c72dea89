/** Expressions of match conditions and policies: what they may speak of, and their values. Loaded when there is one. */
import { type Attributes, type Decision, serviceAccountUser, type UserInfo } from '../auth/identity.ts';
import { getPath, isObject, type Json, type JsonObject } from '../machinery/json.ts';
import { namespaceType, requestType } from '../machinery/cel/admission-types.ts';
import { registerAuthorizer, type AuthorizerCheck, CelAuthorizer } from '../machinery/cel/library-authorizer.ts';
import { type Budget, requestCostMax } from '../machinery/cel/meter.ts';
import { compile, type Program, reasonOf, type Scope } from '../machinery/cel/program.ts';
import { type CelValue, dynamicValue } from '../machinery/cel/values.ts';

export { compile, reasonOf };
export type { Program, Scope };

const common = {
  object: 'dyn',
  oldObject: 'dyn',
  request: requestType,
  authorizer: 'kubernetes.authorization.Authorizer',
} as const;

/** Match conditions of webhooks. */
export const conditionScope: Scope = { variables: common, extend: registerAuthorizer };
const ofPolicy = { ...common, namespaceObject: namespaceType, variables: 'dyn' } as const;
/** Policies: also the namespace, variables, and parameters where the policy has a `paramKind`. */
export const policyScope: Scope = {
  variables: { ...ofPolicy, params: 'dyn' },
  messages: ['Object', 'JSONPatch'],
  extend: registerAuthorizer,
};
export const plainPolicyScope: Scope = { ...policyScope, variables: ofPolicy };

/** Whether a user may; the answer has to be there at once. */
export type Allowed = (attributes: Attributes) => Decision;

export interface ExpressionInput {
  readonly object: JsonObject | undefined;
  readonly old: JsonObject | undefined;
  readonly request: JsonObject;
  readonly user: UserInfo;
  readonly allowed: Allowed;
  readonly params?: Json;
  readonly namespaceObject?: JsonObject | undefined;
}

export function newBudget(): Budget {
  return { remaining: requestCostMax };
}

/** The values of one evaluation. `variables` are evaluated when an expression first asks for them. */
export function valuesOf(
  input: ExpressionInput,
  variables: readonly { readonly name: string; readonly program: Program }[],
  budget: Budget,
): Record<string, CelValue> {
  const check: AuthorizerCheck = (question, account) => {
    const user = account === undefined ? input.user : serviceAccountUser(account.namespace, account.name);
    return input.allowed({ user, ...question });
  };
  const text = (...path: string[]): string => String(getPath(input.request, ...path) ?? '');
  const requestResource = {
    group: text('requestResource', 'group'),
    resource: text('requestResource', 'resource'),
    subresource: text('requestSubResource'),
    namespace: text('namespace'),
    name: text('name'),
  };
  const lazy: Record<string, CelValue> = {};
  const values: Record<string, CelValue> = {
    object: dynamicValue(input.object ?? null),
    oldObject: dynamicValue(input.old ?? null),
    request: dynamicValue(input.request),
    authorizer: new CelAuthorizer(check, requestResource),
    params: dynamicValue(input.params ?? null),
    namespaceObject: dynamicValue(input.namespaceObject ?? null),
    variables: lazy,
  };
  for (const { name, program } of variables) {
    let known: { value: CelValue } | undefined;
    Object.defineProperty(lazy, name, {
      enumerable: true,
      get: () => {
        known ??= { value: program.run(values, budget) };
        return known.value;
      },
    });
  }
  return values;
}

export interface Condition {
  readonly name: string;
  readonly program: Program | undefined;
  readonly error: string;
}

export function conditionsOf(value: Json | undefined, scope: Scope): Condition[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isObject).map((one) => {
    const name = String(one.name ?? '');
    try {
      return { name, program: compile(String(one.expression ?? ''), scope), error: '' };
    } catch (error) {
      return { name, program: undefined, error: reasonOf(error) };
    }
  });
}

/** Whether all conditions hold. A false one decides, whatever errors the others have (KEP-3716). Throws Error with the errors. */
export function conditionsHold(
  conditions: readonly Condition[],
  values: Record<string, CelValue>,
  budget: Budget,
): boolean {
  const errors: string[] = [];
  for (const { name, program, error } of conditions) {
    try {
      if (program === undefined) throw new Error(error);
      if (program.run(values, budget) !== true) return false;
    } catch (failure) {
      errors.push(`expression '${name}' resulted in error: ${reasonOf(failure)}`);
    }
  }
  if (errors.length > 0) throw new Error(errors.join(', '));
  return true;
}
