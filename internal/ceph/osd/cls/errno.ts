export {
  E2BIG,
  EACCES,
  EAGAIN,
  EBUSY,
  ECANCELED,
  EDQUOT,
  EEXIST,
  EINVAL,
  EIO,
  ENODATA,
  ENOENT,
  EOPNOTSUPP,
  EOVERFLOW,
  EPERM,
  ERANGE,
} from '../ops/errno.ts';

/** More negative error numbers of Linux, of classes only. */
export const ENXIO = -6;
export const ENOEXEC = -8;
export const EBADF = -9;
export const EXDEV = -18;
export const ENOSYS = -38;
export const ENOMSG = -42;
export const ENOLINK = -67;
export const ESTALE = -116;
export const EBADMSG = -74;
