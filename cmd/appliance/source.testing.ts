import { join } from 'node:path';

export interface Answer {
  /** The exit code, or the signal that ended it. */
  code: number | string;
  out: string;
  err: string;
}

/**
 * Runs the command line from the source, as users call it. Not with `Bun.spawnSync`: its wait, in a thread beside others that open and close much, has been seen to lose a child's end or its output
 * (oven-sh/bun#34069).
 */
export async function runSource(
  argv: readonly string[],
  env: Record<string, string | undefined> = process.env,
): Promise<Answer> {
  return runProgram([process.execPath, join(import.meta.dirname, 'main.ts'), ...argv], env);
}

/** Runs a program without an input. */
export async function runProgram(
  argv: readonly string[],
  env: Record<string, string | undefined> = process.env,
): Promise<Answer> {
  const child = Bun.spawn([...argv], { stdin: 'ignore', stdout: 'pipe', stderr: 'pipe', env });
  const [out, err] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  return { code: child.signalCode ?? child.exitCode ?? 'unknown', out, err };
}
