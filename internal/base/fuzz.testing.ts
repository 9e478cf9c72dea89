import { heapStats } from 'bun:jsc';
import { DecodeError } from './bytes.ts';
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
