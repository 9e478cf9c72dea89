import * as fs from 'node:fs';
import * as os from 'node:os';
import type { Timer } from '../../base/clock.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { AppError, errorCode } from '../../base/errors.ts';
import type { RoleContext, RoleHandle, StartRole } from '../../node/role.ts';
import type { RequestOp, Store } from '../../store/api.ts';
import { openStore } from '../../store/store.ts';
import { utf8 } from '../../base/bytes.ts';
import type { AuthEntry } from '../auth/api.ts';
import { parseKeyring } from '../auth/keyring.ts';
import { createMonAuth } from '../auth/mon-auth.ts';
import { createMessenger } from '../wire/messenger-transport.ts';
import { addrV2, addrVecText, ENTITY_MON, type EntityAddrVec, sameAddrs } from '../wire/types.ts';
import { handleCommands } from './commands/dispatch.ts';
import { monCommands } from './commands/all.ts';
import type { Draft } from './draft.ts';
import { handleClients } from './handlers/clients.ts';
import { handleLog } from './handlers/log.ts';
import { handleMgr } from './handlers/mgr.ts';
import { handleOsds } from './handlers/osds.ts';
import { loadState } from './load.ts';
import { mkfs } from './mkfs.ts';
import { Mon } from './mon.ts';
import type { MonState } from './state.ts';
import { handleStats } from './stats.ts';
import { tick, tickMs } from './tick.ts';
import { cephRelease, cephVersion, cephVersionShort } from './version.ts';

/** One node, one mon. */
const monName = 'a';

/** The monitor's process. */
export const start: StartRole = async (context) => {
  const { clock, random, log, config, paths } = context;
  const store = await openStore({
    dir: paths.instanceDir(context.instance),
    disk: systemDisk,
    clock,
    random,
    log,
    cacheBytes: 1 << 20,
    pageCacheBytes: 1 << 20,
    recentBytes: 64 << 10,
    segmentBytes: 4 << 20,
    ended: (error) => context.fail(error),
  });
  try {
    const addrs: EntityAddrVec = [addrV2(config.node.ip, config.ports.mon, 0)];
    const state = (await loadState(store)) ?? (await makeCluster(context, store, addrs));
    const mon = new Mon({ name: monName, rank: 0, store, clock, random, log, state, metadata: metadata(addrs) });
    handleClients(mon);
    handleOsds(mon);
    handleMgr(mon);
    handleLog(mon);
    handleStats(mon);
    handleCommands(mon, monCommands());
    await mon.prepare();
    await takeOver(context, mon, addrs);
    const messenger = createMessenger({
      entity: { type: ENTITY_MON, num: 0 },
      clock,
      random,
      log,
      dispatcher: mon.dispatcher,
      serverAuth: createMonAuth({ keys: mon.keyServer, clock, random, log }),
    });
    await messenger.listen({ ip: config.node.ip, port: config.ports.mon, nonce: 0 });
    log.info('the mon serves', { fsid: mon.state.fsid, addrs: addrVecText(addrs), osdmap: mon.state.osdmap.epoch });
    return run(context, mon, store, addrs, () => messenger.close());
  } catch (error) {
    await store.close().catch(() => undefined);
    throw error;
  }
};

function run(
  context: RoleContext,
  mon: Mon,
  store: Store,
  addrs: EntityAddrVec,
  closeMessenger: () => Promise<void>,
): RoleHandle {
  const { clock } = context;
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
  return {
    health: () => {
      if (mon.core.failed !== undefined) return { ok: false, detail: `the store failed: ${mon.core.failed.message}` };
      return {
        ok: true,
        detail: `osdmap e${mon.state.osdmap.epoch}, ${mon.sessions.size} sessions`,
      };
    },
    reload: () => takeOver(context, mon, addrs),
    stop: async () => {
      timer.cancel();
      mon.close();
      await closeMessenger();
      await store.close();
    },
  };
}

/** The first start: a cluster from ceph.conf and the keyrings beside it. */
async function makeCluster(context: RoleContext, store: Store, addrs: EntityAddrVec): Promise<MonState> {
  const { config, paths, clock, log } = context;
  const conf = readText(paths.cephConf);
  const fsid = /^\s*fsid\s*=\s*([0-9a-fA-F-]{36})\s*$/m.exec(conf ?? '')?.[1]?.toLowerCase();
  if (fsid === undefined)
    throw new AppError('MON_MKFS', `${paths.cephConf} has no fsid`, { hint: 'It is written by `appliance up`.' });
  const { storage } = config;
  const draft = mkfs({
    fsid,
    name: monName,
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
  await write(store, draft);
  log.info('made the cluster', { fsid });
  return draft.state;
}

async function write(store: Store, draft: Draft): Promise<void> {
  const success = draft.changes.flatMap(({ key, value }): RequestOp[] =>
    value === undefined ? [] : [{ op: 'put', request: { key: utf8(key), value } }],
  );
  const last = new Map(success.map((op) => [op.op === 'put' ? Buffer.from(op.request.key).toString() : '', op]));
  await store.txn({ compare: [], success: [...last.values()], failure: [] });
}

/** Follows what was changed beside us while we were away: our address, and entities with new keyrings. */
async function takeOver(context: RoleContext, mon: Mon, addrs: EntityAddrVec): Promise<void> {
  const keyrings = readKeyrings(context);
  await mon.update((draft) => {
    const { monmap } = draft.state;
    if (!sameAddrs(mon.addrs, addrs))
      draft.setMonMap({
        ...monmap,
        epoch: monmap.epoch + 1,
        lastChanged: draft.now,
        mons: monmap.mons.map((info) => (info.name === monName ? { ...info, addrs } : info)),
      });
    draft.importEntities(keyrings);
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
