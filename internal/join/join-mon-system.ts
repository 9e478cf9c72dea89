import { existsSync, renameSync, rmSync } from 'node:fs';
import { systemDisk } from '../base/disk-system.ts';
import { AppError, errorCode } from '../base/errors.ts';
import { makeDirectory, syncDirectory, writeFileAtomic } from '../base/files-system.ts';
import { parseCryptoKey } from '../ceph/auth/crypto.ts';
import { formatKeyring } from '../ceph/auth/keyring.ts';
import { writeSelf } from '../ceph/mon/self-system.ts';
import type { Paths } from '../config/paths.ts';
import { unseal } from '../pki/sealed.ts';
import { type Identity, readIdentity } from '../store/identity.ts';
import { timeText } from '../store/snapshots/names.ts';
import { type NodeSelf, writeCephAccess } from './identity-system.ts';
import type { ServerClient } from './join-client.ts';
import { memberHeader, monAddressHeader, peerUrlHeader } from './join-service.ts';
import { decodeMonBundle, type MonBundle } from './mon-bundle.ts';

/** The files of a machine that joins with the role mon. */

const instance = 'mon';

/** Asks a server to make this machine's mon one of the cluster. */
export async function requestMonBundle(
  client: ServerClient,
  secret: string,
  self: NodeSelf,
  { peerPort, port }: { port: number; peerPort: number },
  paths: Paths,
): Promise<MonBundle> {
  const [ip] = self.addresses;
  const ask = (member: bigint | undefined): Promise<string> =>
    client.ask('/v1-appliance/mon-bootstrap', {
      headers: {
        'k3s-node-name': self.name,
        'k3s-node-password': self.password,
        [monAddressHeader]: `v2:${ip}:${port}/0`,
        [peerUrlHeader]: `https://${ip}:${peerPort}`,
        ...(member === undefined ? {} : { [memberHeader]: member.toString(16) }),
      },
    });
  const own = await monIdentity(paths);
  const text = await ask(own?.memberId).catch((error: unknown) => {
    // What is here is of a member that was removed: this machine's mon becomes another one.
    if (own !== undefined && errorCode(error) === 'HTTP_410') return ask(undefined);
    throw error;
  });
  return decodeMonBundle(await unseal(secret, text));
}

/** Undefined also for one that cannot be read: then it is put aside. */
async function monIdentity(paths: Paths): Promise<Identity | undefined> {
  return readIdentity(systemDisk, paths.instanceDir(instance)).catch((error: unknown) => {
    if (error instanceof AppError) return undefined;
    throw error;
  });
}

/**
 * Writes who this machine's mon is, and its keys (0600). A store of another member than the one that it is now is put aside, and always that of a ceph-mon: the others have just forgotten it. Safe to
 * repeat after a crash. Returns where a store was put.
 */
export async function takeMonBundle(paths: Paths, bundle: MonBundle, nowMs: number): Promise<string | undefined> {
  const dir = paths.instanceDir(instance);
  const own = await monIdentity(paths);
  const { cluster, member } = bundle.self;
  const stays = own !== undefined && own.memberId.toString(16) === member && own.clusterId.toString(16) === cluster;
  let aside: string | undefined;
  if ((existsSync(`${dir}/state.db`) || existsSync(`${dir}/store`)) && !stays) {
    aside = `${dir}.before-${timeText(nowMs)}`;
    renameSync(dir, aside);
    syncDirectory(paths.dataDir);
  } else if (!stays) rmSync(dir, { recursive: true, force: true });
  makeDirectory(dir);
  writeSelf(dir, bundle.self);
  const { 'client.bootstrap-osd': bootstrapOsdKey, ...keys } = bundle.keys;
  const { auth, engine, fsid, monHosts } = bundle;
  writeCephAccess(paths, { fsid, monHosts, engine, auth, bootstrapOsdKey });
  for (const [entity, key] of Object.entries(keys))
    writeFileAtomic(
      paths.keyring(entity),
      // A ceph-mon asks its own file what a tool may do that comes with the mons' key.
      formatKeyring(
        new Map([[entity, { key: parseCryptoKey(key), caps: entity === 'mon.' ? { mon: 'allow *' } : {} }]]),
      ),
      0o600,
    );
  return aside;
}
