/** The request path: authentication, impersonation, authorization, limits, then documents or resources. A hono app over pure handlers. */
import { Hono } from 'hono';
import { type Random, uuid } from '../../base/random.ts';
import type { KindInfo } from '../api/kinds.ts';
import { authenticate, impersonate } from '../auth/authenticator.ts';
import { forbiddenText } from '../auth/authorizer.ts';
import { forwardedUser } from '../auth/front-proxy.ts';
import { type HeaderLines, joinedHeaderLines } from '../auth/header-lines.ts';
import type { Attributes, UserInfo } from '../auth/identity.ts';
import { badRequest, failure, forbidden } from '../machinery/status.ts';
import type { Aggregator } from './aggregation/aggregator-client.ts';
import type { AuditPolicy } from './audit/policy.ts';
import { type AuditSink, AuditTrail } from './audit/trail.ts';
import { emptyLog, connectTarget, type KubeletTarget } from './connect.ts';
import { type Core, readBody, type RequestContext } from './context.ts';
import { documentHandlers, type DocumentOptions, openapiV3 } from './documents.ts';
import type { AtRest } from './encryption/at-rest.ts';
import { encryptionPath } from './encryption/actions.ts';
import { serveEncryption } from './encryption/endpoint.ts';
import { FlowControl } from './flow-control/flow-control.ts';
import { worthOf } from './flow-control/width.ts';
import { Metrics } from './metrics.ts';
import { decodeProtobuf } from './protobuf/decode.ts';
import { proxyTarget } from './proxy.ts';
import { forward, type ProxyTarget } from './proxy-client.ts';
import { allowedMs, within } from './request-deadline.ts';
import { discard, errorStatus, type Reply, statusReply, textReply, toResponse } from './reply.ts';
import { RequestCaller } from './request-caller.ts';
import { parseRequest, type RequestInfo } from './request-info.ts';
import { pathNotFound, serveResource, subresourceOf } from './resources.ts';
import { bodySchema } from './write.ts';

/** What a transport passes with a request. */
export interface ApiEnv {
  /** Set by in-process callers: who they are. Never set it from anything that came over a network. */
  identity?: UserInfo;
  /** The user of a verified client certificate. */
  certificate?: UserInfo;
  /** The peer showed the certificate of a front proxy: headers say for whom it asks. */
  frontProxy?: boolean;
  /** The lines of the request's head as they came; without them those that the Request joined. */
  headerLines?: HeaderLines;
  /** The peer's address. */
  remote?: string;
  /** The transport writes the body itself: see `replyOf`. */
  raw?: boolean;
  /** Reads the body when it is wanted, after authentication, authorization and the limits on requests; without it the body is the Request's. Throws Statuses. */
  body?: () => Promise<Uint8Array>;
  /** Whether anybody waits for the answer; without it somebody does until the time of the request is over. */
  caller?: RequestCaller;
}

/** Paths beside the API on the same port; it authenticates by itself. Undefined for a path that is not its own. */
export type Extension = (request: Request, env: ApiEnv) => Promise<Response> | undefined;

/** Requests to kubelets. */
export interface NodeGateway {
  /** Both are broken off when nobody waits for the answer any more. */
  get(target: KubeletTarget, caller: RequestCaller): Promise<Reply>;
  forward(
    target: KubeletTarget,
    method: string,
    headers: Headers,
    body: Uint8Array | undefined,
    caller: RequestCaller,
  ): Promise<Reply>;
}

export interface AppOptions extends Omit<DocumentOptions, 'metrics'> {
  readonly core: Core;
  readonly nodes: NodeGateway;
  readonly atRest: AtRest;
  /** Groups that other servers serve. */
  readonly aggregator?: () => Aggregator | undefined;
  /** What is recorded of requests, and where. */
  readonly audit?: { readonly policy: AuditPolicy; readonly sink: AuditSink } | undefined;
}

/** Paths that must answer before anybody can be asked who may see them. */
const alwaysAllowed = new Set(['/healthz', '/livez', '/readyz']);

/** Subresources that may be open for hours. */
const longSubresources = new Set(['attach', 'exec', 'log', 'portforward', 'proxy']);

export interface Authorized {
  readonly info: RequestInfo;
  readonly user: UserInfo;
  readonly url: URL;
}

