import type { ErasureCode } from './code.ts';

/** Twice each of four bytes, in the field. */
function twice(x: number): number {
  return ((x & 0x7f7f7f7f) << 1) ^ (((x >>> 7) & 0x01010101) * 0x1d);
}

/**
 * A checksum that the code preserves: a polynomial in 2 over the field, four bytes side by side. The checksums of an object's shards are shards of each other
 * as the data are, so that they can be checked against each other without moving data. `bytes` are a multiple of 4; begin with 0 and go on with the result.
 */
export function shardDigest(digest: number, bytes: Uint8Array): number {
  const words =
    bytes.byteOffset % 4 === 0
      ? new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >> 2)
      : new Uint32Array(bytes.slice().buffer, 0, bytes.length >> 2);
  let sum = digest;
  for (let i = 0; i < words.length; i++) sum = twice(sum) ^ words[i]!;
  return sum >>> 0;
}

function chunkOf(digest: number): Uint8Array {
  return new Uint8Array(Uint32Array.of(digest).buffer);
}

function agree(code: ErasureCode, digests: ReadonlyMap<number, number>): boolean {
  const chunks = new Map([...digests].map(([shard, digest]) => [shard, chunkOf(digest)] as const));
  const kept = new Map([...chunks].sort(([a], [b]) => a - b).slice(0, code.k));
  const others = [...chunks.keys()].filter((shard) => !kept.has(shard));
  const made = code.rebuild(kept, others);
  return others.every((shard) => Buffer.compare(made.get(shard)!, chunks.get(shard)!) === 0);
}

/** The shard whose checksum does not go with the others, none if all do; undefined: they disagree, and which is wrong cannot be told. */
export function wrongShards(code: ErasureCode, digests: ReadonlyMap<number, number>): number[] | undefined {
  if (digests.size <= code.k || agree(code, digests)) return [];
  for (const shard of digests.keys()) {
    const rest = new Map([...digests].filter(([other]) => other !== shard));
    if (rest.size > code.k && agree(code, rest)) return [shard];
  }
  return undefined;
}
