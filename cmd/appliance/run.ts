import { errorText } from '../../internal/base/errors.ts';
import type { LogLevel } from '../../internal/base/log.ts';
import { systemLogger } from '../../internal/base/system.ts';
import type { ConfigArguments } from '../../internal/config/machine-system.ts';
import { ServiceManager } from '../../internal/node/notify-system.ts';
import { preparedAgain, preparedNode } from '../../internal/node/prepared-process.ts';
import { settled, statusSentence } from '../../internal/node/status.ts';
import { stopAll } from '../../internal/node/teardown-system.ts';
import { Supervisor } from '../../internal/node/supervisor-system.ts';
import { buildVersion } from './build-version.ts';
import { type CommandModule, configArguments, withExamples } from './command.ts';
import { withKeyFlags } from './key-flags.ts';

export const command: CommandModule = {
  define(command) {
    withKeyFlags(command);
    withExamples(command, [['appliance run --node-name pi-1', 'as in a systemd unit']]).action(() =>
      run(configArguments(command)),
    );
  },
};

/** After this long the service manager is told that the node is up whatever is still missing: its status says what. */
const readyPatienceMs = 180_000;

/**
 * What systemd starts (Type=notify). SIGTERM ends the roles in order; containers and what backs their volumes live on and are taken over again. A stop
 * over the control socket is a full one. SIGHUP reads the configuration again.
 */
async function run(from: ConfigArguments): Promise<void> {
  const manager = new ServiceManager();
  manager.status('Reading the configuration, making keys and directories.');
  const node = await preparedNode(from);
  const { config } = node;
  const level: { value: LogLevel } = { value: config.logLevel };
  const log = systemLogger(level);
  let ready = false;
  const tellReady = (): void => {
    ready = true;
    manager.ready(statusSentence(supervisor.status()));
  };
  const supervisor = new Supervisor({
    node,
    log,
    onLogLevel: (value) => {
      level.value = value;
    },
    version: buildVersion(),
    onChange: (status) => {
      if (!ready && settled(status)) tellReady();
      else manager.status(statusSentence(status));
    },
    onReload: (phase) => {
      if (phase === 'begin') manager.reloading();
      else if (ready) tellReady();
    },
    prepareAgain: (stopping) => preparedAgain(from, node.config.runDir, stopping),
  });
  let asked: Promise<void> | undefined;
  const stop = (how: () => Promise<void>): void => {
    if (asked !== undefined) return;
    log.info('stopping');
    manager.stopping();
    asked = how();
  };
  const stopRoles = (): void => stop(() => supervisor.stop());
  const tell = { wait: (text: string) => log.info(text), done: (text: string) => log.info(text) };
  process.on('SIGTERM', stopRoles);
  process.on('SIGINT', stopRoles);
  process.on('SIGHUP', () => void supervisor.reload());
  // `down` wants nothing to be left; what fails here it tries and tells again.
  await supervisor.start(() =>
    stop(() =>
      stopAll(supervisor, config, tell).catch((error: unknown) => {
        log.error('not everything could be stopped', { error: errorText(error) });
        return supervisor.stop();
      }),
    ),
  );
  manager.watch(() => supervisor.neglected);
  setTimeout(() => {
    if (!ready && asked === undefined) tellReady();
  }, readyPatienceMs).unref();
  log.info('started', { node: config.node.name, roles: config.roles });
  await supervisor.ended;
  await asked;
  manager.close();
}
