import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import http2 from 'node:http2';
import { connect } from 'node:net';
import { uptime } from 'node:os';
import type { Duplex } from 'node:stream';
import type { Clock } from '../../../base/clock.ts';
import { AppError, errorText } from '../../../base/errors.ts';
import type { Logger } from '../../../base/log.ts';
import type { Config } from '../../../config/config.ts';
import type { Paths } from '../../../config/paths.ts';
import { certificateUser, type PeerSocket } from '../../auth/client-certificates-shell.ts';
import { parseTime } from '../../machinery/time.ts';
import { nodeFacts } from '../node/facts-system.ts';
import type { Kubelet } from '../kubelet-main.ts';
import { readLog } from '../logs/log-reader-shell.ts';
import { currentSandbox, latest, type PodRuntime, type RuntimeContainer } from '../pod/runtime.ts';
import { allContainers, type Pod, podUid } from '../pod-types.ts';
import { chooseProtocol, tunnelProtocol } from '../streaming/channels.ts';
import { translateRemoteCommand, tunnel } from '../streaming/translator-shell.ts';
import { spdyConnect } from '../streaming/upgrade-client.ts';
import { acceptKey } from '../streaming/websocket.ts';
import { flag, type Route, route } from './paths.ts';
import { type ContainerUse, containerUses, resourceMetrics, summary } from './stats.ts';

/** Who may ask: the API server's identity, and members of the superuser group. */
const apiServerName = 'system:kube-apiserver';
const superGroup = 'system:masters';

export interface KubeletServerOptions {
  readonly config: Config;
  readonly paths: Paths;
  readonly kubelet: Kubelet;
  readonly clock: Clock;
  readonly log: Logger;
}

type Request = http2.Http2ServerRequest | IncomingMessage;

class HttpError extends AppError {
  readonly http: number;
  constructor(http: number, message: string) {
    super(`HTTP_${http}`, message);
    this.http = http;
  }
}

/** The kubelet's HTTPS server: logs, exec, attach, port-forward, statistics. Only clients with the API server's certificate are served. */
export class KubeletServer {
  readonly #options: KubeletServerOptions;
  #server: http2.Http2SecureServer | undefined;
  readonly #sockets = new Set<Duplex>();
  #uses: Map<string, ContainerUse> = new Map();

  constructor(options: KubeletServerOptions) {
    this.#options = options;
  }

