import { existsSync } from 'node:fs';
import { AppError } from '../../internal/base/errors.ts';
import { systemClock, systemLogger, systemRandom } from '../../internal/base/system.ts';
import { type ConfigArguments, configSources, evaluateHere } from '../../internal/config/machine-system.ts';
import { nodePaths } from '../../internal/config/paths.ts';
import { joinCluster } from '../../internal/join/join-system.ts';
import { discoverServers } from '../../internal/node/discovery/mdns-system.ts';
import { whileIdle } from '../../internal/node/node-lock-system.ts';
import { parseToken } from '../../internal/pki/token.ts';
import { type CommandModule, configArguments, hide, type OutputFormat, withExamples, withOutput } from './command.ts';
import { withKeyFlags } from './key-flags.ts';
import { print, stepsOf } from './output.ts';
import { up } from './up.ts';

interface JoinOptions {
  readonly output: OutputFormat;
  readonly start: boolean;
}

/** How long servers on the network have to answer. */
const discoverMs = 10_000;

export const command: CommandModule = {
  define(command) {
    withKeyFlags(withOutput(command))
      .argument('<token>', 'what `appliance token create` printed on a server; "-" reads it from standard input')
      .option('--no-start', 'only join; `appliance up` or `appliance run` starts the node later');
    withExamples(command, [
      ['appliance join K10…::node:…', 'the cluster is looked for on the network and proved by the hash'],
      ['appliance join K10…::node:… --server https://10.0.0.5:6443', 'the cluster of this server'],
      [
        'appliance join K10…::server:… --role server,agent',
        'as one more server, with a token of `token create --role server`',
      ],
      ['appliance join - --role agent,osd --osd "{file: /mnt/usb/osd.img}" <token.txt', 'with a disk for storage'],
    ]).action((token: string, options: JoinOptions) => join(configArguments(command), token, options));
  },
};

/** Makes this machine a node of the token's cluster, then runs it as `up` does. */
async function join(from: ConfigArguments, tokenText: string, { output, start }: JoinOptions): Promise<void> {
  const progress = stepsOf(output);
  if (tokenText !== '-') hide(tokenText);
  const text = tokenText === '-' ? (await Bun.stdin.text()).trim() : tokenText;
  parseToken(text);
  if (process.getuid?.() !== 0)
    throw new AppError('ROOT', 'appliance must be started by root', {
      hint: 'start it with sudo: it mounts, makes network interfaces and runs containers',
    });
  const { config } = evaluateHere(configSources(from));
  const { joined, server } = await whileIdle(config, () =>
    joinCluster({
      from,
      tokenText: text,
      discover,
      clock: systemClock,
      random: systemRandom,
      step: (step) => progress.done(step),
      trying: (step) => progress.wait(step),
    }),
  ).finally(() => progress.clear());
  progress.line(`This machine is now node ${joined.node} of the cluster at ${server}; it needs the token no more.`);
  print(output, { node: joined.node, server, roles: joined.roles });
  if (start) return up(from, progress);
  progress.line('`appliance up` or `appliance run` starts it.');
}

/**
 * A machine whose configuration has a token for a cluster that it has not joined yet joins it: a file on a boot partition is all that it needs. On a
 * server the key is a secret that others may join with.
 */
export async function joinAsConfigured(from: ConfigArguments): Promise<void> {
  const { config } = evaluateHere(configSources(from));
  if (config.token === undefined) return;
  const { identity, pki } = nodePaths(config.dataDir, config.runDir);
  if (existsSync(`${identity}/cluster.json`) || existsSync(`${pki}/server-ca.key`)) return;
  if (config.roles.includes('server') && parseToken(config.token).caHash === undefined) return;
  const log = systemLogger({ value: config.logLevel });
  const step = (text: string): void => log.info(text);
  await joinCluster({ from, tokenText: config.token, discover, clock: systemClock, random: systemRandom, step });
}

async function discover(caHash: string): Promise<string[]> {
  const { others, servers } = await discoverServers(caHash, { timeoutMs: discoverMs, clock: systemClock });
  if (servers.length > 0) return servers.map(({ address, port }) => `${address}:${port}`);
  throw new AppError('UNREACHABLE', 'no server of the cluster answers on this network', {
    hint:
      others.length > 0
        ? `servers of other clusters do: ${others.map(({ address, node }) => `${node} (${address})`).join(', ')}. Is the token of the right cluster? Else name a server: --server https://host:6443`
        : 'is one switched on, in the same network, with multicast let through? Else name it: --server https://host:6443',
  });
}
