/** What every cluster has from the first moment: namespaces, priority classes, default roles, the service `kubernetes`. Repeated at every start. */
import { type BootstrapObject, defaultRbacObjects } from '../auth/default-roles.ts';
import { cidrAddress, parseCidr } from '../../config/cidr.ts';
import { isObject, jsonEqual, type JsonObject } from '../machinery/json.ts';
import { formatTime } from '../machinery/time.ts';
import type { SelfCaller } from './self-caller.ts';

export interface BootstrapOptions {
  readonly serviceCidr: string;
  readonly port: number;
  readonly clientCa: string;
  readonly requestHeaderCa: string | undefined;
  /** Wall time in ms. */
  readonly now: number;
}

export async function bootstrap(caller: SelfCaller, options: BootstrapOptions): Promise<void> {
  for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease'])
    await caller.ensure('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  await reconcileRbac(caller);
  await priorityClasses(caller);
  await authenticationConfig(caller, options);
  await serviceRange(caller, options);
  await kubernetesService(caller, options);
}

async function priorityClasses(caller: SelfCaller): Promise<void> {
  const classes: [string, number, string][] = [
    [
      'system-cluster-critical',
      2_000_000_000,
      'Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.',
    ],
    [
      'system-node-critical',
      2_000_001_000,
      'Used for system critical pods that must not be moved from their current node.',
    ],
  ];
  for (const [name, value, description] of classes)
    await caller.ensure('/apis/scheduling.k8s.io/v1/priorityclasses', {
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name },
      value,
      description,
    });
}

/** The ConfigMap that extension API servers read their trust from. */
async function authenticationConfig(caller: SelfCaller, options: BootstrapOptions): Promise<void> {
  const data: JsonObject = { 'client-ca-file': options.clientCa };
  if (options.requestHeaderCa !== undefined) {
    data['requestheader-client-ca-file'] = options.requestHeaderCa;
    data['requestheader-allowed-names'] = '["system:auth-proxy"]';
    data['requestheader-extra-headers-prefix'] = '["X-Remote-Extra-"]';
    data['requestheader-group-headers'] = '["X-Remote-Group"]';
    data['requestheader-username-headers'] = '["X-Remote-User"]';
  }
  await caller.ensure(
    '/api/v1/namespaces/kube-system/configmaps',
    {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'extension-apiserver-authentication', namespace: 'kube-system' },
      data,
    },
    (live) => (jsonEqual(live.data, data) ? undefined : { ...live, data }),
  );
}

/** The range of cluster IPs as an object, ready for use (docs: "Extend Service IP Ranges"). */
async function serviceRange(caller: SelfCaller, options: BootstrapOptions): Promise<void> {
  const collection = '/apis/networking.k8s.io/v1/servicecidrs';
  await caller.ensure(collection, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'ServiceCIDR',
    metadata: { name: 'kubernetes' },
    spec: { cidrs: [options.serviceCidr] },
  });
  await caller.again(async () => {
    const live = await caller.call('GET', `${collection}/kubernetes`);
    const conditions = isObject(live.status) && Array.isArray(live.status.conditions) ? live.status.conditions : [];
    if (conditions.some((condition) => isObject(condition) && condition.type === 'Ready')) return;
    const ready = {
      type: 'Ready',
      status: 'True',
      reason: '',
      message: 'Kubernetes default Service CIDR is ready',
      lastTransitionTime: formatTime(options.now),
    };
    await caller.call('PUT', `${collection}/kubernetes/status`, {
      ...live,
      status: { conditions: [...conditions, ready] },
    });
  });
}

/** Service `default/kubernetes` with the first address of the service range; `server-endpoints.ts` keeps its endpoints. */
async function kubernetesService(caller: SelfCaller, options: BootstrapOptions): Promise<void> {
  const clusterIP = cidrAddress(parseCidr(options.serviceCidr), 1);
  const ports = [{ name: 'https', port: 443, protocol: 'TCP', targetPort: options.port }];
  const metadata = {
    name: 'kubernetes',
    namespace: 'default',
    labels: { component: 'apiserver', provider: 'kubernetes' },
  };
  await caller.ensure(
    '/api/v1/namespaces/default/services',
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: {
        type: 'ClusterIP',
        clusterIP,
        ports,
        sessionAffinity: 'None',
        ipFamilyPolicy: 'SingleStack',
        ipFamilies: ['IPv4'],
      },
    },
    (live) => {
      const spec = isObject(live.spec) ? live.spec : {};
      return jsonEqual(spec.ports, ports) ? undefined : { ...live, spec: { ...spec, ports } };
    },
  );
}