  async start(): Promise<void> {
    const { config, log } = this.#options;
    const server = http2.createSecureServer({ allowHTTP1: true, ...this.#tls() });
    this.#server = server;
    server.on('secureConnection', (socket: Duplex) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    server.on('tlsClientError', (error: Error) => log.debug('tls', { error: errorText(error) }));
    server.on('sessionError', (error: Error) => log.debug('http2 session', { error: errorText(error) }));
    server.on('request', (request: Request, response: http2.Http2ServerResponse | ServerResponse) => {
      const out = response as ServerResponse;
      this.#serve(request, out).catch((error: unknown) => fail(out, error));
    });
    server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Uint8Array) => {
      socket.on('error', () => socket.destroy());
      this.#upgrade(request, socket, head).catch((error: unknown) => refuse(socket, error));
    });
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(config.ports.kubelet, '0.0.0.0', () => {
        server.off('error', reject);
        resolve();
      });
    });
    server.on('error', (error: Error) => log.warn('kubelet server', { error: errorText(error) }));
  }

  #tls(): http2.SecureServerOptions {
    const pem = (name: string): string => readFileSync(`${this.#options.paths.identity}/${name}`, 'utf8');
    const pair = { cert: pem('kubelet-serving.crt'), key: pem('kubelet-serving.key') };
    return { requestCert: true, rejectUnauthorized: false, ca: pem('client-ca.crt'), minVersion: 'TLSv1.2', ...pair };
  }

  /** Takes up a renewed serving certificate: new connections get it. */
  renew(): void {
    this.#server?.setSecureContext(this.#tls());
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise<void>((resolve) => {
      this.#server?.close(() => resolve());
      // Bun does not always report the end of destroyed TLS sockets to close().
      setTimeout(resolve, 200).unref();
    });
  }

  #authorize(request: Request): void {
    const h2 = 'stream' in request && request.httpVersionMajor === 2;
    const socket = (h2 ? (request as http2.Http2ServerRequest).stream.session?.socket : request.socket) as unknown as
      | PeerSocket
      | undefined;
    const who = socket ? certificateUser(socket) : undefined;
    const now = this.#options.clock.now();
    if (!who || now < who.notBefore || now > who.notAfter) throw new HttpError(401, 'Unauthorized');
    if (who.user.name !== apiServerName && !who.user.groups.includes(superGroup))
      throw new HttpError(
        403,
        `Forbidden (user=${who.user.name}, verb=${(request.method ?? 'GET').toLowerCase()}, resource=nodes, subresource=proxy)`,
      );
  }

  async #serve(request: Request, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'https://kubelet');
    const target = route(url.pathname);
    this.#authorize(request);
    if (!target) throw new HttpError(404, '404 page not found');
    if (target.kind === 'exec' || target.kind === 'attach' || target.kind === 'portForward')
      throw new HttpError(400, 'unable to upgrade: expected an Upgrade request');
    if (request.method !== 'GET' && request.method !== 'HEAD') throw new HttpError(405, 'Method Not Allowed');
    if (target.kind === 'logs') return this.#logs(target, url.searchParams, request, response);
    const { body, type } = await this.#document(target);
    response.writeHead(200, { 'content-type': type });
    response.end(request.method === 'HEAD' ? '' : body);
  }

  async #document(target: Route): Promise<{ body: string; type: string }> {
    const { clock, config, kubelet, paths } = this.#options;
    const json = (value: object): { body: string; type: string } => ({
      body: JSON.stringify(value),
      type: 'application/json',
    });
    const text = 'text/plain; version=0.0.4; charset=utf-8';
    switch (target.kind) {
      case 'healthz': {
        const { detail, ok } = kubelet.health();
        if (!ok) throw new HttpError(500, detail);
        return { body: 'ok', type: 'text/plain; charset=utf-8' };
      }
      case 'pods':
        return json({ kind: 'PodList', apiVersion: 'v1', metadata: {}, items: kubelet.pods.pods() });
      case 'runningpods':
        return json({
          kind: 'PodList',
          apiVersion: 'v1',
          metadata: {},
          items: kubelet.cache
            .all()
            .filter((r) => r.containers.some((c) => c.state === 'running'))
            .map(runningPod),
        });
      case 'summary': {
        await this.#measure();
        return json(
          summary(
            config.node.name,
            nodeFacts(paths.agent),
            this.#uses.values(),
            clock.now(),
            clock.now() - uptime() * 1000,
          ),
        );
      }
      case 'resource': {
        await this.#measure();
        const facts = nodeFacts(paths.agent);
        const node = { cpuSeconds: nodeCpuSeconds(), memoryBytes: facts.memoryBytes - facts.memoryAvailableBytes };
        return { body: resourceMetrics(this.#uses.values(), node), type: text };
      }
      case 'cadvisor':
        await this.#measure();
        return { body: cadvisor(this.#uses.values()), type: text };
      case 'metrics': {
        const runtimes = kubelet.cache.all();
        const running = runtimes.flatMap((r) => r.containers).filter((c) => c.state === 'running').length;
        return {
          body: [
            '# HELP kubelet_running_pods [BETA] Number of pods that have a running pod sandbox',
            '# TYPE kubelet_running_pods gauge',
            `kubelet_running_pods ${runtimes.filter((r) => currentSandbox(r)?.ready).length}`,
            '# HELP kubelet_running_containers [BETA] Number of containers currently running',
            '# TYPE kubelet_running_containers gauge',
            `kubelet_running_containers{container_state="running"} ${running}`,
            '',
          ].join('\n'),
          type: text,
        };
      }
      default:
        return { body: '', type: text };
    }
  }

  async #measure(): Promise<void> {
    const { cache, cri } = this.#options.kubelet;
    this.#uses = containerUses(
      await cri.listContainerStats(),
      this.#uses,
      (id) => cache.findContainer(id)?.container.startedAtMs ?? 0,
    );
  }

  #pod(target: { namespace: string; pod: string; uid?: string }): Pod {
    const pod = this.#options.kubelet.pods.find(target.namespace, target.pod, target.uid);
    if (!pod) throw new HttpError(404, `pod "${target.pod}" does not exist`);
    return pod;
  }

  async #runtime(pod: Pod): Promise<PodRuntime> {
    return this.#options.kubelet.cache.refresh(podUid(pod), pod.metadata.name, pod.metadata.namespace ?? '');
  }

  async #logs(
    target: { namespace: string; pod: string; container: string },
    query: URLSearchParams,
    request: Request,
    response: ServerResponse,
  ): Promise<void> {
    const { clock, kubelet } = this.#options;
    const pod = this.#pod(target);
    if (!allContainers(pod).some((c) => c.name === target.container))
      throw new HttpError(404, `container "${target.container}" not found in pod "${target.pod}"`);
    const runtime = await this.#runtime(pod);
    const mine = runtime.containers.filter((c) => c.name === target.container);
    const previous = flag(query, 'previous');
    const found = previous ? mine.filter((c, i) => c.state === 'exited' && (i > 0 || mine.length === 1))[0] : mine[0];
    if (!found) {
      const waiting = kubelet.pods
        .pods()
        .find((p) => podUid(p) === podUid(pod))
        ?.status?.containerStatuses?.find((s) => s.name === target.container)?.state?.waiting;
      throw new HttpError(
        400,
        previous
          ? `previous terminated container "${target.container}" in pod "${target.pod}" not found`
          : `container "${target.container}" in pod "${target.pod}" is waiting to start: ${waiting?.reason ?? 'ContainerCreating'}`,
      );
    }
    const stop = new AbortController();
    request.once('close', () => stop.abort());
    response.once('close', () => stop.abort());
    const since = logSince(query, clock.now());
    const follow = flag(query, 'follow') && !previous;
    response.writeHead(200, { 'content-type': 'text/plain' });
    const alive = (): boolean => kubelet.cache.findContainer(found.id)?.container.state === 'running';
    const stream = query.get('stream')?.toLowerCase();
    const pieces = readLog(
      found.logPath,
      {
        follow,
        timestamps: flag(query, 'timestamps'),
        tailLines: number(query, 'tailLines'),
        limitBytes: number(query, 'limitBytes'),
        sinceMs: since,
        stream: stream === 'stdout' || stream === 'stderr' ? stream : undefined,
      },
      clock,
      alive,
      stop.signal,
    );
    if (follow) response.flushHeaders?.();
    for await (const piece of pieces) {
      if (stop.signal.aborted) break;
      if (!response.write(piece)) await drained(response, stop.signal);
    }
    response.end();
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Uint8Array): Promise<void> {
    this.#authorize(request);
    const url = new URL(request.url ?? '/', 'https://kubelet');
    const target = route(url.pathname);
    if (!target || (target.kind !== 'exec' && target.kind !== 'attach' && target.kind !== 'portForward'))
      throw new HttpError(404, '404 page not found');
    const pod = this.#pod(target);
    const runtime = await this.#runtime(pod);
    const upgrade = (request.headers.upgrade ?? '').toLowerCase();
    const streamUrl =
      target.kind === 'portForward'
        ? await this.#portForwardUrl(runtime, url.searchParams)
        : await this.#commandUrl(target.kind, pod, runtime, target.container, url.searchParams);
    if (upgrade === 'spdy/3.1') return splice(request, socket, head, streamUrl);
    if (upgrade !== 'websocket')
      throw new HttpError(400, `unable to upgrade: ${upgrade || 'no protocol'} is not supported`);
    await this.#webSocket(target.kind, request, socket, head, streamUrl, url.searchParams);
  }

  async #portForwardUrl(runtime: PodRuntime, query: URLSearchParams): Promise<string> {
    const sandbox = currentSandbox(runtime);
    if (!sandbox?.ready) throw new HttpError(404, `pod "${runtime.name}" is not running`);
    const ports = query
      .getAll('port')
      .map(Number)
      .filter((port) => Number.isInteger(port) && port > 0 && port < 65_536);
    return this.#options.kubelet.cri.portForward(sandbox.id, ports);
  }

  async #commandUrl(
    kind: 'exec' | 'attach',
    pod: Pod,
    runtime: PodRuntime,
    name: string,
    query: URLSearchParams,
  ): Promise<string> {
    const { cri } = this.#options.kubelet;
    const spec = allContainers(pod).find((c) => c.name === name);
    const found: RuntimeContainer | undefined = latest(runtime, name);
    if (!spec || found?.state !== 'running') throw new HttpError(404, `container not found ("${name}")`);
    const tty = flag(query, 'tty');
    const wanted = {
      containerId: found.id,
      tty: kind === 'attach' ? (spec.tty ?? false) : tty,
      stdin: flag(query, 'input'),
      stdout: flag(query, 'output'),
      // A terminal has one output.
      stderr: flag(query, 'error') && !(kind === 'attach' ? (spec.tty ?? false) : tty),
    };
    return kind === 'exec' ? cri.exec({ ...wanted, cmd: query.getAll('command') }) : cri.attach(wanted);
  }

  async #webSocket(
    kind: 'exec' | 'attach' | 'portForward',
    request: IncomingMessage,
    socket: Duplex,
    head: Uint8Array,
    streamUrl: string,
    query: URLSearchParams,
  ): Promise<void> {
    const { log } = this.#options;
    const key = request.headers['sec-websocket-key'];
    if (typeof key !== 'string') throw new HttpError(400, 'WebSocket upgrade without Sec-WebSocket-Key');
    const offered = String(request.headers['sec-websocket-protocol'] ?? '')
      .split(',')
      .map((p) => p.trim())
      .filter((p) => p !== '');
    const accept = (protocol: string): void => {
      const lines = [
        'HTTP/1.1 101 Switching Protocols',
        'Upgrade: websocket',
        'Connection: Upgrade',
        `Sec-WebSocket-Accept: ${acceptKey(key)}`,
      ];
      if (protocol !== '') lines.push(`Sec-WebSocket-Protocol: ${protocol}`);
      socket.write(`${lines.join('\r\n')}\r\n\r\n`);
    };
    if (kind === 'portForward') {
      if (!offered.includes(tunnelProtocol))
        throw new HttpError(403, `port-forward over WebSocket is supported as ${tunnelProtocol} only`);
      const upstream = await spdyConnect(streamUrl, ['portforward.k8s.io']);
      accept(tunnelProtocol);
      tunnel(socket, head, upstream, log);
      return;
    }
    const protocol = chooseProtocol(offered);
    if (protocol === undefined)
      throw new HttpError(403, `unable to negotiate protocol: client supports [${offered.join(' ')}]`);
    const tty = flag(query, 'tty');
    const upstream = await spdyConnect(streamUrl, ['v4.channel.k8s.io']);
    accept(protocol);
    translateRemoteCommand(
      socket,
      head,
      upstream,
      protocol,
      { stdin: flag(query, 'input'), stdout: flag(query, 'output'), stderr: flag(query, 'error'), tty },
      log,
    );
  }
}

