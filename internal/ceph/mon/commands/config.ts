import { utf8, utf8Text } from '../../../base/bytes.ts';
import { utimeFromMs } from '../../wire/encoding.ts';
import { addrVecText } from '../../wire/types.ts';
import { type ConfigTarget, effectiveConfig, parseWho } from '../config-state.ts';
import { EINVAL, ENOENT, Refusal } from '../errno.ts';
import type { Json } from '../format/json.ts';
import { column, tableText } from '../format/table.ts';
import { utimeText } from '../format/units.ts';
import type { Mon } from '../mon.ts';
import {
  type KnownOptions,
  type Option,
  optionName,
  options,
  optionValue,
  parseOption,
  specialText,
} from '../options.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, structured, wantsJson } from './table.ts';

function section(who: string) {
  const found = parseWho(who);
  if (found === undefined) throw new Refusal(EINVAL, `unrecognized config target '${who}'`);
  return found;
}

/** An entity with what masks ask of it. */
function target(mon: Mon, who: string): ConfigTarget {
  if (!/^(global|mon|mgr|osd|mds|client)(\..+)?$/.test(who)) throw new Refusal(EINVAL, `unrecognized entity '${who}'`);
  const [type, id] = who.split(/\.(.*)/s) as [string, string?];
  const host =
    type === 'osd' && id !== undefined
      ? mon.state.osdMetadata.get(Number(id))?.get('hostname')
      : type === 'mgr' && id !== undefined
        ? mon.state.mgrMetadata.get(id)?.get('hostname')
        : undefined;
  const deviceClass = type === 'osd' && id !== undefined ? mon.state.osdmap.crush.itemClass(Number(id)) : undefined;
  return { entity: who, ...(host !== undefined && { host }), ...(deviceClass !== undefined && { deviceClass }) };
}

/** How it is shown; options of the mgr's modules, and those that were forced, are taken for the usual kind. */
function shown(name: string, known: KnownOptions): { level: string; isRuntime: boolean } {
  const option = name.startsWith('mgr/') ? undefined : known.find(name);
  return { level: option?.level ?? 'advanced', isRuntime: option?.runtime ?? true };
}

function maskJson(mask: string | undefined): Json {
  if (mask === undefined) return {};
  return mask.startsWith('class:')
    ? { device_class: mask.slice(6) }
    : { location_type: 'host', location_value: mask.slice(5) };
}

const dumpColumns = ['WHO', 'MASK', 'LEVEL', 'OPTION', 'VALUE', 'RO'].map((name) => column(name));

/** As `config dump` has them. */
const typeOrder = ['global', 'mon', 'mgr', 'osd', 'mds', 'client'];

/** Sections in the order of `config dump`: global, types, then daemons below them. */
function dumpOrder(mon: Mon): [who: string, name: string, value: string][] {
  const rows: [string, string, string][] = [];
  const rank = (who: string): string => {
    const found = parseWho(who)!;
    const type = found.entity.split('.')[0]!;
    return `${typeOrder.indexOf(type!)}|${found.entity === type ? '' : found.entity}`;
  };
  const sections = [...mon.state.config.values.keys()].sort((a, b) =>
    rank(a) < rank(b) ? -1 : rank(a) > rank(b) ? 1 : 0,
  );
  const byEntity = new Map<string, [string, string, string][]>();
  for (const who of sections) {
    const key = rank(who);
    const list = byEntity.get(key) ?? [];
    for (const [name, value] of mon.state.config.values.get(who)!) list.push([who, name, value]);
    byEntity.set(key, list);
  }
  for (const list of byEntity.values()) rows.push(...list.sort(([, a], [, b]) => (a < b ? -1 : 1)));
  return rows;
}

function changeText(value: string | undefined, previous: string | undefined, who: string, name: string): string {
  let out = '';
  if (previous !== undefined) out += `- ${who}/${name} = ${previous}\n`;
  if (value !== undefined) out += `+ ${who}/${name} = ${value}\n`;
  return out;
}

