/** Discovery and OpenAPI of extension servers beside those of this one. */
import { gunzipSync, gzipSync } from 'node:zlib';
import { utf8, utf8Text } from '../../../base/bytes.ts';
import type { OpenApiDocuments } from '../../api/builtin.ts';
import { encodeV2 } from '../../api/openapi/v2-protobuf.ts';
import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import type { Aggregator, RemoteVersion } from './aggregator-client.ts';
import { hashOf } from './kept-documents.ts';

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

/**
 * This server's documents and those of the servers behind APIServices, which are asked when somebody wants them. `revision` grows when this server's own may
 * have changed.
 */
export function aggregatedOpenApi(
  own: OpenApiDocuments,
  revision: () => number,
  aggregatorOf: () => Aggregator | undefined,
): OpenApiDocuments {
  // It begins after the rest of the server.
  const aggregator = {
    versions: () => aggregatorOf()?.versions() ?? [],
    openApiV2: async () => (await aggregatorOf()?.openApiV2()) ?? [],
    openApiV3: async (path: string) => aggregatorOf()?.openApiV3(path),
  };
  /** What was made of documents, compressed, as long as it is made of the same. */
  let made: { revision: number; of: Uint8Array[]; v2: Map<string, Uint8Array> } | undefined;
  /** Version 2 with what other servers have, in one of its encodings; undefined when they have nothing. */
  const merged = async (
    encoding: string,
    encode: (document: JsonObject) => Uint8Array,
  ): Promise<Uint8Array | undefined> => {
    const found = await aggregator.openApiV2();
    if (found.length === 0) return undefined;
    const of = found.map(({ document }) => document);
    const now = revision();
    if (made === undefined || made.revision !== now || !sameElements(made.of, of))
      made = { revision: now, of, v2: new Map() };
    const { v2 } = made;
    let packed = v2.get(encoding);
    if (packed === undefined) {
      const more = ownParts(found);
      const document = JSON.parse(utf8Text(await own.v2Json())) as JsonObject;
      // What both have (ObjectMeta and the like) stays this server's.
      const whole = {
        ...document,
        paths: { ...more.paths, ...(document.paths as JsonObject) },
        definitions: { ...more.definitions, ...(document.definitions as JsonObject) },
      };
      packed = gzipSync(encode(whole));
      v2.set(encoding, packed);
    }
    return gunzipSync(packed);
  };
  return {
    texts: () => own.texts(),
    async v2Json() {
      return (await merged('json', (document) => utf8(JSON.stringify(document)))) ?? own.v2Json();
    },
    async v2Protobuf() {
      return (await merged('protobuf', (document) => encodeV2(document as never))) ?? own.v2Protobuf();
    },
    async v3Index() {
      const index = await own.v3Index();
      const paths = { ...index.paths };
      const available = aggregator.versions().filter((one) => one.available);
      const remotePaths = available.map(({ group, version }) => `apis/${group}/${version}`);
      const documents = await Promise.all(remotePaths.map((path) => aggregator.openApiV3(path)));
      // Of a server that has only the older version clients read that.
      for (const [at, path] of remotePaths.entries()) {
        const document = documents[at];
        if (document !== undefined) paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hashOf(document)}` };
      }
      return { paths };
    },
    async v3Json(path) {
      return (await aggregator.openApiV3(path)) ?? own.v3Json(path);
    },
  };
}

interface RemoteParts {
  readonly paths: JsonObject;
  readonly definitions: JsonObject;
}

function sameElements(a: readonly Uint8Array[], b: readonly Uint8Array[]): boolean {
  return a.length === b.length && a.every((one, at) => one === b[at]);
}

function parsed(document: Uint8Array): JsonObject {
  try {
    const value = JSON.parse(utf8Text(document)) as Json;
    return isObject(value) ? value : {};
  } catch {
    // Of an extension server whose document is none, nothing is shown.
    return {};
  }
}

/** Of each document what its APIService is about, and the definitions. */
function ownParts(found: Awaited<ReturnType<Aggregator['openApiV2']>>): RemoteParts {
  const paths: JsonObject = {};
  const definitions: JsonObject = {};
  for (const { api, document: bytes } of found) {
    const document = parsed(bytes);
    const start = `/apis/${api.group}/${api.version}/`;
    for (const [path, item] of Object.entries(isObject(document.paths) ? document.paths : {}))
      if (path.startsWith(start) || path === `/apis/${api.group}/`) paths[path] = item;
    Object.assign(definitions, isObject(document.definitions) ? document.definitions : {});
  }
  return { paths, definitions };
}
