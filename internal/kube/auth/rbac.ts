/** Role based access control (docs: reference/access-authn-authz/rbac): pure evaluation over a cache of roles and bindings. */
import type { Attributes, Decision, UserInfo } from './identity.ts';
import { mastersGroup } from './identity.ts';

export interface PolicyRule {
  verbs: string[];
  apiGroups?: string[];
  resources?: string[];
  resourceNames?: string[];
  nonResourceURLs?: string[];
}

export interface RoleObject {
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  rules?: PolicyRule[] | null;
}

export interface BindingObject {
  metadata: { name: string; namespace?: string };
  subjects?: { kind: string; name: string; namespace?: string; apiGroup?: string }[] | null;
  roleRef: { apiGroup?: string; kind: string; name: string };
}

const has = (list: readonly string[] | undefined, value: string): boolean =>
  list !== undefined && (list.includes('*') || list.includes(value));

/** Whether one rule allows the request. */
export function ruleAllows(rule: PolicyRule, attributes: Attributes): boolean {
  if (!has(rule.verbs, attributes.verb)) return false;
  if (!attributes.resourceRequest) return pathMatches(rule.nonResourceURLs, attributes.path);
  if (!has(rule.apiGroups, attributes.group)) return false;
  if (!resourceMatches(rule.resources, attributes.resource, attributes.subresource)) return false;
  if (rule.resourceNames === undefined || rule.resourceNames.length === 0) return true;
  return rule.resourceNames.includes(attributes.name);
}

function resourceMatches(resources: readonly string[] | undefined, resource: string, subresource: string): boolean {
  if (resources === undefined) return false;
  const full = subresource === '' ? resource : `${resource}/${subresource}`;
  for (const entry of resources) {
    if (entry === '*' || entry === full) return true;
    // `*/scale` stands for the scale subresource of every resource.
    if (subresource !== '' && entry === `*/${subresource}`) return true;
  }
  return false;
}

function pathMatches(urls: readonly string[] | undefined, path: string): boolean {
  if (urls === undefined) return false;
  for (const url of urls) {
    if (url === '*' || url === path) return true;
    if (url.endsWith('*') && path.startsWith(url.slice(0, -1))) return true;
  }
  return false;
}

/** Whether `wanted` is wholly inside what `held` allows: what one may grant without the verb `escalate`. */
export function rulesCover(held: readonly PolicyRule[], wanted: readonly PolicyRule[]): boolean {
  return wanted.every((rule) => singleRules(rule).every((one) => held.some((owner) => covers(owner, one))));
}

function* product<T>(...lists: T[][]): Generator<T[]> {
  const [first, ...rest] = lists;
  if (first === undefined) {
    yield [];
    return;
  }
  for (const value of first) for (const tail of product(...rest)) yield [value, ...tail];
}

function singleRules(rule: PolicyRule): PolicyRule[] {
  const out: PolicyRule[] = [];
  for (const [verb, url] of product(rule.verbs, rule.nonResourceURLs ?? []))
    out.push({ verbs: [verb!], nonResourceURLs: [url!] });
  const names = rule.resourceNames?.length ? rule.resourceNames : [''];
  for (const [verb, group, resource, name] of product(rule.verbs, rule.apiGroups ?? [], rule.resources ?? [], names)) {
    out.push({
      verbs: [verb!],
      apiGroups: [group!],
      resources: [resource!],
      ...(name === '' ? {} : { resourceNames: [name!] }),
    });
  }
  return out;
}

function covers(owner: PolicyRule, one: PolicyRule): boolean {
  if (!has(owner.verbs, one.verbs[0]!)) return false;
  if (one.nonResourceURLs !== undefined) return pathMatches(owner.nonResourceURLs, one.nonResourceURLs[0]!);
  if (!has(owner.apiGroups, one.apiGroups![0]!)) return false;
  const [resource = '', subresource = ''] = one.resources![0]!.split('/');
  if (!resourceMatches(owner.resources, resource, subresource)) return false;
  if (owner.resourceNames === undefined || owner.resourceNames.length === 0) return true;
  return one.resourceNames !== undefined && owner.resourceNames.includes(one.resourceNames[0]!);
}

interface BoundSubjects {
  readonly users: Set<string>;
  readonly groups: Set<string>;
}

interface Binding {
  readonly name: string;
  readonly namespace: string;
  readonly roleKey: string;
  readonly roleText: string;
  readonly subjects: BoundSubjects;
  readonly described: { kind: string; name: string; namespace?: string }[];
}

function boundSubjects(binding: BindingObject): BoundSubjects {
  const users = new Set<string>();
  const groups = new Set<string>();
  for (const subject of binding.subjects ?? []) {
    if (subject.kind === 'Group') groups.add(subject.name);
    else if (subject.kind === 'User') users.add(subject.name);
    else if (subject.kind === 'ServiceAccount') {
      const namespace = subject.namespace ?? binding.metadata.namespace ?? '';
      if (namespace !== '') users.add(`system:serviceaccount:${namespace}:${subject.name}`);
    }
  }
  return { users, groups };
}

