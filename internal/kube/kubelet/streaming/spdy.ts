import { DecodeError } from '../../../base/bytes.ts';
import { concatBytes, utf8 } from '../../../base/bytes.ts';

/**
 * SPDY/3.1 frames (the protocol of exec, attach and port-forward before WebSockets; draft-mbelshe-httpbis-spdy-00 with version 3) as far as a
 * client needs them. Header blocks are a zlib stream over the life of a connection. What we send is made of stored blocks, which every
 * inflater understands; what we receive in header blocks (replies to our own streams) says nothing that is needed, and is skipped.
 */

export const frameType = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;
export const flagFin = 1;

const version = 3;
const headerLength = 8;
/** No frame of the peers that we speak to comes near this. */
const maxFrameLength = 16 * 1024 * 1024 - 1;

export type SpdyFrame =
  | { readonly kind: 'data'; readonly streamId: number; readonly fin: boolean; readonly data: Uint8Array }
  | {
      readonly kind: 'control';
      readonly type: number;
      readonly flags: number;
      readonly streamId: number;
      readonly body: Uint8Array;
    };

function control(type: number, flags: number, body: Uint8Array): Uint8Array {
  const out = new Uint8Array(headerLength + body.length);
  const view = new DataView(out.buffer);
  view.setUint16(0, 0x8000 | version);
  view.setUint16(2, type);
  view.setUint32(4, ((flags & 0xff) * 0x1000000 + body.length) >>> 0);
  out.set(body, headerLength);
  return out;
}

/** A data frame; `fin` ends our side of the stream. */
export function dataFrame(streamId: number, data: Uint8Array, fin = false): Uint8Array {
  const out = new Uint8Array(headerLength + data.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, streamId & 0x7fffffff);
  view.setUint32(4, ((fin ? flagFin : 0) * 0x1000000 + data.length) >>> 0);
  out.set(data, headerLength);
  return out;
}

export function pingFrame(id: number): Uint8Array {
  const body = new Uint8Array(4);
  new DataView(body.buffer).setUint32(0, id);
  return control(frameType.ping, 0, body);
}

/** Makes the header blocks of one connection, in the order in which they are sent. */
export class HeaderBlockWriter {
  #begun = false;

  /** A name-value block, framed as part of the connection's zlib stream. Names are sent in lower case, as the protocol wants. */
  block(headers: Readonly<Record<string, string>>): Uint8Array {
    const entries = Object.entries(headers);
    const plain: Uint8Array[] = [uint32(entries.length)];
    for (const [name, value] of entries) {
      const n = utf8(name.toLowerCase());
      const v = utf8(value);
      plain.push(uint32(n.length), n, uint32(v.length), v);
    }
    const data = concatBytes(plain);
    const pieces: Uint8Array[] = this.#begun ? [] : [Uint8Array.of(0x78, 0x01)];
    this.#begun = true;
    for (let at = 0; at < data.length; at += 0xffff) {
      const part = data.subarray(at, at + 0xffff);
      const length = part.length;
      pieces.push(Uint8Array.of(0, length & 0xff, length >>> 8, ~length & 0xff, (~length >>> 8) & 0xff), part);
    }
    // Go's inflater hands out what it has at an empty stored block (a sync flush), not before.
    pieces.push(Uint8Array.of(0, 0, 0, 0xff, 0xff));
    return concatBytes(pieces);
  }
}

function uint32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

/** Opens a stream; client streams have odd numbers that grow. */
export function synStreamFrame(streamId: number, block: Uint8Array): Uint8Array {
  const body = new Uint8Array(10 + block.length);
  new DataView(body.buffer).setUint32(0, streamId & 0x7fffffff);
  body.set(block, 10);
  return control(frameType.synStream, 0, body);
}

/** Cuts the bytes of a connection into frames. Throws DecodeError on what cannot be SPDY/3. */
export class SpdyReader {
  #rest: Uint8Array = new Uint8Array(0);

  push(chunk: Uint8Array): SpdyFrame[] {
    const data = this.#rest.length === 0 ? chunk : concatBytes([this.#rest, chunk]);
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const frames: SpdyFrame[] = [];
    let at = 0;
    while (data.length - at >= headerLength) {
      const first = view.getUint32(at);
      const second = view.getUint32(at + 4);
      const flags = second >>> 24;
      const length = second & 0xffffff;
      if (length > maxFrameLength) throw new DecodeError('SPDY frame too long');
      if (data.length - at - headerLength < length) break;
      const body = data.subarray(at + headerLength, at + headerLength + length);
      if (first >>> 31 === 1) {
        if (((first >>> 16) & 0x7fff) !== version) throw new DecodeError('not a SPDY/3 control frame');
        const streamId = length >= 4 ? view.getUint32(at + headerLength) & 0x7fffffff : 0;
        frames.push({ kind: 'control', type: first & 0xffff, flags, streamId, body });
      } else frames.push({ kind: 'data', streamId: first & 0x7fffffff, fin: (flags & flagFin) !== 0, data: body });
      at += headerLength + length;
    }
    this.#rest = data.slice(at);
    return frames;
  }
}
