import { podAmounts } from '../api/pod-amounts.ts';
import type { KindInfo } from '../api/kinds.ts';
import { getPath, isObject, type Json, type JsonObject } from '../machinery/json.ts';
import { addQuantities, parseQuantity, type Quantity, tryQuantity } from '../machinery/quantity.ts';

/** What objects use of a ResourceQuota (k8s.io/kubernetes/pkg/quota/v1/evaluator/core; docs: concepts/policy/resource-quotas). */
export type Usage = Record<string, Quantity>;

const one = parseQuantity('1');

export function addUsage(to: Usage, more: Usage): void {
  for (const name in more) to[name] = to[name] === undefined ? more[name]! : addQuantities(to[name], more[name]!);
}

export function countName(kind: Pick<KindInfo, 'group' | 'plural'>): string {
  return kind.group === '' ? `count/${kind.plural}` : `count/${kind.plural}.${kind.group}`;
}

/** Kinds that quotas count under their plain name, too. */
const plainCounts = new Set([
  'pods',
  'services',
  'replicationcontrollers',
  'resourcequotas',
  'secrets',
  'configmaps',
  'persistentvolumeclaims',
]);

const ended = (pod: JsonObject): boolean => {
  const phase = getPath(pod, 'status', 'phase');
  return phase === 'Failed' || phase === 'Succeeded';
};

function podUsage(pod: JsonObject): Usage {
  const out: Usage = { 'count/pods': one };
  // A pod that has ended uses nothing but its place in the store.
  if (ended(pod)) return out;
  out.pods = one;
  const requests = podAmounts(pod, 'requests', true);
  for (const [name, amount] of Object.entries(requests)) {
    if (['cpu', 'memory', 'ephemeral-storage'].includes(name)) {
      out[name] = amount;
      out[`requests.${name}`] = amount;
    } else if (name.startsWith('hugepages-')) {
      out[name] = amount;
      out[`requests.${name}`] = amount;
    } else if (name.includes('/')) out[`requests.${name}`] = amount;
  }
  for (const [name, amount] of Object.entries(podAmounts(pod, 'limits', true)))
    if (['cpu', 'memory', 'ephemeral-storage'].includes(name)) out[`limits.${name}`] = amount;
  return out;
}

function serviceUsage(service: JsonObject): Usage {
  const out: Usage = { services: one, 'count/services': one };
  const type = getPath(service, 'spec', 'type');
  const ports = getPath(service, 'spec', 'ports');
  const many = parseQuantity(Array.isArray(ports) ? ports.length : 0);
  if (type === 'NodePort') out['services.nodeports'] = many;
  if (type === 'LoadBalancer') {
    out['services.loadbalancers'] = one;
    if (getPath(service, 'spec', 'allocateLoadBalancerNodePorts') !== false) out['services.nodeports'] = many;
  }
  return out;
}

function claimUsage(claim: JsonObject): Usage {
  const out: Usage = { persistentvolumeclaims: one, 'count/persistentvolumeclaims': one };
  const storage = tryQuantity(getPath(claim, 'spec', 'resources', 'requests', 'storage'));
  if (storage !== undefined) out['requests.storage'] = storage;
  const storageClass = getPath(claim, 'spec', 'storageClassName');
  if (typeof storageClass === 'string' && storageClass !== '') {
    out[`${storageClass}.storageclass.storage.k8s.io/persistentvolumeclaims`] = one;
    if (storage !== undefined) out[`${storageClass}.storageclass.storage.k8s.io/requests.storage`] = storage;
  }
  return out;
}

const evaluators: Readonly<Record<string, (object: JsonObject) => Usage>> = {
  pods: podUsage,
  services: serviceUsage,
  persistentvolumeclaims: claimUsage,
};

/** What one object of the kind uses. */
export function usageOf(kind: Pick<KindInfo, 'group' | 'plural'>, object: JsonObject): Usage {
  const own = kind.group === '' && Object.hasOwn(evaluators, kind.plural) ? evaluators[kind.plural] : undefined;
  if (own !== undefined) return own(object);
  const out: Usage = { [countName(kind)]: one };
  if (kind.group === '' && plainCounts.has(kind.plural)) out[kind.plural] = one;
  return out;
}

