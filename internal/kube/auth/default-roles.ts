/**
 * The cluster roles, roles and bindings that every Kubernetes cluster has (docs: reference/access-authn-authz/rbac, "Default roles and role
 * bindings"; golden data of the same in kubernetes' bootstrappolicy). One rule a line: `verbs @ groups | resources [| resourceNames]`;
 * the core group is `core`; a rule that starts with `url` is for paths. `rw` and `ro` stand for the usual verbs.
 */
import type { PolicyRule } from './rbac.ts';

const write = 'create delete deletecollection patch update';
const read = 'get list watch';
const events = 'create patch update @ core events.k8s.io | events';

const apps =
  'daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale';

interface RoleText {
  readonly rules: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly aggregate?: string;
}

const aggregateTo = (role: string): Record<string, string> => ({
  [`rbac.authorization.k8s.io/aggregate-to-${role}`]: 'true',
});

const plain: Record<string, RoleText> = {
  'cluster-admin': { rules: ['* @ * | *', 'url * | *'] },
  admin: { rules: [], aggregate: 'admin' },
  edit: { rules: [], aggregate: 'edit', labels: aggregateTo('admin') },
  view: { rules: [], aggregate: 'view', labels: aggregateTo('edit') },
  'system:aggregate-to-admin': {
    labels: aggregateTo('admin'),
    rules: [
      'create @ authorization.k8s.io | localsubjectaccessreviews',
      `${write} ${read} @ rbac.authorization.k8s.io | rolebindings roles`,
    ],
  },
  'system:aggregate-to-edit': {
    labels: aggregateTo('edit'),
    rules: [
      `${read} @ core | pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy`,
      'impersonate @ core | serviceaccounts',
      `${write} @ core | pods pods/attach pods/exec pods/portforward pods/proxy`,
      'create @ core | pods/eviction',
      `${write} @ core | configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy`,
      'create @ core | serviceaccounts/token',
      `${write} @ apps | ${apps}`,
      `${write} @ autoscaling | horizontalpodautoscalers`,
      `${write} @ batch | cronjobs jobs`,
      `${write} @ policy | poddisruptionbudgets`,
      `${write} @ networking.k8s.io | ingresses networkpolicies`,
      `${write} ${read} @ coordination.k8s.io | leases`,
      `${write} ${read} @ resource.k8s.io | resourceclaims resourceclaimtemplates`,
    ],
  },
  'system:aggregate-to-view': {
    labels: aggregateTo('view'),
    rules: [
      `${read} @ core | configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status`,
      `${read} @ core | bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status`,
      `${read} @ core | namespaces`,
      `${read} @ discovery.k8s.io | endpointslices`,
      `${read} @ apps | controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status`,
      `${read} @ autoscaling | horizontalpodautoscalers horizontalpodautoscalers/status`,
      `${read} @ batch | cronjobs cronjobs/status jobs jobs/status`,
      `${read} @ policy | poddisruptionbudgets poddisruptionbudgets/status`,
      `${read} @ networking.k8s.io | ingresses ingresses/status networkpolicies`,
      `${read} @ resource.k8s.io | resourceclaims resourceclaims/status resourceclaimtemplates`,
    ],
  },
  'system:auth-delegator': {
    rules: ['create @ authentication.k8s.io | tokenreviews', 'create @ authorization.k8s.io | subjectaccessreviews'],
  },
  'system:basic-user': {
    rules: [
      'create @ authorization.k8s.io | selfsubjectaccessreviews selfsubjectrulesreviews',
      'create @ authentication.k8s.io | selfsubjectreviews',
    ],
  },
  'system:certificates.k8s.io:certificatesigningrequests:nodeclient': {
    rules: ['create @ certificates.k8s.io | certificatesigningrequests/nodeclient'],
  },
  'system:certificates.k8s.io:certificatesigningrequests:selfnodeclient': {
    rules: ['create @ certificates.k8s.io | certificatesigningrequests/selfnodeclient'],
  },
  'system:certificates.k8s.io:kube-apiserver-client-approver': {
    rules: ['approve @ certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client'],
  },
  'system:certificates.k8s.io:kube-apiserver-client-kubelet-approver': {
    rules: ['approve @ certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client-kubelet'],
  },
  'system:certificates.k8s.io:kubelet-serving-approver': {
    rules: ['approve @ certificates.k8s.io | signers | kubernetes.io/kubelet-serving'],
  },
  'system:certificates.k8s.io:legacy-unknown-approver': {
    rules: ['approve @ certificates.k8s.io | signers | kubernetes.io/legacy-unknown'],
  },
  'system:discovery': {
    rules: ['url get | /api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/'],
  },
  'system:monitoring': {
    rules: ['url get | /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*'],
  },
  'system:public-info-viewer': { rules: ['url get | /healthz /livez /readyz /version /version/'] },
  'system:service-account-issuer-discovery': {
    rules: [
      'url get | /.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/',
    ],
  },
  'system:heapster': {
    rules: [`${read} @ core | events namespaces nodes pods`, `${read} @ extensions | deployments`],
  },
  'system:kube-aggregator': { rules: [`${read} @ core | endpoints services`] },
  'system:kube-dns': { rules: ['list watch @ core | endpoints services'] },
  'system:kube-controller-manager': {
    rules: [
      events,
      'create @ coordination.k8s.io | leases',
      'get update @ coordination.k8s.io | leases | kube-controller-manager',
      'create @ core | secrets serviceaccounts',
      'delete @ core | secrets',
      'get @ core | configmaps namespaces secrets serviceaccounts',
      'update @ core | secrets serviceaccounts',
      'create @ authentication.k8s.io | tokenreviews',
      'create @ authorization.k8s.io | subjectaccessreviews',
      'list watch @ * | *',
      'create @ core | serviceaccounts/token',
    ],
  },
  'system:kube-scheduler': {
    rules: [
      events,
      'create @ coordination.k8s.io | leases',
      'get update list watch @ coordination.k8s.io | leases | kube-scheduler',
      `${read} @ core | nodes`,
      `delete ${read} @ core | pods`,
      'create @ core | bindings pods/binding',
      'patch update @ core | pods/status',
      `${read} @ core | replicationcontrollers services`,
      `${read} @ apps extensions | replicasets`,
      `${read} @ apps | statefulsets`,
      `${read} @ policy | poddisruptionbudgets`,
      `${read} @ core | persistentvolumeclaims persistentvolumes`,
      'create @ authentication.k8s.io | tokenreviews',
      'create @ authorization.k8s.io | subjectaccessreviews',
      `${read} @ storage.k8s.io | csinodes csidrivers csistoragecapacities volumeattachments`,
      `${read} @ core | namespaces`,
      `${read} @ resource.k8s.io | deviceclasses resourceclaims resourceslices`,
      'patch update @ resource.k8s.io | resourceclaims resourceclaims/status',
    ],
  },
  'system:volume-scheduler': {
    rules: [
      `${read} patch update @ core | persistentvolumes`,
      `${read} @ storage.k8s.io | storageclasses`,
      `${read} patch update @ core | persistentvolumeclaims`,
    ],
  },
  'system:kubelet-api-admin': {
    rules: [
      `${read} @ core | nodes`,
      'proxy @ core | nodes',
      '* @ core | nodes/log nodes/metrics nodes/proxy nodes/stats nodes/configz nodes/healthz nodes/pods',
    ],
  },
  'system:node': {
    rules: [
      'create @ authentication.k8s.io | tokenreviews',
      'create @ authorization.k8s.io | localsubjectaccessreviews subjectaccessreviews',
      `${read} @ core | services`,
      `create ${read} @ core | nodes`,
      'patch update @ core | nodes/status',
      'patch update @ core | nodes',
      'create patch update @ core events.k8s.io | events',
      `${read} @ core | pods`,
      'create delete @ core | pods',
      'patch update @ core | pods/status',
      'create @ core | pods/eviction',
      `${read} @ core | configmaps secrets`,
      'get @ core | persistentvolumeclaims persistentvolumes',
      'get @ core | endpoints',
      `create ${read} @ certificates.k8s.io | certificatesigningrequests`,
      'create delete get patch update @ coordination.k8s.io | leases',
      'get @ storage.k8s.io | volumeattachments',
      'create @ core | serviceaccounts/token',
      'get patch update @ core | persistentvolumeclaims/status',
      `${read} @ storage.k8s.io | csidrivers`,
      'create delete get patch update @ storage.k8s.io | csinodes',
      `${read} @ node.k8s.io | runtimeclasses`,
      'get @ resource.k8s.io | resourceclaims',
      `create delete deletecollection ${read} patch update @ resource.k8s.io | resourceslices`,
    ],
  },
  'system:node-bootstrapper': { rules: [`create ${read} @ certificates.k8s.io | certificatesigningrequests`] },
  'system:node-problem-detector': {
    rules: ['get @ core | nodes', 'patch @ core | nodes/status', events],
  },
  'system:node-proxier': {
    rules: [
      'list watch @ core | endpoints services',
      `${read} @ core | nodes`,
      events,
      'list watch @ discovery.k8s.io | endpointslices',
      'list watch @ networking.k8s.io | servicecidrs',
    ],
  },
  'system:persistent-volume-provisioner': {
    rules: [
      `create delete ${read} @ core | persistentvolumes`,
      `update ${read} @ core | persistentvolumeclaims`,
      `${read} @ storage.k8s.io | storageclasses`,
      'watch @ core | events',
      events,
    ],
  },
};

