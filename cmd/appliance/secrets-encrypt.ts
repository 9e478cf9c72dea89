import { AppError } from '../../internal/base/errors.ts';
import { systemClock } from '../../internal/base/system.ts';
import type { EncryptionStatus } from '../../internal/kube/apiserver/encryption/at-rest.ts';
import {
  type EncryptionAction,
  encryptionActions,
  encryptionPath,
} from '../../internal/kube/apiserver/encryption/actions.ts';
import type { KubeClient } from '../../internal/kube/client/api.ts';
import { adminOf, reached } from './admin.ts';
import { type CommandModule, configArguments, type OutputFormat, withExamples, withOutput } from './command.ts';
import { columns, print, stepsOf } from './output.ts';

/** `appliance secrets-encrypt`: on any server, for all of them, over the API with the administrator's certificate. */

interface Options {
  readonly output: OutputFormat;
  readonly wait: boolean;
}

const actions: Readonly<Record<EncryptionAction, { does: string; example: string }>> = {
  enable: {
    does: 'Encrypt Secrets from now on, and rewrite those that are there.',
    example: 'waits until the last one is rewritten',
  },
  disable: {
    does: 'Store Secrets in plain text from now on, and rewrite those that are there.',
    example: 'the keys stay, for older snapshots',
  },
  'rotate-keys': {
    does: 'Encrypt with a new key from now on, and rewrite every Secret.',
    example: 'the key before stays readable until the next rotation; nothing restarts',
  },
  reencrypt: {
    does: 'Rewrite every Secret that is not stored as the active key would store it.',
    example: 'after a failure, or to be sure',
  },
};

export const command: CommandModule = {
  define(command) {
    withExamples(command, [
      ['appliance secrets-encrypt status', 'whether Secrets are encrypted, with which key'],
      ['appliance secrets-encrypt rotate-keys', 'a new key, on all servers at once'],
    ]);
    const status = command.command('status').description('Show whether Secrets are encrypted and with which keys.');
    withExamples(withOutput(status), [
      ['appliance secrets-encrypt status', 'the active key has a star'],
      ['appliance secrets-encrypt status -o json', 'for programs'],
    ]).action(async ({ output }: Options) => {
      const { client } = adminOf(configArguments(status), 'encryption of Secrets');
      show(await statusOf(client), output);
    });
    for (const action of encryptionActions) {
      const { does, example } = actions[action];
      const one = command
        .command(action)
        .description(does)
        .option('--no-wait', 'do not wait until every Secret is rewritten');
      withExamples(withOutput(one), [[`appliance secrets-encrypt ${action}`, example]]).action((options: Options) =>
        change(adminOf(configArguments(one), 'encryption of Secrets').client, action, options),
      );
    }
  },
};

async function statusOf(client: KubeClient): Promise<EncryptionStatus> {
  return (await reached(client.raw('GET', `${encryptionPath}status`))) as EncryptionStatus;
}

const pollMs = 300;
/** A server that died takes its rewriting up at its next start. */
const patienceMs = 10 * 60_000;

async function change(client: KubeClient, action: EncryptionAction, { output, wait }: Options): Promise<void> {
  let status = (await reached(client.raw('PUT', `${encryptionPath}config`, { action }))) as EncryptionStatus;
  const steps = stepsOf(output);
  const until = systemClock.monotonic() + patienceMs;
  let told: number | undefined;
  const tell = (): void => {
    if (status.rewritten !== told) steps.line(`${status.rewritten} Secrets rewritten`);
    told = status.rewritten;
  };
  for (; wait && status.stage !== 'finished'; status = await statusOf(client)) {
    if (status.rewritten > 0) tell();
    if (systemClock.monotonic() > until)
      throw new AppError('TIMEOUT', `after ${patienceMs / 60_000} minutes there are still Secrets to rewrite`, {
        hint: 'look at the log of the server; `appliance secrets-encrypt reencrypt` tries again',
      });
    await new Promise<void>((resolve) => systemClock.after(pollMs, resolve));
  }
  if (wait) tell();
  show(status, output);
}

function show(status: EncryptionStatus, output: OutputFormat): void {
  print(output, status, () =>
    [
      `Encryption Status: ${status.enabled ? 'Enabled' : 'Disabled'}`,
      `Current Rotation Stage: ${status.stage === 'finished' ? 'finished' : `rewriting (${status.rewritten} Secrets so far)`}`,
      ...(status.keys.length === 0
        ? []
        : [
            '',
            columns([
              ['ACTIVE', 'KEY TYPE', 'NAME'],
              ...status.keys.map(({ active, type, name }) => [active ? '*' : '', type, name]),
            ]),
          ]),
    ].join('\n'),
  );
}
