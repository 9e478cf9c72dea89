import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { qualifiedNameErrors } from '../../machinery/selectors.ts';
import type { FieldError } from '../../machinery/status.ts';
import {
  dns1035LabelErrors,
  dns1123LabelErrors,
  dns1123SubdomainErrors,
  duplicate,
  invalidValue,
  notSupported,
  portNumberErrors,
  required,
  tooManyField,
} from '../../machinery/validation.ts';
import { objects } from '../defaults/helpers.ts';
import { oneOf, part, texts } from './common.ts';
import { labelSelectorErrors } from './pod.ts';

/**
 * Rules of webhook configurations, and of what admission policies share with them (pkg/apis/admissionregistration/validation/validation.go). That expressions
 * compile is looked at in admission, where the expression library is.
 */
const reviewVersions = ['v1', 'v1beta1'];
const operations = ['*', 'CONNECT', 'CREATE', 'DELETE', 'UPDATE'];
const scopes = ['*', 'Cluster', 'Namespaced'];
export const failurePolicies = ['Fail', 'Ignore'];
export const matchPolicies = ['Equivalent', 'Exact'];
export const reinvocationPolicies = ['IfNeeded', 'Never'];
const sideEffects = ['None', 'NoneOnDryRun'];
const matchConditionsMax = 64;
const timeoutMax = 30;

function urlErrors(text: string, path: string): FieldError[] {
  const form = '; desired format: https://host[/path]';
  // What has no scheme is a path to Go's parser, and an error to ours.
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(text)?.[1] ?? '';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const errors: FieldError[] = [];
  if (scheme !== 'https') errors.push(invalidValue(path, scheme, `'https' is the only allowed URL scheme${form}`));
  if (url === undefined || url.host === '') {
    errors.push(invalidValue(path, '', `host must be specified${form}`));
    return errors;
  }
  if (url.username !== '' || url.password !== '')
    errors.push(invalidValue(path, url.username, 'user information is not permitted in the URL'));
  if (url.hash !== '') errors.push(invalidValue(path, url.hash.slice(1), 'fragments are not permitted in the URL'));
  if (url.search !== '')
    errors.push(invalidValue(path, url.search.slice(1), 'query parameters are not permitted in the URL'));
  return errors;
}

function serviceErrors(service: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  for (const field of ['name', 'namespace']) if (!service[field]) errors.push(required(`${path}.${field}`));
  const port = Number(service.port ?? 0);
  const why = portNumberErrors(port);
  if (why.length > 0) errors.push(invalidValue(`${path}.port`, port, `port is not valid: ${why.join(', ')}`));
  const text = String(service.path ?? '');
  if (text === '' || text === '/') return errors;
  if (text === '//') return [...errors, invalidValue(`${path}.path`, text, 'segment[0] may not be empty')];
  if (!text.startsWith('/')) errors.push(invalidValue(`${path}.path`, text, "must start with a '/'"));
  const segments = text.slice(1).replace(/\/$/, '').split('/');
  for (const [index, segment] of segments.entries()) {
    if (segment === '') errors.push(invalidValue(`${path}.path`, text, `segment[${index}] may not be empty`));
    else
      for (const reason of dns1123SubdomainErrors(segment))
        errors.push(invalidValue(`${path}.path`, text, `segment[${index}]: ${reason}`));
  }
  return errors;
}

/** How a webhook is reached: by URL or by Service. */
export function clientConfigErrors(client: JsonObject, path: string): FieldError[] {
  const { url, service } = client;
  if ((url === undefined) === (service === undefined))
    return [required(path, 'exactly one of url or service is required')];
  if (url !== undefined) return urlErrors(String(url), `${path}.url`);
  return isObject(service) ? serviceErrors(service, `${path}.service`) : [];
}

function resourcesErrors(resources: readonly string[], path: string): FieldError[] {
  if (resources.length === 0) return [required(path)];
  const errors: FieldError[] = [];
  const allSubresources = new Set<string>();
  const allResources = new Set<string>();
  let plain = false;
  for (const [index, text] of resources.entries()) {
    const at = `${path}[${index}]`;
    if (text === '') {
      errors.push(required(at));
      continue;
    }
    const slash = text.indexOf('/');
    if (slash < 0) {
      plain = text !== '*';
      continue;
    }
    const [resource, subresource] = [text.slice(0, slash), text.slice(slash + 1)];
    if (allSubresources.has(resource))
      errors.push(invalidValue(at, text, `if '${resource}/*' is present, must not specify ${text}`));
    if (allResources.has(subresource))
      errors.push(invalidValue(at, text, `if '*/${subresource}' is present, must not specify ${text}`));
    if (subresource === '*') allSubresources.add(resource);
    if (resource === '*') allResources.add(subresource);
  }
  if (resources.length > 1 && resources.includes('*/*'))
    errors.push(invalidValue(path, resources, "if '*/*' is present, must not specify other resources"));
  if (resources.includes('*') && plain)
    errors.push(
      invalidValue(path, resources, "if '*' is present, must not specify other resources without subresources"),
    );
  return errors;
}

