import http2 from 'node:http2';
import https from 'node:https';
import tls from 'node:tls';
import { createServer } from 'node:https';
import { gunzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ServiceAccountTokens } from '../auth/service-account-tokens.ts';
import type { KeyPair } from '../../pki/certificates.ts';
import { makeTestPki, startTestServer, type TestServer } from './testing.ts';

let server: TestServer;
let port: number;
let adminCert: KeyPair;
let bob: KeyPair;
let node1: KeyPair;

beforeAll(async () => {
  server = await startTestServer({ port: 0 });
  port = server.listener!.port;
  adminCert = await server.pki.client('admin', 'system:masters');
  bob = await server.pki.client('bob', 'team');
  node1 = await server.pki.client('system:node:n1', 'system:nodes');
  await server.call('POST', '/api/v1/namespaces', { metadata: { name: 't' } });
  await server.call('POST', '/api/v1/namespaces/t/serviceaccounts', { metadata: { name: 'default' } });
});
afterAll(() => server.close());

interface Answer {
  status: number;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: answers of any kind are looked into
  json: any;
}

const parsed = (status: number, text: string): Answer => {
  try {
    return { status, text, json: JSON.parse(text) };
  } catch {
    return { status, text, json: undefined };
  }
};

function h1(
  method: string,
  path: string,
  options: { client?: KeyPair; token?: string; body?: unknown; headers?: Record<string, string | string[]> } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = https.request(
      {
        host: '127.0.0.1',
        port,
        method,
        path,
        ca: server.pki.serverCa.cert,
        agent: false,
        ...(options.client ?? {}),
        headers: {
          'content-type': 'application/json',
          ...(options.token === undefined ? {} : { authorization: `Bearer ${options.token}` }),
          ...options.headers,
        },
      },
      (response) => {
        let text = '';
        response.on('data', (piece) => (text += String(piece)));
        response.on('end', () => resolve(parsed(response.statusCode ?? 0, text)));
      },
    );
    request.on('error', reject);
    request.end(options.body === undefined ? undefined : JSON.stringify(options.body));
  });
}

function h2(path: string, client: KeyPair, headers: http2.OutgoingHttpHeaders = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const session = http2.connect(`https://127.0.0.1:${port}`, { ca: server.pki.serverCa.cert, ...client });
    session.on('error', reject);
    const stream = session.request({ ':path': path, ...headers });
    let status = 0;
    let text = '';
    stream.on('response', (headers) => (status = Number(headers[':status'])));
    stream.on('data', (piece) => (text += String(piece)));
    stream.on('end', () => {
      session.close();
      resolve(parsed(status, text));
    });
    stream.end();
  });
}

