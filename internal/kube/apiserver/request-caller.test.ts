/** Clients that leave, or are told that it takes too long, over the network: what waited for them does not go on. */
import http2 from 'node:http2';
import tls from 'node:tls';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { silentLogger } from '../../base/log.ts';
import type { ApiApp } from './app.ts';
import type { KubeletClient } from './kubelet-client-shell.ts';
import { type Listener, listen } from './listener-server.ts';
import { type ReplySink, toResponse } from './reply.ts';
import { RequestCaller } from './request-caller.ts';
import { makeTestPki, startTestServer, type TestPki, type TestServer } from './testing.ts';

describe('a caller', () => {
  test('tells once, also who asks late; a callback that was taken away hears nothing', () => {
    const caller = new RequestCaller();
    const heard: string[] = [];
    caller.onGone(() => heard.push('kept'));
    caller.onGone(() => heard.push('taken away'))();
    caller.giveUp();
    expect([caller.gone, caller.left]).toEqual([true, false]);
    caller.leave();
    caller.onGone(() => heard.push('late'));
    expect([caller.gone, caller.left]).toEqual([true, true]);
    expect(heard).toEqual(['kept', 'late']);
  });
});

describe('a priority level with all its seats taken', () => {
  let server: TestServer;
  const flow = '/apis/flowcontrol.apiserver.k8s.io/v1';
  const maps = '/api/v1/namespaces/default/configmaps';
  beforeAll(async () => {
    server = await startTestServer({ port: 0 });
    const made = [
      await server.call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
        metadata: { name: 'bob' },
        roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'cluster-admin' },
        subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'bob' }],
      }),
      await server.call('POST', `${flow}/prioritylevelconfigurations`, {
        metadata: { name: 'small' },
        spec: {
          type: 'Limited',
          limited: {
            nominalConcurrencyShares: 1,
            borrowingLimitPercent: 0,
            limitResponse: { type: 'Queue', queuing: { queues: 1, handSize: 1, queueLengthLimit: 50 } },
          },
        },
      }),
      await server.call('POST', `${flow}/flowschemas`, {
        metadata: { name: 'small' },
        spec: {
          matchingPrecedence: 10,
          priorityLevelConfiguration: { name: 'small' },
          rules: [
            {
              subjects: [{ kind: 'User', user: { name: 'bob' } }],
              resourceRules: [
                { verbs: ['*'], apiGroups: ['*'], resources: ['*'], clusterScope: true, namespaces: ['*'] },
              ],
            },
          ],
        },
      }),
    ];
    expect(made.map(({ status }) => status)).toEqual([201, 201, 201]);
  });
  afterAll(() => server.close());

  const gauge = async (name: string): Promise<number> => {
    const { body } = await server.call('GET', '/metrics');
    const line = new RegExp(`^apiserver_flowcontrol_${name}\\{priority_level="small"\\} (\\d+)$`, 'm').exec(
      String(body),
    );
    return Number(line?.[1] ?? Number.NaN);
  };
  const becomes = async (name: string, wanted: number): Promise<void> => {
    for (let i = 0; i < 200 && (await gauge(name)) !== wanted; i++) await Bun.sleep(20);
    expect(await gauge(name), name).toBe(wanted);
  };

  test('a deadline and a reset end waiting: no seat for the dead, and nothing is done for them', async () => {
    const bob = await server.pki.client('bob');
    const session = http2.connect(`https://127.0.0.1:${server.listener!.port}`, {
      ca: server.pki.serverCa.cert,
      ...bob,
    });
    session.on('error', () => undefined);
    const ask = (method: string, path: string, body?: string): http2.ClientHttp2Stream => {
      const headers = { ':path': path, ':method': method, 'content-type': 'application/json' };
      const stream = session.request(headers, { endStream: body === undefined && method === 'GET' });
      stream.on('error', () => undefined);
      stream.resume();
      if (body !== undefined) stream.end(body);
      return stream;
    };
    const map = (name: string): string => JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } });
    const status = (stream: http2.ClientHttp2Stream): Promise<number> =>
      new Promise((resolve) => stream.once('response', (headers) => resolve(Number(headers[':status']))));
    const seats = await gauge('nominal_limit_seats');
    // Requests whose bodies do not come have the seats.
    const holders = Array.from({ length: seats }, () => ask('POST', maps));
    await becomes('current_executing_requests', seats);

    const late = await Promise.all([
      status(ask('POST', `${maps}?timeout=300ms`, map('late'))),
      status(ask('POST', `${maps}?timeout=300ms`)),
    ]);
    expect(late).toEqual([504, 504]);
    await becomes('current_inqueue_requests', 0);

    const gone = [ask('POST', maps, map('gone')), ask('POST', maps), ask('GET', maps), ask('GET', `${maps}?watch=1`)];
    await becomes('current_inqueue_requests', gone.length);
    for (const stream of gone) stream.close(http2.constants.NGHTTP2_CANCEL);
    await becomes('current_inqueue_requests', 0);
    expect(await gauge('current_executing_requests')).toBe(seats);

    // Who holds a seat and waits for a body that will not come gives it back, too: the deadline of one, the reset of the others.
    const last = holders.pop()!;
    for (const stream of holders) stream.close(http2.constants.NGHTTP2_CANCEL);
    await becomes('current_executing_requests', 1);
    const deadline = ask('POST', `${maps}?timeout=300ms`);
    expect(await status(deadline)).toBe(504);
    await becomes('current_executing_requests', 1);
    last.end(map('last'));
    expect(await status(last)).toBe(201);
    await becomes('current_executing_requests', 0);
    const { body } = await server.call('GET', maps);
    const names = (body.items as { metadata: { name: string } }[]).map(({ metadata }) => metadata.name);
    expect(names.filter((name) => !name.startsWith('kube-'))).toEqual(['last']);
    session.destroy();
  });
});

