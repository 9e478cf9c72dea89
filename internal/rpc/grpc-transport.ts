import { Client, credentials, Metadata, type ServiceError, status as Status } from '@grpc/grpc-js';
import type { MethodDefinition, PackageDefinition, ServiceDefinition } from '@grpc/proto-loader';
import { AppError } from '../base/errors.ts';

/** A call that the other side, or the way to it, refused. `status` is the gRPC status code's name, such as `NOT_FOUND`. */
export class RpcError extends AppError {
  readonly status: string;

  constructor(method: string, status: string, details: string, cause?: unknown) {
    super(`RPC_${status}`, details || status, {
      cause: cause instanceof Error ? undefined : cause,
      hint: `call ${method}`,
    });
    this.status = status;
  }
}

/** True when `error` says that the named thing does not exist. */
export function isNotFound(error: unknown): boolean {
  return error instanceof RpcError && error.status === 'NOT_FOUND';
}

export interface CallOptions {
  /** Milliseconds from now until the call is given up; 0 waits for ever. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

const channelOptions = {
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 2000,
  'grpc.max_receive_message_length': 16 * 1024 * 1024,
  'grpc.max_send_message_length': 16 * 1024 * 1024,
};

/** One gRPC connection, by default over a unix socket without TLS, which is where CRI and CSI are spoken. */
export class GrpcTransport {
  readonly #client: Client;
  readonly #definition: PackageDefinition;

  /** `target` is a path of a unix socket, or `host:port` with `plain` for grpc probes. */
  constructor(target: string, definition: PackageDefinition) {
    this.#client = new Client(
      target.startsWith('/') ? `unix:${target}` : target,
      credentials.createInsecure(),
      channelOptions,
    );
    this.#definition = definition;
  }

  #method(service: string, name: string): MethodDefinition<object, object> {
    const methods = this.#definition[service] as ServiceDefinition | undefined;
    const method = methods?.[name];
    if (!method) throw new Error(`no method ${service}/${name}`);
    return method;
  }

  unary<Response>(service: string, name: string, request: object, options: CallOptions = {}): Promise<Response> {
    const method = this.#method(service, name);
    const timeoutMs = options.timeoutMs ?? 30_000;
    return new Promise((resolve, reject) => {
      if (options.signal?.aborted) return reject(new RpcError(method.path, 'CANCELLED', 'cancelled before it began'));
      const callOptions = timeoutMs > 0 ? { deadline: new Date(Date.now() + timeoutMs) } : {};
      const call = this.#client.makeUnaryRequest<object, object>(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        request,
        new Metadata(),
        callOptions,
        (error: ServiceError | null, response?: object) => {
          options.signal?.removeEventListener('abort', cancel);
          if (error) reject(new RpcError(method.path, Status[error.code] ?? 'UNKNOWN', error.details, error));
          else resolve(response as Response);
        },
      );
      const cancel = (): void => call.cancel();
      options.signal?.addEventListener('abort', cancel, { once: true });
    });
  }

  /** Messages until the stream ends; a broken stream throws. */
  async *serverStream<Message>(
    service: string,
    name: string,
    request: object,
    signal: AbortSignal,
  ): AsyncGenerator<Message> {
    const method = this.#method(service, name);
    const call = this.#client.makeServerStreamRequest<object, object>(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      new Metadata(),
      {},
    );
    const cancel = (): void => call.cancel();
    signal.addEventListener('abort', cancel, { once: true });
    if (signal.aborted) cancel();
    try {
      for await (const message of call) yield message as Message;
    } catch (error) {
      if (signal.aborted) return;
      const failed = error as ServiceError;
      throw new RpcError(method.path, Status[failed.code] ?? 'UNKNOWN', failed.details ?? failed.message, error);
    } finally {
      signal.removeEventListener('abort', cancel);
      call.cancel();
    }
  }

  close(): void {
    this.#client.close();
  }
}
