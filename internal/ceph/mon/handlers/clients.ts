import { OsdCap } from '../../auth/osd-cap.ts';
import { encodeMonMap } from '../../maps/monmap.ts';
import { encoded, utimeFromMs } from '../../wire/encoding.ts';
import { FEATURE_MON_STATEFUL_SUB, hasFeature } from '../../wire/features.ts';
import {
  MAuth,
  MAuthReply,
  MMonGetMap,
  MMonGetOSDMap,
  MMonGetVersion,
  MMonGetVersionReply,
  MMonMap,
  MMonSubscribe,
  MMonSubscribeAck,
  MOSDMap,
  MPing,
} from '../../wire/messages/mon.ts';
import {
  MPoolOp,
  type MPoolOpValue,
  MPoolOpReply,
  POOL_OP_CREATE,
  POOL_OP_CREATE_SNAP,
  POOL_OP_CREATE_UNMANAGED_SNAP,
  POOL_OP_DELETE,
  POOL_OP_DELETE_SNAP,
  POOL_OP_DELETE_UNMANAGED_SNAP,
} from '../../wire/messages/mon_stats.ts';
import type { Draft } from '../draft.ts';
import { EINVAL, ENOENT, ENOTSUP, EPERM, Refusal, refusalOf } from '../errno.ts';
import type { Mon } from '../mon.ts';
import {
  addPoolSnap,
  addUnmanagedSnap,
  changePool,
  isPoolSnaps,
  isSelfManagedSnaps,
  removePoolSnap,
  removeUnmanagedSnap,
} from '../osd/pools.ts';
import { createPoolByName, deletePoolChecked } from '../osd/pool-requests.ts';
import type { Session } from '../session.ts';

/** Seconds after which a peer that does not keep subscriptions itself renews them. */
const subscribeIntervalSec = 60;
/** OSDMaps in one answer to MMonGetOSDMap. */
const mapsPerReply = 40;

/** Subscriptions by what: the service whose read permission they need. */
function serviceOf(what: string): string | undefined {
  if (what === 'monmap' || what === 'config' || what.startsWith('kv:') || what.startsWith('log-')) return 'mon';
  if (what === 'osdmap') return 'osd';
  if (what === 'mgrmap' || what === 'servicemap' || what === 'mgrdigest') return 'mgr';
  if (what.startsWith('fsmap') || what.startsWith('mdsmap')) return 'mds';
  return undefined;
}

/** What any client and daemon asks of a mon. */
export function handleClients(mon: Mon): void {
  mon.handlers
    .on(MPing, () => undefined)
    .on(MMonGetMap, (session) => {
      session.connection.send(MMonMap, { monmap: encodeMonMap(mon.state.monmap) });
    })
    .on(MMonSubscribe, (session, message) => {
      if (message.hostname !== '') session.hostname = message.hostname;
      for (const [what, { start, once }] of message.what) {
        const service = serviceOf(what);
        if (service === undefined) mon.log.debug('a subscription that is not served', { what, entity: session.entity });
        // Maps of mons, mgr and configuration are for everybody who got in; the others need read permission.
        else if ((service === 'osd' || service === 'mds') && !session.may(service, 'r')) continue;
        else if (what.startsWith('log-') && !session.may('mon', 'r')) continue;
        else {
          // Another level of the log takes the place of the one before.
          if (what.startsWith('log-'))
            for (const other of [...session.wanted.keys()]) if (other.startsWith('log-')) session.wanted.delete(other);
          session.wanted.set(what, { next: start, once });
          mon.publisher.checkOne(session, what);
        }
      }
      if (!hasFeature(session.connection.features, FEATURE_MON_STATEFUL_SUB))
        session.connection.send(MMonSubscribeAck, { intervalSec: subscribeIntervalSec, fsid: mon.state.fsid });
    })
    .on(MMonGetVersion, (session, { handle, what }, { tid }) => {
      const { osdmap, osdmapFirst, monmap, mgrmap, config } = mon.state;
      const versions: Record<string, [newest: number, oldest: number]> = {
        osdmap: [osdmap.epoch, osdmapFirst],
        monmap: [monmap.epoch, 1],
        mgrmap: [mgrmap.epoch, mgrmap.epoch],
        config: [config.version, 1],
        fsmap: [1, 1],
        mdsmap: [1, 1],
      };
      const [version, oldest] = versions[what] ?? [0, 0];
      session.connection.send(MMonGetVersionReply, { handle, version, oldest }, { tid });
    })
    .on(MMonGetOSDMap, (session, message) => sendAskedMaps(mon, session, message))
    .on(MAuth, (session, { protocol, payload }, { tid }) => {
      const identity = session.connection.identity;
      if (identity?.renew === undefined) return;
      const answer = identity.renew(payload);
      session.connection.send(
        MAuthReply,
        { protocol, result: answer.result, globalId: identity.globalId, payload: answer.payload, message: '' },
        { tid },
      );
    })
    .on(MPoolOp, async (session, message, { tid }) => {
      let code = 0;
      let data: Uint8Array | undefined;
      try {
        data = await poolOp(mon, session, message);
      } catch (error) {
        code = -refusalOf(error).errno;
      }
      const { fsid, osdmap } = mon.state;
      session.connection.send(MPoolOpReply, { version: osdmap.epoch, fsid, code, epoch: osdmap.epoch, data }, { tid });
    });
}

