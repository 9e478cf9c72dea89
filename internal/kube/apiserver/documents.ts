/** Paths that are no resources: discovery, OpenAPI, version, health, keys of the token issuer. */
import type { OpenApiDocuments } from '../api/builtin.ts';
import type { JsonObject } from '../machinery/json.ts';
import { notAcceptable } from '../machinery/status.ts';
import type { RemoteVersion } from './aggregation/aggregator-client.ts';
import { mergedDiscovery, mergedGroup, mergedGroupList } from './aggregation/documents.ts';
import type { Core } from './context.ts';
import { aggregated, coreVersions, groupList, groupOf, resourceList, wantsAggregated } from './discovery.ts';
import { negotiate, parseAccept } from './negotiation.ts';
import { documentReply } from './render.ts';
import { jsonReply, type Reply, textReply } from './reply.ts';
import { pathNotFound } from './resources.ts';

export interface HealthCheck {
  readonly name: string;
  /** Empty when it is well, else why not. */
  check(): string | Promise<string>;
}

export interface DocumentOptions {
  readonly openapi: OpenApiDocuments;
  /** Versions of groups that other servers serve. */
  readonly remoteVersions?: (() => readonly RemoteVersion[]) | undefined;
  readonly checks: readonly HealthCheck[];
  /** `host:port` that clients reach this server by. */
  readonly serverAddress: string;
  /** Of this machine, in Go's words: `amd64`, `arm64`. */
  readonly architecture: string;
  metrics(): string;
}

export type Handler = (request: Request, url: URL) => Promise<Reply> | Reply;

/** The version of Kubernetes whose behaviour this is. Major and minor are digits only. */
const versionInfo = {
  major: '1',
  minor: '36',
  gitVersion: 'v1.36.0+appliance',
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '2026-04-22T00:00:00Z',
  goVersion: 'bun1.4.5',
  compiler: 'bun',
};

/** All checks together, which anyone may read: a failed one is named, its reason is only logged, as upstream. */
function health(core: Core, checks: readonly HealthCheck[], kind: string): Handler {
  return async (_request, url) => {
    const excluded = new Set(url.searchParams.getAll('exclude').flatMap((text) => text.split(',')));
    excluded.delete('');
    const lines: string[] = [];
    let well = true;
    for (const { name, check } of checks) {
      if (excluded.delete(name)) {
        lines.push(`[+]${name} excluded: ok`);
        continue;
      }
      const why = await check();
      if (why === '') lines.push(`[+]${name} ok`);
      else {
        well = false;
        lines.push(`[-]${name} failed: reason withheld`);
        core.log.debug(`${kind} check failed`, { check: name, reason: why });
      }
    }
    if (excluded.size > 0) {
      const unknown = [...excluded].map((name) => JSON.stringify(name)).join(',');
      lines.push(`warn: some health checks cannot be excluded: no matches for ${unknown}`);
    }
    if (well && !url.searchParams.has('verbose')) return textReply('ok');
    return textReply(`${lines.join('\n')}\n${kind} check ${well ? 'passed' : 'failed'}\n`, well ? 200 : 500);
  };
}

/** One check, for those who are allowed its path: they read why it fails. */
function oneCheck({ check }: HealthCheck): Handler {
  return async () => {
    const why = await check();
    return why === '' ? textReply('ok') : textReply(`internal server error: ${why}\n`, 500);
  };
}

