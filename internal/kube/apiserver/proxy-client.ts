/** Requests passed on: to pods and services through their proxy subresource, to kubelets, to extension API servers. */
import http, { type ClientRequest, type IncomingMessage } from 'node:http';
import https from 'node:https';
import { errorText } from '../../base/errors.ts';
import { failure } from '../machinery/status.ts';
import type { Duplex } from 'node:stream';
import type { Reply, ReplySink } from './reply.ts';
import type { RequestCaller } from './request-caller.ts';
import { passThrough } from './upgrade-client.ts';

export interface ProxyTarget {
  readonly scheme: 'http' | 'https';
  readonly host: string;
  readonly port: number;
  /** Path and query. */
  readonly path: string;
  /** The Host header, and the name that a certificate has to prove. */
  readonly name: string;
  /** Undefined: whatever certificate the other shows is taken, as upstream does for pods. */
  readonly trust?: {
    /** Without one: the system's authorities. */
    readonly ca?: string;
    readonly insecure?: boolean;
    readonly cert?: string;
    readonly key?: string;
  };
  /** Beside the client's own. */
  readonly headers?: readonly (readonly [string, string])[];
}

/** Not passed on: what is between the client and us (RFC 9110, section 7.6.1), and whatever says who asks. */
const ours = new Set([
  'authorization',
  'connection',
  'content-length',
  'host',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

function passedOn(name: string): boolean {
  return !ours.has(name) && !name.startsWith('impersonate-') && !name.startsWith('x-remote-');
}

/** An upgraded connection to a pod, a Service or an extension server. Rejects with 503 as long as nothing was answered. */
export function forwardUpgrade(
  target: ProxyTarget,
  method: string,
  given: Headers,
  client: Duplex,
  head: Uint8Array,
): Promise<void> {
  const headers: [string, string][] = [];
  given.forEach((value, name) => {
    if (passedOn(name)) headers.push([name, value]);
  });
  headers.push(['connection', 'Upgrade'], ['upgrade', given.get('upgrade') ?? '']);
  for (const [name, value] of target.headers ?? []) headers.push([name, value]);
  const { host, port, path, name } = target;
  const tls = target.scheme === 'https' ? { ...tlsOf(target), servername: name } : undefined;
  return passThrough({ host, port, path, name, tls }, method, headers, client, head).catch((error: unknown) => {
    throw failure(503, 'ServiceUnavailable', `error trying to reach service: ${errorText(error)}`);
  });
}

const connectMs = 10_000;
const backlogHigh = 1024 * 1024;
const backlogLow = 256 * 1024;

/** Streams an answer as it comes; a client that does not read slows the other down. */
export function streamed(response: IncomingMessage, sink: ReplySink, abandon: () => void): () => void {
  response.on('data', (piece: Uint8Array) => {
    sink.write(piece);
    if (sink.backlog() <= backlogHigh) return;
    response.pause();
    const wait = setInterval(() => {
      if (sink.backlog() > backlogLow) return;
      clearInterval(wait);
      response.resume();
    }, 20);
    response.once('close', () => clearInterval(wait));
  });
  response.on('end', () => sink.end());
  response.on('error', () => sink.end());
  response.on('close', () => sink.end());
  return () => {
    response.destroy();
    abandon();
  };
}

/** Whom to believe, and what to show. */
export function tlsOf({ trust }: ProxyTarget): {
  ca?: string;
  cert?: string;
  key?: string;
  rejectUnauthorized: boolean;
} {
  if (trust === undefined) return { rejectUnauthorized: false };
  const { insecure, ...rest } = trust;
  return { ...rest, rejectUnauthorized: insecure !== true };
}

/** Breaks the request off when nobody waits for its answer any more. The result ends that: from then on whoever has the answer stops it. */
export function endWith(caller: RequestCaller | undefined, outgoing: ClientRequest): () => void {
  return caller?.onGone(() => outgoing.destroy(new Error('nobody waits for the answer'))) ?? (() => undefined);
}

/**
 * Sends the request on and gives the answer as it comes. Without a `caller` somebody waits for it in any case. Throws 503 when the other cannot be
 * reached, or nobody waits any more.
 */
export function forward(
  target: ProxyTarget,
  method: string,
  given: Headers,
  body: Uint8Array | undefined,
  caller?: RequestCaller,
): Promise<Reply> {
  const headers: Record<string, string | string[]> = {};
  given.forEach((value, name) => {
    if (passedOn(name)) headers[name] = value;
  });
  for (const [name, value] of target.headers ?? []) {
    const before = headers[name];
    headers[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [before]), value];
  }
  headers.host = target.name;
  if (body !== undefined) headers['content-length'] = String(body.length);
  const common = { host: target.host, port: target.port, path: target.path, method, headers };
  return new Promise((resolve, reject) => {
    const take = (response: IncomingMessage): void => {
      answered();
      const out: Record<string, string> = {};
      for (const [name, value] of Object.entries(response.headers))
        if (value !== undefined && !ours.has(name)) out[name] = Array.isArray(value) ? value.join(', ') : value;
      resolve({
        status: response.statusCode ?? 502,
        headers: out,
        body: (sink) => streamed(response, sink, () => outgoing.destroy()),
      });
    };
    const outgoing =
      target.scheme === 'https'
        ? https.request(
            {
              ...common,
              servername: target.name,
              ...tlsOf(target),
            },
            take,
          )
        : http.request(common, take);
    outgoing.setTimeout(connectMs, () => {
      if (outgoing.socket?.connecting !== false) outgoing.destroy(new Error('dial timeout'));
    });
    outgoing.on('error', (error) =>
      reject(failure(503, 'ServiceUnavailable', `error trying to reach service: ${errorText(error)}`)),
    );
    const answered = endWith(caller, outgoing);
    outgoing.end(body);
  });
}
