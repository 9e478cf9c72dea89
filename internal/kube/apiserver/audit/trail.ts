/** Audit events (audit.k8s.io/v1 Event) of one request, from what its handlers tell. */
import { concatBytes, utf8Text } from '../../../base/bytes.ts';
import type { Clock } from '../../../base/clock.ts';
import type { UserInfo } from '../../auth/identity.ts';
import { isObject, type Json, type JsonObject } from '../../machinery/json.ts';
import { parseYaml } from '../../machinery/yaml-text.ts';
import type { Reply, ReplySink } from '../reply.ts';
import type { RequestInfo } from '../request-info.ts';
import { type AuditDecision, type AuditPolicy, type AuditStage, decide } from './policy.ts';

/** Takes events, a line of JSON each. Never waits: what does not fit is counted and dropped. */
export interface AuditSink {
  write(line: string): void;
  /** For /metrics: what was recorded and what was lost. */
  counts?(): Record<string, number>;
}

/** Larger bodies are left out of an event. */
export const auditBodyBytesMax = 512 * 1024;
const truncated = 'audit.k8s.io/truncated';

/** What of a request is known before anybody is asked who it is from. */
export interface AuditRequest {
  readonly id: string;
  readonly uri: string;
  readonly headers: Headers;
  readonly remote: string | undefined;
  readonly info: RequestInfo;
}

/** The record of one request. Nothing is recorded before `authenticated`. */
export class AuditTrail {
  readonly #policy: AuditPolicy;
  readonly #sink: AuditSink;
  readonly #clock: Clock;
  readonly #request: AuditRequest;
  readonly #received: number;
  #decision: AuditDecision | undefined;
  #user: UserInfo | undefined;
  #impersonated: UserInfo | undefined;
  readonly #annotations: Record<string, string> = {};
  #requestObject: string | undefined;
  #done = false;

  constructor(policy: AuditPolicy, sink: AuditSink, clock: Clock, request: AuditRequest) {
    this.#policy = policy;
    this.#sink = sink;
    this.#clock = clock;
    this.#request = request;
    this.#received = clock.now();
  }

  /** Who asks; undefined when that could not be told. */
  authenticated(user: UserInfo | undefined): void {
    this.#user = user;
    this.#decision = decide(this.#policy, user, this.#request.info);
    if (user !== undefined) this.#event('RequestReceived');
  }

  impersonates(user: UserInfo): void {
    this.#impersonated = user;
  }

  authorized(allowed: boolean, reason: string): void {
    this.annotate('authorization.k8s.io/decision', allowed ? 'allow' : 'forbid');
    this.annotate('authorization.k8s.io/reason', reason);
  }

