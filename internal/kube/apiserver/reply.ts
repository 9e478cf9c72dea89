import { concatBytes, utf8 } from '../../base/bytes.ts';
import { errorCode, errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { ClusterError } from '../../store/errors.ts';
import {
  failure,
  internalError,
  serviceUnavailable,
  type Status,
  StatusError,
  tooManyRequests,
} from '../machinery/status.ts';

/** Where a streaming answer goes. */
export interface ReplySink {
  write(bytes: Uint8Array): void;
  /** Bytes that were written and not yet taken by the peer. */
  backlog(): number;
  end(): void;
  /** Breaks off: what is queued is dropped. */
  abort(): void;
}

/** Starts a stream and gives back what stops it; called once. */
export type ReplyStream = (sink: ReplySink) => () => void;

/**
 * An answer before it meets a transport: pieces of bytes are written as they are, in order. The network shell takes it from the Response by
 * `replyOf`; in-process callers get an ordinary body.
 */
export interface Reply {
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: Uint8Array[] | ReplyStream;
  /** Texts of `Warning: 299` headers. */
  readonly warnings?: readonly string[];
}

/** Lets go of an answer that nobody gets: what its stream already holds, as the connection of a kubelet, ends with the stream only. */
export function discard({ body }: Reply): void {
  if (typeof body !== 'function') return;
  const stop = body({ write: () => undefined, backlog: () => 0, end: () => undefined, abort: () => undefined });
  stop();
}

const replies = new WeakMap<Response, Reply>();

/** The reply that a Response was made of, when `raw` was asked for. */
export function replyOf(response: Response): Reply | undefined {
  return replies.get(response);
}

/** Header values of the warnings, deduplicated, non-ASCII escaped (RFC 7234, section 5.5). At most 4 KiB in all. */
export function warningHeaders(warnings: readonly string[] | undefined): string[] {
  if (warnings === undefined || warnings.length === 0) return [];
  const out: string[] = [];
  let size = 0;
  for (const text of new Set(warnings)) {
    const clean = text
      .slice(0, 256)
      .replace(/[^ -~]/g, (c) => (c < ' ' ? ' ' : '?'))
      .replace(/[\\"]/g, '\\$&');
    size += clean.length;
    if (size > 4096) break;
    out.push(`299 - "${clean}"`);
  }
  return out;
}

/** `raw`: leave the body out, the caller reads it with `replyOf`. `signal` ends a stream, as an aborted fetch does. */
export function toResponse(reply: Reply, raw: boolean, signal?: AbortSignal): Response {
  if (raw) {
    const response = new Response(null, { status: reply.status });
    replies.set(response, reply);
    return response;
  }
  const headers = new Headers(reply.headers);
  for (const warning of warningHeaders(reply.warnings)) headers.append('warning', warning);
  if (typeof reply.body !== 'function') {
    const empty = reply.body.length === 0 || reply.status === 204 || reply.status === 304;
    return new Response(empty ? null : concatBytes(reply.body), { status: reply.status, headers });
  }
  const start = reply.body;
  let stop: (() => void) | undefined;
  let ended = false;
  const abandon = (): void => {
    ended = true;
    stop?.();
  };
  const highWaterMark = 65536;
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        if (signal?.aborted) return controller.error(signal.reason);
        signal?.addEventListener(
          'abort',
          () => {
            if (ended) return;
            abandon();
            controller.error(signal.reason);
          },
          { once: true },
        );
        stop = start({
          write(bytes) {
            if (!ended) controller.enqueue(bytes);
          },
          backlog: () => Math.max(0, highWaterMark - (controller.desiredSize ?? highWaterMark)),
          end() {
            if (ended) return;
            ended = true;
            controller.close();
          },
          abort() {
            if (ended) return;
            ended = true;
            controller.error(new Error('the reader of this stream is too slow'));
          },
        });
      },
      cancel: abandon,
    },
    { highWaterMark, size: (chunk) => chunk?.length ?? 0 },
  );
  return new Response(body, { status: reply.status, headers });
}

const jsonHeaders = { 'content-type': 'application/json' };

export function jsonReply(value: unknown, status = 200): Reply {
  return { status, headers: { ...jsonHeaders }, body: [utf8(JSON.stringify(value))] };
}

export function textReply(text: string, status = 200): Reply {
  return {
    status,
    headers: { 'content-type': 'text/plain; charset=utf-8', 'x-content-type-options': 'nosniff' },
    body: [utf8(text)],
  };
}

/** Any failure as a Status; what is no StatusError is logged and told as an internal error. */
export function errorStatus(error: unknown, log: Logger, what: string): Status {
  if (error instanceof StatusError) return error.status;
  const code = errorCode(error);
  if (code === 'STORE_BUSY') return tooManyRequests(errorText(error), 1).status;
  if (code === 'STORE_CLOSED' || code === 'STORE_FAILED' || code === 'REMOVED') {
    log.error('the store does not answer', { what, error: errorText(error) });
    return serviceUnavailable(errorText(error)).status;
  }
  // Of several servers too few reach each other: no defect of this one, and the store's own log tells of it.
  if (error instanceof ClusterError && code === 'NO_LEADER') return serviceUnavailable(errorText(error)).status;
  // The leader changed, or did not answer: nobody knows whether it was done, so a client may not simply send it again.
  if (error instanceof ClusterError) return failure(504, 'Timeout', errorText(error), {}).status;
  log.error('request failed', { what, error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  return internalError(errorText(error)).status;
}

export function statusReply(status: Status): Reply {
  const reply = jsonReply(status, status.code ?? 500);
  const retry = status.details?.retryAfterSeconds;
  if (retry !== undefined) reply.headers['retry-after'] = String(retry);
  return reply;
}
