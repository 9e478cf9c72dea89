import { isDeepStrictEqual } from 'node:util';
import type { Clock } from '../base/clock.ts';
import { AppError, errorCode } from '../base/errors.ts';
import { makeDirectory, readFileIfThere, writeFileAtomic } from '../base/files-system.ts';
import { pemCertificates } from '../base/pem.ts';
import type { Random } from '../base/random.ts';
import { z } from 'zod';
import { parseCryptoKey } from '../ceph/auth/crypto.ts';
import { formatKeyring } from '../ceph/auth/keyring.ts';
import { renderCephConf } from '../ceph/client/ceph-conf.ts';
import { keepEngineRecord, readEngineRecord } from '../ceph/engine/engine-record-system.ts';
import type { Config, JoinedCluster } from '../config/config.ts';
import type { Paths } from '../config/paths.ts';
import { certificateEnd, certificateServes, keyFits, makeSigningRequest } from '../pki/certificates.ts';
import { type NodeLeafName, nodeLeaf, nodeLeafNames } from '../pki/leaves.ts';
import { ensureNodePassword, writePair } from '../pki/server-pki-system.ts';
import { cephAccessSchema, clusterInfoSchema, featureLevel, serverAddress } from './cluster-info.ts';
import type { ClusterInfo } from './cluster-info.ts';
import type { CephAccess } from './join-service.ts';
import { type Credential, ServerClient, serverAddressOf } from './join-client.ts';

/** The identity directory of a node: what it keeps of its cluster, and how it has its certificates renewed. */

/** Where each certificate is asked for. */
const endpoints: Record<NodeLeafName, string> = {
  kubelet: '/v1-k3s/client-kubelet.crt',
  'kubelet-serving': '/v1-k3s/serving-kubelet.crt',
  edge: '/v1-appliance/client-edge.crt',
};

/** Dead ones cost a failed attempt each before a node gives up. */
const rememberedServersMax = 12;

export interface NodeSelf {
  readonly name: string;
  readonly password: string;
  readonly addresses: readonly string[];
}

/** Has the servers sign a new key; the answer is the certificate alone. */
export async function requestCertificate(
  client: ServerClient,
  leaf: NodeLeafName,
  self: NodeSelf,
): Promise<{ cert: string; key: string }> {
  const { key, request } = await makeSigningRequest(`system:node:${self.name}`);
  const text = await client.ask(endpoints[leaf], {
    method: 'POST',
    headers: {
      'k3s-node-name': self.name,
      'k3s-node-password': self.password,
      'k3s-node-ip': self.addresses.join(),
      'content-type': 'application/pkcs10',
    },
    body: request,
  });
  const [cert] = pemCertificates(text);
  if (cert === undefined) throw new AppError('JOIN', `the answer to ${endpoints[leaf]} has no certificate in it`);
  return { cert: `${cert}\n`, key };
}

/** Asks what the cluster is. Errors: JOIN when the answer is not that of a server of this version. */
export async function requestClusterInfo(client: ServerClient): Promise<ClusterInfo> {
  const parsed = clusterInfoSchema.safeParse(json(await client.ask('/v1-appliance/cluster')));
  if (!parsed.success)
    throw new AppError(
      'JOIN',
      `the server describes its cluster in a way that this version does not read: ${z.prettifyError(parsed.error).slice(0, 300)}`,
      {
        hint: 'use the same version of the appliance on every node',
      },
    );
  const info = parsed.data as ClusterInfo;
  if (info.featureLevel > featureLevel)
    throw new AppError(
      'JOIN',
      `the cluster has feature level ${info.featureLevel}, this executable knows up to ${featureLevel}`,
      {
        hint: 'update the appliance on this machine',
      },
    );
  return info;
}

/** How storage is reached, for the machine that is this node now; undefined in a cluster without. */
export async function requestCeph(
  client: ServerClient,
  { name, password }: Omit<NodeSelf, 'addresses'>,
): Promise<CephAccess | undefined> {
  const headers = { 'k3s-node-name': name, 'k3s-node-password': password };
  try {
    return cephAccessSchema.parse(json(await client.ask('/v1-appliance/ceph', { headers })));
  } catch (error) {
    if (errorCode(error) === 'HTTP_404') return undefined;
    throw error;
  }
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new AppError('JOIN', 'the server answers with what is no JSON', { cause: error });
  }
}

/** Takes over what the nodes of the cluster have in common, as the server says it now; true when it was something else before. */
export function keepClusterFacts(paths: Paths, info: ClusterInfo): boolean {
  const file = `${paths.identity}/cluster.json`;
  const text = readFileIfThere(file);
  if (text === undefined) return false;
  const known = json(text) as JoinedCluster;
  const now: JoinedCluster = { ...known, cluster: info.cluster, ports: { dns: info.ports.dns } };
  if (isDeepStrictEqual(now, known)) return false;
  writeFileAtomic(file, `${JSON.stringify(now, undefined, 2)}\n`, 0o644);
  return true;
}

