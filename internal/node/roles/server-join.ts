import { readdirSync, readFileSync } from 'node:fs';
import { errorCode, errorText } from '../../base/errors.ts';
import { readFileIfThere } from '../../base/files-system.ts';
import { utf8Text } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import type { Clock } from '../../base/clock.ts';
import { cryptoKeyText } from '../../ceph/auth/crypto.ts';
import type { MonClient } from '../../ceph/client/api.ts';
import { joinedMgr } from '../../ceph/mgr/name.ts';
import { addrVecText, parseAddr } from '../../ceph/wire/types.ts';
import { machineAddresses } from '../../config/machine-system.ts';
import { clusterFacts, serverAddresses } from '../../join/cluster-info.ts';
import { type CephAccess, createJoinService, type JoiningMon } from '../../join/join-service.ts';
import type { MonBundle } from '../../join/mon-bundle.ts';
import { forgetPassword, keepPassword } from '../../join/node-passwords.ts';
import { type ServerBundle, serverCephUsers, type StoreMember } from '../../join/server-bundle.ts';
import { admitMember } from '../../join/server-members.ts';
import { keepTokensClean } from '../../join/tokens.ts';
import type { ApiServer } from '../../kube/apiserver/apiserver.ts';
import type { EndpointSlice, Node } from '../../kube/api/types.ts';
import type { KubeClient, KubeObject } from '../../kube/client/api.ts';
import { Informer } from '../../kube/client/informer.ts';
import { endpointSlicesRef, nodesRef } from '../../kube/client/resources.ts';
import { failure } from '../../kube/machinery/status.ts';
import { keepCertificates } from '../../pki/keep-certificates.ts';
import { certificateAddresses, serverSans } from '../../pki/leaves.ts';
import { ensureServerPki, publishKubeconfig, readAuthority, serverFileNames } from '../../pki/server-pki-system.ts';
import { parseToken } from '../../pki/token.ts';
import type { Paths } from '../../config/paths.ts';
import type { Cluster } from '../../store/api.ts';
import type { JoiningMember } from '../../store/joining-member.ts';
import { cephAuth, keyringKey } from '../ceph-connect-client.ts';
import { embeddedRecord } from '../../ceph/engine/engine-record.ts';
import { readEngineRecord } from '../../ceph/engine/engine-record-system.ts';
import type { StorageEngine } from '../../config/config.ts';
import type { RoleContext } from '../role.ts';
import type { ControlStore } from './control-store.ts';

