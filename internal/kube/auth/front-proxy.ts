import { headerIdentity, type HeaderLines } from './header-lines.ts';
import { authenticated, type UserInfo } from './identity.ts';

/**
 * A front proxy (docs: tasks/extend-kubernetes/configure-aggregation-layer): who shows a certificate of the request-header authority under an allowed name
 * says in headers for whom it asks.
 */
export const frontProxyNames: readonly string[] = ['system:auth-proxy'];

/** The user that the headers name; undefined when they name none. Throws 400. */
export function forwardedUser(lines: HeaderLines): UserInfo | undefined {
  const { name, uid, groups, extra } = headerIdentity(lines, 'x-remote-');
  if (name === '') return undefined;
  return authenticated({
    name,
    groups: groups.filter(Boolean),
    ...(uid === '' ? {} : { uid }),
    ...(Object.keys(extra).length === 0 ? {} : { extra }),
  });
}

/** Headers that tell an extension server who asks. */
export function forwardingHeaders(user: UserInfo): [string, string][] {
  const out: [string, string][] = [['X-Remote-User', user.name]];
  if (user.uid !== undefined) out.push(['X-Remote-Uid', user.uid]);
  for (const group of user.groups) out.push(['X-Remote-Group', group]);
  for (const [key, values] of Object.entries(user.extra ?? {}))
    for (const value of values) out.push([`X-Remote-Extra-${encodeURIComponent(key)}`, value]);
  return out;
}
