/** The audit policy (audit.k8s.io/v1 Policy): what is recorded of which request. */
import { AppError } from '../../../base/errors.ts';
import type { UserInfo } from '../../auth/identity.ts';
import { isObject } from '../../machinery/json.ts';
import { parseYaml } from '../../machinery/yaml-text.ts';
import type { RequestInfo } from '../request-info.ts';

export const auditLevels = ['None', 'Metadata', 'Request', 'RequestResponse'] as const;
export type AuditLevel = (typeof auditLevels)[number];
export const auditStages = ['RequestReceived', 'ResponseStarted', 'ResponseComplete', 'Panic'] as const;
export type AuditStage = (typeof auditStages)[number];

interface GroupResources {
  readonly group: string;
  readonly resources: readonly string[];
  readonly resourceNames: readonly string[];
}

export interface AuditRule {
  readonly level: AuditLevel;
  readonly users: readonly string[];
  readonly userGroups: readonly string[];
  readonly verbs: readonly string[];
  readonly resources: readonly GroupResources[];
  readonly namespaces: readonly string[];
  readonly nonResourceURLs: readonly string[];
  readonly omitStages: readonly AuditStage[];
  readonly omitManagedFields: boolean;
}

export interface AuditPolicy {
  readonly rules: readonly AuditRule[];
}

/** What is recorded of one request. */
export interface AuditDecision {
  readonly level: AuditLevel;
  readonly omitStages: readonly AuditStage[];
  readonly omitManagedFields: boolean;
}

/** The policy that holds when none is given: who did what to which object, and never what is in it. Probes and renewals of leases, thousands an hour, are left out. */
export const standardPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/version", "/metrics", "/openapi*", "/api*"]
  - level: None
    verbs: [get, list, watch]
    users: ["system:kube-controller-manager", "system:kube-scheduler", "system:apiserver"]
  - level: None
    verbs: [get, list, watch]
    userGroups: ["system:nodes"]
  - level: None
    resources: [{group: coordination.k8s.io, resources: [leases]}]
  - level: Metadata
`;

/** A policy from YAML or JSON. AppError AUDIT_POLICY names the field that is wrong. */
export function parsePolicy(text: string): AuditPolicy {
  let value: unknown;
  try {
    value = parseYaml(text).value;
  } catch (error) {
    throw wrong('', `is no YAML: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!isObject(value)) throw wrong('', 'expected an object of kind Policy');
  const policy = value as Record<string, unknown>;
  known('', policy, ['apiVersion', 'kind', 'metadata', 'rules', 'omitStages', 'omitManagedFields']);
  if (policy.kind !== 'Policy' || policy.apiVersion !== 'audit.k8s.io/v1')
    throw wrong(
      'kind',
      `expected kind Policy of apiVersion audit.k8s.io/v1, got ${String(policy.kind)} of ${String(policy.apiVersion)}`,
    );
  const rules = policy.rules;
  if (!Array.isArray(rules) || rules.length === 0) throw wrong('rules', 'expected a list with at least one rule');
  const omitStages = stages('omitStages', policy.omitStages);
  const omitManagedFields = yesNo('omitManagedFields', policy.omitManagedFields) ?? false;
  return { rules: rules.map((rule, at) => parseRule(`rules[${at}]`, rule, omitStages, omitManagedFields)) };
}

const ruleFields = 'level users userGroups verbs resources namespaces nonResourceURLs omitStages omitManagedFields';

function parseRule(
  at: string,
  value: unknown,
  omitStages: readonly AuditStage[],
  omitManagedFields: boolean,
): AuditRule {
  if (!isObject(value)) throw wrong(at, 'expected a rule');
  const rule = value as Record<string, unknown>;
  known(at, rule, ruleFields.split(' '));
  const level = auditLevels.find((one) => one === rule.level);
  if (level === undefined) throw wrong(`${at}.level`, `expected ${auditLevels.join(', ')}, got ${String(rule.level)}`);
  const resources = list(`${at}.resources`, rule.resources).map((one, index): GroupResources => {
    const where = `${at}.resources[${index}]`;
    if (!isObject(one)) throw wrong(where, 'expected group and resources');
    const group = one as Record<string, unknown>;
    known(where, group, ['group', 'resources', 'resourceNames']);
    const names = texts(`${where}.resourceNames`, group.resourceNames);
    const plural = texts(`${where}.resources`, group.resources);
    if (names.length > 0 && plural.length === 0)
      throw wrong(`${where}.resourceNames`, 'using resourceNames requires at least one resource');
    if (group.group !== undefined && typeof group.group !== 'string') throw wrong(`${where}.group`, 'expected a text');
    return { group: group.group ?? '', resources: plural, resourceNames: names };
  });
  const namespaces = texts(`${at}.namespaces`, rule.namespaces);
  const nonResourceURLs = texts(`${at}.nonResourceURLs`, rule.nonResourceURLs);
  if (nonResourceURLs.length > 0 && (resources.length > 0 || namespaces.length > 0))
    throw wrong(`${at}.nonResourceURLs`, 'rules cannot apply to both regular resources and non-resource URLs');
  for (const url of nonResourceURLs)
    if (url !== '*' && (!url.startsWith('/') || url.slice(0, -1).includes('*')))
      throw wrong(
        `${at}.nonResourceURLs`,
        `expected "*" or a path with at most one * at its end, got ${JSON.stringify(url)}`,
      );
  return {
    level,
    users: texts(`${at}.users`, rule.users),
    userGroups: texts(`${at}.userGroups`, rule.userGroups),
    verbs: texts(`${at}.verbs`, rule.verbs),
    resources,
    namespaces,
    nonResourceURLs,
    omitStages: [...new Set([...omitStages, ...stages(`${at}.omitStages`, rule.omitStages)])],
    omitManagedFields: yesNo(`${at}.omitManagedFields`, rule.omitManagedFields) ?? omitManagedFields,
  };
}

