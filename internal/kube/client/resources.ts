import type { ResourceRef } from './api.ts';

/** Names of the resources that our own consumers use. */
const core = (resource: string): ResourceRef => ({ group: '', version: 'v1', resource });
const grouped =
  (group: string) =>
  (resource: string): ResourceRef => ({ group, version: 'v1', resource });
const apps = grouped('apps');
const storage = grouped('storage.k8s.io');

export const podsRef = core('pods');
export const nodesRef = core('nodes');
export const servicesRef = core('services');
export const endpointsRef = core('endpoints');
export const namespacesRef = core('namespaces');
export const configMapsRef = core('configmaps');
export const secretsRef = core('secrets');
export const serviceAccountsRef = core('serviceaccounts');
export const persistentVolumesRef = core('persistentvolumes');
export const persistentVolumeClaimsRef = core('persistentvolumeclaims');
export const eventsRef = core('events');
export const deploymentsRef = apps('deployments');
export const replicaSetsRef = apps('replicasets');
export const statefulSetsRef = apps('statefulsets');
export const daemonSetsRef = apps('daemonsets');
export const controllerRevisionsRef = apps('controllerrevisions');
export const storageClassesRef = storage('storageclasses');
export const csiDriversRef = storage('csidrivers');
export const csiNodesRef = storage('csinodes');
export const leasesRef = grouped('coordination.k8s.io')('leases');
export const endpointSlicesRef = grouped('discovery.k8s.io')('endpointslices');