/** What of a ceph.conf can be set here, and the text of what cannot: options that nobody knows or that are wrong, sections that are no entities. */
function assimilated(
  text: string,
  known: KnownOptions,
): { changes: { who: string; name: string; value: string }[]; left: string } {
  const changes: { who: string; name: string; value: string }[] = [];
  const left = new Map<string, string[]>();
  let who = 'global';
  for (const raw of text.split('\n')) {
    const line = raw.replace(/^\s*[#;].*$|\s+[#;].*$/, '').trim();
    const header = /^\[(.+)\]$/.exec(line)?.[1]?.trim();
    if (header !== undefined) who = header;
    const [, key, value] = /^([^=]+?)\s*=\s*(.*)$/.exec(header === undefined ? line : '') ?? [];
    if (key === undefined || value === undefined) continue;
    const parsed = parseWho(who) === undefined ? undefined : storable(optionName(key), value, known);
    if (parsed !== undefined) changes.push({ who, name: optionName(key), value: parsed });
    else left.set(who, [...(left.get(who) ?? []), `\t${optionName(key)} = ${value}\n`]);
  }
  return { changes, left: [...left].map(([section, lines]) => `\n[${section}]\n${lines.join('')}`).join('') };
}

/** The value as it is kept; undefined: it is for nobody here. */
function storable(name: string, text: string, known: KnownOptions): string | undefined {
  const option = known.find(name);
  if (option === undefined || option.isFixed) return undefined;
  try {
    return parseOption(option, text);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

/** What a user is told who sets an option of upstream's that has no meaning here. */
const unheeded = 'is kept, shown and given to clients: no daemon of this version acts on it';

function typed({ initial, type }: Option): Json {
  if (type === 'bool') return initial === 'true';
  return ['int', 'uint', 'size', 'float', 'secs', 'millisecs'].includes(type) ? Number(initial) : initial;
}

/** An option as `config help` explains it. */
export function optionJson(option: Option): Json {
  const { choices, description, level, max, min, name, runtime, services, type } = option;
  return {
    name,
    type: type === 'debug' ? 'str' : type,
    level,
    desc: description === '' ? unheeded : description,
    long_desc: '',
    default: typed(option),
    daemon_default: '',
    tags: [],
    services: services ?? [],
    see_also: [],
    ...(['str', 'debug'].includes(type) && { enum_values: choices ?? [] }),
    min: min ?? '',
    max: max ?? '',
    can_update_at_runtime: runtime,
    flags: [...(option.isFixed ? ['no_mon_update'] : []), ...(runtime ? ['runtime'] : [])],
  };
}

function optionText({ description, initial, level, max, min, name, runtime, services, type }: Option): string {
  const lines = [
    `${name} - ${description === '' ? unheeded : description}`,
    `  (${type === 'debug' ? 'str' : type}, ${level})`,
    `  Default: ${initial}`,
    ...(min === undefined && max === undefined ? [] : [`  Minimum: ${min ?? ''}`, `  Maximum: ${max ?? ''}`]),
    `  Can update at runtime: ${runtime}`,
    ...(services === undefined ? [] : [`  Services: [${services.join(', ')}]`]),
  ];
  return `${lines.join('\n')}\n`;
}

export const configCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature:
      'config set name=who,type=CephString name=name,type=CephString name=value,type=CephString name=force,type=CephBool,req=false',
    help: 'set an option for daemons or clients',
    module: 'config',
    perm: 'rw',
    handler: async ({ mon, caller }, args) => {
      const who = section(args.text('who')).who;
      const name = optionName(args.text('name'));
      // Modules of the mgr have options of their own names.
      const ofModule = name.startsWith('mgr/');
      const option = ofModule ? undefined : mon.knownOptions.find(name);
      if (option === undefined && !ofModule && !args.flag('force'))
        throw new Refusal(EINVAL, `unrecognized config option '${name}'`);
      if (option?.isFixed) throw new Refusal(EINVAL, specialText(name));
      const value = option === undefined ? args.text('value') : parseOption(option, args.text('value'));
      await mon.update((draft) => {
        if (draft.state.config.values.get(who)?.get(name) === value) return;
        draft.setConfig(caller.entity, [{ who, name, value }]);
      });
      return ofModule || options.has(name) ? {} : { status: `${name} ${unheeded}` };
    },
  },
  {
    signature: 'config rm name=who,type=CephString name=name,type=CephString',
    help: 'take back an option',
    module: 'config',
    perm: 'rw',
    handler: async ({ mon, caller }, args) => {
      const who = section(args.text('who')).who;
      const name = optionName(args.text('name'));
      await mon.update((draft) => {
        if (draft.state.config.values.get(who)?.get(name) === undefined) return;
        draft.setConfig(caller.entity, [{ who, name, value: undefined }]);
      });
      return {};
    },
  },
  {
    signature: 'config get name=who,type=CephString name=key,type=CephString,req=False',
    help: 'show what is set for a daemon or client',
    module: 'config',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const whom = target(mon, args.text('who'));
      const key = args.optional('key');
      if (key !== undefined) {
        const name = optionName(key);
        const value = name === 'fsid' ? mon.state.fsid : optionValue(mon.state.config, whom, name, mon.knownOptions);
        return { output: `${value}\n` };
      }
      const all = effectiveConfig(mon.state.config, whom);
      const known = mon.knownOptions;
      if (wantsJson(format))
        return structured(
          new Map(
            [...all].map(([name, { value, who }]): [string, Json] => {
              const { entity, mask } = section(who);
              const { isRuntime } = shown(name, known);
              return [name, { value, section: entity, mask: maskJson(mask), can_update_at_runtime: isRuntime }];
            }),
          ),
          format,
        );
      const rows = [...all].map(([name, { value, who }]) => {
        const { entity, mask } = section(who);
        const { isRuntime, level } = shown(name, known);
        return [entity, mask ?? '', level, name, value, isRuntime ? '' : '*'];
      });
      return { output: tableText(dumpColumns, rows) };
    },
  },
  {
    signature: 'config dump',
    help: 'show all options that are set',
    module: 'mon',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const rows = dumpOrder(mon);
      const known = mon.knownOptions;
      if (wantsJson(format))
        return structured(
          rows.map(([who, name, value]) => {
            const { entity, mask } = section(who);
            const { isRuntime, level } = shown(name, known);
            return {
              section: entity,
              name,
              value,
              level,
              can_update_at_runtime: isRuntime,
              mask: mask ?? '',
              ...(mask?.startsWith('class:') && { device_class: mask.slice(6) }),
              ...(mask?.startsWith('host:') && { location_type: 'host', location_value: mask.slice(5) }),
            };
          }),
          format,
        );
      const text = rows.map(([who, name, value]) => {
        const { entity, mask } = section(who);
        const depth = entity === 'global' ? 0 : entity.split('.').length;
        const { isRuntime, level } = shown(name, known);
        return ['  '.repeat(depth) + entity, mask ?? '', level, name, value, isRuntime ? '' : '*'];
      });
      return { output: tableText(dumpColumns, text) };
    },
  },
  {
    signature: 'config help name=key,type=CephString',
    help: 'explain an option',
    module: 'config',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const option = mon.knownOptions.find(optionName(args.text('key')));
      if (option === undefined) throw new Refusal(ENOENT, '');
      return wantsJson(format) ? structured(optionJson(option), format) : { output: optionText(option) };
    },
  },
  {
    signature: 'config ls',
    help: 'List available configuration options',
    module: 'config',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      // Levels of logs are not listed.
      const listed = [...mon.knownOptions.upstream, ...options.values()].filter(({ type }) => type !== 'debug');
      const names = [...new Set(listed.map(({ name }) => name))];
      return wantsJson(format) ? structured(names, format) : { output: names.map((name) => `${name}\n`).join('') };
    },
  },
  {
    signature: 'config log name=num,type=CephInt,req=False',
    help: 'show the latest changes of options',
    module: 'config',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const num = args.optionalNumber('num') ?? 10;
      const entries = [...mon.state.config.history].reverse().slice(0, num);
      if (wantsJson(format))
        return structured(
          entries.map(({ version, timeMs, name, changes }) => ({
            version,
            timestamp: utimeText(utimeFromMs(timeMs)),
            name,
            changes: changes.map((change) => ({
              name: `${change.who}/${change.name}`,
              previous_value: change.previous,
              new_value: change.value,
            })),
          })),
          format,
        );
      let output = '';
      for (const { version, timeMs, name, changes } of entries) {
        output += `--- ${version} --- ${utimeText(utimeFromMs(timeMs))} ---${name === '' ? '' : ` ${name} ---`}\n`;
        for (const change of changes) output += changeText(change.value, change.previous, change.who, change.name);
      }
      return { output };
    },
  },
  {
    signature: 'config reset name=num,type=CephInt,range=0',
    help: 'take back all changes after a version',
    module: 'config',
    perm: 'rw',
    handler: async ({ mon, caller }, args) => {
      const num = args.number('num');
      await mon.update((draft) => {
        const { config } = draft.state;
        if (num > config.version || (config.history[0]?.version ?? 1) > num + 1)
          throw new Refusal(
            EINVAL,
            "must specify a valid historical version to revert to; see 'ceph config log' for a list of avialable configuration historical versions",
          );
        const changes = new Map<string, { who: string; name: string; value: string | undefined }>();
        for (const entry of [...config.history].reverse()) {
          if (entry.version <= num) break;
          for (const { who, name, previous } of entry.changes)
            changes.set(`${who}|${name}`, { who, name, value: previous });
        }
        if (changes.size > 0) draft.setConfig(caller.entity, [...changes.values()]);
      });
      return {};
    },
  },
  {
    signature: 'config assimilate-conf',
    help: 'take over the options of a ceph.conf (-i), and give back what is left of it',
    module: 'config',
    perm: 'rw',
    handler: async ({ mon, caller, input }) => {
      const { changes, left } = assimilated(utf8Text(input), mon.knownOptions);
      await mon.update((draft) => {
        const news = changes.filter(({ who, name, value }) => draft.state.config.values.get(who)?.get(name) !== value);
        if (news.length > 0) draft.setConfig(caller.entity, news);
      });
      return { output: left };
    },
  },
  {
    signature: 'config generate-minimal-conf',
    help: 'give a ceph.conf for clients',
    module: 'config',
    perm: 'r',
    handler: ({ mon }) => {
      const { fsid, monmap } = mon.state;
      const hosts = monmap.mons.map(({ addrs }) => addrVecText(addrs)).join(' ');
      return { output: `# minimal ceph.conf for ${fsid}\n[global]\n\tfsid = ${fsid}\n\tmon_host = ${hosts}\n` };
    },
  },
];

