import { emptyBytes } from '../../base/bytes.ts';
import { type Clock, sleep } from '../../base/clock.ts';
import { AppError } from '../../base/errors.ts';
import { Decoder, type Encoder, encoded, utimeZero } from '../wire/encoding.ts';
import { OsdOp } from '../wire/messages/osd_op.ts';
import {
  addrHostPort,
  decodeAddr,
  decodeEntityNum,
  type EntityAddr,
  type EntityNum,
  encodeEntityNum,
  entityNumText,
} from '../wire/types.ts';
import { EBUSY, EEXIST, ENOENT, isRadosError } from './errors.ts';
import type { PoolIo } from './ioctx.ts';
import type { Watch } from './linger.ts';

/** cls_lock (`src/cls/lock/cls_lock_ops.h`) and the exclusive lock of rbd images (`src/librbd/ManagedLock.cc`). */

export const RBD_LOCK = 'rbd_lock';
const RBD_TAG = 'internal';
const LOCK_EXCLUSIVE = 1;
const NOTIFY_ACQUIRED_LOCK = 0;
const NOTIFY_RELEASED_LOCK = 1;
const NOTIFY_REQUEST_LOCK = 2;
const NOTIFY_HEADER_UPDATE = 3;
const askEveryMs = 2_000;
const notifyTimeoutMs = 5_000;

function struct1(write: (e: Encoder) => void): Uint8Array {
  return encoded((e) => e.struct(1, 1, write));
}

export function lockOp(cookie: string, tag: string): OsdOp {
  const input = struct1((e) =>
    e.string(RBD_LOCK).u8(LOCK_EXCLUSIVE).string(cookie).string(tag).string('').utime(utimeZero).u8(0),
  );
  return OsdOp.call('lock', 'lock', input);
}
export function assertLockedOp(cookie: string, tag: string): OsdOp {
  const input = struct1((e) => e.string(RBD_LOCK).u8(LOCK_EXCLUSIVE).string(cookie).string(tag));
  return OsdOp.call('lock', 'assert_locked', input);
}
export function unlockOp(cookie: string): OsdOp {
  return OsdOp.call(
    'lock',
    'unlock',
    struct1((e) => e.string(RBD_LOCK).string(cookie)),
  );
}
function breakLockOp(locker: EntityNum, cookie: string): OsdOp {
  const input = struct1((e) => {
    e.string(RBD_LOCK);
    encodeEntityNum(e, locker);
    e.string(cookie);
  });
  return OsdOp.call('lock', 'break_lock', input);
}

export interface Locker {
  entity: EntityNum;
  cookie: string;
  addr: EntityAddr;
}

/** Who holds the rbd lock of an object. */
export async function lockersOf(io: PoolIo, oid: string): Promise<Locker[]> {
  let reply: Uint8Array;
  try {
    reply = await io.exec(
      oid,
      'lock',
      'get_info',
      struct1((e) => e.string(RBD_LOCK)),
    );
  } catch (error) {
    if (isRadosError(error, ENOENT)) return [];
    throw error;
  }
  return new Decoder(reply).struct('cls_lock_get_info_reply', 1, (d) =>
    d.list((x): Locker => {
      const id = x.struct('locker_id_t', 1, (y) => ({ entity: decodeEntityNum(y), cookie: y.string() }));
      const addr = x.struct('locker_info_t', 1, (y) => {
        y.utime();
        return decodeAddr(y);
      });
      return { ...id, addr };
    }, 12),
  );
}

/** The kind of a notification on an image's header; -1 when it is none that we know. */
function notifyOp(payload: Uint8Array): number {
  try {
    return new Decoder(payload).struct('NotifyMessage', 7, (d) => d.u32());
  } catch {
    return -1;
  }
}

/** Takes the lock of an object map, which belongs to who holds the header's lock: that of a client that died is broken. */
export async function lockObjectMap(io: PoolIo, oid: string): Promise<void> {
  const { result } = await io.tryRun(oid, [lockOp('', '')], true);
  if (result === 0) return;
  if (result === EBUSY)
    for (const holder of await lockersOf(io, oid))
      await io.tryRun(oid, [breakLockOp(holder.entity, holder.cookie)], true);
  await io.run(oid, [lockOp('', '')], true);
}

/** What the lock needs of its owner. */
export interface LockEnvironment {
  io: PoolIo;
  clock: Clock;
  globalId: bigint;
  /** Keeps a dead client's late writes out before its lock is broken (`ceph osd blocklist add`). */
  blocklist: (addr: EntityAddr) => Promise<void>;
}

/** A watch on an image's header and, when taken, its exclusive lock. */
export class HeaderLock {
  readonly #env: LockEnvironment;
  readonly #oid: string;
  readonly #watch: Watch;
  #held = false;
  readonly #released: { wake: (() => void) | undefined };

