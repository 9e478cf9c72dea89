import { readFileSync } from 'node:fs';
import type { Clock } from '../../base/clock.ts';
import { AppError, errorText } from '../../base/errors.ts';
import { makeDirectory, readFileIfThere, writeFileAtomic } from '../../base/files-system.ts';
import type { Logger } from '../../base/log.ts';
import type { Random } from '../../base/random.ts';
import type { Config } from '../../config/config.ts';
import type { Paths } from '../../config/paths.ts';
import type { CryptoKey } from '../auth/api.ts';
import { parseCryptoKey } from '../auth/crypto.ts';
import { formatKeyring, parseKeyring } from '../auth/keyring.ts';
import { renderCephConf } from '../client/ceph-conf.ts';
import { knownFsid } from '../client/ceph-conf-system.ts';
import { createMonClient } from '../client/mon-client.ts';
import { type EntityAddrVec, parseAddr, parseEntityName } from '../wire/types.ts';
import { keepEngineRecord } from './engine-record-system.ts';

/** A Ceph cluster that is there already: who it is, and what a node needs to work with it. */

type External = Config['externalCeph'];

/** `v2:10.0.0.5:3300` of each. */
const monitors = ({ monHosts }: External): string[] =>
  monHosts.map((host) => `v2:${host.includes(':') ? host : `${host}:3300`}`);

function monAddrs(external: External): EntityAddrVec[] {
  return monitors(external).flatMap((text) => {
    const addr = parseAddr(text);
    return addr ? [[addr]] : [];
  });
}

/** From `key` or `keyFile`. Errors: EXTERNAL_CEPH. */
export function externalKey({ key, keyFile, user }: External): CryptoKey {
  if (key !== undefined) return parseCryptoKey(key);
  const refused = (why: string, cause?: unknown): AppError =>
    new AppError('EXTERNAL_CEPH', `externalCeph.keyFile ${keyFile}: ${why}`, {
      cause,
      hint: `\`ceph auth get client.${user} -o FILE\` on the Ceph cluster writes one`,
    });
  let text: string;
  try {
    text = readFileSync(keyFile ?? '', 'utf8').trim();
  } catch (error) {
    throw refused(errorText(error), error);
  }
  try {
    if (!text.includes('[')) return parseCryptoKey(text);
    const found = parseKeyring(text, keyFile).get(`client.${user}`);
    if (found) return found.key;
  } catch (error) {
    throw refused('it holds no key of Ceph', error);
  }
  throw refused(`it holds no key of client.${user}`);
}

/** The cluster that answers there. Errors: EXTERNAL_CEPH. */
export async function askExternalCluster(
  external: External,
  { clock, random, log, timeoutMs }: { clock: Clock; random: Random; log: Logger; timeoutMs: number },
): Promise<{ fsid: string }> {
  const entity = `client.${external.user}`;
  const client = createMonClient({
    entity: parseEntityName(entity)!,
    key: externalKey(external),
    monAddrs: monAddrs(external),
    clock,
    random,
    log,
  });
  try {
    await client.start(timeoutMs);
    return { fsid: client.fsid };
  } catch (error) {
    throw new AppError(
      'EXTERNAL_CEPH',
      `the Ceph cluster at ${external.monHosts.join(', ')} does not take ${entity}: ${errorText(error)}`,
      {
        cause: error,
        hint: `check externalCeph: \`ceph mon dump\` there tells the addresses (v2), \`ceph auth get ${entity}\` the key`,
      },
    );
  } finally {
    await client.close();
  }
}

/** A first start waits so long for an answer, a later one goes on with what is known. */
const answerMs = 10_000;

/**
 * Writes ceph.conf, the user's keyring (0600) and the engine's record. A cluster that does not answer is a warning once it is known, or when its fsid is given.
 * Errors: EXTERNAL_CEPH, also for another cluster than before: volumes that Kubernetes knows are not on it.
 */
export async function ensureExternalFiles(
  config: Config,
  paths: Paths,
  { clock, random, log }: { clock: Clock; random: Random; log: Logger },
): Promise<void> {
  const external = config.externalCeph;
  const before = knownFsid(paths);
  const expected = before ?? external.fsid;
  if (before !== undefined && external.fsid !== undefined && before !== external.fsid)
    throw otherCluster(`externalCeph.fsid is ${external.fsid}`, before);
  let fsid = expected;
  try {
    fsid = (await askExternalCluster(external, { clock, random, log, timeoutMs: answerMs })).fsid;
  } catch (error) {
    if (expected === undefined) throw error;
    log.warn('starting without an answer of the storage', {
      error: errorText(error),
      ...(error instanceof AppError && error.hint !== undefined ? { hint: error.hint } : {}),
    });
  }
  if (fsid === undefined) throw new AppError('EXTERNAL_CEPH', 'the Ceph cluster does not say its fsid');
  if (expected !== undefined && fsid !== expected)
    throw otherCluster(`the cluster at ${external.monHosts.join(', ')} is ${fsid}`, expected);
  makeDirectory(paths.ceph, 0o711);
  makeDirectory(`${paths.ceph}/keyrings`, 0o711);
  const user = `client.${external.user}`;
  keepEngineRecord(paths, { format: 1, engine: 'external', user, pool: external.pool });
  const keyring = formatKeyring(new Map([[user, { key: externalKey(external), caps: {} }]]));
  if (readFileIfThere(paths.keyring(user)) !== keyring) writeFileAtomic(paths.keyring(user), keyring, 0o600);
  const monHosts = monitors(external).map((one) => `[${one}]`);
  const conf = renderCephConf({ fsid, monHosts, auth: 'cephx', keyrings: `${paths.ceph}/keyrings` });
  if (readFileIfThere(paths.cephConf) !== conf) writeFileAtomic(paths.cephConf, conf, 0o644);
}

function otherCluster(what: string, expected: string): AppError {
  return new AppError('EXTERNAL_CEPH', `${what}, but this node's volumes are on the Ceph cluster ${expected}`, {
    hint: 'correct externalCeph.monHosts or externalCeph.fsid; a node that shall forget its volumes begins anew with `appliance reset`',
  });
}
