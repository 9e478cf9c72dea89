/** Upgraded connections (SPDY, WebSocket) passed through, byte by byte. */
import net from 'node:net';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';

export interface UpgradeTarget {
  readonly host: string;
  readonly port: number;
  /** Path and query. */
  readonly path: string;
  /** The Host header. */
  readonly name: string;
  /** Undefined: without TLS. */
  readonly tls?: tls.ConnectionOptions | undefined;
}

const connectMs = 10_000;
const headBytesMax = 64 * 1024;

/**
 * Sends the head of the request on, then passes bytes both ways. Resolves when the other has answered; rejects with the plain error as long as nothing was sent
 * to the client. `closed` is called when the client's side has ended.
 */
export function passThrough(
  target: UpgradeTarget,
  method: string,
  headers: readonly (readonly [string, string])[],
  client: Duplex,
  head: Uint8Array,
  closed?: () => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const { host, port } = target;
    const upstream =
      target.tls === undefined
        ? net.connect({ host, port })
        : tls.connect({ host, port, ...target.tls, ALPNProtocols: ['http/1.1'] });
    let answered = false;
    const timer = setTimeout(() => upstream.destroy(new Error('dial timeout')), connectMs);
    const fail = (error: Error): void => {
      clearTimeout(timer);
      upstream.destroy();
      if (answered) client.destroy();
      else reject(error);
    };
    upstream.on('error', fail);
    client.on('error', () => upstream.destroy());
    upstream.once(target.tls === undefined ? 'connect' : 'secureConnect', () => {
      clearTimeout(timer);
      let text = `${method} ${target.path} HTTP/1.1\r\nHost: ${target.name}\r\n`;
      for (const [name, value] of headers) text += `${name}: ${value}\r\n`;
      upstream.write(`${text}\r\n`);
      if (head.length > 0) upstream.write(head);
    });
    let buffered = Buffer.alloc(0);
    const onData = (piece: Buffer): void => {
      buffered = Buffer.concat([buffered, piece]);
      const end = buffered.indexOf('\r\n\r\n');
      if (end < 0) {
        if (buffered.length > headBytesMax) fail(new Error('the other side sent too long a header'));
        return;
      }
      upstream.off('data', onData);
      answered = true;
      client.write(buffered);
      upstream.pipe(client);
      client.pipe(upstream);
      resolve();
    };
    upstream.on('data', onData);
    upstream.once('close', () => {
      if (answered) client.end();
      else fail(new Error('the other side closed the connection'));
    });
    client.once('close', () => {
      upstream.destroy();
      closed?.();
    });
  });
}
