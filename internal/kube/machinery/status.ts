import { AppError } from '../../base/errors.ts';

/**
 * metav1.Status, what every failed request answers (k8s.io/apimachinery/pkg/api/errors). The constructors below give the code, reason,
 * message and details that upstream gives, because clients match on them.
 */
export interface Status {
  kind: 'Status';
  apiVersion: 'v1';
  metadata: { continue?: string; remainingItemCount?: number; resourceVersion?: string };
  status: 'Success' | 'Failure';
  message?: string;
  reason?: StatusReason;
  details?: StatusDetails;
  code?: number;
}

export interface StatusDetails {
  name?: string;
  group?: string;
  /** The kind, or in errors about requests the resource's plural. */
  kind?: string;
  uid?: string;
  causes?: StatusCause[];
  retryAfterSeconds?: number;
}

export interface StatusCause {
  /** `FieldValueRequired`, `FieldValueInvalid`, `FieldManagerConflict`, `DisruptionBudget`, … */
  reason?: string;
  message?: string;
  field?: string;
}

export type StatusReason =
  | ''
  | 'Unauthorized'
  | 'Forbidden'
  | 'NotFound'
  | 'AlreadyExists'
  | 'Conflict'
  | 'Gone'
  | 'Invalid'
  | 'ServerTimeout'
  | 'StoreReadError'
  | 'Timeout'
  | 'TooManyRequests'
  | 'BadRequest'
  | 'MethodNotAllowed'
  | 'NotAcceptable'
  | 'RequestEntityTooLarge'
  | 'UnsupportedMediaType'
  | 'InternalError'
  | 'Expired'
  | 'ServiceUnavailable';

/** A resource as it is named in messages: `deployments.apps`, `pods`. */
export interface GroupResource {
  group: string;
  resource: string;
}

/** The one error of the API: what the server answers, what the client throws. `code` of AppError is the reason. */
export class StatusError extends AppError {
  readonly status: Status;
  constructor(status: Status) {
    super(status.reason || 'Unknown', status.message ?? status.reason ?? 'unknown error');
    this.status = status;
  }
  /** The HTTP status code. */
  get httpCode(): number {
    return this.status.code ?? 500;
  }
  get reason(): StatusReason {
    return this.status.reason ?? '';
  }
}

/** Whether `error` is a StatusError with that reason. */
export function isStatus(error: unknown, ...reasons: StatusReason[]): error is StatusError {
  return error instanceof StatusError && reasons.includes(error.reason);
}

export function failure(code: number, reason: StatusReason, message: string, details?: StatusDetails): StatusError {
  return new StatusError({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message,
    reason,
    ...(details === undefined ? {} : { details }),
    code,
  });
}

function qualified(resource: GroupResource): string {
  return resource.group === '' ? resource.resource : `${resource.resource}.${resource.group}`;
}

function named(resource: GroupResource, name: string): StatusDetails {
  return {
    ...(name === '' ? {} : { name }),
    ...(resource.group === '' ? {} : { group: resource.group }),
    kind: resource.resource,
  };
}

export function notFound(resource: GroupResource, name: string): StatusError {
  return failure(404, 'NotFound', `${qualified(resource)} "${name}" not found`, named(resource, name));
}

export function alreadyExists(resource: GroupResource, name: string): StatusError {
  return failure(409, 'AlreadyExists', `${qualified(resource)} "${name}" already exists`, named(resource, name));
}

/** generateName clashed too often: upstream answers AlreadyExists with a hint to try again. */
export function generateNameConflict(resource: GroupResource, name: string): StatusError {
  const error = alreadyExists(resource, name);
  return failure(
    409,
    'AlreadyExists',
    `${qualified(resource)} "${name}" already exists, the server was not able to generate a unique name for the object`,
    error.status.details,
  );
}

export const optimisticLockMessage =
  'the object has been modified; please apply your changes to the latest version and try again';

export function conflict(resource: GroupResource, name: string, why: string = optimisticLockMessage): StatusError {
  return failure(
    409,
    'Conflict',
    `Operation cannot be fulfilled on ${qualified(resource)} "${name}": ${why}`,
    named(resource, name),
  );
}