/** The handler of a path, which ends without a slash. */
export function documentHandlers(core: Core, options: DocumentOptions): (path: string) => Handler | undefined {
  const { kinds } = core;
  const remote = (): readonly RemoteVersion[] => options.remoteVersions?.() ?? [];
  const document = (request: Request, value: JsonObject | undefined): Reply => {
    if (value === undefined) throw pathNotFound();
    const definition = `io.k8s.apimachinery.pkg.apis.meta.v1.${String(value.kind)}`;
    const form = negotiate(request.headers.get('accept'), false, { definition, source: core.schemas });
    return documentReply(value, form, 200, []);
  };
  const discover = (request: Request, isCore: boolean, old: () => JsonObject): Reply => {
    const wanted = wantsAggregated(request.headers.get('accept'));
    if (wanted === undefined) return document(request, old());
    const own = aggregated(kinds, isCore, wanted.version);
    const reply = jsonReply(isCore ? own : mergedDiscovery(own, remote()));
    reply.headers['content-type'] = wanted.contentType;
    reply.headers.vary = 'Accept';
    return reply;
  };
  /** Groups and versions come and go with CustomResourceDefinitions. */
  const groupHandler = (path: string): Handler | undefined => {
    const [api, first, second, ...more] = path.split('/').filter((part) => part !== '');
    if (more.length > 0 || first === undefined) return undefined;
    if (api === 'api')
      return second === undefined ? (request) => document(request, resourceList(kinds, '', first)) : undefined;
    if (api !== 'apis') return undefined;
    if (second === undefined)
      return (request) => document(request, mergedGroup(groupOf(kinds, first), first, remote()));
    return (request) => document(request, resourceList(kinds, first, second));
  };
  const groupDocumentPaths = (): string[] =>
    kinds.groups().flatMap(({ group, versions }) => {
      const root = group === '' ? '/api' : `/apis/${group}`;
      return [...(group === '' ? [] : [root]), ...versions.map((version) => `${root}/${version}`)];
    });
  const handlers: Record<string, Handler> = {
    '/api': (request) => discover(request, true, () => coreVersions(kinds, options.serverAddress)),
    '/apis': (request) => discover(request, false, () => mergedGroupList(groupList(kinds), remote())),
    '/version': () => jsonReply({ ...versionInfo, platform: `linux/${options.architecture}` }),
    '/metrics': () => ({
      status: 200,
      headers: { 'content-type': 'text/plain; version=0.0.4' },
      body: [Buffer.from(options.metrics())],
    }),
    '/openapi/v2': (request) => openapiV2(request, options.openapi),
    '/openapi/v3': async () => jsonReply(await options.openapi.v3Index()),
    '/.well-known/openid-configuration': () =>
      jsonReply({
        issuer: core.tokens.issuer,
        jwks_uri: `https://${options.serverAddress}/openid/v1/jwks`,
        response_types_supported: ['id_token'],
        subject_types_supported: ['public'],
        id_token_signing_alg_values_supported: ['ES256'],
      }),
    '/openid/v1/jwks': () => {
      const reply = jsonReply(core.tokens.jwks());
      reply.headers['content-type'] = 'application/jwk-set+json';
      return reply;
    },
  };
  for (const kind of ['healthz', 'livez', 'readyz']) {
    handlers[`/${kind}`] = health(core, options.checks, kind);
    for (const one of options.checks) handlers[`/${kind}/${one.name}`] = oneCheck(one);
  }
  handlers['/'] = () =>
    jsonReply({
      paths: [...Object.keys(handlers), ...groupDocumentPaths()].filter((path) => path !== '/').sort(),
    });
  return (path) => {
    if (Object.hasOwn(handlers, path)) return handlers[path];
    return groupHandler(path);
  };
}

/** `/openapi/v3/<path>`; undefined for another path. */
export async function openapiV3(path: string, openapi: OpenApiDocuments): Promise<Reply | undefined> {
  if (!path.startsWith('/openapi/v3/')) return undefined;
  const body = await openapi.v3Json(path.slice('/openapi/v3/'.length));
  if (body === undefined) throw pathNotFound();
  return { status: 200, headers: { 'content-type': 'application/json' }, body: [body] };
}

/** What clients ask for, and the valid media type that is answered, as upstream. */
const protobufV2 = [
  'application/com.github.proto-openapi.spec.v2@v1.0+protobuf',
  'application/com.github.proto-openapi.spec.v2.v1.0+protobuf',
];

async function openapiV2(request: Request, openapi: OpenApiDocuments): Promise<Reply> {
  const json = async (): Promise<Reply> => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: [await openapi.v2Json()],
  });
  const accept = request.headers.get('accept');
  if (accept === null || accept === '') return json();
  for (const { type } of parseAccept(accept)) {
    if (protobufV2.includes(type))
      return { status: 200, headers: { 'content-type': protobufV2[1]! }, body: [await openapi.v2Protobuf()] };
    if (type === 'application/json' || type === '*/*' || type === 'application/*') return json();
  }
  throw notAcceptable(['application/json', ...protobufV2]);
}
