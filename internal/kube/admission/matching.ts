import type { KindInfo } from '../api/kinds.ts';
import { getPath, isObject, type Json, type JsonObject } from '../machinery/json.ts';
import { type LabelSelector, labelSelectorOf, matchesLabels } from '../machinery/selectors.ts';
import type { AdmissionReader, AdmissionRequest } from './types.ts';

/** Which requests a webhook or a policy is asked about (admissionregistration.k8s.io/v1: RuleWithOperations, MatchResources). */
export interface MatchRule {
  readonly operations: readonly string[];
  readonly apiGroups: readonly string[];
  readonly apiVersions: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames: readonly string[];
  readonly scope: string;
}

export interface Match {
  readonly rules: readonly MatchRule[];
  readonly excluded: readonly MatchRule[];
  readonly namespaces: LabelSelector;
  readonly objects: LabelSelector;
  readonly exact: boolean;
}

const strings = (value: Json | undefined): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'string') : [];

export function rulesOf(value: Json | undefined): MatchRule[] {
  if (!Array.isArray(value)) return [];
  return value.filter(isObject).map((rule) => ({
    operations: strings(rule.operations),
    apiGroups: strings(rule.apiGroups),
    apiVersions: strings(rule.apiVersions),
    resources: strings(rule.resources),
    resourceNames: strings(rule.resourceNames),
    scope: typeof rule.scope === 'string' && rule.scope !== '' ? rule.scope : '*',
  }));
}

/** Of a webhook (`rules`) or of the matchConstraints and matchResources of a policy (`resourceRules`). */
export function matchOf(source: JsonObject): Match {
  return {
    rules: rulesOf(source.rules ?? source.resourceRules),
    excluded: rulesOf(source.excludeResourceRules),
    namespaces: labelSelectorOf(source.namespaceSelector ?? {}),
    objects: labelSelectorOf(source.objectSelector ?? {}),
    exact: source.matchPolicy === 'Exact',
  };
}

/** Kinds that admission is configured with: nothing may lock them. */
const exempt = new Set([
  'validatingwebhookconfigurations',
  'mutatingwebhookconfigurations',
  'validatingadmissionpolicies',
  'validatingadmissionpolicybindings',
  'mutatingadmissionpolicies',
  'mutatingadmissionpolicybindings',
]);

export function isExempt(kind: KindInfo): boolean {
  return kind.group === 'admissionregistration.k8s.io' && exempt.has(kind.plural);
}

const has = (list: readonly string[], value: string): boolean => list.includes('*') || list.includes(value);

function resourceMatches(list: readonly string[], resource: string, subresource: string): boolean {
  return list.some((one) => {
    const [want = '', sub] = one.split('/');
    if (want !== '*' && want !== resource) return false;
    if (sub === undefined) return subresource === '';
    return sub === '*' || sub === subresource;
  });
}

function ruleMatches(rule: MatchRule, request: AdmissionRequest, kind: KindInfo): boolean {
  if (!has(rule.operations, request.operation)) return false;
  if (!has(rule.apiGroups, kind.group) || !has(rule.apiVersions, kind.version)) return false;
  if (!resourceMatches(rule.resources, kind.plural, request.subresource)) return false;
  if (rule.resourceNames.length > 0 && !rule.resourceNames.includes(request.name)) return false;
  // A Namespace is an object of the cluster.
  return rule.scope === '*' || (rule.scope === 'Namespaced') === kind.namespaced;
}

function labelsOf(object: JsonObject | undefined): Record<string, unknown> | undefined {
  const labels = getPath(object, 'metadata', 'labels');
  return isObject(labels) ? labels : undefined;
}

/**
 * The form of the kind that the request is matched in: its own, or with matchPolicy Equivalent another version of the same resource that a rule names.
 * Undefined when it is not matched.
 */
export async function matchedKind(
  match: Match,
  request: AdmissionRequest,
  equivalents: readonly KindInfo[],
  reader: AdmissionReader,
): Promise<KindInfo | undefined> {
  const { kind } = request;
  const candidates = match.exact ? [kind] : [kind, ...equivalents.filter((one) => one !== kind)];
  const found = candidates.find((one) => match.rules.some((rule) => ruleMatches(rule, request, one)));
  if (found === undefined || match.excluded.some((rule) => ruleMatches(rule, request, found))) return undefined;
  const { requirements } = match.objects;
  if (
    requirements.length > 0 &&
    !matchesLabels(match.objects, labelsOf(request.object)) &&
    !(request.old !== undefined && matchesLabels(match.objects, labelsOf(request.old)))
  )
    return undefined;
  return (await namespaceMatches(match.namespaces, request, reader)) ? found : undefined;
}

async function namespaceMatches(
  selector: LabelSelector,
  request: AdmissionRequest,
  reader: AdmissionReader,
): Promise<boolean> {
  if (selector.requirements.length === 0 && !selector.nothing) return true;
  const { kind } = request;
  if (kind.group === '' && kind.plural === 'namespaces') {
    const own = request.operation === 'DELETE' ? request.old : request.object;
    return matchesLabels(selector, labelsOf(own ?? request.old));
  }
  if (!kind.namespaced || request.namespace === '') return true;
  return matchesLabels(selector, labelsOf(await reader.get('', 'namespaces', '', request.namespace)));
}
