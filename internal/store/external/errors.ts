import { AppError } from '../../base/errors.ts';
import {
  ClusterError,
  CompactedError,
  CorruptError,
  FutureRevisionError,
  type InvalidReason,
  InvalidRequestError,
  KeyNotFoundError,
  LeaseExistsError,
  LeaseNotFoundError,
  type MembershipReason,
  NoSpaceError,
  StoreBusyError,
} from '../errors.ts';
import { codeOfText } from '../etcd/errors.ts';
import { GrpcError, grpcCode } from '../grpc/status.ts';

/** What etcd's text does not say. */
export interface ErrorFacts {
  revision?: number;
  lease?: bigint;
  current: number;
  compacted: number;
  endpoints: string;
}

/** Our errors for etcd's, where more than the text belongs to them. */
const made: Record<string, (facts: ErrorFacts) => Error> = {
  COMPACTED: ({ revision = 0, compacted }) => new CompactedError(revision, Math.max(compacted, revision)),
  FUTURE_REVISION: ({ revision = 0, current }) => new FutureRevisionError(revision, current),
  LEASE_NOT_FOUND: ({ lease = 0n }) => new LeaseNotFoundError(lease),
  LEASE_EXISTS: ({ lease = 0n }) => new LeaseExistsError(lease),
  KEY_NOT_FOUND: () => new KeyNotFoundError(),
  NO_SPACE: () => new NoSpaceError(0),
  CORRUPT: () => new CorruptError(),
  STORE_BUSY: ({ endpoints }) => new StoreBusyError(endpoints, 0),
  LEASE_TTL_TOO_LARGE: () => new InvalidRequestError('the lease is too long', 'LEASE_TTL_TOO_LARGE'),
};

/** The error that our own store would give for one of etcd's; what is no answer of etcd stays as it is. */
export function storeError(error: unknown, facts: ErrorFacts): unknown {
  if (!(error instanceof GrpcError)) return error;
  const code = codeOfText(error.message);
  const make = code === undefined ? undefined : made[code];
  if (make) return make(facts);
  if (error.status === grpcCode.unavailable || error.status === grpcCode.deadlineExceeded)
    return new ClusterError('TIMEOUT', `the etcd at ${facts.endpoints} did not answer: ${error.message}`);
  if (code !== undefined && error.status === grpcCode.invalidArgument)
    return new InvalidRequestError(error.message, code as InvalidReason);
  if (code !== undefined) return new ClusterError(code as MembershipReason, error.message);
  return new AppError('DATASTORE', `the etcd at ${facts.endpoints}: ${error.message}`, { cause: error });
}
