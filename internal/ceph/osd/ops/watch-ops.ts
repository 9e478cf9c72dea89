import { Decoder, Encoder } from '../../wire/encoding.ts';
import {
  type OsdOp,
  WATCH_OP_LEGACY_WATCH,
  WATCH_OP_PING,
  WATCH_OP_RECONNECT,
  WATCH_OP_UNWATCH,
  WATCH_OP_WATCH,
} from '../../wire/messages/osd_op.ts';
import { encodeAddr, encodeEntityNum, SNAP_DIR, SNAP_HEAD } from '../../wire/types.ts';
import { EINVAL, ENOENT, ENOTCONN, EOPNOTSUPP, ETIMEDOUT } from './errno.ts';
import { defaultNotifyTimeoutSec, defaultWatchTimeoutSec } from './limits.ts';
import type { OpContext, OpResult } from './op-context.ts';

/** WATCH in its variants: the watch is kept in the object's info; who is connected is a side effect. */
export function watch(ctx: OpContext, op: OsdOp): number {
  if (!ctx.exists) return ENOENT;
  const { name, addr } = ctx.requester;
  const { cookie } = op;
  const present = ctx.info.watchers.find(
    (w) => w.cookie === cookie && w.name.type === name.type && w.name.num === name.num,
  );
  switch (op.watchOp) {
    case WATCH_OP_WATCH:
    case WATCH_OP_LEGACY_WATCH: {
      const timeoutSec = op.watchTimeout === 0 ? defaultWatchTimeoutSec : op.watchTimeout;
      const info = present ?? { name, cookie, timeoutSec, addr };
      if (present === undefined) {
        ctx.info = { ...ctx.info, watchers: [...ctx.info.watchers, info] };
        ctx.modified = true;
      }
      ctx.sideEffects.watch.push({ info, pings: op.watchOp === WATCH_OP_WATCH });
      return 0;
    }
    case WATCH_OP_RECONNECT:
      if (present === undefined) return ENOTCONN;
      ctx.sideEffects.watch.push({ info: present, pings: true });
      return 0;
    case WATCH_OP_PING: {
      if (present === undefined) return ENOTCONN;
      const live = ctx.host.watcher(ctx.obc, name, cookie);
      if (live === undefined || !live.connected) return ETIMEDOUT;
      ctx.sideEffects.watch.push({ info: present, pings: true });
      return 0;
    }
    case WATCH_OP_UNWATCH:
      if (present !== undefined) {
        ctx.info = { ...ctx.info, watchers: ctx.info.watchers.filter((w) => w !== present) };
        ctx.modified = true;
        ctx.sideEffects.unwatch.push({ name, cookie });
      }
      return 0;
    default:
      return EOPNOTSUPP;
  }
}

/** NOTIFY: answers with the id at once; completion comes by MWatchNotify. */
export function notify(ctx: OpContext, op: OsdOp, result: OpResult): number {
  if (!ctx.exists) return ENOENT;
  let timeoutSec = 0;
  let payload: Uint8Array = new Uint8Array(0);
  try {
    const d = new Decoder(op.input);
    d.u32();
    timeoutSec = d.u32();
    payload = d.blob();
  } catch {
    timeoutSec = 0;
  }
  if (timeoutSec === 0) timeoutSec = defaultNotifyTimeoutSec;
  const id = ctx.host.nextNotifyId();
  result.out = [new Encoder(8).u64b(id).finish()];
  ctx.sideEffects.notify.push({ id, cookie: op.cookie, timeoutSec, payload });
  return 0;
}

export function notifyAck(ctx: OpContext, op: OsdOp): number {
  const d = new Decoder(op.input);
  let id: bigint;
  let cookie: bigint | undefined;
  let reply: Uint8Array = new Uint8Array(0);
  if (op.input.length >= 8) {
    id = d.u64b();
    if (d.remaining >= 8) cookie = d.u64b();
    if (d.remaining >= 4) reply = d.blob();
  } else id = op.cookie;
  ctx.sideEffects.notifyAck.push({ id, cookie, reply });
  return 0;
}

export function listWatchers(ctx: OpContext, _op: OsdOp, result: OpResult): number {
  if (!ctx.exists) return ENOENT;
  const e = new Encoder();
  e.struct(1, 1, () =>
    e.list(ctx.info.watchers, (_, w) =>
      e.struct(2, 1, () => {
        encodeEntityNum(e, w.name);
        e.u64b(w.cookie).u32(w.timeoutSec);
        encodeAddr(e, w.addr);
      }),
    ),
  );
  result.out = [e.finish()];
  return 0;
}

/** LIST_SNAPS: clones oldest first, then the head when it is there. */
export function listSnaps(ctx: OpContext, _op: OsdOp, result: OpResult): number {
  if (ctx.message.snapId !== SNAP_DIR) return EINVAL;
  const { snapset } = ctx.obc;
  const e = new Encoder();
  e.struct(2, 1, () => {
    e.u32(snapset.clones.length + (ctx.exists ? 1 : 0));
    const clone = (
      id: bigint,
      snaps: readonly bigint[],
      overlap: readonly (readonly [number, number])[],
      size: number,
    ) =>
      e.struct(1, 1, () => {
        e.u64b(id)
          .list(snaps, (x, s) => x.u64b(s))
          .list(overlap, (x, [offset, length]) => x.u64(offset).u64(length))
          .u64(size);
      });
    for (const c of snapset.clones) clone(c.id, [...c.snaps].reverse(), c.overlap, c.size);
    if (ctx.exists) clone(SNAP_HEAD, [], [], ctx.info.size);
    e.u64b(snapset.seq);
  });
  result.out = [e.finish()];
  return 0;
}