async function sendAskedMaps(
  mon: Mon,
  session: Session,
  asked: { fullFirst: number; fullLast: number; incFirst: number; incLast: number },
): Promise<void> {
  if (!session.may('osd', 'r')) return;
  const { fsid, osdmap, osdmapFirst } = mon.state;
  const incrementals = new Map<number, Uint8Array>();
  const full = new Map<number, Uint8Array>();
  const within = (first: number, last: number): number[] => {
    const out: number[] = [];
    for (let epoch = Math.max(first, osdmapFirst); epoch <= Math.min(last, osdmap.epoch); epoch++) {
      if (out.length >= mapsPerReply) break;
      out.push(epoch);
    }
    return first === 0 ? [] : out;
  };
  for (const epoch of within(asked.incFirst, asked.incLast)) {
    const bytes = await mon.maps.increment(epoch);
    if (bytes !== undefined) incrementals.set(epoch, bytes);
  }
  for (const epoch of within(asked.fullFirst, asked.fullLast)) {
    const bytes = await mon.maps.full(epoch);
    if (bytes !== undefined) full.set(epoch, bytes);
  }
  session.connection.send(MOSDMap, { fsid, incrementals, full, oldest: osdmapFirst, newest: osdmap.epoch });
}

/** Clients may take and remove their own snapshots in pools that their OSD capabilities let them write. */
function mayManageSnaps(mon: Mon, session: Session, poolId: number): boolean {
  if (session.may('osd', 'w')) return true;
  const pool = mon.state.osdmap.pools.get(poolId);
  const text = mon.state.auth.entities.get(session.entity)?.caps.osd;
  if (pool === undefined || text === undefined) return false;
  try {
    return OsdCap.parse(text).allows({
      pool: mon.state.osdmap.poolNames.get(poolId) ?? '',
      nspace: '',
      applications: pool.applications,
      object: '',
      read: false,
      write: true,
      calls: [],
      ip: session.ip,
    });
  } catch {
    return false;
  }
}

/** Resolves with the reply's data when the change is committed. Errors: Refusal. */
async function poolOp(mon: Mon, session: Session, message: MPoolOpValue): Promise<Uint8Array | undefined> {
  const unmanaged = message.op === POOL_OP_CREATE_UNMANAGED_SNAP || message.op === POOL_OP_DELETE_UNMANAGED_SNAP;
  if (unmanaged ? !mayManageSnaps(mon, session, message.pool) : !session.may('osd', 'w'))
    throw new Refusal(EPERM, 'the entity may not change pools');
  return await mon.update((draft) => applyPoolOp(mon, draft, message));
}

/** What is so already is no error (`OSDMonitor::preprocess_pool_op`): the request may have been carried out before, by a leader that did not say so. */
function applyPoolOp(mon: Mon, draft: Draft, message: MPoolOpValue): Uint8Array | undefined {
  const { op, name, snapId, pool: id } = message;
  if (op === POOL_OP_CREATE) {
    if (draft.state.osdmap.poolId(name) !== undefined) return undefined;
    createPoolByName(mon, draft, name);
    return undefined;
  }
  const pool = draft.state.osdmap.pools.get(id);
  if (pool === undefined) {
    if (op === POOL_OP_DELETE) return undefined;
    throw new Refusal(ENOENT, `pool ${id} does not exist`);
  }
  switch (op) {
    case POOL_OP_DELETE:
      if (name !== 'delete') throw new Refusal(EINVAL, 'the request does not say "delete"');
      deletePoolChecked(mon, draft, id);
      return undefined;
    case POOL_OP_CREATE_SNAP:
      if ([...pool.snaps.values()].some((snap) => snap.name === name)) return undefined;
      draft.osdmap((inc, map) => {
        changePool(inc, map, id, (p) => addPoolSnap(p, name, utimeFromMs(draft.nowMs), inc.epoch));
      });
      return undefined;
    case POOL_OP_DELETE_SNAP: {
      if (isSelfManagedSnaps(pool)) throw new Refusal(EINVAL, 'clients manage the snapshots of the pool');
      const snap = [...pool.snaps.values()].find((s) => s.name === name);
      if (snap === undefined) return undefined;
      draft.osdmap((inc, map) => {
        changePool(inc, map, id, (p) => removePoolSnap(inc, id, p, snap.id));
      });
      return undefined;
    }
    case POOL_OP_CREATE_UNMANAGED_SNAP: {
      const next = draft.osdmap((inc, map) => {
        changePool(inc, map, id, (p) => addUnmanagedSnap(p, inc.epoch));
      });
      return encoded((e) => e.u64b(next.pools.get(id)!.snapSeq));
    }
    case POOL_OP_DELETE_UNMANAGED_SNAP:
      if (isPoolSnaps(pool)) throw new Refusal(EINVAL, 'the pool has pool snapshots');
      if (snapId > pool.snapSeq || snapId === 0n) throw new Refusal(ENOENT, `no snapshot ${snapId}`);
      draft.osdmap((inc, map) => {
        changePool(inc, map, id, (p) => removeUnmanagedSnap(inc, id, p, snapId));
      });
      return undefined;
    default:
      throw new Refusal(ENOTSUP, `pool operation ${op} is not supported`);
  }
}
