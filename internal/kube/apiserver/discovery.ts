/** /api, /apis and below: what this server serves, in the old form and aggregated (KEP-3352). */
import { apiVersionOf, type KindInfo, type KindTable } from '../api/kinds.ts';
import type { JsonObject } from '../machinery/json.ts';
import { parseAccept } from './negotiation.ts';

function groupVersion(group: string, version: string): JsonObject {
  return { groupVersion: apiVersionOf({ group, version }), version };
}

function groupDocument(group: string, versions: readonly string[]): JsonObject {
  return {
    name: group,
    versions: versions.map((version) => groupVersion(group, version)),
    preferredVersion: groupVersion(group, versions[0]!),
  };
}

/** GET /api */
export function coreVersions(kinds: KindTable, serverAddress: string): JsonObject {
  const versions = kinds.groups().find(({ group }) => group === '')?.versions ?? [];
  return {
    kind: 'APIVersions',
    versions: [...versions],
    serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress }],
  };
}

/** GET /apis */
export function groupList(kinds: KindTable): JsonObject {
  return {
    kind: 'APIGroupList',
    apiVersion: 'v1',
    groups: kinds
      .groups()
      .filter(({ group }) => group !== '')
      .map(({ group, versions }) => groupDocument(group, versions)),
  };
}

/** GET /apis/<group> */
export function groupOf(kinds: KindTable, name: string): JsonObject | undefined {
  const found = kinds.groups().find(({ group }) => group === name && group !== '');
  return found === undefined
    ? undefined
    : { kind: 'APIGroup', apiVersion: 'v1', ...groupDocument(name, found.versions) };
}

const storageHashes = new Map<string, string>();

/** Identifies the stored form; clients only compare it. */
function storageVersionHash(kind: KindInfo): string {
  const text = `${kind.storage?.group ?? kind.group}/${kind.version}/${kind.kind}`;
  let hash = storageHashes.get(text);
  if (hash === undefined) {
    let a = 0x811c9dc5;
    let b = 0x01000193;
    for (let i = 0; i < text.length; i++) {
      a = Math.imul(a ^ text.charCodeAt(i), 0x01000193) >>> 0;
      b = Math.imul(b + text.charCodeAt(i) + 1, 0x85ebca6b) >>> 0;
    }
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32BE(a, 0);
    bytes.writeUInt32BE(b, 4);
    hash = bytes.toString('base64');
    storageHashes.set(text, hash);
  }
  return hash;
}

/** GET /api/v1, /apis/<group>/<version> */
export function resourceList(kinds: KindTable, group: string, version: string): JsonObject | undefined {
  const list = kinds.all.filter((kind) => kind.group === group && kind.version === version);
  if (list.length === 0) return undefined;
  const resources: JsonObject[] = [];
  for (const kind of list) {
    resources.push({
      name: kind.plural,
      singularName: kind.singular,
      namespaced: kind.namespaced,
      kind: kind.kind,
      verbs: [...kind.verbs],
      ...(kind.shortNames.length === 0 ? {} : { shortNames: [...kind.shortNames] }),
      ...(kind.categories.length === 0 ? {} : { categories: [...kind.categories] }),
      ...(kind.virtual ? {} : { storageVersionHash: storageVersionHash(kind) }),
    });
    for (const [name, subresource] of Object.entries(kind.subresources)) {
      resources.push({
        name: `${kind.plural}/${name}`,
        singularName: '',
        namespaced: kind.namespaced,
        ...(subresource.version === undefined ? {} : { group: subresource.group ?? '', version: subresource.version }),
        kind: subresource.kind,
        verbs: [...subresource.verbs],
      });
    }
  }
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: apiVersionOf({ group, version }), resources };
}

export interface AggregatedForm {
  readonly version: 'v2' | 'v2beta1';
  readonly contentType: string;
}

/** Whether the client prefers aggregated discovery, and which version of it. */
export function wantsAggregated(accept: string | null): AggregatedForm | undefined {
  for (const { type, parameters } of parseAccept(accept ?? '')) {
    if (type !== 'application/json') continue;
    if (parameters.as === undefined) return undefined;
    if (parameters.g !== 'apidiscovery.k8s.io' || parameters.as !== 'APIGroupDiscoveryList') continue;
    if (parameters.v !== 'v2' && parameters.v !== 'v2beta1') continue;
    return {
      version: parameters.v,
      contentType: `application/json;g=apidiscovery.k8s.io;v=${parameters.v};as=APIGroupDiscoveryList`,
    };
  }
  return undefined;
}

/** GET /api (`core`) or /apis as APIGroupDiscoveryList. */
export function aggregated(kinds: KindTable, core: boolean, version: 'v2' | 'v2beta1'): JsonObject {
  const groups = kinds.groups().filter(({ group }) => (group === '') === core);
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: groups.map(({ group, versions }) => ({
      metadata: { ...(group === '' ? {} : { name: group }), creationTimestamp: null },
      versions: versions.map((one) => ({
        version: one,
        freshness: 'Current',
        resources: kinds.all
          .filter((kind) => kind.group === group && kind.version === one)
          .map((kind) => discoveredResource(kind)),
      })),
    })),
  };
}

function discoveredResource(kind: KindInfo): JsonObject {
  const gvk = (group: string, version: string, name: string): JsonObject => ({ group, version, kind: name });
  const subresources = Object.entries(kind.subresources).map(([name, sub]) => ({
    subresource: name,
    responseKind: gvk(sub.group ?? kind.group, sub.version ?? kind.version, sub.kind),
    verbs: [...sub.verbs],
  }));
  return {
    resource: kind.plural,
    responseKind: gvk(kind.group, kind.version, kind.kind),
    scope: kind.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: kind.singular,
    verbs: [...kind.verbs],
    ...(kind.shortNames.length === 0 ? {} : { shortNames: [...kind.shortNames] }),
    ...(kind.categories.length === 0 ? {} : { categories: [...kind.categories] }),
    ...(subresources.length === 0 ? {} : { subresources }),
  };
}
