import type { Clock } from '../base/clock.ts';
import { errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import type { Random } from '../base/random.ts';
import { isIPv4 } from '../config/cidr.ts';
import type { StorageEngine } from '../config/config.ts';
import type { Node } from '../kube/api/types.ts';
import type { KubeClient, KubeObject } from '../kube/client/api.ts';
import { nodesRef } from '../kube/client/resources.ts';
import { nodeName, type UserInfo } from '../kube/auth/identity.ts';
import { badRequest, failure, StatusError, tooManyRequests } from '../kube/machinery/status.ts';
import {
  issueCertificate,
  type KeyPair,
  type LeafRequest,
  signCertificate,
  signingRequestKey,
} from '../pki/certificates.ts';
import { type AuthorityName, type NodeLeafName, nodeLeaf } from '../pki/leaves.ts';
import { seal } from '../pki/sealed.ts';
import { type ClusterFacts, type ClusterInfo, k3sConfig } from './cluster-info.ts';
import { Credentials, parseBasic, type Principal } from './credentials.ts';
import { claimRefusal, type NodeClaim } from './node-claims.ts';
import { encodeMonBundle, type MonBundle } from './mon-bundle.ts';
import { RateLimit } from './rate-limit.ts';
import { encodeServerBundle, type ServerBundle } from './server-bundle.ts';
import type { JoiningMember } from '../store/joining-member.ts';

/**
 * The endpoints by which machines join, on the port of the API server: `/cacerts`, `/ping` and `/v1-k3s/…` as K3s' agents call them
 * (`pkg/server/handlers`, `pkg/agent/config`), and `/v1-appliance/…` for what K3s has no word for.
 */

/** A request as the listener hands it over. */
export interface JoinRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  /** The peer's address. */
  readonly remote: string;
  /** The user of a verified client certificate. */
  readonly certificate: UserInfo | undefined;
  body(): Promise<Uint8Array>;
}

