import { AppError, errorCode, errorText, isRefused } from '../base/errors.ts';
import { apiserverName } from '../pki/leaves.ts';
import { caHash, type JoinToken } from '../pki/token.ts';

/** The joining side of the endpoints in `join-service.ts`: asks servers by address, and believes only the cluster's CA. */

const answerMs = 20_000;
const answerBytesMax = 1 << 20;

/** Who asks. */
export interface Credential {
  /** Basic authentication: a token's user and secret, or `node/<name>` and the node's password. */
  readonly basic?: { readonly user: string; readonly secret: string };
  readonly certificate?: { readonly cert: string; readonly key: string };
}

interface Ask {
  readonly method?: 'GET' | 'POST';
  readonly headers?: Record<string, string>;
  readonly body?: Uint8Array;
}

/** `host:port` of a server's address as people write it: `https://host:6443`, `host`, `host:6443`. AppError USAGE. */
export function serverAddressOf(text: string): string {
  const match = /^(?:https:\/\/)?([A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?)(?::(\d{1,5}))?\/?$/.exec(text.trim());
  if (!match || Number(match[2] ?? 6443) > 65_535)
    throw new AppError('USAGE', `${JSON.stringify(text.slice(0, 200))} is not the address of a server`, {
      hint: 'expected https://host:6443',
    });
  return `${match[1]}:${match[2] ?? '6443'}`;
}

const clockCodes = new Set(['CERT_NOT_YET_VALID', 'CERT_HAS_EXPIRED']);

/** What went wrong on the way to a server, in words. */
function connectionError(server: string, error: unknown): AppError {
  const code = errorCode(error) ?? (error as { name?: string }).name ?? '';
  const at = (message: string, hint: string): AppError => new AppError('UNREACHABLE', message, { hint, cause: error });
  if (clockCodes.has(code))
    return new AppError(
      'CLOCK',
      `the certificate of ${server} is ${code === 'CERT_HAS_EXPIRED' ? 'no longer' : 'not yet'} valid by the clock of this machine`,
      {
        hint: `the clock here says ${new Date().toISOString()}: set it (timedatectl set-ntp true, or date -s), then try again`,
        cause: error,
      },
    );
  if (isRefused(error))
    return at(`nothing listens at ${server}`, 'is the appliance started there, and is the port right (6443)?');
  if (code === 'TimeoutError' || code === 'ETIMEDOUT')
    return at(
      `${server} gives no answer within ${answerMs / 1000} s`,
      'is it switched on, and does a firewall let port 6443 through?',
    );
  if (['ENOTFOUND', 'EAI_AGAIN', 'EAI_NONAME', 'EAI_NODATA'].includes(code) || /getaddrinfo/.test(errorText(error)))
    return at(
      `the name of ${server} has no address that this machine can find`,
      'check how it is spelled and the DNS of this machine, or give the address itself: --server https://192.0.2.1:6443',
    );
  if (code === 'EPROTO' || /^ERR_SSL_|WRONG_VERSION_NUMBER/.test(code))
    return at(
      `what answers at ${server} does not speak TLS as a server of an appliance does`,
      'is the port that of its Kubernetes API (6443)?',
    );
  if (/CERT|SIGNATURE|SELF_SIGNED|TLS/.test(code))
    return new AppError('CA', `${server} shows a certificate that the cluster's authority did not sign (${code})`, {
      hint: 'another cluster, or somebody in between, answers at this address',
      cause: error,
    });
  return at(`${server} cannot be reached: ${errorText(error)}`, 'check the address and the network');
}

async function boundedText(response: Response): Promise<string> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of response.body ?? []) {
    size += piece.length;
    if (size > answerBytesMax) throw new AppError('JOIN', `the server's answer is longer than ${answerBytesMax} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/**
 * The CA of the server at `address`, fetched from whoever answers there and believed only if its hash is the token's; the server then has to show a
 * certificate of that CA. Errors: CA_HASH, CA, CLOCK, UNREACHABLE.
 */
export async function fetchAuthority(address: string, token: JoinToken): Promise<string> {
  let text: string;
  try {
    const response = await fetch(`https://${address}/cacerts`, {
      tls: { rejectUnauthorized: false },
      signal: AbortSignal.timeout(answerMs),
    } as RequestInit);
    text = await boundedText(response);
    if (!response.ok || !text.includes('BEGIN CERTIFICATE'))
      throw new AppError(
        'JOIN',
        `${address} does not answer as a server of an appliance does (HTTP ${response.status})`,
        {
          hint: 'is it the address of a server, with the port of its Kubernetes API (6443)?',
        },
      );
  } catch (error) {
    throw error instanceof AppError ? error : connectionError(address, error);
  }
  const hash = caHash(text);
  if (token.caHash !== undefined && hash !== token.caHash)
    throw new AppError(
      'CA_HASH',
      `${address} is a server of another cluster than the token's: its CA has the hash ${hash.slice(0, 12)}…, the token ${token.caHash.slice(0, 12)}…`,
      {
        hint: "use a token of that cluster (`appliance token create` there), or the address of a server of the token's",
      },
    );
  await new ServerClient([address], text, {}).ask('/ping');
  return text;
}

