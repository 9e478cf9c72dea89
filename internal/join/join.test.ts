import { X509Certificate } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Clock } from '../base/clock.ts';
import { silentLogger } from '../base/log.ts';
import { seededRandom } from '../base/random.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import { effectiveConfig } from '../config/load.ts';
import { startTestServer, type TestServer } from '../kube/apiserver/testing.ts';
import type { UserInfo } from '../kube/auth/identity.ts';
import type { KubeClient } from '../kube/client/api.ts';
import { createKubeClient } from '../kube/client/client.ts';
import { nodesRef } from '../kube/client/resources.ts';
import { makeSigningRequest } from '../pki/certificates.ts';
import { serverSans } from '../pki/leaves.ts';
import { unseal } from '../pki/sealed.ts';
import { serverFileNames } from '../pki/server-pki-system.ts';
import { caHash, type JoinToken } from '../pki/token.ts';
import { clusterFacts } from './cluster-info.ts';
import { fetchAuthority, findAuthority, ServerClient } from './join-client.ts';
import { createJoinService, type JoiningMon, nodeHeaders, notYetJoining } from './join-service.ts';
import { RateLimit } from './rate-limit.ts';
import { decodeMonBundle, type MonBundle } from './mon-bundle.ts';
import { decodeServerBundle, type ServerBundle } from './server-bundle.ts';
import type { JoiningMember } from '../store/joining-member.ts';
import {
  checkReplaceable,
  createToken,
  expiredKeptMs,
  findToken,
  type NewToken,
  newToken,
  removeExpiredTokens,
  tokenId,
} from './tokens.ts';
import { forgetPassword, keepPassword } from './node-passwords.ts';

/** The endpoints over a real API server; time moves by hand. */

let server: TestServer;
let client: KubeClient;
let service: ReturnType<typeof createJoinService>;
let offsetMs = 0;
const clock: Clock = {
  now: () => systemClock.now() + offsetMs,
  monotonic: () => systemClock.monotonic() + offsetMs,
  after: systemClock.after,
};
const config = effectiveConfig('tlsSans: [api.example.com, 203.0.113.7]', 'test', {
  hostname: 'server-1',
  ip: '10.0.0.1',
  freeBytes: 1e12,
});
let staticSecret: string | undefined;
const admitted: JoiningMember[] = [];
const admittedMons: JoiningMon[] = [];
const monBundle: MonBundle = {
  format: 1,
  fsid: '1f6f2a3c-7d57-4d0b-9f0e-3a8b1c2d4e5f',
  monHosts: ['[v2:10.0.0.1:3300]'],
  self: { name: 'b', cluster: 'c1', member: 'd2' },
  keys: { 'mon.': 'bW9u', 'client.admin': 'YWRt', 'client.bootstrap-osd': 'Ym9vdA==' },
};
const bundle: ServerBundle = {
  format: 1,
  files: Object.fromEntries(serverFileNames.map((name) => [name, `the key: ${name}`])),
  member: { clusterId: 'c1', memberId: 'd2' },
};

beforeAll(async () => {
  server = await startTestServer({ port: 0 });
  client = createKubeClient({
    transport: (request) => server.api.fetch(request, { identity: { name: 'join', groups: ['system:masters'] } }),
    baseUrl: 'https://in-process',
    userAgent: 'test',
  });
  await keepPassword(client, 'server-1', 'the-servers-password', systemRandom);
});
afterAll(() => server.close());

let remote = 0;
beforeEach(() => {
  offsetMs = 0;
  staticSecret = undefined;
  // Every test comes from an address of its own: limits of one are not another's.
  remote++;
  const { pki } = server;
  service = createJoinService({
    authority: (name) => (name === 'client-ca' ? pki.clientCa : pki.serverCa),
    client,
    facts: clusterFacts(config),
    servers: async () => ['10.0.0.1:6443', '10.0.0.3:6443'],
    ownStore: true,
    takesOsds: true,
    ceph: async () => ({ fsid: 'f', monHosts: ['[v2:10.0.0.1:3300]'], bootstrapOsdKey: 'key' }),
    admitServer: async (joining) => {
      admitted.push(joining);
      return bundle;
    },
    admitMon: async (joining) => {
      admittedMons.push(joining);
      return monBundle;
    },
    staticSecrets: () => (staticSecret === undefined ? [] : [staticSecret]),
    ownAddresses: () => ['10.0.0.1'],
    serverSans: () => serverSans(config, ['10.0.0.1']),
    clock,
    random: systemRandom,
    log: silentLogger,
  });
  server.api.extend((request, env) =>
    service({
      method: request.method,
      path: new URL(request.url).pathname,
      headers: request.headers,
      remote: env.remote ?? '?',
      certificate: env.certificate,
      body: () => env.body?.() ?? Promise.resolve(new Uint8Array()),
    }),
  );
});

