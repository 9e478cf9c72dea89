import type { Transport } from './client.ts';

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

export async function bodyOf(request: Request): Promise<ArrayBuffer | undefined> {
  return request.body === null ? undefined : await request.arrayBuffer();
}

export function send(
  request: Request,
  url: string,
  body: ArrayBuffer | undefined,
  tls: TlsMaterial,
  signal = request.signal,
): Promise<Response> {
  return fetch(url, {
    method: request.method,
    headers: request.headers,
    signal,
    ...(body === undefined ? {} : { body }),
    tls,
    // A watch may be silent for longer than any default.
    timeout: false,
  } as RequestInit);
}
