import { AppError } from '../../internal/base/errors.ts';
import { type ConfigArguments, runningConfig } from '../../internal/config/machine-system.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { controlRequest } from '../../internal/node/control-system.ts';
import type { ReloadStatus } from '../../internal/node/status.ts';
import { type CommandModule, configArguments, withExamples } from './command.ts';

export const command: CommandModule = {
  define(command) {
    withExamples(command, [
      ['appliance reload', 'after editing the configuration; the same as SIGHUP or systemctl reload'],
    ]).action(() => reload(configArguments(command)));
  },
};

/** Has the running node read its configuration again, and tells what of it holds now. A refused configuration changes nothing and is an error. */
async function reload(from: ConfigArguments): Promise<void> {
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
  const { applied, restart } = result;
  if (applied.length === 0 && restart.length === 0) console.log('nothing changed');
  if (applied.length > 0) console.log(`holds now: ${applied.join(', ')}`);
  if (restart.length > 0) console.log(`holds after a restart (systemctl restart appliance): ${restart.join(', ')}`);
}
