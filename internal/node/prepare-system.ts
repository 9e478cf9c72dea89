import { existsSync, readdirSync } from 'node:fs';
import { AppError, errorCode, errorText } from '../base/errors.ts';
import { makeDirectory } from '../base/files-system.ts';
import type { Clock } from '../base/clock.ts';
import type { Logger } from '../base/log.ts';
import { systemLogger, systemRandom } from '../base/system.ts';
import { knownFsid } from '../ceph/client/ceph-conf-system.ts';
import { checkEngine } from '../ceph/engine/engine-record-system.ts';
import { ownBlueStore } from '../ceph/engine/daemon-system.ts';
import { ensureExternalFiles } from '../ceph/engine/external-client.ts';
import { selfFile } from '../ceph/mon/self-system.ts';
import type { Config } from '../config/config.ts';
import { joinedCluster, keepName, machineAddresses } from '../config/machine-system.ts';
import { nodePaths, type Paths } from '../config/paths.ts';
import { preflight } from '../doctor/doctor-system.ts';
import {
  keepClusterFacts,
  ownClient,
  readServers,
  renewIdentity,
  requestCeph,
  requestClusterInfo,
  writeCephAccess,
  writeServers,
} from '../join/identity-system.ts';
import { checkServerFiles, serverIsStaged, takeStagedServer } from '../join/join-server-system.ts';
import { certificateAddresses } from '../pki/leaves.ts';
import {
  ensureEncryptionKey,
  ensureLocalIdentity,
  ensureNodePassword,
  ensureServerPki,
  keepStaticToken,
  publishKubeconfig,
} from '../pki/server-pki-system.ts';
import { parseToken } from '../pki/token.ts';
import { accessRules } from './access.ts';
import { applyAccess, checkReachable } from './access-system.ts';
import { ensureCephFiles, ensureMonPeer, keepOwnMonHost } from './ceph-files-system.ts';
import { findServers } from './find-servers-client.ts';
import { checkOsdDevices } from './osd-devices-system.ts';
import { ensureMgrKey } from './mgr-key-client.ts';
import { allocateOsds } from './osd-ids-client.ts';
import { claimRunDirectory } from './run-directory-system.ts';
import { compiled, selfCommand } from './self-system.ts';
import { nodeClock, wakeClock } from '../base/last-time-system.ts';
import { ensureUsers } from './users-system.ts';

/**
 * Checks what the node needs of the machine, then makes its directories, certificates and Ceph files. Safe to repeat. Returns what the roles are given: the
 * configuration with the ids that OSDs got, and without the token. `load` reads the configuration; it is read again when the cluster's part of it has changed.
 */
export async function prepareNode(load: () => Config): Promise<Config> {
  let config = load();
  const paths = nodePaths(config.dataDir, config.runDir);
  const { engine } = config.storage;
  // First: with another engine, other ports and programs are missed.
  checkEngine(paths, engine);
  await preflight(config);
  const addresses = machineAddresses();
  const fsid = knownFsid(paths);
  const joined = joinedCluster(config.dataDir);
  const hasMon = config.roles.includes('mon');
  /** This machine's mon makes the storage cluster; every other one is of it. */
  const makesStorage = hasMon && joined === undefined;
  // Where a mon makes the storage cluster, no disk can be of it yet. Where it is somebody else's, it is asked for first.
  const checkLater = fsid === undefined && !makesStorage;
  const log = systemLogger({ value: 'warn' });
  const known = (osd: number): boolean => existsSync(paths.keyring(`osd.${osd}`));
  const ceph = engine === 'ceph' ? (osd: number) => ownBlueStore(osd, paths) : undefined;
  if (!checkLater) await checkOsdDevices(config.storage.osd, { fsid, known, log, ceph });
  claimRunDirectory(config.runDir);
  makeDirectory(config.dataDir, 0o711);
  const woke = await wakeClock(config.dataDir);
  if (woke !== undefined) log.warn(woke);
  const clock = nodeClock(config.dataDir);
  makeDirectory(config.imagesDir);
  if (serverIsStaged(paths)) {
    if (!joined)
      throw new AppError('JOIN', 'this machine has begun to join a cluster as a server and has not finished', {
        hint: 'call `appliance join` again as before, or `appliance reset` to give it up',
      });
    const aside = await takeStagedServer(paths, clock.now());
    if (aside !== undefined) log.warn('the store of an earlier member is put aside', { directory: aside });
  }
  if (config.roles.includes('server')) {
    if (joined) checkServerFiles(paths, joined);
    const own = certificateAddresses(config, addresses);
    if (!joined) ensureEncryptionKey(paths, systemRandom);
    await ensureServerPki(config, paths, own, clock, systemRandom);
    await ensureLocalIdentity(config, paths, [config.node.ip], clock, systemRandom);
    // What a server joined with is no secret for others to join with.
    const joinedWith = joined && config.token !== undefined && parseToken(config.token).caHash !== undefined;
    keepStaticToken(paths, joinedWith ? undefined : config.token);
    publishKubeconfig(config, paths);
  } else if (!makesStorage && (await refreshJoined(config, paths, clock, log))) config = load();
  if (makesStorage) await ensureCephFiles(config, paths, clock, systemRandom);
  else if (hasMon && !existsSync(selfFile(paths.instanceDir('mon'))))
    throw new AppError('JOIN', 'this node joined its cluster without a mon', {
      hint: `join again with it: \`appliance join <token> --role ${config.roles.join()}\` with a token of \`appliance token create --role server\``,
    });
  if (hasMon && !makesStorage) keepOwnMonHost(config, paths);
  if (hasMon && engine === 'embedded') await ensureMonPeer(config, paths, clock, systemRandom);
  if (engine === 'external' && !joined) await ensureExternalFiles(config, paths, { clock, random: systemRandom, log });
  if (checkLater) await checkOsdDevices(config.storage.osd, { fsid: knownFsid(paths), known, log, ceph });
  const { token: _token, ...given } = config;
  const osd = makesStorage ? config.storage.osd : await allocateOsds(config, paths, clock, systemRandom, log);
  if (config.roles.includes('mgr') && !makesStorage) await ensureMgrKey(config, paths, log);
  if (!joined) keepName(config);
  const storage = { ...config.storage, osd };
  await shareOut({ ...config, storage }, paths);
  return { ...given, storage };
}

