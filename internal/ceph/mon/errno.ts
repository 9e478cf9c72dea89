import { AppError } from '../../base/errors.ts';

/** Numbers of Linux errors that mons and mgrs answer with (negative on the wire). */
export const EPERM = 1;
export const ENOENT = 2;
export const EIO = 5;
export const ENOEXEC = 8;
export const EAGAIN = 11;
export const EACCES = 13;
export const EBUSY = 16;
export const EEXIST = 17;
export const EINVAL = 22;
export const EDOM = 33;
export const ERANGE = 34;
export const ENOTEMPTY = 39;
export const ENOTSUP = 95;
export const ETIMEDOUT = 110;
export const EALREADY = 114;
export const ESTALE = 116;

/** A command or request that is refused: `errno` goes to the client as negative code, the message as its status line. */
export class Refusal extends AppError {
  constructor(
    readonly errno: number,
    message: string,
    readonly output = '',
  ) {
    super('REFUSED', message);
  }
}

/**
 * This mon does not lead, or does not know any more whether it does: what was asked for is to be asked of whoever leads. It may have taken effect.
 */
export class NotLeadingError extends AppError {
  constructor() {
    super('NOT_LEADING', 'this mon does not lead');
  }
}

const errnoByCode: Readonly<Record<string, number>> = {
  EPERM,
  ENOENT,
  EIO,
  EAGAIN,
  EACCES,
  EBUSY,
  EEXIST,
  ENOTDIR: 20,
  EINVAL,
  ERANGE,
  ENOTEMPTY,
  ELOOP: 40,
  EOVERFLOW: 75,
  ENOTSUP,
  EOPNOTSUPP: ENOTSUP,
  EALREADY,
  BAD_CAPS: EINVAL,
  KEYRING: EINVAL,
  DECODE: EINVAL,
};

/** Any expected failure as a refusal; throws what is a defect. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof AppError) {
    const errno = errnoByCode[error.code];
    if (errno !== undefined) return new Refusal(errno, error.message);
  }
  throw error;
}
