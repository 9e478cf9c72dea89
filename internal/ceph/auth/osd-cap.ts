import { CapCursor, capGrants, networkContains, rwxOf } from './caps-grammar.ts';

/** OSD capabilities: grammar and semantics of `src/osd/OSDCap.cc`. */

const R = 2;
const W = 4;
const CLS_R = 8;
const CLS_W = 16;
const X = CLS_R | CLS_W;
const ANY = 0xff;

interface Match {
  pool?: string;
  /** A trailing `*` matches any rest. */
  nspace?: string;
  objectPrefix?: string;
  tag?: { application: string; key: string; value: string };
}

interface Spec {
  allow: number;
  className?: string;
  methodName?: string;
}

interface Grant {
  match: Match;
  spec: Spec;
  network?: string;
  /** Of a profile: any of these. */
  profile?: Grant[];
}

/** A class call inside a request. */
export interface ClassCall {
  className: string;
  methodName: string;
  /** What the method is registered as. */
  read: boolean;
  write: boolean;
  /** Whether the class is on `osd class default list` (all of ours are). */
  allowed: boolean;
}

/** What a request wants to do to one object. */
export interface OsdAccess {
  pool: string;
  nspace: string;
  /** The pool's application metadata. */
  applications: ReadonlyMap<string, ReadonlyMap<string, string>>;
  object: string;
  read: boolean;
  write: boolean;
  calls: readonly ClassCall[];
  /** The client's address as text, for `network` grants. */
  ip: string;
}

/** Parsed once per session. */
export class OsdCap {
  readonly #grants: readonly Grant[];

  private constructor(grants: readonly Grant[]) {
    this.#grants = grants;
  }

  static readonly all = new OsdCap([{ match: {}, spec: { allow: ANY } }]);
  static readonly none = new OsdCap([]);

  /** Throws AppError BAD_CAPS. The empty string allows nothing. */
  static parse(text: string): OsdCap {
    return new OsdCap(capGrants('osd', text).map((tokens) => parseGrant(new CapCursor('osd', text, tokens))));
  }

  /** Everything, everywhere: no need to ask per request. */
  get allowAll(): boolean {
    return this.#grants.some(grantsAll);
  }

  allows(access: OsdAccess): boolean {
    const callAllowed = new Array<boolean>(access.calls.length).fill(false);
    return this.#grants.some((grant) => grantAllows(grant, access, callAllowed));
  }
}

function grantsAll(grant: Grant): boolean {
  if (grant.profile !== undefined) return grant.profile.some(grantsAll);
  const { pool, nspace, objectPrefix, tag } = grant.match;
  return (
    grant.network === undefined &&
    pool === undefined &&
    nspace === undefined &&
    objectPrefix === undefined &&
    tag === undefined &&
    grant.spec.allow === ANY
  );
}

function matches(match: Match, access: OsdAccess): boolean {
  if (match.pool !== undefined && match.pool !== access.pool) return false;
  if (match.nspace !== undefined && match.nspace !== access.nspace) {
    if (!match.nspace.endsWith('*') || !access.nspace.startsWith(match.nspace.slice(0, -1))) return false;
  }
  if (match.tag !== undefined) {
    const { application, key, value } = match.tag;
    const metadata = access.applications.get(application);
    if (metadata === undefined) return false;
    if (key === '*') {
      if (value !== '*' && ![...metadata.values()].includes(value)) return false;
    } else {
      const found = metadata.get(key);
      if (found === undefined || (value !== '*' && found !== value)) return false;
    }
  }
  return match.objectPrefix === undefined || access.object.startsWith(match.objectPrefix);
}

