/** Negative error numbers of Linux as RADOS returns them. */
export const EPERM = -1;
export const ENOENT = -2;
export const EIO = -5;
export const E2BIG = -7;
export const EAGAIN = -11;
export const EACCES = -13;
export const EBUSY = -16;
export const EEXIST = -17;
export const EINVAL = -22;
export const EFBIG = -27;
export const ENOSPC = -28;
export const ERANGE = -34;
export const ENAMETOOLONG = -36;
export const ENODATA = -61;
export const EOVERFLOW = -75;
/** No clone serves an older snapshot context (`EOLDSNAPC` is ERESTART). */
export const EOLDSNAPC = -85;
export const EMSGSIZE = -90;
export const EOPNOTSUPP = -95;
export const ENOTCONN = -107;
export const EBLOCKLISTED = -108;
export const ETIMEDOUT = -110;
export const EDQUOT = -122;
export const ECANCELED = -125;
/** CMPEXT answers -(4095 + offset of the first difference). */
export const MAX_ERRNO = 4095;
