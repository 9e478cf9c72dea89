/**
 * The one family of expected failures. `code` is stable and for programs; `message` names the thing (pod, pg, file, line) and what was
 * expected; `hint` says what the user can do. Anything else that is thrown is a defect.
 */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: string;
  readonly hint: string | undefined;

  constructor(code: string, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
  }
}

/**
 * Stops the process on a broken invariant; not for errors that input or I/O can cause. Where it stands in the way of every request, `message` is a function:
 * putting a text together costs more than the check.
 */
export function assert(condition: unknown, message: string | (() => string)): asserts condition {
  if (!condition) throw new Error(`invariant broken: ${typeof message === 'string' ? message : message()}`);
}

/** The text of anything thrown, causes that it does not tell itself included, for a log line or a condition. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.cause === undefined) return error.message;
  const cause = errorText(error.cause);
  return error.message.includes(cause) ? error.message : `${error.message}: ${cause}`;
}

/** Whether nobody listened where a connection went: nothing was sent. `fetch` of this engine has a name of its own for it. */
export function isRefused(error: unknown): boolean {
  return ['ECONNREFUSED', 'ConnectionRefused'].includes(errorCode(error) ?? '');
}

/** The `code` of a Node system error (`ENOENT`, …) or an AppError, else undefined. */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined;
  const code = (error as { code?: unknown }).code;
  return typeof code === 'string' ? code : undefined;
}