  /** The first value of a key stays. `level`: below it the event does not have it. */
  annotate(key: string, value: string, level: 'Metadata' | 'Request' = 'Metadata'): void {
    if (level === 'Request' && !this.wantsRequest) return;
    if (!Object.hasOwn(this.#annotations, key)) this.#annotations[key] = value;
  }

  /** Whether the body of the request belongs into the event. */
  get wantsRequest(): boolean {
    return this.#decision?.level === 'Request' || this.#decision?.level === 'RequestResponse';
  }

  /** The body as it came. `decode` reads a form that is neither JSON nor YAML. */
  body(bytes: Uint8Array, contentType: string, decode: () => JsonObject | undefined): void {
    if (!this.wantsRequest || bytes.length === 0) return;
    if (bytes.length > auditBodyBytesMax) {
      this.annotate(truncated, 'true');
      return;
    }
    const text = utf8Text(bytes);
    try {
      if (/protobuf/.test(contentType)) this.#requestObject = this.#shown(decode());
      else if (/yaml/.test(contentType)) this.#requestObject = this.#shown(parseYaml(text).value as Json);
      else this.#requestObject = this.#shown(JSON.parse(text) as Json);
    } catch {
      // What cannot be read is answered with 400, which is recorded.
    }
  }

  #shown(value: Json | undefined): string | undefined {
    if (value === undefined) return undefined;
    return JSON.stringify(this.#decision!.omitManagedFields ? withoutManagedFields(value) : value);
  }

  /** Notes the answer: at once, or when its stream ends. Gives the answer to send. */
  answered(reply: Reply): Reply {
    const { body } = reply;
    if (typeof body !== 'function') {
      this.complete(reply.status, body);
      return reply;
    }
    this.#event('ResponseStarted', reply.status);
    const ended = (): void => this.complete(reply.status);
    return {
      ...reply,
      body: (sink) => {
        const watched: ReplySink = {
          write: (bytes) => sink.write(bytes),
          backlog: () => sink.backlog(),
          end() {
            ended();
            sink.end();
          },
          abort() {
            ended();
            sink.abort();
          },
        };
        const stop = body(watched);
        return () => {
          ended();
          stop();
        };
      },
    };
  }

  /** A connection that was handed over. */
  switched(): void {
    this.#event('ResponseStarted', 101);
  }

  complete(code: number, body?: readonly Uint8Array[]): void {
    if (this.#done) return;
    this.#done = true;
    this.#event('ResponseComplete', code, body);
  }

  #event(stage: AuditStage, code?: number, body?: readonly Uint8Array[]): void {
    const decision = this.#decision;
    if (decision === undefined || decision.level === 'None' || decision.omitStages.includes(stage)) return;
    const { id, uri, headers, remote, info } = this.#request;
    const { level } = decision;
    const failed = code !== undefined && code >= 400;
    const parsed = body !== undefined && (failed || level === 'RequestResponse') ? this.#answer(body) : undefined;
    const responseObject = level === 'RequestResponse' && parsed !== undefined ? parsed : undefined;
    const requestObject = stage === 'RequestReceived' ? undefined : this.#requestObject;
    const event = {
      kind: 'Event',
      apiVersion: 'audit.k8s.io/v1',
      level,
      auditID: id,
      stage,
      requestURI: uri,
      verb: info.verb,
      user: this.#user === undefined ? {} : userOf(this.#user),
      ...(this.#impersonated === undefined ? {} : { impersonatedUser: userOf(this.#impersonated) }),
      sourceIPs: sourceIps(headers, remote),
      ...(headers.get('user-agent') === null ? {} : { userAgent: headers.get('user-agent')!.slice(0, 1024) }),
      ...(info.isResource ? { objectRef: objectRef(info, requestObject, responseObject) } : {}),
      ...(code === undefined ? {} : { responseStatus: statusOf(code, failed ? parsed : undefined) }),
    };
    const times = {
      requestReceivedTimestamp: microTime(this.#received),
      stageTimestamp: microTime(this.#clock.now()),
      ...(Object.keys(this.#annotations).length === 0 ? {} : { annotations: this.#annotations }),
    };
    let line = JSON.stringify(event).slice(0, -1);
    if (requestObject !== undefined) line += `,"requestObject":${requestObject}`;
    if (responseObject !== undefined) line += `,"responseObject":${this.#shown(responseObject)}`;
    this.#sink.write(`${line},${JSON.stringify(times).slice(1)}`);
  }

  #answer(body: readonly Uint8Array[]): JsonObject | undefined {
    let length = 0;
    for (const piece of body) length += piece.length;
    if (length > auditBodyBytesMax) {
      this.annotate(truncated, 'true');
      return undefined;
    }
    try {
      const value = JSON.parse(utf8Text(concatBytes(body))) as Json;
      return isObject(value) ? value : undefined;
    } catch {
      // Text, YAML, a page of a proxied server.
      return undefined;
    }
  }
}

function userOf(user: UserInfo): JsonObject {
  return {
    username: user.name,
    ...(user.uid === undefined || user.uid === '' ? {} : { uid: user.uid }),
    ...(user.groups.length === 0 ? {} : { groups: [...user.groups] }),
    ...(user.extra === undefined || Object.keys(user.extra).length === 0
      ? {}
      : { extra: Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]])) }),
  };
}

/** k8s.io/apimachinery/pkg/util/net, SourceIPs: what proxies say, then the peer. */
function sourceIps(headers: Headers, remote: string | undefined): string[] {
  const forwarded = (headers.get('x-forwarded-for') ?? '').split(',').map((one) => one.trim());
  const said = [...forwarded, (headers.get('x-real-ip') ?? '').trim()].filter((one) =>
    /^[0-9a-fA-F.:]{2,45}$/.test(one),
  );
  const peer = (remote ?? '127.0.0.1').replace(/^::ffff:/, '');
  return [...new Set([...said.slice(0, 16), peer])];
}

function objectRef(info: RequestInfo, requestText: string | undefined, answer: JsonObject | undefined): JsonObject {
  const metadata = answer !== undefined && isObject(answer.metadata) ? answer.metadata : {};
  const request = requestText === undefined ? {} : (JSON.parse(requestText) as JsonObject);
  const sent = isObject(request.metadata) ? request.metadata : {};
  const text = (value: Json | undefined): string => (typeof value === 'string' ? value : '');
  const fields: Record<string, string> = {
    resource: info.resource,
    namespace: info.namespace,
    name: info.name || text(sent.name),
    uid: text(sent.uid) || (answer?.kind === 'Status' ? '' : text(metadata.uid)),
    apiGroup: info.group,
    apiVersion: info.version,
    resourceVersion: text(sent.resourceVersion),
    subresource: info.subresource,
  };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''));
}

function statusOf(code: number, status: JsonObject | undefined): JsonObject {
  if (status?.kind !== 'Status') return { metadata: {}, code };
  const { kind: _kind, apiVersion: _apiVersion, ...rest } = status;
  return { ...rest, code };
}

/** metav1.MicroTime. */
function microTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -1)}000Z`;
}

function withoutManagedFields(value: Json): Json {
  const bare = (object: Json): Json => {
    if (!isObject(object) || !isObject(object.metadata)) return object;
    const { managedFields: _managed, ...metadata } = object.metadata;
    return { ...object, metadata };
  };
  const one = bare(value);
  return isObject(one) && Array.isArray(one.items) ? { ...one, items: one.items.map(bare) } : one;
}
