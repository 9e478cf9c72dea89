import { connect, type Socket } from 'node:net';
import { AppError } from '../../../base/errors.ts';

const maxHead = 64 * 1024;
const connectMs = 10_000;

export interface Upgraded {
  readonly socket: Socket;
  /** Bytes that came behind the answer's head. */
  readonly rest: Uint8Array;
}

/** Asks containerd's streaming server at `url` for a SPDY/3.1 connection with the given stream protocol; throws when it refuses. */
export function spdyConnect(url: string, protocols: readonly string[]): Promise<Upgraded> {
  const { hostname, pathname, port, search } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port) });
    const timer = setTimeout(() => fail(new Error('no answer')), connectMs);
    let seen = Buffer.alloc(0);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(new AppError('STREAM', `container runtime's streaming server: ${error.message}`, { cause: undefined }));
    };
    const onData = (chunk: Buffer): void => {
      seen = Buffer.concat([seen, chunk]);
      const end = seen.indexOf('\r\n\r\n');
      if (end < 0) {
        if (seen.length > maxHead) fail(new Error('answer without end'));
        return;
      }
      const status = /^HTTP\/1\.1 (\d{3}) ?([^\r]*)/.exec(seen.subarray(0, end).toString('latin1'));
      if (status?.[1] !== '101') {
        fail(
          new Error(
            `refused with ${status?.[1] ?? 'no status'} ${status?.[2] ?? ''}: ${seen
              .subarray(end + 4, end + 512)
              .toString('utf8')
              .trim()}`,
          ),
        );
        return;
      }
      clearTimeout(timer);
      socket.off('data', onData);
      socket.off('error', fail);
      socket.off('close', closed);
      socket.pause();
      resolve({ socket, rest: seen.subarray(end + 4) });
    };
    const closed = (): void => fail(new Error('connection closed'));
    socket.on('data', onData);
    socket.once('error', fail);
    socket.once('close', closed);
    socket.once('connect', () => {
      const lines = [
        `POST ${pathname}${search} HTTP/1.1`,
        `Host: ${hostname}:${port}`,
        'Connection: Upgrade',
        'Upgrade: SPDY/3.1',
        ...protocols.map((protocol) => `X-Stream-Protocol-Version: ${protocol}`),
        'Content-Length: 0',
      ];
      socket.write(`${lines.join('\r\n')}\r\n\r\n`);
    });
  });
}
