import type { Container as ApiContainer, Pod as ApiPod, LifecycleHandler, PodSpec } from '../api/types.ts';
import type { ObjectMeta, ResourceRef } from '../client/api.ts';

/** The resources that the node agent reads and writes. */
export const podsRef: ResourceRef = { group: '', version: 'v1', resource: 'pods' };
export const nodesRef: ResourceRef = { group: '', version: 'v1', resource: 'nodes' };
export const configMapsRef: ResourceRef = { group: '', version: 'v1', resource: 'configmaps' };
export const secretsRef: ResourceRef = { group: '', version: 'v1', resource: 'secrets' };
export const servicesRef: ResourceRef = { group: '', version: 'v1', resource: 'services' };
export const eventsRef: ResourceRef = { group: '', version: 'v1', resource: 'events' };
export const claimsRef: ResourceRef = { group: '', version: 'v1', resource: 'persistentvolumeclaims' };
export const volumesRef: ResourceRef = { group: '', version: 'v1', resource: 'persistentvolumes' };
export const serviceAccountsRef: ResourceRef = { group: '', version: 'v1', resource: 'serviceaccounts' };
export const leasesRef: ResourceRef = { group: 'coordination.k8s.io', version: 'v1', resource: 'leases' };
export const csiNodesRef: ResourceRef = { group: 'storage.k8s.io', version: 'v1', resource: 'csinodes' };
export const csiDriversRef: ResourceRef = { group: 'storage.k8s.io', version: 'v1', resource: 'csidrivers' };
export const endpointSlicesRef: ResourceRef = { group: 'discovery.k8s.io', version: 'v1', resource: 'endpointslices' };

/** A pod as the API gives it: its spec is always there. */
export interface Pod extends Omit<ApiPod, 'metadata'> {
  metadata: ObjectMeta;
  spec: PodSpec;
}

/** Init, main and ephemeral containers alike; `targetContainerName` is only on ephemeral ones. */
export interface Container extends ApiContainer {
  targetContainerName?: string;
}

/** What a probe or a hook does. Probes have no `sleep`, hooks have no `grpc`. */
export interface Handler extends LifecycleHandler {
  grpc?: { port: number; service?: string };
}

/** A container that keeps running beside the main ones (`restartPolicy: Always` on an init container, KEP-753). */
export function isSidecar(container: Container): boolean {
  return container.restartPolicy === 'Always';
}

export function initContainers(pod: Pod): readonly Container[] {
  return pod.spec.initContainers ?? [];
}

export function ephemeralContainers(pod: Pod): readonly Container[] {
  return pod.spec.ephemeralContainers ?? [];
}

/** Every container of the pod, init containers first. */
export function allContainers(pod: Pod): readonly Container[] {
  return [...initContainers(pod), ...pod.spec.containers, ...ephemeralContainers(pod)];
}

export function podUid(pod: Pod): string {
  return pod.metadata.uid ?? '';
}

export function podNamespace(pod: Pod): string {
  return pod.metadata.namespace ?? 'default';
}

/** `namespace/name`, for logs and errors. */
export function podKey(pod: Pod): string {
  return `${podNamespace(pod)}/${pod.metadata.name}`;
}

/** `name_namespace(uid)`, the form that users know from messages about a pod. */
export function podFullName(pod: Pod): string {
  return `${pod.metadata.name}_${podNamespace(pod)}(${podUid(pod)})`;
}

/** `restartPolicy`, whose default is Always. */
export function restartPolicy(pod: Pod): 'Always' | 'OnFailure' | 'Never' {
  return pod.spec.restartPolicy ?? 'Always';
}

/** Drops properties whose value is undefined, for objects whose optional properties must be absent instead. */
export function defined<T extends object>(object: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const out: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(object)) if (value !== undefined) out[key] = value;
  return out as { [K in keyof T]: Exclude<T[K], undefined> };
}
