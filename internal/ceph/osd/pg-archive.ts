import { type ByteReader, ByteWriter, concatBytes, DecodeError, utf8, utf8Text } from '../../base/bytes.ts';
import { crc32c } from '../../base/crc32c.ts';
import { AppError } from '../../base/errors.ts';
import { maxKeyBytes, type ObjectKey } from '../blockstore/api.ts';
import { Decoder, Encoder } from '../wire/encoding.ts';
import { decodeEVersion, type EVersion, encodeEVersion, parsePg, type PgId, pgText } from '../wire/types.ts';

/**
 * A copy of a PG in one file. A line of text with the version of the format, then frames: type (u8), length (u32), payload, crc32c (u32) of the frame's number in the file (u64), type, length
 * and payload, all little-endian. In this order: `begin`; for each object `object`, any `data` and `omap`; `rows`; `end`. Frame types and fields are never reused.
 */

const magic = utf8('appliance-pg 01\n');
const maxFrameBytes = 64 << 20;
/** Bytes of data, or of key-value pairs, in one frame, about. */
export const archivePieceBytes = 1 << 20;

const BEGIN = 1;
const OBJECT = 2;
const DATA = 3;
const OMAP = 4;
const ROWS = 5;
const END = 6;

/** What an archive says of itself before anything else. */
export interface ArchiveBegin {
  readonly pg: PgId;
  /** Of the cluster. */
  readonly fsid: string;
  /** The OSD that it was exported from. */
  readonly osd: number;
  /** Milliseconds since the epoch. */
  readonly createdMs: number;
  /** Of the newest map that the PG was taken through, and how many PGs its pool had in that. */
  readonly epoch: number;
  readonly pgNum: number;
  /** The newest write that the copy has. */
  readonly lastUpdate: EVersion;
  readonly objects: number;
  /** Bytes of data that the objects take, about. */
  readonly dataBytes: number;
}

export type ArchivePart =
  | { readonly part: 'begin'; readonly begin: ArchiveBegin }
  | {
      readonly part: 'object';
      readonly key: ObjectKey;
      readonly size: number;
      readonly xattrs: ReadonlyMap<string, Uint8Array>;
      readonly omapHeader: Uint8Array;
    }
  /** Of the object before it. */
  | { readonly part: 'data'; readonly offset: number; readonly data: Uint8Array }
  | { readonly part: 'omap'; readonly entries: ReadonlyMap<string, Uint8Array> }
  /** What the OSD knows of the PG, as `PgMeta` keeps it. */
  | { readonly part: 'rows'; readonly entries: ReadonlyMap<string, Uint8Array> }
  | { readonly part: 'end'; readonly objects: number; readonly dataBytes: number };

/** Makes the bytes of an archive, part by part. */
export class ArchiveWriter {
  #frames = 0;
  #objects = 0;
  #dataBytes = 0;

