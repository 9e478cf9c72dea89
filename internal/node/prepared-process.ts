import type { Config } from '../config/config.ts';
import type { ConfigArguments } from '../config/machine-system.ts';
import { selfCommand } from './self-system.ts';

/** Arguments of the command line that say the same. */
export function configArgv({ file, flags }: ConfigArguments): string[] {
  return [
    ...(file === undefined ? [] : [`--config=${file}`]),
    ...Object.entries(flags).flatMap(([flag, texts]) => texts.map((text) => `--${flag}=${text}`)),
  ];
}

/**
 * The effective configuration of a node that is ready to be started. A process of its own reads it and makes certificates: the supervisor lives as long as the
 * node and does not keep the modules for that. When it fails, it has said why, and this process ends with its exit code.
 */
export async function preparedConfig(from: ConfigArguments): Promise<Config> {
  const child = Bun.spawn([...selfCommand(), 'prepare', ...configArgv(from)], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const text = await new Response(child.stdout).text();
  const code = await child.exited;
  if (code !== 0) process.exit(code);
  return JSON.parse(text) as Config;
}
