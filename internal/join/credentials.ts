import { createHash } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/random.ts';
import type { KubeClient } from '../kube/client/api.ts';
import { failure } from '../kube/machinery/status.ts';
import { sameSecret, secretMatches } from '../pki/secret-hash.ts';
import type { TokenUser } from '../pki/token.ts';
import { forgetPassword, keepPassword, passwordHash } from './node-passwords.ts';
import { bindToken, findToken, type JoinTokenRecord, tokenId } from './tokens.ts';

/** Who asks to join, or has joined. */
export type Principal =
  /** Holds a token; `record` is missing with the secret that the server's configuration names. */
  | { readonly kind: 'token'; readonly user: TokenUser; readonly secret: string; readonly record?: JoinTokenRecord }
  /** Shows the certificate of a node. */
  | { readonly kind: 'certificate'; readonly node: string }
  /** Knows the password of a node: its certificate has ended while it was away. */
  | { readonly kind: 'password'; readonly node: string };

/** The user of Basic authentication with a node's password: `node/<name>` (a user has no colon, RFC 7617). */
const nodeUserPrefix = 'node/';
const headerMax = 2048;
/** Hashes at once, and how many may wait: each takes 32 MiB and much of a second on a small machine. */
const hashesAtOnce = 2;
const hashesWaitingMax = 24;
const verifiedMax = 128;
const verifiedMs = 10 * 60_000;

/** Name and secret of Basic authentication (RFC 7617); undefined for anything else. */
export function parseBasic(header: string | null): { user: string; secret: string } | undefined {
  if (header === null || header.length > headerMax) return undefined;
  const match = /^basic +([A-Za-z0-9+/]+=*)$/i.exec(header.trim());
  if (!match) return undefined;
  const text = Buffer.from(match[1]!, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 0) return undefined;
  return { user: text.slice(0, colon), secret: text.slice(colon + 1) };
}

/** So long after a token for one node was used, the rest of what a joining K3s agent asks for is signed. */
const namelessMs = 10 * 60_000;

const deleted = (node: string): Error =>
  unauthorized(`node ${node} was deleted from the cluster: join again with a token`);
const unauthorized = (message: string): Error => failure(401, 'Unauthorized', message, {});

export interface CredentialsOptions {
  /** May read and write Secrets of kube-system. */
  readonly client: KubeClient;
  /** Secrets of configuration files: as every node has them, they open what nodes need and nothing else. */
  readonly staticSecrets: () => readonly string[];
  readonly clock: Clock;
  readonly random: Random;
}

