import { existsSync, readdirSync, renameSync, rmdirSync, rmSync } from 'node:fs';
import { systemDisk } from '../base/disk-system.ts';
import { AppError, errorCode } from '../base/errors.ts';
import {
  makeDirectory,
  readFileIfThere,
  removeFileDurably,
  syncDirectory,
  writeFileAtomic,
} from '../base/files-system.ts';
import { parseCryptoKey } from '../ceph/auth/crypto.ts';
import { formatKeyring } from '../ceph/auth/keyring.ts';
import type { JoinedCluster, StorageEngine } from '../config/config.ts';
import type { Paths } from '../config/paths.ts';
import { serverFileNames } from '../pki/server-pki-system.ts';
import { unseal } from '../pki/sealed.ts';
import { caHash } from '../pki/token.ts';
import { type Identity, readIdentity } from '../store/identity.ts';
import { timeText } from '../store/snapshots/names.ts';
import type { NodeSelf } from './identity-system.ts';
import { writeCephAccess } from './identity-system.ts';
import type { ServerClient } from './join-client.ts';
import { datastoreHeader, disksHeader, memberHeader, peerUrlHeader } from './join-service.ts';
import { decodeServerBundle, type ServerBundle, type StoreMember, storeMemberSchema } from './server-bundle.ts';

/**
 * The files of a machine that joins as a server. They are staged beside `pki` first, whole or not at all, and taken once the machine is a node of the cluster:
 * after a crash at any moment it either has not joined, or goes on.
 */

const memberFile = 'member.json';
const stagedDirectory = (paths: Paths): string => `${paths.pki}.joining`;
/** What is being written; never taken. */
const unfinishedDirectory = (paths: Paths): string => `${paths.pki}.new`;

/** What a joining server is to be. */
export interface WantedServer {
  /** Where its store is reached, at the first address of the node. */
  readonly peerPort: number;
  /** A real etcd keeps the data. */
  readonly etcd: boolean;
  /** It brings disks for storage. */
  readonly disks: boolean;
}

/** Asks a server to make this machine one, too. */
export async function requestServerBundle(
  client: ServerClient,
  secret: string,
  self: NodeSelf,
  { disks, etcd, peerPort }: WantedServer,
  paths: Paths,
): Promise<ServerBundle> {
  const ask = async (member: bigint | undefined): Promise<string> =>
    client.ask('/v1-k3s/server-bootstrap', {
      headers: {
        'k3s-node-name': self.name,
        'k3s-node-password': self.password,
        [peerUrlHeader]: `https://${self.addresses[0]}:${peerPort}`,
        [datastoreHeader]: etcd ? 'etcd' : 'own',
        ...(disks && { [disksHeader]: 'yes' }),
        ...(member === undefined ? {} : { [memberHeader]: member.toString(16) }),
      },
    });
  const own = await storeIdentity(paths);
  const text = await ask(own?.memberId).catch((error: unknown) => {
    // What is here is of a member that was removed: this machine becomes another one.
    if (own !== undefined && errorCode(error) === 'HTTP_410') return ask(undefined);
    throw error;
  });
  return decodeServerBundle(await unseal(secret, text));
}

/** Undefined also for one that cannot be read: then it is put aside. */
async function storeIdentity(paths: Paths): Promise<Identity | undefined> {
  return readIdentity(systemDisk, paths.store).catch((error: unknown) => {
    if (error instanceof AppError) return undefined;
    throw error;
  });
}

/** Writes what a server needs where `takeStagedServer` finds it (0600). */
export function stageServer(paths: Paths, bundle: ServerBundle): void {
  const [unfinished, staged] = [unfinishedDirectory(paths), stagedDirectory(paths)];
  for (const directory of [unfinished, staged]) rmSync(directory, { recursive: true, force: true });
  makeDirectory(unfinished);
  for (const [name, text] of Object.entries(bundle.files)) writeFileAtomic(`${unfinished}/${name}`, text, 0o600);
  if (bundle.member) writeFileAtomic(`${unfinished}/${memberFile}`, `${JSON.stringify(bundle.member)}\n`, 0o600);
  renameSync(unfinished, staged);
  syncDirectory(paths.dataDir);
  const { ceph } = bundle;
  if (!ceph) return;
  const { 'client.bootstrap-osd': bootstrapOsdKey, ...keys } = ceph.keys;
  const { fsid, monHosts, auth, external } = ceph;
  writeCephAccess(paths, { fsid, monHosts, auth, bootstrapOsdKey, engine: engineOf(ceph) }, external);
  for (const [entity, key] of Object.entries(keys))
    writeFileAtomic(
      paths.keyring(entity),
      formatKeyring(new Map([[entity, { key: parseCryptoKey(key), caps: {} }]])),
      0o600,
    );
}

