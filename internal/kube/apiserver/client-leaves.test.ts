/** A client that leaves before there is an answer: who was asked for it, a kubelet or a pod, hears of it. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import http2 from 'node:http2';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { KeyPair } from '../../pki/certificates.ts';
import { forward } from './proxy-client.ts';
import { RequestCaller } from './request-caller.ts';
import { startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
let admin: KeyPair;
/** Requests that came, and those of them whose other side went. */
let asked: string[] = [];
let left: string[] = [];
const hanging = (incoming: IncomingMessage, outgoing: ServerResponse): void => {
  const path = incoming.url ?? '';
  asked.push(path);
  outgoing.once('close', () => left.push(path));
};
const pod = createServer(hanging);
let kubelet: ReturnType<typeof createTlsServer>;

beforeAll(async () => {
  server = await startTestServer({ port: 0 });
  admin = await server.pki.client('admin', 'system:masters');
  const { cert, key } = await server.pki.serving('n1');
  kubelet = createTlsServer({ cert, key }, hanging);
  for (const one of [pod, kubelet]) await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve));
  const portOf = (one: typeof pod): number => (one.address() as AddressInfo).port;
  const space = '/api/v1/namespaces/default';
  const merge = { headers: { 'content-type': 'application/merge-patch+json' } };
  await server.call('POST', `${space}/serviceaccounts`, { metadata: { name: 'default' } });
  const made = [
    await server.call('POST', '/api/v1/nodes', {
      metadata: { name: 'n1' },
      status: {
        addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
        daemonEndpoints: { kubeletEndpoint: { Port: portOf(kubelet) } },
      },
    }),
    await server.call('POST', `${space}/pods`, {
      metadata: { name: 'p' },
      spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'i', ports: [{ containerPort: portOf(pod) }] }] },
    }),
  ];
  expect(made.map(({ status }) => status)).toEqual([201, 201]);
  const status = { podIP: '127.0.0.1', podIPs: [{ ip: '127.0.0.1' }] };
  expect((await server.call('PATCH', `${space}/pods/p/status`, { status }, merge)).status).toBe(200);
});
afterAll(async () => {
  pod.close();
  kubelet.close();
  await server.close();
});

const until = async (what: string, done: () => boolean): Promise<void> => {
  for (let i = 0; i < 300 && !done(); i++) await Bun.sleep(10);
  expect({ what, asked, left, done: done() }).toMatchObject({ done: true });
};

/** Each asks for a path, and gives back how its client leaves. */
const clients: Record<string, (path: string) => () => void> = {
  'HTTP/2': (path) => {
    const session = http2.connect(`https://127.0.0.1:${server.listener!.port}`, {
      ca: server.pki.serverCa.cert,
      ...admin,
    });
    session.on('error', () => undefined);
    const stream = session.request({ ':path': path });
    stream.on('error', () => undefined);
    stream.resume();
    return () => {
      stream.close(http2.constants.NGHTTP2_CANCEL);
      setTimeout(() => session.destroy(), 100);
    };
  },
  'HTTP/1.1': (path) => {
    const socket = tls.connect({
      host: '127.0.0.1',
      port: server.listener!.port,
      ca: server.pki.serverCa.cert,
      ALPNProtocols: ['http/1.1'],
      ...admin,
    });
    socket.on('error', () => undefined);
    socket.resume();
    socket.once('secureConnect', () => socket.write(`GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`));
    return () => socket.destroy();
  },
};

describe.each(Object.keys(clients))('over %s', (how) => {
  test.each([
    ['the log of a pod', '/api/v1/namespaces/default/pods/p/log', '/containerLogs/default/p/c'],
    ['the proxy of a node', '/api/v1/nodes/n1/proxy/slow', '/slow'],
    ['the proxy of a pod', '/api/v1/namespaces/default/pods/p/proxy/slow', '/slow'],
  ])('%s', async (_what, path, backend) => {
    asked = [];
    left = [];
    const leave = clients[how]!(path);
    await until('asked', () => asked.length === 1);
    expect([asked, left]).toEqual([[backend], []]);
    leave();
    await until('left', () => left.length === 1);
  });
});

test('who has left before the other is asked: it is not asked', async () => {
  asked = [];
  const caller = new RequestCaller();
  caller.leave();
  const { port } = pod.address() as AddressInfo;
  const target = { scheme: 'http', host: '127.0.0.1', port, path: '/late', name: 'p' } as const;
  await expect(forward(target, 'GET', new Headers(), undefined, caller)).rejects.toThrow('nobody waits for the answer');
  await Bun.sleep(50);
  expect(asked).toEqual([]);
});
