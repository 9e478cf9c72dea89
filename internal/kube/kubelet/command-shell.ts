import { AppError } from '../../base/errors.ts';

export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Set when the command was killed because it took too long. */
  readonly timedOut: boolean;
}

/** Runs a program of the system without a shell. It is killed after `timeoutMs`; what it says beyond 1 MiB is cut. */
export async function tryCommand(
  argv: readonly string[],
  options: { timeoutMs?: number; stdin?: string; env?: Record<string, string> } = {},
): Promise<CommandResult> {
  const timeoutMs = options.timeoutMs ?? 60_000;
  const child = Bun.spawn([...argv], {
    stdin: options.stdin === undefined ? 'ignore' : new TextEncoder().encode(options.stdin),
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: timeoutMs,
    killSignal: 'SIGKILL',
    env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C', ...options.env },
  });
  const begun = performance.now();
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  const code = await child.exited;
  const timedOut = child.signalCode === 'SIGKILL' && performance.now() - begun >= timeoutMs - 50;
  return { code, stdout: stdout.slice(0, 1 << 20), stderr: stderr.slice(0, 1 << 20), timedOut };
}

/** As `tryCommand`; anything but success throws with the program's last words. */
export async function runCommand(
  argv: readonly string[],
  options: { timeoutMs?: number; stdin?: string; env?: Record<string, string> } = {},
): Promise<string> {
  const result = await tryCommand(argv, options);
  if (result.code === 0) return result.stdout;
  const words = (result.stderr.trim() || result.stdout.trim()).split('\n').slice(-3).join('; ');
  const how = result.timedOut
    ? `gave no answer in ${(options.timeoutMs ?? 60_000) / 1000} s`
    : `exit code ${result.code}`;
  throw new AppError('COMMAND', `${argv.slice(0, 6).join(' ')}: ${how}${words ? `: ${words}` : ''}`);
}
