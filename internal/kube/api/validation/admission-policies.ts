import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { qualifiedNameErrors } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1035LabelErrors,
  dns1123SubdomainErrors,
  duplicate,
  forbiddenField,
  invalidValue,
  notSupported,
  pathSegmentErrors,
  required,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { metadataOf, oneOf, part, specOf, texts } from './common.ts';
import { labelSelectorErrors } from './pod.ts';
import { failurePolicies, matchConditionErrors, matchPolicies, reinvocationPolicies, ruleErrors } from './webhooks.ts';

/** Rules of admission policies and their bindings (pkg/apis/admissionregistration/validation/validation.go), but for what expressions mean. */
const auditAnnotationsMax = 20;
const valueExpressionMax = 5 * 1024;
const actions = ['Audit', 'Deny', 'Warn'];
const reasons = ['Forbidden', 'Invalid', 'RequestEntityTooLarge', 'Unauthorized'];
const notFoundActions = ['Allow', 'Deny'];
const patchTypes = ['ApplyConfiguration', 'JSONPatch'];

const celReserved: ReadonlySet<string> = new Set(
  'true false null in as break const continue else for function if import let loop package namespace return var void while'.split(
    ' ',
  ),
);

function paramKindErrors(reference: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const apiVersion = String(reference.apiVersion ?? '');
  const at = `${path}.apiVersion`;
  const parts = apiVersion.split('/');
  if (apiVersion === '') errors.push(required(at));
  else if (parts.length > 2) errors.push(invalidValue(at, apiVersion, `unexpected GroupVersion string: ${apiVersion}`));
  else {
    const version = parts.at(-1)!;
    const group = parts.length === 2 ? parts[0]! : '';
    const wrongGroup = group === '' ? '' : dns1123SubdomainErrors(group).join(',');
    if (wrongGroup !== '') errors.push(invalidValue(at, group, wrongGroup));
    const wrongVersion = dns1035LabelErrors(version).join(',');
    if (version === '') errors.push(invalidValue(at, apiVersion, 'version must be specified'));
    else if (wrongVersion !== '') errors.push(invalidValue(at, version, wrongVersion));
  }
  const kind = String(reference.kind ?? '');
  const wrongKind = dns1035LabelErrors(kind.toLowerCase()).join(',');
  if (kind === '') errors.push(required(`${path}.kind`));
  else if (wrongKind !== '')
    errors.push(invalidValue(`${path}.kind`, kind, `may have mixed case, but should otherwise match: ${wrongKind}`));
  return errors;
}

function matchResourcesErrors(match: JsonObject, path: string): FieldError[] {
  const errors = oneOf(match.matchPolicy, matchPolicies, `${path}.matchPolicy`);
  for (const field of ['namespaceSelector', 'objectSelector'])
    errors.push(
      ...(isObject(match[field])
        ? labelSelectorErrors(match[field], `${path}.${field}`)
        : [required(`${path}.${field}`)]),
    );
  for (const field of ['resourceRules', 'excludeResourceRules'])
    for (const [index, rule] of objects(match[field]).entries()) {
      const at = `${path}.${field}[${index}]`;
      const names = texts(rule.resourceNames);
      for (const [i, name] of names.entries()) {
        for (const why of pathSegmentErrors(name)) errors.push(invalidValue(`${at}.resourceNames[${i}]`, name, why));
        if (names.indexOf(name) < i) errors.push(duplicate(`${at}.resourceNames[${i}]`, name));
      }
      errors.push(...ruleErrors(rule, at));
    }
  return errors;
}

function expressionErrors(value: Json | undefined, path: string): FieldError[] {
  return String(value ?? '').trim() === '' ? [required(path, 'expression is not specified')] : [];
}