/** Controllers run as `system:serviceaccount:kube-system:<name>` bound to `system:controller:<name>`. */
const controllers: Record<string, readonly string[]> = {
  'attachdetach-controller': [
    'list watch @ core | persistentvolumes persistentvolumeclaims pods',
    `${read} @ core | nodes`,
    'patch update @ core | nodes/status',
    `create delete ${read} @ storage.k8s.io | volumeattachments`,
    `${read} @ storage.k8s.io | csidrivers csinodes`,
    events,
  ],
  'certificate-controller': [
    `delete ${read} @ certificates.k8s.io | certificatesigningrequests`,
    'update @ certificates.k8s.io | certificatesigningrequests/status certificatesigningrequests/approval',
    'approve @ certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client-kubelet',
    'sign @ certificates.k8s.io | signers | kubernetes.io/legacy-unknown kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving',
    'create @ authorization.k8s.io | subjectaccessreviews',
    events,
  ],
  'clusterrole-aggregation-controller': [`escalate ${read} update patch @ rbac.authorization.k8s.io | clusterroles`],
  'cronjob-controller': [
    `update ${read} @ batch | cronjobs`,
    `create update delete patch ${read} @ batch | jobs`,
    'update @ batch | cronjobs/status cronjobs/finalizers',
    'list watch delete @ core | pods',
    events,
  ],
  'daemon-set-controller': [
    `${read} @ extensions apps | daemonsets`,
    'update @ extensions apps | daemonsets/status daemonsets/finalizers',
    'list watch @ core | nodes',
    'list watch create delete patch @ core | pods',
    'create @ core | pods/binding',
    `create delete update patch ${read} @ apps | controllerrevisions`,
    events,
  ],
  'deployment-controller': [
    `update ${read} @ extensions apps | deployments`,
    'update @ extensions apps | deployments/status deployments/finalizers',
    `create update patch delete ${read} @ apps extensions | replicasets`,
    `update ${read} @ core | pods`,
    events,
  ],
  'disruption-controller': [
    `${read} @ extensions apps | deployments replicasets`,
    `${read} @ core | replicationcontrollers pods`,
    `${read} @ policy | poddisruptionbudgets`,
    `${read} @ apps | statefulsets`,
    'update @ policy | poddisruptionbudgets/status',
    'patch update @ core | pods/status',
    'get @ * | */scale',
    events,
  ],
  'endpoint-controller': [
    `${read} @ core | services pods`,
    `create update delete ${read} @ core | endpoints`,
    'create @ core | endpoints/restricted',
    events,
  ],
  'endpointslice-controller': [
    `${read} @ core | services pods nodes`,
    'update @ core | services/finalizers',
    `create update delete ${read} @ discovery.k8s.io | endpointslices`,
    'create @ discovery.k8s.io | endpointslices/restricted',
    events,
  ],
  'endpointslicemirroring-controller': [
    `${read} @ core | services endpoints`,
    'update @ core | services/finalizers endpoints/finalizers',
    `create update delete ${read} @ discovery.k8s.io | endpointslices`,
    'create @ discovery.k8s.io | endpointslices/restricted',
    events,
  ],
  'ephemeral-volume-controller': [
    `${read} @ core | pods`,
    'update @ core | pods/finalizers',
    `create ${read} @ core | persistentvolumeclaims`,
    events,
  ],
  'expand-controller': [
    `update patch ${read} @ core | persistentvolumes`,
    'update patch @ core | persistentvolumeclaims/status',
    `${read} @ core | persistentvolumeclaims`,
    events,
  ],
  'generic-garbage-collector': [`patch update delete ${read} @ * | *`, events],
  'horizontal-pod-autoscaler': [
    `${read} @ autoscaling | horizontalpodautoscalers`,
    'update @ autoscaling | horizontalpodautoscalers/status',
    'get update @ * | */scale',
    'list watch @ core metrics.k8s.io | pods',
    `${read} @ custom.metrics.k8s.io external.metrics.k8s.io | *`,
    events,
  ],
  'job-controller': [
    `update patch ${read} @ batch | jobs`,
    'update @ batch | jobs/status jobs/finalizers',
    'list watch create delete patch @ core | pods',
    events,
  ],
  'namespace-controller': [
    `delete ${read} @ core | namespaces`,
    'update @ core | namespaces/finalize namespaces/status',
    `delete deletecollection ${read} @ * | *`,
  ],
  'node-controller': [
    `update delete patch ${read} @ core | nodes`,
    'patch update @ core | nodes/status pods/status',
    `delete ${read} @ core | pods`,
    // One controller here keeps pod CIDRs, leases and taints.
    `${read} @ coordination.k8s.io | leases`,
    events,
  ],
  'persistent-volume-binder': [
    `update create delete ${read} @ core | persistentvolumes`,
    'update @ core | persistentvolumes/status persistentvolumeclaims/status',
    `update ${read} @ core | persistentvolumeclaims`,
    `create delete ${read} @ core | pods`,
    `${read} @ storage.k8s.io | storageclasses`,
    'list watch @ core | nodes',
    'watch @ core | events',
    events,
  ],
  'pod-garbage-collector': ['list watch delete @ core | pods', `${read} @ core | nodes`, 'patch @ core | pods/status'],
  'pv-protection-controller': [`update ${read} @ core | persistentvolumes`, events],
  'pvc-protection-controller': [`update ${read} @ core | persistentvolumeclaims`, `${read} @ core | pods`, events],
  'replicaset-controller': [
    `update ${read} @ apps extensions | replicasets`,
    'update @ apps extensions | replicasets/status replicasets/finalizers',
    'list watch patch create delete @ core | pods',
    events,
  ],
  'replication-controller': [
    `update ${read} @ core | replicationcontrollers`,
    'update @ core | replicationcontrollers/status replicationcontrollers/finalizers',
    'list watch patch create delete @ core | pods',
    events,
  ],
  'resourcequota-controller': ['list watch @ * | *', 'update @ core | resourcequotas/status', events],
  'root-ca-cert-publisher': ['create update @ core | configmaps', events],
  'service-account-controller': ['create @ core | serviceaccounts', events],
  'service-controller': [
    `${read} @ core | services`,
    'patch update @ core | services/status',
    'list watch @ core | nodes',
    events,
  ],
  'statefulset-controller': [
    'list watch @ core | pods',
    `${read} @ apps | statefulsets`,
    'update @ apps | statefulsets/status statefulsets/finalizers',
    'get create delete update patch @ core | pods',
    `create delete update patch ${read} @ apps | controllerrevisions`,
    `create update delete ${read} @ core | persistentvolumeclaims`,
    'update @ core | pods/finalizers',
    events,
  ],
  'ttl-after-finished-controller': [`delete ${read} @ batch | jobs`, events],
  'ttl-controller': ['update patch list watch @ core | nodes', events],
};

