import { AppError, errorCode } from '../../base/errors.ts';
import type { Transport } from './client.ts';
import { ServerChoice } from './server-choice.ts';

export interface TlsMaterial {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
  /** The name that the server has to prove, where it is not the one it is reached by. */
  readonly serverName?: string;
}

/** Requests over HTTPS with a client certificate; `material` is asked at each request, so that renewed certificates are taken up. */
export function httpsTransport(material: () => TlsMaterial): Transport {
  return async (request) => send(request, request.url, await bodyOf(request), material());
}

/** The same to any of several servers, `host:port`; host and port of the requests' URL do not matter. */
export function balancedTransport(material: () => TlsMaterial, servers: () => readonly string[]): Transport {
  const choice = new ServerChoice();
  return async (request) => {
    const body = await bodyOf(request);
    const url = new URL(request.url);
    let failure: unknown = new AppError('UNREACHABLE', 'no API server is known');
    for (const server of choice.order(servers())) {
      try {
        const response = await send(request, `https://${server}${url.pathname}${url.search}`, body, material());
        choice.answered(server);
        return response;
      } catch (error) {
        if (request.signal.aborted) throw error;
        choice.failed(server, performance.now());
        failure = error;
        // What may have arrived is not sent twice.
        if (request.method !== 'GET' && errorCode(error) !== 'ConnectionRefused') throw error;
      }
    }
    throw failure;
  };
}

async function bodyOf(request: Request): Promise<ArrayBuffer | undefined> {
  return request.body === null ? undefined : await request.arrayBuffer();
}

function send(request: Request, url: string, body: ArrayBuffer | undefined, tls: TlsMaterial): Promise<Response> {
  return fetch(url, {
    method: request.method,
    headers: request.headers,
    signal: request.signal,
    ...(body === undefined ? {} : { body }),
    tls,
    // A watch may be silent for longer than any default.
    timeout: false,
  } as RequestInit);
}
