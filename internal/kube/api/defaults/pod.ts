import { isObject, type JsonObject } from '../../machinery/json.ts';
import { formatQuantity } from '../../machinery/quantity.ts';
import { containerAmounts, isPodLevelResource } from '../pod-amounts.ts';
import { child, fill, fillText, objects } from './helpers.ts';

/** Defaults of pods and pod templates (pkg/apis/core/v1/defaults.go). */
const modeDefault = 0o644;

/** Always for `:latest` and for no tag, else IfNotPresent; a digest counts as a tag. */
export function defaultPullPolicy(image: unknown): 'Always' | 'IfNotPresent' {
  const text = typeof image === 'string' ? image : '';
  if (text.includes('@')) return 'IfNotPresent';
  const slash = text.lastIndexOf('/');
  const colon = text.indexOf(':', slash + 1);
  const tag = colon < 0 ? 'latest' : text.slice(colon + 1);
  return tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function httpGet(handler: JsonObject): void {
  if (isObject(handler.httpGet)) {
    fillText(handler.httpGet, 'path', '/');
    fillText(handler.httpGet, 'scheme', 'HTTP');
  }
  if (isObject(handler.grpc)) fill(handler.grpc, 'service', '');
}

function probe(value: JsonObject): void {
  for (const [key, number] of [
    ['timeoutSeconds', 1],
    ['periodSeconds', 10],
    ['successThreshold', 1],
    ['failureThreshold', 3],
  ] as const)
    if (value[key] === undefined || value[key] === 0) value[key] = number;
  httpGet(value);
}

function container(value: JsonObject): void {
  fillText(value, 'imagePullPolicy', defaultPullPolicy(value.image));
  fillText(value, 'terminationMessagePath', '/dev/termination-log');
  fillText(value, 'terminationMessagePolicy', 'File');
  child(value, 'resources');
  for (const port of objects(value.ports)) fillText(port, 'protocol', 'TCP');
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) if (isObject(value[name])) probe(value[name]);
  if (isObject(value.lifecycle))
    for (const name of ['postStart', 'preStop']) if (isObject(value.lifecycle[name])) httpGet(value.lifecycle[name]);
  for (const variable of objects(value.env)) {
    if (!isObject(variable.valueFrom)) continue;
    fieldRefs(variable.valueFrom);
  }
}

function fieldRefs(source: JsonObject): void {
  if (isObject(source.fieldRef)) fillText(source.fieldRef, 'apiVersion', 'v1');
  if (isObject(source.resourceFieldRef)) fill(source.resourceFieldRef, 'divisor', '0');
}

function volume(value: JsonObject): void {
  if (Object.keys(value).every((key) => key === 'name')) value.emptyDir = {};
  for (const kind of ['secret', 'configMap', 'downwardAPI', 'projected'])
    if (isObject(value[kind])) fill(value[kind], 'defaultMode', modeDefault);
  if (isObject(value.downwardAPI)) for (const item of objects(value.downwardAPI.items)) fieldRefs(item);
  if (isObject(value.projected))
    for (const source of objects(value.projected.sources)) {
      if (isObject(source.serviceAccountToken)) fill(source.serviceAccountToken, 'expirationSeconds', 3600);
      if (isObject(source.downwardAPI)) for (const item of objects(source.downwardAPI.items)) fieldRefs(item);
    }
  if (isObject(value.hostPath)) fill(value.hostPath, 'type', '');
  if (isObject(value.image)) fillText(value.image, 'pullPolicy', defaultPullPolicy(value.image.reference));
  if (isObject(value.ephemeral) && isObject(value.ephemeral.volumeClaimTemplate))
    claimSpec(child(value.ephemeral.volumeClaimTemplate, 'spec'));
  if (isObject(value.iscsi)) fillText(value.iscsi, 'iscsiInterface', 'default');
  if (isObject(value.rbd)) {
    fillText(value.rbd, 'pool', 'rbd');
    fillText(value.rbd, 'user', 'admin');
    fillText(value.rbd, 'keyring', '/etc/ceph/keyring');
  }
}

/** Spec of a PersistentVolumeClaim. */
export function claimSpec(spec: JsonObject): void {
  fill(spec, 'volumeMode', 'Filesystem');
  child(spec, 'resources');
}

/** A pod's spec, in a pod or in a template. */
export function podSpecDefaults(spec: JsonObject): void {
  fillText(spec, 'dnsPolicy', 'ClusterFirst');
  fillText(spec, 'restartPolicy', 'Always');
  fillText(spec, 'schedulerName', 'default-scheduler');
  fill(spec, 'terminationGracePeriodSeconds', 30);
  child(spec, 'securityContext');
  // The old name of the field is kept in step with the new one.
  if (spec.serviceAccountName === undefined && typeof spec.serviceAccount === 'string')
    spec.serviceAccountName = spec.serviceAccount;
  if (typeof spec.serviceAccountName === 'string' && spec.serviceAccountName !== '')
    spec.serviceAccount = spec.serviceAccountName;
  for (const list of ['initContainers', 'containers', 'ephemeralContainers'])
    for (const item of objects(spec[list])) {
      container(item);
      if (spec.hostNetwork === true && list !== 'ephemeralContainers')
        for (const port of objects(item.ports)) fill(port, 'hostPort', port.containerPort ?? 0);
    }
  for (const item of objects(spec.volumes)) volume(item);
}

/** A PodTemplateSpec. */
export function podTemplateDefaults(template: JsonObject): void {
  podSpecDefaults(child(template, 'spec'));
  child(template, 'metadata');
}

export function podDefaults(pod: JsonObject): void {
  const spec = child(pod, 'spec');
  fill(spec, 'enableServiceLinks', true);
  podSpecDefaults(spec);
  // Limits without requests are requests as well: only in pods, not in templates.
  for (const list of ['initContainers', 'containers'])
    for (const item of objects(spec[list])) {
      const resources = child(item, 'resources');
      if (!isObject(resources.limits)) continue;
      const requests = isObject(resources.requests) ? resources.requests : {};
      for (const name in resources.limits) fill(requests, name, resources.limits[name] ?? '0');
      if (Object.keys(requests).length > 0) resources.requests = requests;
    }
  if (isObject(spec.resources)) podLevelDefaults(pod, spec.resources);
}

/**
 * What a pod asks for as a whole: limits of huge pages are the sum of its containers', and, where it has limits, requests are the sum of its containers'
 * or else its limits (defaultHugePagePodLimits and defaultPodRequests in pkg/apis/core/v1/defaults.go).
 */
function podLevelDefaults(pod: JsonObject, resources: JsonObject): void {
  const sums = (field: 'requests' | 'limits', wanted: (name: string) => boolean): void => {
    const own: JsonObject = isObject(resources[field]) ? resources[field] : {};
    for (const [name, amount] of Object.entries(containerAmounts(pod, field)))
      if (isPodLevelResource(name) && wanted(name)) fill(own, name, formatQuantity(amount));
    if (Object.keys(own).length > 0) resources[field] = own;
  };
  sums('limits', (name) => name.startsWith('hugepages-'));
  const { limits } = resources;
  if (!isObject(limits) || Object.keys(limits).length === 0) return;
  sums('requests', (name) => !name.startsWith('hugepages-'));
  const requests: JsonObject = isObject(resources.requests) ? resources.requests : {};
  for (const name in limits) if (isPodLevelResource(name)) fill(requests, name, limits[name] ?? '0');
  if (Object.keys(requests).length > 0) resources.requests = requests;
}