/** Passes a SPDY upgrade to containerd's streaming server byte by byte: head, frames and all. */
function splice(request: IncomingMessage, client: Duplex, head: Uint8Array, streamUrl: string): void {
  const { hostname, pathname, port } = new URL(streamUrl);
  const upstream = connect({ host: hostname, port: Number(port) }, () => {
    const lines = [
      `POST ${pathname} HTTP/1.1`,
      `Host: ${hostname}:${port}`,
      'Connection: Upgrade',
      'Upgrade: SPDY/3.1',
    ];
    for (let i = 0; i + 1 < request.rawHeaders.length; i += 2)
      if (request.rawHeaders[i]!.toLowerCase() === 'x-stream-protocol-version')
        lines.push(`X-Stream-Protocol-Version: ${request.rawHeaders[i + 1]!}`);
    upstream.write(`${lines.join('\r\n')}\r\n\r\n`);
    if (head.length > 0) upstream.write(head);
    client.pipe(upstream);
    upstream.pipe(client);
  });
  upstream.on('error', (error) => (upstream.bytesRead === 0 ? refuse(client, error) : client.destroy()));
  upstream.on('close', () => client.end());
  client.on('close', () => upstream.destroy());
}

function fail(response: ServerResponse, error: unknown): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const status = error instanceof HttpError ? error.http : 500;
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' });
  response.end(`${errorText(error)}\n`);
}

