/** ValidatingAdmissionPolicy (KEP-3488) and MutatingAdmissionPolicy (KEP-3962). */
import { errorText } from '../../base/errors.ts';
import type { KindInfo, KindTable } from '../api/kinds.ts';
import { runReason } from '../machinery/cel/reasons.ts';
import { cloneJson, getPath, isObject, type Json, jsonEqual, type JsonObject } from '../machinery/json.ts';
import type { SchemaSource } from '../machinery/openapi.ts';
import { applyJsonPatch } from '../machinery/patch.ts';
import { labelSelectorOf, matchesLabels } from '../machinery/selectors.ts';
import { failure, forbidden, type StatusReason } from '../machinery/status.ts';
import { mergeTyped } from '../machinery/typed.ts';
import { isExempt, type Match, matchedKind, matchOf } from './matching.ts';
import { reviewRequest, typed } from './review.ts';
import { type AdmissionContext, type AdmissionPlugin, type AdmissionRequest, replaceContent } from './types.ts';
import type { AdmissionServices } from './webhooks.ts';

type Expressions = typeof import('./expressions.ts');
type Program = import('./expressions.ts').Program;
type Values = ReturnType<Expressions['valuesOf']>;
type Budget = ReturnType<Expressions['newBudget']>;

export interface PolicyServices extends AdmissionServices {
  readonly kinds: KindTable;
  readonly schemas: SchemaSource;
}

interface Expression {
  readonly text: string;
  readonly program: Program | undefined;
  readonly error: string;
}

interface Validation extends Expression {
  readonly message: string;
  readonly messageExpression: Expression | undefined;
  readonly reason: string;
}

interface Mutation extends Expression {
  readonly json: boolean;
}

interface Policy {
  readonly name: string;
  readonly match: Match;
  readonly paramKind: JsonObject | undefined;
  readonly ignoreFailures: boolean;
  readonly again: boolean;
  readonly conditions: ReturnType<Expressions['conditionsOf']>;
  readonly variables: readonly { name: string; program: Program }[];
  readonly broken: string;
  readonly validations: readonly Validation[];
  readonly mutations: readonly Mutation[];
  readonly auditAnnotations: readonly (Expression & { readonly key: string })[];
}

interface Binding {
  readonly name: string;
  readonly policy: string;
  readonly match: Match | undefined;
  readonly paramRef: JsonObject | undefined;
  readonly actions: readonly string[];
}

const objects = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);
const text = (value: Json | undefined): string => (typeof value === 'string' ? value : '');

const bindingsCache = new WeakMap<JsonObject, Binding>();

function bindingOf(object: JsonObject): Binding {
  let known = bindingsCache.get(object);
  if (known === undefined) {
    const spec = isObject(object.spec) ? object.spec : {};
    known = {
      name: text(getPath(object, 'metadata', 'name')),
      policy: text(spec.policyName),
      match: isObject(spec.matchResources) ? matchOf(spec.matchResources) : undefined,
      paramRef: isObject(spec.paramRef) ? spec.paramRef : undefined,
      actions: Array.isArray(spec.validationActions) ? spec.validationActions.map(String) : ['Deny'],
    };
    bindingsCache.set(object, known);
  }
  return known;
}

function compiled(expressions: Expressions, value: Json | undefined): Expression {
  const source = text(value);
  try {
    return { text: source, program: expressions.compile(source, expressions.policyScope), error: '' };
  } catch (error) {
    return { text: source, program: undefined, error: `compilation error: ${expressions.reasonOf(error)}` };
  }
}

function compilePolicy(expressions: Expressions, object: JsonObject): Policy {
  const spec = isObject(object.spec) ? object.spec : {};
  const variables: { name: string; program: Program }[] = [];
  let broken = '';
  for (const one of objects(spec.variables)) {
    const { program, error } = compiled(expressions, one.expression);
    if (program === undefined) broken ||= `variable ${JSON.stringify(text(one.name))}: ${error}`;
    else variables.push({ name: text(one.name), program });
  }
  return {
    name: text(getPath(object, 'metadata', 'name')),
    match: matchOf(isObject(spec.matchConstraints) ? spec.matchConstraints : {}),
    paramKind: isObject(spec.paramKind) ? spec.paramKind : undefined,
    ignoreFailures: spec.failurePolicy === 'Ignore',
    again: spec.reinvocationPolicy === 'IfNeeded',
    conditions: expressions.conditionsOf(spec.matchConditions, expressions.policyScope),
    variables,
    broken,
    validations: objects(spec.validations).map((one) => ({
      ...compiled(expressions, one.expression),
      message: text(one.message),
      messageExpression: text(one.messageExpression) === '' ? undefined : compiled(expressions, one.messageExpression),
      reason: text(one.reason),
    })),
    mutations: objects(spec.mutations).map((one) => ({
      ...compiled(
        expressions,
        getPath(one, one.patchType === 'JSONPatch' ? 'jsonPatch' : 'applyConfiguration', 'expression'),
      ),
      json: one.patchType === 'JSONPatch',
    })),
    auditAnnotations: objects(spec.auditAnnotations).map((one) => ({
      ...compiled(expressions, one.valueExpression),
      key: text(one.key),
    })),
  };
}

