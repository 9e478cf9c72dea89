import { DecodeError } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import { FrameReader, frameHeader } from './frames.ts';
import type { MemberId } from './types.ts';

/** Who calls whom, and what for: the first frame of a connection, both ways, as JSON. */
export interface Hello {
  cluster: string;
  from: MemberId;
  to: MemberId;
  purpose: 'messages' | 'snapshot';
  /** Where the sender takes calls; without a host at every address that it has. */
  host?: string;
  port?: number;
  /** Where other members that the sender is connected with take calls, `https://host:port` by id in hexadecimal. */
  others?: Record<string, string>;
}

export const helloBytes = 1024;
/** More would not fit into a hello. */
export const maxHelloOthers = 8;

const shape = /^https:\/\/(?:[\d.]{7,15}|\[[\da-f:.]{2,45}\]):\d{1,5}$/;

/** An IP address and a port; names are not handed on: who hears of them may know others by them, and they may be long. */
export const isPeerUrl = (url: unknown): url is string =>
  typeof url === 'string' && shape.test(url) && URL.canParse(url);

/** The URL of a member that is called at this address; undefined for what is none. */
export function urlAt(ip: unknown, port: unknown): string | undefined {
  if (typeof ip !== 'string' || typeof port !== 'number') return undefined;
  const url = `https://${ip.includes(':') ? `[${ip}]` : ip}:${port}`;
  return isPeerUrl(url) ? url : undefined;
}

/** What a hello says of other members; what is no id or no URL is left out. */
export function othersOf({ others }: Hello): Map<MemberId, string> {
  const found = new Map<MemberId, string>();
  if (typeof others !== 'object' || others === null) return found;
  for (const [id, url] of Object.entries(others).slice(0, maxHelloOthers))
    if (/^[\da-f]{1,14}$/.test(id) && isPeerUrl(url)) found.set(Number.parseInt(id, 16), url);
  return found;
}

type TcpSocket = import('bun').Socket<Connection>;

/** One connection, whoever dialled. Everything that goes wrong ends it. */
export class Connection {
  peer: MemberId = 0;
  purpose: Hello['purpose'] | undefined;
  /** Where the other side takes calls, as far as this connection shows. */
  at: string | undefined;
  readonly reader = new FrameReader(helloBytes);
  socket: TcpSocket | undefined;
  /** The other side has shown a certificate of this cluster; nothing is sent or read before. */
  secure = false;
  #queue: Uint8Array[] = [];
  queuedBytes = 0;
  closed = false;
  /** The other side has said who it is. */
  greeted = false;
  onFrame: (kind: number, payload: Uint8Array) => void = () => undefined;
  onClose: (error: Error | undefined) => void = () => undefined;
  #drained: (() => void)[] = [];

  send(kind: number, pieces: readonly Uint8Array[]): void {
    if (this.closed) return;
    for (const piece of [frameHeader(kind, pieces), ...pieces]) {
      if (piece.length === 0) continue;
      this.#queue.push(piece);
      this.queuedBytes += piece.length;
    }
    this.flush();
  }

  flush(): void {
    while (this.secure && this.socket !== undefined && !this.closed && this.#queue.length > 0) {
      const piece = this.#queue[0]!;
      const written = this.socket.write(piece);
      if (written < 0) {
        this.end(new Error('the connection is closed'));
        return;
      }
      this.queuedBytes -= written;
      if (written < piece.length) {
        this.#queue[0] = piece.subarray(written);
        return;
      }
      this.#queue.shift();
    }
    if (this.#queue.length === 0) for (const drained of this.#drained.splice(0)) drained();
  }

  end(error?: Error): void {
    if (this.closed) return;
    this.closed = true;
    this.#queue = [];
    this.queuedBytes = 0;
    for (const drained of this.#drained.splice(0)) drained();
    this.socket?.end();
    this.onClose(error);
  }

  shown(authorized: boolean, error: Error | null): void {
    if (!authorized || error) {
      this.end(new AppError('PEER_TLS', `no certificate of this cluster was shown: ${error?.message ?? 'none'}`));
      return;
    }
    this.secure = true;
    this.flush();
  }

  received(bytes: Uint8Array): void {
    try {
      if (!this.secure) throw new DecodeError('bytes before a certificate');
      for (const { kind, payload } of this.reader.push(bytes)) {
        this.onFrame(kind, payload);
        if (this.closed) return;
      }
    } catch (error) {
      this.end(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

/** What Bun calls for each socket; the connection hangs on it. */
export const handlers = {
  data: (socket: TcpSocket, bytes: Buffer) => socket.data.received(bytes),
  drain: (socket: TcpSocket) => socket.data.flush(),
  close: (socket: TcpSocket) => socket.data.end(),
  error: (socket: TcpSocket, error: Error) => socket.data.end(error),
};
