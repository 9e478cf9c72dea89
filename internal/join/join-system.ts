import { existsSync } from 'node:fs';
import type { Clock } from '../base/clock.ts';
import { AppError } from '../base/errors.ts';
import { makeDirectory, writeFileAtomic } from '../base/files-system.ts';
import type { Random } from '../base/random.ts';
import type { Config, JoinedCluster, RoleName } from '../config/config.ts';
import type { CephAccess } from './join-service.ts';
import { checkedConfig } from '../config/load.ts';
import { type ConfigArguments, configSources, evaluateHere, joinedCluster } from '../config/machine-system.ts';
import { nodePaths, type Paths } from '../config/paths.ts';
import { nodeLeafNames } from '../pki/leaves.ts';
import { ensureNodePassword, writePair } from '../pki/server-pki-system.ts';
import { caHash, parseToken } from '../pki/token.ts';
import {
  requestCeph,
  requestCertificate,
  requestClusterInfo,
  writeCephAccess,
  writeServers,
} from './identity-system.ts';
import { findAuthority, ServerClient, serverAddressOf } from './join-client.ts';
import { requestMonBundle, takeMonBundle } from './join-mon-system.ts';
import { engineOf, requestServerBundle, stageServer, takeStagedServer } from './join-server-system.ts';

/** A clock that differs more from the server's does not join: certificates, tickets and leases would fail later, and nobody would know why. */
const skewMaxMs = 5 * 60_000;

export interface JoinOptions {
  readonly from: ConfigArguments;
  /** As it was given. */
  readonly tokenText: string;
  /** Addresses of the servers of the cluster with this hash, `host:port`; AppError when there is none. */
  readonly discover: (caHash: string) => Promise<readonly string[]>;
  readonly clock: Clock;
  readonly random: Random;
  readonly step: (text: string) => void;
  /** What is tried now, which may fail. */
  readonly trying?: (text: string) => void;
}

/** Refuses on a machine that is something already. */
function checkFree(paths: Paths, dataDir: string): void {
  if (existsSync(`${paths.pki}/server-ca.key`) && joinedCluster(dataDir) === undefined)
    throw new AppError('JOINED', `this machine is a server of its own cluster (${paths.pki})`, {
      hint: 'to give that cluster up for good: `appliance reset`; to keep it, join with another dataDir',
    });
}

/** What a machine that joins ought to run: what it is told, else pods, and OSDs when it is told where they keep their data. */
function joiningConfig(from: ConfigArguments, token: string): Config {
  const evaluation = evaluateHere(configSources({ ...from, flags: { ...from.flags, token: [token] } }), {
    joining: true,
  });
  const config = checkedConfig(evaluation);
  if (evaluation.origins.get('roles')?.from !== 'default') return config;
  const roles: RoleName[] = evaluation.origins.get('storage.osd')?.from === 'default' ? ['agent'] : ['agent', 'osd'];
  return { ...config, roles };
}

/**
 * Joins the cluster of the token: fetches its CA, checks the hash, from then on believes that CA only, has this node's certificates signed and writes its
 * identity. As a server it gets the cluster's keys instead, and signs its own. Nothing is written before everything is there, but the node password. Errors: TOKEN, CA_HASH, CA, CLOCK, UNREACHABLE, JOIN, CONFIG, `HTTP_<code>`.
 */