export interface JoinServiceOptions {
  readonly authority: (name: AuthorityName) => KeyPair;
  /** Acts as the server itself. */
  readonly client: KubeClient;
  readonly facts: ClusterFacts;
  /** Addresses of API servers, `host:port`. */
  readonly servers: () => Promise<string[]>;
  /** The servers keep the store themselves; a real etcd does otherwise. */
  readonly ownStore: boolean;
  /** What an OSD on another node needs; undefined where there is no storage. */
  readonly ceph: (() => Promise<CephAccess>) | undefined;
  /** OSDs of other nodes can be part of the storage. */
  readonly takesOsds: boolean;
  /** Makes a machine one more server of this cluster: what it needs for that. Throws StatusError. */
  readonly admitServer: (server: JoiningMember) => Promise<ServerBundle>;
  /** Makes a machine's mon one of the cluster: what it needs for that; undefined where there is no storage. Throws StatusError. */
  readonly admitMon: ((mon: JoiningMon) => Promise<MonBundle>) | undefined;
  readonly staticSecrets: () => readonly string[];
  /** Addresses of this server's machine: no node gets a certificate for them but its own. */
  readonly ownAddresses: () => readonly string[];
  /** Names and addresses in this server's certificates: no node gets one for them. */
  readonly serverSans: () => readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

/** A machine that asks to be a mon. */
export interface JoiningMon {
  readonly node: string;
  /** `v2:10.0.0.2:3300/0`. */
  readonly addr: string;
  /** `https://10.0.0.2:3301`. */
  readonly peerUrl: string;
  /** The member that its store belongs to, when it has one already. */
  readonly member: bigint | undefined;
}

/** How an OSD of a joined node comes into the cluster. */
export interface CephAccess {
  readonly fsid: string;
  /** `[v2:10.0.0.1:3300]` each. */
  readonly monHosts: readonly string[];
  /** Absent: `embedded`. */
  readonly engine?: StorageEngine | undefined;
  /** Absent: `cephx`. */
  readonly auth?: 'none' | undefined;
  /** Base64 key of client.bootstrap-osd: may ask for an OSD id and nothing else. Absent where storage is somebody else's. */
  readonly bootstrapOsdKey?: string | undefined;
}

interface Call {
  readonly request: JoinRequest;
  readonly who: Principal;
}

/** `node`: tokens of both users, and nodes. `joined`: nodes. `server`: tokens of user server. */
type Access = 'node' | 'joined' | 'server';

interface Endpoint {
  readonly access: Access;
  readonly methods: readonly string[];
  handle(call: Call): Promise<Response>;
}

const nodePattern = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const passwordPattern = /^[!-~]{8,128}$/;
/** What a joining server tells of its store. */
export const peerUrlHeader = 'appliance-peer-url';
/** Where a joining mon will be reached. */
export const monAddressHeader = 'appliance-mon-address';
export const memberHeader = 'appliance-store-member';
/** What it wants of the cluster: a store that servers keep themselves (`own`) or a real etcd (`etcd`), and storage for its disks. */
export const datastoreHeader = 'appliance-datastore';
export const disksHeader = 'appliance-disks';
const addressesMax = 8;
const bodyMax = 16_384;

const text = (content: string, status = 200): Response =>
  new Response(content, { status, headers: { 'content-type': 'text/plain' } });

/** Name, password and addresses that a node tells of itself. Throws 400. */
export function nodeHeaders(headers: Headers): { name: string; password: string; addresses: string[] } {
  const name = (headers.get('k3s-node-name') ?? '').toLowerCase();
  const password = headers.get('k3s-node-password') ?? '';
  if (name === '') throw badRequest('node name not set');
  if (password === '') throw badRequest('node password not set');
  if (name.length > 253 || !nodePattern.test(name))
    throw badRequest('the node name is no DNS name: lower-case letters, digits, "-" and ".", at most 253 characters');
  if (!passwordPattern.test(password)) throw badRequest('the node password has 8 to 128 characters without spaces');
  const addresses = (headers.get('k3s-node-ip') ?? '').split(',').filter((one) => one !== '');
  if (addresses.length > addressesMax) throw badRequest(`at most ${addressesMax} node addresses`);
  for (const address of addresses)
    if (!isIPv4(address)) throw badRequest(`invalid node IP address ${JSON.stringify(address.slice(0, 64))}`);
  return { name, password, addresses };
}

/** Where the store of a joining server will be reached, and which member it is already. Throws 400. */
export function serverHeaders(headers: Headers): Omit<JoiningMember, 'node'> {
  const peerUrl = headers.get(peerUrlHeader) ?? '';
  const member = headers.get(memberHeader);
  const match = /^https:\/\/(\d+\.\d+\.\d+\.\d+):(\d{1,5})$/.exec(peerUrl);
  if (!match || !isIPv4(match[1]!) || Number(match[2]) > 65_535)
    throw badRequest(`${peerUrlHeader}: expected https://address:port, where the store of this server is reached`);
  if (member !== null && !/^[0-9a-f]{1,14}$/.test(member))
    throw badRequest(`${memberHeader}: expected the id of a member`);
  return { peerUrl, member: member === null ? undefined : BigInt(`0x${member}`) };
}

/** Where a joining mon will be reached. Throws 400. */
function monHeaders(headers: Headers): Omit<JoiningMon, 'node'> {
  const addr = headers.get(monAddressHeader) ?? '';
  const match = /^v2:(\d+\.\d+\.\d+\.\d+):(\d{1,5})\/0$/.exec(addr);
  if (!match || !isIPv4(match[1]!) || Number(match[2]) > 65_535)
    throw badRequest(`${monAddressHeader}: expected v2:address:port/0, where this mon is reached`);
  return { addr, ...serverHeaders(headers) };
}

/** Refuses a server that could not start here, before it is anything in the cluster: nothing would take that back. Throws 409. */
function checkFits(
  headers: Headers,
  { takesOsds, ownStore }: Pick<JoinServiceOptions, 'takesOsds' | 'ownStore'>,
): void {
  const datastore = headers.get(datastoreHeader);
  if (datastore !== null && (datastore === 'own') !== ownStore)
    throw failure(
      409,
      'Conflict',
      `${ownStore ? 'the servers of this cluster keep its data themselves' : "a real etcd keeps this cluster's data"}: write the same datastore into the configuration of every server, or leave it away at each`,
      {},
    );
  if (headers.get(disksHeader) !== null && !takesOsds)
    throw failure(
      409,
      'Conflict',
      'the cluster has no storage that an OSD or a mgr could be part of: leave the roles osd and mgr away',
      {},
    );
}

/** The answer to a request of a machine that joins or has joined, before this server takes them; undefined for a path that is not theirs. */
export function notYetJoining(path: string): Promise<Response> | undefined {
  if (!/^\/v1-(k3s|appliance)\//.test(path)) return undefined;
  const { status } = failure(503, 'ServiceUnavailable', 'this server is starting; try again', {});
  return Promise.resolve(Response.json(status, { status: 503, headers: { 'retry-after': '1' } }));
}

/** Answers the requests of joining and joined machines; undefined for a path that is not theirs. Never throws. */
export function createJoinService(
  options: JoinServiceOptions,
): (request: JoinRequest) => Promise<Response> | undefined {
  const { authority, client, clock, facts, log, random } = options;
  const credentials = new Credentials(options);
  const requests = new RateLimit({ burst: 120, perSecond: 2 });
  const failures = new RateLimit({ burst: 10, perSecond: 1 / 6 });

  /** The certificate with its authority's, and the key when the request brought none of its own (older K3s agents). */
  const sign = async ({ request }: Call, name: AuthorityName, leaf: LeafRequest): Promise<Response> => {
    const issuer = authority(name);
    if (request.method === 'GET') {
      const pair = await issueCertificate(issuer, leaf, clock.now(), random.bytes(16));
      return text(pair.cert + issuer.cert + pair.key);
    }
    const body = await request.body();
    if (body.length > bodyMax) throw failure(413, 'RequestEntityTooLarge', `the limit is ${bodyMax} bytes`, {});
    const key = await signingRequestKey(body);
    if (key === undefined)
      throw badRequest('expected a certificate signing request (PKCS #10, DER or PEM) with a valid signature');
    return text((await signCertificate(issuer, key, leaf, clock.now(), random.bytes(16))) + issuer.cert);
  };

  /** Throws 400 for what no node may have, 409 for what another node has. */
  const checkClaim = async (claim: NodeClaim): Promise<void> => {
    const [servers, nodes] = await Promise.all([options.servers(), client.list<Node & KubeObject>(nodesRef)]);
    const refusal = claimRefusal(claim, {
      server: { node: facts.node, addresses: options.ownAddresses() },
      serverSans: options.serverSans(),
      servers,
      cluster: facts.cluster,
      nodes: nodes.items.map(({ metadata, status }) => ({
        name: metadata.name,
        addresses: (status?.addresses ?? []).flatMap((one) => (one.type === 'InternalIP' ? [one.address] : [])),
      })),
    });
    if (refusal?.by !== undefined) throw failure(409, 'Conflict', refusal.why, {});
    if (refusal) throw badRequest(refusal.why);
  };

  const nodeCertificate = async (call: Call, leafName: NodeLeafName): Promise<Response> => {
    const { addresses, name, password } = nodeHeaders(call.request.headers);
    await checkClaim({ name, addresses });
    await credentials.admitNode(call.who, name, password);
    const { authority: issuer, request } = nodeLeaf(leafName, name, addresses);
    log.info('signs a certificate', {
      node: name,
      certificate: leafName,
      from: call.request.remote,
      by: call.who.kind,
    });
    return sign(call, issuer, request);
  };
  const file = (name: AuthorityName): Endpoint => ({
    access: 'node',
    methods: ['GET'],
    handle: async () => text(authority(name).cert),
  });
  const certificate = (issue: (call: Call) => Promise<Response>): Endpoint => ({
    access: 'node',
    methods: ['GET', 'POST'],
    handle: issue,
  });
  const nameless = async (call: Call, commonName: string): Promise<Response> => {
    await credentials.admitKnownNode(call.who);
    credentials.admitNameless(call.who);
    return sign(call, 'client-ca', { commonName, usage: 'client' });
  };

  const endpoints: Record<string, Endpoint> = {
    '/v1-k3s/serving-kubelet.crt': certificate((call) => nodeCertificate(call, 'kubelet-serving')),
    '/v1-k3s/client-kubelet.crt': certificate((call) => nodeCertificate(call, 'kubelet')),
    '/v1-k3s/client-kube-proxy.crt': certificate((call) => nameless(call, 'system:kube-proxy')),
    '/v1-k3s/client-k3s-controller.crt': certificate((call) => nameless(call, 'system:k3s-controller')),
    '/v1-k3s/client-ca.crt': file('client-ca'),
    '/v1-k3s/server-ca.crt': file('server-ca'),
    '/v1-k3s/apiservers': {
      access: 'node',
      methods: ['GET'],
      handle: async () => Response.json(await options.servers()),
    },
    '/v1-k3s/config': { access: 'node', methods: ['GET'], handle: async () => Response.json(k3sConfig(facts)) },
    '/v1-k3s/readyz': { access: 'node', methods: ['GET'], handle: async () => text('ok') },
    // The tunnel by which K3s' servers reach kubelets: ours connect to them.
    '/v1-k3s/connect': {
      access: 'joined',
      methods: ['GET'],
      handle: async () => text('kubelets are reached at their own address here\n', 501),
    },
    '/v1-k3s/server-bootstrap': {
      access: 'server',
      methods: ['GET'],
      handle: async ({ request, who }) => {
        if (who.kind !== 'token') throw failure(403, 'Forbidden', 'a token of user server is needed', {});
        const { name, password } = nodeHeaders(request.headers);
        const store = serverHeaders(request.headers);
        checkFits(request.headers, options);
        // Nothing is signed for its addresses here.
        await checkClaim({ name, addresses: [] });
        await credentials.admitNode(who, name, password);
        const bundle = await options.admitServer({ node: name, ...store });
        log.warn('gives the keys of the cluster to a joining server', { node: name, from: request.remote });
        return text(await seal(who.secret, encodeServerBundle(bundle), random));
      },
    },
    '/v1-appliance/mon-bootstrap': {
      access: 'server',
      methods: ['GET'],
      handle: async ({ request, who }) => {
        if (who.kind !== 'token') throw failure(403, 'Forbidden', 'a token of user server is needed', {});
        const { name, password } = nodeHeaders(request.headers);
        const mon = monHeaders(request.headers);
        if (!options.admitMon)
          throw failure(
            409,
            'Conflict',
            'the cluster has no storage that a mon could be part of: leave the role mon away',
            {},
          );
        // Nothing is signed for its addresses here.
        await checkClaim({ name, addresses: [] });
        await credentials.admitNode(who, name, password);
        const bundle = await options.admitMon({ node: name, ...mon });
        log.warn('gives the keys of the storage to a joining mon', { node: name, from: request.remote });
        return text(await seal(who.secret, encodeMonBundle(bundle), random));
      },
    },
    '/v1-appliance/client-edge.crt': certificate((call) => nodeCertificate(call, 'edge')),
    '/v1-appliance/cluster': {
      access: 'node',
      methods: ['GET'],
      handle: async () => {
        const info: ClusterInfo = { format: 1, ...facts, servers: await options.servers(), nowMs: clock.now() };
        return Response.json(info);
      },
    },
    '/v1-appliance/ceph': {
      access: 'joined',
      methods: ['GET'],
      handle: async ({ request, who }) => {
        // Whose place another machine took has its certificate still, and another password.
        const { name, password } = nodeHeaders(request.headers);
        await credentials.admitNode(who, name, password);
        if (!options.ceph) throw failure(404, 'NotFound', 'this cluster has no storage of its own', {});
        return Response.json(await options.ceph());
      },
    },
  };

  const principal = async (request: JoinRequest): Promise<Principal> => {
    const basic = parseBasic(request.headers.get('authorization'));
    if (basic) return credentials.authenticate(basic.user, basic.secret);
    const node = request.certificate && nodeName(request.certificate);
    if (node === undefined) throw failure(401, 'Unauthorized', 'a token or the certificate of a node is needed', {});
    return { kind: 'certificate', node };
  };

  const answer = async (request: JoinRequest, endpoint: Endpoint): Promise<Response> => {
    const now = clock.monotonic();
    if (!requests.take(request.remote, now) || !failures.allows(request.remote, now))
      throw tooManyRequests('too many requests from this address; try again later', 10);
    if (!endpoint.methods.includes(request.method))
      throw failure(405, 'MethodNotAllowed', `expected ${endpoint.methods.join(' or ')}`, {});
    const who = await principal(request);
    const server = who.kind === 'token' && who.user === 'server';
    if ((endpoint.access === 'joined' && who.kind === 'token') || (endpoint.access === 'server' && !server))
      throw failure(
        403,
        'Forbidden',
        endpoint.access === 'server' ? 'a token of user server is needed' : 'only for nodes that have joined',
        {},
      );
    return endpoint.handle({ request, who });
  };

  return (request) => {
    if (request.path === '/ping') return Promise.resolve(text('pong'));
    if (request.path === '/cacerts') return Promise.resolve(text(authority('server-ca').cert));
    const endpoint = Object.hasOwn(endpoints, request.path) ? endpoints[request.path] : undefined;
    if (!endpoint) return undefined;
    return answer(request, endpoint).catch((error: unknown) => {
      const known = error instanceof StatusError;
      const status = known
        ? error.status
        : failure(500, 'InternalError', 'the server failed; its log says why', {}).status;
      const code = status.code ?? 500;
      if (code === 401 || code === 403) failures.take(request.remote, clock.monotonic());
      log[known ? 'info' : 'error']('join request refused', {
        path: request.path,
        from: request.remote,
        code,
        why: errorText(error),
      });
      const retry = status.details?.retryAfterSeconds;
      return Response.json(status, {
        status: code,
        ...(retry === undefined ? {} : { headers: { 'retry-after': String(retry) } }),
      });
    });
  };
}
