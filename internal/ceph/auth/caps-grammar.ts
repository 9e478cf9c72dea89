import { AppError } from '../../base/errors.ts';
import { ipBytes, parseAddr } from '../wire/types.ts';

/** A word, a quoted string or one of `* = , ;`. */
export interface CapToken {
  text: string;
  quoted: boolean;
  /** No space before it. */
  glued: boolean;
}

const tokenPattern = /(\s*)(?:"([^"]*)"|'([^']*)'|([*=,;])|([^\s"'*=,;]+))/y;

function fail(kind: string, text: string, at: string): never {
  throw new AppError('BAD_CAPS', `${kind} capability parse failed, stopped at '${at}' of '${text}'`, {
    hint: 'write it as in: allow rwx pool=rbd, or: profile rbd pool=rbd',
  });
}

/** Splits a capability string into grants of tokens. `kind` (`osd`, `mon`) is for the error. */
export function capGrants(kind: string, text: string): CapToken[][] {
  const grants: CapToken[][] = [[]];
  const trimmed = text.trim();
  if (trimmed === '') return [];
  tokenPattern.lastIndex = 0;
  while (tokenPattern.lastIndex < trimmed.length) {
    const at = tokenPattern.lastIndex;
    const match = tokenPattern.exec(trimmed);
    if (match === null) fail(kind, text, trimmed.slice(at));
    const [, space, double, single, mark, word] = match;
    const value = double ?? single ?? mark ?? word!;
    const quoted = double !== undefined || single !== undefined;
    if (!quoted && (value === ',' || value === ';')) grants.push([]);
    else grants.at(-1)!.push({ text: value, quoted, glued: space === '' });
  }
  for (const grant of grants) if (grant.length === 0) fail(kind, text, '');
  return grants;
}

/** Walks over the tokens of one grant. */
export class CapCursor {
  #at = 0;
  readonly #kind: string;
  readonly #text: string;
  readonly #tokens: readonly CapToken[];
  constructor(kind: string, text: string, tokens: readonly CapToken[]) {
    this.#kind = kind;
    this.#text = text;
    this.#tokens = tokens;
  }
  get peek(): CapToken | undefined {
    return this.#tokens[this.#at];
  }
  get done(): boolean {
    return this.#at >= this.#tokens.length;
  }
  /** Takes the word when it comes next. */
  word(text: string): boolean {
    const token = this.peek;
    if (token === undefined || token.quoted || token.text !== text) return false;
    this.#at++;
    return true;
  }
  /** Any value: word or string. */
  value(): string {
    const token = this.peek;
    if (token === undefined || (!token.quoted && (token.text === '=' || token.text === '*'))) this.fail();
    this.#at++;
    return token.text;
  }
  /** `=value` or ` value`. */
  assigned(): string {
    this.word('=');
    return this.value();
  }
  /** A value or `*`. */
  valueOrStar(): string {
    return this.word('*') || this.word('all') ? '*' : this.value();
  }
  fail(): never {
    return fail(
      this.#kind,
      this.#text,
      this.#tokens
        .slice(this.#at)
        .map((t) => t.text)
        .join(' '),
    );
  }
}

/** `r`, `rw`, `rwx`, ...: undefined when it is another word. */
export function rwxOf(token: CapToken | undefined): { read: boolean; write: boolean; exec: boolean } | undefined {
  if (token === undefined || token.quoted || !/^r?w?x?$/.test(token.text) || token.text === '') return undefined;
  return { read: token.text.includes('r'), write: token.text.includes('w'), exec: token.text.includes('x') };
}

function addressBytes(ip: string): Uint8Array | undefined {
  const addr = parseAddr(ip.includes(':') ? `[${ip}]` : ip);
  return addr === undefined || addr.family === 0 ? undefined : ipBytes(addr);
}

/**
 * Is an address inside of `10.0.0.0/8` or `fd00::/8`? A network without a prefix, or that is none, contains nothing; a prefix longer than the address means
 * all of it (`parse_network` and `network_contains` in `src/common/ipaddr.cc` and `src/common/pick_address.cc`).
 */
export function networkContains(network: string, ip: string): boolean {
  const match = /^([^/]+)\/(\d{1,9})$/.exec(network);
  const base = match === null ? undefined : addressBytes(match[1]!);
  const address = addressBytes(ip);
  if (base === undefined || address === undefined || base.length !== address.length) return false;
  let left = Math.min(Number(match![2]), base.length * 8);
  for (let i = 0; left > 0; i++, left -= 8) {
    const mask = left >= 8 ? 0xff : (0xff << (8 - left)) & 0xff;
    if (((base[i]! ^ address[i]!) & mask) !== 0) return false;
  }
  return true;
}
