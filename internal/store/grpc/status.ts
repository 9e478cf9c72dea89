import { AppError } from '../../base/errors.ts';

/** gRPC status codes (grpc/grpc, doc/statuscodes.md). */
export const grpcCode = {
  ok: 0,
  cancelled: 1,
  unknown: 2,
  invalidArgument: 3,
  deadlineExceeded: 4,
  notFound: 5,
  alreadyExists: 6,
  permissionDenied: 7,
  resourceExhausted: 8,
  failedPrecondition: 9,
  aborted: 10,
  outOfRange: 11,
  unimplemented: 12,
  internal: 13,
  unavailable: 14,
  dataLoss: 15,
  unauthenticated: 16,
} as const;
export type GrpcCode = (typeof grpcCode)[keyof typeof grpcCode];

/** What a call ends with instead of an answer; `message` is what the other side reads. */
export class GrpcError extends AppError {
  constructor(
    readonly status: GrpcCode,
    message: string,
    cause?: unknown,
  ) {
    super('GRPC', message, cause === undefined ? {} : { cause });
  }
}

/** `grpc-message`: UTF-8, with everything outside of printable ASCII, and '%', percent-encoded. */
export function encodeGrpcMessage(text: string): string {
  let out = '';
  for (const byte of Buffer.from(text.slice(0, 4096), 'utf8'))
    out +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  return out;
}

/** Never fails: what is not an encoding stays as it is. */
export function decodeGrpcMessage(text: string): string {
  return text.replace(/(%[0-9a-fA-F]{2})+/g, (run) => Buffer.from(run.replaceAll('%', ''), 'hex').toString('utf8'));
}

const units: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 0.001, n: 0.000_001 };

/** Milliseconds of a `grpc-timeout` header (at most 8 digits and a unit); undefined when it is not one. */
export function parseGrpcTimeout(text: string): number | undefined {
  const match = /^(\d{1,8})([HMSmun])$/.exec(text);
  return match ? Number(match[1]) * units[match[2]!]! : undefined;
}
