export {
  E2BIG,
  EACCES,
  EAGAIN,
  EBUSY,
  ECANCELED,
  EEXIST,
  EINVAL,
  EIO,
  ENODATA,
  ENOENT,
  EOPNOTSUPP,
  EPERM,
  ERANGE,
} from '../ops/errno.ts';

/** More negative error numbers, of classes only. */
export const EROFS = -30;
export const EDOM = -33;
export const ESTALE = -116;
export const ENOEXEC = -8;
export const EUCLEAN = -117;
export const ENOTEMPTY = -39;
export const EINPROGRESS = -115;
export const EILSEQ = -84;
export const ESHUTDOWN = -108;
