import * as fs from 'node:fs';
import * as os from 'node:os';
import type { Timer } from '../../base/clock.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { sleep } from '../../base/clock.ts';
import { AppError, errorCode, errorText } from '../../base/errors.ts';
import type { RoleContext, RoleHandle, StartRole } from '../../node/role.ts';
import type { Store } from '../../store/api.ts';
import { AutoCompactor } from '../../store/auto-compaction.ts';
import { CompactedError, RemovedError } from '../../store/errors.ts';
import type { MemberStore } from '../../store/member.ts';
import type { Peers } from '../../store/peers-transport.ts';
import { openStore } from '../../store/store.ts';
import { type AdminSocket, serveAdminSocket } from '../admin-socket/admin-socket-server.ts';
import type { AuthEntry } from '../auth/api.ts';
import { parseKeyring } from '../auth/keyring.ts';
import { createMonAuth } from '../auth/mon-auth.ts';
import { createNoneAuth } from '../auth/none.ts';
import { createMessenger } from '../wire/messenger-transport.ts';
import { addrV2, addrVecText, ENTITY_MON, type EntityAddrVec } from '../wire/types.ts';
import { handleCommands } from './commands/dispatch.ts';
import { monCommands } from './commands/all.ts';
import { handleClients } from './handlers/clients.ts';
import { handleLog } from './handlers/log.ts';
import { handleMgr } from './handlers/mgr.ts';
import { handleOsds } from './handlers/osds.ts';
import { NotLeadingError } from './errno.ts';
import { type LoadedState, loadState } from './load.ts';
import { mkfs, storeFirst } from './mkfs.ts';
import { Mon } from './mon.ts';
import type { Quorum } from './quorum/quorum.ts';
import {
  keepSelf,
  markRemoved,
  monMember,
  type MonSelf,
  monFinder,
  monPeers,
  monSelf,
  untilStopped,
  waitingText,
} from './self-system.ts';
import { handleStats } from './stats.ts';
import { tick, tickMs } from './tick.ts';
import { readUpstreamOptions } from './upstream-options-system.ts';
import { cephRelease, cephVersion, cephVersionShort } from './version.ts';

/** A member of the group that keeps the store lets go of so many revisions of history at a time: nobody asks for the past. */
const historyKept = 1000;
/** How often a start that waits for other mons says so. */
const waitsEveryMs = 2000;
const arriveEveryMs = 500;
/** How long another mon has to take the lead from one that stops. */
const handOverMs = 3000;

/** The monitor's process. */
export const start: StartRole = async (context) => {
  const { clock, random, log, config, paths } = context;
  const dir = paths.instanceDir(context.instance);
  const addrs: EntityAddrVec = [addrV2(config.node.ip, config.ports.mon, 0)];
  const self = monSelf(dir);
  if (self.removed) await untilStopped(context);
  const finder = monFinder(context);
  const peers = monPeers(context, dir, finder);
  // Who asks before this mon knows anything asks again.
  const application: { quorum?: Quorum } = {};
  const store = await openStore({
    dir,
    disk: systemDisk,
    clock,
    random,
    log,
    cacheBytes: 1 << 20,
    pageCacheBytes: 1 << 20,
    recentBytes: 64 << 10,
    segmentBytes: 4 << 20,
    member: monMember(config, self.name),
    ...(self.join && { join: self.join }),
    ...(peers && {
      connect: (group) => {
        // The store is on disk. From its first word to the others on it must not be made again as the same member.
        keepSelf(dir, self.name);
        return peers.connect(group);
      },
    }),
    application: {
      leadership: () => application.quorum?.leadership(),
      answer: (question) => {
        if (application.quorum === undefined) throw new NotLeadingError();
        return application.quorum.answer(question);
      },
    },
    ended: (error) => {
      if (error instanceof RemovedError) markRemoved(dir);
      context.fail(error);
    },
  });
  finder.start(() => application.quorum?.serves !== true);
  let admin: AdminSocket | undefined;
  try {
    const loaded = await firstState(context, store, self, addrs, peers);
    const mon = new Mon({
      name: self.name,
      addrs,
      store,
      group: store,
      clock,
      random,
      log,
      loaded,
      metadata: metadata(addrs),
      peerPort: config.ports.monPeer,
      upstreamOptions: readUpstreamOptions,
    });
    application.quorum = mon.quorum;
    handleClients(mon);
    handleOsds(mon);
    handleMgr(mon);
    handleLog(mon);
    handleStats(mon);
    const commands = handleCommands(mon, monCommands());
    mon.start();
    // Before it has found the others: that is when it is asked how it is.
    admin = await serveAdminSocket(context, commands);
    await waiting(context, mon.prepare(), () => waitingText(store, peers));
    if (!self.joined) await takeOver(context, mon);
    const messenger = createMessenger({
      entity: { type: ENTITY_MON, num: Math.max(0, mon.rank) },
      clock,
      random,
      log,
      dispatcher: mon.dispatcher,
      serverAuth:
        config.storage.auth === 'none'
          ? createNoneAuth(() => mon.keyServer.nextGlobalId())
          : createMonAuth({ keys: mon.keyServer, clock, random, log }),
    });
    mon.onRank = (rank) => messenger.setNum(rank);
    await messenger.listen({ ip: config.node.ip, port: config.ports.mon, nonce: 0 });
    log.info('the mon serves', { fsid: mon.state.fsid, addrs: addrVecText(addrs), osdmap: mon.state.osdmap.epoch });
    const close = async (): Promise<void> => {
      await admin?.close();
      await messenger.close();
    };
    return run(context, mon, store, self.joined, close);
  } catch (error) {
    await admin?.close();
    await store.close().catch(() => undefined);
    throw error;
  }
};

