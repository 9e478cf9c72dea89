import { inspect } from 'node:util';
import { AppError, errorText } from '../../internal/base/errors.ts';
import { type ExitCode, exitCodeOf } from './exit-codes.ts';

/** What a command that has thrown says on standard error, and what it ends with. */
export interface Failure {
  readonly text: string;
  readonly exit: ExitCode;
}

/** `root`: whether this process is root's, whom no file is closed to for want of being root. */
export function describeFailure(error: unknown, root: boolean): Failure {
  const known = error instanceof AppError ? error : closed(error, root);
  if (known === undefined) return { text: `appliance: this is a defect: ${stackText(error)}`, exit: 'defect' };
  // Several mistakes stand on lines of their own, so that editors and terminals find FILE:LINE:COLUMN. What is indented belongs to the line above.
  const several = /\n\S/.test(known.message) ? 'several things are wrong:\n' : '';
  return {
    text: `appliance: ${several}${known.message}${known.hint ? `\n  ${known.hint}` : ''}`,
    exit: exitCodeOf(known.code),
  };
}

/** A file, directory or socket that the machine does not let this process at: no defect, whichever command met it. */
function closed(error: unknown, root: boolean): AppError | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, path } = error as NodeJS.ErrnoException;
  if ((code !== 'EACCES' && code !== 'EPERM') || path === undefined) return undefined;
  return new AppError('PERMISSION', root ? errorText(error) : `${path} is root’s: permission denied`, {
    hint: root ? `see how ${path} is mounted, and its attributes (lsattr)` : 'start it with sudo',
    cause: error,
  });
}

/** Messages and stacks, causes included, without the lines of source that the engine shows beside them: in an executable those are all of it. */
function stackText(error: unknown): string {
  if (!(error instanceof Error)) return inspect(error);
  const own = error.stack?.includes(error.message)
    ? error.stack
    : `${error.name}: ${error.message}\n${error.stack ?? ''}`;
  return error.cause === undefined ? own : `${own}\ncaused by ${stackText(error.cause)}`;
}