export class ApiApp {
  readonly #core: Core;
  readonly #nodes: NodeGateway;
  readonly #options: AppOptions;
  readonly #handlers: ReturnType<typeof documentHandlers>;
  readonly #hono = new Hono<{ Bindings: ApiEnv }>();
  readonly metrics = new Metrics();
  readonly flow: FlowControl;
  #extension: Extension | undefined;

  constructor(options: AppOptions) {
    this.#core = options.core;
    this.#nodes = options.nodes;
    this.#options = options;
    this.flow = new FlowControl(options.core.clock);
    this.#handlers = documentHandlers(options.core, { ...options, metrics: () => this.#metricsText() });
    this.#hono.all('*', async (c) =>
      toResponse(await this.#serve(c.req.raw, c.env), c.env.raw === true, c.req.raw.signal),
    );
  }

  /** Answers one request. In-process callers set `env.identity`; never throws. */
  fetch(request: Request, env: ApiEnv = {}): Promise<Response> {
    const beside = this.#extension?.(request, env);
    if (beside !== undefined) return beside;
    return Promise.resolve(this.#hono.fetch(request, env));
  }

  /** From now on `extension` answers what is its own. */
  extend(extension: Extension): void {
    this.#extension = extension;
  }

  #metricsText(): string {
    const { hub, registry } = this.#core;
    const status = registry.store.status();
    this.metrics.inflight = this.flow.executing;
    const gauges = this.metrics.text({
      apiserver_watchers: hub.subscribers,
      ...this.#options.audit?.sink.counts?.(),
      apiserver_store_revision: status.revision,
      apiserver_store_keys: status.keys,
      apiserver_store_database_bytes: status.databaseBytes,
      apiserver_store_written_bytes: status.bytesWritten,
    });
    return gauges + this.flow.metricsText();
  }

  async #serve(request: Request, env: ApiEnv): Promise<Reply> {
    const started = this.#core.clock.monotonic();
    let info: RequestInfo | undefined;
    let trail: AuditTrail | undefined;
    let reply: Reply;
    const headers: Record<string, string> = {};
    const id = auditId(request.headers, this.#core.random);
    try {
      const url = new URL(request.url);
      info = parseRequest(request.method, url.pathname, url.searchParams);
      if (info === undefined) throw badRequest('the path is not valid percent-encoding');
      trail = this.#trail(request, env, url, info, id);
      reply = await this.#answer(request, env, url, info, trail, headers);
    } catch (error) {
      const status = errorStatus(error, this.#core.log, `${request.method} ${request.url.slice(0, 300)}`);
      reply = statusReply(status);
    }
    if (trail !== undefined) reply = trail.answered(reply);
    // Callers in this process do not look for it.
    if (env.identity === undefined) Object.assign(reply.headers, headers, { 'audit-id': id });
    const known = info?.isResource === true && this.#kind(info) !== undefined;
    const seconds = (this.#core.clock.monotonic() - started) / 1000;
    this.metrics.count(info?.verb ?? '', known ? info!.group : '', known ? info!.resource : '', reply.status, seconds);
    return reply;
  }

  #trail(request: Request, env: ApiEnv, url: URL, info: RequestInfo, id: string): AuditTrail | undefined {
    const { audit } = this.#options;
    if (audit === undefined) return undefined;
    const uri = `${url.pathname}${url.search}`;
    return new AuditTrail(audit.policy, audit.sink, this.#core.clock, {
      id,
      uri,
      headers: request.headers,
      remote: env.remote,
      info,
    });
  }

  /** Who asks, and whether they may. Throws 401, 403. */
  async authorize(request: Request, env: ApiEnv, info: RequestInfo, trail?: AuditTrail): Promise<UserInfo> {
    const { tokens, tokenUser, authorizer } = this.#core;
    const lines = env.headerLines ?? joinedHeaderLines(request.headers);
    const forwarded = env.frontProxy === true ? forwardedUser(lines) : undefined;
    let who: UserInfo;
    try {
      who = await authenticate(
        {
          ...(env.identity === undefined ? {} : { identity: env.identity }),
          ...(env.certificate === undefined ? {} : { certificate: env.certificate }),
          ...(forwarded === undefined ? {} : { forwarded }),
          authorization: request.headers.get('authorization'),
        },
        tokens,
        tokenUser,
      );
    } catch (error) {
      trail?.authenticated(undefined);
      throw error;
    }
    trail?.authenticated(who);
    const user = await impersonate(who, lines, authorizer);
    if (user !== who) trail?.impersonates(user);
    if (alwaysAllowed.has(info.path)) return user;
    await this.#check(user, info, info.verb, trail);
    return user;
  }