/** Bytes of a value of `config-key` at most (`mon_config_key_max_entry_size`). */
const maxValueBytes = 64 << 10;

function keyText(bytes: Uint8Array): string {
  return utf8Text(bytes);
}

function sortedKeys(mon: Mon, prefix = ''): string[] {
  return [...mon.state.configKeys.keys()].filter((key) => key.startsWith(prefix)).sort();
}

async function setKey({ mon, input }: CommandContext, key: string, val: string | undefined) {
  const value = val !== undefined ? utf8(val) : input.slice();
  if (value.length > maxValueBytes)
    throw new Refusal(
      27,
      `error: entry size limited to ${maxValueBytes} bytes. Use 'mon config key max entry size' to manually adjust`,
    );
  await mon.update((draft) => draft.setConfigKey(key, value));
  return { status: `set ${key}` };
}

async function removeKey({ mon }: CommandContext, key: string) {
  await mon.update((draft) => {
    if (draft.state.configKeys.has(key)) draft.setConfigKey(key, undefined);
  });
  return { status: 'key deleted' };
}

const keyArg = 'name=key,type=CephString';

export const configKeyCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: `config-key get ${keyArg}`,
    help: 'show a value',
    module: 'config-key',
    perm: 'r',
    handler: ({ mon }, args) => {
      const value = mon.state.configKeys.get(args.text('key'));
      if (value === undefined) throw new Refusal(ENOENT, '');
      return { output: value };
    },
  },
  ...(['set', 'put'] as const).map(
    (verb): CommandEntry<CommandContext> => ({
      signature: `config-key ${verb} ${keyArg} name=val,type=CephString,req=false`,
      help: 'keep a value, from the argument or the input (-i)',
      module: 'config-key',
      perm: 'rw',
      flags: verb === 'put' ? 4 : 0,
      handler: (context, args) => setKey(context, args.text('key'), args.optional('val')),
    }),
  ),
  ...(['rm', 'del'] as const).map(
    (verb): CommandEntry<CommandContext> => ({
      signature: `config-key ${verb} ${keyArg}`,
      help: 'forget a value',
      module: 'config-key',
      perm: 'rw',
      flags: verb === 'del' ? 4 : 0,
      handler: (context, args) => removeKey(context, args.text('key')),
    }),
  ),
  {
    signature: `config-key exists ${keyArg}`,
    help: 'tell whether there is a value',
    module: 'config-key',
    perm: 'r',
    handler: ({ mon }, args) => {
      const key = args.text('key');
      if (!mon.state.configKeys.has(key)) throw new Refusal(ENOENT, `key '${key}' doesn't exist`);
      return { status: `key '${key}' exists` };
    },
  },
  ...(['ls', 'list'] as const).map(
    (verb): CommandEntry<CommandContext> => ({
      signature: `config-key ${verb}`,
      help: 'list the keys',
      module: 'config-key',
      perm: 'r',
      flags: verb === 'list' ? 4 : 0,
      handler: ({ mon }, _args, format) => structured(sortedKeys(mon), format, 'json'),
    }),
  ),
  {
    signature: `config-key dump ${keyArg},req=false`,
    help: 'show keys and values',
    module: 'config-key',
    perm: 'r',
    handler: ({ mon }, args, format) =>
      structured(
        new Map(
          sortedKeys(mon, args.optional('key')).map((key): [string, Json] => [
            key,
            keyText(mon.state.configKeys.get(key)!),
          ]),
        ),
        format,
        'json',
      ),
  },
];
