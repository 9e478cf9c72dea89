/**
 * How an object lies in chunks (`ECUtil::stripe_info_t`): stripes of k times `chunkBytes`, each cut into one piece for every data shard. A shard's object
 * is its pieces one behind the other; the last stripe is filled up with zeros.
 */
export interface StripeLayout {
  k: number;
  chunkBytes: number;
}

export function stripeBytes({ k, chunkBytes }: StripeLayout): number {
  return k * chunkBytes;
}

/** Length of each shard's object for an object of `size` bytes. */
export function shardSize(layout: StripeLayout, size: number): number {
  return Math.ceil(size / stripeBytes(layout)) * layout.chunkBytes;
}

/**
 * Calls `piece` for each piece of the `length` bytes from byte `at` of whole stripes on, in order: they are those of data shard `shard` from byte `from` of
 * what it holds of the stripes.
 */
function forEachPiece(
  { k, chunkBytes }: StripeLayout,
  at: number,
  length: number,
  piece: (shard: number, from: number, count: number) => void,
): void {
  const chunk = Math.floor(at / chunkBytes);
  let shard = chunk % k;
  let stripeAt = Math.floor(chunk / k) * chunkBytes;
  let within = at % chunkBytes;
  for (let left = length; left > 0; ) {
    const count = Math.min(left, chunkBytes - within);
    piece(shard, stripeAt + within, count);
    left -= count;
    within = 0;
    shard++;
    if (shard < k) continue;
    shard = 0;
    stripeAt += chunkBytes;
  }
}

/** Puts `bytes`, which lie at `at` of some whole stripes, where the k data shards have them; `shards`: what each holds of these stripes. */
export function scatter(layout: StripeLayout, shards: readonly Uint8Array[], at: number, bytes: Uint8Array): void {
  let done = 0;
  forEachPiece(layout, at, bytes.length, (shard, from, count) => {
    shards[shard]!.set(count === bytes.length ? bytes : bytes.subarray(done, done + count), from);
    done += count;
  });
}

/** The same with zeros. */
export function scatterZeros(layout: StripeLayout, shards: readonly Uint8Array[], at: number, length: number): void {
  forEachPiece(layout, at, length, (shard, from, count) => shards[shard]!.fill(0, from, from + count));
}

/** The reverse: fills `out` with what lies at `at`. Shards that have nothing of that may be left out. */
export function gather(
  layout: StripeLayout,
  shards: ReadonlyMap<number, Uint8Array>,
  at: number,
  out: Uint8Array,
): void {
  let done = 0;
  forEachPiece(layout, at, out.length, (shard, from, count) => {
    out.set(shards.get(shard)!.subarray(from, from + count), done);
    done += count;
  });
}
