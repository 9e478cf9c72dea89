import { utf8Text } from '../../../base/bytes.ts';
import type { AuthEntry } from '../../auth/api.ts';
import { cryptoKeyText, newCryptoKey } from '../../auth/crypto.ts';
import { keyringEntryText, parseKeyring } from '../../auth/keyring.ts';
import { MgrCap, MonCap } from '../../auth/mon-cap.ts';
import { OsdCap } from '../../auth/osd-cap.ts';
import { parseEntityName } from '../../wire/types.ts';
import { sortedEntities } from '../auth-state.ts';
import type { Draft } from '../draft.ts';
import { EINVAL, ENOENT, Refusal, refusalOf } from '../errno.ts';
import type { Json, OutputFormat } from '../format/json.ts';
import type { Mon } from '../mon.ts';
import type { CommandContext } from './dispatch.ts';
import type { Arguments } from './signature.ts';
import { type CommandAnswer, type CommandEntry, structured, wantsJson } from './table.ts';

const entityArg = 'name=entity,type=CephString';
const capsArg = 'name=caps,type=CephString,n=N';

const services = ['mon', 'osd', 'mgr', 'mds'];

function entityOf(args: Arguments): string {
  const name = args.text('entity');
  if (parseEntityName(name) === undefined) throw new Refusal(EINVAL, `invalid entity_auth ${name}`);
  return name;
}

/** `mon 'allow r' osd 'allow rw'` as a record, each checked by its own grammar. Errors: EINVAL. */
function capsOf(args: Arguments): Record<string, string> {
  const list = args.list('caps');
  if (list.length % 2 !== 0) throw new Refusal(EINVAL, 'bad capabilities request; odd number of arguments');
  const caps: Record<string, string> = {};
  for (let i = 0; i < list.length; i += 2) {
    const service = list[i]!;
    const text = list[i + 1]!;
    if (!services.includes(service)) throw new Refusal(EINVAL, `unknown cap type '${service}'`);
    checkCap(service, text);
    caps[service] = text;
  }
  return caps;
}

function checkCap(service: string, text: string): void {
  try {
    if (service === 'mon') MonCap.parse(text);
    else if (service === 'osd') OsdCap.parse(text);
    else if (service === 'mgr') MgrCap.parse(text);
  } catch (error) {
    throw refusalOf(error);
  }
}

function find(mon: Mon, name: string, message: string): AuthEntry {
  const entry = mon.state.auth.entities.get(name);
  if (entry === undefined) throw new Refusal(ENOENT, message);
  return entry;
}

function sortedCaps(entry: AuthEntry): [string, string][] {
  return Object.entries(entry.caps).sort(([a], [b]) => (a < b ? -1 : 1));
}

function entryJson(name: string, entry: AuthEntry): Json {
  return { entity: name, key: cryptoKeyText(entry.key), caps: new Map<string, Json>(sortedCaps(entry)) };
}

function list({ mon }: CommandContext, _args: Arguments, format: OutputFormat): CommandAnswer {
  // The mons' own key is not theirs to show.
  const all = sortedEntities(mon.state.auth).filter(([name]) => name !== 'mon.');
  if (wantsJson(format)) return structured({ auth_dump: all.map(([name, entry]) => entryJson(name, entry)) }, format);
  let output = '';
  for (const [name, entry] of all) {
    output += `${name}\n\tkey: ${cryptoKeyText(entry.key)}\n`;
    for (const [service, text] of sortedCaps(entry)) output += `\tcaps: [${service}] ${text}\n`;
  }
  return { status: 'installed auth entries:\n', output };
}

function keyOnly({ mon }: CommandContext, args: Arguments, format: OutputFormat): CommandAnswer {
  const name = entityOf(args);
  const key = cryptoKeyText(find(mon, name, `don't have ${name}`).key);
  return wantsJson(format) ? structured({ key }, format) : { output: key };
}