export async function joinCluster(
  options: JoinOptions,
): Promise<{ config: Config; joined: JoinedCluster; server: string }> {
  const { clock, from, random, step } = options;
  const token = parseToken(options.tokenText);
  const before = joiningConfig(from, options.tokenText);
  const paths = nodePaths(before.dataDir, before.runDir);
  checkFree(paths, before.dataDir);
  const asServer = before.roles.includes('server');
  const asMon = before.roles.includes('mon');
  if (asMon && !asServer && token.user !== 'server')
    throw new AppError('TOKEN', 'this token lets a machine join without a mon: a mon has all keys of the storage', {
      hint: '`appliance token create --role server` on a server makes one that does',
    });
  if (asServer && token.user !== 'server')
    throw new AppError('TOKEN', 'this token lets a machine join as an agent, not as a server', {
      hint: '`appliance token create --role server` on a server makes one that does',
    });

  const named = before.server;
  if (named === undefined && token.caHash === undefined)
    throw new AppError('TOKEN', 'a token without the hash of its cluster needs --server https://host:6443', {
      hint: 'or use the whole token, K10…, that `appliance token create` prints',
    });
  const answering = named === undefined ? await options.discover(token.caHash!) : [serverAddressOf(named)];
  if (named === undefined) step(`found the cluster at ${answering.join(', ')}`);
  else options.trying?.(`asking the server ${answering[0]}`);
  const { server, ca } = await findAuthority(answering, token);
  // The others are asked when this one is gone.
  const found = [server, ...answering.filter((address) => address !== server)];
  step(
    token.caHash === undefined
      ? 'the token has no hash: the cluster is believed to be the right one'
      : 'it is the cluster of the token',
  );

  const earlier = joinedCluster(before.dataDir);
  if (earlier && earlier.caHash !== caHash(ca))
    throw new AppError('JOINED', `this machine is node ${earlier.node} of another cluster already`, {
      hint: `remove it there (kubectl delete node ${earlier.node}), then \`appliance reset\` here, or join with another dataDir`,
    });

  const byToken = new ServerClient(found, ca, { basic: { user: token.user, secret: token.secret } });
  const info = await requestClusterInfo(byToken);
  const skewMs = clock.now() - info.nowMs;
  if (Math.abs(skewMs) > skewMaxMs)
    throw new AppError(
      'CLOCK',
      `the clock of this machine is ${Math.round(Math.abs(skewMs) / 1000)} s ${skewMs > 0 ? 'ahead of' : 'behind'} the server's, ${new Date(info.nowMs).toISOString()}`,
      { hint: `set it (timedatectl set-ntp true, or date -s '@${Math.round(info.nowMs / 1000)}'), then try again` },
    );
  const joined: JoinedCluster = {
    format: 1,
    node: before.node.name,
    roles: before.roles,
    caHash: caHash(ca),
    cluster: info.cluster,
    ports: { dns: info.ports.dns },
  };
  // What the file says against the cluster is told before anything is asked for.
  const config = checkedConfig(evaluateHere(configSources(from), { joined }));

  makeDirectory(paths.dataDir, 0o711);
  makeDirectory(paths.identity, 0o711);
  const self = { name: config.node.name, password: ensureNodePassword(paths, random), addresses: [config.node.ip] };
  /** Who this machine's mon is, before it is anything else: a cluster without storage refuses it. */
  const joinMons = async (): Promise<Pick<JoinedCluster, 'ceph'>> => {
    if (!asMon) return {};
    const bundle = await requestMonBundle(
      byToken,
      token.secret,
      self,
      { port: config.ports.mon, peerPort: config.ports.monPeer },
      paths,
    );
    const aside = await takeMonBundle(paths, bundle, clock.now());
    step(`${config.node.name} is to be mon.${bundle.self.name}`);
    if (aside !== undefined) step(`the store of an earlier mon is put aside: ${aside}`);
    const { engine, monHosts } = bundle;
    if (engine === 'ceph' && monHosts.length === 1)
      step('two ceph-mons need each other: until a third one joins, storage stops when either machine does');
    return withStorage({}, bundle);
  };
  if (asServer) {
    if (config.ports.api !== info.ports.api)
      throw new AppError('CONFIG', `ports.api: expected ${info.ports.api}, as at the cluster's servers`, {
        hint: 'pods reach every server by the Service kubernetes, which has one port',
      });
    const wanted = {
      peerPort: config.ports.etcdPeer,
      etcd: config.datastore !== undefined,
      disks: config.roles.some((role) => role === 'osd' || role === 'mgr'),
    };
    const bundle = await requestServerBundle(byToken, token.secret, self, wanted, paths);
    step(`${config.node.name} has the keys of the cluster`);
    stageServer(paths, bundle);
    writeServers(paths, [...found, ...info.servers]);
    const { ceph } = bundle;
    const record = {
      ...withStorage(joined, ceph && { ...ceph, engine: engineOf(ceph) }),
      ...(await joinMons()),
    };
    writeRecord(paths, record);
    await takeStagedServer(paths, clock.now());
    return { config, joined: record, server };
  }
  const pairs = new Map<string, { cert: string; key: string }>();
  for (const name of nodeLeafNames) pairs.set(name, await requestCertificate(byToken, name, self));
  const byNode = byToken.as({ certificate: pairs.get('kubelet')! });
  const clientCa = await byNode.ask('/v1-k3s/client-ca.crt');
  const ceph = await requestCeph(byNode, self);
  if (ceph?.bootstrapOsdKey === undefined) checkDisks(config);
  step(`${config.node.name} has its certificates`);

  writeFileAtomic(`${paths.identity}/server-ca.crt`, ca, 0o644);
  writeFileAtomic(`${paths.identity}/client-ca.crt`, clientCa, 0o644);
  for (const [name, pair] of pairs) writePair(paths.identity, name, pair);
  writeServers(paths, [...found, ...info.servers]);
  if (ceph) writeCephAccess(paths, ceph);
  const record: JoinedCluster = { ...withStorage(joined, ceph), ...(await joinMons()) };
  // Last: from now on this machine is a node of that cluster.
  writeRecord(paths, record);
  return { config, joined: record, server };
}

/** What the node keeps of how storage is reached. */
function withStorage<Known extends Partial<JoinedCluster>>(
  joined: Known,
  ceph: Omit<CephAccess, 'bootstrapOsdKey'> | undefined,
): Known & Pick<JoinedCluster, 'ceph'> {
  if (!ceph) return joined;
  const { fsid, monHosts, engine, auth } = ceph;
  return { ...joined, ceph: { fsid, monHosts, ...(engine && { engine }), ...(auth && { auth }) } };
}

function writeRecord(paths: Paths, record: JoinedCluster): void {
  writeFileAtomic(`${paths.identity}/cluster.json`, `${JSON.stringify(record, undefined, 2)}\n`, 0o644);
}

function checkDisks({ roles }: Config): void {
  if (roles.includes('osd'))
    throw new AppError('JOIN', 'the cluster has no storage that an OSD could be part of', {
      hint: 'leave the role osd away',
    });
}
