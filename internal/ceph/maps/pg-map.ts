import type { PgId } from '../wire/types.ts';

/** A `map<pg_t, V>` without a key object per look-up. Iterates in the order of pg_t: pool, then seed. */
export class PgMap<V> {
  readonly #pools = new Map<number, Map<number, V>>();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(pool: number, seed: number): V | undefined {
    return this.#pools.get(pool)?.get(seed);
  }

  set(pool: number, seed: number, value: V): this {
    let seeds = this.#pools.get(pool);
    if (seeds === undefined) {
      seeds = new Map();
      this.#pools.set(pool, seeds);
    }
    if (!seeds.has(seed)) this.#size++;
    seeds.set(seed, value);
    return this;
  }

  delete(pool: number, seed: number): boolean {
    const seeds = this.#pools.get(pool);
    if (seeds?.delete(seed) !== true) return false;
    this.#size--;
    if (seeds.size === 0) this.#pools.delete(pool);
    return true;
  }

  *entries(): Generator<[PgId, V]> {
    for (const pool of [...this.#pools.keys()].sort((a, b) => a - b)) {
      const seeds = this.#pools.get(pool)!;
      for (const seed of [...seeds.keys()].sort((a, b) => a - b)) yield [{ pool, seed }, seeds.get(seed)!];
    }
  }

  clone(): PgMap<V> {
    const copy = new PgMap<V>();
    for (const [{ pool, seed }, value] of this.entries()) copy.set(pool, seed, value);
    return copy;
  }
}
