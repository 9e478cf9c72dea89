import { ENOENT, Refusal } from '../errno.ts';
import type { Mon } from '../mon.ts';
import { injectedOptions, optionName, options, parseOption } from '../options.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, FLAG_TELL, structured } from './table.ts';

/** What `ceph tell mon.X` says and changes of this one process: its settings. A change holds until the process ends. */

/** What a mon goes by that nobody set: of the options that are a mon's or everybody's. */
function allSettings(mon: Mon): Map<string, string> {
  return new Map([...options.keys()].sort().map((name) => [name, mon.options.text(name)]));
}

/** By name: the default, what was set where, and what is in effect. */
function changedSettings(mon: Mon): Map<string, Record<string, string>> {
  const changed = [...allSettings(mon)].filter(([name, value]) => value !== options.get(name)!.initial);
  return new Map(
    changed.map(([name, value]): [string, Record<string, string>] => {
      const { initial } = options.get(name)!;
      const set = mon.overrides.get(name);
      const central = mon.centralOptions.text(name);
      return [
        name,
        {
          default: initial,
          ...(central !== initial && { mon: central }),
          ...(set !== undefined && { override: set }),
          final: value,
        },
      ];
    }),
  );
}

/** Sets an option of this process; gives upstream's line about it, empty when nothing changes. Errors: ENOENT, EINVAL. */
function override(mon: Mon, name: string, text: string | undefined): string {
  const option = options.get(name);
  if (option === undefined)
    throw new Refusal(
      ENOENT,
      text === undefined
        ? `error unsetting '${name}': (2) No such file or directory`
        : `error setting '${name}' to '${text}': (2) No such file or directory`,
    );
  const before = mon.options.text(name);
  mon.setOverride(name, text === undefined ? undefined : parseOption(option, text));
  const now = mon.options.text(name);
  return now === before ? '' : `${name} = '${now}' `;
}

const tell = (
  signature: string,
  help: string,
  perm: string,
  handler: CommandEntry<CommandContext>['handler'],
): CommandEntry<CommandContext> => ({ signature, help, module: 'mon', perm, flags: FLAG_TELL, handler });

export const tellCommands: readonly CommandEntry<CommandContext>[] = [
  tell('config show', 'show all settings of this mon', 'r', ({ mon }, _args, format) =>
    structured(new Map([['name', `mon.${mon.name}`], ['cluster', 'ceph'], ...allSettings(mon)]), format),
  ),
  tell('config get name=var,type=CephString', 'show a setting of this mon', 'r', ({ mon }, args, format) => {
    const name = optionName(args.text('var'));
    if (!options.has(name)) throw new Refusal(ENOENT, `error getting '${name}': (2) No such file or directory`);
    return structured(new Map([[name, mon.options.text(name)]]), format);
  }),
  tell('config diff', 'show what differs from the defaults', 'r', ({ mon }, _args, format) =>
    structured({ diff: changedSettings(mon) }, format),
  ),
  tell('config diff get name=var,type=CephString', 'show how a setting differs', 'r', ({ mon }, args, format) => {
    const name = optionName(args.text('var'));
    const changed = changedSettings(mon);
    return structured({ diff: new Map([...changed].filter(([one]) => one === name)) }, format);
  }),
  tell(
    'config set name=var,type=CephString name=val,type=CephString,n=N',
    'change a setting of this process',
    'rw',
    ({ mon }, args, format) =>
      structured({ success: override(mon, optionName(args.text('var')), args.list('val').join(' ')) }, format),
  ),
  tell('config unset name=var,type=CephString', 'take that back', 'rw', ({ mon }, args, format) =>
    structured({ success: override(mon, optionName(args.text('var')), undefined) }, format),
  ),
  tell(
    'injectargs name=injected_args,type=CephString,n=N',
    'change settings of this process, as options of a command line',
    'rw',
    ({ mon }, args, format) => {
      const lines = injectedOptions(args.list('injected_args')).map(([name, value]) => override(mon, name, value));
      return { ...structured({}, format), status: lines.filter((line) => line !== '').join('\n') };
    },
  ),
];
