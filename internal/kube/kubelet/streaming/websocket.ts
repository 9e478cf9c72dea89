import { createHash } from 'node:crypto';
import { concatBytes, DecodeError, utf8Text } from '../../../base/bytes.ts';

/** WebSocket frames, server side (RFC 6455). */

export const opcode = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** Largest message that a client may send; clients of exec send a few kilobytes at a time. */
const maxMessage = 8 * 1024 * 1024;

export type WsMessage =
  | { readonly kind: 'data'; readonly binary: boolean; readonly data: Uint8Array }
  | { readonly kind: 'ping' | 'pong'; readonly data: Uint8Array }
  | { readonly kind: 'close'; readonly code: number; readonly reason: string };

/** The answer to a client's key (RFC 6455, 4.2.2). */
export function acceptKey(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}

/** An unmasked frame with a whole message, as servers send them. */
export function wsFrame(code: number, payload: Uint8Array): Uint8Array {
  const { length } = payload;
  const extra = length < 126 ? 0 : length < 65_536 ? 2 : 8;
  const out = new Uint8Array(2 + extra + length);
  const view = new DataView(out.buffer);
  out[0] = 0x80 | code;
  if (extra === 0) out[1] = length;
  else if (extra === 2) {
    out[1] = 126;
    view.setUint16(2, length);
  } else {
    out[1] = 127;
    view.setBigUint64(2, BigInt(length));
  }
  out.set(payload, 2 + extra);
  return out;
}

export function closeFrame(code: number, reason = ''): Uint8Array {
  const text = new TextEncoder().encode(reason.slice(0, 120));
  const payload = new Uint8Array(2 + text.length);
  new DataView(payload.buffer).setUint16(0, code);
  payload.set(text, 2);
  return wsFrame(opcode.close, payload);
}

/** Cuts a client's bytes into messages; fragments are joined. Throws DecodeError on what breaks the protocol. */
export class WsReader {
  #rest: Uint8Array = new Uint8Array(0);
  #parts: Uint8Array[] = [];
  #size = 0;
  #binary = false;
  #open = false;

  push(chunk: Uint8Array): WsMessage[] {
    let data = this.#rest.length === 0 ? chunk : concatBytes([this.#rest, chunk]);
    const out: WsMessage[] = [];
    for (;;) {
      const frame = readFrame(data);
      if (!frame) break;
      data = data.subarray(frame.length);
      const message = this.#take(frame);
      if (message) out.push(message);
    }
    this.#rest = data.slice();
    return out;
  }

  #take(frame: Frame): WsMessage | undefined {
    const { code, fin, payload } = frame;
    if (code >= 8) {
      if (!fin || payload.length > 125) throw new DecodeError('fragmented or long control frame');
      if (code === opcode.ping) return { kind: 'ping', data: payload };
      if (code === opcode.pong) return { kind: 'pong', data: payload };
      if (code !== opcode.close) throw new DecodeError(`WebSocket opcode ${code}`);
      const closing = payload.length >= 2 ? (payload[0]! << 8) | payload[1]! : 1005;
      return { kind: 'close', code: closing, reason: utf8Text(payload.subarray(2)) };
    }
    if (code === opcode.continuation ? !this.#open : this.#open)
      throw new DecodeError('WebSocket fragments out of order');
    if (code > opcode.binary) throw new DecodeError(`WebSocket opcode ${code}`);
    if (code !== opcode.continuation) this.#binary = code === opcode.binary;
    this.#size += payload.length;
    if (this.#size > maxMessage) throw new DecodeError(`WebSocket message longer than ${maxMessage} bytes`);
    this.#parts.push(payload);
    this.#open = !fin;
    if (!fin) return undefined;
    const data = this.#parts.length === 1 ? this.#parts[0]! : concatBytes(this.#parts);
    this.#parts = [];
    this.#size = 0;
    return { kind: 'data', binary: this.#binary, data };
  }
}

interface Frame {
  readonly code: number;
  readonly fin: boolean;
  readonly payload: Uint8Array;
  /** Bytes that the frame takes. */
  readonly length: number;
}

function readFrame(data: Uint8Array): Frame | undefined {
  if (data.length < 2) return undefined;
  const first = data[0]!;
  const second = data[1]!;
  if ((first & 0x70) !== 0) throw new DecodeError('WebSocket extension bits without an extension');
  if ((second & 0x80) === 0) throw new DecodeError('unmasked WebSocket frame of a client');
  let length = second & 0x7f;
  let at = 2;
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (length === 126) {
    if (data.length < 4) return undefined;
    length = view.getUint16(2);
    at = 4;
  } else if (length === 127) {
    if (data.length < 10) return undefined;
    const long = view.getBigUint64(2);
    if (long > BigInt(maxMessage)) throw new DecodeError(`WebSocket frame longer than ${maxMessage} bytes`);
    length = Number(long);
    at = 10;
  }
  if (data.length < at + 4 + length) return undefined;
  const mask = data.subarray(at, at + 4);
  const payload = data.slice(at + 4, at + 4 + length);
  for (let i = 0; i < payload.length; i++) payload[i] = payload[i]! ^ mask[i & 3]!;
  return { code: first & 0x0f, fin: (first & 0x80) !== 0, payload, length: at + 4 + length };
}
