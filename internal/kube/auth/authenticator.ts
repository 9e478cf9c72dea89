import { forbidden, unauthorized } from '../machinery/status.ts';
import type { Authorizer } from './authorizer.ts';
import { forbiddenText } from './authorizer.ts';
import { headerIdentity, type HeaderLines } from './header-lines.ts';
import { anonymousUser, authenticated, type UserInfo } from './identity.ts';
import type { ServiceAccountTokens } from './service-account-tokens.ts';

/** What a transport knows of who sent a request. */
export interface Credentials {
  /** In-process callers say who they are. */
  readonly identity?: UserInfo;
  /** From a verified client certificate. */
  readonly certificate?: UserInfo;
  /** Whom a front proxy with a verified certificate asks for. */
  readonly forwarded?: UserInfo;
  /** The Authorization header. */
  readonly authorization: string | null;
}

/** Who knows a bearer token that is no service account's. */
export type TokenUser = (token: string) => Promise<UserInfo | undefined>;

/**
 * Who makes the request: in-process identity, front proxy, client certificate, bearer token (`others` are asked for those that are no JWT), else anonymous.
 * Throws 401 for a token that is not valid.
 */
export async function authenticate(
  credentials: Credentials,
  tokens: ServiceAccountTokens,
  others: TokenUser = async () => undefined,
): Promise<UserInfo> {
  if (credentials.identity !== undefined) return authenticated(credentials.identity);
  if (credentials.forwarded !== undefined) return credentials.forwarded;
  if (credentials.certificate !== undefined) return credentials.certificate;
  const header = credentials.authorization;
  if (header === null || header === '') return anonymousUser;
  const match = /^bearer +(\S+)$/i.exec(header);
  if (match === null) throw unauthorized();
  const other = await others(match[1]!);
  if (other !== undefined) return other;
  const result = await tokens.verify(match[1]!);
  if ('error' in result) throw unauthorized();
  return result.user;
}

/**
 * `Impersonate-User` and its companions (docs: reference/access-authn-authz/user-impersonation): `user` acts as somebody else if it may, asked for each group and value. Throws 400, 403.
 */
export async function impersonate(user: UserInfo, lines: HeaderLines, authorizer: Authorizer): Promise<UserInfo> {
  const { name, uid, groups, extra } = headerIdentity(lines, 'impersonate-');
  if (name === '') {
    if (groups.length > 0 || uid !== '' || Object.keys(extra).length > 0)
      throw forbidden({ group: '', resource: 'users' }, '', 'requested impersonation without a user');
    return user;
  }
  const check = async (
    group: string,
    resource: string,
    one: string,
    namespace = '',
    subresource = '',
  ): Promise<void> => {
    const attributes = {
      user,
      verb: 'impersonate',
      resourceRequest: true,
      group,
      version: 'v1',
      resource,
      subresource,
      namespace,
      name: one,
      path: '',
    };
    const decision = await authorizer.authorize(attributes);
    if (!decision.allowed) throw forbidden({ group, resource }, one, forbiddenText(attributes));
  };
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(name);
  if (account !== null) await check('', 'serviceaccounts', account[2]!, account[1]!);
  else await check('', 'users', name);
  for (const group of groups) await check('', 'groups', group);
  if (uid !== '') await check('authentication.k8s.io', 'uids', uid);
  for (const [key, values] of Object.entries(extra))
    for (const value of values) await check('authentication.k8s.io', 'userextras', value, '', key);
  const all = [...groups];
  if (account !== null && groups.length === 0)
    all.push('system:serviceaccounts', `system:serviceaccounts:${account[1]}`);
  const as: UserInfo = {
    name,
    groups: all,
    ...(uid === '' ? {} : { uid }),
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  };
  if (name !== anonymousUser.name) return authenticated(as);
  return { ...as, groups: all.includes('system:unauthenticated') ? all : [...all, 'system:unauthenticated'] };
}
