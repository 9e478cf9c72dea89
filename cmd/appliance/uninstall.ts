import { resolve } from 'node:path';
import { AppError } from '../../internal/base/errors.ts';
import { type ConfigArguments, runningConfig } from '../../internal/config/machine-system.ts';
import { removeFiles, systemctl, systemdRuns, unitInstalled } from '../../internal/node/install-system.ts';
import { unitName } from '../../internal/node/unit.ts';
import { readUsers, usersStay } from '../../internal/node/users-system.ts';
import { type CommandModule, configArguments, type OutputFormat, withExamples, withOutput } from './command.ts';
import { stopNode } from './down.ts';

import { print, stepsOf } from './output.ts';

interface UninstallOptions {
  root?: string;
  output: OutputFormat;
}

export const command: CommandModule = {
  define(command) {
    withOutput(command).option('--root <directory>', 'remove it from the tree of another machine');
    withExamples(command, [
      ['appliance uninstall', 'stop the node, then remove service and executable; configuration and data stay'],
      ['appliance reset && appliance uninstall', 'also delete the data'],
    ]).action((options: UninstallOptions) => uninstall(configArguments(command), options));
  },
};

/** Undoes `install`. Configuration and data stay: `reset` deletes them. */
async function uninstall(from: ConfigArguments, options: UninstallOptions): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new AppError('ROOT', 'uninstall must be started by root', { hint: 'start it with sudo' });
  const place = { root: options.root === undefined ? '' : resolve(options.root).replace(/\/$/, '') };
  const here = place.root === '';
  const config = here ? runningConfig(from) : undefined;
  const progress = stepsOf(options.output);
  // Before the service is stopped, which leaves containers running: their volumes are written out while the storage still runs.
  if (config) await stopNode(config, progress);
  if (unitInstalled(place)) {
    progress.wait(`stopping ${unitName}`);
    if (here && systemdRuns()) await systemctl(place, 'disable', '--quiet', '--now', unitName);
    else await systemctl({ root: place.root || '/' }, 'disable', '--quiet', unitName);
    progress.done(`${unitName} is disabled${here ? ' and stopped' : ''}`);
  }
  const removed = removeFiles(place);
  for (const path of removed) progress.done(`removed ${path}`);
  if (here && systemdRuns()) await systemctl(place, 'daemon-reload');
  progress.line(
    removed.length === 0
      ? 'nothing was installed'
      : config
        ? `configuration and ${config.dataDir} stay`
        : 'configuration and data stay',
  );
  const users = here ? [...readUsers().keys()] : [];
  const stay = here ? usersStay() : undefined;
  if (stay !== undefined) progress.line(stay);
  print(options.output, { removed, kept: config ? [config.dataDir] : [], users });
  process.exit(0);
}