describe('who asks', () => {
  test('client certificates over HTTP/1.1 and HTTP/2; a stranger’s certificate is nobody', async () => {
    expect((await h1('GET', '/api/v1/namespaces', { client: adminCert })).json.kind).toBe('NamespaceList');
    expect((await h2('/api/v1/namespaces', adminCert)).json.kind).toBe('NamespaceList');
    const refused = await h2('/api/v1/namespaces', bob);
    expect(refused.status).toBe(403);
    expect(refused.json.message).toBe(
      'namespaces is forbidden: User "bob" cannot list resource "namespaces" in API group "" at the cluster scope',
    );
    const stranger = await (await makeTestPki()).client('admin', 'system:masters');
    const nobody = await h1('GET', '/api/v1/namespaces', { client: stranger });
    expect(nobody.status).toBe(403);
    expect(nobody.json.message).toContain('system:anonymous');
  });

  test('anonymous: health and version yes, the rest no; a bad token is 401', async () => {
    expect((await h1('GET', '/healthz')).text).toBe('ok');
    expect((await h1('GET', '/readyz?verbose')).text).toContain('readyz check passed');
    expect((await h1('GET', '/version')).json.major).toBe('1');
    expect((await h1('GET', '/apis')).status).toBe(403);
    expect((await h1('GET', '/apis', { token: 'garbage' })).status).toBe(401);
  });

  test('a large list is sent as gzip to those who take it; CBOR, which nobody turned on, is refused both ways', async () => {
    for (let n = 0; n < 20; n++)
      await server.call('POST', '/api/v1/namespaces/t/configmaps', {
        metadata: { name: `c${n}` },
        data: { a: 'x'.repeat(9000) },
      });
    const list = '/api/v1/namespaces/t/configmaps';
    const raw = (headers: Record<string, string>): Promise<[string | undefined, Buffer]> =>
      new Promise((resolve, reject) => {
        const options = {
          host: '127.0.0.1',
          port,
          path: list,
          ca: server.pki.serverCa.cert,
          agent: false,
          ...adminCert,
        };
        https
          .get({ ...options, headers }, (response) => {
            const parts: Buffer[] = [];
            response.on('data', (piece: Buffer) => parts.push(piece));
            response.on('end', () => resolve([response.headers['content-encoding'], Buffer.concat(parts)]));
          })
          .on('error', reject);
      });
    const [plain, whole] = await raw({});
    const [encoding, small] = await raw({ 'accept-encoding': 'gzip' });
    expect([plain, encoding]).toEqual([undefined, 'gzip']);
    expect(small.length).toBeLessThan(whole.length / 4);
    expect(JSON.parse(gunzipSync(small).toString()).items).toEqual(JSON.parse(whole.toString()).items);

    const cbor = 'application/cbor';
    expect((await h1('GET', list, { client: adminCert, headers: { accept: cbor } })).status).toBe(406);
    const sent = await h1('POST', list, { client: adminCert, headers: { 'content-type': cbor }, body: {} });
    expect([sent.status, sent.json.reason]).toEqual([415, 'UnsupportedMediaType']);
  });

  test('a request gets the time it asks for; a watch, and what is no duration, do not', async () => {
    const list = '/api/v1/namespaces/t/configmaps';
    const bad = await h1('GET', `${list}?timeout=soon`, { client: adminCert });
    expect([bad.status, bad.json.message]).toEqual([
      400,
      'invalid timeout specified in the request URL - time: invalid duration "soon"',
    ]);
    expect((await h1('GET', `${list}?timeout=30s`, { client: adminCert })).status).toBe(200);
    expect((await h1('GET', `${list}?watch=1&timeout=soon&timeoutSeconds=1`, { client: adminCert })).status).toBe(200);
    // Its body never comes.
    const answer = await new Promise<[number | undefined, string]>((resolve, reject) => {
      const request = https.request(
        {
          host: '127.0.0.1',
          port,
          method: 'POST',
          path: `${list}?timeout=200ms`,
          ca: server.pki.serverCa.cert,
          agent: false,
          ...adminCert,
          headers: { 'content-type': 'application/json', 'content-length': '100' },
        },
        (response) => {
          let text = '';
          response.on('data', (piece) => (text += String(piece)));
          response.on('end', () => {
            resolve([response.statusCode, JSON.parse(text).reason]);
            request.destroy();
          });
        },
      );
      request.on('error', reject);
      request.write('{');
    });
    expect(answer).toEqual([504, 'Timeout']);
  });

  test('a token of TokenRequest works until its account is gone, and TokenReview tells of whom it is', async () => {
    await server.call('POST', '/api/v1/namespaces/t/serviceaccounts', { metadata: { name: 'robot' } });
    await server.call('POST', '/api/v1/namespaces/t/pods', {
      metadata: { name: 'p' },
      spec: { serviceAccountName: 'robot', containers: [{ name: 'c', image: 'i' }] },
    });
    const made = await server.call('POST', '/api/v1/namespaces/t/serviceaccounts/robot/token', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      spec: { expirationSeconds: 600, boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: 'p' } },
    });
    expect(made.status).toBe(201);
    const token = made.body.status.token as string;
    const refused = await h1('GET', '/api/v1/namespaces/t/pods', { token });
    expect(refused.json.message).toContain('system:serviceaccount:t:robot');
    await server.call('POST', '/apis/rbac.authorization.k8s.io/v1/namespaces/t/rolebindings', {
      metadata: { name: 'robot' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' },
      subjects: [{ kind: 'ServiceAccount', name: 'robot', namespace: 't' }],
    });
    let allowed = await h1('GET', '/api/v1/namespaces/t/pods', { token });
    for (let i = 0; i < 50 && allowed.status !== 200; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      allowed = await h1('GET', '/api/v1/namespaces/t/pods', { token });
    }
    expect(allowed.json.kind).toBe('PodList');
    expect((await h1('GET', '/api/v1/namespaces/t/secrets', { token })).status).toBe(403);
    expect((await h1('GET', '/openid/v1/jwks', { token })).json.keys).toHaveLength(1);
    const review = await server.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token },
    });
    expect(review.body.status).toMatchObject({
      authenticated: true,
      user: {
        username: 'system:serviceaccount:t:robot',
        groups: ['system:serviceaccounts', 'system:serviceaccounts:t', 'system:authenticated'],
        extra: { 'authentication.kubernetes.io/pod-name': ['p'] },
      },
    });
    const wrong = await server.call('POST', '/apis/authentication.k8s.io/v1/tokenreviews', {
      spec: { token, audiences: ['other'] },
    });
    expect(wrong.body.status.authenticated).toBeUndefined();
    expect(ServiceAccountTokens).toBeDefined();
  });

  test('impersonation needs the right to it', async () => {
    const as = { 'impersonate-user': 'bob', 'impersonate-group': 'system:masters' };
    expect((await h1('GET', '/api/v1/namespaces', { client: bob, headers: as })).status).toBe(403);
    expect((await h1('GET', '/api/v1/namespaces', { client: adminCert, headers: as })).status).toBe(200);
    expect(
      (await h1('GET', '/api/v1/namespaces', { client: adminCert, headers: { 'impersonate-user': 'bob' } })).status,
    ).toBe(403);
  });

  test('every line of Impersonate-Group and -Extra is one value, over HTTP/1.1 and HTTP/2', async () => {
    const groups = ['a, system:masters', ...Array.from({ length: 70 }, (_, i) => `g${i}`)];
    const headers = { 'impersonate-user': 'carol', 'impersonate-group': groups, 'impersonate-extra-s': ['x,y', 'z'] };
    const self = await h1('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
      client: adminCert,
      headers,
      body: {},
    });
    expect(self.json.status.userInfo).toMatchObject({
      username: 'carol',
      groups: [...groups, 'system:authenticated'],
      extra: { s: ['x,y', 'z'] },
    });
    const refused = await h2('/api/v1/namespaces', adminCert, headers);
    expect(refused.json.message).toContain('User "carol" cannot list');
  });

  test('nobody grants what they do not hold', async () => {
    await server.call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', {
      metadata: { name: 'bob-admin' },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'admin' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'bob' }],
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    const role = (verbs: string[], resource: string): unknown => ({
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { generateName: 'r-' },
      rules: [{ apiGroups: [''], resources: [resource], verbs }],
    });
    const path = '/apis/rbac.authorization.k8s.io/v1/namespaces/t/roles';
    expect((await h1('POST', path, { client: bob, body: role(['get'], 'pods') })).status).toBe(201);
    const refused = await h1('POST', path, { client: bob, body: role(['*'], 'nodes') });
    expect(refused.status).toBe(403);
    expect(refused.json.message).toContain('attempting to grant RBAC permissions not currently held');
  });

  test('a node reads the secrets of its own pods only, and writes its own node', async () => {
    await server.call('POST', '/api/v1/namespaces/t/secrets', { metadata: { name: 'mine' } });
    await server.call('POST', '/api/v1/namespaces/t/secrets', { metadata: { name: 'theirs' } });
    await server.call('POST', '/api/v1/namespaces/t/pods', {
      metadata: { name: 'user' },
      spec: { nodeName: 'n1', containers: [{ name: 'c', image: 'i', envFrom: [{ secretRef: { name: 'mine' } }] }] },
    });
    expect((await h1('GET', '/api/v1/namespaces/t/secrets/mine', { client: node1 })).status).toBe(200);
    expect((await h1('GET', '/api/v1/namespaces/t/secrets/theirs', { client: node1 })).status).toBe(403);
    // The secret of a volume's driver, in another namespace, once a pod of the node uses the claim.
    await server.call('POST', '/api/v1/namespaces/default/secrets', { metadata: { name: 'driver' } });
    await server.call('POST', '/api/v1/persistentvolumes', {
      metadata: { name: 'pv1' },
      spec: {
        capacity: { storage: '1Gi' },
        accessModes: ['ReadWriteOnce'],
        claimRef: { namespace: 't', name: 'data' },
        csi: { driver: 'd', volumeHandle: 'h', nodeStageSecretRef: { namespace: 'default', name: 'driver' } },
      },
    });
    expect((await h1('GET', '/api/v1/namespaces/default/secrets/driver', { client: node1 })).status).toBe(403);
    expect((await h1('GET', '/api/v1/persistentvolumes/pv1', { client: node1 })).status).toBe(403);
    await server.call('POST', '/api/v1/namespaces/t/pods', {
      metadata: { name: 'claimer' },
      spec: {
        nodeName: 'n1',
        containers: [{ name: 'c', image: 'i' }],
        volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'data' } }],
      },
    });
    expect((await h1('GET', '/api/v1/namespaces/default/secrets/driver', { client: node1 })).status).toBe(200);
    expect((await h1('GET', '/api/v1/persistentvolumes/pv1', { client: node1 })).status).toBe(200);
    expect((await h1('GET', '/api/v1/namespaces/t/secrets', { client: node1 })).status).toBe(403);
    const node = (name: string): unknown => ({ apiVersion: 'v1', kind: 'Node', metadata: { name } });
    expect((await h1('POST', '/api/v1/nodes', { client: node1, body: node('n1') })).status).toBe(201);
    expect((await h1('POST', '/api/v1/nodes', { client: node1, body: node('n2') })).status).toBe(403);
    const lease = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', metadata: { name: 'n1' }, spec: {} };
    expect(
      (
        await h1('POST', '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases', {
          client: node1,
          body: lease,
        })
      ).status,
    ).toBe(201);
    expect(
      (await h1('POST', '/apis/coordination.k8s.io/v1/namespaces/t/leases', { client: node1, body: lease })).status,
    ).toBe(403);
  });

  test('access reviews say the same as the requests', async () => {
    const review = (user: string, groups: string[], attributes: object): unknown => ({
      spec: { user, groups, resourceAttributes: attributes },
    });
    const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
    const pods = { verb: 'list', resource: 'pods' };
    expect((await server.call('POST', path, review('x', ['system:masters'], pods))).body.status.allowed).toBe(true);
    expect((await server.call('POST', path, review('x', [], pods))).body.status.allowed).toBe(false);
    const rules = await server.call('POST', '/apis/authorization.k8s.io/v1/selfsubjectrulesreviews', {
      spec: { namespace: 't' },
    });
    expect(rules.body.status.resourceRules.length).toBeGreaterThan(0);
  });
});

