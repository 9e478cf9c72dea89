/** What every cluster has from the first moment: namespaces, priority classes, default roles, the service `kubernetes`. Repeated at every start. */
import { type BootstrapObject, defaultRbacObjects } from '../auth/default-roles.ts';
import { mastersGroup, type UserInfo } from '../auth/identity.ts';
import { cidrAddress, parseCidr } from '../../config/cidr.ts';
import { isObject, jsonEqual, type JsonObject } from '../machinery/json.ts';
import { type Status, StatusError } from '../machinery/status.ts';
import type { ApiApp } from './app.ts';

export interface BootstrapOptions {
  readonly serviceCidr: string;
  readonly advertiseAddress: string;
  readonly port: number;
  readonly clientCa: string;
  readonly requestHeaderCa: string | undefined;
}

const self: UserInfo = { name: 'system:apiserver', groups: [mastersGroup] };

class Caller {
  readonly #app: ApiApp;
  constructor(app: ApiApp) {
    this.#app = app;
  }

  /** Throws StatusError for a refusal. */
  async call(method: string, path: string, body?: JsonObject | BootstrapObject): Promise<JsonObject> {
    const response = await this.#app.fetch(
      new Request(`http://apiserver${path}`, {
        method,
        headers: { 'content-type': 'application/json', 'user-agent': 'apiserver' },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      }),
      { identity: self },
    );
    const value = (await response.json()) as JsonObject;
    if (!response.ok) throw new StatusError(value as unknown as Status);
    return value;
  }

  async find(path: string): Promise<JsonObject | undefined> {
    try {
      return await this.call('GET', path);
    } catch (error) {
      if (error instanceof StatusError && error.httpCode === 404) return undefined;
      throw error;
    }
  }

  /** Creates what is missing; when it is there, `repair` may give a corrected object to write. */
  async ensure(
    collection: string,
    object: JsonObject,
    repair?: (live: JsonObject) => JsonObject | undefined,
  ): Promise<void> {
    const name = String((object.metadata as JsonObject).name);
    const live = await this.find(`${collection}/${encodeURIComponent(name)}`);
    if (live === undefined) {
      await this.call('POST', collection, object);
      return;
    }
    const next = repair?.(live);
    if (next !== undefined) await this.call('PUT', `${collection}/${encodeURIComponent(name)}`, next);
  }
}

export async function bootstrap(app: ApiApp, options: BootstrapOptions): Promise<void> {
  const caller = new Caller(app);
  for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease'])
    await caller.ensure('/api/v1/namespaces', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  await reconcileRbac(caller);
  await priorityClasses(caller);
  await authenticationConfig(caller, options);
  await kubernetesService(caller, options);
}

async function priorityClasses(caller: Caller): Promise<void> {
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
async function authenticationConfig(caller: Caller, options: BootstrapOptions): Promise<void> {
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

/** Service `default/kubernetes` with the first address of the service range, and its endpoints. */
async function kubernetesService(caller: Caller, options: BootstrapOptions): Promise<void> {
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
  const addresses = [options.advertiseAddress];
  const subsets = [
    { addresses: addresses.map((ip) => ({ ip })), ports: [{ name: 'https', port: options.port, protocol: 'TCP' }] },
  ];
  const skipMirror = { 'endpointslice.kubernetes.io/skip-mirror': 'true' };
  await caller.ensure(
    '/api/v1/namespaces/default/endpoints',
    {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: { name: 'kubernetes', namespace: 'default', labels: skipMirror },
      subsets,
    },
    (live) => (jsonEqual(live.subsets, subsets) ? undefined : { ...live, subsets }),
  );
  const endpoints = [{ addresses, conditions: { ready: true } }];
  const slicePorts = [{ name: 'https', port: options.port, protocol: 'TCP' }];
  await caller.ensure(
    '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'kubernetes', namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
      addressType: 'IPv4',
      endpoints,
      ports: slicePorts,
    },
    (live) =>
      jsonEqual(live.endpoints, endpoints) && jsonEqual(live.ports, slicePorts)
        ? undefined
        : { ...live, endpoints, ports: slicePorts },
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
async function reconcileRbac(caller: Caller): Promise<void> {
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
    const have = live.get(`${wanted.kind}/${namespace ?? ''}/${name}`);
    if (have === undefined) {
      await caller.call('POST', where, wanted);
      continue;
    }
    const annotations = (have.metadata as JsonObject).annotations;
    if (isObject(annotations) && annotations['rbac.authorization.kubernetes.io/autoupdate'] === 'false') continue;
    if (wanted.roleRef !== undefined && !jsonEqual(have.roleRef, wanted.roleRef)) {
      await caller.call('DELETE', `${where}/${encodeURIComponent(name)}`);
      await caller.call('POST', where, wanted);
      continue;
    }
    const next = completed(have, wanted);
    if (next !== undefined) await caller.call('PUT', `${where}/${encodeURIComponent(name)}`, next);
  }
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
