import { isObject, type JsonObject } from '../../machinery/json.ts';
import { tryQuantity } from '../../machinery/quantity.ts';
import { objects } from '../defaults/helpers.ts';
import { nameWarnings, oldNodeLabel, podWarnings } from './pod.ts';

/** What is told about objects that are accepted, beside pods (the strategies' WarningsOnCreate and WarningsOnUpdate), in upstream's words. */
const inPodNames = 'this is used in Pod names and hostnames, which can result in surprising behavior';

const part = (object: JsonObject, field: string): JsonObject => (isObject(object[field]) ? object[field] : {});
const generation = (object: JsonObject): unknown => part(object, 'metadata').generation;

/** A workload: its template where it is new or has changed, its name where it is new. `path`: where the template stands. */
export function templateWarnings(
  path: string,
  named = true,
): (object: JsonObject, old: JsonObject | undefined) => string[] {
  return (object, old) => {
    if (old !== undefined && generation(old) === generation(object)) return [];
    const template = path.split('.').reduce(part, object);
    return [...(named && old === undefined ? nameWarnings(object, inPodNames) : []), ...podWarnings(template, path)];
  };
}

export function serviceWarnings(service: JsonObject): string[] {
  const spec = part(service, 'spec');
  const out: string[] = [];
  const external = Array.isArray(spec.externalIPs) && spec.externalIPs.length > 0;
  if ('service.kubernetes.io/topology-aware-hints' in part(part(service, 'metadata'), 'annotations'))
    out.push(
      'annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead',
    );
  if (spec.type === 'ClusterIP' && spec.clusterIP === 'None') {
    if (spec.loadBalancerIP) out.push('spec.loadBalancerIP is ignored for headless services');
    if (external) out.push('spec.externalIPs is ignored for headless services');
    if (spec.sessionAffinity !== undefined && spec.sessionAffinity !== 'None')
      out.push('spec.SessionAffinity is ignored for headless services');
  }
  if (spec.type === 'ExternalName' && external)
    out.push('spec.externalIPs is ignored when spec.type is "ExternalName"');
  if (spec.type !== 'ExternalName' && spec.externalName)
    out.push('spec.externalName is ignored when spec.type is not "ExternalName"');
  if (spec.trafficDistribution === 'PreferClose')
    out.push('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"');
  return out;
}

const oldClass = 'volume.beta.kubernetes.io/storage-class';

function classWarnings(object: JsonObject): string[] {
  return oldClass in part(part(object, 'metadata'), 'annotations')
    ? [`metadata.annotations[${oldClass}]: deprecated since v1.8; use "storageClassName" attribute instead`]
    : [];
}

export function volumeWarnings(volume: JsonObject): string[] {
  const recycles = part(volume, 'spec').persistentVolumeReclaimPolicy === 'Recycle';
  return [
    ...classWarnings(volume),
    ...(recycles
      ? [
          'spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.',
        ]
      : []),
  ];
}

export function claimWarnings(claim: JsonObject): string[] {
  const out = classWarnings(claim);
  const resources = part(part(claim, 'spec'), 'resources');
  for (const list of ['limits', 'requests']) {
    const size = part(resources, list).storage;
    const quantity = tryQuantity(size);
    if (quantity !== undefined && quantity.nano % 1_000_000_000n !== 0n)
      out.push(
        `spec.resources.${list}[storage]: fractional byte value ${JSON.stringify(String(size))} is invalid, must be an integer`,
      );
  }
  return out;
}

const classAnnotation = 'kubernetes.io/ingress.class';

/** Of a new Ingress. */
export function ingressWarnings(ingress: JsonObject, old: JsonObject | undefined): string[] {
  if (old !== undefined || part(ingress, 'spec').ingressClassName !== undefined) return [];
  return classAnnotation in part(part(ingress, 'metadata'), 'annotations')
    ? [`annotation ${JSON.stringify(classAnnotation)} is deprecated, please use 'spec.ingressClassName' instead`]
    : [];
}

export function nodeWarnings(node: JsonObject): string[] {
  const { configSource, externalID } = part(node, 'spec');
  return [
    ...(configSource === undefined ? [] : ['spec.configSource: the feature is removed']),
    ...(externalID ? ['spec.externalID: this field is deprecated, and is unused by Kubernetes'] : []),
  ];
}

export function storageClassWarnings(storageClass: JsonObject): string[] {
  return objects(storageClass.allowedTopologies).flatMap((topology, i) =>
    objects(topology.matchLabelExpressions).flatMap(({ key }, j) => {
      const why = oldNodeLabel(String(key));
      return why === undefined ? [] : [`allowedTopologies[${i}].matchLabelExpressions[${j}].key: ${why}`];
    }),
  );
}

export function storageCapacityWarnings(capacity: JsonObject): string[] {
  const topology = part(capacity, 'nodeTopology');
  const of = (label: string, told: (why: string) => string): string[] => {
    const why = oldNodeLabel(label);
    return why === undefined ? [] : [told(why)];
  };
  return [
    ...objects(topology.matchExpressions).flatMap(({ key }, index) =>
      of(String(key), (why) => `nodeTopology.matchExpressions[${index}].key: ${String(key)} is ${why}`),
    ),
    ...Object.keys(part(topology, 'matchLabels')).flatMap((label) =>
      of(label, (why) => `nodeTopology.matchLabels.${label}: ${why}`),
    ),
  ];
}

export function runtimeClassWarnings(runtimeClass: JsonObject): string[] {
  return Object.keys(part(part(runtimeClass, 'scheduling'), 'nodeSelector')).flatMap((label) => {
    const why = oldNodeLabel(label);
    return why === undefined ? [] : [`scheduling.nodeSelector: ${why}`];
  });
}
