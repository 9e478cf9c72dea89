/** The network shell: HTTP/2 and HTTP/1.1 with client certificates on one port, streams with back-pressure, upgrades handed to kubelets. */
import http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions } from 'node:tls';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { promisify } from 'node:util';
import { gzip as gzipCallback } from 'node:zlib';
import { concatBytes } from '../../base/bytes.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import {
  certificatesOf,
  type CertificateUser,
  certificateUser,
  type PeerSocket,
} from '../auth/client-certificates-shell.ts';
import { rawHeaderLines } from '../auth/header-lines.ts';
import { type Answer, AnswerBudget } from './answer-budget.ts';
import type { ApiApp, ApiEnv } from './app.ts';
import { forwardUpgrade } from './proxy-client.ts';
import type { KubeletClient } from './kubelet-client-shell.ts';
import { discard, type Reply, replyOf, type ReplySink, statusReply, warningHeaders } from './reply.ts';
import { BodyBudget, IncomingBody } from './request-body-server.ts';
import { RequestCaller } from './request-caller.ts';
import { tooManyRequests } from '../machinery/status.ts';

export interface ListenOptions {
  readonly port: number;
  readonly host: string;
  /** Serving certificate chain and key, PEM. */
  readonly cert: string;
  readonly key: string;
  /** CAs of client certificates, PEM. */
  readonly clientCa: string;
  /** CA of front proxies, PEM. */
  readonly requestHeaderCa?: string | undefined;
  readonly limits?: Partial<ListenLimits>;
}

/** What clients together can make the listener hold. */
export interface ListenLimits {
  /** Open connections; one more is closed at once. */
  readonly connections: number;
  /** Bytes of request bodies in memory; a request beyond is answered 429. */
  readonly bodyBytes: number;
  /** For the body of one request; then 408. */
  readonly bodyMs: number;
  /** Bytes of answers that clients have not read yet; beyond, those that stand still are broken off, and else new ones are 429. */
  readonly answerBytes: number;
  /** After how long an answer of which nothing is read stands still. */
  readonly stillMs: number;
  readonly tlsHandshakeMs: number;
  /** From the handshake to the headers of a connection's first request. */
  readonly firstRequestMs: number;
}

const defaultLimits: ListenLimits = {
  connections: 2000,
  bodyBytes: 64 * 1024 * 1024,
  bodyMs: 60_000,
  answerBytes: 192 * 1024 * 1024,
  stillMs: 10_000,
  tlsHandshakeMs: 15_000,
  firstRequestMs: 60_000,
};

/** For the rest of a body that nobody wants, over HTTP/1.1 (HTTP/2 ends the stream). */
const unwantedBodyMs = 5_000;

export interface Listener {
  readonly port: number;
  /** New connections get this certificate; those that are open go on. */
  renew(server: { readonly cert: string; readonly key: string }): void;
  close(): Promise<void>;
}

type Incoming = http2.Http2ServerRequest | IncomingMessage;
/** Both kinds of response have what is used here. */
type Outgoing = ServerResponse;

/** Headers that an upgrade passes on; never the client's credentials. */
const passedOn = ['connection', 'upgrade', 'x-stream-protocol-version', 'user-agent', 'origin'];

