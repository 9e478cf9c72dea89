import { Command, CommanderError, Option } from 'commander';
import { AppError } from '../../internal/base/errors.ts';
import { buildVersion } from './version.ts';

/** Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 not running. */
export const exitCode = { ok: 0, failed: 1, usage: 2, notRunning: 3 } as const;

interface GlobalOptions {
  config?: string;
}

const program = new Command('appliance')
  .description('Turns small machines into a Kubernetes cluster with Ceph storage: one executable, no other services.')
  .option('-c, --config <file>', 'the configuration (default: /etc/appliance/appliance.yaml, if it is there)')
  .showHelpAfterError()
  .exitOverride();

program
  .command('up')
  .description('start this node in the foreground and show how it comes up; Ctrl-C stops it and cleans up')
  .addHelpText(
    'after',
    '\nExample:\n  appliance up            # one node with every role; needs root\n  appliance -c my.yaml up',
  )
  .action(async () => (await import('./up.ts')).up(program.opts<GlobalOptions>().config));
program
  .command('run')
  .description('start this node for systemd: logs only; a stop leaves containers running')
  .action(async () => (await import('./run.ts')).run(program.opts<GlobalOptions>().config));
program
  .command('down')
  .description('stop the node and remove every process, mount, interface and firewall rule of it; data stays')
  .action(async () => (await import('./down.ts')).down(program.opts<GlobalOptions>().config));
program
  .command('status')
  .description('tell in words how the node, its roles, pods and storage are')
  .addOption(new Option('-o, --output <format>', 'how to print it').choices(['text', 'json']).default('text'))
  .action(async (options: { output: 'text' | 'json' }) =>
    (await import('./status.ts')).status(program.opts<GlobalOptions>().config, options.output),
  );
program
  .command('version')
  .description('print the version')
  .action(() => console.log(`appliance ${buildVersion()}`));
program.command('self-test', { hidden: true }).action(async () => (await import('./self-test.ts')).selfTest());
program
  .command('teardown <part> <file>', { hidden: true })
  .action(async (part: 'pods' | 'network', file: string) => (await import('./teardown.ts')).teardown(part, file));
program
  .command('prepare', { hidden: true })
  .action(async () => (await import('./prepare.ts')).prepare(program.opts<GlobalOptions>().config));
program
  .command('role <instance> <file>', { hidden: true })
  .action(async (instance: string, file: string) =>
    (await import('../../internal/node/child-system.ts')).runRoleProcess(instance, file),
  );

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? exitCode.ok : exitCode.usage);
  if (!(error instanceof AppError)) throw error;
  console.error(`appliance: ${error.message}${error.hint ? `\n  ${error.hint}` : ''}`);
  process.exit(
    error.code === 'CONFIG' ? exitCode.usage : error.code === 'NOT_RUNNING' ? exitCode.notRunning : exitCode.failed,
  );
}
