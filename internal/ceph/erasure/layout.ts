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

/** The data shards' pieces of whole stripes, each shard's in one piece of memory. */
export function splitStripes(layout: StripeLayout, stripes: Uint8Array): Uint8Array[] {
  const { k, chunkBytes } = layout;
  const count = stripes.length / stripeBytes(layout);
  if (k === 1) return [stripes];
  const out = Array.from({ length: k }, () => new Uint8Array(count * chunkBytes));
  for (let stripe = 0, at = 0; stripe < count; stripe++)
    for (let shard = 0; shard < k; shard++, at += chunkBytes)
      out[shard]!.set(stripes.subarray(at, at + chunkBytes), stripe * chunkBytes);
  return out;
}

/** The reverse: whole stripes from what the k data shards hold of them. */
export function joinStripes(layout: StripeLayout, shards: readonly Uint8Array[]): Uint8Array {
  const { k, chunkBytes } = layout;
  if (k === 1) return shards[0]!;
  const count = shards[0]!.length / chunkBytes;
  const out = new Uint8Array(count * stripeBytes(layout));
  for (let stripe = 0, at = 0; stripe < count; stripe++)
    for (let shard = 0; shard < k; shard++, at += chunkBytes)
      out.set(shards[shard]!.subarray(stripe * chunkBytes, (stripe + 1) * chunkBytes), at);
  return out;
}
