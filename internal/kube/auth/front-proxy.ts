import { authenticated, type UserInfo } from './identity.ts';

/**
 * A front proxy (docs: tasks/extend-kubernetes/configure-aggregation-layer): who shows a certificate of the request-header authority under an allowed name
 * says in headers for whom it asks.
 */
export const frontProxyNames: readonly string[] = ['system:auth-proxy'];

const valuesMax = 64;
const list = (text: string | null): string[] =>
  (text ?? '')
    .split(',')
    .map((one) => one.trim())
    .filter(Boolean)
    .slice(0, valuesMax);

function decoded(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}

/** The user that the headers name; undefined when they name none. */
export function forwardedUser(headers: Headers): UserInfo | undefined {
  const name = headers.get('x-remote-user') ?? '';
  if (name === '') return undefined;
  const extra: Record<string, string[]> = {};
  headers.forEach((value, key) => {
    if (key.startsWith('x-remote-extra-')) extra[decoded(key.slice('x-remote-extra-'.length))] = list(value);
  });
  const uid = headers.get('x-remote-uid') ?? '';
  return authenticated({
    name,
    groups: list(headers.get('x-remote-group')),
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
