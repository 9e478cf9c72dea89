import { readFileSync } from 'node:fs';
import { BufferPool } from '../../base/buffer-pool.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { AppError } from '../../base/errors.ts';
import type { StartRole } from '../../node/role.ts';
import { serveAdminSocket } from '../admin-socket/admin-socket-server.ts';
import { parseKeyring } from '../auth/keyring.ts';
import { openBlockStore } from '../blockstore/blockstore.ts';
import { openSqliteIndex } from '../blockstore/index-sqlite-shell.ts';
import { parseMonHosts } from '../client/ceph-conf.ts';
import { diskFacts } from './disk-facts-system.ts';
import { noteStoreMade, prepareDisk } from './disk-system.ts';
import { messageBudget } from './message-budget.ts';
import { releaseVolumeCopies } from './mount-copies-system.ts';
import { OsdServer } from './osd-server.ts';
import { storeBudget } from './store-budget.ts';

/** What `ceph versions` and `ceph tell osd.N version` show: the release whose protocols we speak. */
const version = 'ceph version 16.2.15 (appliance) pacific (stable)';

/** One OSD process, instance `osd.N`. */
export const start: StartRole = async (context) => {
  const { config, paths, clock, random, instance } = context;
  const id = Number(/^osd\.(\d+)$/.exec(instance)?.[1] ?? Number.NaN);
  const disk = config.storage.osd.find((osd) => osd.id === id);
  if (disk === undefined)
    throw new AppError('CONFIG', `${instance}: storage.osd has no entry with this id`, {
      hint: 'See `appliance config` for the OSDs of this node.',
    });
  const log = context.log.with({ osd: id });
  await releaseVolumeCopies([paths.agent, `${paths.runDir}/containerd`], clock, log);
  const conf = readFileSync(paths.cephConf, 'utf8');
  const { fsid, monAddrs } = parseMonHosts(conf, paths.cephConf);
  const keyringPath = paths.keyring(instance);
  const key = parseKeyring(readFileSync(keyringPath, 'utf8'), keyringPath).get(instance)?.key;
  if (key === undefined) throw new AppError('KEYRING', `${keyringPath} has no key of ${instance}`);

  const identityDir = paths.identity;
  const mountDir = `${paths.instanceDir(instance)}/disk`;
  const prepared = await prepareDisk(disk, { mountDir, identityDir, fsid, random, log });
  const { storeBytes, bufferBytes } = storeBudget(config.memory.osd);
  const messages = messageBudget(config.memory.osd);
  const buffers = new BufferPool(systemDisk.alignedBuffer, bufferBytes);
  const store = await openBlockStore({
    buffers,
    disk: systemDisk,
    dir: prepared.dir,
    clock,
    log,
    openIndex: openSqliteIndex,
    capacityBytes: prepared.capacityBytes,
    memoryBudget: storeBytes,
    identity: prepared.identity,
  });
  noteStoreMade(disk, prepared, identityDir);
  const server = await OsdServer.start({
    id,
    fsid,
    uuid: prepared.uuid,
    key,
    auth: config.storage.auth,
    monAddrs,
    ip: config.node.ip,
    portBase: config.ports.ceph,
    store,
    buffers,
    messages,
    host: config.node.name,
    clock,
    random,
    log,
    metadata: { osd_data: prepared.dir, ...diskFacts(prepared.dir, prepared.capacityBytes) },
    version,
    fatal: (error) => {
      // Out of whatever stack this is: the process ends and the supervisor says why.
      queueMicrotask(() => {
        throw error instanceof Error ? error : new AppError('OSD', String(error));
      });
    },
  });
  const admin = await serveAdminSocket(context, (command) => server.adminCommand(command));
  return {
    health: () => server.health(),
    stop: async () => {
      await admin.close();
      await server.stop();
    },
  };
};
