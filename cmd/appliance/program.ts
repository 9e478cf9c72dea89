import { Command } from 'commander';
import { AppError } from '../../internal/base/errors.ts';
import { didYouMean } from '../../internal/config/nearest.ts';
import { buildVersion } from './build-version.ts';
import { commands } from './commands.ts';
import { exitCodes } from './exit-codes.ts';

/** Descriptions of options are wrapped down to this width: a terminal of 80 columns has few left beside long flags. */
const narrowest = 20;

const globalOptionNames = new Set(['-c', '--config', '--data-dir', '--run-dir']);

/** The sub-command that the arguments name: only its module is loaded. `help NAME` counts as NAME. */
function namedCommand(argv: readonly string[]): string | undefined {
  for (let at = 0; at < argv.length; at++) {
    const word = argv[at]!;
    if (globalOptionNames.has(word)) at++;
    else if (word !== 'help' && !word.startsWith('-')) return word;
  }
  return undefined;
}

/** The command line; only the module of the command that the arguments name is loaded. */
export async function program(argv: readonly string[]): Promise<Command> {
  const named = namedCommand(argv);
  if (
    named !== undefined &&
    argv.includes('help') &&
    argv.indexOf('help') < argv.indexOf(named) &&
    !commands.some(({ name }) => name === named)
  )
    throw new AppError(
      'USAGE',
      `unknown command '${named}'${didYouMean(
        named,
        commands.filter(({ group }) => group !== undefined).map(({ name }) => name),
      )}`,
      { hint: '`appliance --help` lists the commands' },
    );
  const root = new Command('appliance')
    .description('Turns small machines into a Kubernetes cluster with Ceph storage: one executable, no other services.')
    .option('-c, --config <file>', 'the configuration (default: /etc/appliance/appliance.yaml, if it is there)')
    .option('--data-dir <path>', 'everything that has to survive a restart (default: /var/lib/appliance)')
    .option('--run-dir <path>', 'sockets and state of the running node (default: /run/appliance)')
    .version(`appliance ${buildVersion()}`, '-V, --version', 'print the version')
    .usage('[options] <command>')
    .addHelpCommand(new Command('help').argument('[command]').description('tell about a command').helpGroup('Other:'))
    .configureHelp({ showGlobalOptions: true, minWidthToWrap: narrowest })
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'appliance: ')) })
    .showHelpAfterError('(`appliance --help` lists the commands)')
    .exitOverride();
  for (const row of commands) {
    const command = root
      .command(row.name, { hidden: row.group === undefined })
      .summary(row.summary)
      .description(`${row.summary[0]!.toUpperCase()}${row.summary.slice(1)}.`)
      .showHelpAfterError(`(\`appliance ${row.name} --help\` tells how to use it)`);
    if (row.group !== undefined) command.helpGroup(`${row.group}:`);
    if (row.name === named) (await row.load()).command.define(command);
  }
  root.addHelpText(
    'after',
    `
Exit codes:
${Object.values(exitCodes)
  .map(({ code, means }) => `  ${String(code).padEnd(3)} ${means}`)
  .join('\n')}

Examples:
  appliance up                     # one node with every role on this machine; needs root
  appliance status --watch         # how it is, again and again
  appliance config show --origin   # every setting and where it comes from
  appliance token create           # prints what other machines join with`,
  );
  return root;
}
