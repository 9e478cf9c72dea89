import { crcBlockBytes, joinBlockCrcs, knownBlockCrcs, noteBlockCrcs, noteCrc32c } from '../../base/crc32c.ts';
import type { StripeLayout } from './layout.ts';

/** Block `i` of whole stripes is block `from` of what data shard `shard` has of them. */
function placeOf({ k, chunkBytes }: StripeLayout, i: number): { shard: number; from: number } {
  const perChunk = chunkBytes / crcBlockBytes;
  const chunk = Math.floor(i / perChunk);
  return { shard: chunk % k, from: Math.floor(chunk / k) * perChunk + (i % perChunk) };
}

function note(bytes: Uint8Array, crcs: Uint32Array): void {
  noteBlockCrcs(bytes, crcs);
  noteCrc32c(bytes, joinBlockCrcs(crcs));
}

/** What is known of the checksums of `stripes`, all of which `scatter` put to `shards`, is known of the shards from then on. Nobody may change them any more. */
export function scatterCrcs(layout: StripeLayout, shards: readonly Uint8Array[], stripes: Uint8Array): void {
  const known = layout.chunkBytes % crcBlockBytes === 0 ? knownBlockCrcs(stripes) : undefined;
  if (known === undefined || stripes.length !== layout.k * shards[0]!.length) return;
  const crcs = shards.map((shard) => new Uint32Array(shard.length / crcBlockBytes));
  for (let i = 0; i < known.length; i++) {
    const { shard, from } = placeOf(layout, i);
    crcs[shard]![from] = known[i]!;
  }
  shards.forEach((shard, n) => {
    note(shard, crcs[n]!);
  });
}

/** What is known of the checksums of `shards` is known of `out`, which `gather` made of them from `at` on. */
export function gatherCrcs(
  layout: StripeLayout,
  shards: ReadonlyMap<number, Uint8Array>,
  at: number,
  out: Uint8Array,
): void {
  if (layout.chunkBytes % crcBlockBytes !== 0 || at % crcBlockBytes !== 0 || out.length % crcBlockBytes !== 0) return;
  const known = new Map<number, Uint32Array>();
  for (const [shard, bytes] of shards) {
    const crcs = knownBlockCrcs(bytes);
    if (crcs === undefined) return;
    known.set(shard, crcs);
  }
  const crcs = new Uint32Array(out.length / crcBlockBytes);
  for (let i = 0; i < crcs.length; i++) {
    const { shard, from } = placeOf(layout, at / crcBlockBytes + i);
    crcs[i] = known.get(shard)![from]!;
  }
  note(out, crcs);
}
