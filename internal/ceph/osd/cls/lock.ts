import { compareText, Decoder, Encoder, encoded, type UTime, utimeZero } from '../../wire/encoding.ts';
import {
  ADDR_LEGACY,
  decodeAddr,
  decodeEntityNum,
  type EntityAddr,
  type EntityNum,
  encodeAddr,
  encodeEntityNum,
} from '../../wire/types.ts';
import { type ClassContext, ClassFailure, type ClassMethods, readMethod, writeMethod } from './context.ts';
import { EBUSY, EEXIST, EINVAL, ENOENT } from './errno.ts';
import { decodeStored } from './omap-values.ts';

const prefix = 'lock.';

const LOCK_NONE = 0;
const LOCK_EXCLUSIVE = 1;
const LOCK_SHARED = 2;
/** The object goes when the lock does. */
const LOCK_EPHEMERAL = 3;

const FLAG_MAY_RENEW = 1;
const FLAG_MUST_RENEW = 2;

interface Locker {
  name: EntityNum;
  cookie: string;
  /** Zero: never. */
  expiration: UTime;
  addr: EntityAddr;
  description: string;
}

/** `lock_info_t`, the value of the xattr `lock.NAME`. */
interface LockInfo {
  lockers: Locker[];
  type: number;
  tag: string;
}

function isTime(t: UTime): boolean {
  return t.sec !== 0 || t.nsec !== 0;
}
function before(a: UTime, b: UTime): boolean {
  return a.sec < b.sec || (a.sec === b.sec && a.nsec < b.nsec);
}

function compareLocker(a: Locker, b: Locker): number {
  return a.name.type - b.name.type || a.name.num - b.name.num || compareText(a.cookie, b.cookie);
}

function encodeInfo(e: Encoder, info: LockInfo): void {
  e.struct(1, 1, () => {
    e.list([...info.lockers].sort(compareLocker), (x, l) => {
      x.struct(1, 1, () => {
        encodeEntityNum(x, l.name);
        x.string(l.cookie);
      });
      x.struct(1, 1, () => {
        x.utime(l.expiration);
        encodeAddr(x, l.addr);
        x.string(l.description);
      });
    });
    e.u8(info.type).string(info.tag);
  });
}

function decodeInfo(d: Decoder): LockInfo {
  return d.struct('lock_info_t', 1, () => ({
    lockers: d.list((x) => {
      const id = x.struct('locker_id_t', 1, () => ({ name: decodeEntityNum(x), cookie: x.string() }));
      const rest = x.struct('locker_info_t', 1, () => ({
        expiration: x.utime(),
        addr: decodeAddr(x),
        description: x.string(),
      }));
      return { ...id, ...rest };
    }, 40),
    type: d.u8(),
    tag: d.string(),
  }));
}

/** The lock without the lockers whose time is over. */
function readLock(ctx: ClassContext, name: string): LockInfo {
  const bytes = ctx.xattr(prefix + name);
  if (bytes === undefined) return { lockers: [], type: LOCK_NONE, tag: '' };
  const info = decodeStored(bytes, decodeInfo);
  const now = ctx.now();
  info.lockers = info.lockers.filter((l) => !isTime(l.expiration) || !before(l.expiration, now));
  return info;
}

/** As `readLock`, for methods that need the object. */
function readExisting(ctx: ClassContext, name: string): LockInfo {
  if (ctx.stat() === undefined) throw new ClassFailure(ENOENT);
  return readLock(ctx, name);
}

function writeLock(ctx: ClassContext, name: string, info: LockInfo): void {
  ctx.setXattr(
    prefix + name,
    encoded((e) => encodeInfo(e, info)),
  );
}

function isValid(type: number): boolean {
  return type === LOCK_EXCLUSIVE || type === LOCK_SHARED || type === LOCK_EPHEMERAL;
}

function holds(l: Locker, name: EntityNum, cookie: string): boolean {
  return l.name.type === name.type && l.name.num === name.num && l.cookie === cookie;
}

