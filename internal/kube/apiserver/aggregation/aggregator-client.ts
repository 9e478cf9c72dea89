import { utf8Text, concatBytes } from '../../../base/bytes.ts';
import type { Clock, Timer } from '../../../base/clock.ts';
import { errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { Random } from '../../../base/random.ts';
import { forwardingHeaders } from '../../auth/front-proxy.ts';
import type { UserInfo } from '../../auth/identity.ts';
import type { KindInfo } from '../../api/kinds.ts';
import { getPath, isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { isStatus, serviceUnavailable } from '../../machinery/status.ts';
import { Feed } from '../feed.ts';
import type { LiveKinds } from '../live-kinds.ts';
import { forward, type ProxyTarget } from '../proxy-client.ts';
import type { Registry } from '../registry.ts';
import type { Reply } from '../reply.ts';
import { RequestCaller } from '../request-caller.ts';
import { chooseEndpoint } from '../service-endpoint.ts';
import type { SelfCaller } from '../self-caller.ts';
import type { WatchHub } from '../watch-hub.ts';
import { type Fetched, KeptDocuments } from './kept-documents.ts';
import {
  type Availability,
  discoveredResources,
  localApiService,
  localAvailability,
  managedLabel,
  type RemoteApi,
  remoteOf,
} from './api-service.ts';

const collection = '/apis/apiregistration.k8s.io/v1/apiservices';
/** Between two looks at an extension server that answers, and at one that does not. */
const checkMs = 30_000;
const retryMs = 5_000;
const answerMs = 5_000;
const documentBytesMax = 16 * 1024 * 1024;

/** One version of a group that another server serves, for discovery. */
export interface RemoteVersion {
  readonly group: string;
  readonly version: string;
  readonly groupPriority: number;
  readonly versionPriority: number;
  readonly available: boolean;
  /** As APIGroupDiscoveryList has them; those of the last answer. */
  readonly resources: readonly JsonObject[];
}

interface Entry {
  object: JsonObject;
  readonly api: RemoteApi | undefined;
  available: Availability;
  resources: readonly JsonObject[];
  /** OpenAPI. */
  readonly documents: KeptDocuments | undefined;
  /** It was looked at, so `available` is this server's own word. */
  checked: boolean;
  timer: Timer | undefined;
}

export interface AggregatorOptions {
  readonly kind: KindInfo;
  readonly kinds: LiveKinds;
  readonly registry: Registry;
  readonly hub: WatchHub;
  readonly caller: SelfCaller;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Whether this server is the one that writes conditions: of several that do not see the same, each would write the other's over. */
  readonly writes: () => boolean;
  /** What this server shows to extension servers: a certificate of the request-header authority. */
  readonly client: () => { readonly cert: string; readonly key: string } | undefined;
}

/** The aggregation layer: APIServices, whether their servers answer, and requests passed on to them. */
export class Aggregator {
  readonly #options: AggregatorOptions;
  readonly #entries = new Map<string, Entry>();
  readonly #feed: Feed;
  #timer: Timer | undefined;
  #registered = -1;
  #revision = 0;
  #closed = false;

  constructor(options: AggregatorOptions) {
    this.#options = options;
    this.#feed = new Feed({
      ...options,
      handler: { set: (object) => this.#set(object), remove: (_, name) => this.#remove(name) },
    });
  }

  /** Resolves when what this server serves itself is registered. */
  async start(): Promise<void> {
    await this.#feed.start();
    await this.#register();
    this.#schedule();
  }

  /** Grows when discovery or documents of extension servers may have changed. */
  get revision(): number {
    return this.#revision;
  }

  #schedule(): void {
    if (this.#closed) return;
    this.#timer = this.#options.clock.after(1000, () => {
      this.#register()
        .then(() => this.#writeAll())
        .catch((error: unknown) => this.#options.log.warn('cannot register APIServices', { error: errorText(error) }))
        .finally(() => this.#schedule());
    });
  }

  /** What this server saw while another one wrote, or could not write. */
  async #writeAll(): Promise<void> {
    for (const [name, entry] of this.#entries) if (entry.checked) await this.#writeStatus(name, entry);
  }

  /** APIServices for what is served here: those of CustomResourceDefinitions come and go with them. */
  async #register(): Promise<void> {
    const { kinds, caller } = this.#options;
    if (this.#registered === kinds.revision) return;
    const revision = kinds.revision;
    const custom = new Set(kinds.custom.map((kind) => `${kind.version}.${kind.group}`));
    const wanted = new Map<string, JsonObject>();
    for (const { group, versions } of kinds.groups())
      for (const version of versions) {
        const name = `${version}.${group}`;
        // Upstream, too, has none of the aggregator's own group.
        if (group !== 'apiregistration.k8s.io') wanted.set(name, localApiService(group, version, custom.has(name)));
      }
    await Promise.all(
      [...wanted].map(async ([name, object]) => {
        if (!this.#entries.has(name)) await caller.ensure(collection, object);
      }),
    );
    for (const [name, { object }] of this.#entries)
      if (getPath(object, 'metadata', 'labels', managedLabel) === 'true' && !wanted.has(name))
        await caller.call('DELETE', `${collection}/${name}`).catch((error: unknown) => {
          if (!isStatus(error, 'NotFound')) throw error;
        });
    this.#registered = revision;
  }

  #set(object: JsonObject): void {
    const name = String(getPath(object, 'metadata', 'name'));
    const known = this.#entries.get(name);
    const generation = JSON.stringify(object.spec);
    if (known !== undefined && JSON.stringify(known.object.spec) === generation) {
      known.object = object;
      return;
    }
    known?.timer?.cancel();
    const api = remoteOf(object);
    const documents = api === undefined ? undefined : new KeptDocuments((path, etag) => this.#fetch(api, path, etag));
    const available = storedAvailability(object);
    const entry: Entry = { object, api, available, resources: [], documents, checked: false, timer: undefined };
    this.#entries.set(name, entry);
    this.#revision++;
    this.#check(name, entry);
  }

  #remove(name: string): void {
    this.#entries.get(name)?.timer?.cancel();
    this.#entries.delete(name);
    this.#revision++;
  }

  #check(name: string, entry: Entry): void {
    const current = (): boolean => !this.#closed && this.#entries.get(name) === entry;
    this.#availability(entry)
      .then(async (available) => {
        if (!current()) return;
        if (available.status !== entry.available.status) this.#revision++;
        entry.available = available;
        entry.checked = true;
        await this.#writeStatus(name, entry);
        if (available.status === 'True' && (await entry.documents?.refresh())) this.#revision++;
      })
      .catch((error: unknown) =>
        this.#options.log.debug('an APIService is not looked at in full', { name, error: errorText(error) }),
      )
      .finally(() => {
        if (entry.api === undefined || !current()) return;
        const ms = entry.available.status === 'True' ? checkMs : retryMs;
        entry.timer = this.#options.clock.after(ms, () => this.#check(name, entry));
      });
  }

  async #availability(entry: Entry): Promise<Availability> {
    const { api } = entry;
    if (api === undefined) return localAvailability;
    const { namespace, name } = api.service;
    const no = (reason: string, message: string): Availability => ({ status: 'False', reason, message });
    const found = await chooseEndpoint(this.#options, namespace, name, api.service.port);
    if (typeof found === 'string') {
      const messages = {
        ServiceNotFound: `service/${name} in "${namespace}" is not present`,
        ServicePortError: `service/${name} in "${namespace}" is not listening on port ${api.service.port}`,
        MissingEndpoints: `endpoints for service/${name} in "${namespace}" have no addresses`,
      };
      return no(found, messages[found]);
    }
    const path = `/apis/${api.group}/${api.version}`;
    try {
      const list = await this.#document(api, path);
      if (!isObject(list)) throw new Error('the answer is no object of JSON');
      const resources = discoveredResources(list, api.group, api.version);
      if (JSON.stringify(resources) !== JSON.stringify(entry.resources)) this.#revision++;
      entry.resources = resources;
    } catch (error) {
      const url = `https://${found.host}:${found.port}${path}`;
      return no('FailedDiscoveryCheck', `failing or missing response from ${url}: ${errorText(error)}`);
    }
    return { status: 'True', reason: 'Passed', message: 'all checks passed' };
  }

  async #writeStatus(name: string, entry: Entry): Promise<void> {
    if (!this.#options.writes()) return;
    const { available } = entry;
    if (sameAvailability(storedAvailability(entry.object), available)) return;
    await this.#options.caller.again(async () => {
      const live = await this.#options.caller.find(`${collection}/${name}`);
      if (live === undefined) return;
      const before = storedAvailability(live);
      if (sameAvailability(before, available)) return;
      const now = new Date(this.#options.clock.now()).toISOString().replace(/\.\d+Z$/, 'Z');
      const kept = conditionOf(live)?.lastTransitionTime;
      const lastTransitionTime = before.status === available.status && kept !== undefined ? kept : now;
      const status = { conditions: [{ type: 'Available', ...available, lastTransitionTime }] };
      await this.#options.caller.call('PUT', `${collection}/${name}/status`, { ...live, status });
    });
  }

  /** Who serves the path, when it is another server. */
  remote(path: string): RemoteApi | undefined {
    const match = /^\/apis\/([^/]+)\/([^/]+)(?:\/|$)/.exec(path);
    return match === null ? undefined : this.#entries.get(`${match[2]}.${match[1]}`)?.api;
  }

  /** All versions that other servers serve, the most important groups first. */
  versions(): RemoteVersion[] {
    const out: RemoteVersion[] = [];
    for (const { api, available, resources } of this.#entries.values())
      if (api !== undefined) {
        const { group, version, groupPriority, versionPriority } = api;
        out.push({ group, version, groupPriority, versionPriority, available: available.status === 'True', resources });
      }
    return out.sort(
      (a, b) =>
        b.groupPriority - a.groupPriority ||
        (a.group < b.group ? -1 : a.group > b.group ? 1 : b.versionPriority - a.versionPriority),
    );
  }

  /** Where a request of `user` goes. Throws 503. */
  async target(api: RemoteApi, path: string, user: UserInfo): Promise<ProxyTarget> {
    const entry = this.#entries.get(api.name);
    if (entry?.available.status !== 'True') throw serviceUnavailable('service unavailable');
    return this.#target(api, path, user);
  }

  async #target(api: RemoteApi, path: string, user: UserInfo): Promise<ProxyTarget> {
    const { namespace, name, port } = api.service;
    const found = await chooseEndpoint(this.#options, namespace, name, port);
    if (typeof found === 'string') throw serviceUnavailable(`no endpoints available for service "${name}"`);
    return {
      scheme: 'https',
      ...found,
      path,
      name: `${name}.${namespace}.svc`,
      trust: {
        ...(api.insecure ? { insecure: true } : api.ca === undefined ? {} : { ca: api.ca }),
        ...this.#options.client(),
      },
      headers: forwardingHeaders(user),
    };
  }

  /** Passes a request on. Throws 503. */
  async serve(
    api: RemoteApi,
    request: { method: string; path: string; headers: Headers; body: Uint8Array | undefined; user: UserInfo },
    caller: RequestCaller,
  ): Promise<Reply> {
    const target = await this.target(api, request.path, request.user);
    return forward(target, request.method, request.headers, request.body, caller);
  }

  /** A document of an extension server, as this server asks for it. Throws when there is none in time. */
  async #document(api: RemoteApi, path: string): Promise<Json> {
    const { status, body } = await this.#fetch(api, path, undefined);
    if (status !== 200) throw new Error(`bad status from the server: ${status}`);
    return JSON.parse(utf8Text(body)) as Json;
  }

  async #fetch(api: RemoteApi, path: string, etag: string | undefined): Promise<Fetched> {
    const target = await this.#target(api, path, { name: 'system:kube-aggregator', groups: ['system:masters'] });
    // One that begins an answer and never ends it must not keep a connection each time that it is looked at.
    const waiting = new RequestCaller();
    const timeout = Promise.withResolvers<never>();
    const late = this.#options.clock.after(answerMs, () => {
      timeout.reject(new Error(`no answer in ${answerMs} ms`));
      waiting.giveUp();
    });
    const whole = async (): Promise<Fetched> => {
      const headers = new Headers({ accept: 'application/json' });
      if (etag !== undefined) headers.set('if-none-match', etag);
      const reply = await forward(target, 'GET', headers, undefined, waiting);
      return { status: reply.status, etag: reply.headers.etag, body: await collected(reply, waiting) };
    };
    try {
      return await Promise.race([whole(), timeout.promise]);
    } finally {
      late.cancel();
    }
  }

  /** The OpenAPI document of a version that another server serves; undefined when there is none. */
  async openApiV3(path: string): Promise<Uint8Array | undefined> {
    const api = this.remote(`/${path}`);
    return api === undefined ? undefined : this.#openApi(api, `/openapi/v3/${path}`);
  }

  /** OpenAPI v2 documents of all servers that answer. */
  async openApiV2(): Promise<{ api: RemoteApi; document: Uint8Array }[]> {
    const found: { api: RemoteApi; document: Uint8Array }[] = [];
    for (const { api, available } of this.#entries.values()) {
      if (api === undefined || available.status !== 'True') continue;
      const document = await this.#openApi(api, '/openapi/v2');
      if (document !== undefined) found.push({ api, document });
    }
    return found;
  }

  async #openApi(api: RemoteApi, path: string): Promise<Uint8Array | undefined> {
    try {
      return await this.#entries.get(api.name)?.documents?.get(path);
    } catch (error) {
      this.#options.log.debug('an extension server has no OpenAPI', { name: api.name, path, error: errorText(error) });
      return undefined;
    }
  }

  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    for (const { timer } of this.#entries.values()) timer?.cancel();
    this.#feed.close();
  }
}