function grantAllows(grant: Grant, access: OsdAccess, callAllowed: boolean[]): boolean {
  if (grant.network !== undefined && !networkContains(grant.network, access.ip)) return false;
  if (grant.profile !== undefined) return grant.profile.some((g) => grantAllows(g, access, callAllowed));
  if (!matches(grant.match, access)) return false;
  const { allow, className, methodName } = grant.spec;
  if ((access.read && (allow & R) === 0) || (access.write && (allow & W) === 0)) return false;
  if (access.calls.length === 0 || allow === ANY) return true;
  for (const [i, call] of access.calls.entries()) {
    if (className === call.className && (methodName === undefined || methodName === call.methodName)) {
      callAllowed[i] = true;
      continue;
    }
    if (!call.allowed) continue;
    if ((call.read && (allow & CLS_R) === 0) || (call.write && (allow & CLS_W) === 0)) continue;
    callAllowed[i] = true;
  }
  return callAllowed.every(Boolean);
}

function parseGrant(c: CapCursor): Grant {
  const grant: Grant = { match: {}, spec: { allow: 0 } };
  if (c.word('profile')) {
    const name = c.assigned();
    while (!c.done) parseMatch(c, grant, false);
    grant.profile = profileGrants(name, grant.match) ?? c.fail();
    return grant;
  }
  if (!c.word('allow')) c.fail();
  let specified = false;
  while (!c.done) {
    if (parseSpec(c, grant.spec)) specified = true;
    else parseMatch(c, grant, true);
  }
  if (!specified) c.fail();
  return grant;
}

const matchWords = new Set(['pool', 'namespace', 'object_prefix', 'tag', 'network']);

function parseSpec(c: CapCursor, spec: Spec): boolean {
  if (c.word('*') || c.word('all')) {
    spec.allow = ANY;
    return true;
  }
  const rwx = rwxOf(c.peek);
  if (rwx !== undefined) {
    c.value();
    spec.allow |= (rwx.read ? R : 0) | (rwx.write ? W : 0) | (rwx.exec ? X : 0);
    return true;
  }
  if (c.word('class-read')) {
    spec.allow |= CLS_R;
    return true;
  }
  if (c.word('class-write')) {
    spec.allow |= CLS_W;
    return true;
  }
  if (!c.word('class')) return false;
  spec.className = c.value();
  if (!c.done && (c.peek!.quoted || !matchWords.has(c.peek!.text))) spec.methodName = c.value();
  return true;
}

function parseMatch(c: CapCursor, grant: Grant, everything: boolean): void {
  if (c.word('pool')) grant.match.pool = c.assigned();
  else if (c.word('namespace')) {
    grant.match.nspace = c.assigned();
    if (c.peek?.glued === true && c.word('*')) grant.match.nspace += '*';
  } else if (c.word('network')) grant.network = c.value();
  else if (everything && c.word('object_prefix')) grant.match.objectPrefix = c.assigned();
  else if (everything && c.word('tag')) {
    const application = c.value();
    const key = c.valueOrStar();
    if (!c.word('=')) c.fail();
    grant.match.tag = { application, key, value: c.valueOrStar() };
  } else c.fail();
}

function profileGrants(name: string, at: Match): Grant[] | undefined {
  const grant = (match: Match, allow: number): Grant => ({ match, spec: { allow } });
  const method = (match: Match, methodName: string): Grant => ({
    match,
    spec: { allow: 0, className: 'rbd', methodName },
  });
  const inPool: Match = at.pool === undefined ? {} : { pool: at.pool };
  switch (name) {
    case 'read-only':
      return [grant(at, R)];
    case 'read-write':
      return [grant(at, R | W)];
    case 'rbd':
      return [
        grant({ objectPrefix: 'rbd_info' }, R),
        grant({ objectPrefix: 'rbd_children' }, CLS_R),
        grant({ objectPrefix: 'rbd_mirroring' }, CLS_R),
        method(inPool, 'metadata_list'),
        grant(at, R | W | X),
      ];
    case 'rbd-read-only':
      return [
        grant(at, R | CLS_R),
        method({ ...at, objectPrefix: 'rbd_header.' }, 'child_attach'),
        method({ ...at, objectPrefix: 'rbd_header.' }, 'child_detach'),
      ];
    default:
      return undefined;
  }
}
