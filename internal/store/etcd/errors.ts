import { AppError, errorCode, errorText } from '../../base/errors.ts';
import { GrpcError, type GrpcCode, grpcCode } from '../grpc/status.ts';

/**
 * Codes and texts that etcd answers (api/v3rpc/rpctypes/error.go), by the code of our own errors. Clients compare the texts, so they are etcd's to the
 * letter.
 */
const table: Record<string, readonly [GrpcCode, string]> = {
  EMPTY_KEY: [grpcCode.invalidArgument, 'etcdserver: key is not provided'],
  KEY_NOT_FOUND: [grpcCode.invalidArgument, 'etcdserver: key not found'],
  VALUE_PROVIDED: [grpcCode.invalidArgument, 'etcdserver: value is provided'],
  LEASE_PROVIDED: [grpcCode.invalidArgument, 'etcdserver: lease is provided'],
  TOO_MANY_OPS: [grpcCode.invalidArgument, 'etcdserver: too many operations in txn request'],
  DUPLICATE_KEY: [grpcCode.invalidArgument, 'etcdserver: duplicate key given in txn request'],
  INVALID_SORT: [grpcCode.invalidArgument, 'etcdserver: invalid sort option'],
  REQUEST_TOO_LARGE: [grpcCode.invalidArgument, 'etcdserver: request is too large'],
  STORE_BUSY: [grpcCode.resourceExhausted, 'etcdserver: too many requests'],
  COMPACTED: [grpcCode.outOfRange, 'etcdserver: mvcc: required revision has been compacted'],
  FUTURE_REVISION: [grpcCode.outOfRange, 'etcdserver: mvcc: required revision is a future revision'],
  NO_SPACE: [grpcCode.resourceExhausted, 'etcdserver: mvcc: database space exceeded'],
  CORRUPT: [grpcCode.dataLoss, 'etcdserver: corrupt cluster'],
  LEASE_NOT_FOUND: [grpcCode.notFound, 'etcdserver: requested lease not found'],
  LEASE_EXISTS: [grpcCode.failedPrecondition, 'etcdserver: lease already exists'],
  LEASE_TTL_TOO_LARGE: [grpcCode.outOfRange, 'etcdserver: too large lease TTL'],
  MEMBER_NOT_FOUND: [grpcCode.notFound, 'etcdserver: member not found'],
  PEER_URL_EXISTS: [grpcCode.failedPrecondition, 'etcdserver: Peer URLs already exists'],
  BAD_MEMBER_URLS: [grpcCode.invalidArgument, 'etcdserver: given member URLs are invalid'],
  NOT_LEARNER: [grpcCode.failedPrecondition, 'etcdserver: can only promote a learner member'],
  LEARNER_NOT_READY: [
    grpcCode.failedPrecondition,
    'etcdserver: can only promote a learner member which is in sync with leader',
  ],
  NOT_ENOUGH_MEMBERS: [
    grpcCode.failedPrecondition,
    'etcdserver: re-configuration failed due to not enough started members',
  ],
  UNHEALTHY_CLUSTER: [grpcCode.unavailable, 'etcdserver: unhealthy cluster'],
  BAD_LEADER_TRANSFEREE: [grpcCode.failedPrecondition, 'etcdserver: bad leader transferee'],
  NOT_LEADER: [grpcCode.failedPrecondition, 'etcdserver: not leader'],
  NO_LEADER: [grpcCode.unavailable, 'etcdserver: no leader'],
  LEADER_CHANGED: [grpcCode.unavailable, 'etcdserver: leader changed'],
  TIMEOUT: [grpcCode.unavailable, 'etcdserver: request timed out'],
  STORE_CLOSED: [grpcCode.unavailable, 'etcdserver: server stopped'],
  REMOVED: [grpcCode.unavailable, 'etcdserver: server stopped'],
  STORE_FAILED: [grpcCode.unavailable, 'etcdserver: server stopped'],
  AUTH_NOT_ENABLED: [grpcCode.failedPrecondition, 'etcdserver: authentication is not enabled'],
  ROOT_USER_NOT_EXIST: [grpcCode.failedPrecondition, 'etcdserver: root user does not exist'],
  DOWNGRADE_VERSION_FORMAT: [grpcCode.invalidArgument, 'etcdserver: wrong downgrade target version format'],
  INVALID_DOWNGRADE_VERSION: [grpcCode.invalidArgument, 'etcdserver: invalid downgrade target version'],
  NO_INFLIGHT_DOWNGRADE: [grpcCode.failedPrecondition, 'etcdserver: no inflight downgrade job'],
};

/** The error that a code stands for. */
export function etcdError(code: string): GrpcError {
  const [status, text] = table[code]!;
  return new GrpcError(status, text);
}

/** What the client is told of a refusal; anything but an AppError is a defect and stays what it is. */
export function toEtcdError(error: unknown): unknown {
  if (error instanceof GrpcError || !(error instanceof AppError)) return error;
  const known = table[error.code];
  if (known !== undefined) return new GrpcError(known[0], known[1], error);
  return new GrpcError(
    error.code === 'INVALID_REQUEST' ? grpcCode.invalidArgument : grpcCode.unknown,
    errorText(error),
    error,
  );
}

/** The text of a watch that was refused or ended: clients read it like an error's. */
export function etcdErrorText(error: unknown): string {
  const code = errorCode(error);
  return (code !== undefined && table[code]?.[1]) || errorText(error);
}

/** Our code for an etcd error's text; undefined when it is none of the table. */
export function codeOfText(text: string): string | undefined {
  return byText.get(text);
}

const byText = new Map(Object.entries(table).map(([code, [, text]]) => [text, code]));
