import type { Config } from '../config/config.ts';
import { selfCommand } from './self-system.ts';

/**
 * The effective configuration of a node that is ready to be started. A process of its own reads it and makes certificates: the supervisor lives as long as the
 * node and does not keep the modules for that. When it fails, it has said why, and this process ends with its exit code.
 */
export async function preparedConfig(configPath: string | undefined): Promise<Config> {
  const child = Bun.spawn([...selfCommand(), ...(configPath === undefined ? [] : ['-c', configPath]), 'prepare'], {
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const text = await new Response(child.stdout).text();
  const code = await child.exited;
  if (code !== 0) process.exit(code);
  return JSON.parse(text) as Config;
}
