import { isStatus } from '../machinery/status.ts';

/**
 * The value of a call about one object, or undefined when the server has no such object (NotFound). With `orReplaced`, meant for calls whose
 * only precondition is a uid, a Conflict counts as well: what has that name now is another object. Without it a Conflict is thrown like any
 * other error, because there it says that the object has changed and that the caller must decide anew.
 */
export async function unlessGone<T>(call: Promise<T>, options: { orReplaced?: true } = {}): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isStatus(error, 'NotFound')) return undefined;
    if (options.orReplaced && isStatus(error, 'Conflict')) return undefined;
    throw error;
  }
}