interface Ask {
  user?: string;
  secret?: string;
  node?: string;
  password?: string;
  ip?: string;
  peerUrl?: string;
  monAddress?: string;
  member?: string;
  datastore?: string;
  certificate?: UserInfo;
  method?: string;
  body?: Uint8Array;
}

async function ask(path: string, given: Ask = {}): Promise<{ status: number; text: string; retry: string | null }> {
  const headers = new Headers();
  if (given.secret !== undefined)
    headers.set('authorization', `Basic ${Buffer.from(`${given.user ?? 'node'}:${given.secret}`).toString('base64')}`);
  if (given.node !== undefined) headers.set('k3s-node-name', given.node);
  if (given.password !== undefined) headers.set('k3s-node-password', given.password);
  if (given.ip !== undefined) headers.set('k3s-node-ip', given.ip);
  if (given.peerUrl !== undefined) headers.set('appliance-peer-url', given.peerUrl);
  if (given.monAddress !== undefined) headers.set('appliance-mon-address', given.monAddress);
  if (given.member !== undefined) headers.set('appliance-store-member', given.member);
  if (given.datastore !== undefined) headers.set('appliance-datastore', given.datastore);
  const response = await service({
    method: given.method ?? 'GET',
    path,
    headers,
    remote: `10.9.0.${remote}`,
    certificate: given.certificate,
    body: async () => given.body ?? new Uint8Array(),
  });
  if (!response) throw new Error(`${path} is nobody's`);
  return { status: response.status, text: await response.text(), retry: response.headers.get('retry-after') };
}

async function tokenFor(options: Partial<NewToken> = {}): Promise<string> {
  const { record, secret } = await newToken({ user: 'node', ...options }, clock.now(), systemRandom);
  await createToken(client, record);
  return secret;
}

const kubelet = '/v1-k3s/client-kubelet.crt';
const nodeUser = (name: string): UserInfo => ({ name: `system:node:${name}`, groups: ['system:nodes'] });

