import http2 from 'node:http2';
import net from 'node:net';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import type { KeyPair } from '../../pki/certificates.ts';
import type { ApiApp } from './app.ts';
import { type Listener, type ListenLimits, listen } from './listener-server.ts';
import type { KubeletClient } from './kubelet-client-shell.ts';
import { errorStatus, statusReply, toResponse } from './reply.ts';
import { makeTestPki, startTestServer, type TestPki, type TestServer } from './testing.ts';

let pki: TestPki;
const listeners: Listener[] = [];
beforeAll(async () => {
  pki = await makeTestPki();
});
afterAll(async () => {
  for (const listener of listeners) await listener.close();
});

/** A listener whose every request reads its body and tells of how many bytes; `hold` may make it wait before it answers. */
async function echo(limits: Partial<ListenLimits>, hold?: () => Promise<void>): Promise<number> {
  const app = {
    fetch: async (_request: Request, env: { body?: () => Promise<Uint8Array> }) => {
      try {
        const body = (await env.body?.()) ?? new Uint8Array(0);
        await hold?.();
        return toResponse({ status: 200, headers: {}, body: [Buffer.from(String(body.length))] }, true);
      } catch (error) {
        return toResponse(statusReply(errorStatus(error, silentLogger, 'test')), true);
      }
    },
  } as unknown as ApiApp;
  const options = { port: 0, host: '127.0.0.1', ...pki.server, clientCa: pki.clientCa.cert, limits };
  const listener = await listen(app, {} as KubeletClient, options, Date.now, silentLogger);
  listeners.push(listener);
  return listener.port;
}

interface Raw {
  readonly text: () => string;
  readonly closed: () => boolean;
  write(text: string): void;
  until(done: () => boolean): Promise<void>;
  destroy(): void;
}

/** HTTP/1.1 by hand. */
async function raw(port: number, ca: string, client?: KeyPair): Promise<Raw> {
  const socket = tls.connect({ host: '127.0.0.1', port, ca, ALPNProtocols: ['http/1.1'], ...client });
  let text = '';
  let closed = false;
  socket.on('data', (piece) => (text += String(piece)));
  socket.on('error', () => undefined);
  socket.on('close', () => (closed = true));
  await new Promise<void>((resolve) => {
    socket.once('secureConnect', resolve);
    socket.once('close', () => resolve());
  });
  return {
    text: () => text,
    closed: () => closed,
    write: (piece) => void socket.write(piece),
    destroy: () => void socket.destroy(),
    until: async (done) => {
      for (let i = 0; i < 300 && !done(); i++) await new Promise((resolve) => setTimeout(resolve, 10));
      expect(done(), text).toBe(true);
    },
  };
}

const head = (path: string, length: number): string =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${length}\r\n\r\n`;

function post(port: number, bytes: number, end = true): Promise<number> {
  return new Promise((resolve, reject) => {
    const session = http2.connect(`https://127.0.0.1:${port}`, { ca: pki.serverCa.cert });
    session.on('error', reject);
    const stream = session.request({ ':path': '/', ':method': 'POST' });
    stream.on('error', () => undefined);
    stream.on('response', (headers) => {
      resolve(Number(headers[':status']));
      session.destroy();
    });
    stream.write(Buffer.alloc(bytes));
    if (end) stream.end();
  });
}

describe('bodies', () => {
  test('what one request and all of them may send, over both protocols', async () => {
    let letGo = (): void => undefined;
    const gate = new Promise<void>((resolve) => (letGo = resolve));
    let held = 0;
    const port = await echo({ bodyBytes: 1_000_000 }, () => {
      held++;
      return gate;
    });
    const first = post(port, 600_000);
    while (held === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await post(port, 600_000)).toBe(429);
    const h1 = await raw(port, pki.serverCa.cert);
    h1.write(head('/', 600_000) + 'x'.repeat(600_000));
    await h1.until(() => h1.text().startsWith('HTTP/1.1 429'));
    expect(h1.text().toLowerCase()).toContain('retry-after: 1');
    letGo();
    expect(await first).toBe(200);
    h1.write(head('/', 600_000) + 'x'.repeat(600_000));
    await h1.until(() => h1.text().endsWith('600000'));
    h1.destroy();
    expect(await post(port, 600_000)).toBe(200);
    const large = await echo({});
    expect(await post(large, 3 * 1024 * 1024)).toBe(200);
    expect(await post(large, 3 * 1024 * 1024 + 1, false)).toBe(413);
  });

  test('a body that does not come in time is 408, and what it held is free again', async () => {
    const port = await echo({ bodyMs: 100, bodyBytes: 1000 });
    const slow = await raw(port, pki.serverCa.cert);
    slow.write(`${head('/', 2000)}${'x'.repeat(900)}`);
    await slow.until(() => slow.text().startsWith('HTTP/1.1 408'));
    slow.destroy();
    expect(await post(port, 900, false)).toBe(408);
    expect(await post(port, 900)).toBe(200);
  });
});