function run(
  context: RoleContext,
  mon: Mon,
  store: Store,
  joined: boolean,
  closeDoors: () => Promise<void>,
): RoleHandle {
  const { clock, log } = context;
  let timer: Timer;
  let dueMs = 0;
  const schedule = (): void => {
    dueMs = clock.monotonic() + tickMs;
    timer = clock.after(tickMs, () => {
      tick(mon, clock.monotonic() - dueMs);
      schedule();
    });
  };
  schedule();
  const compactor = new AutoCompactor(
    { mode: 'revision', retention: historyKept },
    { store, leads: () => mon.quorum.leads, clock, log },
  );
  return {
    health: () => {
      if (mon.core.failed !== undefined) return { ok: false, detail: `the store failed: ${mon.core.failed.message}` };
      const { names, leader } = mon.inQuorum;
      const among = names.length > 1 ? `, ${names.length} mons in quorum, mon.${leader} leads` : '';
      // Its own restart would not bring the others back.
      if (!mon.quorum.serves) return { ok: true, detail: 'out of quorum: no majority of the mons is reached' };
      return {
        ok: true,
        detail: `osdmap e${mon.state.osdmap.epoch}, ${mon.sessions.size} sessions${among}`,
      };
    },
    reload: () => (joined ? Promise.resolve() : takeOver(context, mon)),
    stop: async () => {
      timer.cancel();
      compactor.close();
      await handOver(context, mon);
      mon.close();
      await closeDoors();
      await store.close();
    },
  };
}

/** Another mon leads before this one goes, so that nobody waits for an election. */
async function handOver({ clock, log }: RoleContext, { group: { cluster } }: Mon): Promise<void> {
  const next = cluster.successor();
  if (next === undefined) return;
  const moved = cluster.moveLeader(next.id).catch((error: unknown) => {
    log.info('the lead was not handed on', { to: next.name, error: errorText(error) });
  });
  await Promise.race([moved, sleep(clock, handOverMs)]);
}

/** Resolves with `work`; until then says what this start waits for. */
async function waiting<T>(
  { clock, log, stopping, waits }: RoleContext,
  work: Promise<T>,
  why: () => string,
): Promise<T> {
  const done = new AbortController();
  const loop = async (): Promise<void> => {
    await sleep(clock, waitsEveryMs, done.signal);
    while (!done.signal.aborted && !stopping.aborted) {
      waits(why());
      log.info(why());
      await sleep(clock, waitsEveryMs, done.signal);
    }
  };
  void loop();
  const stopped = new Promise<never>((_, reject) => {
    const stop = (): void => reject(new AppError('STOPPING', 'the mon was stopped while it waited for others'));
    if (stopping.aborted) stop();
    stopping.addEventListener('abort', stop, { once: true });
  });
  try {
    return await Promise.race([work, stopped]);
  } finally {
    done.abort();
    work.catch(() => undefined);
  }
}

