import { AppError } from '../base/errors.ts';
import { readFileIfThere } from '../base/files-system.ts';
import type { Logger } from '../base/log.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import { parseCryptoKey } from '../ceph/auth/crypto.ts';
import { parseKeyring } from '../ceph/auth/keyring.ts';
import { createMonClient } from '../ceph/client/mon-client.ts';
import type { MonClient, MonClientOptions } from '../ceph/client/api.ts';
import { parseMonHosts } from '../ceph/client/ceph-conf.ts';
import { connectRados, type Rados } from '../ceph/client/rados-client.ts';
import { addrV2, parseEntityName } from '../ceph/wire/types.ts';
import type { Config } from '../config/config.ts';
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

function options(
  config: Config,
  entity: string,
  key: MonClientOptions['key'],
  log: Logger,
  monAddrs: MonClientOptions['monAddrs'] = [[addrV2(config.node.ip, config.ports.mon)]],
): MonClientOptions {
  const name = parseEntityName(entity);
  if (!name) throw new AppError('ENTITY', `${entity} is not the name of a Ceph entity such as client.admin`);
  return {
    entity: name,
    key,
    monAddrs,
    clock: systemClock,
    random: systemRandom,
    log,
  };
}

/** A session with the mon as `client.admin`, for commands. */
export function connectMon(config: Config, paths: Paths, log: Logger, timeoutMs: number): Promise<MonClient> {
  return connectMonAs(config, paths, 'client.admin', log, timeoutMs);
}

/** A session with the mons of ceph.conf as an entity whose keyring is here. */
export async function connectMonAs(
  config: Config,
  paths: Paths,
  entity: string,
  log: Logger,
  timeoutMs: number,
): Promise<MonClient> {
  const { monAddrs } = parseMonHosts(readFileIfThere(paths.cephConf) ?? '', paths.cephConf);
  const client = createMonClient(options(config, entity, keyringKey(paths, entity), log, monAddrs));
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
  config: Config,
  user: { userId: string; userKey: string },
  log: Logger,
  timeoutMs: number,
): Promise<Rados> {
  return connectRados(options(config, `client.${user.userId}`, parseCryptoKey(user.userKey), log), timeoutMs);
}
