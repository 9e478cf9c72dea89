import type { LogLevel } from '../../internal/base/log.ts';
import { systemLogger } from '../../internal/base/system.ts';
import { preparedConfig } from '../../internal/node/prepared-process.ts';
import { Supervisor } from '../../internal/node/supervisor-system.ts';
import type { ConfigArguments } from '../../internal/config/machine-system.ts';
import { type CommandModule, configArguments, withExamples } from './command.ts';
import { withKeyFlags } from './key-flags.ts';
import { buildVersion } from './build-version.ts';

export const command: CommandModule = {
  define(command) {
    withKeyFlags(command);
    withExamples(command, [['appliance run --node-name pi-1', 'as in a systemd unit']]).action(() =>
      run(configArguments(command)),
    );
  },
};

/** What systemd starts. SIGTERM ends the roles in order; containers and what backs their volumes live on and are taken over again. */
async function run(from: ConfigArguments): Promise<void> {
  const config = await preparedConfig(from);
  const level: { value: LogLevel } = { value: config.logLevel };
  const log = systemLogger(level);
  const supervisor = new Supervisor({ config, log, version: buildVersion() });
  let asked = false;
  const stop = (): void => {
    if (asked) return;
    asked = true;
    log.info('stopping');
    void supervisor.stop();
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  await supervisor.start(stop);
  log.info('started', { node: config.node.name, roles: config.roles });
  await supervisor.ended;
}