/** What lets other machines join this server: the endpoints, names of nodes, and certificates that stay good. */
export async function startJoining(options: {
  context: RoleContext;
  api: ApiServer;
  client: KubeClient;
  control: ControlStore;
  /** A session with the mon; undefined on a node without one. */
  mon: (() => Promise<MonClient>) | undefined;
}): Promise<{ stop(): Promise<void> }> {
  const { api, client, control, mon } = options;
  const { clock, config, paths, random } = options.context;
  const log = options.context.log.with({ component: 'join' });
  const { engine } = readEngineRecord(paths) ?? embeddedRecord;
  const stopping = new AbortController();
  const addresses = (): string[] => certificateAddresses(config, machineAddresses());
  const password = readFileIfThere(`${paths.pki}/node-password`)?.trim();
  // Before anybody can ask for it.
  if (password) await keepPassword(client, config.node.name, password, random);

  const service = createJoinService({
    authority: (name) => readAuthority(paths, name),
    client,
    facts: clusterFacts(config),
    servers: () => apiServers(client),
    ownStore: control.cluster !== undefined,
    ceph: mon && (async () => cephAccess(await mon(), engine, paths)),
    takesOsds: mon !== undefined && engine !== 'external',
    admitServer: async (server) => {
      // First what may fail without leaving anything.
      const ceph = mon && (await serverCeph(mon, paths));
      const member = control.cluster && (await memberOf(control.cluster, server, clock));
      return { format: 1, files: serverFiles(paths.pki), ...(member && { member }), ...(ceph && { ceph }) };
    },
    admitMon:
      mon && engine !== 'external'
        ? async (joining) => (engine === 'ceph' ? cephMonBundle : monBundle)(await mon(), paths, joining)
        : undefined,
    staticSecrets: () => staticSecrets(paths.pki),
    ownAddresses: addresses,
    serverSans: () => serverSans(config, addresses()),
    clock,
    random,
    log,
  });
  api.extend((request, env) =>
    service({
      method: request.method,
      path: new URL(request.url).pathname,
      headers: request.headers,
      remote: env.remote ?? 'in process',
      certificate: env.certificate,
      body: () => env.body?.() ?? request.arrayBuffer().then((bytes) => new Uint8Array(bytes)),
    }),
  );

  const nodes = new Informer<Node & KubeObject>({ client, resource: nodesRef, clock, log });
  nodes.handle({
    onDelete: (node) => {
      // A node that is deleted gives its name back; this one's own is taken for as long as it is the server.
      if (node.metadata.name === config.node.name) return;
      forgetPassword(client, node.metadata.name).catch((error: unknown) =>
        log.warn('the password of a deleted node is kept', { node: node.metadata.name, error: errorText(error) }),
      );
      if (mon && engine !== 'external')
        removeMonOf(node.metadata.name).catch((error: unknown) =>
          log.warn('the mon of a deleted node is kept: `ceph mon rm` removes it', {
            node: node.metadata.name,
            error: errorText(error),
          }),
        );
    },
  });
  /** A node that is deleted is no mon any more. Every server sees to it; the second finds none. */
  const removeMonOf = async (node: string): Promise<void> => {
    const session = await mon!();
    if (engine === 'ceph' && !(await monNames(session)).includes(joinedMgr(node))) return;
    const answer = await session.command(
      engine === 'ceph' ? { prefix: 'mon rm', name: joinedMgr(node) } : { prefix: 'mon leave', node },
    );
    if (answer.code !== 0) throw new AppError('MON', answer.status);
    if (answer.status !== '') log.info('the node is deleted', { node, mon: answer.status });
  };
  const pem = (name: string): string => readFileSync(`${paths.pki}/${name}`, 'utf8');
  const pair = (name: string): { cert: string; key: string } => ({ cert: pem(`${name}.crt`), key: pem(`${name}.key`) });
  const loops = [
    nodes.run(stopping.signal),
    keepTokensClean({ client, clock, log, stopping: stopping.signal }),
    keepCertificates({
      addresses,
      ensure: (now) => ensureServerPki(config, paths, now, clock, random),
      changed: () => {
        api.renew({
          server: pair('apiserver'),
          kubeletClient: pair('apiserver-kubelet-client'),
          requestHeaderClient: pair('request-header-client'),
        });
        control.renew();
        try {
          publishKubeconfig(config, paths);
        } catch (error) {
          // Where people look for it only root may write: the agent does.
          if (errorCode(error) !== 'EACCES') throw error;
        }
      },
      clock,
      log,
      stopping: stopping.signal,
    }),
  ];
  return {
    stop: async () => {
      stopping.abort();
      await Promise.all(loops);
    },
  };
}

/** Where the API is served, as the Service `kubernetes` has it. */
async function apiServers(client: KubeClient): Promise<string[]> {
  const slices = await client.list<EndpointSlice & KubeObject>(endpointSlicesRef, {
    namespace: 'default',
    labelSelector: 'kubernetes.io/service-name=kubernetes',
  });
  return slices.items.flatMap(serverAddresses);
}

async function monCommand(mon: MonClient, command: Record<string, unknown>): Promise<unknown> {
  const answer = await mon.command({ ...command, format: 'json' });
  if (answer.code !== 0)
    throw new AppError('MON', `${String(command.prefix)}: ${answer.status || `error ${answer.code}`}`);
  return JSON.parse(utf8Text(answer.output));
}

async function monMap(mon: MonClient) {
  return (await monCommand(mon, { prefix: 'mon dump' })) as {
    mons: { name: string; public_addrs: { addrvec: { type: string; addr: string }[] } }[];
  };
}

async function monNames(mon: MonClient): Promise<string[]> {
  return (await monMap(mon)).mons.map(({ name }) => name);
}

async function cephAccess(mon: MonClient, engine: StorageEngine, paths: Paths): Promise<CephAccess> {
  const map = await monMap(mon);
  const monHosts = map.mons.map(({ public_addrs: { addrvec } }) =>
    addrVecText(addrvec.flatMap(({ addr, type }) => parseAddr(`${type}:${addr}`) ?? [])),
  );
  const access = {
    fsid: mon.fsid,
    monHosts,
    ...(engine === 'embedded' ? {} : { engine }),
    ...(cephAuth(paths) === 'none' && { auth: 'none' as const }),
  };
  if (engine === 'external') return access;
  const entries = (await monCommand(mon, {
    prefix: 'auth get-or-create',
    entity: 'client.bootstrap-osd',
    caps: ['mon', 'allow profile bootstrap-osd'],
  })) as { key: string }[];
  return { ...access, bootstrapOsdKey: entries[0]!.key };
}

