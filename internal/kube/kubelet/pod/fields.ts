import { AppError } from '../../../base/errors.ts';
import { allContainers, type Container, type Pod, podNamespace } from '../pod-types.ts';
import type { ResourceFieldSelector } from '../../api/types.ts';
import { dividedValue, quantityValue } from './quantity.ts';

/** What the node contributes to fields of a pod that are known only once it runs. */
export interface PodPlace {
  readonly hostIP: string;
  readonly podIPs: readonly string[];
  /** The node's allocatable, which stands in for limits that are not set: cores and bytes. */
  readonly allocatable: { readonly cpu: number; readonly memory: number; readonly ephemeralStorage: number };
}

const keyed = /^metadata\.(labels|annotations)\['([^']*)'\]$/;

function lines(map: Record<string, string> | undefined): string {
  return Object.keys(map ?? {})
    .sort()
    .map((key) => `${key}=${JSON.stringify(map![key])}`)
    .join('\n');
}

/** The value of a `fieldRef` path; throws for a path that the downward API does not have. */
export function podField(pod: Pod, place: PodPlace, path: string): string {
  const match = keyed.exec(path);
  if (match) return pod.metadata[match[1] as 'labels' | 'annotations']?.[match[2]!] ?? '';
  switch (path) {
    case 'metadata.name':
      return pod.metadata.name;
    case 'metadata.namespace':
      return podNamespace(pod);
    case 'metadata.uid':
      return pod.metadata.uid ?? '';
    case 'metadata.labels':
      return lines(pod.metadata.labels);
    case 'metadata.annotations':
      return lines(pod.metadata.annotations);
    case 'spec.nodeName':
      return pod.spec.nodeName ?? '';
    case 'spec.serviceAccountName':
      return pod.spec.serviceAccountName ?? '';
    case 'status.hostIP':
      return place.hostIP;
    case 'status.hostIPs':
      return place.hostIP;
    case 'status.podIP':
      return place.podIPs[0] ?? '';
    case 'status.podIPs':
      return place.podIPs.join(',');
    default:
      throw new AppError('UNSUPPORTED_FIELD', `fieldPath ${path} is not supported`);
  }
}

/**
 * The value of a `resourceFieldRef` for `container` (or the one that the selector names). A limit that it has not, or that is zero, is the whole pod's, and without
 * one what the node has.
 */
export function resourceField(
  pod: Pod,
  container: Container | undefined,
  place: PodPlace,
  ref: ResourceFieldSelector,
): string {
  const target = ref.containerName ? allContainers(pod).find((c) => c.name === ref.containerName) : container;
  if (!target)
    throw new AppError(
      'UNKNOWN_CONTAINER',
      `resourceFieldRef names container ${ref.containerName ?? ''}, which the pod does not have`,
    );
  const dot = ref.resource.indexOf('.');
  const list = ref.resource.slice(0, dot);
  const resource = ref.resource.slice(dot + 1);
  if (list !== 'limits' && list !== 'requests')
    throw new AppError('UNSUPPORTED_FIELD', `resource ${ref.resource} is not supported`);
  const { limits, requests } = target.resources ?? {};
  const limit = quantityOf(limits, resource);
  if (list === 'requests')
    return dividedValue(requests?.[resource] === undefined ? limit : quantityOf(requests, resource), ref.divisor);
  const node: Record<string, number> = {
    cpu: place.allocatable.cpu,
    memory: place.allocatable.memory,
    'ephemeral-storage': place.allocatable.ephemeralStorage,
  };
  const value = limit || quantityOf(pod.spec.resources?.limits, resource) || (node[resource] ?? 0);
  return dividedValue(value, ref.divisor);
}

/** 0 for what is not said. */
function quantityOf(list: Readonly<Record<string, string | number>> | undefined, resource: string): number {
  const quantity = list?.[resource];
  return quantity === undefined ? 0 : quantityValue(quantity);
}
