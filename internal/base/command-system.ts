import { AppError } from './errors.ts';

/** Runs a program of the system; its output, or an AppError with its last words. A run longer than `timeoutMs` is killed and an error. */
export async function runCommand(
  argv: readonly string[],
  options: { timeoutMs?: number; okCodes?: readonly number[]; env?: Record<string, string> } = {},
): Promise<{ code: number; stdout: string }> {
  const child = Bun.spawn([...argv], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: options.timeoutMs ?? 60_000,
    killSignal: 'SIGKILL',
    env: { PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin', ...options.env },
  });
  const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  const code = await child.exited;
  if (!(options.okCodes ?? [0]).includes(code)) {
    const words = (stderr.trim() || stdout.trim()).split('\n').slice(-3).join('; ');
    throw new AppError(
      'COMMAND',
      `${argv.slice(0, 6).join(' ')}: ${child.signalCode ? `killed by ${child.signalCode}` : `exit ${code}`}${words ? `: ${words}` : ''}`,
    );
  }
  return { code, stdout };
}