export async function listen(
  app: ApiApp,
  nodes: KubeletClient,
  options: ListenOptions,
  now: () => number,
  log: Logger,
): Promise<Listener> {
  const users = new WeakMap<object, CertificateUser | null>();
  const authorities = {
    client: certificatesOf(options.clientCa),
    requestHeader: certificatesOf(options.requestHeaderCa),
  };
  const userOf = (socket: object): CertificateUser | undefined => {
    let known = users.get(socket);
    if (known === undefined) {
      known = certificateUser(socket as PeerSocket, authorities) ?? null;
      users.set(socket, known);
    }
    if (known === null || now() < known.notBefore || now() > known.notAfter) return undefined;
    return known;
  };
  const envOf = (socket: object): ApiEnv => {
    const certificate = userOf(socket);
    const remote = (socket as { remoteAddress?: string }).remoteAddress ?? 'unknown';
    if (certificate === undefined) return { raw: true, remote };
    return certificate.frontProxy
      ? { raw: true, remote, frontProxy: true }
      : { raw: true, remote, certificate: certificate.user };
  };
  const limits = { ...defaultLimits, ...options.limits };
  const budget = new BodyBudget(limits.bodyBytes);
  const answers = new AnswerBudget(limits.answerBytes, limits.stillMs, () => performance.now());
  const sockets = new Set<Duplex>();
  /** Of what has to show something in time: TLS sockets, and HTTP/2 sessions. */
  const waiting = new Map<object, ReturnType<typeof setTimeout>>();
  const moved = (who: object): void => {
    clearTimeout(waiting.get(who));
    waiting.delete(who);
  };
  const wait = (who: { destroy(): unknown }, ms: number): void => {
    moved(who);
    const timer = setTimeout(() => who.destroy(), ms);
    timer.unref();
    waiting.set(who, timer);
  };
  let refused = 0;
  const ca = options.requestHeaderCa === undefined ? options.clientCa : [options.clientCa, options.requestHeaderCa];
  const tls = { requestCert: true, rejectUnauthorized: false, ca, minVersion: 'TLSv1.2' } as const;
  const server = http2.createSecureServer({
    allowHTTP1: true,
    ...tls,
    cert: options.cert,
    key: options.key,
    settings: { maxConcurrentStreams: 1000, initialWindowSize: 1024 * 1024 },
    maxSessionMemory: 64,
  });
  // Bun tells of a connection with the TLS socket, before its handshake.
  server.on('connection', (socket: Duplex) => {
    if (sockets.size >= limits.connections) {
      if (refused++ % 1000 === 0) log.warn('too many connections: refused', { connections: sockets.size, refused });
      socket.destroy();
      return;
    }
    sockets.add(socket);
    wait(socket, limits.tlsHandshakeMs);
    socket.once('close', () => {
      sockets.delete(socket);
      moved(socket);
    });
  });
  server.on('secureConnection', (socket: Duplex & { alpnProtocol?: string | false | null }) => {
    moved(socket);
    if (socket.alpnProtocol !== 'h2') wait(socket, limits.firstRequestMs);
  });
  server.on('session', (session: http2.ServerHttp2Session) => {
    wait(session, limits.firstRequestMs);
    session.once('close', () => moved(session));
  });
  server.on('sessionError', (error: Error) => log.debug('http2 session', { error: errorText(error) }));
  server.on('tlsClientError', (error: Error) => log.debug('tls', { error: errorText(error) }));
  server.on('request', (incoming: Incoming, response: http2.Http2ServerResponse | ServerResponse) => {
    const outgoing = response as Outgoing;
    moved(connectionOf(incoming));
    const body = new IncomingBody(incoming, Number(incoming.headers['content-length'] ?? 0), budget, limits.bodyMs);
    serve(app, incoming, outgoing, envOf, body, answers)
      .catch((error: unknown) => {
        log.debug('request broke off', { error: errorText(error) });
        outgoing.destroy();
      })
      .finally(() => body.release());
  });
  server.on('upgrade', (incoming: IncomingMessage, socket: Duplex, head: Uint8Array) => {
    moved(incoming.socket);
    socket.on('error', () => socket.destroy());
    const env = { ...envOf(incoming.socket), headerLines: rawHeaderLines(incoming.rawHeaders) };
    upgrade(app, nodes, incoming, socket, head, env).catch((error: unknown) => {
      log.debug('upgrade broke off', { error: errorText(error) });
      socket.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, options.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  server.on('error', (error: Error) => log.warn('listener', { error: errorText(error) }));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : options.port,
    renew: ({ cert, key }) => server.setSecureContext({ ...tls, cert, key } as SecureContextOptions),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
        // Bun does not always report the end of destroyed TLS sockets to close().
        setTimeout(resolve, 200).unref();
      }),
  };
}

function socketOf(incoming: Incoming): object {
  return 'stream' in incoming && incoming.httpVersionMajor === 2
    ? (incoming.stream.session?.socket ?? incoming)
    : incoming.socket;
}

/** The HTTP/2 session or the HTTP/1.1 socket. */
function connectionOf(incoming: Incoming): object {
  return 'stream' in incoming && incoming.httpVersionMajor === 2
    ? (incoming.stream.session ?? incoming)
    : incoming.socket;
}

function headersOf(incoming: Incoming): Headers {
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (name.startsWith(':') || value === undefined) continue;
    if (Array.isArray(value)) for (const one of value) headers.append(name, one);
    else headers.set(name, value);
  }
  return headers;
}