const key = (namespace: string | undefined, name: string): string => `${namespace ?? ''}/${name}`;

/** The policy as last seen; fed object by object (from a list and a watch) and asked synchronously. */
export class RbacPolicy {
  readonly #roles = new Map<string, readonly PolicyRule[]>();
  readonly #clusterBindings = new Map<string, Binding>();
  /** Namespace to name to binding. */
  readonly #bindings = new Map<string, Map<string, Binding>>();

  /** ClusterRole (no namespace) or Role. */
  setRole(role: RoleObject): void {
    this.#roles.set(key(role.metadata.namespace, role.metadata.name), role.rules ?? []);
  }

  deleteRole(namespace: string | undefined, name: string): void {
    this.#roles.delete(key(namespace, name));
  }

  /** ClusterRoleBinding (no namespace) or RoleBinding. */
  setBinding(object: BindingObject): void {
    const namespace = object.metadata.namespace ?? '';
    const roleNamespace = object.roleRef.kind === 'Role' ? namespace : '';
    const binding: Binding = {
      name: object.metadata.name,
      namespace,
      roleKey: key(roleNamespace, object.roleRef.name),
      roleText: `${object.roleRef.kind} "${object.roleRef.name}"`,
      subjects: boundSubjects(object),
      described: (object.subjects ?? []).map((subject) => ({ ...subject })),
    };
    if (namespace === '') this.#clusterBindings.set(binding.name, binding);
    else {
      let inNamespace = this.#bindings.get(namespace);
      if (inNamespace === undefined) {
        inNamespace = new Map();
        this.#bindings.set(namespace, inNamespace);
      }
      inNamespace.set(binding.name, binding);
    }
  }

  deleteBinding(namespace: string | undefined, name: string): void {
    if (namespace === undefined || namespace === '') this.#clusterBindings.delete(name);
    else {
      const inNamespace = this.#bindings.get(namespace);
      inNamespace?.delete(name);
      if (inNamespace?.size === 0) this.#bindings.delete(namespace);
    }
  }

  authorize(attributes: Attributes): Decision {
    if (attributes.user.groups.includes(mastersGroup)) return { allowed: true, reason: '' };
    for (const { rules, binding } of this.#applicable(attributes.user, attributes.namespace)) {
      if (rules.some((rule) => ruleAllows(rule, attributes)))
        return {
          allowed: true,
          reason: `RBAC: allowed by ${bindingText(binding)} of ${binding.roleText} to ${subjectText(binding, attributes.user)}`,
        };
    }
    return { allowed: false, reason: '' };
  }

  /** Every rule that `user` has in `namespace` ('' for cluster-wide ones only). */
  rulesFor(user: UserInfo, namespace: string): PolicyRule[] {
    const out: PolicyRule[] = [];
    if (user.groups.includes(mastersGroup))
      out.push({ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }, { verbs: ['*'], nonResourceURLs: ['*'] });
    for (const { rules } of this.#applicable(user, namespace)) out.push(...rules);
    return out;
  }

  /** The rules of a role that a binding refers to; undefined when there is no such role. */
  roleRules(kind: string, namespace: string, name: string): readonly PolicyRule[] | undefined {
    return this.#roles.get(key(kind === 'Role' ? namespace : '', name));
  }

  *#applicable(user: UserInfo, namespace: string): Generator<{ rules: readonly PolicyRule[]; binding: Binding }> {
    for (const binding of this.#clusterBindings.values()) {
      const rules = this.#roles.get(binding.roleKey);
      if (rules !== undefined && applies(binding, user)) yield { rules, binding };
    }
    const inNamespace = namespace === '' ? undefined : this.#bindings.get(namespace);
    if (inNamespace === undefined) return;
    for (const binding of inNamespace.values()) {
      const rules = this.#roles.get(binding.roleKey);
      if (rules !== undefined && applies(binding, user)) yield { rules, binding };
    }
  }
}

function applies(binding: Binding, user: UserInfo): boolean {
  if (binding.subjects.users.has(user.name)) return true;
  return binding.subjects.groups.size > 0 && user.groups.some((group) => binding.subjects.groups.has(group));
}

function bindingText(binding: Binding): string {
  return binding.namespace === ''
    ? `ClusterRoleBinding "${binding.name}"`
    : `RoleBinding "${binding.name}/${binding.namespace}"`;
}

function subjectText(binding: Binding, user: UserInfo): string {
  for (const subject of binding.described) {
    if (subject.kind === 'User' && subject.name === user.name) return `User "${subject.name}"`;
    if (subject.kind === 'Group' && user.groups.includes(subject.name)) return `Group "${subject.name}"`;
    if (
      subject.kind === 'ServiceAccount' &&
      user.name === `system:serviceaccount:${subject.namespace ?? binding.namespace}:${subject.name}`
    )
      return `ServiceAccount "${subject.name}/${subject.namespace ?? binding.namespace}"`;
  }
  return `User "${user.name}"`;
}
