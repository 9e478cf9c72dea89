import { Option } from 'commander';
import { AppError } from '../../internal/base/errors.ts';
import { systemRandom } from '../../internal/base/system.ts';
import type { ConfigArguments } from '../../internal/config/machine-system.ts';
import {
  checkReplaceable,
  createToken,
  deleteToken,
  type JoinTokenRecord,
  listTokens,
  newToken,
} from '../../internal/join/tokens.ts';
import { caHash, formatToken } from '../../internal/pki/token.ts';
import { type Admin, adminOf, reached } from './admin.ts';
import { type CommandModule, configArguments, type OutputFormat, withExamples, withOutput } from './command.ts';
import { columns, print, stepsOf } from './output.ts';

/** `appliance token`: on a server, with the administrator's certificate, over the API. */

export const command: CommandModule = {
  define(command) {
    withExamples(command, [
      ['appliance token create', 'prints a token; on the other machine: appliance join TOKEN'],
      ['appliance token list', 'what tokens there are'],
      ['appliance token create --help', 'more of one of them'],
    ]);
    const create = command
      .command('create')
      .description('Make a token and print it; only a hash of it is kept.')
      .addOption(
        new Option('--role <role>', 'as what a machine may join').choices(['agent', 'server']).default('agent'),
      )
      .option('--ttl <time>', 'how long it is good for: 30m, 24h, 7d; 0 for ever', '24h')
      .option('--description <text>', 'what it is for')
      .option('--one-time', 'good for one machine')
      .option('--replace <node>', 'one machine may take the place of this node: new hardware, or a new installation');
    withExamples(withOutput(create), [
      ['appliance token create', 'for agents, a day long'],
      ['appliance token create --one-time --ttl 1h', 'for one machine, now'],
      ['appliance token create --replace pi-2', 'pi-2 was installed again'],
    ]).action((options: CreateOptions) => tokenCreate(configArguments(create), options));
    const list = command.command('list').alias('ls').description('Show what tokens there are, without their secrets.');
    withExamples(withOutput(list), [
      ['appliance token list', 'who may still join, as what, and until when'],
      ['appliance token list -o json', 'for programs'],
    ]).action(({ output }: { output: OutputFormat }) => tokenList(configArguments(list), output));
    const remove = command
      .command('delete')
      .argument('<id...>', 'of `appliance token list`, or whole tokens')
      .description('Make tokens useless; nodes that have joined stay.');
    withExamples(withOutput(remove), [
      ['appliance token delete k7f2qp', 'an id of `appliance token list`'],
      ['appliance token delete k7f2qp x0d9wl', 'several at once'],
    ]).action((ids: string[], { output }: { output: OutputFormat }) =>
      tokenDelete(configArguments(remove), ids, output),
    );
  },
};

interface CreateOptions {
  readonly role: 'agent' | 'server';
  readonly ttl: string;
  readonly description?: string;
  readonly oneTime?: boolean;
  readonly replace?: string;
  readonly output: OutputFormat;
}

const units: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `30m`, `24h`, `7d`, `1h30m`; undefined for `0`: without end. AppError USAGE. */
export function parseLife(text: string): number | undefined {
  if (/^0[smhd]?$/.test(text)) return undefined;
  const parts = [...text.matchAll(/(\d{1,6})([smhd])/g)];
  const ms = parts.reduce((sum, [, count, unit]) => sum + Number(count) * units[unit!]!, 0);
  if (parts.map(([part]) => part).join('') !== text || ms <= 0 || ms > 3650 * units.d!)
    throw new AppError('USAGE', `${JSON.stringify(text)} is no length of time`, {
      hint: 'expected 30m, 24h or 7d, up to ten years; 0 for a token that does not end',
    });
  return ms;
}

const admin = (from: ConfigArguments): Admin => adminOf(from, 'tokens');

/** What of a token may be seen. */
function shown(token: JoinTokenRecord, nowMs: number) {
  return {
    id: token.id,
    role: token.user === 'node' ? 'agent' : 'server',
    created: new Date(token.createdMs).toISOString(),
    expires: token.expiresMs === undefined ? null : new Date(token.expiresMs).toISOString(),
    expired: token.expiresMs !== undefined && token.expiresMs <= nowMs,
    oneTime: token.oneTime,
    usedBy: token.usedBy,
    replace: token.replace ?? null,
    description: token.description,
  };
}

async function tokenCreate(from: ConfigArguments, options: CreateOptions): Promise<void> {
  const lifeMs = parseLife(options.ttl);
  const { ca, client, nowMs } = admin(from);
  if (options.replace !== undefined) await reached(checkReplaceable(client, options.replace));
  const { record, secret } = await newToken(
    {
      user: options.role === 'agent' ? 'node' : 'server',
      lifeMs,
      ...(options.description === undefined ? {} : { description: options.description }),
      ...(options.oneTime === undefined ? {} : { oneTime: options.oneTime }),
      ...(options.replace === undefined ? {} : { replace: options.replace }),
    },
    nowMs,
    systemRandom,
  );
  await reached(createToken(client, record));
  const token = formatToken({ caHash: caHash(ca), user: record.user, secret });
  print(options.output, { token, ...shown(record, nowMs) }, () => token);
}

async function tokenList(from: ConfigArguments, output: OutputFormat): Promise<void> {
  const { client, nowMs } = admin(from);
  const tokens = (await reached(listTokens(client))).map((token) => shown(token, nowMs));
  print(output, tokens, () =>
    columns([
      ['ID', 'ROLE', 'EXPIRES', 'GOOD FOR', 'USED BY', 'DESCRIPTION'],
      ...tokens.map((token) => [
        token.id,
        token.role,
        token.expired ? 'expired' : (token.expires ?? 'never'),
        token.replace ? `replacing ${token.replace}` : token.oneTime ? 'one machine' : 'any number',
        token.usedBy.join(),
        token.description,
      ]),
    ]),
  );
}

async function tokenDelete(from: ConfigArguments, ids: readonly string[], output: OutputFormat): Promise<void> {
  const { client } = admin(from);
  const progress = stepsOf(output);
  const deleted: string[] = [];
  for (const given of ids) {
    // The whole token is taken too; the id is its secret's first part.
    const id = /(?:^|:)([a-z0-9]{6})(?:\.[^:]*)?$/.exec(given)?.[1] ?? given;
    if (!(await reached(deleteToken(client, id))))
      throw new AppError('TOKEN', `there is no token ${JSON.stringify(id.slice(0, 64))}`, {
        hint: '`appliance token list` shows them',
      });
    progress.line(`token ${id} deleted`);
    deleted.push(id);
  }
  print(output, { deleted });
}
