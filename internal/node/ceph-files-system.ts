import type { Clock } from '../base/clock.ts';
import { makeDirectory, readFileIfThere, writeFileAtomic } from '../base/files-system.ts';
import type { Random } from '../base/random.ts';
import { uuid } from '../base/random.ts';
import { formatKeyring } from '../ceph/auth/keyring.ts';
import { newCryptoKey } from '../ceph/auth/crypto.ts';
import { confMonHosts, renderCephConf } from '../ceph/client/ceph-conf.ts';
import { knownFsid } from '../ceph/client/ceph-conf-system.ts';
import { keepEngineRecord } from '../ceph/engine/engine-record-system.ts';
import { ensurePeerCertificate } from '../ceph/mon/peer-certificate-system.ts';
import type { Config } from '../config/config.ts';
import type { Paths } from '../config/paths.ts';
import { keyringKey } from './ceph-connect-client.ts';

const all = 'allow *';

/** The entities that exist from the first start, with their capabilities (as Rook and `ceph auth get-or-create` give them). */
function entities(config: Config): Record<string, Record<string, string>> {
  return {
    'mon.': { mon: all },
    'client.admin': { mon: all, osd: all, mgr: all, mds: all },
    'mgr.a': { mon: 'allow profile mgr', osd: all, mds: all },
    ...Object.fromEntries(
      config.storage.osd.map((osd) => [
        `osd.${osd.id}`,
        { mon: 'allow profile osd', mgr: 'allow profile osd', osd: all },
      ]),
    ),
    // What a joined node asks for OSD ids with.
    'client.bootstrap-osd': { mon: 'allow profile bootstrap-osd' },
    'client.csi-rbd-provisioner': { mon: 'profile rbd', mgr: 'allow rw', osd: 'profile rbd' },
    'client.csi-rbd-node': { mon: 'profile rbd', osd: 'profile rbd' },
  };
}

/**
 * Writes ceph.conf and a keyring (0600) for every entity that has none yet, below `paths.ceph`, on the machine whose mon makes the cluster. The mon imports the keyrings when it makes its
 * store; later ones are made by `ceph auth`.
 */
export async function ensureCephFiles(config: Config, paths: Paths, clock: Clock, random: Random): Promise<void> {
  makeDirectory(paths.ceph, 0o711);
  makeDirectory(`${paths.ceph}/keyrings`);
  if (config.storage.engine !== 'embedded') keepEngineRecord(paths, { format: 1, engine: config.storage.engine });
  const fsid = knownFsid(paths) ?? uuid(random);
  for (const [entity, caps] of Object.entries(entities(config))) {
    const path = paths.keyring(entity);
    if (readFileIfThere(path) !== undefined) continue;
    const key = newCryptoKey(clock.now(), random);
    writeFileAtomic(path, formatKeyring(new Map([[entity, { key, caps }]])), 0o600);
  }
  const known = confMonHosts(readFileIfThere(paths.cephConf) ?? '');
  writeMonHosts(config, paths, fsid, known.length > 1 ? known : []);
}

/** ceph.conf names this node's mon where it is now, before the others: which of those there are changes while the node runs (`join/keep-identity-client.ts`). */
function writeMonHosts(config: Config, paths: Paths, fsid: string, known: readonly string[]): void {
  const own = `[v2:${config.node.ip}:${config.ports.mon}]`;
  const others = known.filter((host) => !host.includes(`:${config.node.ip}:`));
  const conf = renderCephConf({
    fsid,
    monHosts: [own, ...others],
    keyrings: `${paths.ceph}/keyrings`,
    auth: config.storage.auth,
    adminSocket: paths.adminSocket,
  });
  if (readFileIfThere(paths.cephConf) !== conf) writeFileAtomic(paths.cephConf, conf, 0o644);
}

/** On a node whose mon joined the others: its address may be another one since. */
export function keepOwnMonHost(config: Config, paths: Paths): void {
  const known = confMonHosts(readFileIfThere(paths.cephConf) ?? '');
  if (!known.some((host) => host.includes(`:${config.node.ip}:`)))
    writeMonHosts(config, paths, knownFsid(paths)!, known);
}

/** What the node's mon proves with that it is one, to the other mons. */
export async function ensureMonPeer(config: Config, paths: Paths, clock: Clock, random: Random): Promise<void> {
  const { secret } = keyringKey(paths, 'mon.');
  const dir = paths.instanceDir('mon');
  await ensurePeerCertificate(dir, { fsid: knownFsid(paths)!, ip: config.node.ip, nowMs: clock.now(), random, secret });
}
