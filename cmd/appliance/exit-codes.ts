/** What the exit code of every command tells. */
export const exitCodes = {
  ok: { code: 0, means: 'done; of `status`, `doctor` and `osd fsck`: all is well' },
  failed: { code: 1, means: 'it failed, or was refused; of `status`, `doctor` and `osd fsck`: something is not well' },
  usage: { code: 2, means: 'the command line or the configuration is wrong; nothing was done' },
  notRunning: { code: 3, means: 'no node runs here' },
  warned: { code: 4, means: 'of `doctor`: nothing is wrong, but something is not as it should be' },
  defect: { code: 70, means: 'a defect of this program; what it prints belongs into the report' },
  unread: { code: 141, means: 'whoever read its output has stopped reading: as if by SIGPIPE' },
} as const;
export type ExitCode = keyof typeof exitCodes;

/** Which errors end with another code than `failed`, by the code of the AppError. */
const byError: Readonly<Record<string, ExitCode>> = { CONFIG: 'usage', USAGE: 'usage', NOT_RUNNING: 'notRunning' };

export function exitCodeOf(errorCode: string): ExitCode {
  return byError[errorCode] ?? 'failed';
}
