import { AppError } from '../../base/errors.ts';

export const EPERM = -1;
export const ENOENT = -2;
export const EIO = -5;
export const EACCES = -13;
export const EBUSY = -16;
export const EEXIST = -17;
export const EINVAL = -22;
export const ENOSPC = -28;
export const ERANGE = -34;
export const ENOTEMPTY = -39;
export const EOPNOTSUPP = -95;
export const ENOTCONN = -107;
export const ESHUTDOWN = -108;
export const ETIMEDOUT = -110;
export const ECANCELED = -125;

const names: Record<number, string> = {
  [EPERM]: 'EPERM: operation not permitted',
  [ENOENT]: 'ENOENT: no such object',
  [EIO]: 'EIO: input/output error',
  [EACCES]: 'EACCES: permission denied',
  [EBUSY]: 'EBUSY: busy',
  [EEXIST]: 'EEXIST: exists already',
  [EINVAL]: 'EINVAL: invalid argument',
  [ENOSPC]: 'ENOSPC: no space left',
  [ERANGE]: 'ERANGE: out of range',
  [ENOTEMPTY]: 'ENOTEMPTY: not empty',
  [EOPNOTSUPP]: 'EOPNOTSUPP: not supported',
  [ENOTCONN]: 'ENOTCONN: not connected',
  [ESHUTDOWN]: 'EBLOCKLISTED: this client is blocklisted',
  [ETIMEDOUT]: 'ETIMEDOUT: timed out',
  [ECANCELED]: 'ECANCELED: a comparison failed',
};

/** A request that the cluster answered with an error. `errno` is negative, as on the wire: -2 not there, -17 exists, -16 busy. */
export class RadosError extends AppError {
  readonly errno: number;
  constructor(errno: number, what: string) {
    super(`RADOS${errno}`, `${what}: ${names[errno] ?? `error ${errno}`}`);
    this.errno = errno;
  }
}

/** Whether `error` is that answer. */
export function isRadosError(error: unknown, errno: number): error is RadosError {
  return error instanceof RadosError && error.errno === errno;
}