/**
 * The first of `addresses` that is a server of the token's cluster, and its CA, as `fetchAuthority` believes it: whoever answers a question to the network first may
 * be away or somebody else. Errors: those of the last one, which name every address.
 */
export async function findAuthority(
  addresses: readonly string[],
  token: JoinToken,
): Promise<{ server: string; ca: string }> {
  const failures: AppError[] = [];
  for (const server of addresses)
    try {
      return { server, ca: await fetchAuthority(server, token) };
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      failures.push(error);
    }
  const last = failures.at(-1)!;
  if (failures.length === 1) throw last;
  throw new AppError(last.code, `no server can be joined: ${failures.map(({ message }) => message).join('; ')}`, {
    ...(last.hint === undefined ? {} : { hint: last.hint }),
    cause: last,
  });
}

/** Asks the servers of one cluster, one after the other until one answers. */
export class ServerClient {
  readonly servers: readonly string[];
  readonly ca: string;
  readonly #credential: Credential;

  constructor(servers: readonly string[], ca: string, credential: Credential) {
    this.servers = servers;
    this.ca = ca;
    this.#credential = credential;
  }

  /** The same servers, asked as somebody else. */
  as(credential: Credential): ServerClient {
    return new ServerClient(this.servers, this.ca, credential);
  }

  /** The text of a good answer. AppError `HTTP_<code>` with the server's words for a refusal, or of the way to the last server. */
  async ask(path: string, request: Ask = {}): Promise<string> {
    let failure: unknown;
    for (const server of this.servers) {
      let response: Response;
      let text: string;
      try {
        response = await this.#send(server, path, request);
        text = await boundedText(response);
      } catch (error) {
        failure = error instanceof AppError ? error : connectionError(server, error);
        continue;
      }
      if (response.ok) return text;
      const refusal = new AppError(`HTTP_${response.status}`, `${server} refuses: ${statusMessage(text)}`);
      // Another server may have what this one lacks only when it is not ready.
      if (response.status !== 503 && response.status !== 429) throw refusal;
      failure = refusal;
    }
    throw failure ?? new AppError('UNREACHABLE', 'no server of the cluster is known');
  }

  #send(server: string, path: string, { method = 'GET', headers = {}, body }: Ask): Promise<Response> {
    const { basic, certificate } = this.#credential;
    return fetch(`https://${server}${path}`, {
      method,
      headers: {
        ...headers,
        ...(basic ? { authorization: `Basic ${Buffer.from(`${basic.user}:${basic.secret}`).toString('base64')}` } : {}),
      },
      ...(body ? { body } : {}),
      signal: AbortSignal.timeout(answerMs),
      // By name: a server is who its key says, at whatever address.
      tls: { ca: this.ca, serverName: apiserverName, ...certificate },
      keepalive: false,
    } as RequestInit);
  }
}

function statusMessage(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === 'string') return message.slice(0, 1000);
  } catch {
    // No Status: some other program's words.
  }
  return text.trim().slice(0, 200) || 'without a word';
}