describe('connections', () => {
  test('one too many is closed; a place becomes free', async () => {
    const port = await echo({ connections: 2 });
    const one = await raw(port, pki.serverCa.cert);
    const two = await raw(port, pki.serverCa.cert);
    const three = await raw(port, pki.serverCa.cert);
    await three.until(() => three.closed());
    expect(one.closed() || two.closed()).toBe(false);
    one.destroy();
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await post(port, 10)).toBe(200);
    two.destroy();
  });

  test('silence: without a handshake, or without a request, it is closed; one that has asked stays', async () => {
    const port = await echo({ tlsHandshakeMs: 100, firstRequestMs: 200 });
    let ended = 0;
    const bare = net.connect(port, '127.0.0.1');
    bare.on('error', () => undefined);
    bare.on('close', () => ended++);
    const mute = await raw(port, pki.serverCa.cert);
    const asked = await raw(port, pki.serverCa.cert);
    asked.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
    const session = http2.connect(`https://127.0.0.1:${port}`, { ca: pki.serverCa.cert });
    session.on('error', () => undefined);
    session.on('close', () => ended++);
    await mute.until(() => mute.closed() && ended === 2);
    expect(asked.text()).toContain('200 OK');
    expect(asked.closed()).toBe(false);
    asked.destroy();
  });
});

describe('before the body', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer({ port: 0 });
  });
  afterAll(() => server.close());

  test('who may not do it is told so before a body has come', async () => {
    const port = server.listener!.port;
    const ca = server.pki.serverCa.cert;
    const path = '/api/v1/namespaces';
    for (const [client, status] of [
      [undefined, 403],
      [await server.pki.client('bob'), 403],
    ] as const) {
      const stranger = await raw(port, ca, client);
      stranger.write(head(path, 2_000_000));
      await stranger.until(() => stranger.text().startsWith(`HTTP/1.1 ${status}`));
      stranger.destroy();
    }
    const token = await raw(port, ca);
    token.write(head(path, 2_000_000).replace('Host: x', 'Host: x\r\nAuthorization: Bearer nothing'));
    await token.until(() => token.text().startsWith('HTTP/1.1 401'));
    token.destroy();
    const body = JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'made' } });
    const good = await raw(port, ca, await server.pki.client('admin', 'system:masters'));
    good.write(head(path, body.length));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(good.text()).toBe('');
    good.write(body);
    await good.until(() => good.text().startsWith('HTTP/1.1 201'));
    good.destroy();
  });
});

describe('TLS', () => {
  /** The version that is spoken with a client that knows but one, or undefined when there is none. */
  const spoken = (port: number, version: tls.SecureVersion): Promise<string | undefined | null> =>
    new Promise((resolve) => {
      const range = { minVersion: version, maxVersion: version };
      const socket = tls.connect({ host: '127.0.0.1', port, ca: pki.serverCa.cert, ...range });
      socket.once('secureConnect', () => {
        resolve(socket.getProtocol());
        socket.destroy();
      });
      socket.once('error', () => resolve(undefined));
      socket.once('close', () => resolve(undefined));
    });

  test('nothing older than 1.2 is spoken, nor after the certificate is renewed', async () => {
    const port = await echo({});
    for (let renewed = 0; renewed < 2; renewed++) {
      expect(await spoken(port, 'TLSv1.3')).toBe('TLSv1.3');
      expect(await spoken(port, 'TLSv1.2')).toBe('TLSv1.2');
      expect(await spoken(port, 'TLSv1.1')).toBeUndefined();
      expect(await spoken(port, 'TLSv1')).toBeUndefined();
      listeners.at(-1)!.renew(pki.server);
    }
  });
});
