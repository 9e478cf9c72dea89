import { existsSync, readFileSync } from 'node:fs';
import { sleep } from '../../base/clock.ts';
import type { Disk } from '../../base/disk.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { AppError, errorCode, errorText } from '../../base/errors.ts';
import { forgetMember, memberToBe } from '../../join/join-server-system.ts';
import type { Cluster, Store } from '../../store/api.ts';
import { ClusterError, RemovedError } from '../../store/errors.ts';
import { AutoCompactor } from '../../store/auto-compaction.ts';
import { openExternalEtcd } from '../../store/external/external-client.ts';
import { serveEtcd } from '../../store/etcd/face-server.ts';
import { s3Target } from '../../store/snapshots/s3-client.ts';
import { SnapshotSchedule } from '../../store/snapshots/schedule-system.ts';
import { connectPeers, type Peers } from '../../store/peers-transport.ts';
import { openStore } from '../../store/store.ts';
import type { RoleContext } from '../role.ts';
import { controlMember } from '../store-access.ts';
import { findPeers } from '../../store/peer-finder.ts';
import { isRemoved, markRemoved, untilStopped, waitingText } from './server-waiting-system.ts';

export interface ControlStore {
  readonly store: Store;
  /** Of our own store; undefined where a real etcd keeps the data, perhaps for several servers. */
  readonly cluster: Cluster | undefined;
  /** What it waits for while nobody leads; undefined when it can be used. */
  waits(): string | undefined;
  /** Takes renewed certificates up: of the etcd face, and towards other members. */
  renew(): void;
  /** Ends what stands on the store before the store itself, and hands the lead on first. */
  close(): Promise<void>;
}

/** How long another member has to take the lead from a server that stops. */
const handOverMs = 3_000;
const leaderEveryMs = 500;
const waitingToldMs = 30_000;

/** The store of the control plane: a real etcd, or our own, served as etcd and kept together with the other servers. Resolves when it can be used. */
export async function openControlStore(context: RoleContext, disk: Disk = systemDisk): Promise<ControlStore> {
  const { config, paths, clock, random } = context;
  const log = context.log.with({ component: 'store' });
  if (config.datastore !== undefined) {
    const store = await openExternalEtcd({ endpoints: config.datastore, tls: config.datastoreTls, clock, log });
    log.info('the control plane is kept by an etcd', { endpoints: config.datastore });
    return {
      store,
      cluster: undefined,
      waits: () => undefined,
      renew: () => undefined,
      close: () => store.close(),
    };
  }
  if (isRemoved(paths)) await untilStopped(new RemovedError(), context);
  const { etcdPeer } = config.ports;
  const finder = findPeers({
    port: etcdPeer,
    node: config.node.name,
    clock,
    stopping: context.stopping,
    discover: context.discover,
    hosts: () => (config.server === undefined ? [] : [new URL(config.server).hostname]),
  });
  const pem = (name: string): string => readFileSync(`${paths.pki}/${name}`, 'utf8');
  const peers = connectPeers({
    host: '0.0.0.0',
    port: etcdPeer,
    tls: () => ({ cert: pem('etcd-peer.crt'), key: pem('etcd-peer.key'), ca: pem('etcd-peer-ca.crt') }),
    clock,
    log,
    elsewhere: finder.elsewhere,
  });
  const join = memberToBe(paths);
  if (join === undefined && existsSync(`${paths.identity}/cluster.json`) && !existsSync(`${paths.store}/state.db`))
    throw new AppError('STORE_LOST', `this server's store is gone from ${paths.store}`, {
      hint: `as the same member it could break promises that it has made: join again, \`appliance join <token> --role ${config.roles.join()}\``,
    });
  const store = await openStore({
    dir: paths.store,
    disk,
    clock,
    random,
    log,
    member: controlMember(config),
    ...(join && { join }),
    connect: (group) => {
      // The store is on disk. From its first word to the others on it must not be made again as the same member.
      forgetMember(paths);
      return peers.connect(group);
    },
    ended: (error) => {
      if (error instanceof RemovedError) markRemoved(paths);
      context.fail(error);
    },
  });
  const { cluster } = store;
  finder.start(() => cluster.members().some(({ id }) => peers.problem(id) !== undefined && id !== cluster.memberId));
  try {
    const face = await serveFace(context, store);
    try {
      await readable(store, peers, context);
    } catch (error) {
      await face.close();
      throw error;
    }
    const schedule = startSchedule(context, store);
    const compactor = startCompactor(context, store);
    return {
      store,
      cluster,
      waits: () => (cluster.leaderId === 0n ? waitingText(cluster, peers) : undefined),
      renew: () => {
        peers.renew();
        face.renew();
      },
      close: async () => {
        schedule?.close();
        compactor?.close();
        finder.stop();
        await handOver(cluster, context);
        await face.close();
        await store.close();
      },
    };
  } catch (error) {
    finder.stop();
    await store.close();
    throw error;
  }
}

/** Waits for a majority of the servers: until then nothing can be read for sure. */
async function readable(store: Store, peers: Peers, context: RoleContext): Promise<void> {
  const { clock, log, stopping, waits } = context;
  let toldMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    try {
      await store.range({ key: new Uint8Array(1), keysOnly: true });
      return;
    } catch (error) {
      if (!(error instanceof ClusterError) || stopping.aborted) throw error;
      const why = waitingText(store.cluster, peers);
      waits(why);
      if (clock.monotonic() - toldMs > waitingToldMs) {
        toldMs = clock.monotonic();
        log.warn(why);
      }
      await sleep(clock, leaderEveryMs, stopping);
    }
  }
}

/** Another voter leads before this one goes, so that nobody waits for an election: one that answers. */
async function handOver(cluster: Cluster, { clock, log }: RoleContext): Promise<void> {
  const next = cluster.successor();
  if (next === undefined) return;
  const late = sleep(clock, handOverMs);
  const moved = cluster.moveLeader(next.id).catch((error: unknown) => {
    log.info('the lead was not handed on', { to: next.name, error: errorText(error) });
  });
  await Promise.race([moved, late]);
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

async function serveFace(context: RoleContext, store: Store): Promise<{ renew(): void; close(): Promise<void> }> {
  const { config, paths, log, clock, random } = context;
  const pem = (name: string): string => readFileSync(`${paths.pki}/${name}`, 'utf8');
  const tls = () => ({
    cert: pem('etcd-server.crt'),
    key: pem('etcd-server.key'),
    clientCa: pem('etcd-server-ca.crt'),
  });
  const serve = (address: string) =>
    serveEtcd({
      store,
      addresses: [address],
      port: config.ports.etcd,
      tls: tls(),
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
    renew: () => {
      for (const face of faces) face.renew(tls());
    },
    close: async () => {
      await Promise.all(faces.map((face) => face.close()));
    },
  };
}