  async #check(user: UserInfo, info: RequestInfo, verb: string, trail?: AuditTrail): Promise<void> {
    const attributes: Attributes = {
      user,
      verb,
      resourceRequest: info.isResource,
      group: info.group,
      version: info.version,
      resource: info.resource,
      subresource: info.subresource,
      namespace: info.namespace,
      name: info.name,
      path: info.path,
      fieldSelector: info.fieldSelector,
      labelSelector: info.labelSelector,
    };
    const decision = await this.#core.authorizer.authorize(attributes);
    trail?.authorized(decision.allowed, decision.reason);
    if (decision.allowed) return;
    const why = forbiddenText(attributes) + (decision.reason === '' ? '' : `: ${decision.reason}`);
    if (!info.isResource) throw failure(403, 'Forbidden', `forbidden: ${why}`, {});
    throw forbidden({ group: info.group, resource: info.resource }, info.name, why);
  }

  #kind(info: RequestInfo): RequestContext['kind'] | undefined {
    return this.#core.kinds.byResource(info.group, info.version, info.resource);
  }

  #context(
    request: Request,
    env: ApiEnv,
    url: URL,
    info: RequestInfo,
    user: UserInfo,
    trail: AuditTrail | undefined,
  ): RequestContext {
    const kind = this.#kind(info);
    if (kind === undefined) throw pathNotFound();
    let body: Promise<Uint8Array> | undefined;
    return {
      core: this.#core,
      info,
      kind,
      user,
      query: url.searchParams,
      headers: request.headers,
      body: () => (body ??= this.#body(request, env, kind, info, trail)),
      warnings: [],
      ...(trail === undefined ? {} : { annotate: (key, value, level) => trail.annotate(key, value, level) }),
    };
  }

  async #body(
    request: Request,
    env: ApiEnv,
    kind: KindInfo,
    info: RequestInfo,
    trail: AuditTrail | undefined,
  ): Promise<Uint8Array> {
    const bytes = await (env.body?.() ?? readBody(request));
    if (trail?.wantsRequest === true && info.subresource !== 'proxy') {
      const schema = bodySchema({ ...kind, ...(subresourceOf(kind, info.subresource) ?? {}) });
      trail.body(bytes, request.headers.get('content-type') ?? '', () =>
        decodeProtobuf(bytes, schema, this.#core.schemas),
      );
    }
    return bytes;
  }

  async #answer(
    request: Request,
    env: ApiEnv,
    url: URL,
    info: RequestInfo,
    trail: AuditTrail | undefined,
    headers: Record<string, string>,
  ): Promise<Reply> {
    // What runs long holds no seat; a watch has one until it is set up. Callers in this process are part of what has to go on.
    const free = env.identity !== undefined || longSubresources.has(info.subresource);
    const caller = env.caller ?? new RequestCaller();
    const admitted = (): Promise<Reply> => this.#admitted(request, env, url, info, trail, headers, free, caller);
    if (free || info.verb === 'watch') return admitted();
    return within(this.#core.clock, allowedMs(url.searchParams.get('timeout')), caller, admitted, discard);
  }

  /** `free`: beside the seats. */
  async #admitted(
    request: Request,
    env: ApiEnv,
    url: URL,
    info: RequestInfo,
    trail: AuditTrail | undefined,
    headers: Record<string, string>,
    free: boolean,
    caller: RequestCaller,
  ): Promise<Reply> {
    const user = await this.authorize(request, env, info, trail);
    const handle = (): Promise<Reply> => this.#handle(request, env, url, info, user, trail, caller);
    if (free) return handle();
    const found = this.flow.classify(user, info);
    headers['x-kubernetes-pf-flowschema-uid'] = found.schema.uid;
    headers['x-kubernetes-pf-prioritylevel-uid'] = found.level.uid;
    if (alwaysAllowed.has(info.path)) return handle();
    const worth = worthOf(info, url.searchParams, this.#core.registry.sizes);
    return this.flow.run(found, user, info, caller, handle, worth);
  }

  async #handle(
    request: Request,
    env: ApiEnv,
    url: URL,
    info: RequestInfo,
    user: UserInfo,
    trail: AuditTrail | undefined,
    caller: RequestCaller,
  ): Promise<Reply> {
    const remote = this.#options.aggregator?.()?.remote(info.path);
    if (remote !== undefined) {
      const bodyless = request.method === 'GET' || request.method === 'HEAD';
      const body = bodyless ? undefined : await (env.body?.() ?? readBody(request));
      const path = `${url.pathname}${url.search}`;
      const passed = { method: request.method, path, headers: request.headers, body, user };
      return this.#options.aggregator!()!.serve(remote, passed, caller);
    }
    if (!info.isResource) {
      const path = info.path.length > 1 && info.path.endsWith('/') ? info.path.slice(0, -1) : info.path;
      if (path.startsWith(encryptionPath))
        return serveEncryption(this.#options.atRest, path, request.method, () => env.body?.() ?? readBody(request));
      const handler = this.#handlers(path);
      if (request.method !== 'GET' && request.method !== 'HEAD')
        throw handler === undefined
          ? pathNotFound()
          : failure(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});
      if (handler !== undefined) return handler(request, url);
      const document = await openapiV3(path, this.#options.openapi);
      if (document === undefined) throw pathNotFound();
      return document;
    }
    return serveResource(this.#context(request, env, url, info, user, trail), async (context) => {
      if (info.subresource === 'proxy') return this.#proxy(request, url, context, caller);
      if (info.subresource !== 'log') throw badRequest('Upgrade request required');
      if (info.verb !== 'get')
        throw failure(405, 'MethodNotAllowed', 'the server does not allow this method on the requested resource', {});
      const target = await connectTarget(context);
      return target === emptyLog ? textReply('') : this.#nodes.get(target, caller);
    });
  }

  async #proxy(request: Request, url: URL, context: RequestContext, caller: RequestCaller): Promise<Reply> {
    const { info } = context;
    // Relative links of the page behind need the slash.
    if (info.rest === '' && request.method === 'GET' && !url.pathname.endsWith('/'))
      return { status: 301, headers: { location: `${url.pathname}/${url.search}` }, body: [] };
    const target = await proxyTarget(context);
    const bodyless = request.method === 'GET' || request.method === 'HEAD';
    const body = bodyless ? undefined : await context.body();
    if ('node' in target) return this.#nodes.forward(target, request.method, request.headers, body, caller);
    return forward(target, request.method, request.headers, body, caller);
  }

  /**
   * Where an upgraded connection (exec, attach, portforward over SPDY or WebSocket) has to go, after the same checks as any request. A Reply is the
   * refusal. Running something in a pod needs `create`, whatever the method (KEP-4006: WebSockets come as GET).
   */
  async upgradeTarget(
    request: Request,
    env: ApiEnv,
    closed: (ended: () => void) => void,
  ): Promise<KubeletTarget | ProxyTarget | Reply> {
    let trail: AuditTrail | undefined;
    try {
      const url = new URL(request.url);
      const info = parseRequest(request.method, url.pathname, url.searchParams);
      if (info === undefined) throw badRequest('the path is not valid percent-encoding');
      trail = this.#trail(request, env, url, info, auditId(request.headers, this.#core.random));
      const user = await this.authorize(request, env, info, trail);
      const aggregator = this.#options.aggregator?.();
      const remote = aggregator?.remote(info.path);
      if (remote !== undefined) {
        const to = await aggregator!.target(remote, `${url.pathname}${url.search}`, user);
        trail?.switched();
        closed(() => trail?.complete(101));
        return to;
      }
      if (!info.isResource || !upgradable.has(info.subresource)) throw badRequest('this path does not upgrade');
      if (info.verb === 'get' && info.subresource !== 'proxy') await this.#check(user, info, 'create', trail);
      const context = this.#context(request, env, url, info, user, trail);
      if (subresourceOf(context.kind, info.subresource) === undefined) throw pathNotFound();
      const target = info.subresource === 'proxy' ? await proxyTarget(context) : await connectTarget(context);
      if (target === emptyLog) return textReply('');
      trail?.switched();
      closed(() => trail?.complete(101));
      return target;
    } catch (error) {
      const reply = statusReply(errorStatus(error, this.#core.log, `upgrade ${request.url.slice(0, 300)}`));
      return trail?.answered(reply) ?? reply;
    }
  }
}

/** What the client calls the request by in its own records, or a name for it (`Audit-ID`). */
function auditId(headers: Headers, random: Random): string {
  const given = headers.get('audit-id') ?? '';
  return /^[\x21-\x7e]{1,64}$/.test(given) ? given : uuid(random);
}

const upgradable = new Set(['exec', 'attach', 'portforward', 'proxy']);
