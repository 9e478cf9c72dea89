import { CapCursor, capGrants, networkContains, rwxOf } from './caps-grammar.ts';

/** Mon and mgr capabilities: grammar and semantics of `src/mon/MonCap.cc` and `src/mgr/MgrCap.cc`. */

const R = 2;
const W = 4;
const X = 8;
const ALL = R | W | X;
const ANY = 0xff;

interface Constraint {
  kind: 'equal' | 'prefix' | 'regex';
  value: string;
}

interface Grant {
  /** `mon`, `osd`, `auth`, ...: for the mgr also a module. */
  service?: string;
  command?: string;
  args?: Record<string, Constraint>;
  profile?: string;
  allow: number;
  network?: string;
}

/** What a peer wants of the mon (or mgr). */
export interface MonAccess {
  /** `client.admin`: profiles of daemons refer to it. */
  entity: string;
  /** Service that the command or message belongs to: `mon`, `osd`, `pg`, `auth`, `config-key`, `mgr`, `log`, ... */
  service: string;
  /** Prefix of a command, else empty. */
  command: string;
  args: ReadonlyMap<string, string>;
  read: boolean;
  write: boolean;
  exec: boolean;
  ip: string;
}

type Profiles = (profile: string, entity: string) => Grant[] | undefined;

/** Parsed once per session. */
class GrantList {
  readonly #grants: readonly Grant[];
  readonly #profiles: Profiles;

