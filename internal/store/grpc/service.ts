import { GrpcError, grpcCode } from './status.ts';

/** What a handler knows of its call. */
export interface CallInfo {
  /** Aborts when the client went away or its deadline has passed: nobody reads the answer. */
  readonly signal: AbortSignal;
}

/** A stream from the server's side. Nothing is called after `onClose`. */
export interface ServerStream extends CallInfo {
  onMessage(handler: (message: Uint8Array) => void): void;
  /** The client sends no more. */
  onHalfClose(handler: () => void): void;
  /** The stream is over, by whoever's doing. */
  onClose(handler: () => void): void;
  /** False: more is waiting than the client takes; send on after `onDrain`. */
  send(messages: readonly Uint8Array[]): boolean;
  onDrain(handler: () => void): void;
  /** No more messages are taken from the client until `resume`. */
  pause(): void;
  resume(): void;
  end(error?: GrpcError): void;
}

/** One answer, now or later. A GrpcError is sent as it is; anything else is told as INTERNAL and logged. */
export type UnaryHandler = (message: Uint8Array, info: CallInfo) => Uint8Array | Promise<Uint8Array>;
export type StreamHandler = (stream: ServerStream) => void;

export type Method = { kind: 'unary'; handle: UnaryHandler } | { kind: 'stream'; open: StreamHandler };

/** Methods by service (`etcdserverpb.KV`) and name (`Put`). */
export type Services = ReadonlyMap<string, ReadonlyMap<string, Method>>;

/** The method of a request's path, in the words of grpc-go where there is none. */
export function findMethod(services: Services, path: string): Method {
  const match = /^\/([^/]+)\/([^/]+)$/.exec(path);
  if (!match)
    throw new GrpcError(grpcCode.unimplemented, `malformed method name: ${JSON.stringify(path.slice(0, 200))}`);
  const service = services.get(match[1]!);
  if (service === undefined) throw new GrpcError(grpcCode.unimplemented, `unknown service ${match[1]!.slice(0, 200)}`);
  const method = service.get(match[2]!);
  if (method === undefined)
    throw new GrpcError(
      grpcCode.unimplemented,
      `unknown method ${match[2]!.slice(0, 200)} for service ${match[1]!.slice(0, 200)}`,
    );
  return method;
}
