import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BufferPool } from '../../internal/base/buffer-pool.ts';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { silentLogger } from '../../internal/base/log.ts';
import { systemClock, systemRandom } from '../../internal/base/system.ts';
import { parseKeyring } from '../../internal/ceph/auth/keyring.ts';
import { type BlockStore, openBlockStore } from '../../internal/ceph/blockstore/blockstore.ts';
import { openSqliteIndex } from '../../internal/ceph/blockstore/index-sqlite-shell.ts';
import { cephVersion } from '../../internal/ceph/mon/version.ts';
import { identityText } from '../../internal/ceph/osd/disk-owner.ts';
import { messageBudget } from '../../internal/ceph/osd/message-budget.ts';
import { OsdServer } from '../../internal/ceph/osd/osd-server.ts';
import { addrV2 } from '../../internal/ceph/wire/types.ts';

/** An OSD of a `CephCluster`. */
export interface ClusterOsd {
  id: number;
  uuid: string;
  fsid: string;
  /** Of the cluster: its stores are in it. */
  directory: string;
  keyring: string;
  monPort: number;
}

/** Opens its store, or makes it, and starts it. */
export async function startClusterOsd(given: ClusterOsd): Promise<{ store: BlockStore; server: OsdServer }> {
  const { id, uuid, fsid, directory, keyring, monPort } = given;
  const buffers = new BufferPool(systemDisk.alignedBuffer, 8 << 20);
  const store = await openBlockStore({
    buffers,
    disk: systemDisk,
    dir: join(directory, `osd${id}`),
    clock: systemClock,
    log: silentLogger,
    openIndex: openSqliteIndex,
    capacityBytes: 1 << 30,
    identity: identityText({ osd: id, fsid, uuid }),
  });
  const server = await OsdServer.start({
    fsid,
    monAddrs: [[addrV2('127.0.0.1', monPort)]],
    ip: '127.0.0.1',
    clock: systemClock,
    random: systemRandom,
    log: silentLogger,
    id,
    uuid,
    key: parseKeyring(readFileSync(keyring, 'utf8')).get(`osd.${id}`)!.key,
    auth: 'cephx',
    portBase: monPort + 1,
    store,
    buffers,
    messages: messageBudget(0),
    host: 'n',
    metadata: {},
    version: cephVersion,
    fatal: (error) => {
      throw error;
    },
  });
  return { store, server };
}