  constructor(kind: string, text: string, profiles: Profiles) {
    this.#profiles = profiles;
    this.#grants = capGrants(kind, text).map((tokens) => parseGrant(new CapCursor(kind, text, tokens)));
    for (const grant of this.#grants)
      if (grant.profile !== undefined && profiles(grant.profile, '') === undefined)
        new CapCursor(kind, text, [{ text: grant.profile, quoted: false, glued: false }]).fail();
  }

  get allowAll(): boolean {
    return this.#grants.some(grantsAll);
  }

  allows(access: MonAccess): boolean {
    let allowed = 0;
    for (const grant of this.#grants) {
      if (grant.network !== undefined && !networkContains(grant.network, access.ip)) continue;
      if (grantsAll(grant)) return true;
      allowed |= this.#allowed(grant, access);
      if (
        (!access.read || (allowed & R) !== 0) &&
        (!access.write || (allowed & W) !== 0) &&
        (!access.exec || (allowed & X) !== 0)
      )
        return true;
    }
    return false;
  }

  #allowed(grant: Grant, access: MonAccess): number {
    if (grant.profile !== undefined) {
      let allowed = 0;
      for (const inner of this.#profiles(grant.profile, access.entity) ?? []) allowed |= this.#allowed(inner, access);
      return allowed;
    }
    if (grant.service !== undefined && grant.command === undefined)
      return grant.service === access.service ? grant.allow : 0;
    if (grant.command !== undefined) {
      if (grant.command !== access.command) return 0;
      for (const [name, constraint] of Object.entries(grant.args ?? {}))
        if (!satisfies(constraint, access.args.get(name))) return 0;
      return ALL;
    }
    return grant.allow;
  }
}

function grantsAll(grant: Grant): boolean {
  return (
    grant.allow === ANY && grant.service === undefined && grant.command === undefined && grant.profile === undefined
  );
}

function satisfies(constraint: Constraint, value: string | undefined): boolean {
  if (value === undefined) return false;
  if (constraint.kind === 'equal') return value === constraint.value;
  if (constraint.kind === 'prefix') return value.startsWith(constraint.value);
  try {
    return new RegExp(`^(?:${constraint.value})$`).test(value);
  } catch {
    return false;
  }
}

function parseGrant(c: CapCursor): Grant {
  const grant: Grant = { allow: 0 };
  if (c.word('profile')) grant.profile = c.assigned();
  else {
    if (!c.word('allow')) c.fail();
    if (c.word('profile')) grant.profile = c.assigned();
    else if (c.word('command')) {
      grant.command = c.assigned();
      grant.args = parseArgs(c);
    } else {
      if (c.word('service') || c.word('module')) grant.service = c.assigned();
      grant.allow = parseAllow(c);
    }
  }
  while (!c.done) {
    if (c.word('network')) grant.network = c.value();
    else if (c.word('fsname') || grant.profile !== undefined) {
      // Of `allow r fsname=x` the name limits only which file systems are shown; of a profile, arguments such as `pool=x` limit mgr modules.
      if (grant.profile !== undefined) c.value();
      c.assigned();
    } else c.fail();
  }
  return grant;
}

function parseAllow(c: CapCursor): number {
  if (c.word('*') || c.word('all')) return ANY;
  const rwx = rwxOf(c.peek) ?? c.fail();
  c.value();
  return (rwx.read ? R : 0) | (rwx.write ? W : 0) | (rwx.exec ? X : 0);
}

function parseArgs(c: CapCursor): Record<string, Constraint> {
  const args: Record<string, Constraint> = {};
  if (!c.word('with')) return args;
  while (!c.done && c.peek!.text !== 'network') {
    const name = c.value();
    if (c.word('prefix')) args[name] = { kind: 'prefix', value: c.value() };
    else if (c.word('regex')) args[name] = { kind: 'regex', value: c.value() };
    else args[name] = { kind: 'equal', value: c.assigned() };
  }
  return args;
}

function service(name: string, allow: number): Grant {
  return { service: name, allow };
}
function command(name: string, args: Record<string, Constraint> = {}): Grant {
  return { command: name, args, allow: 0 };
}
const equal = (value: string): Constraint => ({ kind: 'equal', value });
const prefix = (value: string): Constraint => ({ kind: 'prefix', value });
const regex = (value: string): Constraint => ({ kind: 'regex', value });

const readMaps = [service('mon', R), service('osd', R), service('pg', R)];
const blocklistOne = [
  command('osd blocklist', { blocklistop: equal('add'), addr: regex('[^/]+/[0-9]+') }),
  command('osd blacklist', { blacklistop: equal('add'), addr: regex('[^/]+/[0-9]+') }),
];

function daemonPrivate(entity: string): Grant[] {
  const key = { key: prefix(`daemon-private/${entity}/`) };
  return ['get', 'put', 'set', 'exists', 'delete'].map((verb) => command(`config-key ${verb}`, key));
}

function monProfiles(profile: string, entity: string): Grant[] | undefined {
  switch (profile) {
    case 'read-only':
      return [{ allow: R }];
    case 'read-write':
      return [{ allow: R | W }];
    case 'mon':
      return [service('mon', ALL), service('log', ALL), ...daemonPrivate(entity)];
    case 'osd':
      return [
        service('osd', ALL),
        service('mon', R),
        service('pg', R | W),
        service('log', W),
        command('config set', { name: regex('osd_mclock_max_capacity_iops_(hdd|ssd)') }),
        ...daemonPrivate(entity),
      ];
    case 'mds':
      return [
        service('mds', ALL),
        service('mon', R),
        service('osd', R),
        service('log', W),
        command('osd pool rmsnap'),
        command('osd blocklist'),
        command('osd blacklist'),
        ...daemonPrivate(entity),
      ];
    case 'mgr':
      return [
        service('mgr', ALL),
        service('auth', ALL),
        ...['log', 'mon', 'mds', 'fs', 'osd', 'config-key', 'config'].map((name) => service(name, R | W)),
        ...['auth get-or-create', 'auth caps', 'auth rm', 'smart'].map((name) => command(name)),
        ...daemonPrivate(entity),
      ];
    case 'bootstrap-osd':
      return [
        service('mon', R),
        service('osd', R),
        ...['mon getmap', 'osd new', 'osd purge-new'].map((name) => command(name)),
      ];
    case 'bootstrap-mds':
      return bootstrap({
        entity: prefix('mds.'),
        caps_mon: equal('allow profile mds'),
        caps_osd: equal('allow rwx'),
        caps_mds: equal('allow'),
      });
    case 'bootstrap-mgr':
      return bootstrap({ entity: prefix('mgr.'), caps_mon: equal('allow profile mgr') });
    case 'bootstrap-rgw':
      return bootstrap({ entity: prefix('client.rgw.'), caps_mon: equal('allow rw'), caps_osd: equal('allow rwx') });
    case 'fs-client':
      return [service('mds', R), ...readMaps];
    case 'simple-rados-client':
      return readMaps;
    case 'simple-rados-client-with-blocklist':
      return [...readMaps, blocklistOne[0]!];
    case 'rbd':
    case 'rbd-read-only':
      return [...readMaps, ...blocklistOne];
    case 'rbd-mirror':
      return [...readMaps, ...blocklistOne, command('config-key get', { key: prefix('rbd/mirror/') })];
    case 'crash':
      return [service('mon', R)];
    case 'role-definer':
      return [service('mon', R), service('auth', ALL)];
    default:
      return undefined;
  }
}

function bootstrap(args: Record<string, Constraint>): Grant[] {
  return [service('mon', R), service('osd', R), command('mon getmap'), command('auth get-or-create', args)];
}

function mgrProfiles(profile: string): Grant[] | undefined {
  switch (profile) {
    case 'read-only':
      return [{ allow: R }];
    case 'read-write':
      return [{ allow: R | W }];
    case 'crash':
      return [command('crash post')];
    // They report to the mgr; for commands they get nothing.
    case 'mon':
    case 'mgr':
    case 'osd':
    case 'mds':
    case 'rbd-mirror':
      return [];
    case 'rbd':
      return [service('rbd_support', R | W)];
    case 'rbd-read-only':
      return [service('rbd_support', R)];
    default:
      return undefined;
  }
}

export class MonCap extends GrantList {
  static readonly all = new MonCap('allow *');
  static readonly none = new MonCap('');
  /** Throws AppError BAD_CAPS. The empty string allows nothing. */
  static parse(text: string): MonCap {
    return new MonCap(text);
  }
  private constructor(text: string) {
    super('mon', text, monProfiles);
  }
}

export class MgrCap extends GrantList {
  static readonly all = new MgrCap('allow *');
  static readonly none = new MgrCap('');
  static parse(text: string): MgrCap {
    return new MgrCap(text);
  }
  private constructor(text: string) {
    super('mgr', text, mgrProfiles);
  }
}
