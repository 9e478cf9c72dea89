/** gRPC calls over node:http2 to one address. Who reconnects, and where to, is decided elsewhere (`external/connection-client.ts`). */
import http2 from 'node:http2';
import { errorText } from '../../base/errors.ts';
import { frame, MessageReader } from './frame.ts';
import { decodeGrpcMessage, GrpcError, type GrpcCode, grpcCode } from './status.ts';

export interface GrpcTarget {
  readonly host: string;
  readonly port: number;
  /** Absent: plain text. */
  readonly tls?: { readonly ca?: string; readonly cert?: string; readonly key?: string; readonly serverName?: string };
}

/** Largest answer that is taken: a range may be large, and so may a watch's history. */
const maxAnswerBytes = 512 << 20;
const connectMs = 5000;
/** A connection that answers no ping within this is dead: a machine that lost power sends no reset. */
const pingEveryMs = 10_000;
const pingAnswerMs = 10_000;

export interface ClientStream {
  /** False: more is waiting than the server takes. */
  send(message: Uint8Array): boolean;
  endSending(): void;
  /** Takes no more messages until `resume`; some may still be on their way. */
  pause(): void;
  resume(): void;
  cancel(): void;
}

export interface StreamHandlers {
  onMessage(message: Uint8Array): void;
  /** Once; undefined: the server ended it with OK. */
  onEnd(error: GrpcError | undefined): void;
}

/** One connection. Every failure is a GrpcError; UNAVAILABLE says that the connection is at fault. */
export class GrpcConnection {
  readonly #session: http2.ClientHttp2Session;
  readonly #authority: string;
  readonly #pinging: ReturnType<typeof setInterval>;
  #closed = false;
  /** Calls that are not over. */
  #open = 0;

  private constructor(session: http2.ClientHttp2Session, authority: string, onClose: () => void) {
    this.#session = session;
    this.#authority = authority;
    const closed = (): void => {
      if (this.#closed) return;
      this.#closed = true;
      clearInterval(this.#pinging);
      onClose();
    };
    session.on('error', () => session.destroy());
    session.on('goaway', closed);
    session.on('close', closed);
    this.#pinging = setInterval(() => this.#ping(), pingEveryMs);
    this.#pinging.unref();
  }

  /** `onClose` is called once when no more calls can be made on it. */
  static connect(target: GrpcTarget, onClose: () => void): Promise<GrpcConnection> {
    const { host, port, tls } = target;
    const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`;
    return new Promise((resolve, reject) => {
      const session = http2.connect(`${tls ? 'https' : 'http'}://${authority}`, {
        settings: { initialWindowSize: 4 << 20 },
        maxSessionMemory: 1000,
        ...(tls && {
          ca: tls.ca,
          cert: tls.cert,
          key: tls.key,
          servername: tls.serverName ?? (/^[\d.]+$|:/.test(host) ? undefined : host),
        }),
      } as http2.SecureClientSessionOptions);
      const failed = (error: unknown): void => {
        clearTimeout(timer);
        session.destroy();
        reject(new GrpcError(grpcCode.unavailable, `cannot connect to ${authority}: ${errorText(error)}`, error));
      };
      const timer = setTimeout(() => failed(new Error(`no answer within ${connectMs / 1000} s`)), connectMs);
      session.once('error', failed);
      session.once('connect', () => {
        clearTimeout(timer);
        session.off('error', failed);
        resolve(new GrpcConnection(session, authority, onClose));
      });
    });
  }

  #ping(): void {
    // Servers of grpc-go end a connection that pings without a call.
    if (this.#closed || this.#open === 0) return;
    const timer = setTimeout(() => this.#session.destroy(), pingAnswerMs);
    timer.unref();
    try {
      this.#session.ping(() => clearTimeout(timer));
    } catch {
      this.#session.destroy();
    }
  }

  unary(path: string, message: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      let answer: Uint8Array | undefined;
      const timer = setTimeout(() => stream.cancel(), timeoutMs + 100);
      const stream = this.stream(
        path,
        {
          onMessage: (bytes) => {
            answer = bytes.slice();
          },
          onEnd: (error) => {
            clearTimeout(timer);
            if (error) reject(error);
            else if (answer) resolve(answer);
            else reject(new GrpcError(grpcCode.internal, `${path} answered without a message`));
          },
        },
        timeoutMs,
      );
      stream.send(message);
      stream.endSending();
    });
  }

  stream(path: string, handlers: StreamHandlers, timeoutMs?: number): ClientStream {
    let ended = false;
    let cancelled = false;
    const end = (error: GrpcError | undefined): void => {
      if (ended) return;
      ended = true;
      handlers.onEnd(error);
    };
    let request: http2.ClientHttp2Stream;
    try {
      if (this.#closed) throw new Error('the connection is closed');
      request = this.#session.request({
        ':method': 'POST',
        ':path': path,
        ':authority': this.#authority,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...(timeoutMs !== undefined && {
          'grpc-timeout': `${Math.max(1, Math.min(99_999_999, Math.ceil(timeoutMs)))}m`,
        }),
      });
    } catch (error) {
      queueMicrotask(() => end(new GrpcError(grpcCode.unavailable, errorText(error), error)));
      const nothing = (): void => undefined;
      return { send: () => false, endSending: nothing, pause: nothing, resume: nothing, cancel: nothing };
    }
    this.#open++;
    const reader = new MessageReader(maxAnswerBytes);
    let status: { code: GrpcCode; message: string } | undefined;
    const readStatus = (headers: http2.IncomingHttpHeaders): void => {
      const code = headers['grpc-status'];
      if (code === undefined) return;
      status = { code: Number(code) as GrpcCode, message: decodeGrpcMessage(String(headers['grpc-message'] ?? '')) };
    };
    let failure: unknown;
    request.on('response', (headers) => {
      readStatus(headers);
      const http = headers[':status'];
      if (http !== 200 && status === undefined)
        status = { code: grpcCode.unavailable, message: `HTTP status ${http} instead of a gRPC answer` };
    });
    request.on('trailers', readStatus);
    request.on('data', (chunk: Uint8Array) => {
      try {
        for (const { compressed, bytes } of reader.push(chunk)) {
          if (compressed) throw new GrpcError(grpcCode.internal, 'a compressed answer that was not asked for');
          if (!ended) handlers.onMessage(bytes);
        }
      } catch (error) {
        end(error instanceof GrpcError ? error : new GrpcError(grpcCode.internal, errorText(error), error));
        request.close(http2.constants.NGHTTP2_CANCEL);
      }
    });
    request.on('error', (error) => {
      failure = error;
    });
    request.on('close', () => {
      this.#open--;
      if (status !== undefined) end(status.code === 0 ? undefined : new GrpcError(status.code, status.message));
      else if (cancelled)
        end(
          timeoutMs === undefined
            ? new GrpcError(grpcCode.cancelled, 'cancelled')
            : new GrpcError(grpcCode.deadlineExceeded, `${path}: no answer within ${timeoutMs / 1000} s`),
        );
      else
        end(
          new GrpcError(
            grpcCode.unavailable,
            `the connection broke before ${path} was answered${failure === undefined ? '' : `: ${errorText(failure)}`}`,
          ),
        );
    });
    return {
      send: (message) => !ended && request.write(frame(message)),
      endSending: () => void request.end(),
      pause: () => void request.pause(),
      resume: () => void request.resume(),
      cancel: () => {
        cancelled = true;
        request.close(http2.constants.NGHTTP2_CANCEL);
      },
    };
  }

  close(): void {
    clearInterval(this.#pinging);
    this.#closed = true;
    this.#session.destroy();
  }
}