const words = (text: string): string[] => text.trim().split(/\s+/).filter(Boolean);

/** Reads one line of the tables above. */
export function parseRule(line: string): PolicyRule {
  if (line.startsWith('url ')) {
    const [verbs = '', urls = ''] = line.slice(4).split('|');
    return { verbs: words(verbs), nonResourceURLs: words(urls) };
  }
  const at = line.indexOf('@');
  const [groups = '', resources = '', names] = line.slice(at + 1).split('|');
  return {
    verbs: words(line.slice(0, at)),
    apiGroups: words(groups).map((group) => (group === 'core' ? '' : group)),
    resources: words(resources),
    ...(names === undefined ? {} : { resourceNames: words(names) }),
  };
}

export interface Subject {
  kind: 'User' | 'Group' | 'ServiceAccount';
  name: string;
  namespace?: string;
}

/** A role or binding as the API stores it, without server-made metadata. */
export interface BootstrapObject {
  apiVersion: 'rbac.authorization.k8s.io/v1';
  kind: 'ClusterRole' | 'ClusterRoleBinding' | 'Role' | 'RoleBinding';
  metadata: {
    name: string;
    namespace?: string;
    labels: Record<string, string>;
    annotations: Record<string, string>;
  };
  rules?: PolicyRule[];
  aggregationRule?: { clusterRoleSelectors: { matchLabels: Record<string, string> }[] };
  subjects?: { apiGroup?: string; kind: string; name: string; namespace?: string }[];
  roleRef?: { apiGroup: string; kind: string; name: string };
}

