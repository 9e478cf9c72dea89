import { rawCrc32c } from '../base/crc32c.ts';
import type { DiskFile } from '../base/disk.ts';
import type { JournalRecord } from './api.ts';
import {
  decodeRecordHeader,
  endMarkIndex,
  headerBytes,
  recordAlignment,
  recordBytes,
  recordHeaderBytes,
  recordMagic,
  recordSalt,
  type SegmentHeader,
} from './format.ts';

/** How much is read at once; a longer record is read whole. */
const windowBytes = 256 * 1024;

/** Where a run of whole records ends. */
export interface ScanEnd {
  /** Behind the last whole record. */
  offset: number;
  nextIndex: number;
  /** Epoch of the last record, or of the segment. */
  epoch: number;
  /** Why what stands at `offset` is not the next record. */
  why: string;
}

/** Calls `visit` for the whole records of a segment in order, until one is missing or has an index >= `endIndex`. */
export async function scanSegment(
  file: DiskFile,
  segment: SegmentHeader,
  options: { endIndex?: number; maxRecordBytes: number; visit?: (record: JournalRecord) => void | Promise<void> },
): Promise<ScanEnd> {
  const endIndex = options.endIndex ?? Number.POSITIVE_INFINITY;
  const window = new Window(file, segment.size);
  const salt = recordSalt(segment);
  const at: ScanEnd = {
    offset: headerBytes,
    nextIndex: segment.firstIndex,
    epoch: segment.epoch,
    why: 'the segment is full',
  };
  while (at.nextIndex < endIndex) {
    const head = await window.view(at.offset, recordHeaderBytes);
    if (head === undefined) return at;
    const header = decodeRecordHeader(head, salt);
    if (header === undefined) return { ...at, why: 'no record header stands there' };
    if (header.index !== at.nextIndex) return { ...at, why: `it has index ${header.index} instead of ${at.nextIndex}` };
    if (header.epoch < at.epoch) return { ...at, why: `it is of epoch ${header.epoch}, before ${at.epoch}` };
    if (header.length > options.maxRecordBytes) return { ...at, why: `it is ${header.length} bytes long` };
    const payload = await window.view(at.offset + recordHeaderBytes, header.length);
    if (payload === undefined) return { ...at, why: `its ${header.length} bytes reach behind the segment` };
    if (rawCrc32c(salt, payload) !== header.payloadCrc) return { ...at, why: 'the checksum of its payload is wrong' };
    await options.visit?.({ index: header.index, type: header.type, payload });
    at.offset += recordBytes(header.length);
    at.nextIndex = header.index + 1;
    at.epoch = header.epoch;
  }
  return at;
}

export interface Stranded {
  /** Behind the last whole record header that was found; `from` when there is none. */
  end: number;
  /** The highest epoch among them. */
  epoch: number;
  /** One of them says that the missing record had been on disk. */
  provesLoss: boolean;
}

/** Looks behind the end of a run for records that stand there nevertheless, and for the mark of a journal that was closed. */
export async function findStranded(file: DiskFile, segment: SegmentHeader, run: ScanEnd): Promise<Stranded> {
  const window = new Window(file, segment.size);
  const salt = recordSalt(segment);
  const magic = new Uint8Array(4);
  new DataView(magic.buffer).setUint32(0, recordMagic, true);
  const found: Stranded = { end: run.offset, epoch: run.epoch, provesLoss: false };
  let at = run.offset;
  while (at + recordHeaderBytes <= segment.size) {
    const length = Math.min(windowBytes, segment.size - at);
    const view = await window.view(at, length);
    if (view === undefined) break;
    const bytes = Buffer.from(view.buffer, view.byteOffset, view.byteLength);
    for (let hit = bytes.indexOf(magic); hit >= 0; hit = bytes.indexOf(magic, hit + 1)) {
      if ((at + hit) % recordAlignment !== 0 || hit + recordHeaderBytes > bytes.length) continue;
      const header = decodeRecordHeader(bytes.subarray(hit, hit + recordHeaderBytes), salt);
      if (header === undefined) continue;
      if (header.index !== endMarkIndex) {
        if (header.index < run.nextIndex) continue;
        found.end = Math.max(found.end, at + hit + recordBytes(header.length));
      }
      found.epoch = Math.max(found.epoch, header.epoch);
      if (header.durable >= run.nextIndex && header.epoch >= run.epoch) found.provesLoss = true;
    }
    if (at + length >= segment.size) break;
    // A header may lie across two windows.
    at += length - (recordHeaderBytes - recordAlignment) - (length % recordAlignment);
  }
  return found;
}

/** Reads a file forward in large pieces. A view is valid until the next call. */
class Window {
  readonly #file: DiskFile;
  readonly #size: number;
  #buffer = new Uint8Array(0);
  #from = 0;
  #count = 0;

  constructor(file: DiskFile, size: number) {
    this.#file = file;
    this.#size = size;
  }

  /** Undefined when the range reaches behind the segment or the file. */
  async view(offset: number, length: number): Promise<Uint8Array | undefined> {
    if (offset + length > this.#size) return undefined;
    if (offset < this.#from || offset + length > this.#from + this.#count) {
      const want = Math.max(length, Math.min(windowBytes, this.#size - offset));
      if (this.#buffer.length < want) this.#buffer = new Uint8Array(want);
      this.#from = offset;
      this.#count = await this.#file.read(this.#buffer.subarray(0, want), offset);
      if (this.#count < length) return undefined;
    }
    const start = offset - this.#from;
    return this.#buffer.subarray(start, start + length);
  }
}
