import { stableMod } from './object-hash.ts';

/**
 * How a pool's PGs split and merge when its pg_num changes. A PG is named by its seed; its objects are those whose hash `stableMod` maps to the seed.
 */

/** The PG that has the objects of `seed` when the pool has `pgNum` PGs: itself, or what it was split from or merges into. */
export function seedAt(seed: number, pgNum: number): number {
  return stableMod(seed, pgNum);
}

/** PGs that split from `seed` when pg_num grows from `before` to `after`, ascending. */
export function childSeeds(seed: number, before: number, after: number): number[] {
  const out: number[] = [];
  if (seed >= before) return out;
  for (let child = before; child < after; child++) if (stableMod(child, before) === seed) out.push(child);
  return out;
}

/** Whether a change of pg_num (or of its pending value) between `a` and `b` splits the PG, merges it, or makes it a part of another. */
export function touchedByPgNum(seed: number, a: number, b: number): boolean {
  const low = Math.min(a, b);
  const high = Math.max(a, b);
  return (seed >= low && seed < high) || (low > 0 && childSeeds(seed, low, high).length > 0);
}

/** How many of the low bits of a hash decide that an object is in this PG. */
function hashBits(seed: number, pgNum: number): number {
  const bits = pgNum <= 1 ? 0 : 32 - Math.clz32(pgNum - 1);
  const half = bits === 0 ? 0 : 2 ** (bits - 1);
  // The PG that would take the other half of its hashes does not exist.
  return bits > 0 && seed < half && seed + half >= pgNum ? bits - 1 : bits;
}

/** The PG's hashes, bits reversed, as a range [first, end) of 0..2^32: in the order of objects every PG is one stretch. */
export function reversedHashRange(seed: number, pgNum: number): { first: number; end: number } {
  let first = 0;
  for (let bit = 0; bit < 32; bit++) if (Math.floor(seed / 2 ** bit) % 2 === 1) first += 2 ** (31 - bit);
  return { first, end: first + 2 ** (32 - hashBits(seed, pgNum)) };
}

/** What a PG is while `pg_num_pending` is below pg_num (`pg_pool_t::is_pending_merge`): it goes into another, takes another in, or neither. */
export function pendingMerge(
  seed: number,
  { pgNum, pgNumPending }: { pgNum: number; pgNumPending: number },
): 'source' | 'target' | undefined {
  if (pgNumPending >= pgNum) return undefined;
  if (seed >= pgNumPending) return seed < pgNum ? 'source' : undefined;
  return childSeeds(seed, pgNumPending, pgNum).length > 0 ? 'target' : undefined;
}