function metadata(
  name: string,
  labels: Readonly<Record<string, string>> = {},
  namespace?: string,
): BootstrapObject['metadata'] {
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    labels: { 'kubernetes.io/bootstrapping': 'rbac-defaults', ...labels },
    annotations: { 'rbac.authorization.kubernetes.io/autoupdate': 'true' },
  };
}

function subjects(list: readonly Subject[]): NonNullable<BootstrapObject['subjects']> {
  return list.map((subject) =>
    subject.kind === 'ServiceAccount' ? { ...subject } : { apiGroup: 'rbac.authorization.k8s.io', ...subject },
  );
}

const group = (name: string): Subject => ({ kind: 'Group', name });
const user = (name: string): Subject => ({ kind: 'User', name });
const account = (name: string): Subject => ({ kind: 'ServiceAccount', name, namespace: 'kube-system' });

const bindings: Record<string, { role?: string; subjects: Subject[] }> = {
  'cluster-admin': { subjects: [group('system:masters')] },
  'system:monitoring': { subjects: [group('system:monitoring')] },
  'system:discovery': { subjects: [group('system:authenticated')] },
  'system:basic-user': { subjects: [group('system:authenticated')] },
  'system:public-info-viewer': { subjects: [group('system:authenticated'), group('system:unauthenticated')] },
  'system:node-proxier': { subjects: [user('system:kube-proxy')] },
  'system:kube-controller-manager': { subjects: [user('system:kube-controller-manager')] },
  'system:kube-dns': { subjects: [account('kube-dns')] },
  'system:kube-scheduler': { subjects: [user('system:kube-scheduler')] },
  'system:volume-scheduler': { subjects: [user('system:kube-scheduler')] },
  // Upstream binds nobody: nodes are allowed by the Node authorizer alone.
  'system:node': { subjects: [] },
  'system:service-account-issuer-discovery': { subjects: [group('system:serviceaccounts')] },
};