  begin(begin: ArchiveBegin): Uint8Array[] {
    const e = new Encoder(128);
    e.struct(1, 1, () => {
      e.string(pgText(begin.pg))
        .string(begin.fsid)
        .u32(begin.osd)
        .u64(begin.createdMs)
        .u32(begin.epoch)
        .u32(begin.pgNum);
      encodeEVersion(e, begin.lastUpdate);
      e.u64(begin.objects).u64(begin.dataBytes);
    });
    return [magic, ...this.#frame(BEGIN, [e.finish()])];
  }

  object(key: ObjectKey, size: number, xattrs: ReadonlyMap<string, Uint8Array>, omapHeader: Uint8Array): Uint8Array[] {
    this.#objects++;
    const e = new Encoder(256);
    e.blob(key).u64(size).blob(omapHeader);
    return this.#frame(OBJECT, [e.finish(), entriesBytes(xattrs)]);
  }

  data(offset: number, data: Uint8Array): Uint8Array[] {
    this.#dataBytes += data.length;
    return this.#frame(DATA, [new ByteWriter(8).u64(offset).finish(), data]);
  }

  omap(entries: ReadonlyMap<string, Uint8Array>): Uint8Array[] {
    return this.#frame(OMAP, [entriesBytes(entries)]);
  }

  rows(entries: ReadonlyMap<string, Uint8Array>): Uint8Array[] {
    return this.#frame(ROWS, [entriesBytes(entries)]);
  }

  end(): Uint8Array[] {
    return this.#frame(END, [new ByteWriter(16).u64(this.#objects).u64(this.#dataBytes).finish()]);
  }

  #frame(type: number, payload: readonly Uint8Array[]): Uint8Array[] {
    const length = payload.reduce((sum, piece) => sum + piece.length, 0);
    if (length > maxFrameBytes)
      throw new AppError('TOO_LARGE', `an object has ${length} bytes of attributes: an archive takes ${maxFrameBytes}`);
    const head = new ByteWriter(5).u8(type).u32(length).finish();
    const sum = frameSum(this.#frames++, head, concatBytes(payload));
    return [head, ...payload, new ByteWriter(4).u32(sum).finish()];
  }
}

function entriesBytes(entries: ReadonlyMap<string, Uint8Array>): Uint8Array {
  const e = new Encoder(256);
  e.map(
    entries,
    (x, key) => x.blob(utf8(key)),
    (x, value) => x.blob(value),
  );
  return e.finish();
}

function frameSum(number: number, head: Uint8Array, payload: Uint8Array): number {
  const first = new ByteWriter(13).u64(number).bytes(head).finish();
  return crc32c(concatBytes([first, new ByteWriter(4).u32(crc32c(payload)).finish()]));
}

/** Gives the next `count` bytes, fewer only at the end. */
export type ReadBytes = (count: number) => Promise<Uint8Array>;

/**
 * The parts of an archive, each verified before it is given out, in an order that makes sense; the last one is `end`, and nothing follows it. Reads no more than a frame ahead.
 * Errors: ARCHIVE for whatever is not an archive, is damaged or incomplete; VERSION.
 */
export async function* readArchive(read: ReadBytes): AsyncGenerator<ArchivePart> {
  const bad = (why: string): AppError =>
    new AppError('ARCHIVE', `the file is no whole copy of a PG: ${why}`, {
      hint: 'nothing was changed; make it anew with `appliance osd export`',
    });
  const first = await read(magic.length);
  if (!Buffer.from(first).equals(magic)) {
    const version = /^appliance-pg (\d\d)\n$/.exec(utf8Text(first))?.[1];
    if (version !== undefined)
      throw new AppError('VERSION', `the file has format version ${Number(version)}; this program knows 1`, {
        hint: 'use the version of the appliance that wrote it, or a newer one',
      });
    throw bad('it does not begin as one');
  }
  let objects = 0;
  let dataBytes = 0;
  let last = 0;
  for (let number = 0; last !== END; number++) {
    const head = await read(5);
    if (head.length < 5) throw bad('it ends too early');
    const view = new DataView(head.buffer, head.byteOffset);
    const type = view.getUint8(0);
    const length = view.getUint32(1, true);
    if (length > maxFrameBytes) throw bad(`part ${number} says that it has ${length} bytes`);
    const payload = await read(length);
    const sum = await read(4);
    if (payload.length < length || sum.length < 4) throw bad('it ends too early');
    if (new DataView(sum.buffer, sum.byteOffset).getUint32(0, true) !== frameSum(number, head, payload))
      throw bad(`part ${number} is damaged: its checksum is wrong`);
    if (!(followers[last] ?? []).includes(type))
      throw bad(`part ${number} is of type ${type}, which cannot follow ${last}`);
    let part: ArchivePart;
    try {
      part = decodePart(type, payload);
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      throw bad(`part ${number} cannot be read: ${error.message}`);
    }
    if (part.part === 'object') objects++;
    else if (part.part === 'data') dataBytes += part.data.length;
    else if (part.part === 'end' && (part.objects !== objects || part.dataBytes !== dataBytes))
      throw bad(
        `it should have ${part.objects} objects and ${part.dataBytes} bytes, and has ${objects} and ${dataBytes}`,
      );
    last = type;
    if (last === END && (await read(1)).length > 0) throw bad('something follows its end');
    yield part;
  }
}

/** Which types of frames may follow which; 0 stands for the beginning. */
const followers: Readonly<Record<number, readonly number[]>> = {
  0: [BEGIN],
  [BEGIN]: [OBJECT, ROWS],
  [OBJECT]: [OBJECT, DATA, OMAP, ROWS],
  [DATA]: [OBJECT, DATA, OMAP, ROWS],
  [OMAP]: [OBJECT, OMAP, ROWS],
  [ROWS]: [ROWS, END],
};

function decodePart(type: number, payload: Uint8Array): ArchivePart {
  const d = new Decoder(payload);
  const whole = <T>(value: T): T => {
    if (d.remaining > 0) throw new DecodeError(`${d.remaining} bytes too many`);
    return value;
  };
  switch (type) {
    case BEGIN:
      return whole({ part: 'begin', begin: decodeBegin(d) });
    case OBJECT: {
      const key = d.blob();
      if (key.length === 0 || key.length > maxKeyBytes) throw new DecodeError(`a key of ${key.length} bytes`);
      const size = d.u64();
      const omapHeader = d.blob();
      return whole({ part: 'object', key, size, omapHeader, xattrs: decodeEntries(d) });
    }
    case DATA: {
      const offset = d.u64();
      return whole({ part: 'data', offset, data: d.bytes(d.remaining) });
    }
    case OMAP:
      return whole({ part: 'omap', entries: decodeEntries(d) });
    case ROWS:
      return whole({ part: 'rows', entries: decodeEntries(d) });
    case END:
      return whole({ part: 'end', objects: d.u64(), dataBytes: d.u64() });
    default:
      throw new DecodeError(`type ${type}`);
  }
}

function decodeBegin(d: Decoder): ArchiveBegin {
  return d.struct('PG archive', 1, () => {
    const text = d.string();
    const pg = parsePg(text);
    if (pg === undefined) throw new DecodeError(`${JSON.stringify(text.slice(0, 40))} is no PG`);
    return {
      pg,
      fsid: d.string(),
      osd: d.u32(),
      createdMs: d.u64(),
      epoch: d.u32(),
      pgNum: d.u32(),
      lastUpdate: decodeEVersion(d),
      objects: d.u64(),
      dataBytes: d.u64(),
    };
  });
}

function decodeEntries(d: ByteReader & Pick<Decoder, 'blob' | 'count'>): Map<string, Uint8Array> {
  const out = new Map<string, Uint8Array>();
  for (let n = d.count(8); n > 0; n--) {
    const key = utf8Text(d.blob());
    out.set(key, d.blob());
  }
  return out;
}
