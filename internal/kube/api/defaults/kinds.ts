import { isObject, type JsonObject } from '../../machinery/json.ts';
import { child, fill, fillText, objects } from './helpers.ts';
import { claimSpec, podTemplateDefaults } from './pod.ts';

/** Defaults of the other kinds (pkg/apis/…/v1/defaults.go), one function a kind. */
const rbacGroup = 'rbac.authorization.k8s.io';

export function serviceDefaults(service: JsonObject): void {
  const spec = child(service, 'spec');
  fillText(spec, 'sessionAffinity', 'None');
  if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig;
  if (spec.sessionAffinity === 'ClientIP')
    fill(child(child(spec, 'sessionAffinityConfig'), 'clientIP'), 'timeoutSeconds', 10800);
  fillText(spec, 'type', 'ClusterIP');
  for (const port of objects(spec.ports)) {
    fillText(port, 'protocol', 'TCP');
    if (port.targetPort === undefined || port.targetPort === 0 || port.targetPort === '')
      port.targetPort = port.port ?? 0;
  }
  const external = Array.isArray(spec.externalIPs) && spec.externalIPs.length > 0;
  if (spec.type === 'NodePort' || spec.type === 'LoadBalancer' || (spec.type === 'ClusterIP' && external))
    fillText(spec, 'externalTrafficPolicy', 'Cluster');
  if (spec.type !== 'ExternalName') fill(spec, 'internalTrafficPolicy', 'Cluster');
  if (spec.type === 'LoadBalancer') fill(spec, 'allocateLoadBalancerNodePorts', true);
  const balancer = child(child(service, 'status'), 'loadBalancer');
  if (spec.type === 'LoadBalancer')
    for (const ingress of objects(balancer.ingress)) if (ingress.ip) fillText(ingress, 'ipMode', 'VIP');
}

export function endpointsDefaults(endpoints: JsonObject): void {
  for (const subset of objects(endpoints.subsets))
    for (const port of objects(subset.ports)) fillText(port, 'protocol', 'TCP');
}

export function endpointSliceDefaults(slice: JsonObject): void {
  for (const port of objects(slice.ports)) {
    fill(port, 'name', '');
    fillText(port, 'protocol', 'TCP');
  }
}

export function claimDefaults(claim: JsonObject): void {
  claimSpec(child(claim, 'spec'));
  fillText(child(claim, 'status'), 'phase', 'Pending');
}

export function volumeDefaults(volume: JsonObject): void {
  const spec = child(volume, 'spec');
  fillText(spec, 'persistentVolumeReclaimPolicy', 'Retain');
  fill(spec, 'volumeMode', 'Filesystem');
  if (isObject(spec.hostPath)) fill(spec.hostPath, 'type', '');
  fillText(child(volume, 'status'), 'phase', 'Pending');
}

export function namespaceDefaults(namespace: JsonObject): void {
  const metadata = child(namespace, 'metadata');
  if (typeof metadata.name === 'string' && metadata.name !== '')
    child(metadata, 'labels')['kubernetes.io/metadata.name'] = metadata.name;
  child(namespace, 'spec');
  fillText(child(namespace, 'status'), 'phase', 'Active');
}

export function nodeDefaults(node: JsonObject): void {
  child(node, 'spec');
  const status = child(node, 'status');
  if (isObject(status.capacity) && status.allocatable === undefined) status.allocatable = { ...status.capacity };
}

export function secretDefaults(secret: JsonObject): void {
  if (isObject(secret.stringData)) {
    const data = child(secret, 'data');
    for (const key in secret.stringData)
      data[key] = Buffer.from(String(secret.stringData[key]), 'utf8').toString('base64');
    delete secret.stringData;
  }
  fillText(secret, 'type', 'Opaque');
}

