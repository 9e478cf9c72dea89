import { changeMap } from './crush-change.ts';
import { removeRule, ruleTakes } from '../../crush/rules.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { EBUSY, EEXIST, EINVAL, ENOENT, Refusal } from '../errno.ts';
import { ruleJson, rulesJson } from '../format/crush.ts';
import { createReplicatedRule } from '../osd/pools.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, structured, wantsJson } from './table.ts';

const goodName = 'goodchars=[A-Za-z0-9-_.]';

function rule(map: OsdMap, name: string): number {
  const id = map.crush.ruleOfName(name);
  if (id === undefined) throw new Refusal(ENOENT, `unknown crush rule '${name}'`);
  return id;
}

/** Placement rules. */
export const crushRuleCommands: readonly CommandEntry<CommandContext>[] = [
  ...(['ls', 'list'] as const).map(
    (verb): CommandEntry<CommandContext> => ({
      signature: `osd crush rule ${verb}`,
      help: 'list the rules',
      module: 'osd',
      perm: 'r',
      flags: verb === 'list' ? 4 : 0,
      handler: ({ mon }, _args, format) => {
        const { crush } = mon.state.osdmap;
        const names = crush.rules.flatMap((found, id) => (found === undefined ? [] : [crush.ruleNames.get(id) ?? '']));
        return wantsJson(format) ? structured(names, format) : { output: names.map((name) => `${name}\n`).join('') };
      },
    }),
  ),
  {
    signature: `osd crush rule dump name=name,type=CephString,${goodName},req=false`,
    help: 'show one or all rules',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { osdmap } = mon.state;
      const name = args.optional('name');
      const value = name === undefined ? rulesJson(osdmap.crush) : ruleJson(osdmap.crush, rule(osdmap, name));
      return structured(value, format, 'both');
    },
  },
  {
    signature: `osd crush rule ls-by-class name=class,type=CephString,${goodName}`,
    help: 'list the rules that take a device class',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { crush } = mon.state.osdmap;
      const cls = args.text('class');
      if (crush.classOfName(cls) === undefined) throw new Refusal(ENOENT, `failed to get rules by class '${cls}'`);
      const names = crush.rules.flatMap((found, id) =>
        found !== undefined && ruleTakes(found).some((taken) => crush.nameOf(taken)?.endsWith(`~${cls}`))
          ? [crush.ruleNames.get(id) ?? '']
          : [],
      );
      return wantsJson(format) ? structured(names, format) : { output: names.map((name) => `${name}\n`).join('') };
    },
  },
  {
    signature: `osd crush rule create-replicated name=name,type=CephString,${goodName} name=root,type=CephString,${goodName} name=type,type=CephString,${goodName} name=class,type=CephString,${goodName},req=false`,
    help: 'make a rule for replicated pools',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const [root, failureDomain, deviceClass] = [args.text('root'), args.text('type'), args.optional('class') ?? ''];
      const made = await mon.update((draft) => {
        const { crush } = draft.state.osdmap;
        if (crush.ruleOfName(name) !== undefined) return false;
        if (crush.idOfName(root) === undefined) throw new Refusal(ENOENT, `root item ${root} does not exist`);
        if (failureDomain !== '' && crush.typeOfName(failureDomain) === undefined)
          throw new Refusal(EINVAL, `unknown type ${failureDomain}`);
        if (deviceClass !== '' && crush.classOfName(deviceClass) === undefined)
          throw new Refusal(EINVAL, `device class ${deviceClass} does not exist`);
        draft.osdmap((inc, map) => createReplicatedRule(inc, map, { name, root, failureDomain, deviceClass }));
        return true;
      });
      return made ? {} : { status: `rule ${name} already exists` };
    },
  },
  {
    signature: `osd crush rule create-simple name=name,type=CephString,${goodName} name=root,type=CephString,${goodName} name=type,type=CephString,${goodName} name=mode,type=CephChoices,strings=firstn|indep,req=false`,
    help: 'make a rule for replicated pools',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const made = await mon.update((draft) => {
        if (draft.state.osdmap.crush.ruleOfName(name) !== undefined) return false;
        draft.osdmap((inc, map) =>
          createReplicatedRule(inc, map, {
            name,
            root: args.text('root'),
            failureDomain: args.text('type'),
            deviceClass: '',
            ...(args.optional('mode') === 'indep' ? { mode: 'indep' as const } : {}),
          }),
        );
        return true;
      });
      return made ? {} : { status: `rule ${name} already exists` };
    },
  },
  {
    signature: `osd crush rule rm name=name,type=CephString,${goodName}`,
    help: 'remove a rule that no pool uses',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      if (mon.state.osdmap.crush.ruleOfName(name) === undefined) return { status: `rule ${name} does not exist` };
      await changeMap(mon, (crush, map) => {
        const id = rule(map, name);
        for (const pool of map.pools.values())
          if (pool.crushRule === id) throw new Refusal(EBUSY, `crush ruleset ${name} ${id} is in use`);
        removeRule(crush, id);
      });
      return {};
    },
  },
  {
    signature: `osd crush rule rename name=srcname,type=CephString,${goodName} name=dstname,type=CephString,${goodName}`,
    help: 'give a rule another name',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const [from, to] = [args.text('srcname'), args.text('dstname')];
      await changeMap(mon, (crush) => {
        const id = crush.ruleOfName(from);
        if (id === undefined) {
          if (crush.ruleOfName(to) !== undefined) return false;
          throw new Refusal(ENOENT, `rule ${from} does not exist`);
        }
        if (crush.ruleOfName(to) !== undefined) throw new Refusal(EEXIST, `rule ${to} already exists`);
        crush.ruleNames.set(id, to);
        return true;
      });
      return {};
    },
  },
];
