import { AppError } from './errors.ts';

export interface CommandOptions {
  /** After this long it is killed; a minute unless told. */
  readonly timeoutMs?: number;
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Set when the command was killed because it took too long. */
  readonly timedOut: boolean;
}

const defaultTimeoutMs = 60_000;
const defaultPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** What a program says beyond this is cut. */
const maxOutput = 4 << 20;

/** Runs a program of the system without a shell, in the language that its messages are known in. Throws only when there is no such program. */
export async function tryCommand(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const timeoutMs = options.timeoutMs ?? defaultTimeoutMs;
  const child = Bun.spawn([...argv], {
    stdin: options.stdin === undefined ? 'ignore' : new TextEncoder().encode(options.stdin),
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    env: { PATH: process.env.PATH ?? defaultPath, LC_ALL: 'C', ...options.env },
  });
  const begun = performance.now();
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  const code = await child.exited;
  const timedOut = child.signalCode === 'SIGKILL' && performance.now() - begun >= timeoutMs - 50;
  return { code, stdout: stdout.slice(0, maxOutput), stderr: stderr.slice(0, maxOutput), timedOut };
}

/** As `tryCommand`; an exit code that is not one of `okCodes` (0) throws AppError COMMAND with the program's last words. */
export async function runCommand(
  argv: readonly string[],
  options: CommandOptions & { readonly okCodes?: readonly number[] } = {},
): Promise<CommandResult> {
  const result = await tryCommand(argv, options);
  if ((options.okCodes ?? [0]).includes(result.code)) return result;
  const words = (result.stderr.trim() || result.stdout.trim()).split('\n').slice(-3).join('; ');
  const how = result.timedOut
    ? `gave no answer in ${(options.timeoutMs ?? defaultTimeoutMs) / 1000} s`
    : `exit code ${result.code}`;
  throw new AppError('COMMAND', `${argv.slice(0, 6).join(' ')}: ${how}${words ? `: ${words}` : ''}`);
}
