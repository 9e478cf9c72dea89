import { AppError } from '../../base/errors.ts';
import { utf8, utf8Text } from '../../base/bytes.ts';

/**
 * What goes over a daemon's admin socket (`src/common/admin_socket.cc`): one request a connection, JSON ended by NUL or a newline, as `ceph daemon` and
 * `ceph --admin-daemon` send it; the answer is its length in 4 bytes, big-endian, and the output. There is no place for a number of an error.
 */

/** Longer requests are none. */
export const requestBytesMax = 64 << 10;

/** Version of this protocol, the answer to the request `0`. */
const protocolVersion = '2';

/** A daemon's answer to one command: `code` is 0, or a negative errno. */
export interface AdminAnswer {
  code: number;
  status: string;
  output: string | Uint8Array;
}

/** Runs one command as `ceph tell` would bring it (JSON with `prefix`), by whoever may do everything. */
export type AdminCommands = (command: string) => AdminAnswer | Promise<AdminAnswer>;

/** Bytes of one request, until it is whole. */
export class RequestReader {
  #chunks: Uint8Array[] = [];
  #bytes = 0;

  /** The request, without its end; undefined as long as there is none. Errors: ADMIN_REQUEST when it is too long. */
  push(chunk: Uint8Array): string | undefined {
    const end = chunk.findIndex((byte) => byte === 0 || byte === 0x0a);
    const part = end < 0 ? chunk : chunk.subarray(0, end);
    this.#bytes += part.length;
    if (this.#bytes > requestBytesMax)
      throw new AppError('ADMIN_REQUEST', `a request over the admin socket is longer than ${requestBytesMax} bytes`);
    this.#chunks.push(part.slice());
    return end < 0 ? undefined : utf8Text(Buffer.concat(this.#chunks));
  }
}

/** Its length, and the answer; what went wrong stands before it as text. */
export function framed({ code, status, output }: AdminAnswer): Uint8Array {
  const parts = [typeof output === 'string' ? utf8(output) : output];
  if (code < 0) parts.unshift(utf8(`ERROR: (${-code}) ${errnoText(-code)}\n${status}\n`));
  const body = Buffer.concat(parts);
  const head = Buffer.alloc(4);
  head.writeUInt32BE(body.length);
  return Buffer.concat([head, body]);
}

/** One request: what the socket itself answers, or the daemon. Without `format` the output is for people, as pretty JSON. */
export async function answerRequest(text: string, commands: AdminCommands): Promise<AdminAnswer> {
  let given: Record<string, unknown>;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new SyntaxError('not an object');
    given = value as Record<string, unknown>;
  } catch {
    // Before there was JSON, a request was the command's words.
    given = { prefix: text };
  }
  const { prefix } = given;
  if (prefix === '0') return { code: 0, status: '', output: protocolVersion };
  const answer = await commands(JSON.stringify({ format: 'json-pretty', ...given }));
  if (prefix === 'get_command_descriptions' && answer.code === 0) return { ...answer, output: withHelp(answer.output) };
  if (prefix !== 'help') return answer;
  const described = await commands('{"prefix":"get_command_descriptions"}');
  return described.code === 0 ? { ...described, output: helpText(described.output) } : described;
}

interface Description {
  sig: readonly unknown[];
  help: string;
}

function descriptionsOf(output: string | Uint8Array): Record<string, Description> {
  return JSON.parse(typeof output === 'string' ? output : utf8Text(output)) as Record<string, Description>;
}

const wordsOf = ({ sig }: Description): string => sig.filter((part) => typeof part === 'string').join(' ');

/** The tool sends what is described only. */
function withHelp(output: string | Uint8Array): string {
  const all = Object.values(descriptionsOf(output));
  if (!all.some((one) => wordsOf(one) === 'help')) all.push({ sig: ['help'], help: 'list available commands' });
  all.sort((a, b) => (wordsOf(a) < wordsOf(b) ? -1 : 1));
  return JSON.stringify(Object.fromEntries(all.map((one, i) => [`cmd${String(i).padStart(3, '0')}`, one])));
}

function helpText(output: string | Uint8Array): string {
  const all = Object.values(descriptionsOf(withHelp(output))).filter(({ help }) => help !== '');
  return `${JSON.stringify(Object.fromEntries(all.map((one) => [wordsOf(one), one.help])), null, 4)}\n`;
}

/** As `strerror` says it; only what commands answer with. */
const errnoTexts: Readonly<Record<number, string>> = {
  1: 'Operation not permitted',
  2: 'No such file or directory',
  11: 'Resource temporarily unavailable',
  13: 'Permission denied',
  16: 'Device or resource busy',
  17: 'File exists',
  22: 'Invalid argument',
  34: 'Numerical result out of range',
  38: 'Function not implemented',
  95: 'Operation not supported',
  110: 'Connection timed out',
};

function errnoText(errno: number): string {
  return errnoTexts[errno] ?? `Unknown error ${errno}`;
}