/** Roles and bindings of single namespaces, `namespace/name`. */
const namespaced: Record<string, { rules: string[]; subjects: Subject[] }> = {
  'kube-system/extension-apiserver-authentication-reader': {
    rules: [`${read} @ core | configmaps | extension-apiserver-authentication`],
    subjects: [user('system:kube-controller-manager'), user('system:kube-scheduler')],
  },
  'kube-system/system::leader-locking-kube-controller-manager': {
    rules: ['watch @ core | configmaps', 'get update @ core | configmaps | kube-controller-manager'],
    subjects: [user('system:kube-controller-manager'), account('kube-controller-manager')],
  },
  'kube-system/system::leader-locking-kube-scheduler': {
    rules: ['watch @ core | configmaps', 'get update @ core | configmaps | kube-scheduler'],
    subjects: [user('system:kube-scheduler'), account('kube-scheduler')],
  },
  'kube-system/system:controller:token-cleaner': {
    rules: [`delete ${read} @ core | secrets`, events],
    subjects: [account('token-cleaner')],
  },
  'kube-system/system:controller:bootstrap-signer': {
    rules: [`${read} @ core | secrets`],
    subjects: [account('bootstrap-signer')],
  },
  'kube-public/system:controller:bootstrap-signer': {
    rules: [`${read} @ core | configmaps`, 'update @ core | configmaps | cluster-info', events],
    subjects: [account('bootstrap-signer')],
  },
};

