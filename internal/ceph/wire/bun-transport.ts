import type { Socket } from 'bun';
import { AppError } from '../../base/errors.ts';
import type { Network, Transport, TransportHandlers } from './transport.ts';

const lingerMs = 500;

interface SocketData {
  handlers: TransportHandlers | undefined;
  closed: boolean;
}

function plainIp(ip: string): string {
  return ip.startsWith('::ffff:') ? ip.slice(7) : ip;
}

class BunTransport implements Transport {
  readonly #socket: Socket<SocketData>;
  readonly remoteIp: string;
  readonly remotePort: number;
  readonly localIp: string;
  readonly localPort: number;

  constructor(socket: Socket<SocketData>) {
    this.#socket = socket;
    this.remoteIp = plainIp(socket.remoteAddress);
    this.remotePort = socket.remotePort;
    this.localIp = plainIp(socket.localAddress);
    this.localPort = socket.localPort;
  }

  write(bytes: Uint8Array): number {
    if (this.#socket.data.closed) return 0;
    return Math.max(this.#socket.write(bytes), 0);
  }
  pause(): void {
    if (!this.#socket.data.closed) this.#socket.pause();
  }
  resume(): void {
    if (!this.#socket.data.closed) this.#socket.resume();
  }
  close(): void {
    this.#socket.data.handlers = undefined;
    if (this.#socket.data.closed) return;
    this.#socket.data.closed = true;
    // What the kernel has already taken still goes out: `terminate` alone would cut off a refusal just written.
    this.#socket.end();
    setTimeout(() => this.#socket.terminate(), lingerMs).unref();
  }
}

function ended(socket: Socket<SocketData>, message: string): void {
  const { handlers } = socket.data;
  socket.data.handlers = undefined;
  socket.data.closed = true;
  handlers?.onClose(message);
}

const common = {
  data: (socket: Socket<SocketData>, bytes: Uint8Array): void => socket.data.handlers?.onData(bytes),
  drain: (socket: Socket<SocketData>): void => socket.data.handlers?.onDrain(),
  end: (socket: Socket<SocketData>): void => {
    ended(socket, 'the peer closed the connection');
    socket.terminate();
  },
  close: (socket: Socket<SocketData>): void => ended(socket, 'the connection was closed'),
  error: (socket: Socket<SocketData>, error: Error): void => ended(socket, error.message),
  binaryType: 'uint8array' as const,
};

function opened(socket: Socket<SocketData>, accept: (transport: Transport) => TransportHandlers): void {
  socket.setNoDelay(true);
  socket.data.handlers = accept(new BunTransport(socket));
}

/** TCP by Bun's sockets. */
export const bunNetwork: Network = {
  listen: async (ip, port, accept) => {
    try {
      const listener = Bun.listen<SocketData>({
        hostname: ip,
        port,
        socket: {
          ...common,
          open: (socket) => {
            socket.data = { handlers: undefined, closed: false };
            opened(socket, accept);
          },
        },
      });
      return { port: listener.port, close: () => listener.stop() };
    } catch (cause) {
      throw new AppError('LISTEN', `cannot listen on ${ip}:${port}`, { cause });
    }
  },
  dial: async (ip, port, accept) => {
    await Bun.connect<SocketData>({
      hostname: ip,
      port,
      data: { handlers: undefined, closed: false },
      socket: { ...common, open: (socket) => opened(socket, accept), connectError: () => undefined },
    });
  },
};
