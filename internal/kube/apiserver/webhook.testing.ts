import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { JsonObject } from '../machinery/json.ts';
import type { TestPki } from './testing.ts';

/** A webhook on loopback. */
export interface TestWebhook {
  /** `clientConfig` of a configuration that asks it at `path`, which begins with a slash; of one that asks another `port`. */
  clientConfig(path: string, port?: number): JsonObject;
  close(): void;
}

/** Answers reviews, of admission and of conversion, with what `respond` makes of the request and the path it came to. */
export async function startWebhook(
  pki: TestPki,
  respond: (request: JsonObject, path: string) => JsonObject | Promise<JsonObject>,
): Promise<TestWebhook> {
  const { cert, key } = await pki.serving('localhost');
  const server = createServer({ cert, key }, (incoming, outgoing) => {
    let text = '';
    incoming.on('data', (piece) => {
      text += String(piece);
    });
    incoming.on('end', async () => {
      const { apiVersion, kind, request } = JSON.parse(text) as JsonObject & { request: JsonObject };
      const response = await respond(request, (incoming.url ?? '').split('?')[0]!);
      outgoing.end(JSON.stringify({ apiVersion, kind, response: { uid: request.uid, ...response } }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    clientConfig: (path, port = (server.address() as AddressInfo).port) => ({
      url: `https://localhost:${port}${path}`,
      caBundle: Buffer.from(pki.serverCa.cert).toString('base64'),
    }),
    close: () => void server.close(),
  };
}
