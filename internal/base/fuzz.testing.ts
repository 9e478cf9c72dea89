import { heapStats } from 'bun:jsc';
import { ByteWriter, concatBytes, DecodeError } from './bytes.ts';
import { type Random, seededRandom } from './random.ts';

/** How many inputs each fuzz test makes: `FUZZ_COUNT=1000000` for a long run; CI makes 20,000. */
export const fuzzCount = Number(process.env.FUZZ_COUNT ?? (process.env.CI ? 20_000 : 3000));
/** `FUZZ_SEED` for another path. */
export const fuzzSeed = Number(process.env.FUZZ_SEED ?? 1);

/**
 * What a test of parsers may leave behind. `held` is of this thread alone; the process's memory, which also tells of what was taken and given back, is asked in long runs
 * only: in others the files of many tests share it.
 */
export function memoryUse(): { heldBytes: number; processBytes: number } {
  Bun.gc(true);
  const { heapSize, extraMemorySize } = heapStats();
  return {
    heldBytes: heapSize + extraMemorySize,
    processBytes: process.env.FUZZ_COUNT === undefined ? 0 : process.memoryUsage.rss(),
  };
}

/** How much more it is than before, the larger of both, in MiB. */
export function memoryGrowthMiB(before: ReturnType<typeof memoryUse>): number {
  const now = memoryUse();
  return Math.max(now.heldBytes - before.heldBytes, now.processBytes - before.processBytes) / 2 ** 20;
}

/** A damaged copy: a few bytes or the length changed; sometimes a big number planted where a count may be. */
export function mutate(random: Random, bytes: Uint8Array): Uint8Array {
  const length = random.uint32() % 4 === 0 ? random.uint32() % (bytes.length + 1) : bytes.length;
  // Not `slice`: that of a Buffer shares its bytes.
  const out = new Uint8Array(bytes.subarray(0, length));
  for (let i = random.uint32() % 6; i >= 0 && out.length > 0; i--) {
    const at = random.uint32() % out.length;
    if (random.uint32() % 3 === 0 && at + 4 <= out.length)
      new DataView(out.buffer, out.byteOffset).setUint32(
        at,
        [0xffff_ffff, 0x7fff_ffff, 0x1000_0000, 0][random.uint32() % 4]!,
        true,
      );
    else out[at] = random.uint32() & 0xff;
  }
  return out;
}

/** Lets a decoder refuse its input, in the one way that it may. */
export function expectDecodeError(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!(error instanceof DecodeError)) throw error;
  }
}

/** `fuzzCount` damaged copies of good inputs: each is decoded or a DecodeError. Returns how many were decoded. */
export function fuzzDecoder(good: readonly Uint8Array[], decode: (bytes: Uint8Array) => unknown): number {
  const random = seededRandom(fuzzSeed);
  let decoded = 0;
  for (let i = 0; i < fuzzCount; i++) {
    const bytes = mutate(random, good[random.uint32() % good.length]!);
    expectDecodeError(() => {
      decode(bytes);
      decoded++;
    });
  }
  return decoded;
}

/** Mostly zeros and small numbers: counts, lengths and versions that let a decoder go on, where noise ends it at the first. */
export function plausible(random: Random, bytes: number): Uint8Array {
  const out = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i++) {
    const kind = random.uint32() % 16;
    if (kind < 5) out[i] = 1 + (random.uint32() % 8);
    else if (kind === 5) out[i] = random.uint32() & 0xff;
    else if (kind === 6) out[i] = 20 + (random.uint32() % 60);
  }
  return out;
}

/**
 * Numbers, texts and structures with a version (`ENCODE_START`, their lengths right) one after another and in one another: what gets a decoder of Ceph's encodings further than noise does.
 */
export function plausibleEncoding(random: Random, depth = 3): Uint8Array {
  const pieces: Uint8Array[] = [];
  const u32 = (value: number): Uint8Array => new ByteWriter(4).u32(value).finish();
  for (let n = 1 + (random.uint32() % 5); n > 0; n--) {
    const kind = random.uint32() % 8;
    if (kind < 2 && depth > 0) {
      const body = plausibleEncoding(random, depth - 1);
      pieces.push(Uint8Array.of(1 + (random.uint32() % 3), 1), u32(body.length), body);
    } else if (kind < 4) {
      const text = plausible(random, random.uint32() % 12);
      pieces.push(u32(text.length), text);
    } else if (kind === 4) pieces.push(Uint8Array.of(random.uint32() % 4));
    else if (kind === 5) pieces.push(u32(random.uint32() % 4));
    else if (kind === 6) pieces.push(u32(random.uint32() % 5000), u32(0));
    else pieces.push(random.bytes(8));
  }
  return concatBytes(pieces);
}