function lock(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const op = d.struct('cls_lock_lock_op', 1, () => ({
    name: d.string(),
    type: d.u8(),
    cookie: d.string(),
    tag: d.string(),
    description: d.string(),
    duration: d.utime(),
    flags: d.u8(),
  }));
  const mustBeNew = (op.flags & FLAG_MAY_RENEW) === 0;
  const mustRenew = (op.flags & FLAG_MUST_RENEW) !== 0;
  if (!isValid(op.type) || op.name === '' || (!mustBeNew && mustRenew)) throw new ClassFailure(EINVAL);
  const info = readLock(ctx, op.name);
  if (info.lockers.length > 0 && op.tag !== info.tag) throw new ClassFailure(EBUSY);
  const others = info.lockers.filter((l) => !holds(l, ctx.client, op.cookie));
  if (others.length < info.lockers.length) {
    if (mustBeNew && !mustRenew) throw new ClassFailure(EEXIST);
  } else if (mustRenew) throw new ClassFailure(ENOENT);
  if (others.length > 0 && (op.type !== LOCK_SHARED || info.type !== op.type)) throw new ClassFailure(EBUSY);
  let expiration = utimeZero;
  if (isTime(op.duration)) {
    const now = ctx.now();
    const nsec = now.nsec + op.duration.nsec;
    expiration = { sec: now.sec + op.duration.sec + Math.floor(nsec / 1e9), nsec: nsec % 1e9 };
  }
  // The address identifies the client whatever way it speaks: stored with one type.
  const addr = { ...ctx.clientAddr, type: ADDR_LEGACY };
  others.push({ name: ctx.client, cookie: op.cookie, expiration, addr, description: op.description });
  writeLock(ctx, op.name, { lockers: others, type: op.type, tag: op.tag });
}

function removeLocker(ctx: ClassContext, name: string, locker: EntityNum, cookie: string): void {
  const info = readExisting(ctx, name);
  const left = info.lockers.filter((l) => !holds(l, locker, cookie));
  if (left.length === info.lockers.length) throw new ClassFailure(ENOENT);
  if (info.type === LOCK_EPHEMERAL) ctx.remove();
  else writeLock(ctx, name, { ...info, lockers: left });
}

function unlock(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const op = d.struct('cls_lock_unlock_op', 1, () => ({ name: d.string(), cookie: d.string() }));
  removeLocker(ctx, op.name, ctx.client, op.cookie);
}

function breakLock(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  const op = d.struct('cls_lock_break_op', 1, () => ({
    name: d.string(),
    locker: decodeEntityNum(d),
    cookie: d.string(),
  }));
  removeLocker(ctx, op.name, op.locker, op.cookie);
}

function getInfo(ctx: ClassContext, input: Uint8Array): Uint8Array {
  const d = new Decoder(input);
  const name = d.struct('cls_lock_get_info_op', 1, () => d.string());
  const info = readExisting(ctx, name);
  const e = new Encoder();
  encodeInfo(e, info);
  return e.finish();
}

function listLocks(ctx: ClassContext): Uint8Array {
  const names = [...ctx.xattrs().keys()].filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
  return encoded((e) => e.struct(1, 1, () => e.stringSet(names)));
}

/** The lock held by the caller as it says, else EBUSY. */
function heldByCaller(ctx: ClassContext, d: Decoder): { name: string; cookie: string; info: LockInfo } {
  const op = { name: d.string(), type: d.u8(), cookie: d.string(), tag: d.string() };
  if (!isValid(op.type) || op.name === '') throw new ClassFailure(EINVAL);
  const info = readExisting(ctx, op.name);
  const mine = info.lockers.some((l) => holds(l, ctx.client, op.cookie));
  if (!mine || info.type !== op.type || info.tag !== op.tag) throw new ClassFailure(EBUSY);
  return { name: op.name, cookie: op.cookie, info };
}

function assertLocked(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  d.struct('cls_lock_assert_op', 1, () => {
    heldByCaller(ctx, d);
  });
}

function setCookie(ctx: ClassContext, input: Uint8Array): void {
  const d = new Decoder(input);
  d.struct('cls_lock_set_cookie_op', 1, () => {
    const { name, cookie, info } = heldByCaller(ctx, d);
    const next = d.string();
    if (info.lockers.some((l) => holds(l, ctx.client, next))) throw new ClassFailure(EBUSY);
    const lockers = info.lockers.map((l) => (holds(l, ctx.client, cookie) ? { ...l, cookie: next } : l));
    writeLock(ctx, name, { ...info, lockers });
  });
}

/** Class `lock` (`src/cls/lock`): advisory locks on objects, used by librbd, krbd and CephFS tools. */
export const lockMethods: ClassMethods = {
  lock: writeMethod(lock),
  unlock: writeMethod(unlock),
  break_lock: writeMethod(breakLock),
  get_info: readMethod(getInfo),
  list_locks: readMethod(listLocks),
  assert_locked: readMethod(assertLocked),
  set_cookie: writeMethod(setCookie),
};
