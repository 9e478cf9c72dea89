import { request as httpsRequest } from 'node:https';
import tls from 'node:tls';
import type { Duplex } from 'node:stream';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { failure } from '../machinery/status.ts';
import type { KubeletTarget } from './connect.ts';
import { forward, streamed } from './proxy-client.ts';
import type { Reply } from './reply.ts';

/** How the API server talks to kubelets: with a client certificate, and believing only serving certificates of our CA for the node's name. */
export interface KubeletCredentials {
  readonly cert: string;
  readonly key: string;
  /** CA of the kubelets' serving certificates. */
  readonly ca: string;
}

const connectMs = 10_000;
const headBytesMax = 64 * 1024;
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
  get(target: KubeletTarget): Promise<Reply> {
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
            const text = Buffer.concat(pieces).toString('utf8').trim();
            reject(
              failure(status, status === 404 ? 'NotFound' : status === 400 ? 'BadRequest' : 'InternalError', text),
            );
          });
          response.on('error', reject);
          return;
        }
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
      outgoing.end();
    });
  }

  /** Any request to a kubelet (`nodes/<name>/proxy`). */
  forward(target: KubeletTarget, method: string, headers: Headers, body: Uint8Array | undefined): Promise<Reply> {
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
    return new Promise((resolve, reject) => {
      const upstream = tls.connect({ ...this.#tls(target), ALPNProtocols: ['http/1.1'] });
      let answered = false;
      const timer = setTimeout(() => upstream.destroy(new Error('dial timeout')), connectMs);
      const fail = (error: Error): void => {
        clearTimeout(timer);
        upstream.destroy();
        if (answered) client.destroy();
        else reject(unreachable(target, error));
      };
      upstream.on('error', fail);
      client.on('error', () => upstream.destroy());
      upstream.once('secureConnect', () => {
        clearTimeout(timer);
        let text = `${method} ${target.path} HTTP/1.1\r\nHost: ${target.host}:${target.port}\r\n`;
        for (const [name, value] of Object.entries(headers)) text += `${name}: ${value}\r\n`;
        upstream.write(`${text}\r\n`);
        if (head.length > 0) upstream.write(head);
      });
      let buffered = Buffer.alloc(0);
      const onData = (piece: Buffer): void => {
        buffered = Buffer.concat([buffered, piece]);
        const end = buffered.indexOf('\r\n\r\n');
        if (end < 0) {
          if (buffered.length > headBytesMax) fail(new Error('the kubelet sent too long a header'));
          return;
        }
        upstream.off('data', onData);
        answered = true;
        client.write(buffered);
        upstream.pipe(client);
        client.pipe(upstream);
        resolve();
      };
      upstream.on('data', onData);
      upstream.once('close', () => {
        if (answered) client.end();
        else fail(new Error('the kubelet closed the connection'));
      });
      client.once('close', () => {
        upstream.destroy();
        this.#log.debug('stream closed', { node: target.node, path: target.path.split('?', 1)[0] });
      });
    });
  }
}