  private constructor(env: LockEnvironment, oid: string, watch: Watch, released: { wake: (() => void) | undefined }) {
    this.#env = env;
    this.#oid = oid;
    this.#watch = watch;
    this.#released = released;
  }

  static async open(env: LockEnvironment, oid: string): Promise<HeaderLock> {
    const released: { wake: (() => void) | undefined } = { wake: undefined };
    const watch = await env.io.watch(
      oid,
      (payload) => {
        if (notifyOp(payload) === NOTIFY_RELEASED_LOCK) released.wake?.();
        return emptyBytes;
      },
      () => undefined,
    );
    return new HeaderLock(env, oid, watch, released);
  }

  get cookie(): string {
    return `auto ${this.#watch.cookie}`;
  }

  /** Goes before an op on the header that only the lock's holder may do. */
  assertOp(): OsdOp {
    return assertLockedOp(this.cookie, RBD_TAG);
  }

  #message(op: number, ...rest: number[]): Uint8Array {
    return encoded((e) => {
      const at = e.open(7, 1);
      e.u32(op);
      if (op !== NOTIFY_HEADER_UPDATE) e.u64b(this.#env.globalId).u64b(this.#watch.cookie);
      for (const byte of rest) e.u8(byte);
      e.close(at);
    });
  }

  async #tell(op: number, ...rest: number[]): Promise<void> {
    await this.#env.io.notify(this.#oid, this.#message(op, ...rest), notifyTimeoutMs);
  }

  /** Takes the exclusive lock; asks a living holder to give it up, breaks a dead one's. RadosError-free: AppError IMAGE_IN_USE after `waitMs`. */
  async acquire(waitMs: number): Promise<void> {
    const { io, clock } = this.#env;
    const deadline = clock.monotonic() + waitMs;
    for (;;) {
      const { result } = await io.tryRun(this.#oid, [lockOp(this.cookie, RBD_TAG)], true);
      if (result === 0) break;
      if (result !== EBUSY && result !== EEXIST) {
        await io.run(this.#oid, [lockOp(this.cookie, RBD_TAG)], true);
        break;
      }
      const holders = await lockersOf(io, this.#oid);
      const holder = holders[0];
      if (holder === undefined) continue;
      if (await this.#isDead(holder)) {
        await this.#env.blocklist(holder.addr);
        await io.tryRun(this.#oid, [breakLockOp(holder.entity, holder.cookie)], true);
        continue;
      }
      if (clock.monotonic() > deadline)
        throw new AppError(
          'IMAGE_IN_USE',
          `${this.#oid} is locked by ${entityNumText(holder.entity)} at ${addrHostPort(holder.addr)}`,
          {
            hint: 'unmap the image there, or wait until its client gives the exclusive lock up',
          },
        );
      await this.#askForRelease();
    }
    this.#held = true;
    await this.#tell(NOTIFY_ACQUIRED_LOCK);
  }

  /**
   * Asks the holder and comes back when it has let go, or after a while. A busy client takes the lock again within milliseconds: so nothing
   * is awaited between its announcement and our next try.
   */
  async #askForRelease(): Promise<void> {
    const aborted = new AbortController();
    const released = new Promise<void>((resolve) => {
      this.#released.wake = resolve;
    });
    const asked = this.#tell(NOTIFY_REQUEST_LOCK, 0).catch(() => undefined);
    await Promise.race([released, sleep(this.#env.clock, askEveryMs, aborted.signal)]);
    aborted.abort();
    this.#released.wake = undefined;
    void asked;
  }

  /** A holder that does not watch the header any more cannot be asked. */
  async #isDead(holder: Locker): Promise<boolean> {
    const watchers = await this.#env.io.listWatchers(this.#oid);
    const cookie = /^auto (\d+)$/.exec(holder.cookie)?.[1];
    const entity = entityNumText(holder.entity);
    return !watchers.some((w) => w.entity === entity && (cookie === undefined || w.cookie === BigInt(cookie)));
  }

  /** Watchers of the header other than we. */
  async otherWatchers(): Promise<string[]> {
    const watchers = await this.#env.io.listWatchers(this.#oid);
    const us = `client.${this.#env.globalId}`;
    return watchers.filter((w) => w.entity !== us || w.cookie !== this.#watch.cookie).map((w) => w.entity);
  }

  async release(): Promise<void> {
    if (!this.#held) return;
    this.#held = false;
    await this.#env.io.run(this.#oid, [unlockOp(this.cookie)], true);
    await this.#tell(NOTIFY_RELEASED_LOCK);
  }

  /** Tells all who have the image open to read its header again. */
  headerUpdated(): Promise<void> {
    return this.#tell(NOTIFY_HEADER_UPDATE);
  }

  async close(): Promise<void> {
    await this.release();
    await this.#watch.close();
  }
}