async function remove({ mon }: CommandContext, args: Arguments): Promise<CommandAnswer> {
  const name = entityOf(args);
  const removed = await mon.update((draft) => {
    if (!draft.state.auth.entities.has(name)) return false;
    draft.removeEntity(name);
    return true;
  });
  if (!removed) return { status: `entity ${name} does not exist` };
  dropSessions(mon, name);
  return { status: 'updated' };
}

/** Whoever lost its entity, or whose capabilities changed, comes in again with the new ones. */
function dropSessions(mon: Mon, name: string): void {
  for (const session of mon.sessions.values()) if (session.entity === name) session.connection.close();
}

/** The entry, made when it is not there. Errors: EINVAL when it is there with other capabilities. */
function getOrCreate(mon: Mon, draft: Draft, name: string, caps: Record<string, string>): AuthEntry {
  const known = draft.state.auth.entities.get(name);
  if (known !== undefined) {
    for (const [service, text] of Object.entries(caps))
      if (known.caps[service] !== text)
        throw new Refusal(EINVAL, `key for ${name} exists but cap ${service} does not match`);
    return known;
  }
  const entry: AuthEntry = { key: newCryptoKey(draft.nowMs, mon.random), caps };
  draft.setEntity(name, entry);
  return entry;
}

export const authCommands: readonly CommandEntry<CommandContext>[] = [
  { signature: 'auth ls', help: 'list all entities', module: 'auth', perm: 'rx', handler: list },
  { signature: 'auth list', help: 'list all entities', module: 'auth', perm: 'rx', flags: 4, handler: list },
  {
    signature: `auth get ${entityArg}`,
    help: 'show key and capabilities of an entity as a keyring',
    module: 'auth',
    perm: 'rx',
    handler: ({ mon }, args, format) => {
      const name = entityOf(args);
      const entry = find(mon, name, `failed to find ${name} in keyring`);
      const status = `exported keyring for ${name}`;
      if (wantsJson(format)) return { status, ...structured([entryJson(name, entry)], format) };
      return { status, output: keyringEntryText(name, entry) };
    },
  },
  {
    signature: `auth get-key ${entityArg}`,
    help: 'show the key of an entity',
    module: 'auth',
    perm: 'rx',
    handler: keyOnly,
  },
  {
    signature: `auth print-key ${entityArg}`,
    help: 'show the key of an entity',
    module: 'auth',
    perm: 'rx',
    handler: keyOnly,
  },
  {
    signature: `auth print_key ${entityArg}`,
    help: 'show the key of an entity',
    module: 'auth',
    perm: 'rx',
    handler: keyOnly,
  },
  {
    signature: `auth export ${entityArg},req=false`,
    help: 'show one entity, or all, as a keyring',
    module: 'auth',
    perm: 'rx',
    handler: ({ mon }, args, format) => {
      if (!args.has('entity')) {
        const all = sortedEntities(mon.state.auth);
        const status = 'exported master keyring';
        if (wantsJson(format))
          return {
            status,
            ...structured(
              all.map(([name, entry]) => entryJson(name, entry)),
              format,
            ),
          };
        return { status, output: all.map(([name, entry]) => keyringEntryText(name, entry)).join('') };
      }
      const name = entityOf(args);
      const entry = find(mon, name, `couldn't find entry ${name}`);
      const status = `export auth(key=${cryptoKeyText(entry.key)})`;
      if (wantsJson(format)) return { status, ...structured([entryJson(name, entry)], format) };
      return { status, output: keyringEntryText(name, entry) };
    },
  },
  {
    signature: `auth get-or-create ${entityArg} ${capsArg},req=false`,
    help: 'make an entity with a new key, or show the key it has',
    module: 'auth',
    perm: 'rwx',
    handler: async ({ mon }, args, format) => {
      const name = entityOf(args);
      const caps = capsOf(args);
      const entry = await mon.update((draft) => getOrCreate(mon, draft, name, caps));
      if (wantsJson(format)) return structured([entryJson(name, entry)], format);
      return { output: `[${name}]\n\tkey = ${cryptoKeyText(entry.key)}\n` };
    },
  },
  {
    signature: `auth get-or-create-key ${entityArg} ${capsArg},req=false`,
    help: 'make an entity with a new key, or show the bare key it has',
    module: 'auth',
    perm: 'rwx',
    handler: async ({ mon }, args, format) => {
      const name = entityOf(args);
      const caps = capsOf(args);
      const entry = await mon.update((draft) => getOrCreate(mon, draft, name, caps));
      const key = cryptoKeyText(entry.key);
      return wantsJson(format) ? structured({ key }, format) : { output: `${key}\n` };
    },
  },
  {
    signature: `auth add ${entityArg} ${capsArg},req=false`,
    help: 'add an entity, its key from the input (-i keyring) or made anew',
    module: 'auth',
    perm: 'rwx',
    handler: async ({ mon, input }, args) => {
      const name = entityOf(args);
      const caps = capsOf(args);
      const given = input.length > 0 ? parseKeyring(utf8Text(input), 'input').get(name) : undefined;
      if (input.length > 0 && given === undefined) throw new Refusal(ENOENT, `no key for ${name} in the input`);
      if (given !== undefined) for (const [service, text] of Object.entries(given.caps)) checkCap(service, text);
      return await mon.update((draft): CommandAnswer => {
        const known = draft.state.auth.entities.get(name);
        const key = given?.key ?? known?.key ?? newCryptoKey(draft.nowMs, mon.random);
        const all = Object.keys(caps).length > 0 ? caps : (given?.caps ?? {});
        if (known !== undefined) {
          const same =
            cryptoKeyText(known.key) === cryptoKeyText(key) &&
            JSON.stringify(sortedCaps(known)) === JSON.stringify(sortedCaps({ key, caps: all }));
          if (same) return {};
          throw new Refusal(
            EINVAL,
            `entity ${name} exists but ${cryptoKeyText(known.key) === cryptoKeyText(key) ? 'caps do' : 'key does'} not match`,
          );
        }
        draft.setEntity(name, { key, caps: all });
        return { status: `added key for ${name}` };
      });
    },
  },
  {
    signature: `auth caps ${entityArg} ${capsArg}`,
    help: 'replace the capabilities of an entity',
    module: 'auth',
    perm: 'rwx',
    handler: async ({ mon }, args) => {
      const name = entityOf(args);
      const caps = capsOf(args);
      await mon.update((draft) => {
        const known = draft.state.auth.entities.get(name);
        if (known === undefined) throw new Refusal(ENOENT, `couldn't find entry ${name}`);
        draft.setEntity(name, { key: known.key, caps });
      });
      return { status: `updated caps for ${name}` };
    },
  },
  { signature: `auth rm ${entityArg}`, help: 'remove an entity', module: 'auth', perm: 'rwx', handler: remove },
  {
    signature: `auth del ${entityArg}`,
    help: 'remove an entity',
    module: 'auth',
    perm: 'rwx',
    flags: 4,
    handler: remove,
  },
  {
    signature: 'auth import',
    help: 'add or replace all entities of a keyring (-i)',
    module: 'auth',
    perm: 'rwx',
    handler: async ({ mon, input }) => {
      if (input.length === 0) throw new Refusal(EINVAL, 'auth import: no data supplied');
      const entries = parseKeyring(utf8Text(input), 'input');
      for (const [name, entry] of entries) {
        if (parseEntityName(name) === undefined) throw new Refusal(EINVAL, `invalid entity_auth ${name}`);
        for (const [service, text] of Object.entries(entry.caps)) checkCap(service, text);
      }
      await mon.update((draft) => {
        for (const [name, entry] of entries) draft.setEntity(name, entry);
      });
      return { status: 'imported keyring' };
    },
  },
];