describe('join endpoints', () => {
  test('who has a token gets a certificate for the key of its request, and no other name than its own', async () => {
    const secret = await tokenFor();
    const { request } = await makeSigningRequest('somebody else');
    const answer = await ask(kubelet, { secret, node: 'Pi-2', password: 'password-2', method: 'POST', body: request });
    expect(answer.status, answer.text).toBe(200);
    const [own, ca] = answer.text.match(/-----BEGIN CERT[\s\S]+?-----END CERTIFICATE-----/g)!;
    expect(new X509Certificate(own!).subject).toBe('O=system:nodes\nCN=system:node:pi-2');
    expect(new X509Certificate(own!).verify(new X509Certificate(ca!).publicKey)).toBe(true);
    expect(answer.text).not.toContain('PRIVATE KEY');
    const serving = await ask('/v1-k3s/serving-kubelet.crt', {
      secret,
      node: 'pi-2',
      password: 'password-2',
      ip: '10.0.0.2',
    });
    expect(new X509Certificate(serving.text).subjectAltName).toContain('IP Address:10.0.0.2');
    expect(serving.text).toContain('PRIVATE KEY');
  });

  test('a second machine of a name is refused and told the way out; a token for that replaces it, once', async () => {
    const secret = await tokenFor();
    expect((await ask(kubelet, { secret, node: 'twin', password: 'password-a' })).status).toBe(200);
    const refused = await ask(kubelet, { secret, node: 'twin', password: 'password-b' });
    expect(refused.status).toBe(403);
    expect(refused.text).toContain('appliance token create --replace twin');
    const replace = await tokenFor({ replace: 'twin' });
    const other = await ask(kubelet, { secret: replace, node: 'other', password: 'password-b' });
    expect(other.status).toBe(403);
    expect(other.text).toContain('the place of node twin');
    expect((await ask(kubelet, { secret: replace, node: 'twin', password: 'password-b' })).status).toBe(200);
    expect((await ask(kubelet, { secret: replace, node: 'twin', password: 'password-b' })).status).toBe(200);
    const third = await ask(kubelet, { secret: replace, node: 'twin', password: 'password-c' });
    expect(third.status).toBe(403);
    expect(third.text).toContain('has been used for that');
    expect((await ask(kubelet, { secret, node: 'twin', password: 'password-a' })).status).toBe(403);
    expect((await ask(kubelet, { secret, node: 'server-1', password: 'password-a' })).status).toBe(403);
  });

  test('of two machines that take the place of a node with one token at once, one gets it', async () => {
    const secret = await tokenFor();
    expect((await ask(kubelet, { secret, node: 'raced', password: 'password-0' })).status).toBe(200);
    const replace = await tokenFor({ replace: 'raced' });
    const passwords = ['password-1', 'password-2', 'password-3'];
    const answers = await Promise.all(
      passwords.map((password) => ask(kubelet, { secret: replace, node: 'raced', password })),
    );
    expect(answers.filter(({ status }) => status === 200).length).toBe(1);
    const winner = answers.findIndex(({ status }) => status === 200);
    const after = await Promise.all(passwords.map((password) => ask(kubelet, { secret, node: 'raced', password })));
    expect(after.findIndex(({ status }) => status === 200)).toBe(winner);
  });

  test('a one-time token is good for one node, again and again', async () => {
    const secret = await tokenFor({ oneTime: true });
    for (let time = 0; time < 2; time++)
      expect((await ask(kubelet, { secret, node: 'once', password: 'password-1' })).status).toBe(200);
    expect((await ask(kubelet, { secret, node: 'twice', password: 'password-1' })).status).toBe(401);
  });

  test.each([
    ['a one-time token', { oneTime: true }],
    ['a token that replaces a node', { replace: 'agent-k3s' }],
  ])('%s signs the certificates without a name only while its node joins', async (_kind, options) => {
    const secret = await tokenFor(options);
    const nameless = ['/v1-k3s/client-kube-proxy.crt', '/v1-k3s/client-k3s-controller.crt'];
    const statuses = () => Promise.all(nameless.map(async (path) => (await ask(path, { secret })).status));
    expect(await statuses()).toEqual([401, 401]);
    const node = { node: 'agent-k3s', password: 'password-k' };
    expect((await ask(kubelet, { secret, ...node })).status).toBe(200);
    expect(await statuses()).toEqual([200, 200]);
    offsetMs = 11 * 60_000;
    expect(await statuses()).toEqual([401, 401]);
    // The node itself gets them with its certificate, as K3s' agents do when they start again.
    expect((await ask(nameless[0]!, { certificate: nodeUser('agent-k3s') })).status).toBe(200);
    expect((await ask(kubelet, { secret, ...node })).status).toBe(200);
    await forgetPassword(client, 'agent-k3s');
    expect((await ask(nameless[0]!, { certificate: nodeUser('agent-k3s') })).status).toBe(401);
  });

  test('a token for any number of nodes signs them as K3s does', async () => {
    const secret = await tokenFor();
    expect((await ask('/v1-k3s/client-kube-proxy.crt', { secret })).status).toBe(200);
  });

  test('what storage needs is for nodes that are known still, not for whoever has kept a certificate', async () => {
    const secret = await tokenFor();
    expect((await ask(kubelet, { secret, node: 'leaver', password: 'password-l' })).status).toBe(200);
    const leaver = { certificate: nodeUser('leaver'), node: 'leaver', password: 'password-l' };
    expect((await ask('/v1-appliance/ceph', leaver)).status).toBe(200);
    await forgetPassword(client, 'leaver');
    const refused = await ask('/v1-appliance/ceph', leaver);
    expect(refused.status).toBe(401);
    expect(refused.text).toContain('was deleted from the cluster');
  });

  test('what storage needs is not for a machine whose place another one took, while its certificate is good', async () => {
    const node = { certificate: nodeUser('replaced'), node: 'replaced' };
    expect((await ask(kubelet, { ...node, secret: await tokenFor(), password: 'password-old' })).status).toBe(200);
    const replacing = await tokenFor({ replace: 'replaced' });
    expect((await ask(kubelet, { ...node, secret: replacing, password: 'password-new' })).status).toBe(200);
    expect((await ask('/v1-appliance/ceph', { ...node, password: 'password-old' })).status).toBe(403);
    expect((await ask('/v1-appliance/ceph', { certificate: node.certificate })).status).toBe(400);
    expect((await ask('/v1-appliance/ceph', { ...node, node: 'other', password: 'password-new' })).status).toBe(403);
    expect((await ask('/v1-appliance/ceph', { ...node, password: 'password-new' })).status).toBe(200);
  });

  test('a token tells which nodes have joined with it, each once', async () => {
    const secret = await tokenFor();
    const id = secret.split('.')[0]!;
    for (const node of ['joiner-1', 'joiner-2', 'joiner-1'])
      expect((await ask(kubelet, { secret, node, password: `password-${node}` })).status).toBe(200);
    expect((await findToken(client, id))?.usedBy).toEqual(['joiner-1', 'joiner-2']);
    // One that is refused has not joined with it.
    expect((await ask(kubelet, { secret, node: 'joiner-1', password: 'password-x' })).status).toBe(403);
    expect((await findToken(client, id))?.usedBy).toEqual(['joiner-1', 'joiner-2']);
  });

  test('an expired token and one of another user let nobody in', async () => {
    const secret = await tokenFor({ lifeMs: 60_000 });
    expect((await ask('/v1-k3s/readyz', { secret })).status).toBe(200);
    expect((await ask('/v1-k3s/readyz', { secret, user: 'server' })).status).toBe(401);
    expect((await ask('/v1-k3s/readyz', { secret: `${secret}x` })).status).toBe(401);
    offsetMs = 61_000;
    const late = await ask('/v1-k3s/readyz', { secret });
    expect(late.status).toBe(401);
    expect(late.text).toContain('has expired');
  });

  test('expired tokens are removed, an hour after their end; others stay', async () => {
    const [short, long, endless] = await Promise.all(
      [{ lifeMs: 60_000 }, { lifeMs: 10 * expiredKeptMs }, {}].map(tokenFor),
    );
    const left = async (): Promise<boolean[]> =>
      Promise.all(
        [short, long, endless].map(async (secret) => (await findToken(client, tokenId(secret!)!)) !== undefined),
      );
    offsetMs = 60_000 + expiredKeptMs - 10_000;
    await removeExpiredTokens(client, clock.now());
    expect(await left()).toEqual([true, true, true]);
    offsetMs += 20_000;
    expect(await removeExpiredTokens(client, clock.now())).toContain(tokenId(short!));
    expect(await left()).toEqual([false, true, true]);
  });

  test('a token that replaces a node is for one that is there', async () => {
    await expect(checkReplaceable(client, 'pi-22')).rejects.toThrow('there is no node "pi-22"');
    await client.create(nodesRef, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'pi-22' } });
    await checkReplaceable(client, 'pi-22');
    // Its node is gone and its name is still taken.
    await checkReplaceable(client, 'server-1');
  });

  test('a node renews with its certificate or its password, as itself only; a deleted one needs a token', async () => {
    const secret = await tokenFor();
    const node = { node: 'renewer', password: 'password-r' };
    expect((await ask(kubelet, { secret, ...node })).status).toBe(200);
    const certificate = nodeUser('renewer');
    expect((await ask(kubelet, { certificate, ...node })).status).toBe(200);
    expect((await ask(kubelet, { certificate, ...node, node: 'once' })).status).toBe(403);
    expect((await ask(kubelet, { certificate, ...node, password: 'password-x' })).status).toBe(403);
    expect((await ask(kubelet, { user: 'node/renewer', secret: 'password-r', ...node })).status).toBe(200);
    expect((await ask(kubelet, { user: 'node/renewer', secret: 'password-x', ...node })).status).toBe(401);
    await server.call('DELETE', '/api/v1/namespaces/kube-system/secrets/renewer.node-password.k3s');
    expect((await ask(kubelet, { certificate, ...node })).status).toBe(401);
  });

  test('storage is for nodes that have joined, the keys of the cluster for tokens of servers', async () => {
    const secret = await tokenFor();
    expect((await ask('/v1-appliance/ceph', { secret })).status).toBe(403);
    const node = { node: 'storer', password: 'password-t' };
    expect((await ask(kubelet, { secret, ...node })).status).toBe(200);
    expect((await ask('/v1-appliance/ceph', { certificate: nodeUser('storer'), ...node })).status).toBe(200);
    expect((await ask('/v1-appliance/ceph')).status).toBe(401);
    const second = { node: 'server-2', password: 'password-s', peerUrl: 'https://10.0.0.2:2380' };
    expect((await ask('/v1-k3s/server-bootstrap', { secret, ...second })).status).toBe(403);
    expect((await ask('/v1-k3s/server-bootstrap', { certificate: nodeUser('any'), ...second })).status).toBe(403);
    staticSecret = 'a-static-token';
    for (const user of ['node', 'server']) {
      expect((await ask('/v1-k3s/readyz', { user, secret: staticSecret })).status).toBe(200);
      expect((await ask('/v1-k3s/server-bootstrap', { user, secret: staticSecret, ...second })).status).toBe(403);
    }
    const opens = await tokenFor({ user: 'server' });
    const asServer = { user: 'server', secret: opens, ...second };
    for (const peerUrl of [
      '',
      'http://10.0.0.2:2380',
      'https://10.0.0.2',
      'https://host:2380',
      'https://1.2.3.4:99999',
    ])
      expect((await ask('/v1-k3s/server-bootstrap', { ...asServer, peerUrl })).status, peerUrl).toBe(400);
    expect((await ask('/v1-k3s/server-bootstrap', { ...asServer, member: 'x' })).status).toBe(400);
    expect(admitted).toEqual([]);
    // What could not start here must not become a member that never comes.
    const unfit = await ask('/v1-k3s/server-bootstrap', { ...asServer, datastore: 'etcd' });
    expect(unfit).toMatchObject({ status: 409, text: expect.stringContaining('keep its data themselves') });
    expect(admitted).toEqual([]);
    const keys = await ask('/v1-k3s/server-bootstrap', { ...asServer, datastore: 'own' });
    expect(keys.status, keys.text).toBe(200);
    expect(keys.text).not.toContain('the key');
    expect(decodeServerBundle(await unseal(opens, keys.text))).toEqual(bundle);
    await ask('/v1-k3s/server-bootstrap', { ...asServer, member: 'd2' });
    expect(admitted).toEqual([
      { node: 'server-2', peerUrl: second.peerUrl, member: undefined },
      { node: 'server-2', peerUrl: second.peerUrl, member: 0xd2n },
    ]);
  });

  test('the keys of the storage are for tokens of servers, sealed under them', async () => {
    const mon = {
      node: 'mon-2',
      password: 'password-m',
      monAddress: 'v2:10.0.0.2:3300/0',
      peerUrl: 'https://10.0.0.2:3301',
    };
    const path = '/v1-appliance/mon-bootstrap';
    expect((await ask(path, { secret: await tokenFor(), ...mon })).status).toBe(403);
    expect((await ask(path, { certificate: nodeUser('mon-2'), ...mon })).status).toBe(403);
    const secret = await tokenFor({ user: 'server' });
    const asServer = { user: 'server', secret, ...mon };
    for (const monAddress of ['', 'v1:10.0.0.2:3300/0', 'v2:10.0.0.2/0', 'v2:1.2.3.4:99999/0', 'v2:10.0.0.2:3300/7'])
      expect((await ask(path, { ...asServer, monAddress })).status, monAddress).toBe(400);
    expect((await ask(path, { ...asServer, peerUrl: 'http://10.0.0.2:3301' })).status).toBe(400);
    expect(admittedMons).toEqual([]);
    const answer = await ask(path, asServer);
    expect(answer.status, answer.text).toBe(200);
    expect(answer.text).not.toContain('bW9u');
    expect(decodeMonBundle(await unseal(secret, answer.text))).toEqual(monBundle);
    expect(admittedMons).toEqual([{ node: 'mon-2', addr: mon.monAddress, peerUrl: mon.peerUrl, member: undefined }]);
  });

  test('names and addresses of API servers and of other nodes are not for nodes, and a refused one keeps nothing', async () => {
    const secret = await tokenFor();
    const node = { secret, password: 'password-n' };
    for (const name of ['kubernetes', 'localhost', 'kubernetes.default.svc', 'api.example.com', '10.43.0.1'])
      expect((await ask(kubelet, { ...node, node: name })).status, name).toBe(400);
    const serving = (ip: string, name = 'thief') =>
      ask('/v1-k3s/serving-kubelet.crt', { ...node, node: name, ip: `10.0.0.77,${ip}` });
    for (const ip of ['10.0.0.1', '10.43.0.1', '10.42.3.4', '203.0.113.7', '127.0.0.9', '10.0.0.3']) {
      const refused = await serving(ip);
      expect(refused.status, ip).toBe(400);
      expect(refused.text).toContain(`${ip} is`);
    }
    const path = '/api/v1/nodes';
    const made = await server.call('POST', path, { metadata: { name: 'neighbour' } });
    const addresses = [{ type: 'InternalIP', address: '10.0.0.55' }];
    const told = await server.call('PUT', `${path}/neighbour/status`, { ...made.body, status: { addresses } });
    expect(told.status).toBe(200);
    const refused = await serving('10.0.0.55');
    expect(refused.status).toBe(409);
    expect(refused.text).toContain('kubectl delete node neighbour');
    expect((await serving('10.0.0.55', 'neighbour')).status).toBe(200);
    await server.call('DELETE', `${path}/neighbour`);
    expect((await serving('10.0.0.55')).status).toBe(200);
    const own = { secret, node: 'server-1', password: 'the-servers-password' };
    expect((await ask('/v1-k3s/serving-kubelet.crt', { ...own, ip: '10.0.0.1' })).status).toBe(200);
    expect((await ask('/v1-k3s/serving-kubelet.crt', { ...own, ip: '10.43.0.1' })).status).toBe(400);
  });

  test('what K3s agents read of a server is there', async () => {
    const secret = await tokenFor();
    const read = async (path: string) => (await ask(path, { secret })).text;
    expect(JSON.parse(await read('/v1-k3s/config'))).toMatchObject({
      ClusterIPRange: { IP: '10.42.0.0', Mask: '//8AAA==' },
      ClusterDNS: '10.43.0.10',
      ClusterDomain: 'cluster.local',
      ServiceNodePortRange: { Base: 30000, Size: 2768 },
    });
    expect(JSON.parse(await read('/v1-k3s/apiservers'))).toEqual(['10.0.0.1:6443', '10.0.0.3:6443']);
    expect(await read('/v1-k3s/server-ca.crt')).toBe(server.pki.serverCa.cert);
    expect(await read('/v1-k3s/client-ca.crt')).toBe(server.pki.clientCa.cert);
    expect((await ask('/v1-k3s/connect', { certificate: nodeUser('any') })).status).toBe(501);
    expect((await ask('/v1-k3s/readyz', { secret, method: 'DELETE' })).status).toBe(405);
    expect(
      service({
        method: 'GET',
        path: '/v1-k3s/unknown',
        headers: new Headers(),
        remote: 'x',
        certificate: undefined,
        body: async () => new Uint8Array(),
      }),
    ).toBeUndefined();
  });

  test('an address that guesses is stopped, and another is not', async () => {
    const secret = await tokenFor();
    const codes: number[] = [];
    for (let guess = 0; guess < 14; guess++)
      codes.push((await ask('/v1-k3s/readyz', { secret: `aaaaaa.${guess}` })).status);
    expect(codes).toEqual([...Array<number>(10).fill(401), ...Array<number>(4).fill(429)]);
    const stopped = await ask('/v1-k3s/readyz', { secret });
    expect([stopped.status, stopped.retry]).toEqual([429, '10']);
    remote++;
    expect((await ask('/v1-k3s/readyz', { secret })).status).toBe(200);
    remote--;
    offsetMs = 60_000;
    expect((await ask('/v1-k3s/readyz', { secret })).status).toBe(200);
  });

  test('fuzz: garbage in headers and bodies is refused, never a failure of the server', async () => {
    const secret = await tokenFor();
    const random = seededRandom(11);
    const { request } = await makeSigningRequest('x');
    const rounds = Math.min(2000, Number(process.env.FUZZ_ROUNDS ?? 150));
    for (let round = 0; round < rounds; round++) {
      remote = 50 + (round % 200);
      const body = Uint8Array.from(request);
      for (let i = 0; i <= round % 5; i++) body[random.uint32() % body.length] = random.uint32() & 0xff;
      const cut = body.subarray(0, random.uint32() % (body.length + 1));
      const answer = await ask(kubelet, { secret, node: 'fuzzed', password: 'password-f', method: 'POST', body: cut });
      expect([200, 400]).toContain(answer.status);
    }
    for (let round = 0; round < 500; round++) {
      const text = Buffer.from(random.bytes(random.uint32() % 40))
        .toString('latin1')
        .replace(/[\0\r\n]/g, '');
      const headers = new Headers();
      headers.set('k3s-node-name', round % 2 === 0 ? text : 'good');
      headers.set('k3s-node-password', round % 3 === 0 ? text : 'password');
      headers.set('k3s-node-ip', text);
      try {
        expect(nodeHeaders(headers).name).toMatch(/^[a-z0-9.-]+$/);
      } catch (error) {
        expect((error as { httpCode?: number }).httpCode).toBe(400);
      }
    }
  });
});

