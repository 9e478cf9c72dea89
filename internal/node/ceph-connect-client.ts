import { existsSync } from 'node:fs';
import { AppError } from '../base/errors.ts';
import { readFileIfThere } from '../base/files-system.ts';
import type { Logger } from '../base/log.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import type { AuthMethod } from '../ceph/auth/api.ts';
import { parseCryptoKey } from '../ceph/auth/crypto.ts';
import { parseKeyring } from '../ceph/auth/keyring.ts';
import { createMonClient } from '../ceph/client/mon-client.ts';
import type { MonClient, MonClientOptions } from '../ceph/client/api.ts';
import { confAuth, parseMonHosts } from '../ceph/client/ceph-conf.ts';
import { connectRados, type Rados } from '../ceph/client/rados-client.ts';
import { embeddedRecord, serverUsers } from '../ceph/engine/engine-record.ts';
import { readEngineRecord } from '../ceph/engine/engine-record-system.ts';
import { parseEntityName } from '../ceph/wire/types.ts';
import type { Paths } from '../config/paths.ts';

/** The key of an entity from its keyring file, as base64. */
export function keyringKey(paths: Paths, entity: string): MonClientOptions['key'] {
  const path = paths.keyring(entity);
  const text = readFileIfThere(path);
  const entry = text === undefined ? undefined : parseKeyring(text, path).get(entity);
  if (!entry)
    throw new AppError('KEYRING', `no key of ${entity} in ${path}`, {
      hint: 'this node has no mon role, or its keyrings were removed',
    });
  return entry.key;
}

function options(entity: string, key: MonClientOptions['key'], log: Logger, paths: Paths): MonClientOptions {
  const name = parseEntityName(entity);
  if (!name) throw new AppError('ENTITY', `${entity} is not the name of a Ceph entity such as client.admin`);
  return {
    entity: name,
    key,
    monAddrs: monAddresses(paths),
    auth: cephAuth(paths),
    clock: systemClock,
    random: systemRandom,
    log,
  };
}

/** Whom this node's server works with storage as. */
export function storageUsers(paths: Paths): ReturnType<typeof serverUsers> {
  return serverUsers(readEngineRecord(paths) ?? embeddedRecord);
}

/** A session with the mon for commands: as `client.admin`, or as the user of an external cluster. */
export async function connectMon(paths: Paths, log: Logger, timeoutMs: number): Promise<MonClient> {
  return connectMonAs(paths, storageUsers(paths).admin, log, timeoutMs);
}

/** The mons of ceph.conf. */
export function monAddresses(paths: Paths): MonClientOptions['monAddrs'] {
  return parseMonHosts(readFileIfThere(paths.cephConf) ?? '', paths.cephConf).monAddrs;
}

/** How ceph.conf says that clients prove who they are. */
export function cephAuth(paths: Paths): AuthMethod {
  return confAuth(readFileIfThere(paths.cephConf) ?? '');
}

/** True on a node whose server works with storage: it has the key for commands. */
export function hasCephKeys(paths: Paths): boolean {
  return existsSync(paths.keyring(storageUsers(paths).admin));
}

/** A session with the mons of ceph.conf as an entity whose keyring is here. */
export async function connectMonAs(paths: Paths, entity: string, log: Logger, timeoutMs: number): Promise<MonClient> {
  const client = createMonClient(options(entity, keyringKey(paths, entity), log, paths));
  try {
    await client.start(timeoutMs);
    return client;
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** A RADOS client as the user of a CSI secret. */
export function connectRadosAs(
  paths: Paths,
  user: { userId: string; userKey: string },
  log: Logger,
  timeoutMs: number,
): Promise<Rados> {
  return connectRados(options(`client.${user.userId}`, parseCryptoKey(user.userKey), log, paths), timeoutMs);
}
