import type { EndpointSlice, Service } from '../api/types.ts';
import type { KubeObject } from '../client/api.ts';
import { objectKey, splitKey } from '../client/informer.ts';
import { endpointSlicesRef, endpointsRef, podsRef, servicesRef } from '../client/resources.ts';
import { matchesLabels, selectorOfMap } from '../machinery/selectors.ts';
import { isStatus } from '../machinery/status.ts';
import type { ControllerContext } from './context.ts';
import { type EndpointFacts, type EndpointGroup, planEndpoints } from './endpoints-plan.ts';
import { ownerReference, type PodObject } from './pod-control.ts';
import { canonicalJson } from './revision.ts';

type ServiceObject = Service & KubeObject;
type Slice = EndpointSlice & KubeObject;

const serviceLabel = 'kubernetes.io/service-name';
const managedBy = 'endpointslice.kubernetes.io/managed-by';
const manager = 'endpointslice-controller.k8s.io';
const headlessLabel = 'service.kubernetes.io/headless';
/** Endpoints in one slice at most (upstream's maxEndpointsPerSlice), and in one Endpoints object. */
const maxPerSlice = 100;
const maxPerEndpoints = 1000;

/** Keeps EndpointSlices, and Endpoints for older consumers, of every service with a selector. */
export function endpointSliceController(context: ControllerContext): void {
  const { client } = context;
  const services = context.informers.of<ServiceObject>(servicesRef);
  const slices = context.informers.of<Slice>(endpointSlicesRef);
  const endpoints = context.informers.of<KubeObject>(endpointsRef);
  const pods = context.informers.of<PodObject>(podsRef);
  const queue = context.queue('endpoint-slices', reconcile);
  pods.index('namespace', (pod) => [pod.metadata.namespace!]);
  services.index('namespace', (service) => [service.metadata.namespace!]);
  slices.index('service', (slice) => [`${slice.metadata.namespace}/${slice.metadata.labels?.[serviceLabel] ?? ''}`]);
  const onService = (service: ServiceObject): void => queue.add(objectKey(service));
  services.handle({ onAdd: onService, onUpdate: onService, onDelete: onService });
  const onPod = (pod: PodObject): void => {
    for (const service of services.by('namespace', pod.metadata.namespace!))
      if (selects(service, pod)) queue.add(objectKey(service));
  };
  pods.handle({
    onAdd: onPod,
    onUpdate: (pod, before) => {
      onPod(pod);
      if (canonicalJson(pod.metadata.labels ?? {}) !== canonicalJson(before.metadata.labels ?? {})) onPod(before);
    },
    onDelete: onPod,
  });
  const onSlice = (slice: Slice): void => {
    if (slice.metadata.labels?.[managedBy] === manager)
      queue.add(`${slice.metadata.namespace}/${slice.metadata.labels[serviceLabel]}`);
  };
  slices.handle({ onUpdate: onSlice, onDelete: onSlice });
  endpoints.handle({ onDelete: (object) => queue.add(objectKey(object)) });

  async function reconcile(key: string): Promise<void> {
    const service = services.get(key);
    const own = slices.by('service', key).filter((slice) => slice.metadata.labels?.[managedBy] === manager);
    if (!service || service.metadata.deletionTimestamp || !hasSelector(service)) {
      for (const slice of own) await removeSlice(slice);
      if (!service && endpoints.get(key)) await removeEndpoints(key);
      return;
    }
    const groups = planEndpoints(
      service,
      pods.by('namespace', service.metadata.namespace!).filter((pod) => selects(service, pod)),
    );
    await syncSlices(service, own, groups);
    await syncEndpoints(service, groups);
  }

  async function syncSlices(
    service: ServiceObject,
    own: readonly Slice[],
    groups: readonly EndpointGroup[],
  ): Promise<void> {
    const wanted = groups.flatMap((group) =>
      chunks(group.endpoints, maxPerSlice).map((part) => sliceContent(service, group, part)),
    );
    if (wanted.length === 0) wanted.push(sliceContent(service, { ports: [], endpoints: [] }, []));
    const free = [...own];
    const missing: typeof wanted = [];
    for (const content of wanted) {
      const text = canonicalJson(content);
      const same = free.findIndex((slice) => canonicalJson(contentOf(slice)) === text);
      if (same >= 0) free.splice(same, 1);
      else missing.push(content);
    }
    for (const content of missing) {
      const reused = free.shift();
      if (reused)
        await client.update<Slice>(endpointSlicesRef, {
          ...reused,
          ...content,
          metadata: { ...reused.metadata, labels: content.labels },
        } as unknown as Slice);
      else
        await client.create<Slice>(endpointSlicesRef, {
          apiVersion: 'discovery.k8s.io/v1',
          kind: 'EndpointSlice',
          metadata: {
            name: '',
            generateName: `${service.metadata.name}-`,
            namespace: service.metadata.namespace!,
            labels: content.labels,
            ownerReferences: [ownerReference(service)],
          },
          addressType: content.addressType,
          endpoints: content.endpoints,
          ports: content.ports,
        } as unknown as Slice);
    }
    for (const slice of free) await removeSlice(slice);
  }

  async function syncEndpoints(service: ServiceObject, groups: readonly EndpointGroup[]): Promise<void> {
    const subsets = groups
      .map((group) => {
        const shown = group.endpoints.slice(0, maxPerEndpoints);
        const addresses = shown.filter((endpoint) => endpoint.ready).map(address);
        const notReadyAddresses = shown.filter((endpoint) => !endpoint.ready && !endpoint.terminating).map(address);
        return {
          ...(addresses.length > 0 ? { addresses } : {}),
          ...(notReadyAddresses.length > 0 ? { notReadyAddresses } : {}),
          ports: group.ports.map(({ name, ...port }) => ({ ...(name ? { name } : {}), ...port })),
        };
      })
      .filter((subset) => 'addresses' in subset || 'notReadyAddresses' in subset);
    const key = objectKey(service);
    const existing = endpoints.get(key) as (KubeObject & { subsets?: unknown[] }) | undefined;
    if (existing && canonicalJson(existing.subsets ?? []) === canonicalJson(subsets)) return;
    const labels = { ...service.metadata.labels, 'endpoints.kubernetes.io/managed-by': 'endpoint-controller' };
    if (existing) {
      const { subsets: _before, ...rest } = existing;
      await client.update(endpointsRef, { ...rest, metadata: { ...existing.metadata, labels }, subsets } as KubeObject);
      return;
    }
    try {
      await client.create(endpointsRef, {
        apiVersion: 'v1',
        kind: 'Endpoints',
        metadata: { name: service.metadata.name, namespace: service.metadata.namespace!, labels },
        subsets,
      } as KubeObject);
    } catch (error) {
      if (!isStatus(error, 'AlreadyExists') && !isTerminating(error)) throw error;
    }
  }

  async function removeSlice(slice: Slice): Promise<void> {
    try {
      await client.delete(endpointSlicesRef, slice.metadata.name, slice.metadata.namespace);
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
    }
  }
  async function removeEndpoints(key: string): Promise<void> {
    const { namespace, name } = splitKey(key);
    try {
      await client.delete(endpointsRef, name, namespace);
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
    }
  }
}

