import { badRequest } from '../machinery/status.ts';

/** The lines of a request's head in their order: the name in lower case, and the value. */
export type HeaderLines = readonly (readonly [name: string, value: string])[];

/** How many lines may say who somebody is: each costs an authorization when it is an impersonation. */
const linesMax = 1000;

/** The lines of a transport that gives them as name, value, name, value. */
export function rawHeaderLines(raw: readonly string[]): HeaderLines {
  const out: [string, string][] = [];
  for (let i = 0; i + 1 < raw.length; i += 2) out.push([raw[i]!.toLowerCase(), raw[i + 1]!.trim()]);
  return out;
}

/** The lines of `Headers`, which join those of one name: in groups and extra values every comma parts two of them. */
export function joinedHeaderLines(headers: Headers): HeaderLines {
  return [...headers].flatMap(([name, value]) =>
    /-(group$|extra-)/.test(name)
      ? value.split(',').map((one) => [name, one.trim()] as const)
      : [[name, value] as const],
  );
}

/** Who the lines that begin with a prefix say somebody is. */
export interface HeaderIdentity {
  /** Empty when none is named. */
  readonly name: string;
  readonly uid: string;
  readonly groups: string[];
  readonly extra: Record<string, string[]>;
}

/** Reads `<prefix>user`, `-uid`, `-group` (a line names one group, commas and all) and `-extra-<key>`. Throws 400 for too many lines. */
export function headerIdentity(lines: HeaderLines, prefix: 'impersonate-' | 'x-remote-'): HeaderIdentity {
  const own = lines.filter(([name]) => name.startsWith(prefix));
  if (own.length > linesMax)
    throw badRequest(`the request has ${own.length} header lines ${prefix}…: send at most ${linesMax}`);
  const values = (of: string): string[] => own.filter(([name]) => name === prefix + of).map(([, value]) => value);
  const extra = new Map<string, string[]>();
  const extraPrefix = `${prefix}extra-`;
  for (const [name, value] of own) {
    if (!name.startsWith(extraPrefix)) continue;
    const key = decodedKey(name.slice(extraPrefix.length));
    extra.set(key, [...(extra.get(key) ?? []), value]);
  }
  return {
    name: values('user')[0] ?? '',
    uid: values('uid')[0] ?? '',
    groups: values('group'),
    extra: Object.fromEntries(extra),
  };
}

function decodedKey(key: string): string {
  try {
    return decodeURIComponent(key);
  } catch {
    return key;
  }
}
