/**
 * One API server for the conformance tests of one area, reached over HTTPS with a client certificate as any client would be. The controllers that give
 * a namespace what pods need, and take it away again, run beside it.
 */
import { silentLogger } from '../../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../../internal/base/system.ts';
import { builtinKinds, builtinOpenApi } from '../../../internal/kube/api/builtin.ts';
import {
  adminClient,
  makeTestPki,
  startTestServer,
  type TestServer,
} from '../../../internal/kube/apiserver/testing.ts';
import { admissionPolicyStatusController } from '../../../internal/kube/controllers/admission-policy-status.ts';
import { runControllers } from '../../../internal/kube/controllers/context.ts';
import { startControllers } from '../../../internal/kube/controllers/index.ts';
import { namespaceController } from '../../../internal/kube/controllers/namespace.ts';
import { serviceAccountController } from '../../../internal/kube/controllers/service-account.ts';
import type { Status } from '../../../internal/kube/machinery/status.ts';
import { startScheduler } from '../../../internal/kube/scheduler/scheduler.ts';
import type { KeyPair } from '../../../internal/pki/certificates.ts';
import { Watching } from './watching.ts';

/** An object as it came over the wire. */
// biome-ignore lint/suspicious/noExplicitAny: answers of any kind are looked into
export type Any = any;

export interface Answer {
  readonly status: number;
  readonly body: Any;
  readonly headers: Headers;
}

export interface CallOptions {
  readonly type?: string;
  readonly accept?: string;
  /** Impersonated. */
  readonly as?: string;
}

export const patchTypes = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
  // YAML is a superset of JSON.
  apply: 'application/apply-patch+yaml',
} as const;
export type PatchType = keyof typeof patchTypes;

/** A request that was refused. */
export class Refusal extends Error {
  readonly status: Status;
  constructor(what: string, code: number, body: Any) {
    super(`${what}: ${code} ${typeof body === 'string' ? body : (body?.message ?? JSON.stringify(body))}`);
    this.status = body;
  }
}

/** The Status that `made` is refused with; fails when it is not. */
export async function refusal(made: Promise<unknown>): Promise<Status> {
  let value: unknown;
  try {
    value = await made;
  } catch (error) {
    if (error instanceof Refusal) return error.status;
    throw error;
  }
  throw new Error(`was not refused: ${JSON.stringify(value)}`);
}

/** Asks again until it holds; the last answer or error is told when it never does. */
export async function eventually<T>(
  what: string,
  check: () => Promise<T | undefined | false>,
  withinMs = 20_000,
): Promise<T> {
  const end = performance.now() + withinMs;
  let last: unknown;
  do {
    try {
      const value = await check();
      if (value !== undefined && value !== false) return value as T;
      last = value;
    } catch (error) {
      last = error;
    }
    await Bun.sleep(15);
  } while (performance.now() < end);
  throw new Error(`never: ${what}: ${String(last)}`);
}

let made = 0;
/** A name that no other test of the file has. */
export const unique = (prefix: string): string => `${prefix}-${(++made).toString(36)}`;

/** One resource, in a namespace or across all. Every method but `call` throws `Refusal` for an answer that is no success. */
export class Resource {
  readonly cluster: Cluster;
  readonly groupVersion: string;
  readonly plural: string;
  readonly namespace: string | undefined;

  constructor(cluster: Cluster, groupVersion: string, plural: string, namespace?: string) {
    this.cluster = cluster;
    this.groupVersion = groupVersion;
    this.plural = plural;
    this.namespace = namespace;
  }

  path(name?: string, subresource?: string): string {
    return [
      this.groupVersion.includes('/') ? `/apis/${this.groupVersion}` : `/api/${this.groupVersion}`,
      ...(this.namespace === undefined ? [] : ['namespaces', this.namespace]),
      this.plural,
      ...(name === undefined ? [] : [encodeURIComponent(name)]),
      ...(subresource === undefined ? [] : [subresource]),
    ].join('/');
  }

  /** The same in every namespace. */
  everywhere(): Resource {
    return new Resource(this.cluster, this.groupVersion, this.plural);
  }

  create(object: unknown, query = '', options?: CallOptions): Promise<Any> {
    return this.cluster.must('POST', this.path() + query, object, options);
  }
  get(name: string, subresource?: string): Promise<Any> {
    return this.cluster.must('GET', this.path(name, subresource));
  }
  list(query = ''): Promise<Any> {
    return this.cluster.must('GET', this.path() + query);
  }
  async names(query = ''): Promise<string[]> {
    return (await this.list(query)).items.map((item: Any) => item.metadata.name);
  }
  update(object: Any, subresource?: string): Promise<Any> {
    return this.cluster.must('PUT', this.path(object.metadata.name, subresource), object);
  }
  /** Reads, changes, writes, and does so again when somebody was faster. */
  async change(name: string, change: (object: Any) => void, subresource?: string): Promise<Any> {
    for (;;) {
      const object = await this.get(name);
      change(object);
      try {
        return await this.update(object, subresource);
      } catch (error) {
        if (!(error instanceof Refusal) || error.status.reason !== 'Conflict') throw error;
      }
    }
  }
  patch(name: string, type: PatchType, patch: unknown, subresource?: string, query?: string): Promise<Any> {
    const asked = query ?? (type === 'apply' ? '?fieldManager=conformance&force=true' : '');
    return this.cluster.must('PATCH', this.path(name, subresource) + asked, patch, { type: patchTypes[type] });
  }
  delete(name: string, options?: unknown): Promise<Any> {
    return this.cluster.must('DELETE', this.path(name), options);
  }
  deleteCollection(query: string): Promise<Any> {
    return this.cluster.must('DELETE', this.path() + query);
  }
  /** Whether a get says 404. */
  async gone(name: string): Promise<boolean> {
    const answer = await this.cluster.call('GET', this.path(name));
    if (answer.status !== 404 && answer.status !== 200) throw new Refusal(`get ${name}`, answer.status, answer.body);
    return answer.status === 404;
  }
  async watch(query: string): Promise<Watching> {
    return this.cluster.watch(`${this.path()}?watch=true${query}`);
  }
}

