import type { Transport } from './client.ts';

/** Requests over HTTPS with a client certificate; `material` is asked at each request, so that renewed certificates are taken up. */
export function httpsTransport(material: () => { ca: string; cert: string; key: string }): Transport {
  return async (request) => {
    const body = request.body === null ? undefined : await request.arrayBuffer();
    return fetch(request.url, {
      method: request.method,
      headers: request.headers,
      signal: request.signal,
      ...(body === undefined ? {} : { body }),
      tls: material(),
      // A watch may be silent for longer than any default.
      timeout: false,
    } as RequestInit);
  };
}