/** Names of a quota that objects of the kind may use something of. */
export function concerns(kind: Pick<KindInfo, 'group' | 'plural'>, name: string): boolean {
  if (name === countName(kind)) return true;
  if (kind.group !== '') return false;
  switch (kind.plural) {
    case 'pods':
      return (
        ['pods', 'cpu', 'memory', 'ephemeral-storage'].includes(name) ||
        name.startsWith('hugepages-') ||
        name.startsWith('limits.') ||
        (name.startsWith('requests.') && name !== 'requests.storage')
      );
    case 'services':
      return name === 'services' || name.startsWith('services.');
    case 'persistentvolumeclaims':
      return (
        name === 'persistentvolumeclaims' ||
        name === 'requests.storage' ||
        name.includes('.storageclass.storage.k8s.io/')
      );
    default:
      return name === kind.plural && plainCounts.has(kind.plural);
  }
}

const objects = (value: Json | undefined): JsonObject[] => (Array.isArray(value) ? value.filter(isObject) : []);

function bestEffort(pod: JsonObject): boolean {
  return (
    Object.keys(podAmounts(pod, 'requests')).filter(isCompute).length === 0 &&
    Object.keys(podAmounts(pod, 'limits')).filter(isCompute).length === 0
  );
}
const isCompute = (name: string): boolean => name === 'cpu' || name === 'memory';

function crossNamespaceAffinity(pod: JsonObject): boolean {
  const affinity = getPath(pod, 'spec', 'affinity');
  if (!isObject(affinity)) return false;
  return ['podAffinity', 'podAntiAffinity'].some((name) => {
    const half = affinity[name];
    if (!isObject(half)) return false;
    const terms = [
      ...objects(half.requiredDuringSchedulingIgnoredDuringExecution),
      ...objects(half.preferredDuringSchedulingIgnoredDuringExecution).map((term) => term.podAffinityTerm),
    ];
    return terms.some(
      (term) =>
        isObject(term) &&
        ((Array.isArray(term.namespaces) && term.namespaces.length > 0) || isObject(term.namespaceSelector)),
    );
  });
}

/** What a scope is about, of pods: whether it holds, and for PriorityClass its value. */
const scopeTests: Readonly<Record<string, (pod: JsonObject) => boolean>> = {
  Terminating: (pod) => Number(getPath(pod, 'spec', 'activeDeadlineSeconds') ?? -1) >= 0,
  NotTerminating: (pod) => Number(getPath(pod, 'spec', 'activeDeadlineSeconds') ?? -1) < 0,
  BestEffort: bestEffort,
  NotBestEffort: (pod) => !bestEffort(pod),
  CrossNamespacePodAffinity: crossNamespaceAffinity,
};

function selectorMatches(
  requirement: JsonObject,
  kind: Pick<KindInfo, 'group' | 'plural'>,
  object: JsonObject,
): boolean {
  const name = String(requirement.scopeName);
  const isPod = kind.group === '' && kind.plural === 'pods';
  const isClaim = kind.group === '' && kind.plural === 'persistentvolumeclaims';
  let value: Json | undefined;
  if (name === 'PriorityClass' && isPod) value = getPath(object, 'spec', 'priorityClassName');
  else if (name === 'VolumeAttributesClass' && isClaim) value = getPath(object, 'spec', 'volumeAttributesClassName');
  else return isPod && Object.hasOwn(scopeTests, name) && scopeTests[name]!(object);
  const values = Array.isArray(requirement.values) ? requirement.values : [];
  const has = typeof value === 'string' && value !== '';
  switch (requirement.operator) {
    case 'In':
      return has && values.includes(value!);
    case 'NotIn':
      return !(has && values.includes(value!));
    case 'DoesNotExist':
      return !has;
    default:
      return has;
  }
}

/** Whether a quota is about the object: all its scopes hold. */
export function inScope(quota: JsonObject, kind: Pick<KindInfo, 'group' | 'plural'>, object: JsonObject): boolean {
  const scopes = getPath(quota, 'spec', 'scopes');
  const requirements = [
    ...(Array.isArray(scopes) ? scopes.map((scopeName) => ({ scopeName, operator: 'Exists' }) as JsonObject) : []),
    ...objects(getPath(quota, 'spec', 'scopeSelector', 'matchExpressions')),
  ];
  return requirements.every((requirement) => selectorMatches(requirement, kind, object));
}