/** A rule of which requests are meant. */
export function ruleErrors(rule: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const list = (field: string, what: string): string[] => {
    const values = texts(rule[field]);
    if (values.length === 0) errors.push(required(`${path}.${field}`));
    if (values.length > 1 && values.includes('*'))
      errors.push(invalidValue(`${path}.${field}`, values, `if '*' is present, must not specify other ${what}`));
    return values;
  };
  for (const [index, operation] of list('operations', 'operations').entries())
    if (!operations.includes(operation))
      errors.push(notSupported(`${path}.operations[${index}]`, operation, operations));
  list('apiGroups', 'API groups');
  for (const [index, version] of list('apiVersions', 'API versions').entries())
    if (version === '') errors.push(required(`${path}.apiVersions[${index}]`));
  errors.push(...resourcesErrors(texts(rule.resources), `${path}.resources`));
  errors.push(...oneOf(rule.scope, scopes, `${path}.scope`, true));
  return errors;
}

export function matchConditionErrors(conditions: Json | undefined, path: string): FieldError[] {
  const list = objects(conditions);
  const errors: FieldError[] = [];
  if (list.length > matchConditionsMax) errors.push(tooManyField(path, list.length, matchConditionsMax));
  const seen = new Set<string>();
  for (const [index, condition] of list.entries()) {
    const at = `${path}[${index}]`;
    if (String(condition.expression ?? '').trim() === '') errors.push(required(`${at}.expression`));
    const name = String(condition.name ?? '');
    if (name === '') {
      errors.push(required(`${at}.name`));
      continue;
    }
    for (const why of qualifiedNameErrors(name)) errors.push(invalidValue(`${at}.name`, name, why));
    if (seen.has(name)) errors.push(duplicate(`${at}.name`, name));
    seen.add(name);
  }
  return errors;
}

/** A name with at least two dots: `check.policy.example.com` (IsFullyQualifiedName). */
function qualifiedDomainErrors(name: string, path: string): FieldError[] {
  if (name === '') return [required(path)];
  const wrong = dns1123SubdomainErrors(name);
  if (wrong.length > 0) return wrong.map((why) => invalidValue(path, name, why));
  const labels = name.split('.');
  if (labels.length < 3)
    return [invalidValue(path, name, 'should be a domain with at least three segments separated by dots')];
  for (const label of labels)
    if (dns1123LabelErrors(label).length > 0) return [invalidValue(path, label, dns1123LabelErrors(label).join(','))];
  return [];
}

function versionErrors(versions: readonly string[], path: string): FieldError[] {
  if (versions.length === 0) return [required(path, `must specify one of ${reviewVersions.join(', ')}`)];
  const errors: FieldError[] = [];
  for (const [index, version] of versions.entries()) {
    if (versions.indexOf(version) < index) errors.push(invalidValue(`${path}[${index}]`, version, 'duplicate version'));
    else for (const why of dns1035LabelErrors(version)) errors.push(invalidValue(`${path}[${index}]`, version, why));
  }
  if (!versions.some((version) => reviewVersions.includes(version)))
    errors.push(invalidValue(path, versions, `must include at least one of ${reviewVersions.join(', ')}`));
  return errors;
}

function webhookErrors(webhook: JsonObject, path: string, mutating: boolean): FieldError[] {
  const errors = qualifiedDomainErrors(String(webhook.name ?? ''), `${path}.name`);
  for (const [index, rule] of objects(webhook.rules).entries())
    errors.push(...ruleErrors(rule, `${path}.rules[${index}]`));
  errors.push(...oneOf(webhook.failurePolicy, failurePolicies, `${path}.failurePolicy`, true));
  errors.push(...oneOf(webhook.matchPolicy, matchPolicies, `${path}.matchPolicy`, true));
  if (webhook.sideEffects === undefined)
    errors.push(required(`${path}.sideEffects`, `must specify one of ${sideEffects.join(', ')}`));
  else errors.push(...oneOf(webhook.sideEffects, sideEffects, `${path}.sideEffects`));
  const timeout = webhook.timeoutSeconds;
  if (typeof timeout === 'number' && (timeout < 1 || timeout > timeoutMax))
    errors.push(
      invalidValue(`${path}.timeoutSeconds`, timeout, `the timeout value must be between 1 and ${timeoutMax} seconds`),
    );
  errors.push(...labelSelectorErrors(webhook.namespaceSelector, `${path}.namespaceSelector`));
  errors.push(...labelSelectorErrors(webhook.objectSelector, `${path}.objectSelector`));
  if (mutating)
    errors.push(...oneOf(webhook.reinvocationPolicy, reinvocationPolicies, `${path}.reinvocationPolicy`, true));
  errors.push(...clientConfigErrors(part(webhook, 'clientConfig'), `${path}.clientConfig`));
  errors.push(...matchConditionErrors(webhook.matchConditions, `${path}.matchConditions`));
  errors.push(...versionErrors(texts(webhook.admissionReviewVersions), `${path}.admissionReviewVersions`));
  return errors;
}

function configurationErrors(configuration: JsonObject, mutating: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [index, webhook] of objects(configuration.webhooks).entries()) {
    errors.push(...webhookErrors(webhook, `webhooks[${index}]`, mutating));
    const name = String(webhook.name ?? '');
    if (seen.has(name)) errors.push(duplicate(`webhooks[${index}].name`, name));
    if (name !== '') seen.add(name);
  }
  return errors;
}

export const mutatingWebhookErrors = (configuration: JsonObject): FieldError[] =>
  configurationErrors(configuration, true);
export const validatingWebhookErrors = (configuration: JsonObject): FieldError[] =>
  configurationErrors(configuration, false);
