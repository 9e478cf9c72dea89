import type { Disk, DiskFile } from '../base/disk.ts';
import { JournalCorruptError } from './errors.ts';
import {
  decodeSegmentHeader,
  encodeSegmentHeader,
  headerBytes,
  isSpareName,
  parseSegmentName,
  type SegmentHeader,
  segmentName,
} from './format.ts';

const zeroChunkBytes = 1024 * 1024;
/** Recycled files that are kept; more are removed. */
const maxSpares = 2;

/** The files of a journal: which there are, how one begins and how it becomes a spare again. */
export class Segments {
  readonly #disk: Disk;
  readonly #dir: string;
  readonly #segmentBytes: number;
  /** Oldest first; the last one is written to. */
  #headers: SegmentHeader[];
  #spares: string[];
  #spareNumber: number;
  /** The segment whose file is being taken away just now: nobody may begin to read it. */
  #leaving: SegmentHeader | undefined;
  /** A file that has lost its segment's name, before that is durable; `spare` is its new name. */
  #recycled: { spare: string | undefined } | undefined;
  #readers = 0;
  #readersGone: (() => void)[] = [];

  private constructor(disk: Disk, dir: string, segmentBytes: number, headers: SegmentHeader[], spares: string[]) {
    this.#disk = disk;
    this.#dir = dir;
    this.#segmentBytes = segmentBytes;
    this.#headers = headers;
    this.#spares = spares;
    this.#spareNumber = 1 + Math.max(0, ...spares.map((name) => Number(name.slice('spare-'.length))));
  }

  static async open(disk: Disk, dir: string, segmentBytes: number): Promise<Segments> {
    const headers: SegmentHeader[] = [];
    const spares: string[] = [];
    for (const name of await disk.list(dir)) {
      const sequence = parseSegmentName(name);
      const path = `${dir}/${name}`;
      if (sequence !== undefined) headers.push(await readHeader(disk, path, sequence));
      else if (isSpareName(name)) {
        if (spares.length < maxSpares && (await disk.stat(path))?.size === segmentBytes) spares.push(name);
        else await disk.remove(path);
      }
    }
    headers.sort((a, b) => a.sequence - b.sequence);
    for (const [i, header] of headers.entries()) {
      const before = headers[i - 1];
      if (before === undefined) continue;
      const path = `${dir}/${segmentName(header.sequence)}`;
      if (header.sequence !== before.sequence + 1)
        throw new JournalCorruptError(path, 0, `segment ${segmentName(before.sequence + 1)} before it is missing`);
      if (header.journalId !== before.journalId) throw new JournalCorruptError(path, 0, 'it is of another journal');
    }
    return new Segments(disk, dir, segmentBytes, headers, spares);
  }

  get last(): SegmentHeader | undefined {
    return this.#headers.at(-1);
  }

  get firstIndex(): number {
    return this.#headers[0]!.firstIndex;
  }

  get count(): number {
    return this.#headers.length;
  }

  get diskBytes(): number {
    return this.#headers.reduce((sum, header) => sum + header.size, this.#spares.length * this.#segmentBytes);
  }

  get hasSpare(): boolean {
    return this.#spares.length > 0;
  }

  path(header: SegmentHeader): string {
    return `${this.#dir}/${segmentName(header.sequence)}`;
  }

  /**
   * Makes the next segment with room for `needBytes`. When it resolves, the segment and its name are on disk: a header is written before
   * the file gets its name, so a file with a segment's name has a good header.
   */
  async begin(header: SegmentHeader, needBytes = 0): Promise<{ header: SegmentHeader; file: DiskFile }> {
    let name: string | undefined;
    if (needBytes <= this.#segmentBytes) {
      if (!this.hasSpare) await this.makeSpare();
      name = this.#spares.shift()!;
      header.size = this.#segmentBytes;
    } else {
      header.size = Math.ceil(needBytes / headerBytes) * headerBytes;
      name = await this.#makeFile(header.size);
    }
    const path = this.path(header);
    const file = await this.#disk.open(`${this.#dir}/${name}`);
    await file.writeDurable([encodeSegmentHeader(header)], 0);
    await file.close();
    await this.#disk.rename(`${this.#dir}/${name}`, path);
    await this.#disk.syncDirectory(this.#dir);
    this.#headers.push(header);
    return { header, file: await this.#disk.open(path) };
  }

  /** Writes a whole file of zeros: overwriting written blocks needs no change of metadata, so later syncs are one trip to the disk. */
  async makeSpare(): Promise<void> {
    this.#spares.push(await this.#makeFile(this.#segmentBytes));
  }

  async #makeFile(size: number): Promise<string> {
    const name = `spare-${this.#spareNumber++}`;
    const path = `${this.#dir}/${name}`;
    const file = await this.#disk.open(path, { create: true });
    try {
      await file.allocate(0, size);
      const zeros = new Uint8Array(Math.min(zeroChunkBytes, size));
      for (let at = 0; at < size; at += zeros.length)
        await file.write([at + zeros.length > size ? zeros.subarray(0, size - at) : zeros], at);
      await file.datasync();
    } catch (error) {
      await file.close();
      await this.#disk.remove(path);
      throw error;
    }
    await file.close();
    return name;
  }

  /**
   * Takes whole segments before `beforeIndex` out, but never the last one. Strictly one behind the other, oldest first: each name is gone on
   * disk before the next is touched, so whatever fails, what is left has no gap. A call after a failed one goes on where that stopped.
   */
  async recycle(beforeIndex: number): Promise<void> {
    await this.#syncRecycled();
    while (this.#headers.length > 1 && this.#headers[1]!.firstIndex <= beforeIndex) {
      while (this.#readers > 0) await new Promise<void>((resolve) => this.#readersGone.push(resolve));
      const header = this.#headers[0]!;
      this.#leaving = header;
      try {
        if (header.size !== this.#segmentBytes || this.#spares.length >= maxSpares) {
          await this.#disk.remove(this.path(header));
          this.#recycled = { spare: undefined };
        } else {
          const name = `spare-${this.#spareNumber++}`;
          await this.#disk.rename(this.path(header), `${this.#dir}/${name}`);
          this.#recycled = { spare: name };
        }
        this.#headers.shift();
      } finally {
        this.#leaving = undefined;
      }
      await this.#syncRecycled();
    }
  }

  /** The old name must be gone on disk before the file gets another header. */
  async #syncRecycled(): Promise<void> {
    if (this.#recycled === undefined) return;
    await this.#disk.syncDirectory(this.#dir);
    if (this.#recycled.spare !== undefined) this.#spares.push(this.#recycled.spare);
    this.#recycled = undefined;
  }

  /** Keeps the segments from being recycled while `work` reads them. */
  async read(work: (headers: readonly SegmentHeader[]) => Promise<void>): Promise<void> {
    this.#readers++;
    try {
      await work(this.#headers.filter((header) => header !== this.#leaving));
    } finally {
      this.#readers--;
      if (this.#readers === 0) for (const gone of this.#readersGone.splice(0)) gone();
    }
  }
}

async function readHeader(disk: Disk, path: string, sequence: number): Promise<SegmentHeader> {
  const file = await disk.open(path, { writable: false });
  try {
    const block = new Uint8Array(headerBytes);
    const count = await file.read(block, 0);
    const header = decodeSegmentHeader(block.subarray(0, count));
    if (typeof header === 'string') throw new JournalCorruptError(path, 0, header);
    if (header.sequence !== sequence)
      throw new JournalCorruptError(path, 0, `its header is of ${segmentName(header.sequence)}`);
    return header;
  } finally {
    await file.close();
  }
}