describe('a stream whose client leaves', () => {
  let pki: TestPki;
  let listener: Listener;
  let asked = 0;
  let begun = 0;
  let stopped = 0;
  let answer = Promise.withResolvers<void>();
  beforeAll(async () => {
    pki = await makeTestPki();
    const body = (sink: ReplySink) => {
      begun++;
      sink.write(Buffer.from('begun'));
      return () => stopped++;
    };
    const app = {
      fetch: async () => {
        asked++;
        await answer.promise;
        return toResponse({ status: 200, headers: {}, body }, true);
      },
    } as unknown as ApiApp;
    const options = { port: 0, host: '127.0.0.1', ...pki.server, clientCa: pki.clientCa.cert };
    listener = await listen(app, {} as KubeletClient, options, Date.now, silentLogger);
  });
  afterAll(() => listener.close());

  const until = async (done: () => boolean): Promise<void> => {
    for (let i = 0; i < 200 && !done(); i++) await Bun.sleep(10);
    expect({ asked, begun, stopped, done: done() }).toMatchObject({ done: true });
  };
  /** Each asks, and gives back how its client leaves and what shows that it is gone. */
  const clients = {
    'HTTP/2 reset': async (): Promise<() => Promise<void>> => {
      const session = http2.connect(`https://127.0.0.1:${listener.port}`, { ca: pki.serverCa.cert });
      session.on('error', () => undefined);
      const stream = session.request({ ':path': '/' });
      stream.on('error', () => undefined);
      stream.resume();
      return async () => {
        stream.close(http2.constants.NGHTTP2_CANCEL);
        // The server has seen the reset once it answers what was sent after it.
        await new Promise<void>((resolve, reject) => {
          session.ping((error: Error | null) => (error === null ? resolve() : reject(error)));
        });
        await Bun.sleep(50);
        session.destroy();
      };
    },
    'HTTP/2 session gone': async () => {
      const session = http2.connect(`https://127.0.0.1:${listener.port}`, { ca: pki.serverCa.cert });
      session.on('error', () => undefined);
      const stream = session.request({ ':path': '/' });
      stream.on('error', () => undefined);
      stream.resume();
      return async () => {
        session.destroy();
        await Bun.sleep(200);
      };
    },
    'HTTP/1.1 connection gone': async () => {
      const to = { host: '127.0.0.1', port: listener.port, ca: pki.serverCa.cert, ALPNProtocols: ['http/1.1'] };
      const socket = tls.connect(to);
      socket.on('error', () => undefined);
      socket.resume();
      socket.once('secureConnect', () => socket.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
      return async () => {
        socket.destroy();
        await Bun.sleep(200);
      };
    },
  };

  describe.each(Object.entries(clients))('%s', (_how, ask) => {
    test.each(['before', 'after'])('%s the answer: it is stopped, once', async (when) => {
      asked = begun = stopped = 0;
      answer = Promise.withResolvers();
      const leave = await ask();
      await until(() => asked === 1);
      if (when === 'before') await leave();
      answer.resolve();
      await until(() => begun === 1);
      if (when === 'after') await leave();
      await until(() => stopped === 1);
      await Bun.sleep(20);
      expect([begun, stopped]).toEqual([1, 1]);
    });
  });
});