export function deploymentDefaults(deployment: JsonObject): void {
  const spec = child(deployment, 'spec');
  podTemplateDefaults(child(spec, 'template'));
  fill(spec, 'replicas', 1);
  fill(spec, 'revisionHistoryLimit', 10);
  fill(spec, 'progressDeadlineSeconds', 600);
  const strategy = child(spec, 'strategy');
  fillText(strategy, 'type', 'RollingUpdate');
  if (strategy.type === 'RollingUpdate') {
    const rolling = child(strategy, 'rollingUpdate');
    fill(rolling, 'maxUnavailable', '25%');
    fill(rolling, 'maxSurge', '25%');
  }
  child(deployment, 'status');
}

export function replicaSetDefaults(set: JsonObject): void {
  const spec = child(set, 'spec');
  podTemplateDefaults(child(spec, 'template'));
  fill(spec, 'replicas', 1);
  fill(child(set, 'status'), 'replicas', 0);
}

export function statefulSetDefaults(set: JsonObject): void {
  const spec = child(set, 'spec');
  podTemplateDefaults(child(spec, 'template'));
  fillText(spec, 'podManagementPolicy', 'OrderedReady');
  const strategy = child(spec, 'updateStrategy');
  fillText(strategy, 'type', 'RollingUpdate');
  if (strategy.type === 'RollingUpdate') fill(child(strategy, 'rollingUpdate'), 'partition', 0);
  const retention = child(spec, 'persistentVolumeClaimRetentionPolicy');
  fillText(retention, 'whenDeleted', 'Retain');
  fillText(retention, 'whenScaled', 'Retain');
  fill(spec, 'replicas', 1);
  fill(spec, 'revisionHistoryLimit', 10);
  for (const claim of objects(spec.volumeClaimTemplates)) {
    claim.apiVersion ??= 'v1';
    claim.kind ??= 'PersistentVolumeClaim';
    claimDefaults(claim);
  }
  const status = child(set, 'status');
  fill(status, 'replicas', 0);
  fill(status, 'availableReplicas', 0);
}

export function daemonSetDefaults(set: JsonObject): void {
  const spec = child(set, 'spec');
  podTemplateDefaults(child(spec, 'template'));
  const strategy = child(spec, 'updateStrategy');
  fillText(strategy, 'type', 'RollingUpdate');
  if (strategy.type === 'RollingUpdate') {
    const rolling = child(strategy, 'rollingUpdate');
    fill(rolling, 'maxUnavailable', 1);
    fill(rolling, 'maxSurge', 0);
  }
  fill(spec, 'revisionHistoryLimit', 10);
  const status = child(set, 'status');
  for (const count of ['currentNumberScheduled', 'numberMisscheduled', 'desiredNumberScheduled', 'numberReady'])
    fill(status, count, 0);
}

export function storageClassDefaults(storageClass: JsonObject): void {
  fill(storageClass, 'reclaimPolicy', 'Delete');
  fill(storageClass, 'volumeBindingMode', 'Immediate');
}

export function csiDriverDefaults(driver: JsonObject): void {
  const spec = child(driver, 'spec');
  fill(spec, 'attachRequired', true);
  fill(spec, 'podInfoOnMount', false);
  fill(spec, 'storageCapacity', false);
  fill(spec, 'fsGroupPolicy', 'ReadWriteOnceWithFSType');
  if (!Array.isArray(spec.volumeLifecycleModes) || spec.volumeLifecycleModes.length === 0)
    spec.volumeLifecycleModes = ['Persistent'];
  fill(spec, 'requiresRepublish', false);
  fill(spec, 'seLinuxMount', false);
}

export function priorityClassDefaults(priorityClass: JsonObject): void {
  fill(priorityClass, 'preemptionPolicy', 'PreemptLowerPriority');
}

export function roleBindingDefaults(binding: JsonObject): void {
  if (isObject(binding.roleRef)) fillText(binding.roleRef, 'apiGroup', rbacGroup);
  for (const subject of objects(binding.subjects)) {
    if (subject.kind === 'User' || subject.kind === 'Group') fillText(subject, 'apiGroup', rbacGroup);
    else if (subject.apiGroup === '') delete subject.apiGroup;
  }
}