function wrong(field: string, why: string): AppError {
  return new AppError('AUDIT_POLICY', `audit policy: ${field === '' ? '' : `${field}: `}${why}`, {
    hint: 'kubernetes.io, "Auditing", has the form of an audit policy',
  });
}

function known(at: string, value: Record<string, unknown>, fields: readonly string[]): void {
  for (const name in value)
    if (!fields.includes(name))
      throw wrong(at === '' ? name : `${at}.${name}`, `unknown field, expected ${fields.join(', ')}`);
}

function list(at: string, value: unknown): unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw wrong(at, 'expected a list');
  return value;
}

function texts(at: string, value: unknown): string[] {
  return list(at, value).map((one) => {
    if (typeof one !== 'string') throw wrong(at, `expected a list of texts, got ${JSON.stringify(one)} in it`);
    return one;
  });
}

function stages(at: string, value: unknown): AuditStage[] {
  return texts(at, value).map((one) => {
    const stage = auditStages.find((known) => known === one);
    if (stage === undefined) throw wrong(at, `expected ${auditStages.join(', ')}, got ${JSON.stringify(one)}`);
    return stage;
  });
}

function yesNo(at: string, value: unknown): boolean | undefined {
  if (value !== undefined && typeof value !== 'boolean') throw wrong(at, 'expected true or false');
  return value;
}

/** What the first rule that fits says; nothing is recorded when none does. `user` is who was authenticated, before impersonation. */
export function decide(policy: AuditPolicy, user: UserInfo | undefined, info: RequestInfo): AuditDecision {
  const rule = policy.rules.find((one) => fits(one, user, info));
  if (rule === undefined) return { level: 'None', omitStages: [], omitManagedFields: false };
  const { omitStages, omitManagedFields } = rule;
  const level = hasSecrets(info) && !names(rule, info) ? lesser(rule.level, 'Metadata') : rule.level;
  return { level, omitStages, omitManagedFields };
}

/** Requests whose bodies are secrets: upstream's policies have to spare them; here a rule gets them only when it names them. */
function hasSecrets({ group, resource, subresource }: RequestInfo): boolean {
  if (group === '') return resource === 'secrets' || (resource === 'serviceaccounts' && subresource === 'token');
  return group === 'authentication.k8s.io' && resource === 'tokenreviews';
}

function names(rule: AuditRule, info: RequestInfo): boolean {
  const asked = combined(info);
  return rule.resources.some(({ group, resources }) => group === info.group && resources.includes(asked));
}

function lesser(a: AuditLevel, b: AuditLevel): AuditLevel {
  return auditLevels.indexOf(a) < auditLevels.indexOf(b) ? a : b;
}

const combined = ({ resource, subresource }: RequestInfo): string =>
  subresource === '' ? resource : `${resource}/${subresource}`;

/** k8s.io/apiserver/pkg/audit/policy/checker.go, ruleMatches. */
function fits(rule: AuditRule, user: UserInfo | undefined, info: RequestInfo): boolean {
  if (rule.users.length > 0 && (user === undefined || !rule.users.includes(user.name))) return false;
  if (rule.userGroups.length > 0 && !(user?.groups ?? []).some((group) => rule.userGroups.includes(group)))
    return false;
  if (rule.verbs.length > 0 && !rule.verbs.includes(info.verb)) return false;
  if (rule.namespaces.length > 0 || rule.resources.length > 0) return fitsResource(rule, info);
  if (rule.nonResourceURLs.length === 0) return true;
  return !info.isResource && rule.nonResourceURLs.some((pattern) => fitsPath(pattern, info.path));
}

function fitsPath(pattern: string, path: string): boolean {
  return pattern.endsWith('*') ? path.startsWith(pattern.slice(0, -1)) : path === pattern;
}

function fitsResource(rule: AuditRule, info: RequestInfo): boolean {
  if (!info.isResource) return false;
  if (rule.namespaces.length > 0 && !rule.namespaces.includes(info.namespace)) return false;
  if (rule.resources.length === 0) return true;
  return rule.resources.some(({ group, resources, resourceNames }) => {
    if (group !== info.group) return false;
    if (resources.length === 0) return true;
    if (resourceNames.length > 0 && !resourceNames.includes(info.name)) return false;
    return resources.some(
      (pattern) =>
        pattern === '*' ||
        pattern === combined(info) ||
        (info.subresource !== '' && pattern === `*/${info.subresource}`) ||
        pattern === `${info.resource}/*`,
    );
  });
}