function variableErrors(variables: Json | undefined, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const [index, variable] of objects(variables).entries()) {
    const at = `${path}[${index}]`;
    const name = String(variable.name ?? '');
    if (name.trim() === '') errors.push(required(`${at}.name`, 'name is not specified'));
    else if (!/^[_a-zA-Z][_a-zA-Z0-9]*$/.test(name) || celReserved.has(name))
      errors.push(invalidValue(`${at}.name`, name, 'name is not a valid CEL identifier'));
    errors.push(...expressionErrors(variable.expression, `${at}.expression`));
  }
  return errors;
}

function validationErrors(validation: JsonObject, path: string): FieldError[] {
  const errors = expressionErrors(validation.expression, `${path}.expression`);
  const { message, messageExpression } = validation;
  if (typeof messageExpression === 'string' && messageExpression !== '' && messageExpression.trim() === '')
    errors.push(invalidValue(`${path}.messageExpression`, messageExpression, 'must be non-empty if specified'));
  if (typeof message === 'string' && message !== '') {
    if (message.trim() === '')
      errors.push(invalidValue(`${path}.message`, message, 'message must be non-empty if specified'));
    else if (/[\n\r]/.test(message.trim()))
      errors.push(invalidValue(`${path}.message`, message, 'message must not contain line breaks'));
  }
  errors.push(...oneOf(validation.reason, reasons, `${path}.reason`, true));
  return errors;
}

function auditAnnotationErrors(annotations: readonly JsonObject[], policy: string): FieldError[] {
  const at = 'spec.auditAnnotations';
  const errors: FieldError[] = [];
  if (annotations.length > auditAnnotationsMax)
    errors.push(invalidValue(at, annotations, `must not have more than ${auditAnnotationsMax} auditAnnotations`));
  const seen = new Set<string>();
  for (const [index, annotation] of annotations.entries()) {
    const path = `${at}[${index}]`;
    const key = String(annotation.key ?? '');
    for (const why of qualifiedNameErrors(`${policy}/${key}`))
      errors.push(invalidValue(`${path}.key`, `${policy}/${key}`, why));
    const expression = String(annotation.valueExpression ?? '').trim();
    if (expression === '') errors.push(required(`${path}.valueExpression`, 'valueExpression is not specified'));
    else if (expression.length > valueExpressionMax)
      errors.push(required(`${path}.valueExpression`, `must not exceed ${valueExpressionMax} bytes in length`));
    if (seen.has(key)) errors.push(duplicate(`${path}.key`, key));
    seen.add(key);
  }
  return errors;
}

/** What both kinds of policies have. */
function policyErrors(spec: JsonObject): FieldError[] {
  const errors = oneOf(spec.failurePolicy, failurePolicies, 'spec.failurePolicy');
  if (isObject(spec.paramKind)) errors.push(...paramKindErrors(spec.paramKind, 'spec.paramKind'));
  const constraints = spec.matchConstraints;
  if (!isObject(constraints)) errors.push(required('spec.matchConstraints'));
  else {
    errors.push(...matchResourcesErrors(constraints, 'spec.matchConstraints'));
    if (objects(constraints.resourceRules).length === 0) errors.push(required('spec.matchConstraints.resourceRules'));
  }
  errors.push(...matchConditionErrors(spec.matchConditions, 'spec.matchConditions'));
  errors.push(...variableErrors(spec.variables, 'spec.variables'));
  return errors;
}

export function validatingPolicyErrors(policy: JsonObject): FieldError[] {
  const spec = specOf(policy);
  const errors = policyErrors(spec);
  const validations = objects(spec.validations);
  const annotations = objects(spec.auditAnnotations);
  if (validations.length === 0 && annotations.length === 0)
    for (const field of ['validations', 'auditAnnotations'])
      errors.push(required(`spec.${field}`, 'validations or auditAnnotations must contain at least one item'));
  for (const [index, validation] of validations.entries())
    errors.push(...validationErrors(validation, `spec.validations[${index}]`));
  errors.push(...auditAnnotationErrors(annotations, String(metadataOf(policy).name ?? '')));
  return errors;
}

