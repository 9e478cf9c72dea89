import { type Status, StatusError, type StatusReason } from '../machinery/status.ts';

export { StatusError } from '../machinery/status.ts';

export function isStatusObject(value: unknown): value is Status {
  return typeof value === 'object' && value !== null && (value as { kind?: unknown }).kind === 'Status';
}

const reasons: Record<number, StatusReason> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  409: 'Conflict',
  410: 'Gone',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  503: 'ServiceUnavailable',
  504: 'Timeout',
};

/** The error of a failed answer: its own Status when it is one, else one made of the HTTP code and the text. */
export function statusFromHttp(code: number, text: string, request: string): StatusError {
  try {
    const value: unknown = JSON.parse(text);
    if (isStatusObject(value)) return new StatusError(value);
  } catch {
    // Not JSON: a proxy or a server that is just starting.
  }
  return new StatusError({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    code,
    reason: reasons[code] ?? 'InternalError',
    message: `${request}: ${text.slice(0, 500) || `HTTP ${code}`}`,
  });
}