/** The request without its body. */
function requestOf(incoming: Incoming, method: string): Request {
  const url = new URL(incoming.url ?? '/', 'https://apiserver').href;
  return new Request(url, { method, headers: headersOf(incoming) });
}

const statusJson = (code: number, reason: string, message: string): string =>
  JSON.stringify({ kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code });

async function serve(
  app: ApiApp,
  incoming: Incoming,
  outgoing: Outgoing,
  envOf: (socket: object) => ApiEnv,
  body: IncomingBody,
  answers: AnswerBudget,
): Promise<void> {
  const method = incoming.method ?? 'GET';
  const bodyless = method === 'GET' || method === 'HEAD';
  if (bodyless) incoming.resume();
  outgoing.once('finish', () => dropRest(incoming));
  // Bun tells of it once: who asks later is not told.
  const caller = new RequestCaller();
  outgoing.once('close', () => caller.leave());
  let request: Request;
  try {
    request = requestOf(incoming, method);
  } catch (error) {
    outgoing.writeHead(400, { 'content-type': 'application/json' });
    outgoing.end(statusJson(400, 'BadRequest', errorText(error)));
    return;
  }
  const env: ApiEnv = { ...envOf(socketOf(incoming)), caller, headerLines: rawHeaderLines(incoming.rawHeaders) };
  if (!bodyless) env.body = () => body.read(caller);
  const response = await app.fetch(request, env);
  const reply = replyOf(response);
  if (reply === undefined) {
    if (caller.left) return;
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(Buffer.from(await response.arrayBuffer()));
    return;
  }
  const packed = await compressed(reply, incoming.headers['accept-encoding']);
  send(packed, outgoing, caller, method === 'HEAD', incoming.httpVersionMajor === 1, answers);
}

/** As upstream: answers below this are not worth the time. */
const gzipBytesMin = 128 * 1024;
const gzip = promisify(gzipCallback);

/** A large answer, packed when the client takes that. */
async function compressed(reply: Reply, accept: string | string[] | undefined): Promise<Reply> {
  if (typeof reply.body === 'function' || !/\bgzip\b(?!\s*;\s*q=0(\.0*)?\b)/.test(String(accept ?? ''))) return reply;
  let length = 0;
  for (const piece of reply.body) length += piece.length;
  if (length < gzipBytesMin) return reply;
  const body = [await gzip(concatBytes(reply.body), { level: 1 })];
  return { ...reply, body, headers: { ...reply.headers, 'content-encoding': 'gzip', vary: 'Accept-Encoding' } };
}

/** The answer is out and the body was not read to its end: a client may not go on sending it for long. */
function dropRest(incoming: Incoming): void {
  if (incoming.complete || incoming.httpVersionMajor !== 1) return;
  const timer = setTimeout(() => incoming.socket.destroy(), unwantedBodyMs);
  const stop = (): void => clearTimeout(timer);
  incoming.once('end', stop);
  incoming.once('close', stop);
  incoming.resume();
}