async function memberOf(cluster: Cluster, server: JoiningMember, clock: Clock): Promise<StoreMember> {
  const memberId = await admitMember(cluster, server, clock);
  return { clusterId: cluster.clusterId.toString(16), memberId: memberId.toString(16) };
}

/** The keys by which a server without a mon works with storage. */
async function serverCeph(mon: () => Promise<MonClient>, paths: Paths): Promise<NonNullable<ServerBundle['ceph']>> {
  const record = readEngineRecord(paths) ?? embeddedRecord;
  const { fsid, monHosts, auth, bootstrapOsdKey } = await mon()
    .then((session) => cephAccess(session, record.engine, paths))
    .catch((error: unknown) => {
      throw failure(503, 'ServiceUnavailable', `the mon does not answer: ${errorText(error)}`, {});
    });
  const keysOf = (entities: readonly string[]): Record<string, string> =>
    Object.fromEntries(entities.map((entity) => [entity, cryptoKeyText(keyringKey(paths, entity))]));
  const { user, pool } = record;
  if (user !== undefined && pool !== undefined)
    return { fsid, monHosts, keys: keysOf([user]), external: { user, pool } };
  const keys = keysOf(serverCephUsers.filter((entity) => entity !== 'client.bootstrap-osd'));
  return {
    fsid,
    monHosts,
    ...(record.engine === 'embedded' ? {} : { engine: record.engine }),
    auth,
    keys: { ...keys, ...(bootstrapOsdKey === undefined ? {} : { 'client.bootstrap-osd': bootstrapOsdKey }) },
  };
}

/** Makes a machine's mon one of the cluster. Throws 410 for the store of a member that was removed, 503 when the mons cannot change now. */
async function monBundle(mon: MonClient, paths: Paths, joining: JoiningMon): Promise<MonBundle> {
  const { addr, member, node, peerUrl } = joining;
  const asked = { node, addr, peer_url: peerUrl, ...(member !== undefined && { member: member.toString(16) }) };
  const answer = await mon.command({ prefix: 'mon join', ...asked });
  if (answer.code === -stale) throw failure(410, 'Gone', answer.status, {});
  if (answer.code !== 0) throw failure(503, 'ServiceUnavailable', answer.status, {});
  const { cluster, key, member: id, name } = JSON.parse(utf8Text(answer.output)) as Record<string, string>;
  const { bootstrapOsdKey, fsid, monHosts, auth } = await cephAccess(mon, 'embedded', paths);
  const admin = cryptoKeyText(keyringKey(paths, 'client.admin'));
  return {
    format: 1,
    fsid,
    monHosts,
    auth,
    self: { name: name!, cluster: cluster!, member: id! },
    keys: { 'mon.': key!, 'client.admin': admin, 'client.bootstrap-osd': bootstrapOsdKey! },
  };
}

/**
 * What a machine's ceph-mon needs to join the others, which it asks to take it in by itself. An earlier one of that machine is forgotten first: a new, empty one in its place would count for a majority
 * that does not know what it has promised.
 */
async function cephMonBundle(mon: MonClient, paths: Paths, { node }: JoiningMon): Promise<MonBundle> {
  const name = joinedMgr(node);
  if ((await monNames(mon)).includes(name)) {
    const answer = await mon.command({ prefix: 'mon rm', name });
    if (answer.code !== 0) throw failure(503, 'ServiceUnavailable', answer.status, {});
  }
  const { bootstrapOsdKey, fsid, monHosts } = await cephAccess(mon, 'ceph', paths);
  const [own] = (await monCommand(mon, { prefix: 'auth get', entity: 'mon.' })) as { key: string }[];
  const admin = cryptoKeyText(keyringKey(paths, 'client.admin'));
  const keys = { 'mon.': own!.key, 'client.admin': admin, 'client.bootstrap-osd': bootstrapOsdKey! };
  return { format: 1, engine: 'ceph', fsid, monHosts, self: { name }, keys };
}

/** ESTALE: what the mons answer about a member that was removed. */
const stale = 116;

/** What a second server needs to be one: authorities and the key of service-account tokens, by their names below the pki directory. */
function serverFiles(directory: string): Record<string, string> {
  const there = new Set(readdirSync(directory));
  return Object.fromEntries(
    serverFileNames
      .filter((name) => there.has(name))
      .map((name) => [name, readFileSync(`${directory}/${name}`, 'utf8')]),
  );
}

/** The secret of `token:` in the configuration, put there when the node was prepared. */
function staticSecrets(directory: string): string[] {
  const text = readFileIfThere(`${directory}/token`);
  if (text === undefined) return [];
  return [parseToken(text).secret];
}
