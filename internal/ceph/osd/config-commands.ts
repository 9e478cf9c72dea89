import { EINVAL, ENOENT, Refusal } from '../mon/errno.ts';
import { injectedOptions, optionName, options } from '../mon/options.ts';
import { Answer, type Command, type CommandArguments, type CommandTarget } from './command-target.ts';

function nameOf(args: CommandArguments): string {
  return optionName(String(args.var ?? ''));
}

function change(target: CommandTarget, name: string, value: string | undefined): string {
  const line = target.settings.set(name, value);
  if (line !== '') target.settingsChanged();
  return line;
}

function words(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : value === undefined ? [] : [String(value)];
}

const variable = { name: 'var', type: 'CephString' } as const;

/** What an operator sees and changes of the settings of one OSD; a change holds until its process ends. */
export const configCommands: readonly Command[] = [
  {
    sig: ['config', 'show'],
    help: 'settings in effect',
    perm: 'r',
    run: (t) => new Map([['name', `osd.${t.whoami}`], ['cluster', 'ceph'], ...t.settings.all()]),
  },
  {
    sig: ['config', 'get', variable],
    help: 'one setting',
    perm: 'r',
    run: (t, args) => ({ [nameOf(args)]: t.settings.get(nameOf(args)) }),
  },
  { sig: ['config', 'diff'], help: 'what is set', perm: 'r', run: (t) => ({ diff: t.settings.diff() }) },
  {
    sig: ['config', 'diff', 'get', variable],
    help: 'what is set of one setting',
    perm: 'r',
    run: (t, args) => {
      t.settings.get(nameOf(args));
      const found = t.settings.diff().get(nameOf(args));
      return { diff: new Map(found === undefined ? [] : [[nameOf(args), found]]) };
    },
  },
  {
    sig: ['config', 'help', { ...variable, req: 'false' }],
    help: 'what settings mean',
    perm: 'r',
    run: (_t, args) => {
      const shown = args.var === undefined ? [...options.keys()].sort() : [nameOf(args)];
      const found = shown.map((name) => {
        const option = options.get(name);
        if (option === undefined) throw new Refusal(ENOENT, `unrecognized key '${name}'`);
        const { type, level, description: desc, initial, runtime } = option;
        return { name, type, level, desc, default: initial, can_update_at_runtime: runtime };
      });
      return args.var === undefined ? found : found[0];
    },
  },
  {
    sig: ['config', 'set', variable, { name: 'val', type: 'CephString', n: 'N' }],
    help: 'change a setting of this process',
    perm: 'rw',
    run: (t, args) => ({ success: change(t, nameOf(args), words(args.val).join(' ')) }),
  },
  {
    sig: ['config', 'unset', variable],
    help: 'take that back',
    perm: 'rw',
    run: (t, args) => ({ success: change(t, nameOf(args), undefined) }),
  },
  {
    sig: ['injectargs', { name: 'injected_args', type: 'CephString', n: 'N' }],
    help: 'change settings of this process, as options of a command line',
    perm: 'rw',
    run: (t, args) => {
      const given = words(args.injected_args);
      if (given.length === 0) throw new Refusal(EINVAL, 'ignoring empty injectargs');
      const lines = injectedOptions(given).map(([name, value]) => change(t, name, value));
      return new Answer({}, lines.filter((line) => line !== '').join('\n'));
    },
  },
];
