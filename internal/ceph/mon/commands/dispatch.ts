import { utf8 } from '../../../base/bytes.ts';
import type { AdminCommands } from '../../admin-socket/protocol.ts';
import { MCommand, MCommandReply, MMonCommand, MMonCommandAck } from '../../wire/messages/command.ts';
import { LOG_DEBUG, LOG_INFO } from '../../wire/messages/log.ts';
import { EACCES, EAGAIN, EINVAL, ENOTSUP, NotLeadingError, Refusal, refusalOf } from '../errno.ts';
import type { OutputFormat } from '../format/json.ts';
import type { Mon } from '../mon.ts';
import type { Session } from '../session.ts';
import { parseCommand, readArguments } from './signature.ts';
import { CommandsToMgr } from './to-mgr.ts';
import { type Command, type CommandAnswer, type CommandTable, FLAG_MGR, FLAG_TELL } from './table.ts';

/** What a command's handler works on. */
export interface CommandContext {
  readonly mon: Mon;
  readonly caller: Caller;
  /** What `ceph -i` read. */
  readonly input: Uint8Array;
}

/** Who gave a command. */
export interface Caller {
  /** `client.admin`. */
  readonly entity: string;
  /** Where from, for the audit log. */
  readonly from: string;
  may(service: string, perm: string, command: string, args: ReadonlyMap<string, string>): boolean;
}

export type MonCommands = CommandTable<CommandContext>;

/** How a command came: to the cluster, to this mon, or over this mon's admin socket. */
type Way = 'command' | 'tell' | 'socket';

interface Answer {
  code: number;
  status: string;
  output: Uint8Array;
}

/** Whoever may open the admin socket may do everything that it offers. */
const adminSocket: Caller = { entity: 'admin socket', from: 'admin socket', may: () => true };

function callerOf(session: Session): Caller {
  const from = session.connection.peerAddrs[0];
  const address = from === undefined ? '' : `${from.ip}:${from.port}/${from.nonce}`;
  return {
    entity: session.entity,
    from: `client.${session.connection.identity?.globalId ?? '?'} ${address}`,
    may: (...wanted) => session.may(...wanted),
  };
}

/** Answers MMonCommand (`ceph ...`) and MCommand (`ceph tell mon.a ...`); gives what answers over the admin socket (`ceph daemon mon.a ...`). */
export function handleCommands(mon: Mon, table: MonCommands): AdminCommands {
  const toMgr = new CommandsToMgr(mon);
  mon.handlers
    .on(MMonCommand, async (session, { command, input }, { tid }) => {
      const answer = await run(mon, table, toMgr, callerOf(session), command, input, 'command');
      const version = mon.state.osdmap.epoch;
      session.connection.send(MMonCommandAck, { ...answer, command, version }, { tid });
    })
    .on(MCommand, async (session, { command, input }, { tid }) => {
      const answer = await run(mon, table, toMgr, callerOf(session), command, input, 'tell');
      session.connection.send(MCommandReply, answer, { tid });
    });
  return async (command) => {
    try {
      return await run(mon, table, toMgr, adminSocket, [command], new Uint8Array(0), 'socket');
    } catch (error) {
      if (!(error instanceof NotLeadingError)) throw error;
      return { code: -EAGAIN, status: 'this mon does not lead: ask the one that does', output: '' };
    }
  };
}

async function run(
  mon: Mon,
  table: MonCommands,
  toMgr: CommandsToMgr,
  caller: Caller,
  words: readonly string[],
  input: Uint8Array,
  way: Way,
): Promise<Answer> {
  let answer: CommandAnswer;
  try {
    answer = await execute(mon, table, toMgr, caller, parseCommand(words), words, input, way);
  } catch (error) {
    if (error instanceof NotLeadingError) throw error;
    let refusal: Refusal;
    try {
      refusal = refusalOf(error);
    } catch {
      mon.log.error('a command failed', { error, command: words.join(' ').slice(0, 200) });
      refusal = new Refusal(EINVAL, 'the command failed inside the mon; its log says why');
    }
    return { code: -refusal.errno, status: refusal.message, output: utf8(refusal.output) };
  }
  const { code = 0, status = '', output = '' } = answer;
  return { code, status, output: typeof output === 'string' ? utf8(output) : output };
}

