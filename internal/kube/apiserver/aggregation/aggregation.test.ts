/** The aggregation layer against a real extension API server: TLS of its own, believes only the front proxy, lists, watches, upgrades. */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import type { Duplex } from 'node:stream';
import { tmpdir } from 'node:os';
import { connect, type TLSSocket } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemRandom } from '../../../base/system.ts';
import { issueCertificate, makeAuthority } from '../../../pki/certificates.ts';
import { kubeconfig } from '../../../pki/kubeconfig.ts';
import { builtinOpenApi } from '../../api/builtin.ts';
import { admin, makeTestPki, startApi, startTestServer, type TestPki, type TestServer } from '../testing.ts';
import { utf8 } from '../../../base/bytes.ts';

const group = 'metrics.example.com';
const root = `/apis/${group}/v1`;
const apiServices = '/apis/apiregistration.k8s.io/v1/apiservices';
const name = `v1.${group}`;

let server: TestServer;
let pki: TestPki;
let extension: Server;
let port = 0;
let caBundle = '';
/** It begins the answer to a look at it and never ends it; how many of them were given up. */
let endless = false;
let givenUp = 0;
/** What the extension server was asked, newest last. */
const asked: { method: string; url: string; user: string; groups: string; authorization: string; body: string }[] = [];

const resources = {
  kind: 'APIResourceList',
  apiVersion: 'v1',
  groupVersion: `${group}/v1`,
  resources: [
    {
      name: 'readings',
      singularName: 'reading',
      namespaced: true,
      kind: 'Reading',
      verbs: ['get', 'list', 'create', 'watch'],
      shortNames: ['rd'],
    },
    { name: 'readings/status', singularName: '', namespaced: true, kind: 'Reading', verbs: ['get'] },
  ],
};
const reading = {
  apiVersion: `${group}/v1`,
  kind: 'Reading',
  metadata: { name: 'r1', namespace: 'default' },
  value: 7,
};
const definition = {
  type: 'object',
  description: 'A reading of a meter.',
  'x-kubernetes-group-version-kind': [{ group, version: 'v1', kind: 'Reading' }],
  properties: { value: { type: 'integer', description: 'What the meter shows.' } },
};

