import { resolve } from 'node:path';
import template from '../../systemd/appliance.service' with { type: 'text' };
import { AppError } from '../../internal/base/errors.ts';
import { type ConfigArguments, loadConfig } from '../../internal/config/machine-system.ts';
import { installFiles, rollBackExecutable, systemctl, systemdRuns } from '../../internal/node/install-system.ts';
import { compiled } from '../../internal/node/self-system.ts';
import { installedExecutable, serviceArguments, unitName, unitText } from '../../internal/node/unit.ts';
import { type CommandModule, configArguments, type OutputFormat, withExamples, withOutput } from './command.ts';
import { print, stepsOf } from './output.ts';

interface InstallOptions {
  output: OutputFormat;
  start: boolean;
  root?: string;
  rollback?: boolean;
}

export const command: CommandModule = {
  define(command) {
    withOutput(command)
      .option('--no-start', 'enable the service, but neither start nor restart it')
      .option('--root <directory>', 'install into the tree of another machine, such as an image; nothing is started')
      .option('--rollback', 'put the executable back that the last upgrade replaced');
    withExamples(command, [
      [
        'appliance install',
        'copy this executable to /usr/local/bin, write the unit, enable and start it; also to upgrade',
      ],
      ['appliance -c /etc/appliance/pi.yaml install', 'the service uses this configuration'],
      ['appliance --data-dir /mnt/ssd/appliance install', 'the service keeps its data there'],
      ['appliance install --rollback', 'back to the executable from before the last upgrade'],
    ]).action((options: InstallOptions) => install(configArguments(command), options));
  },
};

/** Makes the node a service of systemd. Safe to repeat: what is there already is left alone, and a service that runs what is installed is not restarted. */
async function install(from: ConfigArguments, options: InstallOptions): Promise<void> {
  if (process.getuid?.() !== 0)
    throw new AppError('ROOT', 'install must be started by root', { hint: 'start it with sudo' });
  const place = { root: options.root === undefined ? '' : resolve(options.root).replace(/\/$/, '') };
  const here = place.root === '';
  if (here && !systemdRuns())
    throw new AppError('INSTALL', 'systemd does not run this machine', {
      hint: '`appliance run` is what another service manager starts; --root installs into the tree of another machine',
    });
  const progress = stepsOf(options.output);
  const tell = (more: { changed: boolean; enabled: boolean; started: boolean }): void =>
    print(options.output, { unit: unitName, executable: place.root + installedExecutable, ...more });
  let enabled = false;
  if (options.rollback) progress.line(rollBackExecutable(place));
  else {
    if (!compiled)
      throw new AppError('INSTALL', 'this runs from source; only an executable can be installed', {
        hint: '`npm run build` makes it in dist/',
      });
    const service = serviceArguments(from, process.env, resolve);
    // A node that would not start is not installed. Of another machine it cannot be known.
    if (here) loadConfig(from);
    const { done, changed } = await installFiles(place, process.execPath, unitText(template, service));
    for (const line of done) progress.line(line);
    if (!changed) progress.line('executable and unit are there already');
    await systemctl(place, 'enable', '--quiet', unitName);
    enabled = true;
    if (!here || !options.start) {
      progress.line(`${unitName} is enabled`);
      return tell({ changed, enabled, started: false });
    }
    if (!changed) {
      await systemctl(place, 'start', unitName);
      progress.line(`${unitName} runs; \`appliance status\` tells how the node is`);
      return tell({ changed, enabled, started: true });
    }
  }
  const start = here && options.start;
  if (here) await systemctl(place, 'daemon-reload');
  if (start) {
    // Starts it when it does not run. Containers live on.
    await systemctl(place, 'restart', unitName);
    progress.line(`${unitName} runs; \`appliance status\` tells how the node is`);
  }
  tell({ changed: true, enabled, started: start });
}