async function execute(
  mon: Mon,
  table: MonCommands,
  toMgr: CommandsToMgr,
  caller: Caller,
  given: Record<string, unknown>,
  words: readonly string[],
  input: Uint8Array,
  way: Way,
): Promise<CommandAnswer> {
  const prefix = given.prefix;
  if (typeof prefix !== 'string') throw new Refusal(EINVAL, 'command has no prefix');
  if (prefix === 'get_command_descriptions')
    return { output: table.descriptions(way !== 'command' ? ({ flags }) => flags === FLAG_TELL : undefined) };
  const format = (given.format ?? 'plain') as string;
  // `ceph tell` has commands of its own with the same words: `config get`.
  const own = way === 'command' ? [] : table.find(prefix).filter(({ flags }) => flags === FLAG_TELL);
  const others = table.find(prefix).filter(({ flags }) => way === 'tell' || flags !== FLAG_TELL);
  const candidates = own.length > 0 || way === 'socket' ? own : others;
  if (candidates.length === 0) throw new Refusal(EINVAL, 'command not known');
  const command = choose(candidates, given);
  if ((command.flags & FLAG_MGR) !== 0) {
    check(mon, caller, command, prefix, given, words);
    return await toMgr.send(words, input);
  }
  if (format.startsWith('xml'))
    throw new Refusal(ENOTSUP, `format '${format}' is not supported: plain, json, json-pretty`);
  check(mon, caller, command, prefix, given, words);
  // Formats that nobody knows are plain, as upstream has it.
  const shaped: OutputFormat = format === 'json' ? 'json' : /^json[-_]pretty$/.test(format) ? 'json-pretty' : 'plain';
  return await command.handler!({ mon, caller, input }, readArguments(command.signature, given), shaped);
}

/** Of commands with the same words the first that the arguments fit. */
function choose(
  candidates: readonly Command<CommandContext>[],
  given: Readonly<Record<string, unknown>>,
): Command<CommandContext> {
  for (const command of candidates) {
    const missing = command.signature.arguments.some(({ name, required }) => required && given[name] === undefined);
    if (!missing) return command;
  }
  return candidates[0]!;
}

/** Capabilities, and a line of the audit log. Errors: EACCES. */
function check(
  mon: Mon,
  caller: Caller,
  command: Command<CommandContext>,
  prefix: string,
  given: Readonly<Record<string, unknown>>,
  words: readonly string[],
): void {
  const args = new Map<string, string>();
  for (const [name, value] of Object.entries(given)) {
    if (name === 'prefix' || name === 'format') continue;
    args.set(name, Array.isArray(value) ? value.join(' ') : String(value));
  }
  const caps = given.caps;
  // `auth get-or-create x mon 'allow r'`: profiles limit what may be given by the names caps_mon and the like.
  if (Array.isArray(caps))
    for (let i = 0; i + 1 < caps.length; i += 2) args.set(`caps_${caps[i]}`, String(caps[i + 1]));
  const allowed = caller.may(command.module, command.perm, prefix, args);
  const who = `from='${caller.from}' entity='${caller.entity}'`;
  const changes = /[wx]/.test(command.perm);
  const secret = prefix.startsWith('config-key') || prefix.startsWith('auth import');
  const text = secret ? JSON.stringify({ prefix, key: given.key }) : words.join('').slice(0, 2000);
  const line = mon.line(
    changes && allowed ? LOG_INFO : LOG_DEBUG,
    `${who} cmd=[${text}]: ${allowed ? 'dispatch' : 'access denied'}`,
    'audit',
  );
  mon.background('audit log', (draft) => draft.log(line));
  if (!allowed) throw new Refusal(EACCES, 'access denied');
}
