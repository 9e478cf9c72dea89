import { readFileSync } from 'node:fs';
import { systemDisk } from '../../base/disk-system.ts';
import { errorCode } from '../../base/errors.ts';
import type { Store } from '../../store/api.ts';
import { AutoCompactor } from '../../store/auto-compaction.ts';
import { openExternalEtcd } from '../../store/external/external-client.ts';
import { serveEtcd } from '../../store/etcd/face-server.ts';
import { s3Target } from '../../store/snapshots/s3-client.ts';
import { SnapshotSchedule } from '../../store/snapshots/schedule-system.ts';
import { openStore } from '../../store/store.ts';
import type { RoleContext } from '../role.ts';

/** The store of the control plane: a real etcd, or our own, served as etcd. `close` ends what stands on it before the store itself. */
export async function openControlStore(context: RoleContext): Promise<{ store: Store; close(): Promise<void> }> {
  const { config, paths, clock, random } = context;
  const log = context.log.with({ component: 'store' });
  if (config.datastore !== undefined) {
    const store = await openExternalEtcd({ endpoints: config.datastore, tls: config.datastoreTls, clock, log });
    log.info('the control plane is kept by an etcd', { endpoints: config.datastore });
    return { store, close: () => store.close() };
  }
  const { name, ip } = config.node;
  const clientUrls = [`https://${ip}:${config.ports.etcd}`];
  const store = await openStore({
    dir: paths.store,
    disk: systemDisk,
    clock,
    random,
    log,
    member: { name, peerUrls: [], clientUrls },
  });
  try {
    const face = await serveFace(context, store);
    const schedule = startSchedule(context, store);
    const compactor = startCompactor(context, store);
    return {
      store,
      close: async () => {
        schedule?.close();
        compactor?.close();
        await face.close();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

function startSchedule({ config, log, clock }: RoleContext, store: Store): SnapshotSchedule | undefined {
  const { everyHours, keep, dir, s3, s3Region, s3AccessKey, s3SecretKey } = config.snapshots;
  if (everyHours === 0) return undefined;
  return new SnapshotSchedule({
    store,
    node: config.node.name,
    dir,
    everyMs: everyHours * 3_600_000,
    keep,
    ...(s3 !== undefined && {
      target: s3Target({ url: s3, region: s3Region, accessKey: s3AccessKey!, secretKey: s3SecretKey! }),
    }),
    clock,
    log: log.with({ component: 'snapshots' }),
  });
}

function startCompactor({ config, log, clock }: RoleContext, store: Store): AutoCompactor | undefined {
  const { keepMinutes, keepRevisions } = config.compaction;
  if (keepMinutes + keepRevisions === 0) return undefined;
  return new AutoCompactor(
    keepMinutes > 0
      ? { mode: 'periodic', retentionMs: keepMinutes * 60_000 }
      : { mode: 'revision', retention: keepRevisions },
    { store, leads: () => store.cluster.leaderId === store.cluster.memberId, clock, log },
  );
}

async function serveFace(context: RoleContext, store: Store): Promise<{ close(): Promise<void> }> {
  const { config, paths, log, clock, random } = context;
  const pem = (name: string): string => readFileSync(`${paths.pki}/${name}`, 'utf8');
  const serve = (address: string) =>
    serveEtcd({
      store,
      addresses: [address],
      port: config.ports.etcd,
      tls: { cert: pem('etcd-server.crt'), key: pem('etcd-server.key'), clientCa: pem('etcd-server-ca.crt') },
      clock,
      random,
      log: log.with({ component: 'etcd' }),
    });
  const local = await serve('127.0.0.1');
  const faces = [local];
  if (config.node.ip !== '127.0.0.1') {
    try {
      faces.push(await serve(config.node.ip));
    } catch (error) {
      // Behind address translation the node's address is none of this machine.
      if (errorCode(error) !== 'EADDRNOTAVAIL') {
        await local.close();
        throw error;
      }
      log.warn('the store is served as etcd on loopback only: the node address is not on this machine', {
        address: config.node.ip,
      });
    }
  }
  log.info('the store is served as etcd', { port: config.ports.etcd });
  return {
    close: async () => {
      await Promise.all(faces.map((face) => face.close()));
    },
  };
}
