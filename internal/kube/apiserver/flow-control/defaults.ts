import type { JsonObject } from '../../machinery/json.ts';

/**
 * The objects of priority and fairness that every server has (k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap; docs: cluster-administration/flow-control,
 * "Defaults"). Mandatory ones are always as they are here; suggested ones as long as their annotation says so.
 */
export const autoupdate = 'apf.kubernetes.io/autoupdate-spec';
const apiVersion = 'flowcontrol.apiserver.k8s.io/v1';
export const mandatory: ReadonlySet<string> = new Set(['exempt', 'catch-all']);

type Queues = readonly [queues: number, handSize: number];

function level(name: string, shares: number, lendable: number, queues?: Queues): JsonObject {
  const queueing =
    queues === undefined ? {} : { queuing: { queues: queues[0], handSize: queues[1], queueLengthLimit: 50 } };
  return object('PriorityLevelConfiguration', name, {
    type: 'Limited',
    limited: {
      nominalConcurrencyShares: shares,
      lendablePercent: lendable,
      limitResponse: { type: queues === undefined ? 'Reject' : 'Queue', ...queueing },
    },
  });
}

function object(kind: string, name: string, spec: JsonObject): JsonObject {
  return { apiVersion, kind, metadata: { name, annotations: { [autoupdate]: 'true' } }, spec };
}

export const defaultLevels: readonly JsonObject[] = [
  object('PriorityLevelConfiguration', 'exempt', {
    type: 'Exempt',
    exempt: { nominalConcurrencyShares: 0, lendablePercent: 0 },
  }),
  level('catch-all', 5, 0),
  level('system', 30, 33, [64, 6]),
  level('node-high', 40, 25, [64, 6]),
  level('leader-election', 10, 0, [16, 4]),
  level('workload-high', 40, 50, [128, 6]),
  level('workload-low', 100, 90, [128, 6]),
  level('global-default', 20, 50, [128, 6]),
];

const group = (name: string): JsonObject => ({ kind: 'Group', group: { name } });
const user = (name: string): JsonObject => ({ kind: 'User', user: { name } });
const account = (name: string): JsonObject => ({
  kind: 'ServiceAccount',
  serviceAccount: { namespace: 'kube-system', name },
});

const anyResource: JsonObject = {
  verbs: ['*'],
  apiGroups: ['*'],
  resources: ['*'],
  namespaces: ['*'],
  clusterScope: true,
};
const anyPath: JsonObject = { verbs: ['*'], nonResourceURLs: ['*'] };
const resources = (verbs: string[], apiGroup: string, names: string[], clusterScope = false): JsonObject => ({
  verbs,
  apiGroups: [apiGroup],
  resources: names,
  namespaces: ['*'],
  ...(clusterScope ? { clusterScope } : {}),
});
const leases = resources(['get', 'create', 'update'], 'coordination.k8s.io', ['leases']);

function schema(
  name: string,
  priorityLevel: string,
  matchingPrecedence: number,
  distinguisher: 'ByUser' | 'ByNamespace' | '',
  subjects: JsonObject[],
  rules: JsonObject = { resourceRules: [anyResource], nonResourceRules: [anyPath] },
): JsonObject {
  return object('FlowSchema', name, {
    priorityLevelConfiguration: { name: priorityLevel },
    matchingPrecedence,
    ...(distinguisher === '' ? {} : { distinguisherMethod: { type: distinguisher } }),
    rules: [{ subjects, ...rules }],
  });
}

const everybody = [group('system:unauthenticated'), group('system:authenticated')];

export const defaultSchemas: readonly JsonObject[] = [
  schema('exempt', 'exempt', 1, '', [group('system:masters')]),
  schema('probes', 'exempt', 2, '', everybody, {
    nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['/healthz', '/readyz', '/livez'] }],
  }),
  schema(
    'system-leader-election',
    'leader-election',
    100,
    'ByUser',
    [user('system:kube-controller-manager'), user('system:kube-scheduler'), account('*')],
    { resourceRules: [leases] },
  ),
  schema(
    'endpoint-controller',
    'workload-high',
    150,
    'ByUser',
    [
      user('system:kube-controller-manager'),
      account('endpoint-controller'),
      account('endpointslicemirroring-controller'),
    ],
    { resourceRules: [resources(['get', 'create', 'update'], '', ['endpoints'])] },
  ),
  schema('workload-leader-election', 'leader-election', 200, 'ByUser', [account('*')], { resourceRules: [leases] }),
  schema('system-node-high', 'node-high', 400, 'ByUser', [group('system:nodes')], {
    resourceRules: [
      resources(['*'], '', ['nodes', 'nodes/status'], true),
      resources(['*'], 'coordination.k8s.io', ['leases']),
    ],
  }),
  schema('system-nodes', 'system', 500, 'ByUser', [group('system:nodes')]),
  schema('kube-controller-manager', 'workload-high', 800, 'ByNamespace', [user('system:kube-controller-manager')]),
  schema('kube-scheduler', 'workload-high', 800, 'ByNamespace', [user('system:kube-scheduler')]),
  schema('kube-system-service-accounts', 'workload-high', 900, 'ByNamespace', [account('*')]),
  schema('service-accounts', 'workload-low', 9000, 'ByUser', [group('system:serviceaccounts')]),
  schema('global-default', 'global-default', 9900, 'ByUser', everybody),
  schema('catch-all', 'catch-all', 10_000, 'ByUser', everybody),
];