async function startExtension(requestHeaderCa: string): Promise<void> {
  const now = Date.now();
  const authority = await makeAuthority('extension-ca', now, systemRandom.bytes(16));
  const serving = await issueCertificate(
    authority,
    { commonName: 'extension', usage: 'server', dnsNames: ['extension.default.svc'] },
    now,
    systemRandom.bytes(16),
  );
  caBundle = Buffer.from(authority.cert).toString('base64');
  const options = { ...serving, requestCert: true, rejectUnauthorized: true, ca: requestHeaderCa };
  extension = createServer(options, (incoming, outgoing) => {
    let body = '';
    incoming.on('data', (piece) => {
      body += String(piece);
    });
    incoming.on('end', () => {
      const { url = '', headers, method = '' } = incoming;
      const text = (one: string | string[] | undefined): string => String(one ?? '');
      asked.push({
        method,
        url,
        user: text(headers['x-remote-user']),
        groups: text(headers['x-remote-group']),
        authorization: text(headers.authorization),
        body,
      });
      const json = (value: unknown, status = 200): void => {
        outgoing.writeHead(status, { 'content-type': 'application/json' });
        outgoing.end(JSON.stringify(value));
      };
      const { pathname, searchParams } = new URL(url, 'https://extension');
      if (pathname === root && endless) {
        outgoing.writeHead(200, { 'content-type': 'application/json' });
        outgoing.write('{');
        outgoing.on('close', () => givenUp++);
        return;
      }
      if (pathname === root) return json(resources);
      if (pathname === '/openapi/v2')
        return json({
          swagger: '2.0',
          info: { title: 'extension', version: '1' },
          paths: { [`${root}/namespaces/{namespace}/readings`]: { get: {} } },
          definitions: { 'com.example.v1.Reading': definition },
        });
      if (pathname === `/openapi/v3${root}`)
        return json({
          openapi: '3.0.0',
          info: { title: 'extension', version: '1' },
          paths: {
            [`${root}/namespaces/{namespace}/readings`]: {
              get: { 'x-kubernetes-group-version-kind': { group, version: 'v1', kind: 'Reading' } },
            },
          },
          components: { schemas: { 'com.example.v1.Reading': definition } },
        });
      if (pathname === `${root}/namespaces/default/readings/r1`) return json(reading);
      if (pathname === `${root}/namespaces/default/readings`) {
        if (method === 'POST') return json({ ...JSON.parse(body), made: true }, 201);
        if (searchParams.get('watch') === null)
          return json({ apiVersion: `${group}/v1`, kind: 'ReadingList', metadata: {}, items: [reading] });
        outgoing.writeHead(200, { 'content-type': 'application/json' });
        outgoing.write(`${JSON.stringify({ type: 'ADDED', object: reading })}\n`);
        const timer = setTimeout(
          () => outgoing.write(`${JSON.stringify({ type: 'MODIFIED', object: reading })}\n`),
          50,
        );
        outgoing.on('close', () => clearTimeout(timer));
        return;
      }
      json({ kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 404, reason: 'NotFound' }, 404);
    });
  });
  extension.on('upgrade', (incoming, socket: Duplex) => {
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-User: ${incoming.headers['x-remote-user']}\r\n\r\n`,
    );
    socket.on('data', (piece) => socket.write(`echo ${String(piece)}`));
    socket.on('end', () => socket.end());
  });
  await new Promise<void>((resolve) => extension.listen(port, '127.0.0.1', resolve));
  port = (extension.address() as { port: number }).port;
}

const apiService = (spec: Record<string, unknown> = {}) => ({
  metadata: { name },
  spec: {
    group,
    version: 'v1',
    groupPriorityMinimum: 100,
    versionPriority: 100,
    caBundle,
    service: { namespace: 'default', name: 'extension', port },
    ...spec,
  },
});

/** Waits until the Available condition is as expected; gives its reason. */
async function available(status: string, reason: string): Promise<{ message: string }> {
  let condition: { status?: string; reason?: string; message?: string } = {};
  for (let i = 0; i < 1000 && (condition.status !== status || condition.reason !== reason); i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    condition = (await server.call('GET', `${apiServices}/${name}`)).body.status?.conditions?.[0] ?? {};
  }
  expect(condition).toMatchObject({ status, reason });
  return { message: condition.message ?? '' };
}

async function remake(spec: Record<string, unknown> = {}): Promise<void> {
  await server.call('DELETE', `${apiServices}/${name}`);
  expect((await server.call('POST', apiServices, apiService(spec))).status).toBe(201);
}

beforeAll(async () => {
  pki = await makeTestPki();
  const now = Date.now();
  const frontProxy = await makeAuthority('request-header-ca', now, systemRandom.bytes(16));
  const requestHeaderClient = await issueCertificate(
    frontProxy,
    { commonName: 'system:auth-proxy', usage: 'client' },
    now,
    systemRandom.bytes(16),
  );
  await startExtension(frontProxy.cert);
  server = await startTestServer({
    port: 0,
    pki,
    openapi: builtinOpenApi,
    requestHeaderCa: frontProxy.cert,
    requestHeaderClient,
  });
  await server.call('POST', '/api/v1/namespaces/default/services', {
    metadata: { name: 'extension' },
    spec: { type: 'ExternalName', externalName: 'localhost' },
  });
  await remake();
  await available('True', 'Passed');
});
afterAll(async () => {
  await server.close();
  extension.closeAllConnections();
  extension.close();
});

test('what is served here is registered and Local: the core group, apps, and a CustomResourceDefinition as long as it is there', async () => {
  const list = (await server.call('GET', apiServices)).body.items as {
    metadata: { name: string };
    spec: object;
    status: { conditions: object[] };
  }[];
  const of = (one: string) => list.find(({ metadata }) => metadata.name === one);
  expect(of('v1.')).toMatchObject({ spec: { version: 'v1', groupPriorityMinimum: 18000, versionPriority: 1 } });
  expect(of('v1.apps')).toMatchObject({
    metadata: { labels: { 'kube-aggregator.kubernetes.io/automanaged': 'onstart' } },
  });
  for (let i = 0; i < 500; i++) {
    const { status } = (await server.call('GET', `${apiServices}/v1.apps`)).body;
    if (status?.conditions !== undefined) break;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect((await server.call('GET', `${apiServices}/v1.apps`)).body.status.conditions).toMatchObject([
    { type: 'Available', status: 'True', reason: 'Local' },
  ]);
  const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  await server.call('POST', crds, {
    metadata: { name: 'things.own.example.com' },
    spec: {
      group: 'own.example.com',
      scope: 'Cluster',
      names: { plural: 'things', kind: 'Thing' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
    },
  });
  const status = async (): Promise<number> => (await server.call('GET', `${apiServices}/v1.own.example.com`)).status;
  for (let i = 0; i < 500 && (await status()) !== 200; i++) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await status()).toBe(200);
  await server.call('DELETE', `${crds}/things.own.example.com`);
  for (let i = 0; i < 500 && (await status()) !== 404; i++) await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await status()).toBe(404);
});

test('a request is passed on with who asks, and without the credentials; the answer comes as it is', async () => {
  const as = { name: 'jane', groups: ['system:masters', 'dev'] };
  const got = await server.call('GET', `${root}/namespaces/default/readings/r1?x=1`, undefined, {
    as,
    headers: { authorization: 'Bearer secret', 'x-remote-user': 'root' },
  });
  expect([got.status, got.body]).toEqual([200, reading]);
  const last = asked.at(-1)!;
  expect(last).toMatchObject({
    method: 'GET',
    url: `${root}/namespaces/default/readings/r1?x=1`,
    user: 'jane',
    authorization: '',
  });
  expect(last.groups.split(/, ?/)).toEqual(expect.arrayContaining(['system:masters', 'dev']));
  const made = await server.call('POST', `${root}/namespaces/default/readings`, {
    ...reading,
    metadata: { name: 'r2' },
  });
  expect([made.status, made.body.made]).toEqual([201, true]);
  expect((await server.call('GET', `${root}/nothing`)).body).toMatchObject({ code: 404 });
});

test('who may not is refused here, and the extension server is not asked', async () => {
  const before = asked.length;
  const as = { name: 'dev', groups: ['system:authenticated'] };
  expect((await server.call('GET', `${root}/namespaces/default/readings`, undefined, { as })).status).toBe(403);
  expect(asked.slice(before).filter(({ user }) => user === 'dev')).toEqual([]);
});

test('a watch is streamed as it comes', async () => {
  const aborter = new AbortController();
  const response = await server.api.fetch(
    new Request(`http://api${root}/namespaces/default/readings?watch=1`, { signal: aborter.signal }),
    { identity: { name: 'jane', groups: ['system:masters'] } },
  );
  const reader = response.body!.getReader();
  const types: string[] = [];
  let text = '';
  while (types.length < 2) {
    text += new TextDecoder().decode((await reader.read()).value);
    types.splice(
      0,
      types.length,
      ...text
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line).type as string),
    );
  }
  expect(types).toEqual(['ADDED', 'MODIFIED']);
  aborter.abort();
});

