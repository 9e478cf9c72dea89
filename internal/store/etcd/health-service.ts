import { Reader, Writer } from 'protobufjs/minimal.js';
import { GrpcError, grpcCode } from '../grpc/status.ts';
import type { Method } from '../grpc/service.ts';

const serving = 1;
const notServing = 2;

/** `grpc.health.v1.Health` (grpc/grpc, doc/health-checking.md): Check for the server ('') and each of its services, and Watch. */
export function healthService(services: () => Iterable<string>, healthy: () => Promise<boolean>): Map<string, Method> {
  const status = async (message: Uint8Array): Promise<Uint8Array> => {
    const name = serviceName(message);
    if (name !== '' && ![...services()].includes(name)) throw new GrpcError(grpcCode.notFound, 'unknown service');
    return Writer.create()
      .uint32(8)
      .int32((await healthy()) ? serving : notServing)
      .finish();
  };
  return new Map<string, Method>([
    ['Check', { kind: 'unary', handle: status }],
    [
      'Watch',
      {
        kind: 'stream',
        open: (stream) =>
          stream.onMessage((message) => {
            status(message).then(
              (answer) => stream.send([answer]),
              (error: unknown) => stream.end(error instanceof GrpcError ? error : undefined),
            );
          }),
      },
    ],
  ]);
}

function serviceName(message: Uint8Array): string {
  try {
    const r = Reader.create(message);
    let name = '';
    while (r.pos < r.len) {
      const tag = r.uint32();
      if (tag === 10) name = r.string();
      else r.skipType(tag & 7);
    }
    return name;
  } catch {
    throw new GrpcError(grpcCode.internal, 'grpc: error unmarshalling request');
  }
}
