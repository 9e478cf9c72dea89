import { request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { failure } from '../machinery/status.ts';
import type { KubeletTarget } from './connect.ts';
import { endWith, forward, streamed } from './proxy-client.ts';
import type { Reply } from './reply.ts';
import type { RequestCaller } from './request-caller.ts';
import { passThrough } from './upgrade-client.ts';

/** How the API server talks to kubelets: with a client certificate, and believing only serving certificates of our CA for the node's name. */
export interface KubeletCredentials {
  readonly cert: string;
  readonly key: string;
  /** CA of the kubelets' serving certificates. */
  readonly ca: string;
}

const connectMs = 10_000;
const errorBytesMax = 64 * 1024;

function unreachable(target: KubeletTarget, error: unknown): Error {
  return failure(
    500,
    'InternalError',
    `Get "https://${target.host}:${target.port}${target.path}": ${errorText(error)}`,
    {
      causes: [{ message: errorText(error) }],
    },
  );
}

export class KubeletClient {
  #credentials: KubeletCredentials;
  readonly #log: Logger;

  constructor(credentials: KubeletCredentials, log: Logger) {
    this.#credentials = credentials;
    this.#log = log;
  }

  /** The next connections are made with these. */
  renew(credentials: KubeletCredentials): void {
    this.#credentials = credentials;
  }

  #tls(target: KubeletTarget): {
    host: string;
    port: number;
    cert: string;
    key: string;
    ca: string;
    servername: string;
  } {
    return { host: target.host, port: target.port, ...this.#credentials, servername: target.node };
  }

  /** A GET whose answer is passed on as it comes (logs). Back-pressure goes to the kubelet. */
  get(target: KubeletTarget, caller: RequestCaller): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const outgoing = httpsRequest({ ...this.#tls(target), path: target.path, method: 'GET' }, (response) => {
        const status = response.statusCode ?? 502;
        const contentType = response.headers['content-type'] ?? 'text/plain';
        if (status >= 400) {
          const pieces: Uint8Array[] = [];
          let size = 0;
          response.on('data', (piece: Uint8Array) => {
            if (size < errorBytesMax) pieces.push(piece);
            size += piece.length;
          });
          response.on('end', () => {
            answered();
            const text = Buffer.concat(pieces).toString('utf8').trim();
            reject(
              failure(status, status === 404 ? 'NotFound' : status === 400 ? 'BadRequest' : 'InternalError', text),
            );
          });
          response.on('error', reject);
          return;
        }
        answered();
        resolve({
          status,
          headers: { 'content-type': contentType },
          body: (sink) => streamed(response, sink, () => outgoing.destroy()),
        });
      });
      outgoing.setTimeout(connectMs, () => {
        if (outgoing.socket?.connecting !== false) outgoing.destroy(new Error('dial timeout'));
      });
      outgoing.on('error', (error) => reject(unreachable(target, error)));
      const answered = endWith(caller, outgoing);
      outgoing.end();
    });
  }

  /** Any request to a kubelet (`nodes/<name>/proxy`). */
  forward(
    target: KubeletTarget,
    method: string,
    headers: Headers,
    body: Uint8Array | undefined,
    caller: RequestCaller,
  ): Promise<Reply> {
    const { ca, cert, key } = this.#credentials;
    return forward(
      {
        scheme: 'https',
        host: target.host,
        port: target.port,
        path: target.path,
        name: target.node,
        trust: { ca, cert, key },
      },
      method,
      headers,
      body,
      caller,
    );
  }

  /**
   * Passes an upgraded connection through, byte by byte: the request head goes to the kubelet, what it answers goes to the client. Rejects with a
   * StatusError as long as nothing was sent to the client.
   */
  upgrade(
    target: KubeletTarget,
    method: string,
    headers: Record<string, string>,
    client: Duplex,
    head: Uint8Array,
  ): Promise<void> {
    const { host, port, ...credentials } = this.#tls(target);
    return passThrough(
      { host, port, path: target.path, name: `${host}:${port}`, tls: credentials },
      method,
      Object.entries(headers),
      client,
      head,
      () => this.#log.debug('stream closed', { node: target.node, path: target.path.split('?', 1)[0] }),
    ).catch((error: unknown) => {
      throw unreachable(target, error);
    });
  }
}
