import { z } from 'zod';

/**
 * Which images are wholly on disk. containerd syncs what it downloads and its own database, but not the files that it unpacks: after a power loss the database may name an
 * image whose files are empty. So an image is noted here after a sync that came after it was unpacked, and one that is not noted when the machine has started anew is
 * unpacked once more.
 */
export interface StableImages {
  readonly format: 1;
  /** Of the kernel that ran when this was written: as long as it runs, nothing that was written is lost. */
  readonly bootId: string;
  /** Ids (digests of their configuration), in order. */
  readonly ids: readonly string[];
}

const schema = z.object({ format: z.literal(1), bootId: z.string(), ids: z.array(z.string()) });

/** Reads a record; undefined for none, or one that is damaged. */
export function parseStableImages(text: string | undefined): StableImages | undefined {
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/**
 * The images of `present` that may have lost files. Without a record there is none: an earlier version, which wrote none, synced as well, or nothing was ever
 * unpacked, because the record is written before the first image is.
 */
export function doubtful<T extends { readonly id: string }>(
  present: readonly T[],
  record: StableImages | undefined,
  bootId: string,
): T[] {
  if (!record || record.bootId === bootId) return [];
  const stable = new Set(record.ids);
  return present.filter(({ id }) => !stable.has(id));
}