const plurals = {
  ClusterRole: 'clusterroles',
  Role: 'roles',
  ClusterRoleBinding: 'clusterrolebindings',
  RoleBinding: 'rolebindings',
};
const base = '/apis/rbac.authorization.k8s.io/v1';

/** Creates missing roles and bindings; adds missing rules and subjects to those that are not opted out (docs: rbac, "Auto-reconciliation"). */
async function reconcileRbac(caller: SelfCaller): Promise<void> {
  const live = new Map<string, JsonObject>();
  for (const [kind, plural] of Object.entries(plurals)) {
    const list = await caller.call('GET', `${base}/${plural}`);
    for (const item of Array.isArray(list.items) ? list.items.filter(isObject) : []) {
      const metadata = item.metadata as JsonObject;
      live.set(`${kind}/${String(metadata.namespace ?? '')}/${String(metadata.name)}`, item);
    }
  }
  for (const wanted of defaultRbacObjects()) {
    const { name, namespace } = wanted.metadata;
    const where = `${base}${namespace === undefined ? '' : `/namespaces/${namespace}`}/${plurals[wanted.kind]}`;
    const path = `${where}/${encodeURIComponent(name)}`;
    let have = live.get(`${wanted.kind}/${namespace ?? ''}/${name}`);
    let stale = false;
    await caller.again(async () => {
      if (stale) have = await caller.find(path);
      stale = true;
      await reconcileOne(caller, wanted, have, where, path);
    });
  }
}

async function reconcileOne(
  caller: SelfCaller,
  wanted: BootstrapObject,
  have: JsonObject | undefined,
  where: string,
  path: string,
): Promise<void> {
  if (have === undefined) {
    await caller.call('POST', where, wanted);
    return;
  }
  const annotations = (have.metadata as JsonObject).annotations;
  if (isObject(annotations) && annotations['rbac.authorization.kubernetes.io/autoupdate'] === 'false') return;
  if (wanted.roleRef !== undefined && !jsonEqual(have.roleRef, wanted.roleRef)) {
    await caller.call('DELETE', path);
    await caller.call('POST', where, wanted);
    return;
  }
  const next = completed(have, wanted);
  if (next !== undefined) await caller.call('PUT', path, next);
}

function completed(have: JsonObject, wanted: BootstrapObject): JsonObject | undefined {
  const missing = <T>(list: unknown, all: readonly T[] | undefined): T[] => {
    const present = Array.isArray(list) ? list : [];
    return (all ?? []).filter((one) => !present.some((other) => jsonEqual(other, one)));
  };
  const next: JsonObject = { ...have };
  let changed = false;
  if (wanted.aggregationRule === undefined) {
    const rules = missing(have.rules, wanted.rules);
    if (rules.length > 0) {
      next.rules = [...(Array.isArray(have.rules) ? have.rules : []), ...(rules as unknown as JsonObject[])];
      changed = true;
    }
  } else if (!jsonEqual(have.aggregationRule, wanted.aggregationRule)) {
    next.aggregationRule = wanted.aggregationRule as unknown as JsonObject;
    changed = true;
  }
  const subjects = missing(have.subjects, wanted.subjects);
  if (subjects.length > 0) {
    next.subjects = [...(Array.isArray(have.subjects) ? have.subjects : []), ...(subjects as unknown as JsonObject[])];
    changed = true;
  }
  const metadata = have.metadata as JsonObject;
  const labels = { ...(isObject(metadata.labels) ? metadata.labels : {}), ...wanted.metadata.labels };
  if (!jsonEqual(labels, metadata.labels)) {
    next.metadata = { ...metadata, labels };
    changed = true;
  }
  return changed ? next : undefined;
}