/** One policy for one request under one binding, with what its expressions speak of. */
interface Case {
  readonly policy: Policy;
  readonly binding: Binding;
  readonly kind: KindInfo;
  readonly object: JsonObject | undefined;
  readonly values: Values;
  readonly budget: Budget;
}

/** What a binding came to: cases, or why there are none. `misconfigured`: no expression was even looked at. */
type Outcome = { readonly cases: Case[] } | { readonly failed: string; readonly misconfigured: boolean };

class Policies {
  readonly services: PolicyServices;
  readonly #policies: string;
  readonly #bindings: string;
  #expressions: Expressions | undefined;
  readonly #compiled = new WeakMap<JsonObject, Policy>();

  constructor(services: PolicyServices, policies: string, bindings: string) {
    this.services = services;
    this.#policies = policies;
    this.#bindings = bindings;
  }

  async expressions(): Promise<Expressions> {
    this.#expressions ??= await import('./expressions.ts');
    return this.#expressions;
  }

  /** Policies with a binding, in order. */
  async bound(): Promise<{ policy: Policy; binding: Binding }[]> {
    const bindings = this.services.configurations(this.#bindings);
    if (bindings.length === 0) return [];
    const out: { policy: Policy; binding: Binding }[] = [];
    for (const object of this.services.configurations(this.#policies)) {
      const name = getPath(object, 'metadata', 'name');
      for (const one of bindings) {
        const binding = bindingOf(one);
        if (binding.policy !== name) continue;
        let policy = this.#compiled.get(object);
        if (policy === undefined) {
          policy = compilePolicy(await this.expressions(), object);
          this.#compiled.set(object, policy);
        }
        out.push({ policy, binding });
      }
    }
    return out;
  }

  /** The cases of one binding: one for each parameter object; none when it does not match. */
  async cases(
    policy: Policy,
    binding: Binding,
    request: AdmissionRequest,
    context: AdmissionContext,
  ): Promise<Outcome> {
    const { services } = this;
    const equivalents = services.equivalents(request.kind);
    const kind = await matchedKind(policy.match, request, equivalents, context.reader);
    if (kind === undefined) return { cases: [] };
    if (binding.match !== undefined) {
      const { match } = binding;
      const narrowed = match.rules.length === 0 ? { ...match, rules: policy.match.rules } : match;
      if ((await matchedKind(narrowed, request, equivalents, context.reader)) === undefined) return { cases: [] };
    }
    if (policy.broken !== '') return { failed: policy.broken, misconfigured: false };
    const params = await this.#params(policy, binding, request, context);
    if (typeof params === 'string') return { failed: params, misconfigured: true };
    const inForm = async (object: JsonObject | undefined): Promise<JsonObject | undefined> =>
      object === undefined
        ? undefined
        : kind === request.kind
          ? typed(kind, object)
          : services.convert(request.kind, kind, object);
    const object = await inForm(request.object);
    const old = await inForm(request.old);
    const { object: _object, oldObject: _old, ...rest } = reviewRequest(request, { kind, object, old });
    const namespaceObject =
      request.namespace === '' ? undefined : await context.reader.get('', 'namespaces', '', request.namespace);
    const expressions = await this.expressions();
    const cases: Case[] = [];
    for (const one of params) {
      const budget = expressions.newBudget();
      const values = expressions.valuesOf(
        {
          object,
          old,
          request: rest,
          user: request.user,
          allowed: (attributes) => services.allowed(attributes),
          params: one,
          namespaceObject,
        },
        policy.variables,
        budget,
      );
      try {
        if (!expressions.conditionsHold(policy.conditions, values, budget)) continue;
      } catch (error) {
        return { failed: errorText(error), misconfigured: false };
      }
      cases.push({ policy, binding, kind, object, values, budget });
    }
    return { cases };
  }

  /** Parameter objects; `[null]` for a policy without; a text for what is missing. */
  async #params(
    policy: Policy,
    binding: Binding,
    request: AdmissionRequest,
    context: AdmissionContext,
  ): Promise<Json[] | string> {
    const { paramKind } = policy;
    const { paramRef } = binding;
    if (paramKind === undefined || paramRef === undefined) return [null];
    const [version = '', group = ''] = text(paramKind.apiVersion).split('/').reverse();
    const kind = this.services.kinds.byKind(group, version, text(paramKind.kind));
    if (kind === undefined)
      return `failed to configure policy: failed to find resource referenced by paramKind: '${text(paramKind.apiVersion)}, Kind=${text(paramKind.kind)}'`;
    const named = text(paramRef.namespace);
    if (!kind.namespaced && named !== '')
      return 'failed to configure binding: paramRef.namespace must not be provided for a cluster-scoped `paramKind`';
    const namespace = kind.namespaced ? named || namespaceOf(request) : '';
    // Else the objects of every namespace would count.
    if (kind.namespaced && namespace === '')
      return 'failed to configure binding: cannot use namespaced paramRef in policy binding that matches cluster-scoped resources';
    let found: JsonObject[];
    if (text(paramRef.name) !== '') {
      const one = await context.reader.get(kind.group, kind.plural, namespace, text(paramRef.name));
      found = one === undefined ? [] : [one];
    } else {
      const selector = labelSelectorOf(paramRef.selector ?? {});
      found = (await context.reader.list(kind.group, kind.plural, namespace)).filter((one) => {
        const labels = getPath(one, 'metadata', 'labels');
        return matchesLabels(selector, isObject(labels) ? labels : undefined);
      });
    }
    if (found.length > 0) return found;
    return paramRef.parameterNotFoundAction === 'Allow'
      ? []
      : 'failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction';
  }
}

/** The namespace that parameters are looked for in: a Namespace that exists is in itself. */
function namespaceOf({ kind, namespace, name, operation }: AdmissionRequest): string {
  return kind.group === '' && kind.plural === 'namespaces' && operation !== 'CREATE' ? name : namespace;
}

/** Throws Error for an expression that does not compile or run. */
function run(expression: Expression, one: Case): unknown {
  if (expression.program === undefined) throw new Error(expression.error);
  return expression.program.run(one.values, one.budget);
}

const firstLine = (error: unknown): string => runReason(errorText(error).split('\n')[0]!);

function messageOf(validation: Validation, one: Case): string {
  if (validation.messageExpression !== undefined) {
    try {
      const made = run(validation.messageExpression, one);
      if (typeof made === 'string' && made.trim() !== '' && !made.includes('\n')) return made.trim();
    } catch {
      // The refusal is told with its other message.
    }
  }
  return validation.message.trim() || `failed expression: ${validation.text.trim()}`;
}

const codes: Readonly<Record<string, number>> = { Unauthorized: 401, Forbidden: 403, RequestEntityTooLarge: 413 };

function denial(request: AdmissionRequest, message: string, reason: string): Error {
  const error = forbidden({ group: request.kind.group, resource: request.kind.plural }, request.name, message);
  const told = reason === '' ? 'Invalid' : reason;
  return failure(codes[told] ?? 422, told as StatusReason, error.message, {
    ...error.status.details,
    causes: [{ message }],
  });
}

function refusal(request: AdmissionRequest, policy: Policy, binding: Binding, message: string): Error {
  const who = `ValidatingAdmissionPolicy '${policy.name}' with binding '${binding.name}'`;
  return denial(request, `${who} denied request: ${message}`, '');
}

export function validatingPolicies(services: PolicyServices): AdmissionPlugin {
  const policies = new Policies(services, 'validatingadmissionpolicies', 'validatingadmissionpolicybindings');
  return {
    name: 'ValidatingAdmissionPolicy',
    async validate(request, context) {
      if (isExempt(request.kind)) return;
      let refused: Error | undefined;
      const notes = new Map<string, Set<string>>();
      for (const { policy, binding } of await policies.bound()) {
        const fail = (message: string, reason: string, expressionIndex: number): void => {
          const who = `ValidatingAdmissionPolicy '${policy.name}' with binding '${binding.name}'`;
          if (binding.actions.includes('Deny'))
            refused ??= denial(request, `${who} denied request: ${message}`, reason);
          if (binding.actions.includes('Warn')) request.warnings.push(`Validation failed for ${who}: ${message}`);
          if (binding.actions.includes('Audit'))
            request.annotate?.(
              'validation.policy.admission.k8s.io/validation_failure',
              JSON.stringify([
                {
                  message,
                  policy: policy.name,
                  binding: binding.name,
                  expressionIndex,
                  validationActions: binding.actions,
                },
              ]),
            );
        };
        const outcome = await policies.cases(policy, binding, request, context);
        if ('failed' in outcome) {
          if (policy.ignoreFailures) continue;
          // What the binding wants done with failed validations does not matter where none can be made.
          if (outcome.misconfigured) refused ??= refusal(request, policy, binding, outcome.failed);
          else fail(outcome.failed, '', 0);
          continue;
        }
        for (const one of outcome.cases) {
          for (const [index, validation] of policy.validations.entries()) {
            try {
              if (run(validation, one) !== true) fail(messageOf(validation, one), validation.reason, index);
            } catch (error) {
              if (!policy.ignoreFailures)
                fail(`expression '${validation.text.trim()}' resulted in error: ${firstLine(error)}`, '', index);
            }
          }
          const wrong = annotations(one, notes);
          if (wrong !== undefined && !policy.ignoreFailures) refused ??= refusal(request, policy, binding, wrong);
        }
      }
      for (const [key, values] of notes) request.annotate?.(key, [...values].join(', '));
      if (refused !== undefined) throw refused;
    },
  };
}

const annotationMax = 10 * 1024;

/** Adds what a case gives to the values of the policy's audit annotations: other bindings and parameters may give others. What goes wrong. */
function annotations(one: Case, notes: Map<string, Set<string>>): string | undefined {
  let wrong: string | undefined;
  for (const annotation of one.policy.auditAnnotations) {
    try {
      const made = run(annotation, one);
      const value = typeof made === 'string' ? made.trim().slice(0, annotationMax) : '';
      if (value === '') continue;
      const key = `${one.policy.name}/${annotation.key}`;
      notes.set(key, (notes.get(key) ?? new Set()).add(value));
    } catch (error) {
      wrong ??= `auditAnnotation ${JSON.stringify(annotation.key)}: ${firstLine(error)}`;
    }
  }
  return wrong;
}

export function mutatingPolicies(services: PolicyServices): AdmissionPlugin {
  const policies = new Policies(services, 'mutatingadmissionpolicies', 'mutatingadmissionpolicybindings');
  return {
    name: 'MutatingAdmissionPolicy',
    async admit(request, context, round) {
      if (isExempt(request.kind) || request.object === undefined) return;
      const bound = await policies.bound();
      if (bound.length === 0) return;
      const seen = (round.memory.get('policies') ?? new Map<string, JsonObject>()) as Map<string, JsonObject>;
      round.memory.set('policies', seen);
      for (const { policy, binding } of bound) {
        const key = `${policy.name}/${binding.name}`;
        const left = seen.get(key);
        if (!round.first && (left === undefined || !policy.again || jsonEqual(left, request.object))) continue;
        const refuse = (why: string): void => {
          if (policy.ignoreFailures) return;
          throw denial(request, `policy '${policy.name}' with binding '${binding.name}' denied request: ${why}`, '');
        };
        const outcome = await policies.cases(policy, binding, request, context);
        if ('failed' in outcome) {
          refuse(outcome.failed);
          continue;
        }
        for (const one of outcome.cases) {
          try {
            if (await mutate(services, request, one)) round.again ||= round.first;
          } catch (error) {
            refuse(firstLine(error));
          }
        }
        if (outcome.cases.length > 0) seen.set(key, cloneJson(request.object));
      }
    },
  };
}

/** Whether the object changed. Throws Error with the reason why a mutation cannot be made. */
async function mutate(services: PolicyServices, request: AdmissionRequest, one: Case): Promise<boolean> {
  const { dynamicValue, jsonOf } = await import('../machinery/cel/values.ts');
  let object = cloneJson(one.object ?? {});
  for (const mutation of one.policy.mutations) {
    // Later mutations see what earlier ones made.
    one.values.object = dynamicValue(object);
    const made = jsonOf(run(mutation, one));
    if (mutation.json) object = applyJsonPatch(object, made);
    else if (isObject(made))
      object = mergeTyped(services.schemas, services.schemas.definition(one.kind.schema), object, made) as JsonObject;
    else throw new Error('the expression of an apply configuration must give an Object');
  }
  const back = one.kind === request.kind ? object : await services.convert(one.kind, request.kind, object);
  const next = services.decode(request.kind, back);
  if (jsonEqual(next, request.object)) return false;
  replaceContent(request.object!, next);
  return true;
}
