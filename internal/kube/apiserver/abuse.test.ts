/** Clients that take memory: each thing that one can make the server hold has a bound, and others are served meanwhile. */
import http2 from 'node:http2';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import type { KeyPair } from '../../pki/certificates.ts';
import type { ApiApp } from './app.ts';
import type { KubeletClient } from './kubelet-client-shell.ts';
import { type Listener, listen, type ListenLimits } from './listener-server.ts';
import { type Reply, toResponse } from './reply.ts';
import { makeTestPki, startTestServer, type TestPki, type TestServer } from './testing.ts';

const until = async (what: string, done: () => boolean | Promise<boolean>): Promise<void> => {
  for (let i = 0; i < 1000 && !(await done()); i++) await Bun.sleep(10);
  expect({ what, done: await done() }).toEqual({ what, done: true });
};

/** A connection of one's own making. */
async function connect(port: number, ca: string, protocol: string, client?: KeyPair) {
  const socket = tls.connect({ host: '127.0.0.1', port, ca, ALPNProtocols: [protocol], ...client });
  const state = { closed: false, bytes: 0, text: '' };
  socket.on('error', () => undefined);
  socket.on('close', () => {
    state.closed = true;
  });
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve);
    socket.once('error', reject);
  });
  const read = (): void => {
    socket.on('data', (piece: Buffer) => {
      state.bytes += piece.length;
      if (state.text.length < 10_000) state.text += piece.toString('latin1');
    });
  };
  return { socket, state, read };
}

describe('a watch that nobody reads', () => {
  let server: TestServer;
  let admin: KeyPair;
  beforeAll(async () => {
    server = await startTestServer({ port: 0 });
    admin = await server.pki.client('admin', 'system:masters');
  });
  afterAll(() => server.close());
  const maps = '/api/v1/namespaces/default/configmaps';
  const watchers = async (): Promise<number> => {
    const { body } = await server.call('GET', '/metrics');
    return Number(/^apiserver_watchers (\d+)$/m.exec(String(body))![1]);
  };

  const clients: Record<string, () => Promise<() => void>> = {
    'HTTP/1.1': async () => {
      const { socket } = await connect(server.listener!.port, server.pki.serverCa.cert, 'http/1.1', admin);
      socket.pause();
      socket.write(`GET ${maps}?watch=1&fieldSelector=metadata.name%3Dlarge HTTP/1.1\r\nHost: x\r\n\r\n`);
      return () => socket.destroy();
    },
    'HTTP/2': async () => {
      const session = http2.connect(`https://127.0.0.1:${server.listener!.port}`, {
        ca: server.pki.serverCa.cert,
        ...admin,
      });
      session.on('error', () => undefined);
      const stream = session.request({ ':path': `${maps}?watch=1&fieldSelector=metadata.name%3Dlarge` });
      stream.on('error', () => undefined);
      stream.pause();
      return () => session.destroy();
    },
  };

  test.each(Object.keys(clients))('over %s is ended', async (how) => {
    await server.call('DELETE', `${maps}/large`);
    const before = await watchers();
    const leave = await clients[how]!();
    await until('watched', async () => (await watchers()) === before + 1);
    const value = 'x'.repeat(900_000);
    const object = { metadata: { name: 'large' }, data: { value } };
    expect((await server.call('POST', maps, object)).status).toBe(201);
    let written = 0;
    for (; written < 60 && (await watchers()) > before; written++) {
      await server.call('PUT', `${maps}/large`, { ...object, data: { value, written: String(written) } });
      await Bun.sleep(0);
    }
    // 8 MiB wait at most, and what the sockets of both sides hold.
    expect(await watchers()).toBe(before);
    expect(written).toBeGreaterThan(8);
    leave();
  });

  test('a thousand watches at rest hold little, and an event is made once for all', async () => {
    const before = await watchers();
    Bun.gc(true);
    const heap = process.memoryUsage().heapUsed;
    const readers = await Promise.all(
      Array.from({ length: 1000 }, async () => {
        const response = await server.api.fetch(
          new Request(
            `http://x${maps}?watch=1&fieldSelector=metadata.name%3Dseen&resourceVersion=${server.store.revision}`,
          ),
          { identity: { name: 'test-admin', groups: ['system:masters'] } },
        );
        return response.body!.getReader();
      }),
    );
    expect(await watchers()).toBe(before + 1000);
    Bun.gc(true);
    // 20 kB each are many times what is needed.
    expect(process.memoryUsage().heapUsed - heap).toBeLessThan(20_000_000);
    await server.call('POST', maps, { metadata: { name: 'seen' } });
    for (const reader of readers) {
      const { value } = (await reader.read()) as { value: Uint8Array };
      expect(Buffer.from(value).toString()).toContain('"name":"seen"');
    }
    await Promise.all(readers.map((reader) => reader.cancel()));
    expect(await watchers()).toBe(before);
  });
});