/** Server-side apply met fields owned by other managers. */
export function applyConflict(message: string, causes: StatusCause[]): StatusError {
  return failure(409, 'Conflict', message, { causes });
}

export function forbidden(resource: GroupResource, name: string, why: string): StatusError {
  let message: string;
  if (resource.resource === '') message = `forbidden: ${why}`;
  else if (name === '') message = `${qualified(resource)} is forbidden: ${why}`;
  else message = `${qualified(resource)} "${name}" is forbidden: ${why}`;
  return failure(403, 'Forbidden', message, named(resource, name));
}

export function unauthorized(message = 'Unauthorized'): StatusError {
  return failure(401, 'Unauthorized', message);
}

export function badRequest(message: string): StatusError {
  return failure(400, 'BadRequest', message);
}

/** 410 with reason Expired: the resourceVersion or continue token is older than what is kept. */
export function expired(message: string, continueToken?: string): StatusError {
  const error = failure(410, 'Expired', message);
  if (continueToken !== undefined) error.status.metadata.continue = continueToken;
  return error;
}

export function gone(message: string): StatusError {
  return failure(410, 'Gone', message);
}

export function methodNotSupported(resource: GroupResource, action: string): StatusError {
  return failure(405, 'MethodNotAllowed', `${action} is not supported on resources of kind "${qualified(resource)}"`, {
    ...(resource.group === '' ? {} : { group: resource.group }),
    kind: resource.resource,
  });
}

export function notAcceptable(accepted: string[]): StatusError {
  return failure(406, 'NotAcceptable', `only the following media types are accepted: ${accepted.join(', ')}`);
}

export function unsupportedMediaType(got: string, accepted: string[]): StatusError {
  return failure(
    415,
    'UnsupportedMediaType',
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}${got === '' ? '' : ''}`,
  );
}

export function tooLarge(message: string): StatusError {
  return failure(413, 'RequestEntityTooLarge', `Request entity too large: ${message}`);
}

export function tooManyRequests(message: string, retryAfterSeconds: number, causes?: StatusCause[]): StatusError {
  return failure(429, 'TooManyRequests', message, {
    ...(causes === undefined ? {} : { causes }),
    ...(retryAfterSeconds > 0 ? { retryAfterSeconds } : {}),
  });
}

export function timeout(message: string, retryAfterSeconds = 0): StatusError {
  return failure(504, 'Timeout', `Timeout: ${message}`, retryAfterSeconds > 0 ? { retryAfterSeconds } : undefined);
}

export function serviceUnavailable(message: string): StatusError {
  return failure(503, 'ServiceUnavailable', message);
}

export function internalError(message: string): StatusError {
  return failure(500, 'InternalError', `Internal error occurred: ${message}`, { causes: [{ message }] });
}

/** One wrong field, as k8s.io/apimachinery/pkg/util/validation/field names it. */
export type FieldErrorType =
  | 'FieldValueNotFound'
  | 'FieldValueRequired'
  | 'FieldValueDuplicate'
  | 'FieldValueInvalid'
  | 'FieldValueNotSupported'
  | 'FieldValueForbidden'
  | 'FieldValueTooLong'
  | 'FieldValueTooMany'
  | 'InternalError'
  | 'FieldValueTypeInvalid';

export interface FieldError {
  type: FieldErrorType;
  /** `spec.containers[0].image` */
  field: string;
  /** The message without the field: `Required value`, `Invalid value: "x": must be …`. */
  detail: string;
}

/** 422: the object is well-formed but its content is refused. `kind` is the kind, not the plural, as upstream. */
export function invalid(group: string, kind: string, name: string, errors: FieldError[]): StatusError {
  const texts = [...new Set(errors.map((e) => `${e.field}: ${e.detail}`))];
  const list = texts.length === 1 ? texts[0]! : `[${texts.join(', ')}]`;
  return failure(422, 'Invalid', `${group === '' ? kind : `${kind}.${group}`} "${name}" is invalid: ${list}`, {
    ...(name === '' ? {} : { name }),
    ...(group === '' ? {} : { group }),
    kind,
    causes: errors.map((e) => ({ reason: e.type, message: e.detail, field: e.field })),
  });
}

export function success(details?: StatusDetails): Status {
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    ...(details === undefined ? {} : { details }),
  };
}