function conditionOf(object: JsonObject): JsonObject | undefined {
  const conditions = getPath(object, 'status', 'conditions');
  return Array.isArray(conditions) ? conditions.filter(isObject).find((one) => one.type === 'Available') : undefined;
}

function storedAvailability(object: JsonObject): Availability {
  const condition = conditionOf(object);
  const text = (value: Json | undefined): string => (typeof value === 'string' ? value : '');
  return {
    status: condition?.status === 'True' ? 'True' : condition?.status === 'False' ? 'False' : 'Unknown',
    reason: text(condition?.reason),
    message: text(condition?.message),
  };
}

function sameAvailability(a: Availability, b: Availability): boolean {
  return a.status === b.status && a.reason === b.reason && a.message === b.message;
}

/** The whole body of an answer, as long as somebody waits for it. */
function collected(reply: Reply, caller: RequestCaller): Promise<Uint8Array> {
  const { body } = reply;
  if (typeof body !== 'function') return Promise.resolve(concatBytes(body));
  return new Promise((resolve, reject) => {
    const pieces: Uint8Array[] = [];
    let size = 0;
    const stop = body({
      write(bytes) {
        size += bytes.length;
        if (size > documentBytesMax) {
          reject(new Error(`more than ${documentBytesMax} bytes`));
          stop();
        } else pieces.push(Uint8Array.from(bytes));
      },
      backlog: () => 0,
      end: () => resolve(concatBytes(pieces)),
      abort: () => reject(new Error('the answer broke off')),
    });
    caller.onGone(stop);
  });
}
