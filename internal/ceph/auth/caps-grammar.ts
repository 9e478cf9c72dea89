import { AppError } from '../../base/errors.ts';

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

/** Is an IPv4 address inside `10.0.0.0/8`? Other forms are compared as text. */
export function networkContains(network: string, ip: string): boolean {
  const [base, bits] = network.split('/');
  const number = (text: string): number | undefined => {
    const parts = text.split('.').map(Number);
    if (parts.length !== 4 || parts.some((p) => !(p >= 0 && p <= 255))) return undefined;
    return ((parts[0]! << 24) | (parts[1]! << 16) | (parts[2]! << 8) | parts[3]!) >>> 0;
  };
  const a = number(base ?? '');
  const b = number(ip);
  const prefix = Number(bits ?? 32);
  if (a === undefined || b === undefined || !(prefix >= 0 && prefix <= 32)) return network === ip;
  if (prefix === 0) return true;
  const mask = (0xffff_ffff << (32 - prefix)) >>> 0;
  return (a & mask) === (b & mask);
}