/** What this mon's store holds: the cluster that it makes, what it kept, or what the other mons send. */
async function firstState(
  context: RoleContext,
  store: MemberStore,
  self: MonSelf,
  addrs: EntityAddrVec,
  peers: Peers | undefined,
): Promise<LoadedState> {
  const loaded = await loadState(store);
  if (loaded !== undefined) return loaded;
  if (!self.joined) {
    await makeCluster(context, store, self.name, addrs);
    return (await loadState(store))!;
  }
  const arrived = async (): Promise<LoadedState> => {
    for (;;) {
      const there = await loadState(store).catch((error: unknown) => {
        if (error instanceof CompactedError) return undefined;
        throw error;
      });
      if (there !== undefined) return there;
      await sleep(context.clock, arriveEveryMs, context.stopping);
    }
  };
  return waiting(context, arrived(), () => waitingText(store, peers));
}

/** The first start: a cluster from ceph.conf and the keyrings beside it. */
async function makeCluster(context: RoleContext, store: Store, name: string, addrs: EntityAddrVec): Promise<void> {
  const { config, paths, clock, log } = context;
  const conf = readText(paths.cephConf);
  const fsid = /^\s*fsid\s*=\s*([0-9a-fA-F-]{36})\s*$/m.exec(conf ?? '')?.[1]?.toLowerCase();
  if (fsid === undefined)
    throw new AppError('MON_MKFS', `${paths.cephConf} has no fsid`, { hint: 'It is written by `appliance up`.' });
  const { storage } = config;
  const draft = mkfs({
    fsid,
    name,
    addrs,
    entities: readKeyrings(context),
    failureDomain: storage.failureDomain,
    config: [
      { who: 'global', name: 'osd_pool_default_size', value: String(storage.replication) },
      ...(storage.failureDomain === 'osd'
        ? [{ who: 'mon', name: 'mon_osd_reporter_subtree_level', value: 'osd' }]
        : []),
    ],
    nowMs: clock.now(),
  });
  await storeFirst(store, draft);
  log.info('made the cluster', { fsid });
}

/** Follows what was changed beside us while we were away: entities with new keyrings. Where a mon has joined, its keyrings are those that it was given. */
async function takeOver(context: RoleContext, mon: Mon): Promise<void> {
  const keyrings = readKeyrings(context);
  if (!mon.quorum.leads) return;
  await mon
    .change('entities of keyrings', (draft) => draft.importEntities(keyrings))
    .catch((error: unknown) => {
      if (!(error instanceof NotLeadingError)) throw error;
    });
}

function readKeyrings({ paths, log }: RoleContext): Map<string, AuthEntry> {
  const dir = paths.keyring('x').replace(/\/[^/]*$/, '');
  const out = new Map<string, AuthEntry>();
  let names: string[];
  try {
    names = fs.readdirSync(dir);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    return out;
  }
  for (const name of names.filter((file) => file.endsWith('.keyring')).sort()) {
    const text = readText(`${dir}/${name}`);
    if (text === undefined) continue;
    for (const [entity, entry] of parseKeyring(text, `${dir}/${name}`)) out.set(entity, entry);
  }
  if (out.size === 0) log.warn('there are no keyrings', { dir });
  return out;
}

function readText(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function metadata(addrs: EntityAddrVec): Map<string, string> {
  const release = readText('/etc/os-release') ?? '';
  const field = (name: string): string => new RegExp(`^${name}="?([^"\n]*)"?$`, 'm').exec(release)?.[1] ?? '';
  return new Map([
    ['addrs', addrVecText(addrs)],
    ['arch', os.arch() === 'x64' ? 'x86_64' : os.arch() === 'arm64' ? 'aarch64' : os.arch()],
    ['ceph_release', cephRelease],
    ['ceph_version', cephVersion],
    ['ceph_version_short', cephVersionShort],
    ['cpu', os.cpus()[0]?.model ?? ''],
    ['distro', field('ID')],
    ['distro_description', field('PRETTY_NAME')],
    ['distro_version', field('VERSION_ID')],
    ['hostname', os.hostname()],
    ['kernel_description', os.version()],
    ['kernel_version', os.release()],
    ['mem_swap_kb', '0'],
    ['mem_total_kb', String(Math.floor(os.totalmem() / 1024))],
    ['os', os.type()],
  ]);
}
