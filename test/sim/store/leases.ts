import { utf8 } from '../../../internal/base/bytes.ts';
import { errorCode } from '../../../internal/base/errors.ts';
import type { Store } from '../../../internal/store/api.ts';
import type { Life, SimulatedGroup } from './group.ts';
import { Violation } from './history.ts';
import type { World } from './world.ts';

/** Leases that are granted, renewed for a while, and left alone. */
export class Leases {
  readonly #known = new Map<bigint, { ttlMs: number; renewedAt: number; until: number; goneAt: number | undefined }>();

  /** `keyed`: each lease has a key. */
  async use(store: Store, life: Life, world: World, keyed: boolean): Promise<void> {
    const kept = [...this.#known].filter(([, lease]) => lease.goneAt === undefined && world.now < lease.until);
    if (kept.length < 3 && world.chance(0.4)) {
      const ttl = 2 + (world.random.uint32() % 4);
      const asked = world.now;
      const { id, ttlSeconds } = await Promise.race([store.leaseGrant(ttl), life.ended.promise]);
      const until = asked + world.between(0, 15_000);
      this.#known.set(id, { ttlMs: ttlSeconds * 1000, renewedAt: asked, until, goneAt: undefined });
      if (!keyed) return;
      const key = utf8(`lease/${id}`);
      await Promise.race([store.put({ key, value: key, lease: id }), life.ended.promise]);
      return;
    }
    if (kept.length === 0) return;
    const [id, lease] = world.pick(kept);
    const asked = world.now;
    try {
      await Promise.race([store.leaseKeepAlive(id), life.ended.promise]);
      lease.renewedAt = Math.max(lease.renewedAt, asked);
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
