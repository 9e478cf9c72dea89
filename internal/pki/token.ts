import { createHash, X509Certificate } from 'node:crypto';
import { AppError } from '../base/errors.ts';
import { pemCertificates } from '../base/pem.ts';

/** Join tokens in K3s' form (docs.k3s.io/cli/token): `K10<sha256 of the CA>::<user>:<secret>`. */
export interface JoinToken {
  /** 64 hex digits; undefined in a token that is only a secret: then nothing proves which cluster answers. */
  readonly caHash: string | undefined;
  /** `server` may join as server and as agent, `node` as agent only. */
  readonly user: TokenUser;
  readonly secret: string;
}

export const tokenUsers = ['node', 'server'] as const;
export type TokenUser = (typeof tokenUsers)[number];

const prefix = 'K10';
/** Of a token that is only a secret. */
const secretLengthMin = 8;
const secretPattern = /^[!-~]{1,256}$/;
const form = 'expected K10<64 hex digits>::node:<secret> or K10<64 hex digits>::server:<secret>';

function malformed(why: string): AppError {
  return new AppError('TOKEN', `the token is not one: ${why}`, {
    hint: `${form}; \`appliance token create\` on a server prints one`,
  });
}

/** Reads a token; a bare secret is one of user `node` without a hash, as in K3s. Throws AppError TOKEN; the text never is in the message. */
export function parseToken(text: string): JoinToken {
  const trimmed = text.trim();
  if (trimmed === '') throw malformed('it is empty');
  if (trimmed.length > 512) throw malformed('it is too long');
  if (!trimmed.startsWith(prefix)) {
    if (trimmed.length < secretLengthMin) throw malformed(`it has fewer than ${secretLengthMin} characters`);
    if (!secretPattern.test(trimmed) || trimmed.includes(':'))
      throw malformed('a bare secret has no spaces and no colons');
    return { caHash: undefined, user: 'node', secret: trimmed };
  }
  const body = trimmed.slice(prefix.length);
  const at = body.indexOf('::');
  if (at < 0) throw malformed('it has no "::" after the hash');
  const hash = body.slice(0, at);
  if (!/^[0-9a-f]{64}$/.test(hash))
    throw malformed(`the hash has ${hash.length} characters, or some that are not hexadecimal`);
  const credentials = body.slice(at + 2);
  const colon = credentials.indexOf(':');
  const user = tokenUsers.find((name) => name === credentials.slice(0, Math.max(0, colon)));
  const secret = credentials.slice(colon + 1);
  if (user === undefined) throw malformed('the user is neither node nor server');
  if (!secretPattern.test(secret)) throw malformed('the secret is empty, too long or has spaces');
  return { caHash: hash, user, secret };
}

export function formatToken(token: { caHash: string; user: TokenUser; secret: string }): string {
  return `${prefix}${token.caHash}::${token.user}:${token.secret}`;
}

/** PEM blocks of a bundle that are read; a cluster has one authority, or a chain of a few. */
const certificatesMax = 16;

/**
 * The hash of a CA file as K3s computes it (`pkg/clientaccess`): of one certificate the SHA-256 of the file's bytes; of a chain that of the root's DER,
 * so that intermediates may be renewed.
 */
export function caHash(file: string): string {
  const blocks = pemCertificates(file);
  if (blocks.length === 0 || blocks.length > certificatesMax)
    throw new AppError('TOKEN', `expected 1 to ${certificatesMax} certificates in PEM, found ${blocks.length}`);
  const sha256 = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
  if (blocks.length === 1) return sha256(file);
  let chain: X509Certificate[];
  try {
    chain = blocks.map((block) => new X509Certificate(block));
  } catch (cause) {
    throw new AppError('TOKEN', 'a certificate of the CA file is damaged', { cause });
  }
  // All of them are trusted later: each must be vouched for by the next, the last by itself, or a root could be shown beside a stranger's authority.
  chain.forEach((certificate, index) => {
    const issuer = chain[index + 1] ?? certificate;
    if (!certificate.checkIssued(issuer) || !certificate.verify(issuer.publicKey))
      throw new AppError('TOKEN', `certificate ${index + 1} of the CA file is not signed by the one that follows it`, {
        hint: 'expected a chain that ends with its root',
      });
  });
  return sha256(chain.at(-1)!.raw);
}