export function mutatingPolicyErrors(policy: JsonObject): FieldError[] {
  const spec = specOf(policy);
  const errors = policyErrors(spec);
  errors.push(...oneOf(spec.reinvocationPolicy, reinvocationPolicies, 'spec.reinvocationPolicy'));
  const mutations = objects(spec.mutations);
  if (mutations.length === 0) errors.push(required('spec.mutations', 'mutations must contain at least one item'));
  for (const [index, mutation] of mutations.entries()) {
    const at = `spec.mutations[${index}]`;
    const type = mutation.patchType;
    if (type === undefined || type === '') errors.push(required(`${at}.patchType`));
    else if (!patchTypes.includes(String(type))) errors.push(notSupported(`${at}.patchType`, type, patchTypes));
    for (const [field, wanted] of [
      ['applyConfiguration', 'ApplyConfiguration'],
      ['jsonPatch', 'JSONPatch'],
    ] as const) {
      const given = mutation[field];
      if (type === wanted) {
        if (!isObject(given)) errors.push(required(`${at}.${field}`, `must be specified when patchType is ${wanted}`));
        else errors.push(...expressionErrors(given.expression, `${at}.${field}.expression`));
      } else if (given !== undefined && type !== undefined)
        errors.push(forbiddenField(`${at}.${field}`, `may not be specified when patchType is ${String(type)}`));
    }
  }
  return errors;
}

function paramRefErrors(reference: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const name = String(reference.name ?? '');
  const selector = isObject(reference.selector) ? reference.selector : undefined;
  const exclusive = 'name and selector are mutually exclusive';
  if (name !== '') {
    for (const why of pathSegmentErrors(name)) errors.push(invalidValue(`${path}.name`, name, why));
    if (selector !== undefined) errors.push(forbiddenField(`${path}.name`, exclusive));
  }
  if (selector !== undefined) {
    errors.push(...labelSelectorErrors(selector, `${path}.selector`));
    if (name !== '') errors.push(forbiddenField(`${path}.selector`, exclusive));
  }
  if (name === '' && selector === undefined) errors.push(required(path, 'one of name or selector must be specified'));
  errors.push(...oneOf(reference.parameterNotFoundAction, notFoundActions, `${path}.parameterNotFoundAction`));
  return errors;
}

function bindingErrors(spec: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const name = String(spec.policyName ?? '');
  if (name === '') errors.push(required('spec.policyName'));
  else for (const why of dns1123SubdomainErrors(name)) errors.push(invalidValue('spec.policyName', name, why));
  if (isObject(spec.paramRef)) errors.push(...paramRefErrors(spec.paramRef, 'spec.paramRef'));
  if (isObject(spec.matchResources)) errors.push(...matchResourcesErrors(spec.matchResources, 'spec.matchResources'));
  return errors;
}

export function mutatingBindingErrors(binding: JsonObject): FieldError[] {
  return bindingErrors(specOf(binding));
}

export function validatingBindingErrors(binding: JsonObject): FieldError[] {
  const spec = specOf(binding);
  const errors = bindingErrors(spec);
  const at = 'spec.validationActions';
  const given = texts(spec.validationActions);
  for (const [index, action] of given.entries()) {
    if (!actions.includes(action)) errors.push(notSupported(`${at}[${index}]`, action, actions));
    if (given.indexOf(action) < index) errors.push(duplicate(`${at}[${index}]`, action));
  }
  if (given.includes('Deny') && given.includes('Warn'))
    errors.push(
      invalidValue(
        at,
        given,
        'must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)',
      ),
    );
  if (given.length === 0) errors.push(required(at, 'at least one validation action is required'));
  return errors;
}

export function validatingPolicyStatusErrors(policy: JsonObject): FieldError[] {
  const errors: FieldError[] = [];
  const warnings = part(part(policy, 'status'), 'typeChecking').expressionWarnings;
  for (const [index, warning] of objects(warnings).entries())
    for (const field of ['warning', 'fieldRef'])
      if (String(warning[field] ?? '').trim() === '')
        errors.push(required(`status.typeChecking.expressionWarnings[${index}].${field}`));
  return errors;
}