/**
 * Of a node that joined: what changed while it was away, where a server can be asked. Without one it starts with what it knows. True when what the cluster's nodes have in
 * common is something else now.
 */
async function refreshJoined(config: Config, paths: Paths, clock: Clock, log: Logger): Promise<boolean> {
  if (!existsSync(`${paths.identity}/cluster.json`))
    throw new AppError('IDENTITY', 'this node has no server role and has joined no cluster', {
      hint: '`appliance join <token>` joins one; without roles in the configuration `appliance up` starts a cluster of its own',
    });
  let changed = false;
  const ask = async (): Promise<void> => {
    const client = ownClient(config, paths, clock, systemRandom);
    const info = await requestClusterInfo(client);
    changed = keepClusterFacts(paths, info);
    writeServers(paths, [...info.servers, ...client.servers]);
  };
  try {
    await ask().catch(async (error: unknown) => {
      // They may have other addresses than when this node was last on.
      const found = errorCode(error) === 'UNREACHABLE' ? await findServers(paths, clock) : [];
      if (found.length === 0) throw error;
      writeServers(paths, [...found, ...readServers(paths)]);
      await ask();
    });
    await renewIdentity(config, paths, [config.node.ip], clock, systemRandom);
    const self = { name: config.node.name, password: ensureNodePassword(paths, systemRandom) };
    const ceph = await requestCeph(ownClient(config, paths, clock, systemRandom), self);
    if (ceph) writeCephAccess(paths, ceph);
  } catch (error) {
    // 409: another node had its address last; that one tells a new one once it is on again.
    if (errorCode(error)?.startsWith('HTTP_40') && errorCode(error) !== 'HTTP_409') throw error;
    log.warn('no server could be asked; starting with what is known of the cluster', { error: errorText(error) });
  }
  return changed;
}

/** Gives each role's user what is its own. Last, because everything before is made as root. */
async function shareOut(config: Config, paths: Paths): Promise<void> {
  checkReachable('dataDir', config.dataDir);
  checkReachable('runDir', config.runDir);
  if (config.roles.includes('server')) checkReachable('manifestsDir', config.manifestsDir);
  // The executable is opened by root; a source tree is read module by module by the role's user.
  if (!compiled) checkReachable('the source', selfCommand()[1]!);
  const users = await ensureUsers();
  const keyrings =
    (config.roles.some((role) => role === 'mon' || role === 'server') || config.storage.engine === 'ceph') &&
    existsSync(`${paths.ceph}/keyrings`)
      ? readdirSync(`${paths.ceph}/keyrings`).flatMap((name) => /^(.+)\.keyring$/.exec(name)?.[1] ?? [])
      : [];
  applyAccess(accessRules(config, paths, keyrings), users);
}
