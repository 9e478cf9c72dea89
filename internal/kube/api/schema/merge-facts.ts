/**
 * How values merge: the markers of the API's Go types (`+listType`, `+listMapKey`, `+mapType`, `+structType`, `patchStrategy`, `patchMergeKey`), which no npm
 * package carries. Facts of Kubernetes 1.36; a test compares them with an API server's own document. Names leave `io.k8s.api.` and
 * `io.k8s.apimachinery.pkg.apis.` out.
 *
 * A field's words: `map=<keys>` or `set` is its list type (every list that is not named here is atomic), `atomic-map`/`granular-map` its map type,
 * `patch=<strategy>[:<merge key>]` is for strategic merge patch.
 */
export const fieldFacts: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'apps.v1.DaemonSetStatus': {
    conditions: 'map=type patch=merge:type',
  },
  'apps.v1.DeploymentSpec': {
    strategy: 'patch=retainKeys',
  },
  'apps.v1.DeploymentStatus': {
    conditions: 'map=type patch=merge:type',
  },
  'apps.v1.ReplicaSetStatus': {
    conditions: 'map=type patch=merge:type',
  },
  'apps.v1.StatefulSetStatus': {
    conditions: 'map=type patch=merge:type',
  },
  'batch.v1.JobStatus': {
    conditions: 'atomic patch=merge:type',
  },
  'batch.v1.PodFailurePolicyOnExitCodesRequirement': {
    values: 'set',
  },
  'batch.v1.UncountedTerminatedPods': {
    failed: 'set',
    succeeded: 'set',
  },
  'core.v1.Container': {
    env: 'map=name patch=merge:name',
    ports: 'map=containerPort,protocol patch=merge:containerPort',
    volumeDevices: 'map=devicePath patch=merge:devicePath',
    volumeMounts: 'map=mountPath patch=merge:mountPath',
  },
  'core.v1.ContainerRestartRuleOnExitCodes': {
    values: 'set',
  },
  'core.v1.ContainerStatus': {
    allocatedResourcesStatus: 'map=name patch=merge:name',
    volumeMounts: 'map=mountPath patch=merge:mountPath',
  },
  'core.v1.EphemeralContainer': {
    env: 'map=name patch=merge:name',
    ports: 'map=containerPort,protocol patch=merge:containerPort',
    volumeDevices: 'map=devicePath patch=merge:devicePath',
    volumeMounts: 'map=mountPath patch=merge:mountPath',
  },
  'core.v1.NamespaceStatus': {
    conditions: 'map=type patch=merge:type',
  },
  'core.v1.NodeAllocatableResourceClaimStatus': {
    containers: 'set',
  },
  'core.v1.NodeSpec': {
    podCIDRs: 'set patch=merge',
  },
  'core.v1.NodeStatus': {
    addresses: 'map=type patch=merge:type',
    conditions: 'map=type patch=merge:type',
  },
  'core.v1.PersistentVolumeClaimStatus': {
    allocatedResourceStatuses: 'granular-map',
    conditions: 'map=type patch=merge:type',
  },
  'core.v1.PersistentVolumeSpec': {
    claimRef: 'granular-map',
  },
  'core.v1.PodSpec': {
    containers: 'map=name patch=merge:name',
    ephemeralContainers: 'map=name patch=merge:name',
    hostAliases: 'map=ip patch=merge:ip',
    imagePullSecrets: 'map=name patch=merge:name',
    initContainers: 'map=name patch=merge:name',
    nodeSelector: 'atomic-map',
    resourceClaims: 'map=name patch=merge,retainKeys:name',
    schedulingGates: 'map=name patch=merge:name',
    topologySpreadConstraints: 'map=topologyKey,whenUnsatisfiable patch=merge:topologyKey',
    volumes: 'map=name patch=merge,retainKeys:name',
  },
  'core.v1.PodStatus': {
    conditions: 'map=type patch=merge:type',
    hostIPs: 'atomic patch=merge:ip',
    podIPs: 'map=ip patch=merge:ip',
    resourceClaimStatuses: 'map=name patch=merge,retainKeys:name',
  },
  'core.v1.ReplicationControllerSpec': {
    selector: 'atomic-map',
  },
  'core.v1.ReplicationControllerStatus': {
    conditions: 'map=type patch=merge:type',
  },
  'core.v1.ResourceRequirements': {
    claims: 'map=name',
  },
  'core.v1.ResourceStatus': {
    resources: 'map=resourceID',
  },
  'core.v1.ServiceAccount': {
    secrets: 'map=name patch=merge:name',
  },
  'core.v1.ServiceSpec': {
    ports: 'map=port,protocol patch=merge:port',
    selector: 'atomic-map',
  },
  'core.v1.ServiceStatus': {
    conditions: 'map=type patch=merge:type',
  },
  'discovery.v1.Endpoint': {
    addresses: 'set',
  },
  'meta.v1.ObjectMeta': {
    finalizers: 'set patch=merge',
    ownerReferences: 'map=uid patch=merge:uid',
  },
  'node.v1.Scheduling': {
    nodeSelector: 'atomic-map',
  },
  'policy.v1.PodDisruptionBudgetSpec': {
    selector: 'patch=replace',
  },
  'policy.v1.PodDisruptionBudgetStatus': {
    conditions: 'map=type patch=merge:type',
  },
  'storage.v1.CSIDriverSpec': {
    volumeLifecycleModes: 'set',
  },
  'storage.v1.CSINodeSpec': {
    drivers: 'map=name patch=merge:name',
  },
};

/** Structs that are replaced as a whole by server-side apply. */
export const atomicStructs: readonly string[] = [
  'core.v1.ConfigMapKeySelector',
  'core.v1.EndpointAddress',
  'core.v1.EndpointPort',
  'core.v1.FileKeySelector',
  'core.v1.LocalObjectReference',
  'core.v1.NodeSelector',
  'core.v1.NodeSelectorTerm',
  'core.v1.ObjectFieldSelector',
  'core.v1.ObjectReference',
  'core.v1.ResourceFieldSelector',
  'core.v1.ScopeSelector',
  'core.v1.SecretKeySelector',
  'core.v1.SecretReference',
  'core.v1.TopologySelectorTerm',
  'core.v1.TypedLocalObjectReference',
  'discovery.v1.EndpointPort',
  'rbac.v1.RoleRef',
  'rbac.v1.Subject',
  'meta.v1.LabelSelector',
  'meta.v1.OwnerReference',
];

/** Lists whose type is not published at all (they behave as atomic). */
export const plainLists: readonly string[] = ['meta.v1.APIResource.verbs'];

/** Defaults that are part of a list's key. */
export const keyDefaults: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'core.v1.ContainerPort': { protocol: 'TCP' },
  'core.v1.ServicePort': { protocol: 'TCP' },
};