/** Whose storage it is; servers of earlier versions tell of an external cluster only by its user. */
export function engineOf({ engine, external }: NonNullable<ServerBundle['ceph']>): StorageEngine | undefined {
  return engine ?? (external ? 'external' : undefined);
}

/** A join as a server that has not come to its end: the files are there. */
export function serverIsStaged(paths: Paths): boolean {
  return existsSync(stagedDirectory(paths));
}

/**
 * Makes what was staged the machine's own. A store of another member than the one it is now is put aside; the member that has its store here gets no leave to make it
 * anew. Safe to repeat after a crash; nothing runs. Returns where a store was put.
 */
export async function takeStagedServer(paths: Paths, nowMs: number): Promise<string | undefined> {
  const staged = stagedDirectory(paths);
  const names = readdirSync(staged);
  // Of an empty one all was taken, and the store was looked at before that: which member it is to be is not known here any more.
  const aside = names.length === 0 ? undefined : await takeStagedFiles(paths, names, nowMs);
  rmdirSync(staged);
  syncDirectory(paths.dataDir);
  return aside;
}

async function takeStagedFiles(paths: Paths, names: readonly string[], nowMs: number): Promise<string | undefined> {
  const staged = stagedDirectory(paths);
  const member = readMember(`${staged}/${memberFile}`);
  const own = existsSync(paths.store) ? await storeIdentity(paths) : undefined;
  const stays = own !== undefined && own.memberId === member?.memberId && own.clusterId === member.clusterId;
  let aside: string | undefined;
  if (existsSync(paths.store) && !stays) {
    aside = `${paths.store}.before-${timeText(nowMs)}`;
    renameSync(paths.store, aside);
    syncDirectory(paths.dataDir);
  }
  makeDirectory(paths.pki);
  for (const name of names) if (name !== memberFile) renameSync(`${staged}/${name}`, `${paths.pki}/${name}`);
  for (const directory of [paths.pki, staged]) syncDirectory(directory);
  // The member last: while it is in the staging directory, a store that is there is looked at again.
  if (member !== undefined && stays) {
    forgetMember(paths);
    removeFileDurably(`${staged}/${memberFile}`);
  } else if (member !== undefined) {
    renameSync(`${staged}/${memberFile}`, `${paths.pki}/${memberFile}`);
    syncDirectory(paths.pki);
  }
  return aside;
}

/** Refuses on a server of a joined cluster that lacks keys of it: new ones would make it a server of nothing. */
export function checkServerFiles(paths: Paths, joined: JoinedCluster): void {
  const hint =
    'join again as a server: `appliance join <token> --role server,agent` with a token of `appliance token create --role server`';
  // One that joined before there was such a key does without, as long as nothing is encrypted.
  const needed = serverFileNames.filter((name) => name !== 'encryption.key');
  const missing = needed.filter((name) => !existsSync(`${paths.pki}/${name}`));
  if (missing.length > 0)
    throw new AppError(
      'PKI',
      `${paths.pki} has no ${missing.slice(0, 3).join(', ')} of the cluster that this machine joined`,
      {
        hint,
      },
    );
  if (caHash(readFileIfThere(`${paths.pki}/server-ca.crt`)!) !== joined.caHash)
    throw new AppError('PKI', `${paths.pki}/server-ca.crt is not that of the cluster that this machine joined`, {
      hint,
    });
}

/** The member of the store's group that this machine is to be, until its store has been made (`forgetMember`). */
export function memberToBe(paths: Paths): Identity | undefined {
  return readMember(`${paths.pki}/${memberFile}`);
}

/** The store is there and knows who it is; were it lost, it must not be made again as the same member. */
export function forgetMember(paths: Paths): void {
  if (existsSync(`${paths.pki}/${memberFile}`)) removeFileDurably(`${paths.pki}/${memberFile}`);
}

function readMember(file: string): Identity | undefined {
  const text = readFileIfThere(file);
  if (text === undefined) return undefined;
  let member: StoreMember;
  try {
    member = storeMemberSchema.parse(JSON.parse(text));
  } catch (error) {
    throw new AppError('IDENTITY', `${file} is damaged`, {
      hint: 'join again: `appliance join <token>`',
      cause: error,
    });
  }
  return { clusterId: BigInt(`0x${member.clusterId}`), memberId: BigInt(`0x${member.memberId}`) };
}
