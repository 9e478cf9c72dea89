/** Discovery and OpenAPI of extension servers beside those of this one. */
import { createHash } from 'node:crypto';
import { utf8, utf8Text } from '../../../base/bytes.ts';
import type { OpenApiDocuments } from '../../api/builtin.ts';
import { encodeV2 } from '../../api/openapi/v2-protobuf.ts';
import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import type { Aggregator, RemoteVersion } from './aggregator-client.ts';

const groupVersion = (group: string, version: string): JsonObject => ({ groupVersion: `${group}/${version}`, version });

function byGroup(versions: readonly RemoteVersion[]): Map<string, RemoteVersion[]> {
  const groups = new Map<string, RemoteVersion[]>();
  for (const one of versions) groups.set(one.group, [...(groups.get(one.group) ?? []), one]);
  return groups;
}

/** The APIGroup of a name, with versions of other servers; undefined when there is none. */
export function mergedGroup(
  own: JsonObject | undefined,
  name: string,
  remote: readonly RemoteVersion[],
): JsonObject | undefined {
  const more = remote.filter(({ group }) => group === name).map(({ group, version }) => groupVersion(group, version));
  if (more.length === 0) return own;
  const before = own !== undefined && Array.isArray(own.versions) ? own.versions : [];
  const versions = [...before, ...more];
  return { kind: 'APIGroup', apiVersion: 'v1', name, versions, preferredVersion: versions[0]! };
}

/** An APIGroupList with the groups of other servers. */
export function mergedGroupList(own: JsonObject, remote: readonly RemoteVersion[]): JsonObject {
  if (remote.length === 0) return own;
  const bare = ({ kind: _kind, apiVersion: _apiVersion, ...group }: JsonObject): JsonObject => group;
  const groups = (Array.isArray(own.groups) ? own.groups : []).filter(isObject);
  const names = new Set(groups.map(({ name }) => String(name)));
  const merged = groups.map((group) => bare(mergedGroup(group, String(group.name), remote)!));
  const others = [...byGroup(remote).keys()].filter((name) => !names.has(name));
  return { ...own, groups: [...merged, ...others.map((name) => bare(mergedGroup(undefined, name, remote)!))] };
}

/** An APIGroupDiscoveryList with the groups of other servers; what a server that does not answer had is stale. */
export function mergedDiscovery(own: JsonObject, remote: readonly RemoteVersion[]): JsonObject {
  if (remote.length === 0) return own;
  const items = (Array.isArray(own.items) ? own.items : []).filter(isObject);
  const discovered = ({ version, available, resources }: RemoteVersion): JsonObject => ({
    version,
    freshness: available ? 'Current' : 'Stale',
    resources: [...resources],
  });
  const merged = [...items];
  for (const [group, versions] of byGroup(remote)) {
    const at = merged.findIndex((item) => isObject(item.metadata) && item.metadata.name === group);
    const more = versions.map(discovered);
    if (at < 0) merged.push({ metadata: { name: group, creationTimestamp: null }, versions: more });
    else merged[at] = { ...merged[at]!, versions: [...((merged[at]!.versions as Json[] | undefined) ?? []), ...more] };
  }
  return { ...own, items: merged };
}

/** This server's documents and those of the servers behind APIServices, which are asked when somebody wants them. */
export function aggregatedOpenApi(own: OpenApiDocuments, aggregatorOf: () => Aggregator | undefined): OpenApiDocuments {
  // It begins after the rest of the server.
  const aggregator = {
    get revision() {
      return aggregatorOf()?.revision ?? 0;
    },
    versions: () => aggregatorOf()?.versions() ?? [],
    openApiV2: async () => (await aggregatorOf()?.openApiV2()) ?? [],
    openApiV3: async (path: string) => aggregatorOf()?.openApiV3(path),
  };
  let kept: { revision: number; more: Promise<{ paths: JsonObject; definitions: JsonObject } | undefined> } | undefined;
  const remoteV2 = (): Promise<{ paths: JsonObject; definitions: JsonObject } | undefined> => {
    if (kept?.revision !== aggregator.revision) {
      const more = aggregator.openApiV2().then((found) => (found.length === 0 ? undefined : ownParts(found)));
      kept = { revision: aggregator.revision, more };
    }
    return kept.more;
  };
  const mergedV2 = async (): Promise<JsonObject | undefined> => {
    if (aggregator.versions().length === 0) return undefined;
    const more = await remoteV2();
    if (more === undefined) return undefined;
    const document = JSON.parse(utf8Text(await own.v2Json())) as JsonObject;
    // What both have (ObjectMeta and the like) stays this server's.
    return {
      ...document,
      paths: { ...more.paths, ...(document.paths as JsonObject) },
      definitions: { ...more.definitions, ...(document.definitions as JsonObject) },
    };
  };
  return {
    texts: () => own.texts(),
    async v2Json() {
      const merged = await mergedV2();
      return merged === undefined ? own.v2Json() : utf8(JSON.stringify(merged));
    },
    async v2Protobuf() {
      const merged = await mergedV2();
      return merged === undefined ? own.v2Protobuf() : encodeV2(merged as never);
    },
    async v3Index() {
      const index = await own.v3Index();
      const paths = { ...index.paths };
      for (const { group, version, available, resources } of aggregator.versions()) {
        if (!available) continue;
        const marks = JSON.stringify([aggregator.revision, resources]);
        const hash = createHash('sha256').update(marks).digest('hex').toUpperCase();
        paths[`apis/${group}/${version}`] = { serverRelativeURL: `/openapi/v3/apis/${group}/${version}?hash=${hash}` };
      }
      return { paths };
    },
    async v3Json(path) {
      const remote = await aggregator.openApiV3(path);
      return remote === undefined ? own.v3Json(path) : utf8(JSON.stringify(remote));
    },
  };
}

/** Of each document what its APIService is about, and the definitions. */
function ownParts(found: Awaited<ReturnType<Aggregator['openApiV2']>>): { paths: JsonObject; definitions: JsonObject } {
  const paths: JsonObject = {};
  const definitions: JsonObject = {};
  for (const { api, document } of found) {
    const start = `/apis/${api.group}/${api.version}/`;
    for (const [path, item] of Object.entries(isObject(document.paths) ? document.paths : {}))
      if (path.startsWith(start) || path === `/apis/${api.group}/`) paths[path] = item;
    Object.assign(definitions, isObject(document.definitions) ? document.definitions : {});
  }
  return { paths, definitions };
}