const bindingNames: Record<string, string> = {
  'kube-system/extension-apiserver-authentication-reader': 'system::extension-apiserver-authentication-reader',
};

const apiVersion = 'rbac.authorization.k8s.io/v1' as const;
const roleRef = (kind: 'ClusterRole' | 'Role', name: string): NonNullable<BootstrapObject['roleRef']> => ({
  apiGroup: 'rbac.authorization.k8s.io',
  kind,
  name,
});

/** Everything that is reconciled at start: roles first, then bindings. */
export function defaultRbacObjects(): BootstrapObject[] {
  const out: BootstrapObject[] = [];
  for (const [name, role] of Object.entries(plain)) {
    out.push({
      apiVersion,
      kind: 'ClusterRole',
      metadata: metadata(name, role.labels),
      ...(role.aggregate === undefined
        ? { rules: role.rules.map(parseRule) }
        : { aggregationRule: { clusterRoleSelectors: [{ matchLabels: aggregateTo(role.aggregate) }] }, rules: [] }),
    });
  }
  for (const [name, rules] of Object.entries(controllers)) {
    const roleName = `system:controller:${name}`;
    out.push({ apiVersion, kind: 'ClusterRole', metadata: metadata(roleName), rules: rules.map(parseRule) });
  }
  for (const [key, role] of Object.entries(namespaced)) {
    const [namespace = '', name = ''] = key.split('/');
    out.push({ apiVersion, kind: 'Role', metadata: metadata(name, {}, namespace), rules: role.rules.map(parseRule) });
  }
  for (const [name, binding] of Object.entries(bindings)) {
    out.push({
      apiVersion,
      kind: 'ClusterRoleBinding',
      metadata: metadata(name),
      roleRef: roleRef('ClusterRole', binding.role ?? name),
      subjects: subjects(binding.subjects),
    });
  }
  for (const name of Object.keys(controllers)) {
    out.push({
      apiVersion,
      kind: 'ClusterRoleBinding',
      metadata: metadata(`system:controller:${name}`),
      roleRef: roleRef('ClusterRole', `system:controller:${name}`),
      subjects: subjects([account(name)]),
    });
  }
  for (const [key, role] of Object.entries(namespaced)) {
    const [namespace = '', name = ''] = key.split('/');
    out.push({
      apiVersion,
      kind: 'RoleBinding',
      metadata: metadata(bindingNames[key] ?? name, {}, namespace),
      roleRef: roleRef('Role', name),
      subjects: subjects(role.subjects),
    });
  }
  return out;
}
