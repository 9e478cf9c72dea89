import type { Disk } from '../base/disk.ts';

const pieceBytes = 64 << 10;

/** Pieces of a snapshot's file, which is removed when they have been read or are given up. */
export async function* openSnapshot(disk: Disk, path: string, bytes: number): AsyncGenerator<Uint8Array> {
  const file = await disk.open(path, { writable: false });
  try {
    // Whoever reads on keeps the file; a crash leaves no name behind.
    await disk.remove(path);
    for (let at = 0; at < bytes; ) {
      const piece = new Uint8Array(Math.min(pieceBytes, bytes - at));
      const count = await file.read(piece, at);
      if (count < piece.length) throw new Error(`${path}: ends at ${at + count} of ${bytes} bytes`);
      at += count;
      yield piece;
    }
  } finally {
    await file.close();
  }
}