test('an upgraded connection goes through to the extension server, with who asks', async () => {
  const client = await pki.client('jane', 'system:masters');
  const socket: TLSSocket = connect({
    host: '127.0.0.1',
    port: server.listener!.port,
    ...client,
    ca: pki.serverCa.cert,
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
  socket.write(
    `GET ${root}/namespaces/default/readings/r1/stream HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n`,
  );
  await until('X-User: jane');
  socket.write('hello');
  await until('echo hello');
  socket.destroy();
});

test('discovery in both forms and OpenAPI in both versions have the group', async () => {
  const groups = (await server.call('GET', '/apis')).body.groups as { name: string; preferredVersion: object }[];
  expect(groups.find((one) => one.name === group)).toMatchObject({
    preferredVersion: { groupVersion: `${group}/v1`, version: 'v1' },
  });
  expect((await server.call('GET', `/apis/${group}`)).body).toMatchObject({ kind: 'APIGroup', name: group });
  expect((await server.call('GET', root)).body).toEqual(resources);
  const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
  const { items } = (await server.call('GET', '/apis', undefined, { headers: { accept } })).body as {
    items: { metadata: { name: string }; versions: object[] }[];
  };
  expect(items.find((one) => one.metadata.name === group)?.versions).toMatchObject([
    {
      version: 'v1',
      freshness: 'Current',
      resources: [
        {
          resource: 'readings',
          scope: 'Namespaced',
          shortNames: ['rd'],
          responseKind: { group, version: 'v1', kind: 'Reading' },
          subresources: [{ subresource: 'status' }],
        },
      ],
    },
  ]);
  const index = (await server.call('GET', '/openapi/v3')).body.paths[`apis/${group}/v1`];
  const v3 = await server.call('GET', index.serverRelativeURL);
  expect(v3.body.components.schemas['com.example.v1.Reading']).toEqual(definition);
  const fetched = (): number => asked.filter(({ url }) => url === `/openapi/v3${root}`).length;
  const before = fetched();
  for (let i = 0; i < 3; i++) expect((await server.call('GET', index.serverRelativeURL)).status).toBe(200);
  expect(fetched()).toBe(before);
  const v2 = (await server.call('GET', '/openapi/v2')).body;
  expect(v2.definitions['com.example.v1.Reading']).toEqual(definition);
  expect(v2.paths).toHaveProperty([`${root}/namespaces/{namespace}/readings`]);
  expect(v2.definitions).toHaveProperty(['io.k8s.api.core.v1.Pod']);
  // It is kept, and made anew when this server's own part changes.
  const crds = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  await server.call('POST', crds, {
    metadata: { name: 'spoons.more.example.com' },
    spec: {
      group: 'more.example.com',
      scope: 'Cluster',
      names: { plural: 'spoons', kind: 'Spoon' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
    },
  });
  const spoon = 'com.example.more.v1.Spoon';
  let both: Record<string, object> = {};
  for (let i = 0; i < 500 && !(spoon in both); i++) {
    both = (await server.call('GET', '/openapi/v2')).body.definitions;
    await Bun.sleep(10);
  }
  expect(both).toHaveProperty([spoon]);
  expect(both['com.example.v1.Reading']).toEqual(definition);
  await server.call('DELETE', `${crds}/spoons.more.example.com`);
});

const kubectl = spawnSync('kubectl', ['version', '--client']).status === 0;
test.skipIf(!kubectl)(
  'kubectl sees the group as any other: apiservices, api-resources, get by short name, explain',
  async () => {
    const dir = mkdtempSync(`${tmpdir()}/aggregation-`);
    const file = `${dir}/kubeconfig`;
    const admin = await pki.client('admin', 'system:masters');
    writeFileSync(
      file,
      kubeconfig({
        cluster: 'test',
        server: `https://127.0.0.1:${server.listener!.port}`,
        ca: pki.serverCa.cert,
        user: 'admin',
        ...admin,
      }),
    );
    const run = (...args: string[]): Promise<string> =>
      new Promise((resolve) => {
        const child = spawn('kubectl', args, { env: { ...process.env, KUBECONFIG: file, HOME: dir } });
        let out = '';
        child.stdout.on('data', (piece) => {
          out += String(piece);
        });
        child.stderr.on('data', (piece) => {
          out += String(piece);
        });
        child.on('close', () => resolve(out));
      });
    expect(await run('get', 'apiservices')).toMatch(/^v1\.metrics\.example\.com +default\/extension +True +\d+s?/m);
    expect(await run('get', 'apiservices')).toMatch(/^v1\.apps +Local +True/m);
    expect(await run('api-resources', `--api-group=${group}`)).toMatch(/readings +rd .*Reading/);
    expect(await run('get', 'rd', 'r1', '-o', 'jsonpath={.value}')).toBe('7');
    expect(await run('explain', 'readings.value')).toContain('What the meter shows.');
    rmSync(dir, { recursive: true });
  },
);

test('an extension server that nobody vouches for, has no Service, no such port or no endpoints is not available, and tells why', async () => {
  const other = await makeAuthority('another-ca', Date.now(), systemRandom.bytes(16));
  await remake({ caBundle: Buffer.from(other.cert).toString('base64') });
  expect((await available('False', 'FailedDiscoveryCheck')).message).toContain(`https://localhost:${port}${root}`);
  expect((await server.call('GET', `${root}/namespaces/default/readings`)).body).toMatchObject({
    code: 503,
    reason: 'ServiceUnavailable',
    message: 'service unavailable',
  });
  await remake({ caBundle: undefined, insecureSkipTLSVerify: true });
  await available('True', 'Passed');
  expect((await server.call('GET', `${root}/namespaces/default/readings/r1`)).status).toBe(200);
  await remake({ service: { namespace: 'default', name: 'nobody', port } });
  expect((await available('False', 'ServiceNotFound')).message).toBe('service/nobody in "default" is not present');
  await server.call('POST', '/api/v1/namespaces/default/services', {
    metadata: { name: 'empty' },
    spec: { ports: [{ port: 443 }] },
  });
  await remake({ service: { namespace: 'default', name: 'empty', port: 443 } });
  await available('False', 'MissingEndpoints');
  await remake({ service: { namespace: 'default', name: 'empty', port: 444 } });
  await available('False', 'ServicePortError');
});

test('of two servers that do not see the same the first writes the condition, for good; when it is gone the other one does', async () => {
  await remake();
  await available('True', 'Passed');
  const stored = async () => (await server.call('GET', `${apiServices}/${name}`)).body;
  const before = await stored();
  // It has nothing to show to extension servers, so none lets it in. Its address sorts before the other's only when that is gone.
  const second = await startApi(server.store, pki, { address: '127.0.0.2' });
  const ask = async (path: string) => {
    const response = await second.fetch(new Request(`http://api${path}`), { identity: admin });
    return { status: response.status, body: JSON.parse(await response.text()) };
  };
  try {
    const refused = async (): Promise<boolean> =>
      (await ask(`${root}/namespaces/default/readings`)).body.message === 'service unavailable';
    for (let i = 0; i < 500 && !(await refused()); i++) await Bun.sleep(20);
    expect(await refused()).toBe(true);
    // It looks again every five seconds, and compares with what is stored every second.
    await Bun.sleep(2500);
    expect((await stored()).metadata.resourceVersion).toBe(before.metadata.resourceVersion);
    expect((await server.call('GET', `${root}/namespaces/default/readings`)).status).toBe(200);
    await server.store.delete({ key: utf8('/registry/masterleases/127.0.0.1') });
    let condition: { status?: string } = {};
    for (let i = 0; i < 500 && condition.status !== 'False'; i++) {
      await Bun.sleep(20);
      condition = (await ask(`${apiServices}/${name}`)).body.status.conditions[0];
    }
    expect(condition).toMatchObject({ status: 'False', reason: 'FailedDiscoveryCheck' });
  } finally {
    await second.close();
  }
});

test('one that begins an answer and never ends it is not available, and no connection to it is kept', {
  timeout: 60_000,
}, async () => {
  endless = true;
  await remake();
  expect((await available('False', 'FailedDiscoveryCheck')).message).toContain('no answer in 5000 ms');
  for (let i = 0; i < 500 && givenUp === 0; i++) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(givenUp).toBeGreaterThan(0);
  endless = false;
});

test('it goes and comes back: 503 and stale discovery, then as before; deleted, it is not found', {
  timeout: 90_000,
}, async () => {
  await remake();
  await available('True', 'Passed');
  await new Promise<void>((resolve) => {
    extension.close(() => resolve());
    extension.closeAllConnections();
  });
  expect((await server.call('GET', `${root}/namespaces/default/readings/r1`)).body).toMatchObject({
    code: 503,
    reason: 'ServiceUnavailable',
  });
  await remake();
  await available('False', 'FailedDiscoveryCheck');
  const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
  const { items } = (await server.call('GET', '/apis', undefined, { headers: { accept } })).body as {
    items: { metadata: { name: string }; versions: object[] }[];
  };
  expect(items.find((one) => one.metadata.name === group)?.versions).toMatchObject([{ freshness: 'Stale' }]);
  expect((await server.call('DELETE', `${apiServices}/${name}`)).status).toBe(200);
  expect((await server.call('GET', `${root}/namespaces/default/readings/r1`)).status).toBe(404);
  expect((await server.call('GET', '/apis')).body.groups.map((one: { name: string }) => one.name)).not.toContain(group);
});
