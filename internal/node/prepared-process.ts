import { AppError } from '../base/errors.ts';
import type { ConfigChanges } from '../config/changes.ts';
import type { Config } from '../config/config.ts';
import { keyPaths, keys, variableOf } from '../config/keys.ts';
import type { ConfigArguments } from '../config/machine-system.ts';
import { selfCommand } from './self-system.ts';

/** What `appliance prepare` prints. */
export interface PreparedNode {
  readonly config: Config;
  /** Tells this appliance from others on the machine, in names of what is outside of its directories. */
  readonly applianceId: string;
  /** What is different from the configuration that the node runs with; absent when it does not run. */
  readonly changes?: ConfigChanges;
}

const secretVariables = new Map(
  keyPaths.filter((path) => keys[path].secret).map((path) => [keys[path].flag, variableOf(path)]),
);

/** The same for a process of its own: arguments of the command line, and secrets in the environment, because every user can read what a process was started with. */
function configForChild({ file, flags }: ConfigArguments): { argv: string[]; env: Record<string, string | undefined> } {
  const argv = file === undefined ? [] : [`--config=${file}`];
  const env = { ...process.env };
  for (const [flag, texts] of Object.entries(flags)) {
    const variable = secretVariables.get(flag);
    if (variable === undefined) argv.push(...texts.map((text) => `--${flag}=${text}`));
    else env[variable] = texts.at(-1);
  }
  return { argv, env };
}

/** It dies with this process: what nobody waits for must not go on writing. */
function prepareProcess(from: ConfigArguments): { command: string[]; env: Record<string, string | undefined> } {
  // Where util-linux is not installed, `prepare` says so.
  const dies = Bun.which('setpriv') === null ? [] : ['setpriv', '--pdeathsig', 'KILL'];
  const { argv, env } = configForChild(from);
  return { command: [...dies, ...selfCommand(), 'prepare', ...argv], env };
}

/**
 * The effective configuration of a node that is ready to be started. A process of its own reads it and makes certificates: the supervisor lives as long as the
 * node and does not keep the modules for that. When it fails, it has said why, and this process ends with its exit code.
 */
export async function preparedNode(from: ConfigArguments): Promise<PreparedNode> {
  const { command, env } = prepareProcess(from);
  const child = Bun.spawn([...command, '--start'], {
    env,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'inherit',
  });
  const text = await new Response(child.stdout).text();
  const code = await child.exited;
  if (code !== 0) process.exit(code);
  return JSON.parse(text) as PreparedNode;
}

/** The exit code of a process whose configuration is wrong (`cmd/appliance/exit-codes.ts`). */
const configWrongExit = 2;

const againTimeoutMs = 60_000;

/** The same while the node with this run directory runs, given up when `stopping` aborts: a failure is an AppError with what it said, CONFIG for a wrong configuration, else RELOAD. */
export async function preparedAgain(
  from: ConfigArguments,
  runDir: string,
  stopping: AbortSignal,
): Promise<PreparedNode> {
  const { command, env } = prepareProcess(from);
  const child = Bun.spawn([...command, `--running=${runDir}`], {
    env,
    stdin: 'ignore',
    stdout: 'pipe',
    stderr: 'pipe',
    timeout: againTimeoutMs,
    signal: stopping,
    killSignal: 'SIGKILL',
  });
  const [text, complaint] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  const code = await child.exited;
  if (code !== 0)
    throw new AppError(
      code === configWrongExit ? 'CONFIG' : 'RELOAD',
      complaint.replace(/^appliance: (several things are wrong:\n)?/, '').trim() ||
        `reading the configuration ended with exit ${code}`,
      {
        hint: 'correct it and reload again; the node goes on with what it has',
      },
    );
  return JSON.parse(text) as PreparedNode;
}
