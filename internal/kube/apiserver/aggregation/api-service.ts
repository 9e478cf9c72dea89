/** What an APIService says (apiregistration.k8s.io/v1): which group and version, by whom it is served, and how it stands among others. */
import { getPath, isObject, type JsonObject } from '../../machinery/json.ts';

export interface RemoteApi {
  readonly name: string;
  readonly group: string;
  readonly version: string;
  readonly groupPriority: number;
  readonly versionPriority: number;
  readonly service: { readonly namespace: string; readonly name: string; readonly port: number };
  /** PEM of the authority that signed the server's certificate; undefined with `insecure`: any certificate is taken. Else the system's authorities. */
  readonly ca: string | undefined;
  readonly insecure: boolean;
}

/** The Available condition of an APIService. */
export interface Availability {
  readonly status: 'True' | 'False' | 'Unknown';
  readonly reason: string;
  readonly message: string;
}

export const localAvailability: Availability = {
  status: 'True',
  reason: 'Local',
  message: 'Local APIServices are always available',
};

/** Undefined for an APIService that this server serves itself. */
export function remoteOf(object: JsonObject): RemoteApi | undefined {
  const spec = isObject(object.spec) ? object.spec : {};
  const { service } = spec;
  if (!isObject(service)) return undefined;
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  const caBundle = text(spec.caBundle);
  return {
    name: text(getPath(object, 'metadata', 'name')),
    group: text(spec.group),
    version: text(spec.version),
    groupPriority: Number(spec.groupPriorityMinimum ?? 0),
    versionPriority: Number(spec.versionPriority ?? 0),
    service: { namespace: text(service.namespace), name: text(service.name), port: Number(service.port ?? 443) },
    ca: caBundle === '' ? undefined : Buffer.from(caBundle, 'base64').toString('utf8'),
    insecure: spec.insecureSkipTLSVerify === true,
  };
}

/** Priorities of the built-in groups (kubernetes/pkg/controlplane/apiserver/aggregator.go, DefaultGenericAPIServicePriorities and those beside it). */
const priorities: Readonly<Record<string, readonly [group: number, version: number]>> = {
  '/v1': [18000, 1],
  'apps/v1': [17800, 15],
  'events.k8s.io/v1': [17750, 15],
  'authentication.k8s.io/v1': [17700, 15],
  'authorization.k8s.io/v1': [17600, 15],
  'autoscaling/v1': [17500, 15],
  'autoscaling/v2': [17500, 30],
  'batch/v1': [17400, 15],
  'certificates.k8s.io/v1': [17300, 15],
  'networking.k8s.io/v1': [17200, 15],
  'policy/v1': [17100, 15],
  'rbac.authorization.k8s.io/v1': [17000, 15],
  'storage.k8s.io/v1': [16800, 15],
  'apiextensions.k8s.io/v1': [16700, 15],
  'admissionregistration.k8s.io/v1': [16700, 15],
  'scheduling.k8s.io/v1': [16600, 15],
  'coordination.k8s.io/v1': [16500, 15],
  'node.k8s.io/v1': [16300, 15],
  'discovery.k8s.io/v1': [16200, 15],
  'flowcontrol.apiserver.k8s.io/v1': [16100, 21],
  'resource.k8s.io/v1': [15900, 20],
};

export const managedLabel = 'kube-aggregator.kubernetes.io/automanaged';

/** The APIService of a group and version that is served here. `custom`: by a CustomResourceDefinition, with which it goes. */
export function localApiService(group: string, version: string, custom: boolean): JsonObject {
  const [groupPriorityMinimum, versionPriority] = priorities[`${group}/${version}`] ?? [1000, 100];
  return {
    apiVersion: 'apiregistration.k8s.io/v1',
    kind: 'APIService',
    metadata: { name: `${version}.${group}`, labels: { [managedLabel]: custom ? 'true' : 'onstart' } },
    spec: { ...(group === '' ? {} : { group }), version, groupPriorityMinimum, versionPriority },
  };
}

/** Resources of a legacy APIResourceList as APIGroupDiscoveryList has them. */
export function discoveredResources(list: JsonObject, group: string, version: string): JsonObject[] {
  const out = new Map<string, JsonObject>();
  const resources = Array.isArray(list.resources) ? list.resources.filter(isObject) : [];
  const responseKind = (one: JsonObject): JsonObject => ({
    group: one.group ?? group,
    version: one.version ?? version,
    kind: one.kind ?? '',
  });
  for (const one of resources) {
    const name = String(one.name);
    if (name.includes('/')) continue;
    out.set(name, {
      resource: name,
      responseKind: responseKind(one),
      scope: one.namespaced === true ? 'Namespaced' : 'Cluster',
      singularResource: one.singularName ?? '',
      verbs: one.verbs ?? [],
      ...(one.shortNames === undefined ? {} : { shortNames: one.shortNames }),
      ...(one.categories === undefined ? {} : { categories: one.categories }),
    });
  }
  for (const one of resources) {
    const [parent, subresource] = String(one.name).split('/', 2);
    const owner = subresource === undefined ? undefined : out.get(parent!);
    if (owner === undefined || subresource === undefined) continue;
    const more = { subresource, responseKind: responseKind(one), verbs: one.verbs ?? [] };
    owner.subresources = [...(Array.isArray(owner.subresources) ? owner.subresources : []), more];
  }
  return [...out.values()];
}
