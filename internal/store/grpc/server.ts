/** gRPC over node:http2: streams, deadlines, bounds, trailers. What the methods do is theirs (`service.ts`). */
import http2 from 'node:http2';
import type { Duplex } from 'node:stream';
import type { SecureContextOptions } from 'node:tls';
import type { Clock, Timer } from '../../base/clock.ts';
import { AppError, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { GrpcCounters, MethodCounts } from './counters.ts';
import { frame, frameHeader, MessageReader } from './frame.ts';
import { findMethod, type Method, type ServerStream, type Services } from './service.ts';
import { encodeGrpcMessage, GrpcError, grpcCode, parseGrpcTimeout } from './status.ts';
import { Gunzip, Unpacking } from './unpacking.ts';

/** PEM; clients must show a certificate of `clientCa`. */
export interface GrpcTls {
  readonly cert: string;
  readonly key: string;
  readonly clientCa: string;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  /** Default: JSON. */
  readonly contentType?: string;
}

export interface GrpcServerOptions {
  readonly host: string;
  /** 0: any. */
  readonly port: number;
  /** Absent: plain text, for tests on loopback. */
  readonly tls?: GrpcTls;
  readonly services: Services;
  /** What is no gRPC call (`/health`, `/metrics`, `/version`). Undefined: not found. */
  readonly http?: (path: string) => Promise<HttpAnswer | undefined>;
  readonly maxMessageBytes: number;
  readonly counters?: GrpcCounters;
  readonly limits?: Partial<GrpcLimits>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** What clients together can make the server hold. */
export interface GrpcLimits {
  readonly connections: number;
  readonly streamsPerConnection: number;
  /** Bytes of messages that are not complete, or wait to be unpacked. */
  readonly partBytes: number;
  readonly tlsHandshakeMs: number;
}

const defaultLimits: GrpcLimits = {
  connections: 2000,
  streamsPerConnection: 10_000,
  partBytes: 64 << 20,
  tlsHandshakeMs: 15_000,
};

/** A client gets this long to end its side of a stream that is answered. */
const halfOpenMs = 50;

/** Streams that are open when the server closes are ended after this. */
const closeMs = 1000;

/** From this size on a message is sent behind its header, not copied behind it. */
const largeBytes = 64 << 10;

export interface GrpcServer {
  readonly port: number;
  /** New connections get this certificate; those that are open go on. */
  renew(tls: GrpcTls): void;
  /** Sends GOAWAY, lets calls end, and ends what has not ended a second later. */
  close(): Promise<void>;
}

interface Shared {
  readonly options: GrpcServerOptions;
  readonly limits: GrpcLimits;
  readonly gunzip: Gunzip;
  partBytes: number;
}

export async function serveGrpc(options: GrpcServerOptions): Promise<GrpcServer> {
  const limits = { ...defaultLimits, ...options.limits };
  const shared: Shared = { options, limits, gunzip: new Gunzip(options.maxMessageBytes), partBytes: 0 };
  const { log, tls, clock } = options;
  const settings = {
    settings: { maxConcurrentStreams: limits.streamsPerConnection, initialWindowSize: 1 << 20 },
    maxSessionMemory: 64,
  };
  const server =
    tls === undefined
      ? http2.createServer(settings)
      : http2.createSecureServer({
          ...settings,
          ...secureOptions(tls),
          // Not every program that asks for metrics or health speaks HTTP/2, as etcd's do not have to.
          allowHTTP1: true,
        });
  const sockets = new Set<Duplex>();
  const sessions = new Set<http2.ServerHttp2Session>();
  const handshakes = new Map<Duplex, Timer>();
  const settled = (socket: Duplex): void => {
    handshakes.get(socket)?.cancel();
    handshakes.delete(socket);
  };
  let closing = false;
  server.on('connection', (socket: Duplex) => {
    if (closing || sockets.size >= limits.connections) {
      socket.destroy();
      return;
    }
    sockets.add(socket);
    if (tls)
      handshakes.set(
        socket,
        clock.after(limits.tlsHandshakeMs, () => socket.destroy()),
      );
    socket.once('close', () => {
      sockets.delete(socket);
      settled(socket);
    });
  });
  server.on('secureConnection', (socket: Duplex) => settled(socket));
  server.on('session', (session: http2.ServerHttp2Session) => {
    sessions.add(session);
    session.on('error', (error: Error) => log.debug('etcd face: session', { error: errorText(error) }));
    session.once('close', () => sessions.delete(session));
  });
  server.on('sessionError', (error: Error) => log.debug('etcd face: session', { error: errorText(error) }));
  server.on('tlsClientError', (error: Error) => log.debug('etcd face: tls', { error: errorText(error) }));
  server.on('request', (request, response) => {
    void httpAnswer(options, request.url ?? '/').then(({ status, contentType, body }) => {
      response.writeHead(status, { 'content-type': contentType, 'content-length': Buffer.byteLength(body) });
      response.end(body);
    });
  });
  // Only what came over HTTP/1.1: what it listens for itself would make objects for each stream of HTTP/2 that send trailers of their own.
  server.removeAllListeners('stream');
  server.on('stream', (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => {
    // A stream that breaks is told by 'close'; without a listener the error would end the process.
    stream.on('error', (error: Error) => log.debug('etcd face: stream', { error: errorText(error) }));
    if (headers['content-type']?.startsWith('application/grpc')) new Call(shared, stream, headers);
    else void answerHttp(options, stream, headers[':path'] ?? '/');
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(
        error.code === 'EADDRINUSE'
          ? new AppError('PORT', `port ${options.port} of ${options.host} is in use`, {
              hint: 'End what listens there, or set ports.etcd in the configuration.',
            })
          : error,
      ),
    );
    server.listen(options.port, options.host, resolve);
  });
  const { port } = server.address() as { port: number };
  return {
    port,
    renew: (renewed) => {
      if (tls !== undefined)
        (server as http2.Http2SecureServer).setSecureContext(secureOptions(renewed) as SecureContextOptions);
    },
    close: async () => {
      closing = true;
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const session of sessions) session.close();
      const timer = clock.after(closeMs, () => {
        for (const session of sessions) session.destroy();
        for (const socket of sockets) socket.destroy();
      });
      await closed;
      timer.cancel();
    },
  };
}

function secureOptions({ cert, key, clientCa }: GrpcTls) {
  return { requestCert: true, rejectUnauthorized: true, minVersion: 'TLSv1.2', cert, key, ca: clientCa } as const;
}

async function answerHttp(options: GrpcServerOptions, stream: http2.ServerHttp2Stream, path: string): Promise<void> {
  stream.resume();
  const { status, contentType, body } = await httpAnswer(options, path);
  if (stream.destroyed || stream.headersSent) return;
  stream.respond({ ':status': status, 'content-type': contentType });
  stream.end(body);
}

async function httpAnswer(options: GrpcServerOptions, path: string): Promise<Required<HttpAnswer>> {
  const answer = await Promise.resolve(options.http?.(path)).catch(
    (error: unknown): HttpAnswer => ({ status: 500, body: `${errorText(error)}\n` }),
  );
  return { status: 404, body: '404 page not found\n', contentType: 'application/json', ...answer };
}

/** One request of gRPC from its headers to its trailers. */
class Call implements ServerStream {
  readonly #shared: Shared;
  readonly #stream: http2.ServerHttp2Stream;
  readonly #reader: MessageReader;
  readonly #gzip: boolean;
  #method: Method | undefined;
  #counts: MethodCounts | undefined;
  #timer: Timer | undefined;
  #controller: AbortController | undefined;
  #answered = false;
  /** A message has come. */
  #taken = false;
  /** By the handler. */
  #paused = false;
  #halfClosed = false;
  #closed = false;
  #held = 0;
  #status = { code: 0 as number, message: '' };
  /** Messages are handled in order, also when some of them must be unpacked first. */
  #unpacking: Unpacking | undefined;
  #message: (message: Uint8Array) => void = () => undefined;
  #halfClose: () => void = () => undefined;
  #close: () => void = () => undefined;
  #drain: () => void = () => undefined;

  constructor(shared: Shared, stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) {
    this.#shared = shared;
    this.#stream = stream;
    this.#reader = new MessageReader(shared.options.maxMessageBytes);
    this.#gzip = headers['grpc-encoding'] === 'gzip';
    stream.on('close', () => this.#ended());
    try {
      this.#start(headers);
    } catch (error) {
      this.#fail(error);
    }
  }

  #start(headers: http2.IncomingHttpHeaders): void {
    const { services, clock } = this.#shared.options;
    if (headers[':method'] !== 'POST')
      throw new GrpcError(
        grpcCode.internal,
        `gRPC needs the method POST, not ${String(headers[':method']).slice(0, 20)}`,
      );
    const encoding = headers['grpc-encoding'];
    if (encoding !== undefined && encoding !== 'identity' && encoding !== 'gzip')
      throw new GrpcError(
        grpcCode.unimplemented,
        `grpc: Decompressor is not installed for grpc-encoding ${JSON.stringify(String(encoding).slice(0, 40))}`,
      );
    const timeout = headers['grpc-timeout'];
    if (timeout !== undefined) {
      const ms = parseGrpcTimeout(String(timeout));
      if (ms === undefined)
        throw new GrpcError(grpcCode.internal, `malformed grpc-timeout: ${String(timeout).slice(0, 40)}`);
      this.#timer = clock.after(Math.min(ms, 0x7fff_ffff), () =>
        this.#fail(new GrpcError(grpcCode.deadlineExceeded, 'context deadline exceeded')),
      );
    }
    const path = headers[':path'] ?? '';
    this.#method = findMethod(services, path);
    this.#counts = this.#shared.options.counters?.of(path, this.#method.kind);
    if (this.#counts !== undefined) this.#counts.started++;
    this.#stream.on('data', (chunk: Uint8Array) => this.#data(chunk));
    this.#stream.on('end', () => this.#end());
    if (this.#method.kind === 'stream') {
      this.#stream.on('drain', () => this.#drain());
      this.#method.open(this);
    }
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#closed) this.#controller.abort();
    return this.#controller.signal;
  }
  onMessage(handler: (message: Uint8Array) => void): void {
    this.#message = handler;
  }
  onHalfClose(handler: () => void): void {
    this.#halfClose = handler;
  }
  onClose(handler: () => void): void {
    this.#close = handler;
  }
  onDrain(handler: () => void): void {
    this.#drain = handler;
  }
  pause(): void {
    this.#paused = true;
    this.#read();
  }
  resume(): void {
    this.#paused = false;
    this.#read();
  }

  #data(chunk: Uint8Array): void {
    if (this.#answered) return;
    try {
      for (const { compressed, bytes } of this.#reader.push(chunk)) {
        // Later messages of a call that takes one are not looked at.
        if (this.#taken && this.#method!.kind === 'unary') continue;
        this.#taken = true;
        if (compressed || this.#unpacking?.running !== undefined) this.#unpack(bytes, compressed);
        else this.#take(bytes);
      }
      this.#hold();
      if (this.#held > 0 && this.#shared.partBytes > this.#shared.limits.partBytes)
        throw new GrpcError(grpcCode.resourceExhausted, 'too many requests wait for the rest of their bytes');
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Counts what this call makes the server hold. */
  #hold(): void {
    const bytes = this.#answered ? 0 : this.#reader.held + (this.#unpacking?.held ?? 0);
    this.#shared.partBytes += bytes - this.#held;
    this.#held = bytes;
  }

  #unpack(bytes: Uint8Array, compressed: boolean): void {
    if (compressed && !this.#gzip)
      throw new GrpcError(grpcCode.internal, 'grpc: compressed flag set with identity or empty encoding');
    this.#unpacking ??= new Unpacking({
      unpack: (packed) => this.#shared.gunzip.unpack(packed),
      take: (message) => this.#take(message),
      fail: (error) => this.#fail(error),
      changed: () => {
        this.#hold();
        this.#read();
      },
    });
    this.#unpacking.push(bytes, compressed);
    this.#read();
  }

  /** Takes more from the client, unless its handler has enough, or what came before is still unpacked. */
  #read(): void {
    const enough = this.#paused || this.#unpacking?.running !== undefined;
    if (enough && !this.#answered) this.#stream.pause();
    else this.#stream.resume();
  }

  #take(message: Uint8Array): void {
    if (this.#counts !== undefined) {
      this.#counts.received++;
      this.#shared.options.counters!.receivedBytes += message.length;
    }
    const method = this.#method!;
    if (method.kind === 'stream') {
      this.#message(message);
      return;
    }
    try {
      const answer = method.handle(message, this);
      if (answer instanceof Uint8Array) this.#answer(answer);
      else
        answer.then(
          (bytes) => this.#answer(bytes),
          (error: unknown) => this.#fail(error),
        );
    } catch (error) {
      this.#fail(error);
    }
  }

  #end(): void {
    this.#halfClosed = true;
    if (this.#answered) return;
    const unpacking = this.#unpacking?.running;
    if (unpacking !== undefined) {
      void unpacking.then(() => this.#end());
      return;
    }
    try {
      this.#reader.end();
      if (this.#method!.kind === 'stream') this.#halfClose();
      else if (!this.#taken) throw new GrpcError(grpcCode.internal, 'unexpected EOF: a call without a message');
    } catch (error) {
      this.#fail(error);
    }
  }

  #answer(message: Uint8Array): void {
    if (this.#answered || this.#closed) return;
    this.#head();
    this.#write(message);
    this.#stream.end();
    this.#done();
  }

  /** False: the client does not keep up. */
  #write(message: Uint8Array): boolean {
    if (this.#counts !== undefined) {
      this.#counts.sent++;
      this.#shared.options.counters!.sentBytes += message.length;
    }
    if (message.length < largeBytes) return this.#stream.write(frame(message));
    this.#stream.write(frameHeader(message.length));
    return this.#stream.write(message);
  }

  /** Response headers; the trailers follow when the stream is ended. */
  #head(): void {
    if (this.#stream.headersSent) return;
    this.#stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    this.#stream.once('wantTrailers', () => {
      const { code, message } = this.#status;
      this.#stream.sendTrailers({
        'grpc-status': String(code),
        ...(message !== '' && { 'grpc-message': encodeGrpcMessage(message) }),
      });
    });
  }

  send(messages: readonly Uint8Array[]): boolean {
    if (this.#answered || this.#closed) return false;
    this.#head();
    let more = true;
    for (const message of messages) more = this.#write(message);
    return more;
  }

  end(error?: GrpcError): void {
    if (error) this.#fail(error);
    else if (!this.#answered && !this.#closed) {
      this.#head();
      this.#stream.end();
      this.#done();
    }
  }

  #fail(error: unknown): void {
    if (this.#answered || this.#closed) return;
    if (error instanceof GrpcError) this.#status = { code: error.status, message: error.message };
    else {
      this.#shared.options.log.error('etcd face: a call failed', { error: errorText(error) });
      this.#status = { code: grpcCode.internal, message: errorText(error) };
    }
    if (this.#stream.headersSent) this.#stream.end();
    else {
      // "Trailers-Only": the status in the headers, and nothing behind.
      const { code, message } = this.#status;
      this.#stream.respond(
        {
          ':status': 200,
          'content-type': 'application/grpc',
          'grpc-status': String(code),
          'grpc-message': encodeGrpcMessage(message),
        },
        { endStream: true },
      );
    }
    this.#done();
  }

  /** The answer is on its way: what the client still sends is not read. */
  #done(): void {
    this.#answered = true;
    this.#timer?.cancel();
    this.#controller?.abort();
    this.#unpacking?.stop();
    this.#hold();
    if (this.#paused) this.#read();
    // A client that has not ended its side is told that nobody reads it (RFC 9113, 8.1); one that is about to ends it in this turn.
    if (!this.#halfClosed)
      this.#shared.options.clock.after(halfOpenMs, () => {
        if (!this.#halfClosed && !this.#stream.destroyed) this.#stream.close(http2.constants.NGHTTP2_NO_ERROR);
      });
    this.#ended();
  }

  #ended(): void {
    if (this.#closed) return;
    if (!this.#answered) {
      this.#answered = true;
      this.#status = { code: grpcCode.cancelled, message: '' };
      this.#timer?.cancel();
      this.#unpacking?.stop();
      this.#hold();
    }
    this.#closed = true;
    if (this.#counts !== undefined) this.#shared.options.counters!.ended(this.#counts, this.#status.code);
    this.#controller?.abort();
    this.#close();
  }
}