const isTerminating = (error: unknown): boolean =>
  isStatus(error, 'Forbidden') && /being terminated/.test(error.message);

function hasSelector(service: Service): boolean {
  return service.spec?.type !== 'ExternalName' && Object.keys(service.spec?.selector ?? {}).length > 0;
}

function selects(service: Service, pod: PodObject): boolean {
  return hasSelector(service) && matchesLabels(selectorOfMap(service.spec!.selector!), pod.metadata.labels);
}

function sliceContent(service: ServiceObject, group: EndpointGroup, endpoints: readonly EndpointFacts[]) {
  return {
    labels: {
      ...service.metadata.labels,
      [serviceLabel]: service.metadata.name,
      [managedBy]: manager,
      ...(service.spec?.clusterIP === 'None' ? { [headlessLabel]: '' } : {}),
    },
    addressType: 'IPv4',
    ports: group.ports.map((port) => ({ ...port })),
    endpoints: endpoints.map((endpoint) => ({
      addresses: [endpoint.ip],
      conditions: { ready: endpoint.ready, serving: endpoint.serving, terminating: endpoint.terminating },
      targetRef: { kind: 'Pod', namespace: endpoint.podNamespace, name: endpoint.podName, uid: endpoint.podUid },
      ...(endpoint.nodeName ? { nodeName: endpoint.nodeName } : {}),
      ...(endpoint.hostname ? { hostname: endpoint.hostname } : {}),
    })),
  };
}

function contentOf(slice: Slice) {
  return {
    labels: slice.metadata.labels,
    addressType: slice.addressType,
    ports: slice.ports ?? [],
    endpoints: slice.endpoints ?? [],
  };
}

function address(endpoint: EndpointFacts) {
  return {
    ip: endpoint.ip,
    ...(endpoint.hostname ? { hostname: endpoint.hostname } : {}),
    ...(endpoint.nodeName ? { nodeName: endpoint.nodeName } : {}),
    targetRef: { kind: 'Pod', namespace: endpoint.podNamespace, name: endpoint.podName, uid: endpoint.podUid },
  };
}

function chunks<T>(all: readonly T[], size: number): T[][] {
  const parts: T[][] = [];
  for (let at = 0; at < all.length; at += size) parts.push(all.slice(at, at + size));
  return parts;
}
