import type { Run } from './allocator.ts';
import { blockBytes } from './api.ts';
import type { CompressedBlob } from './blob.ts';

/**
 * What compressed blobs lately read are when they are not compressed, bounded, so that reading one piece by piece costs one decompression. Nobody may change
 * it. A blob's data never changes, and it is told by its checksums: so what is here is right, whoever has the place now.
 */
export class BlobCache {
  readonly #limitBytes: number;
  /** By key, the oldest first. */
  readonly #entries = new Map<number, { blob: CompressedBlob; raw: Uint8Array }>();
  #bytes = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get memoryBytes(): number {
    return this.#bytes;
  }

  get(blob: CompressedBlob): Uint8Array | undefined {
    const entry = this.#entries.get(blob.key);
    if (entry === undefined || !sameContent(entry.blob, blob)) return undefined;
    this.#entries.delete(blob.key);
    this.#entries.set(blob.key, entry);
    return entry.raw;
  }

  /** One block of an object that is in a blob. */
  block(blob: CompressedBlob, block: number): Uint8Array | undefined {
    return this.get(blob)?.subarray((block - blob.first) * blockBytes, (block - blob.first + 1) * blockBytes);
  }

  put(blob: CompressedBlob, raw: Uint8Array): void {
    if (raw.length > this.#limitBytes) return;
    this.#remove(blob.key);
    this.#entries.set(blob.key, { blob, raw });
    this.#bytes += raw.length;
    while (this.#bytes > this.#limitBytes) this.#remove(this.#entries.keys().next().value!);
  }

  /** The blocks belong to nobody any more. */
  forget(run: Run): void {
    if (this.#entries.size === 0) return;
    for (let block = run.start; block < run.start + run.count; block++) this.#remove(block);
  }

  #remove(key: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#bytes -= entry.raw.length;
    this.#entries.delete(key);
  }
}

function sameContent(a: CompressedBlob, b: CompressedBlob): boolean {
  if (a === b || a.crcs === b.crcs) return true;
  return (
    a.codec === b.codec &&
    a.length === b.length &&
    a.blocks === b.blocks &&
    a.crcs.length === b.crcs.length &&
    a.crcs.every((crc, i) => crc === b.crcs[i])
  );
}