describe('a listener', () => {
  let pki: TestPki;
  const listeners: Listener[] = [];
  let asked = 0;
  let running = 0;
  let most = 0;
  beforeAll(async () => {
    pki = await makeTestPki();
  });
  afterAll(async () => {
    for (const listener of listeners) await listener.close();
  });

  async function serve(reply: () => Promise<Reply>, limits: Partial<ListenLimits> = {}): Promise<number> {
    asked = running = most = 0;
    const app = {
      fetch: async () => {
        asked++;
        most = Math.max(most, ++running);
        const answer = await reply();
        running--;
        return toResponse(answer, true);
      },
    } as unknown as ApiApp;
    const options = { port: 0, host: '127.0.0.1', ...pki.server, clientCa: pki.clientCa.cert, limits };
    const listener = await listen(app, {} as KubeletClient, options, Date.now, silentLogger);
    listeners.push(listener);
    return listener.port;
  }
  const get = (port: number): Promise<number> =>
    new Promise((resolve, reject) => {
      const session = http2.connect(`https://127.0.0.1:${port}`, { ca: pki.serverCa.cert });
      session.on('error', reject);
      const stream = session.request({ ':path': '/' });
      stream.on('error', reject);
      stream.on('response', (headers) => {
        stream.resume();
        stream.on('end', () => {
          session.destroy();
          resolve(Number(headers[':status']));
        });
      });
    });

  const frame = (type: number, flags: number, stream: number, payload: Uint8Array): Buffer => {
    const head = Buffer.alloc(9);
    head.writeUIntBE(payload.length, 0, 3);
    head[3] = type;
    head[4] = flags;
    head.writeUInt32BE(stream, 5);
    return Buffer.concat([head, payload]);
  };
  const preface = Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), frame(4, 0, 0, Buffer.alloc(0))]);
  /** GET https://x/ from HPACK's static table. */
  const request = Buffer.from([0x82, 0x87, 0x84, 0x41, 0x01, 0x78]);
  const [endStream, endHeaders] = [0x1, 0x4];

  test('answers that nobody reads are bounded together; those that stand still go when others need the room', async () => {
    const large: Reply = { status: 200, headers: {}, body: Array.from({ length: 20 }, () => Buffer.alloc(1 << 20)) };
    const port = await serve(async () => large, { answerBytes: 64 << 20, stillMs: 300 });
    const session = http2.connect(`https://127.0.0.1:${port}`, { ca: pki.serverCa.cert });
    session.on('error', () => undefined);
    const statuses: number[] = [];
    let cut = 0;
    for (let i = 0; i < 8; i++) {
      const stream = session.request({ ':path': '/' });
      stream.on('response', (headers) => statuses.push(Number(headers[':status'])));
      stream.on('error', () => undefined);
      stream.on('close', () => cut++);
      stream.pause();
    }
    await until('answered', () => statuses.length === 8);
    expect(statuses.filter((status) => status === 200).length).toBeLessThanOrEqual(4);
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(4);
    await Bun.sleep(500);
    // The client that holds all of it is cut, one that reads is served.
    expect(await get(port)).toBe(200);
    session.destroy();
  });

  test('streams of one HTTP/2 connection: no more than the server says are under way', async () => {
    let letGo = (): void => undefined;
    const gate = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const port = await serve(async () => {
      await gate;
      return { status: 200, headers: {}, body: [] };
    });
    const { socket, state, read } = await connect(port, pki.serverCa.cert, 'h2');
    read();
    socket.write(preface);
    const streams = 5000;
    for (let i = 0; i < streams; i++) socket.write(frame(1, endStream | endHeaders, 2 * i + 1, request));
    await until('a thousand are under way', () => asked >= 1000 || state.closed);
    await Bun.sleep(300);
    expect(most).toBeLessThanOrEqual(1000);
    letGo();
    socket.destroy();
    expect(await get(port)).toBe(200);
  });

  test('headers without an end: HTTP/2 continuations', async () => {
    const port = await serve(async () => ({ status: 200, headers: {}, body: [] }));
    const { socket, state, read } = await connect(port, pki.serverCa.cert, 'h2');
    read();
    socket.write(preface);
    socket.write(frame(1, endStream, 1, request));
    // A literal header that is not indexed: name a, value of 100 bytes.
    const literal = Buffer.concat([Buffer.from([0x00, 0x01, 0x61, 100]), Buffer.alloc(100, 0x62)]);
    const piece = Buffer.concat(Array.from({ length: 150 }, () => literal));
    let sent = 0;
    for (; sent < 64 << 20 && !state.closed; sent += piece.length) {
      if (!socket.write(frame(9, 0, 1, piece))) await Bun.sleep(1);
      if (sent % (1 << 20) < piece.length) await Bun.sleep(1);
    }
    await until('closed', () => state.closed);
    expect(asked).toBe(0);
    expect(await get(port)).toBe(200);
  });

  test('headers without an end: HTTP/1.1 lines', async () => {
    const port = await serve(async () => ({ status: 200, headers: {}, body: [] }));
    const { socket, state, read } = await connect(port, pki.serverCa.cert, 'http/1.1');
    read();
    socket.write('GET / HTTP/1.1\r\nHost: x\r\n');
    const line = `X-Long: ${'y'.repeat(1000)}\r\n`;
    for (let sent = 0; sent < 16 << 20 && !state.closed && state.bytes === 0; sent += line.length) {
      if (!socket.write(line)) await Bun.sleep(1);
    }
    await until('refused', () => state.closed || state.text.startsWith('HTTP/1.1 431'));
    expect(asked).toBe(0);
    socket.destroy();
    expect(await get(port)).toBe(200);
  });
});