describe('joining client', () => {
  test('believes the CA of the token only, and a server only by the name in its certificate', async () => {
    const address = `127.0.0.1:${server.listener!.port}`;
    const hash = caHash(server.pki.serverCa.cert);
    server.api.renew({ server: await server.pki.serving('kubernetes'), kubeletClient: server.pki.kubeletClient });
    const token = { caHash: hash, user: 'node', secret: 'x' } as const;
    expect(await fetchAuthority(address, token)).toBe(server.pki.serverCa.cert);
    await expect(fetchAuthority(address, { ...token, caHash: '0'.repeat(64) })).rejects.toThrow('another cluster');
    await expect(fetchAuthority('127.0.0.1:1', token)).rejects.toThrow('nothing listens');
    const plain = Bun.listen({
      port: 0,
      hostname: '127.0.0.1',
      socket: { data: (socket) => void socket.end('no TLS') },
    });
    await expect(fetchAuthority(`127.0.0.1:${plain.port}`, token)).rejects.toThrow('does not speak TLS');
    plain.stop(true);
    await expect(fetchAuthority('no-such-host.invalid:6443', token)).rejects.toThrow('has no address');
    // A kubelet's serving certificate is of the same authority: it is no server's.
    server.api.renew({ server: await server.pki.serving('pi-2'), kubeletClient: server.pki.kubeletClient });
    await expect(fetchAuthority(address, token)).rejects.toThrow('did not sign');
    server.api.renew({ server: await server.pki.serving('kubernetes'), kubeletClient: server.pki.kubeletClient });
    const ping = new ServerClient(['127.0.0.1:1', address], server.pki.serverCa.cert, {});
    expect(await ping.ask('/ping')).toBe('pong');
    const refused = ping.as({ basic: { user: 'node', secret: 'nothing' } }).ask('/v1-k3s/readyz');
    await expect(refused).rejects.toMatchObject({ code: 'HTTP_401' });
  });
});