export class Cluster {
  readonly server: TestServer;
  readonly url: string;
  readonly #credentials: KeyPair;
  readonly #watches = new Set<Watching>();
  readonly #stop: () => Promise<void>;

  private constructor(server: TestServer, credentials: KeyPair, stop: () => Promise<void>) {
    this.server = server;
    this.url = `https://127.0.0.1:${server.listener!.port}`;
    this.#credentials = credentials;
    this.#stop = stop;
  }

  /** With `workloads` all controllers and the scheduler run; else those that every namespace needs. */
  static async start({ workloads = false } = {}): Promise<Cluster> {
    const pki = await makeTestPki();
    const server = await startTestServer({ port: 0, pki, openapi: builtinOpenApi });
    const shared = { client: adminClient(server), clock: systemClock, log: silentLogger, host: 'conformance' };
    const options = { ...shared, kinds: builtinKinds, random: systemRandom };
    const rootCa = pki.serverCa.cert;
    const running = workloads
      ? [
          startControllers({
            ...options,
            authorities: undefined,
            signToken: undefined,
            rootCa,
            podCIDR: '10.42.0.0/16',
            dnsPort: undefined,
            provisioners: [],
          }),
          startScheduler(shared),
        ]
      : [
          runControllers(
            [namespaceController, serviceAccountController(rootCa), admissionPolicyStatusController],
            options,
          ),
        ];
    return new Cluster(server, await pki.client('admin', 'system:masters'), async () => {
      for (const one of running) await one.stop();
    });
  }

  async close(): Promise<void> {
    for (const watch of this.#watches) await watch.close();
    await this.#stop();
    await this.server.close();
  }

  /** PEM texts of the administrator, for kubeconfigs. */
  get credentials(): KeyPair {
    return this.#credentials;
  }

  send(
    method: string,
    path: string,
    body?: unknown,
    options: CallOptions = {},
    signal?: AbortSignal,
  ): Promise<Response> {
    const raw = typeof body === 'string' || body instanceof Uint8Array;
    return fetch(`${this.url}${path}`, {
      method,
      headers: {
        accept: options.accept ?? 'application/json',
        'user-agent': 'conformance',
        ...(body === undefined ? {} : { 'content-type': options.type ?? 'application/json' }),
        ...(options.as === undefined ? {} : { 'impersonate-user': options.as }),
      },
      ...(body === undefined ? {} : { body: raw ? (body as string) : JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
      tls: { ca: this.server.pki.serverCa.cert, ...this.#credentials },
      timeout: false,
    } as RequestInit);
  }

  async call(method: string, path: string, body?: unknown, options?: CallOptions): Promise<Answer> {
    const response = await this.send(method, path, body, options);
    const text = await response.text();
    let parsed: unknown = text;
    try {
      parsed = JSON.parse(text);
    } catch {
      // Plain text.
    }
    return { status: response.status, body: parsed, headers: response.headers };
  }

  /** The body of a success; else throws `Refusal`. */
  async must(method: string, path: string, body?: unknown, options?: CallOptions): Promise<Any> {
    const answer = await this.call(method, path, body, options);
    if (answer.status >= 300) throw new Refusal(`${method} ${path}`, answer.status, answer.body);
    return answer.body;
  }

  async watch(path: string): Promise<Watching> {
    const abort = new AbortController();
    const response = await this.send('GET', path, undefined, {}, abort.signal);
    if (response.status !== 200) throw new Refusal(`watch ${path}`, response.status, await response.json());
    const watching = new Watching(response, abort);
    this.#watches.add(watching);
    return watching;
  }

  resource(groupVersion: string, plural: string, namespace?: string): Resource {
    return new Resource(this, groupVersion, plural, namespace);
  }

  /** A fresh namespace in which pods can be made. */
  async namespace(labels: Record<string, string> = {}): Promise<string> {
    const name = unique('test');
    await this.resource('v1', 'namespaces').create({
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name, labels: { 'pod-security.kubernetes.io/enforce': 'privileged', ...labels } },
    });
    await eventually('a namespace has its account and root certificate', async () => {
      const account = await this.resource('v1', 'serviceaccounts', name).gone('default');
      return !account && !(await this.resource('v1', 'configmaps', name).gone('kube-root-ca.crt'));
    });
    return name;
  }
}