/** Checks tokens and node passwords. */
export class Credentials {
  readonly #options: CredentialsOptions;
  /** What was right a moment ago: a joining node asks several times. Of secrets only digests. */
  readonly #verified = new Map<string, number>();
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: CredentialsOptions) {
    this.#options = options;
  }

  async #matches(secret: string, hash: string): Promise<boolean> {
    const { clock } = this.#options;
    const key = `${createHash('sha256').update(secret).digest('hex')} ${hash}`;
    const until = this.#verified.get(key);
    if (until !== undefined && until > clock.monotonic()) return true;
    if (this.#running >= hashesAtOnce) {
      if (this.#waiting.length >= hashesWaitingMax)
        throw failure(503, 'ServiceUnavailable', 'too many nodes join at once; try again in a moment', {
          retryAfterSeconds: 5,
        });
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    this.#running++;
    try {
      if (!(await secretMatches(secret, hash))) return false;
    } finally {
      this.#running--;
      this.#waiting.shift()?.();
    }
    this.#verified.delete(key);
    this.#verified.set(key, clock.monotonic() + verifiedMs);
    if (this.#verified.size > verifiedMax) this.#verified.delete([...this.#verified.keys()][0]!);
    return true;
  }

  /** Who the Basic credentials are. Throws 401, 503. */
  async authenticate(user: string, secret: string): Promise<Principal> {
    if (user.startsWith(nodeUserPrefix)) {
      const node = user.slice(nodeUserPrefix.length);
      const hash = await passwordHash(this.#options.client, node);
      if (hash === undefined || !(await this.#matches(secret, hash)))
        throw unauthorized(
          `the password is not that of node ${JSON.stringify(node.slice(0, 253))}, or the node was deleted: join again with a token`,
        );
      return { kind: 'password', node };
    }
    if (this.#options.staticSecrets().some((one) => sameSecret(secret, one)))
      return { kind: 'token', user: 'node', secret };
    const id = tokenId(secret);
    const record = id === undefined ? undefined : await findToken(this.#options.client, id);
    if (!record || !(await this.#matches(secret, record.hash)) || (user === 'server' && record.user !== 'server'))
      throw unauthorized('the token is not known here: it was deleted, or is of another cluster');
    if (record.expiresMs !== undefined && this.#options.clock.now() >= record.expiresMs)
      throw unauthorized(`the token has expired at ${new Date(record.expiresMs).toISOString()}`);
    return { kind: 'token', user: user === 'server' ? 'server' : 'node', secret, record };
  }

  /**
   * Whether `who` may act as the node: the first machine of a name gets it with its password, later ones have to know it. Throws 401, 403 with the way
   * out.
   */
  async admitNode(who: Principal, node: string, password: string): Promise<void> {
    const { client, random } = this.#options;
    if (who.kind !== 'token' && who.node !== node)
      throw failure(403, 'Forbidden', `node ${who.node} asks as ${node}`, {});
    const record = who.kind === 'token' ? who.record : undefined;
    if (record?.oneTime && record.usedBy.length > 0 && !record.usedBy.includes(node))
      throw unauthorized(`the token was good for one node and was used by ${record.usedBy.join()}`);
    if (record?.replace !== undefined && record.replace !== node)
      throw failure(
        403,
        'Forbidden',
        `the token lets a machine take the place of node ${record.replace} and joins no other: this one is called ${node} (node.name)`,
        {},
      );
    const hash = await passwordHash(client, node);
    if (hash !== undefined && (await this.#matches(password, hash))) {
      await this.#bind(record, node);
      return;
    }
    if (hash === undefined && who.kind !== 'token') throw deleted(node);
    if (hash !== undefined && record?.replace !== node)
      throw failure(
        403,
        'Forbidden',
        `another machine has joined as ${node}. Give this one another name (node.name), or, if it takes that machine's place, use the token that \`appliance token create --replace ${node}\` on a server prints`,
        {},
      );
    // Of a token that replaces a machine only the first use does: another machine of the name would throw out the one that took its place.
    if ((await this.#bind(record, node)) !== 'now' && hash !== undefined)
      throw failure(
        403,
        'Forbidden',
        `the token lets one machine take the place of node ${node} and has been used for that; \`appliance token create --replace ${node}\` makes another one`,
        {},
      );
    if (hash !== undefined) await forgetPassword(client, node);
    if (!(await keepPassword(client, node, password, random)))
      throw failure(409, 'Conflict', `another machine is joining as ${node} at this moment`, {});
  }

  /** Of what is given to nodes: a node's certificate outlives the node, so it has to be known still. Throws 401. */
  async admitKnownNode(who: Principal): Promise<void> {
    if (who.kind === 'certificate' && (await passwordHash(this.#options.client, who.node)) === undefined)
      throw deleted(who.node);
  }

  /**
   * Whether `who` gets a certificate that names no node, which K3s' agents ask for right after their own. With a token that is good for one node: only when that has it, and
   * for a short time. Throws 401.
   */
  admitNameless(who: Principal): void {
    if (who.kind !== 'token' || !who.record?.oneTime) return;
    const { usedBy, usedMs } = who.record;
    if (usedBy.length === 0)
      throw unauthorized('the token is good for one node, which has to ask for its own certificate first');
    const sinceMs = this.#options.clock.now() - (usedMs ?? Number.NEGATIVE_INFINITY);
    if (sinceMs < 0 || sinceMs > namelessMs)
      throw unauthorized(
        `the token was good for one node and was used by ${usedBy.join()}, which has its certificate now`,
      );
  }

  async #bind(record: JoinTokenRecord | undefined, node: string): Promise<'now' | 'before'> {
    if (!record || record.usedBy.includes(node)) return 'before';
    const { client, clock } = this.#options;
    const bound = await bindToken(client, record.id, node, clock.now());
    if (bound === 'other') throw unauthorized('the token was good for one node and was used by another one');
    return bound;
  }
}
