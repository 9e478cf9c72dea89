import {
  BUCKET_LIST,
  BUCKET_STRAW,
  BUCKET_STRAW2,
  BUCKET_TREE,
  BUCKET_UNIFORM,
  type CrushBucket,
  type CrushMap,
  type CrushTunables,
} from './map.ts';

/** A bucket that is in no map yet (`crush_make_bucket`). Weights are 16.16. */
export function makeBucket(
  tunables: CrushTunables,
  alg: number,
  hash: number,
  type: number,
  items: readonly number[],
  weights: readonly number[],
): CrushBucket {
  const bucket: CrushBucket = {
    id: 0,
    type,
    alg,
    hash,
    weight: 0,
    items: [...items],
    weights: [...weights],
    extra: [],
  };
  deriveBucket(bucket, tunables);
  return bucket;
}

/** Computes everything that follows from items and weights: the total, and what the algorithm keeps beside them. */
function deriveBucket(b: CrushBucket, tunables: CrushTunables): void {
  if (b.alg === BUCKET_UNIFORM) {
    // One weight for all.
    const weight = b.weights[0] ?? 0;
    b.weights = new Array<number>(Math.max(b.items.length, 1)).fill(weight);
    b.weight = weight * b.items.length;
    return;
  }
  b.weight = b.weights.reduce((sum, w) => sum + w, 0);
  if (b.alg === BUCKET_LIST) {
    let sum = 0;
    b.extra = b.weights.map((w) => {
      sum += w;
      return sum;
    });
  } else if (b.alg === BUCKET_TREE) b.extra = treeNodes(b.weights);
  else if (b.alg === BUCKET_STRAW) b.extra = strawLengths(b.weights, tunables.strawCalcVersion);
}

/** Weights of the nodes of the binary tree over the items: item i is the leaf 2i+1, a node's weight is that of its leaves. */
function treeNodes(weights: readonly number[]): number[] {
  const size = weights.length;
  if (size === 0) return [];
  let depth = 1;
  for (let t = size - 1; t > 0; t >>>= 1) depth++;
  const nodes = new Array<number>(2 ** depth).fill(0);
  weights.forEach((w, i) => {
    let node = 2 * i + 1;
    nodes[node] = w;
    for (let level = 1; level < depth; level++) {
      const low = node & -node;
      node = (node & (low << 1)) !== 0 ? node - low : node + low;
      nodes[node]! += w;
    }
  });
  return nodes;
}

/** `crush_calc_straw`: lengths by which the items draw in proportion to their weights. Version 0 is a historic mistake that old maps keep. */
function strawLengths(weights: readonly number[], version: number): number[] {
  const size = weights.length;
  const straws = new Array<number>(size).fill(0);
  // Ascending by weight, equal ones in order.
  const order = weights.map((_, i) => i).sort((a, b) => weights[a]! - weights[b]! || a - b);
  let left = size;
  let straw = 1;
  let below = 0;
  let last = 0;
  let i = 0;
  while (i < size) {
    const current = weights[order[i]!]!;
    if (current === 0) {
      i++;
      if (version > 0) left--;
      continue;
    }
    straws[order[i]!] = Math.trunc(straw * 0x10000);
    i++;
    if (i === size) break;
    const next = weights[order[i]!]!;
    if (version === 0) {
      if (next === current) continue;
      below += (current - last) * left;
      for (let j = i; j < size && weights[order[j]!] === next; j++) left--;
    } else {
      below += (current - last) * left;
      left--;
    }
    const above = left * (next - current);
    const share = below / (below + above);
    straw *= (1 / share) ** (1 / left);
    last = current;
  }
  return straws;
}

/** Lowest bucket id that is free. */
export function nextBucketId(map: CrushMap): number {
  let slot = 0;
  while (map.buckets[slot] !== undefined) slot++;
  return -1 - slot;
}

/** Puts a bucket into the map, under `id` or (0) the next free one; the table grows by doubling from 8. Returns the id. */
export function addBucket(map: CrushMap, id: number, bucket: CrushBucket): number {
  const taken = id === 0 ? nextBucketId(map) : id;
  const slot = -1 - taken;
  if (map.buckets[slot] !== undefined) throw new RangeError(`crush: bucket ${taken} exists`);
  let size = Math.max(map.buckets.length, 0);
  while (slot >= size) size = size === 0 ? 8 : size * 2;
  while (map.buckets.length < size) map.buckets.push(undefined);
  bucket.id = taken;
  map.buckets[slot] = bucket;
  for (const args of map.chooseArgs.values()) while (args.length < size) args.push(undefined);
  return taken;
}

export function appendItem(map: CrushMap, bucket: CrushBucket, item: number, weight: number): void {
  if (bucket.alg === BUCKET_UNIFORM && bucket.items.length === 0) bucket.weights = [weight];
  bucket.items.push(item);
  if (bucket.alg !== BUCKET_UNIFORM) bucket.weights.push(weight);
  deriveBucket(bucket, map.tunables);
}

export function removeItemAt(map: CrushMap, bucket: CrushBucket, at: number): void {
  bucket.items.splice(at, 1);
  if (bucket.alg !== BUCKET_UNIFORM) bucket.weights.splice(at, 1);
  deriveBucket(bucket, map.tunables);
}

export function setItemWeightAt(map: CrushMap, bucket: CrushBucket, at: number, weight: number): void {
  if (bucket.alg === BUCKET_UNIFORM) bucket.weights.fill(weight);
  else bucket.weights[at] = weight;
  deriveBucket(bucket, map.tunables);
}

/** Weight of the item at a position of the bucket. */
export function itemWeightAt(bucket: CrushBucket, at: number): number {
  return bucket.weights[bucket.alg === BUCKET_UNIFORM ? 0 : at] ?? 0;
}

/** `osd crush set-all-straw-buckets-to-straw2`: items and weights stay. Returns whether there was one. */
export function strawToStraw2(map: CrushMap): boolean {
  const straws = map.buckets.filter((bucket) => bucket?.alg === BUCKET_STRAW);
  for (const bucket of straws) {
    bucket!.alg = BUCKET_STRAW2;
    deriveBucket(bucket!, map.tunables);
  }
  return straws.length > 0;
}