function refuse(socket: Duplex, error: unknown): void {
  if (socket.destroyed) return;
  const status = error instanceof HttpError ? error.http : 500;
  const body = `${errorText(error)}\n`;
  const reason =
    { 400: 'Bad Request', 401: 'Unauthorized', 403: 'Forbidden', 404: 'Not Found' }[status] ?? 'Internal Server Error';
  socket.end(
    `HTTP/1.1 ${status} ${reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
  );
}

function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      signal.removeEventListener('abort', done);
      resolve();
    };
    response.once('drain', done);
    signal.addEventListener('abort', done, { once: true });
  });
}

function number(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function logSince(query: URLSearchParams, nowMs: number): number | undefined {
  const seconds = number(query, 'sinceSeconds');
  if (seconds !== undefined) return nowMs - seconds * 1000;
  return parseTime(query.get('sinceTime') ?? undefined);
}

function runningPod(runtime: PodRuntime): object {
  return {
    metadata: { name: runtime.name, namespace: runtime.namespace, uid: runtime.uid },
    spec: {
      containers: runtime.containers
        .filter((c) => c.state === 'running')
        .map((c) => ({ name: c.name, image: c.image, resources: {} })),
    },
    status: {},
  };
}

function nodeCpuSeconds(): number {
  const fields = /^cpu\s+(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1]?.split(/\s+/).map(Number) ?? [];
  // user, nice, system, irq, softirq, steal in ticks of a hundredth of a second.
  return [0, 1, 2, 5, 6, 7].reduce((sum, i) => sum + (fields[i] ?? 0), 0) / 100;
}

function cadvisor(uses: Iterable<ContainerUse>): string {
  const lines = ['# TYPE container_cpu_usage_seconds_total counter'];
  const memory = ['# TYPE container_memory_working_set_bytes gauge'];
  for (const use of uses) {
    const labels = `{container="${use.container}",namespace="${use.namespace}",pod="${use.pod}"}`;
    lines.push(`container_cpu_usage_seconds_total${labels} ${use.cpuNs / 1e9}`);
    memory.push(`container_memory_working_set_bytes${labels} ${use.memoryBytes}`);
  }
  return [...lines, ...memory, ''].join('\n');
}
