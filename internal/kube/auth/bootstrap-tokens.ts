import { timingSafeEqual } from 'node:crypto';
import { getPath, isObject, type JsonObject } from '../machinery/json.ts';
import { parseTime } from '../machinery/time.ts';
import { authenticated, type UserInfo } from './identity.ts';

/** Bootstrap tokens (docs: reference/access-authn-authz/bootstrap-tokens): `abcdef.0123456789abcdef`, kept as Secrets of kube-system. */
const tokenPattern = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
const secretType = 'bootstrap.kubernetes.io/token';
const groupPattern = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;

export function isBootstrapToken(token: string): boolean {
  return tokenPattern.test(token);
}

function decoded(secret: JsonObject, key: string): string {
  const value = getPath(secret, 'data', key);
  return typeof value === 'string' ? Buffer.from(value, 'base64').toString('utf8') : '';
}

const same = (a: string, b: string): boolean =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));

/** The user of a token, or undefined. `secret` reads a Secret of kube-system. */
export async function bootstrapUser(
  token: string,
  secret: (name: string) => Promise<JsonObject | undefined>,
  nowMs: number,
): Promise<UserInfo | undefined> {
  const match = tokenPattern.exec(token);
  if (match === null) return undefined;
  const [, id = '', password = ''] = match;
  const found = await secret(`bootstrap-token-${id}`);
  if (found === undefined || found.type !== secretType || !isObject(found.data)) return undefined;
  const deleted = getPath(found, 'metadata', 'deletionTimestamp');
  if (deleted !== undefined && deleted !== null) return undefined;
  if (!same(decoded(found, 'token-secret'), password) || decoded(found, 'token-id') !== id) return undefined;
  if (decoded(found, 'usage-bootstrap-authentication') !== 'true') return undefined;
  const expiration = decoded(found, 'expiration');
  if (expiration !== '') {
    // An expiration that cannot be read has passed.
    const until = parseTime(expiration);
    if (until === undefined || until <= nowMs) return undefined;
  }
  const extra = decoded(found, 'auth-extra-groups')
    .split(',')
    .map((group) => group.trim())
    .filter(Boolean);
  if (extra.some((group) => !groupPattern.test(group))) return undefined;
  return authenticated({ name: `system:bootstrap:${id}`, groups: ['system:bootstrappers', ...extra] });
}