describe('several servers answer on the network', () => {
  const token = (): JoinToken => ({ caHash: caHash(server.pki.serverCa.cert), user: 'node', secret: 'x' });

  test('the first is gone: the next one is joined', async () => {
    server.api.renew({ server: await server.pki.serving('kubernetes'), kubeletClient: server.pki.kubeletClient });
    const address = `127.0.0.1:${server.listener!.port}`;
    expect(await findAuthority(['127.0.0.1:1', address, '127.0.0.1:2'], token())).toEqual({
      server: address,
      ca: server.pki.serverCa.cert,
    });
  });

  test('none can be joined: every one is named', async () => {
    await expect(findAuthority(['127.0.0.1:1', '127.0.0.1:2'], token())).rejects.toMatchObject({
      code: 'UNREACHABLE',
      message: 'no server can be joined: nothing listens at 127.0.0.1:1; nothing listens at 127.0.0.1:2',
    });
    await expect(findAuthority(['127.0.0.1:1'], token())).rejects.toThrow(/^nothing listens at 127.0.0.1:1$/);
  });
});

describe('rate limit', () => {
  test('a burst, then by time; what is remembered is bounded', () => {
    const limit = new RateLimit({ burst: 3, perSecond: 1, addressesMax: 2 });
    expect([1, 2, 3, 4].map(() => limit.take('a', 0))).toEqual([true, true, true, false]);
    expect(limit.take('a', 1000)).toBe(true);
    expect(limit.take('a', 1500)).toBe(false);
    for (const other of ['b', 'c']) limit.take(other, 1500);
    // The oldest address is forgotten.
    expect(limit.allows('a', 1500)).toBe(true);
  });
});

test('a server that is starting tells nodes to try again: that is no refusal', async () => {
  for (const path of ['/v1-k3s/apiservers', '/v1-appliance/cluster'])
    expect((await notYetJoining(path))?.status).toBe(503);
  for (const path of ['/api/v1/nodes', '/ping', '/v1-other/x']) expect(notYetJoining(path)).toBeUndefined();
});
