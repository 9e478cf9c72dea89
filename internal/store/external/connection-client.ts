import { type Clock, sleep } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { type ClientStream, GrpcConnection, type GrpcTarget, type StreamHandlers } from '../grpc/client.ts';
import { GrpcError, grpcCode } from '../grpc/status.ts';

/** The next address is tried after this, longer each time that none answers. */
const retryFromMs = 100;
const retryToMs = 5000;

/** Connects to one of several addresses and moves on to the next when it fails. */
export class Connections {
  readonly #targets: readonly GrpcTarget[];
  readonly #clock: Clock;
  readonly #log: Logger;
  #next = 0;
  #current: Promise<GrpcConnection> | undefined;
  #failures = 0;
  #closed = false;

  constructor(targets: readonly GrpcTarget[], clock: Clock, log: Logger) {
    this.#targets = targets;
    this.#clock = clock;
    this.#log = log;
  }

  /** The connection that is open, or a new one; GrpcError UNAVAILABLE when no address answers. */
  get(): Promise<GrpcConnection> {
    if (this.#closed) return Promise.reject(new GrpcError(grpcCode.unavailable, 'the client is closed'));
    this.#current ??= this.#connect();
    return this.#current;
  }

  async #connect(): Promise<GrpcConnection> {
    let last: unknown;
    if (this.#failures > 0) await sleep(this.#clock, Math.min(retryToMs, retryFromMs * 2 ** (this.#failures - 1)));
    for (let tried = 0; tried < this.#targets.length && !this.#closed; tried++) {
      const target = this.#targets[this.#next % this.#targets.length]!;
      try {
        const connection = await GrpcConnection.connect(target, () => {
          // Another address next: what ended this one may last.
          this.#next++;
          this.#current = undefined;
        });
        this.#failures = 0;
        return connection;
      } catch (error) {
        last = error;
        this.#next++;
        this.#log.debug('etcd does not answer', { host: target.host, port: target.port, error: errorText(error) });
      }
    }
    this.#failures++;
    this.#current = undefined;
    throw last ?? new GrpcError(grpcCode.unavailable, 'the client is closed');
  }

  async unary(path: string, message: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
    const connection = await this.get();
    return connection.unary(path, message, timeoutMs);
  }

  async stream(path: string, handlers: StreamHandlers): Promise<ClientStream> {
    const connection = await this.get();
    return connection.stream(path, handlers);
  }

  close(): void {
    this.#closed = true;
    this.#current?.then(
      (connection) => connection.close(),
      () => undefined,
    );
  }
}
