/** Proxy subresources against a real HTTP server in a pod's place; large answers are packed; a front proxy speaks for its users. */
import { createServer, type Server } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { connect } from 'node:tls';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemRandom } from '../../base/system.ts';
import { issueCertificate, makeAuthority } from '../../pki/certificates.ts';
import { splitName } from './proxy.ts';
import { makeTestPki, startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
let backend: Server;
let port = 0;
let proxyCertificate: { cert: string; key: string };
let serverCa = '';

beforeAll(async () => {
  const pki = await makeTestPki();
  serverCa = pki.serverCa.cert;
  const authority = await makeAuthority('test-request-header-ca', Date.now(), systemRandom.bytes(16));
  proxyCertificate = await issueCertificate(
    authority,
    { commonName: 'system:auth-proxy', usage: 'client' },
    Date.now(),
    systemRandom.bytes(16),
  );
  backend = createServer((incoming, outgoing) => {
    let body = '';
    incoming.on('data', (piece) => {
      body += String(piece);
    });
    incoming.on('end', () => {
      outgoing.writeHead(incoming.url?.startsWith('/teapot') ? 418 : 200, { 'content-type': 'application/json' });
      outgoing.end(JSON.stringify({ method: incoming.method, url: incoming.url, headers: incoming.headers, body }));
    });
  });
  backend.on('upgrade', (incoming, socket) => {
    const { url, headers } = incoming;
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Got: ${url} ${headers.upgrade} ${headers.authorization ?? 'none'}\r\n\r\n`,
    );
    socket.on('data', (piece) => socket.write(`echo ${String(piece)}`));
    socket.on('end', () => socket.end());
  });
  await new Promise<void>((resolve) => backend.listen(0, '127.0.0.1', resolve));
  port = (backend.address() as { port: number }).port;
  server = await startTestServer({ pki, port: 0, requestHeaderCa: authority.cert });
  await server.call('POST', '/api/v1/namespaces/default/serviceaccounts', { metadata: { name: 'default' } });
  await server.call('POST', '/api/v1/namespaces/default/pods', {
    metadata: { name: 'p' },
    spec: { containers: [{ name: 'c', image: 'i', ports: [{ name: 'web', containerPort: port }] }] },
  });
  await server.call(
    'PATCH',
    '/api/v1/namespaces/default/pods/p/status',
    { status: { podIP: '127.0.0.1', podIPs: [{ ip: '127.0.0.1' }] } },
    { headers: { 'content-type': 'application/merge-patch+json' } },
  );
});
afterAll(async () => {
  backend.close();
  await server.close();
});

test.each([
  ['p', { scheme: 'http', name: 'p', port: '' }],
  ['p:80', { scheme: 'http', name: 'p', port: '80' }],
  ['https:p:web', { scheme: 'https', name: 'p', port: 'web' }],
  [':p:', { scheme: 'http', name: 'p', port: '' }],
])('%s', (text, expected) => {
  expect(splitName(text)).toEqual(expected);
});

test('a pod is reached with method, path, query and body, and without what says who asks', async () => {
  const headers = { authorization: 'Bearer secret', 'x-own': '1', 'impersonate-user': '' };
  const answer = await server.call('POST', '/api/v1/namespaces/default/pods/p:web/proxy/a/b?c=d', 'body', { headers });
  expect(answer.body).toMatchObject({ method: 'POST', url: '/a/b?c=d', body: 'body', headers: { 'x-own': '1' } });
  expect(answer.body.headers.authorization).toBeUndefined();
  expect((await server.call('GET', '/api/v1/namespaces/default/pods/p/proxy/teapot')).status).toBe(418);
  const redirected = await server.call('GET', '/api/v1/namespaces/default/pods/p/proxy?x=1');
  expect([redirected.status, redirected.headers.get('location')]).toEqual([
    301,
    '/api/v1/namespaces/default/pods/p/proxy/?x=1',
  ]);
  expect((await server.call('GET', '/api/v1/namespaces/default/pods/p:nope/proxy/')).status).toBe(400);
});

test('a service is reached through a ready endpoint, and is unavailable without one', async () => {
  await server.call('POST', '/api/v1/namespaces/default/services', {
    metadata: { name: 's' },
    spec: { ports: [{ name: 'web', port: 80 }] },
  });
  const path = '/api/v1/namespaces/default/services/s:web/proxy/x';
  expect((await server.call('GET', path)).body.message).toBe('no endpoints available for service "s"');
  await server.call('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 's-1', labels: { 'kubernetes.io/service-name': 's' } },
    addressType: 'IPv4',
    ports: [{ name: 'web', port }],
    endpoints: [{ addresses: ['127.0.0.1'], conditions: { ready: true } }],
  });
  expect((await server.call('GET', path)).body.url).toBe('/x');
});

function overTls(path: string, headers: Record<string, string>, client?: { cert: string; key: string }) {
  return new Promise<{ status: number; headers: Record<string, unknown>; body: Buffer }>((resolve, reject) => {
    const outgoing = httpsRequest(
      {
        host: '127.0.0.1',
        port: server.listener!.port,
        path,
        headers,
        ca: serverCa,
        servername: 'localhost',
        ...client,
      },
      (response) => {
        const pieces: Buffer[] = [];
        response.on('data', (piece: Buffer) => pieces.push(piece));
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(pieces) }),
        );
      },
    );
    outgoing.on('error', reject);
    outgoing.end();
  });
}

test('a front proxy speaks for its users; nobody else can; large answers are packed for who takes it', async () => {
  const remote = { 'x-remote-user': 'alice', 'x-remote-group': 'system:masters' };
  expect((await overTls('/api/v1/namespaces', remote)).status).toBe(403);
  expect((await overTls('/api/v1/namespaces', {}, proxyCertificate)).status).toBe(403);
  await server.call('POST', '/api/v1/namespaces/default/configmaps', {
    metadata: { name: 'large' },
    data: { text: 'x'.repeat(300_000) },
  });
  const path = '/api/v1/namespaces/default/configmaps/large';
  const plain = await overTls(path, remote, proxyCertificate);
  expect([plain.status, plain.headers['content-encoding']]).toEqual([200, undefined]);
  const packed = await overTls(path, { ...remote, 'accept-encoding': 'gzip' }, proxyCertificate);
  expect(packed.headers['content-encoding']).toBe('gzip');
  expect(gunzipSync(packed.body).equals(plain.body)).toBe(true);
});

test.each([
  ['a pod', (): string => `pods/p:${port}/proxy`],
  ['a Service', () => 'services/s/proxy'],
])(
  'an upgraded connection goes through the proxy of %s: path and query, bytes both ways, no credentials',
  async (_, where) => {
    await server.call('POST', '/api/v1/namespaces/default/services', {
      metadata: { name: 's' },
      spec: { ports: [{ port: 80, targetPort: port }] },
    });
    // A validated slice may not have a loopback address: this one lies in the store as a controller could not write it.
    await server.call('POST', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices', {
      metadata: { name: 's-1', labels: { 'kubernetes.io/service-name': 's' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: ['10.0.0.1'] }],
      ports: [{ name: '', port, protocol: 'TCP' }],
    });
    const key = new TextEncoder().encode('/registry/discovery.k8s.io/endpointslices/default/s-1');
    const { kvs } = await server.store.range({ key });
    const value = Buffer.from(Buffer.from(kvs[0]!.value).toString('latin1').replace('10.0.0.1', '127.0.0.1'), 'latin1');
    await server.store.put({ key, value });
    const client = await server.pki.client('jane', 'system:masters');
    const socket = connect({
      host: '127.0.0.1',
      port: server.listener!.port,
      ...client,
      ca: serverCa,
      servername: 'localhost',
      ALPNProtocols: ['http/1.1'],
    });
    let text = '';
    socket.on('data', (piece) => {
      text += String(piece);
    });
    const until = async (part: string): Promise<void> => {
      for (let i = 0; i < 500 && !text.includes(part); i++) await new Promise((resolve) => setTimeout(resolve, 10));
      expect(text).toContain(part);
    };
    const path = `/api/v1/namespaces/default/${where()}/ws?x=1`;
    socket.write(`GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n`);
    await until('X-Got: /ws?x=1 echo none');
    socket.write('hello');
    await until('echo hello');
    const ended = new Promise((resolve) => socket.once('close', resolve));
    socket.end();
    await ended;
  },
);
