import { DecodeError, emptyBytes } from '../../../base/bytes.ts';
import { type ClassContext, ClassFailure, type ClassMethod, type ClassMethods, type ClassOutput } from './context.ts';
import { EINVAL } from './errno.ts';
import { casMethods } from './cas.ts';
import { helloMethods } from './hello.ts';
import { journalMethods } from './journal.ts';
import { lockMethods } from './lock.ts';
import { logMethods } from './log.ts';
import { numopsMethods } from './numops.ts';
import { rbdMethods } from './rbd.ts';
import { refcountMethods } from './refcount.ts';
import { timeindexMethods } from './timeindex.ts';
import { userMethods } from './user.ts';
import { versionMethods } from './version.ts';

/** Every class that OSDs know. One line a class. */
const classes: ReadonlyMap<string, ClassMethods> = new Map([
  ['cas', casMethods],
  ['hello', helloMethods],
  ['journal', journalMethods],
  ['lock', lockMethods],
  ['log', logMethods],
  ['numops', numopsMethods],
  ['rbd', rbdMethods],
  ['refcount', refcountMethods],
  ['timeindex', timeindexMethods],
  ['user', userMethods],
  ['version', versionMethods],
]);

/** Filters of listings that classes bring, `CLASS.NAME`: each compares an xattr with a value. */
const filters: ReadonlySet<string> = new Set(['hello.hello']);

export function hasClassFilter(name: string): boolean {
  return filters.has(name);
}

/** A method with its flags; undefined (EOPNOTSUPP) when class or method are unknown. */
export function findClassMethod(className: string, method: string): ClassMethod | undefined {
  const methods = classes.get(className);
  return methods !== undefined && Object.hasOwn(methods, method) ? methods[method] : undefined;
}

/** Names of the classes, for listings. */
export function classNames(): string[] {
  return [...classes.keys()];
}

export interface ClassCallResult {
  rval: number;
  out: Uint8Array;
}

/** Runs a method. Input that does not decode is EINVAL, as upstream; only defects throw. */
export function callClassMethod(
  ctx: ClassContext,
  method: ClassMethod,
  input: Uint8Array,
): ClassCallResult | Promise<ClassCallResult> {
  try {
    const output = method.handler(ctx, input);
    return output instanceof Promise ? output.then(result, failure) : result(output);
  } catch (error) {
    return failure(error);
  }
}

function result(output: ClassOutput): ClassCallResult {
  if (output === undefined) return { rval: 0, out: emptyBytes };
  if (typeof output === 'number') return { rval: output, out: emptyBytes };
  return output instanceof Uint8Array ? { rval: 0, out: output } : output;
}

function failure(error: unknown): ClassCallResult {
  if (error instanceof ClassFailure) return { rval: error.rval, out: emptyBytes };
  if (error instanceof DecodeError) return { rval: EINVAL, out: emptyBytes };
  throw error;
}
