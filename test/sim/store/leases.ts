import { utf8 } from '../../../internal/base/bytes.ts';
import { errorCode } from '../../../internal/base/errors.ts';
import type { Store } from '../../../internal/store/api.ts';
import type { Life, SimulatedGroup } from './group.ts';
import { type Change, Violation } from './history.ts';
import type { World } from './world.ts';

interface KnownLease {
  readonly ttlMs: number;
  /** When the last renewal that was answered was asked for. */
  renewedAt: number;
  /** It is renewed until then. */
  readonly until: number;
  /** When a client was told that it is gone. */
  goneAt: number | undefined;
  /** When a watch was first told that its key is gone. */
  deletedAt: number | undefined;
}

const prefix = 'lease/';

/** Leases that are granted, renewed for a while, and left alone. */
export class Leases {
  readonly #known = new Map<bigint, KnownLease>();

  /** `keyed`: each lease has a key. */
  async use(store: Store, life: Life, world: World, keyed: boolean): Promise<void> {
    const kept = [...this.#known].filter(([, lease]) => lease.goneAt === undefined && world.now < lease.until);
    if (kept.length < 3 && world.chance(0.4)) {
      const ttl = 2 + (world.random.uint32() % 4);
      const asked = world.now;
      const { id, ttlSeconds } = await Promise.race([store.leaseGrant(ttl), life.ended.promise]);
      const until = asked + world.between(0, 15_000);
      this.#known.set(id, {
        ttlMs: ttlSeconds * 1000,
        renewedAt: asked,
        until,
        goneAt: undefined,
        deletedAt: undefined,
      });
      if (!keyed) return;
      const key = utf8(`${prefix}${id}`);
      await Promise.race([store.put({ key, value: key, lease: id }), life.ended.promise]);
      return;
    }
    if (kept.length === 0) return;
    const [id, lease] = world.pick(kept);
    const asked = world.now;
    try {
      await Promise.race([store.leaseKeepAlive(id), life.ended.promise]);
      lease.renewedAt = Math.max(lease.renewedAt, asked);
      checkDeleted(id, lease);
    } catch (error) {
      if (errorCode(error) !== 'LEASE_NOT_FOUND') throw error;
      lease.goneAt = world.now;
      if (asked < lease.renewedAt + lease.ttlMs && world.now < lease.renewedAt + lease.ttlMs)
        throw new Violation(
          `lease ${id} of ${lease.ttlMs} ms is gone ${world.now - lease.renewedAt} ms after it was renewed`,
        );
    }
  }

  /**
   * A watch was told of changes. Only the end of its lease deletes such a key, and never before the whole time since the last renewal: the clock by
   * which leases live neither jumps nor runs ahead.
   */
  told(changes: readonly Change[], now: number): void {
    for (const { type, key } of changes) {
      if (type !== 'delete' || !key.startsWith(prefix)) continue;
      const id = BigInt(key.slice(prefix.length));
      const lease = this.#known.get(id);
      // One whose grant was not answered is nobody's.
      if (lease === undefined) continue;
      lease.deletedAt ??= now;
      checkDeleted(id, lease);
    }
  }

  /**
   * No key outlives its lease. With `end`, the calm at the end was longer than any lease: long after the last renewal nothing may be left. `left` was
   * listed behind `keys`.
   */
  check(left: readonly bigint[], keys: ReadonlyMap<string, bigint>, group: SimulatedGroup, end: boolean): void {
    for (const [key, lease] of keys)
      if (this.#known.get(lease)?.goneAt !== undefined && !left.includes(lease))
        group.violate(new Violation(`${key} is still there, and its lease ${lease} is gone`));
    if (!end) return;
    for (const id of left) {
      const lease = this.#known.get(id);
      const idleMs = lease === undefined ? 0 : group.world.now - Math.max(lease.renewedAt, lease.until);
      if (lease !== undefined && idleMs > lease.ttlMs + 12_000)
        group.violate(new Violation(`lease ${id} of ${lease.ttlMs} ms is still there ${Math.round(idleMs)} ms later`));
    }
  }
}

/** Throws Violation when its key was gone before its time was over. */
function checkDeleted(id: bigint, { ttlMs, renewedAt, deletedAt }: KnownLease): void {
  if (deletedAt === undefined || deletedAt >= renewedAt + ttlMs) return;
  throw new Violation(
    `the key of lease ${id} of ${ttlMs} ms was deleted ${Math.round(deletedAt - renewedAt)} ms after it was renewed`,
  );
}