function send(
  reply: Reply,
  outgoing: Outgoing,
  caller: RequestCaller,
  headOnly: boolean,
  http1: boolean,
  answers: AnswerBudget,
): void {
  if (caller.left) {
    discard(reply);
    return;
  }
  const answer = answers.open(() => outgoing.destroy());
  outgoing.once('close', () => answer.close());
  const headers: Record<string, string | string[]> = { ...reply.headers };
  const warnings = warningHeaders(reply.warnings);
  if (warnings.length > 0) headers.warning = warnings;
  if (typeof reply.body !== 'function') {
    let length = 0;
    for (const piece of reply.body) length += piece.length;
    if (!headOnly && !answer.take(length)) {
      const refusal = statusReply(
        tooManyRequests('Too many answers that are not read, please try again later.', 1).status,
      );
      outgoing.writeHead(refusal.status, refusal.headers);
      outgoing.end(Buffer.concat(refusal.body as Uint8Array[]));
      return;
    }
    headers['content-length'] = String(length);
    outgoing.writeHead(reply.status, headers);
    if (headOnly) outgoing.end();
    else sendPieces(reply.body, outgoing, caller, answer);
    return;
  }
  if (http1) headers['transfer-encoding'] = 'chunked';
  outgoing.writeHead(reply.status, headers);
  outgoing.flushHeaders();
  let ended = false;
  let queued = 0;
  const sink: ReplySink = {
    write(bytes) {
      if (ended) return;
      if (!answer.write(bytes.length)) {
        ended = true;
        outgoing.destroy();
        return;
      }
      queued += bytes.length;
      outgoing.write(bytes, () => {
        queued -= bytes.length;
        answer.sent(bytes.length);
      });
    },
    backlog: () => queued,
    end() {
      if (ended) return;
      ended = true;
      outgoing.end();
    },
    abort() {
      if (ended) return;
      ended = true;
      outgoing.destroy();
    },
  };
  const stop = reply.body(sink);
  caller.onGone(() => {
    ended = true;
    stop();
  });
}

/** One after another: pieces that wait in a stream together are joined to one before they are sent, however large they are. */
function sendPieces(pieces: readonly Uint8Array[], outgoing: Outgoing, caller: RequestCaller, answer: Answer): void {
  let next = 0;
  const send = (): void => {
    if (caller.left) return;
    const piece = pieces[next++];
    if (piece === undefined) outgoing.end();
    else if (next === pieces.length) outgoing.end(piece, () => answer.close());
    else
      outgoing.write(piece, () => {
        answer.sent(piece.length);
        send();
      });
  };
  send();
}

async function upgrade(
  app: ApiApp,
  nodes: KubeletClient,
  incoming: IncomingMessage,
  socket: Duplex,
  head: Uint8Array,
  env: ApiEnv,
): Promise<void> {
  const method = incoming.method ?? 'GET';
  const target = await app.upgradeTarget(requestOf(incoming, method), env, (ended) => socket.once('close', ended));
  const refuse = (reply: Reply): void => {
    const body = typeof reply.body === 'function' ? Buffer.alloc(0) : Buffer.concat(reply.body);
    const headers = { ...reply.headers, 'content-length': String(body.length), connection: 'close' };
    let text = `HTTP/1.1 ${reply.status} ${reply.status === 403 ? 'Forbidden' : 'Error'}\r\n`;
    for (const [name, value] of Object.entries(headers)) text += `${name}: ${value}\r\n`;
    socket.write(`${text}\r\n`);
    socket.end(body);
  };
  if ('body' in target) return refuse(target);
  if ('scheme' in target) {
    const given = headersOf(incoming);
    const protocols = given.get('sec-websocket-protocol');
    if (protocols !== null) given.set('sec-websocket-protocol', sanitized('sec-websocket-protocol', protocols));
    try {
      await forwardUpgrade(target, method, given, socket, head);
    } catch (error) {
      refuse({
        status: 503,
        headers: { 'content-type': 'application/json' },
        body: [Buffer.from(statusJson(503, 'ServiceUnavailable', errorText(error)))],
      });
    }
    return;
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(incoming.headers)) {
    if (value === undefined || !(passedOn.includes(name) || name.startsWith('sec-websocket-'))) continue;
    headers[name] = sanitized(name, Array.isArray(value) ? value.join(', ') : value);
  }
  try {
    await nodes.upgrade(target, method, headers, socket, head);
  } catch (error) {
    refuse({
      status: 500,
      headers: { 'content-type': 'application/json' },
      body: [Buffer.from(statusJson(500, 'InternalError', `error dialing backend: ${errorText(error)}`))],
    });
  }
}

/** A bearer token may travel as a WebSocket sub-protocol (browsers): it stays here. */
function sanitized(name: string, value: string): string {
  if (name !== 'sec-websocket-protocol') return value;
  return value
    .split(',')
    .map((one) => one.trim())
    .filter((one) => !one.startsWith('base64url.bearer.authorization.k8s.io.'))
    .join(', ');
}