describe('discovery', () => {
  test('old and aggregated forms agree', async () => {
    const groups = (await h1('GET', '/apis', { client: adminCert })).json.groups.map(
      (group: { name: string }) => group.name,
    );
    const accept =
      'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json';
    const aggregated = (await h1('GET', '/apis', { client: adminCert, headers: { accept } })).json;
    expect(aggregated).toMatchObject({ kind: 'APIGroupDiscoveryList', apiVersion: 'apidiscovery.k8s.io/v2' });
    expect(aggregated.items.map((item: { metadata: { name: string } }) => item.metadata.name)).toEqual(groups);
    const core = (await h1('GET', '/api/v1', { client: adminCert })).json;
    expect(core.resources.map((one: { name: string }) => one.name)).toContain('pods/exec');
  });
});

describe('streams to a node', () => {
  test('logs pass through; an upgraded connection is spliced both ways; strangers are refused before', async () => {
    const serving = await server.pki.serving('n9');
    const seen: string[] = [];
    const kubelet = createServer(
      { ...serving, ca: server.pki.clientCa.cert, requestCert: true, rejectUnauthorized: true },
      (request, response) => {
        seen.push(`${request.method} ${request.url}`);
        response.writeHead(200, { 'content-type': 'text/plain' });
        response.end('line one\nline two\n');
      },
    );
    kubelet.on('upgrade', (request, socket) => {
      seen.push(`upgrade ${request.url} ${request.headers.authorization ?? 'no credentials'}`);
      socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n');
      socket.on('data', (piece: Buffer) => socket.write(`echo ${piece.toString()}`));
      socket.on('error', () => undefined);
    });
    await new Promise<void>((resolve) => kubelet.listen(0, '127.0.0.1', resolve));
    const kubeletPort = (kubelet.address() as { port: number }).port;
    await server.call('POST', '/api/v1/nodes', { metadata: { name: 'n9' } });
    await server.call(
      'PATCH',
      '/api/v1/nodes/n9/status',
      {
        status: {
          addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
          daemonEndpoints: { kubeletEndpoint: { Port: kubeletPort } },
        },
      },
      { headers: { 'content-type': 'application/merge-patch+json' } },
    );
    const pod = (name: string, nodeName?: string): unknown => ({
      metadata: { name },
      spec: { containers: [{ name: 'c', image: 'i' }], ...(nodeName === undefined ? {} : { nodeName }) },
    });
    await server.call('POST', '/api/v1/namespaces/t/pods', pod('here', 'n9'));
    await server.call('POST', '/api/v1/namespaces/t/pods', pod('nowhere'));
    const log = await h1('GET', '/api/v1/namespaces/t/pods/here/log?follow=true&tailLines=5', { client: adminCert });
    expect(log.text).toBe('line one\nline two\n');
    expect((await h1('GET', '/api/v1/namespaces/t/pods/nowhere/log', { client: adminCert })).text).toBe('');
    expect((await h1('GET', '/api/v1/namespaces/t/pods/here/log?container=z', { client: adminCert })).status).toBe(400);

    const exec = (client: KeyPair, query = 'command=id&stdout=1'): Promise<string> =>
      new Promise((resolve, reject) => {
        const socket = tls.connect(
          { host: '127.0.0.1', port, ca: server.pki.serverCa.cert, ...client, ALPNProtocols: ['http/1.1'] },
          () => {
            socket.write(
              `POST /api/v1/namespaces/t/pods/here/exec?${query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer secret\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n\r\n`,
            );
          },
        );
        let text = '';
        let sent = false;
        socket.on('data', (piece) => {
          text += String(piece);
          if (text.startsWith('HTTP/1.1 101') && !sent) {
            sent = true;
            socket.write('hello');
          }
          if (text.includes('echo hello')) {
            socket.destroy();
            resolve(text);
          }
        });
        socket.on('end', () => resolve(text));
        socket.on('close', () => resolve(text));
        socket.on('error', reject);
      });
    expect(await exec(adminCert)).toContain('echo hello');
    const carol = await server.pki.client('carol');
    expect(await exec(carol)).toMatch(/^HTTP\/1.1 403/);
    expect(await exec(adminCert, 'stdout=1')).toContain('you must specify at least one command for the container');
    expect(seen).toEqual([
      'GET /containerLogs/t/here/c?follow=true&tailLines=5',
      'upgrade /exec/t/here/c?output=1&command=id no credentials',
    ]);
    kubelet.closeAllConnections();
    kubelet.close();
    const down = await h1('GET', '/api/v1/namespaces/t/pods/here/log', { client: adminCert });
    expect(down.status).toBe(500);
  });
});
