import { AppError } from '../../internal/base/errors.ts';
import { type ConfigArguments, runningConfig } from '../../internal/config/machine-system.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { controlRequest } from '../../internal/node/control-system.ts';
import { type ReloadStatus, reloadText } from '../../internal/node/status.ts';
import { type CommandModule, configArguments, type OutputFormat, withExamples, withOutput } from './command.ts';
import { print } from './output.ts';

export const command: CommandModule = {
  define(command) {
    withExamples(withOutput(command), [
      ['appliance reload', 'after editing the configuration; the same as SIGHUP or systemctl reload'],
      ['appliance reload -o json', 'for programs: which keys hold now and which need a restart'],
    ]).action(({ output }: { output: OutputFormat }) => reload(configArguments(command), output));
  },
};

/** Has the running node read its configuration again, and tells what of it holds now. A refused configuration changes nothing and is an error. */
async function reload(from: ConfigArguments, output: OutputFormat): Promise<void> {
  const config = runningConfig(from);
  const result = await controlRequest<ReloadStatus>(
    nodePaths(config.dataDir, config.runDir).controlSocket,
    'POST',
    '/reload',
  );
  if (!result)
    throw new AppError('NOT_RUNNING', `${config.node.name} is not running`, {
      hint: 'it reads its configuration when it starts',
    });
  if (result.error !== undefined)
    throw new AppError(result.errorCode ?? 'RELOAD', result.error, {
      hint: 'the node goes on with the configuration that it has',
    });
  const { at, applied, restart } = result;
  print(output, { at, applied, restart }, () => reloadText(result));
}
