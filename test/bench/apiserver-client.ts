/** A client that measures: HTTP/2 over TLS with a client certificate, several connections, the time of each request. */
import http2 from 'node:http2';
import type { TestPki } from '../../internal/kube/apiserver/testing.ts';

export interface Answer {
  readonly status: number;
  readonly bytes: number;
}

export class BenchClient {
  readonly #sessions: http2.ClientHttp2Session[];

  private constructor(sessions: http2.ClientHttp2Session[]) {
    this.#sessions = sessions;
  }

  static async connect(port: number, pki: TestPki, connections: number): Promise<BenchClient> {
    const credentials = await pki.client('bench', 'system:masters');
    return new BenchClient(
      Array.from({ length: connections }, () => {
        const session = http2.connect(`https://127.0.0.1:${port}`, { ca: pki.serverCa.cert, ...credentials });
        session.on('error', () => undefined);
        return session;
      }),
    );
  }

  close(): void {
    for (const session of this.#sessions) session.destroy();
  }

  #request(caller: number, method: string, path: string, type: string): http2.ClientHttp2Stream {
    const session = this.#sessions[caller % this.#sessions.length]!;
    return session.request({ ':method': method, ':path': path, 'content-type': type }, { endStream: method === 'GET' });
  }

  call(caller: number, method: string, path: string, body?: string, type = 'application/json'): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const stream = this.#request(caller, method, path, type);
      let status = 0;
      let bytes = 0;
      stream.on('response', (headers) => {
        status = Number(headers[':status']);
      });
      stream.on('data', (piece: Uint8Array) => {
        bytes += piece.length;
      });
      stream.on('end', () =>
        status < 300 ? resolve({ status, bytes }) : reject(new Error(`${method} ${path}: ${status}`)),
      );
      stream.on('error', reject);
      if (method !== 'GET') stream.end(body);
    });
  }

  /** A watch: `onLine` for each event; resolves when the server has begun to answer. */
  watch(caller: number, path: string, onLine: (line: string) => void): Promise<() => void> {
    return new Promise((resolve, reject) => {
      const stream = this.#request(caller, 'GET', path, 'application/json');
      let rest = '';
      stream.on('response', () => resolve(() => stream.close(http2.constants.NGHTTP2_CANCEL)));
      stream.on('data', (piece: Uint8Array) => {
        const lines = (rest + String(piece)).split('\n');
        rest = lines.pop()!;
        for (const line of lines) onLine(line);
      });
      stream.on('error', reject);
    });
  }
}

export interface Times {
  readonly count: number;
  readonly tookMs: number;
  /** Of each request, sorted. */
  readonly ms: readonly number[];
  /** Processor time of this process. */
  readonly cpuMs: number;
}

/** `count` calls by `callers` that each wait for their answer. */
export async function timed(
  count: number,
  callers: number,
  call: (i: number, caller: number) => Promise<unknown>,
): Promise<Times> {
  const ms: number[] = [];
  let next = 0;
  const cpu = process.cpuUsage();
  const began = performance.now();
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      while (next < count) {
        const at = performance.now();
        await call(next++, caller);
        ms.push(performance.now() - at);
      }
    }),
  );
  const tookMs = performance.now() - began;
  const { user, system } = process.cpuUsage(cpu);
  return { count, tookMs, ms: ms.toSorted((a, b) => a - b), cpuMs: (user + system) / 1000 };
}

/** The value that a share of the sorted numbers does not exceed. */
export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}