/** Servers of the cluster, the one that answered last first. */
export function readServers(paths: Paths): string[] {
  const parsed = z.array(serverAddress).safeParse(json(readFileIfThere(`${paths.identity}/servers.json`) ?? '[]'));
  return parsed.success ? parsed.data : [];
}

export function writeServers(paths: Paths, servers: readonly string[]): void {
  const file = `${paths.identity}/servers.json`;
  const text = `${JSON.stringify([...new Set(servers)].slice(0, 64))}\n`;
  if (readFileIfThere(file) !== text) writeFileAtomic(file, text, 0o644);
}

/**
 * Writes down which servers live now. Those that are not among them, and the one that the user named, are remembered behind: when every living one is gone, a
 * dead one may be back.
 */
export function rememberServers(config: Config, paths: Paths, live: readonly string[]): void {
  const named = config.server === undefined ? [] : [serverAddressOf(config.server)];
  writeServers(paths, [...new Set([...live, ...named, ...readServers(paths)])].slice(0, rememberedServersMax));
}

/** Where a node asks: its own server where it has one, else those that it knows. */
export function knownServers(config: Config, paths: Paths): string[] {
  if (config.roles.includes('server')) return [`${config.node.ip}:${config.ports.api}`];
  const named = config.server === undefined ? [] : [serverAddressOf(config.server)];
  return [...new Set([...readServers(paths), ...named])];
}

/** Writes where the mons are for storage clients and daemons of this node; true when it was something else before. */
export function writeCephConf(paths: Paths, access: Pick<CephAccess, 'fsid' | 'monHosts' | 'auth'>): boolean {
  const conf = renderCephConf({
    fsid: access.fsid,
    monHosts: access.monHosts,
    keyrings: `${paths.ceph}/keyrings`,
    auth: access.auth ?? 'cephx',
    adminSocket: paths.adminSocket,
  });
  if (readFileIfThere(paths.cephConf) === conf) return false;
  writeFileAtomic(paths.cephConf, conf, 0o644);
  return true;
}

/** Writes what storage clients and OSDs of this node need: ceph.conf, and the key that asks for OSD ids (0600). */
export function writeCephAccess(
  paths: Paths,
  access: CephAccess,
  external?: { readonly user: string; readonly pool: string },
): void {
  makeDirectory(paths.ceph, 0o711);
  makeDirectory(`${paths.ceph}/keyrings`);
  if (access.engine !== undefined && access.engine !== 'embedded')
    keepEngineRecord(paths, { ...readEngineRecord(paths), format: 1, engine: access.engine, ...external });
  writeCephConf(paths, access);
  if (access.bootstrapOsdKey === undefined) return;
  const entity = 'client.bootstrap-osd';
  const key = parseCryptoKey(access.bootstrapOsdKey);
  const keyring = formatKeyring(new Map([[entity, { key, caps: {} }]]));
  if (readFileIfThere(paths.keyring(entity)) !== keyring) writeFileAtomic(paths.keyring(entity), keyring, 0o600);
}

function pem(paths: Paths, name: string): string {
  const text = readFileIfThere(`${paths.identity}/${name}`);
  if (text === undefined)
    throw new AppError('IDENTITY', `${paths.identity}/${name} is missing`, {
      hint: 'this machine has not joined a cluster, or lost its identity: `appliance join <token>`',
    });
  return text;
}

/** How this node authenticates: by its certificate while that is good, then by its password. */
export function ownCredential(config: Config, paths: Paths, clock: Clock, random: Random): Credential {
  const pair = { cert: pem(paths, 'kubelet.crt'), key: pem(paths, 'kubelet.key') };
  if (keyFits(pair) && certificateEnd(pair.cert) > clock.now() + 60_000) return { certificate: pair };
  return { basic: { user: `node/${config.node.name}`, secret: ensureNodePassword(paths, random) } };
}

/** A client of the servers as this node. */
export function ownClient(config: Config, paths: Paths, clock: Clock, random: Random): ServerClient {
  const credential = ownCredential(config, paths, clock, random);
  return new ServerClient(knownServers(config, paths), pem(paths, 'server-ca.crt'), credential);
}

/**
 * Renews which of the node's certificates end within 90 days or no longer fit its addresses, and writes them (keys 0600). Returns the names of those that are
 * new.
 */
export async function renewIdentity(
  config: Config,
  paths: Paths,
  addresses: readonly string[],
  clock: Clock,
  random: Random,
): Promise<string[]> {
  const renewed: string[] = [];
  for (const name of nodeLeafNames) {
    const leaf = nodeLeaf(name, config.node.name, addresses);
    const cert = readFileIfThere(`${paths.identity}/${name}.crt`) ?? '';
    const key = readFileIfThere(`${paths.identity}/${name}.key`) ?? '';
    const issuer = { cert: pem(paths, `${leaf.authority}.crt`) };
    if (keyFits({ cert, key }) && (await certificateServes({ cert }, issuer, leaf.request, clock.now()))) continue;
    const self = { name: config.node.name, password: ensureNodePassword(paths, random), addresses };
    writePair(paths.identity, name, await requestCertificate(ownClient(config, paths, clock, random), name, self));
    renewed.push(name);
  }
  return renewed;
}
