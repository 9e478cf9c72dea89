import {
  addEmptyBucket,
  type CrushLocation,
  linkBucket,
  moveBucket,
  removeItem,
  removeItemUnder,
  renameBucket,
  reweightAll,
  reweightItem,
  reweightSubtree,
  subtreeContains,
  swapBuckets,
  updateItem,
  weightToFixed,
  createOrMoveItem,
} from '../../crush/build.ts';
import {
  createWeightSet,
  devicesOfClass,
  removeDeviceClass,
  removeWeightSet,
  setDeviceClass,
} from '../../crush/classes.ts';
import { decodeCrushMap } from '../../crush/codec.ts';
import { type CrushMap, DEFAULT_CHOOSE_ARGS } from '../../crush/map.ts';
import { removeRule, ruleTakes } from '../../crush/rules.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { EBUSY, EEXIST, EINVAL, ENOENT, ENOTEMPTY, ENOTSUP, EPERM, Refusal } from '../errno.ts';
import { crushJson, chooseArgsJson, ruleJson, rulesJson, tunablesJson } from '../format/crush.ts';
import { generalText } from '../format/json.ts';
import { crushTreeJson, crushTreeText } from '../format/tree.ts';
import type { Mon } from '../mon.ts';
import { changeCrush } from '../osd/daemons.ts';
import { createReplicatedRule } from '../osd/pools.ts';
import type { CommandContext } from './dispatch.ts';
import { parseOsd, osdList } from './lookup.ts';
import { type CommandAnswer, type CommandEntry, structured, wantsJson } from './table.ts';

const goodName = 'goodchars=[A-Za-z0-9-_.]';
const placeArg = 'name=args,type=CephString,goodchars=[A-Za-z0-9-_.=],n=N';

/** `host=a root=default`. Errors: EINVAL. */
function place(args: readonly string[]): CrushLocation {
  const out: Record<string, string> = {};
  for (const arg of args.flatMap((text) => text.split(/[ ,;]+/)).filter((text) => text !== '')) {
    const equals = arg.indexOf('=');
    if (equals <= 0) throw new Refusal(EINVAL, `bad location '${arg}': expected type=name`);
    out[arg.slice(0, equals)] = arg.slice(equals + 1);
  }
  return out;
}

function placeText(loc: CrushLocation): string {
  const parts = Object.entries(loc).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${parts.map(([type, name]) => `${type}=${name}`).join(',')}}`;
}

/** Changes CRUSH in an epoch of its own; the change may say false when there was nothing to do. Gives whether it changed. */
function change(mon: Mon, fn: (crush: CrushMap, map: OsdMap) => boolean | void): Promise<boolean> {
  return mon.update((draft) => {
    let changed = false;
    draft.osdmap((inc, map) => {
      changed = changeCrush(inc, map, (crush) => fn(crush, map));
      return changed;
    });
    return changed;
  });
}

function item(crush: CrushMap, name: string, what = 'item'): number {
  const id = crush.idOfName(name);
  if (id === undefined) throw new Refusal(ENOENT, `${what} '${name}' does not appear in the crush map`);
  return id;
}

function rule(map: OsdMap, name: string): number {
  const id = map.crush.ruleOfName(name);
  if (id === undefined) throw new Refusal(ENOENT, `unknown crush rule '${name}'`);
  return id;
}

const number = (value: number): string => generalText(value, 6);

async function setItem(
  context: CommandContext,
  args: Parameters<CommandEntry<CommandContext>['handler']>[1],
  verb: 'set' | 'add',
): Promise<CommandAnswer> {
  const osd = parseOsd(args.text('id'));
  const weight = args.number('weight');
  const loc = place(args.list('args'));
  const name = `osd.${osd}`;
  await change(context.mon, (crush, map) => {
    if (!map.exists(osd)) throw new Refusal(ENOENT, `${name} does not exist. Create it before updating the crush map`);
    if (verb === 'set' && crush.idOfName(name) === undefined)
      throw new Refusal(
        ENOENT,
        `unable to set item id ${osd} name '${name}' weight ${number(weight)} at location ${placeText(loc)}: does not exist`,
      );
    return updateItem(crush, osd, weightToFixed(weight), name, loc);
  });
  return {
    status: `${verb} item id ${osd} name '${name}' weight ${number(weight)} at location ${placeText(loc)} to crush map`,
  };
}

async function removeNode(
  { mon }: CommandContext,
  args: Parameters<CommandEntry<CommandContext>['handler']>[1],
  unlinkOnly: boolean,
): Promise<CommandAnswer> {
  const name = args.text('name');
  const ancestor = args.optional('ancestor');
  const known = mon.state.osdmap.crush.idOfName(name);
  if (known === undefined) return { status: `device '${name}' does not appear in the crush map` };
  await change(mon, (crush) => {
    const id = item(crush, name, 'device');
    const bucket = crush.bucket(id);
    if (!unlinkOnly && bucket !== undefined && bucket.items.length > 0)
      throw new Refusal(ENOTEMPTY, '(39) Directory not empty');
    if (ancestor === undefined) removeItem(crush, id, unlinkOnly);
    else removeItemUnder(crush, id, item(crush, ancestor, 'ancestor item'), unlinkOnly);
  });
  return { status: `removed item id ${known} name '${name}' from crush map` };
}

/** Devices of `osd crush set-device-class` and `rm-device-class`. */
async function classes(
  { mon }: CommandContext,
  list: readonly string[],
  fn: (crush: CrushMap, osd: number) => boolean,
): Promise<number[]> {
  const done: number[] = [];
  await change(mon, (crush, map) => {
    for (const osd of osdList(map, list)) {
      if (!map.exists(osd)) throw new Refusal(ENOENT, `osd.${osd} does not exist.`);
      if (fn(crush, osd)) done.push(osd);
    }
    return done.length > 0;
  });
  return done;
}

export const crushCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'osd crush tree name=shadow,type=CephChoices,strings=--show-shadow,req=false',
    help: 'show the hierarchy',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { crush } = mon.state.osdmap;
      const shadow = args.has('shadow');
      return wantsJson(format)
        ? structured(crushTreeJson(crush, shadow), format)
        : { output: crushTreeText(crush, shadow) };
    },
  },
  {
    signature: 'osd crush dump',
    help: 'show the whole CRUSH map',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => structured(crushJson(mon.state.osdmap.crush), format, 'both'),
  },
  {
    signature: `osd crush ls name=node,type=CephString,${goodName}`,
    help: 'list what is below a bucket',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { crush } = mon.state.osdmap;
      const name = args.text('node');
      const id = crush.idOfName(name);
      if (id === undefined) throw new Refusal(ENOENT, `node '${name}' does not exist`);
      const names = (crush.bucket(id)?.items ?? [id]).map((child) => crush.nameOf(child) ?? String(child)).sort();
      return wantsJson(format) ? structured(names, format) : { output: names.map((text) => `${text}\n`).join('') };
    },
  },
  {
    signature: 'osd crush show-tunables',
    help: 'show the settings of the algorithm',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => structured(tunablesJson(mon.state.osdmap.crush), format, 'both'),
  },
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
      if (args.optional('mode') === 'indep')
        throw new Refusal(ENOTSUP, 'rules for erasure-coded pools are not supported yet');
      const name = args.text('name');
      const made = await mon.update((draft) => {
        if (draft.state.osdmap.crush.ruleOfName(name) !== undefined) return false;
        draft.osdmap((inc, map) =>
          createReplicatedRule(inc, map, {
            name,
            root: args.text('root'),
            failureDomain: args.text('type'),
            deviceClass: '',
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
      await change(mon, (crush, map) => {
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
      await change(mon, (crush) => {
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
  {
    signature: `osd crush add-bucket name=name,type=CephString,${goodName} name=type,type=CephString ${placeArg},req=false`,
    help: 'make an empty bucket',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const [name, type] = [args.text('name'), args.text('type')];
      const loc = place(args.list('args'));
      const made = await change(mon, (crush) => {
        if (crush.idOfName(name) !== undefined) return false;
        const number = crush.typeOfName(type);
        if (number === undefined) throw new Refusal(EINVAL, `type '${type}' does not exist`);
        if (number === 0) throw new Refusal(EINVAL, `type '${type}' is for devices, not buckets`);
        const id = addEmptyBucket(crush, name, number);
        if (Object.keys(loc).length > 0) moveBucket(crush, id, loc);
        return true;
      });
      if (!made) return { status: `bucket '${name}' already exists` };
      return {
        status: `added bucket ${name} type ${type}${Object.keys(loc).length > 0 ? ` to location ${placeText(loc)}` : ' to crush map'}`,
      };
    },
  },
  {
    signature: `osd crush rename-bucket name=srcname,type=CephString,${goodName} name=dstname,type=CephString,${goodName}`,
    help: 'give a bucket another name',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const [from, to] = [args.text('srcname'), args.text('dstname')];
      await change(mon, (crush) => {
        // Done before: the answer was lost.
        if (crush.idOfName(from) === undefined && crush.idOfName(to) !== undefined) return false;
        renameBucket(crush, from, to);
        return true;
      });
      return { status: `renamed bucket ${from} into ${to}` };
    },
  },
  {
    signature: `osd crush set name=id,type=CephOsdName name=weight,type=CephFloat,range=0.0 ${placeArg}`,
    help: 'change weight and place of an OSD',
    module: 'osd',
    perm: 'rw',
    handler: (context, args) => setItem(context, args, 'set'),
  },
  {
    signature: `osd crush add name=id,type=CephOsdName name=weight,type=CephFloat,range=0.0 ${placeArg}`,
    help: 'place an OSD',
    module: 'osd',
    perm: 'rw',
    handler: (context, args) => setItem(context, args, 'add'),
  },
  {
    signature: `osd crush create-or-move name=id,type=CephOsdName name=weight,type=CephFloat,range=0.0 ${placeArg}`,
    help: 'place an OSD, or move it with the weight it has',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const osd = parseOsd(args.text('id'));
      const weight = args.number('weight');
      const loc = place(args.list('args'));
      await change(mon, (crush, map) => {
        if (!map.exists(osd))
          throw new Refusal(ENOENT, `osd.${osd} does not exist.  create it before updating the crush map`);
        return createOrMoveItem(crush, osd, weightToFixed(weight), `osd.${osd}`, loc);
      });
      return {
        status: `create-or-move updating item name 'osd.${osd}' weight ${number(weight)} at location ${placeText(loc)} to crush map`,
      };
    },
  },
  {
    signature: `osd crush move name=name,type=CephString,${goodName} ${placeArg}`,
    help: 'move an OSD or bucket',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const loc = place(args.list('args'));
      let id = 0;
      await change(mon, (crush) => {
        id = item(crush, name);
        if (id < 0) moveBucket(crush, id, loc);
        else createOrMoveItem(crush, id, 0, name, loc);
      });
      return { status: `moved item id ${id} name '${name}' to location ${placeText(loc)} in crush map` };
    },
  },
  {
    signature: `osd crush link name=name,type=CephString ${placeArg}`,
    help: 'show a bucket at a second place',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const loc = place(args.list('args'));
      let id = 0;
      await change(mon, (crush) => {
        id = item(crush, name);
        linkBucket(crush, id, loc);
      });
      return { status: `linked item id ${id} name '${name}' to location ${placeText(loc)} in crush map` };
    },
  },
  {
    signature: `osd crush swap-bucket name=source,type=CephString,${goodName} name=dest,type=CephString,${goodName} name=yes_i_really_mean_it,type=CephBool,req=false`,
    help: 'exchange the contents of two buckets',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const [a, b] = [args.text('source'), args.text('dest')];
      await change(mon, (crush) => {
        const [from, to] = [item(crush, a), item(crush, b)];
        if (subtreeContains(crush, from, to) || subtreeContains(crush, to, from))
          throw new Refusal(EINVAL, `${a} and ${b} contain each other`);
        swapBuckets(crush, from, to);
      });
      return { status: `swapped bucket of ${a} to ${b}` };
    },
  },
  ...(['rm', 'remove', 'unlink'] as const).map(
    (verb): CommandEntry<CommandContext> => ({
      signature: `osd crush ${verb} name=name,type=CephString,${goodName} name=ancestor,type=CephString,${goodName},req=false`,
      help: verb === 'unlink' ? 'take an item from its place, and keep it' : 'remove an item',
      module: 'osd',
      perm: 'rw',
      flags: verb === 'remove' ? 4 : 0,
      handler: (context, args) => removeNode(context, args, verb === 'unlink'),
    }),
  ),
  {
    signature: 'osd crush reweight-all',
    help: 'add up all weights anew',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }) => {
      await change(mon, (crush) => reweightAll(crush));
      return { status: 'reweighted crush hierarchy' };
    },
  },
  {
    signature: `osd crush reweight name=name,type=CephString,${goodName} name=weight,type=CephFloat,range=0.0`,
    help: 'change the weight of an OSD',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const weight = args.number('weight');
      let id = 0;
      await change(mon, (crush) => {
        id = item(crush, name, 'device');
        if (id < 0) throw new Refusal(EINVAL, `device '${name}' is not a leaf in the crush map`);
        reweightItem(crush, id, weightToFixed(weight));
      });
      return { status: `reweighted item id ${id} name '${name}' to ${number(weight)} in crush map` };
    },
  },
  {
    signature: `osd crush reweight-subtree name=name,type=CephString,${goodName} name=weight,type=CephFloat,range=0.0`,
    help: 'change the weight of all OSDs below a bucket',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const weight = args.number('weight');
      let id = 0;
      await change(mon, (crush) => {
        id = item(crush, name, 'device');
        if (id >= 0) throw new Refusal(EINVAL, `device '${name}' is not a subtree in the crush map`);
        reweightSubtree(crush, id, weightToFixed(weight));
      });
      return { status: `reweighted subtree id ${id} name '${name}' to ${number(weight)} in crush map` };
    },
  },
  {
    signature: 'osd crush class ls',
    help: 'list the device classes',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => structured([...mon.state.osdmap.crush.classNames.values()], format),
  },
  {
    signature: 'osd crush class ls-osd name=class,type=CephString,goodchars=[A-Za-z0-9-_]',
    help: 'list the OSDs of a device class',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const osds = devicesOfClass(mon.state.osdmap.crush, args.text('class'));
      return wantsJson(format) ? structured(osds, format) : { output: osds.map((osd) => `${osd}\n`).join('') };
    },
  },
  {
    signature: `osd crush get-device-class name=ids,type=CephString,n=N`,
    help: 'show the device class of OSDs',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { osdmap } = mon.state;
      const found = osdList(osdmap, args.list('ids')).map((osd) => {
        if (!osdmap.exists(osd)) throw new Refusal(ENOENT, `osd.${osd} does not exist`);
        return { osd, device_class: osdmap.crush.itemClass(osd) ?? '' };
      });
      if (wantsJson(format)) return structured(found, format);
      const plain =
        found.length === 1
          ? found[0]!.device_class
          : found.map(({ osd, device_class }) => `osd.${osd} ${device_class}`).join('\n');
      return { output: `${plain}\n` };
    },
  },
  {
    signature: 'osd crush set-device-class name=class,type=CephString name=ids,type=CephString,n=N',
    help: 'give OSDs a device class',
    module: 'osd',
    perm: 'rw',
    handler: async (context, args) => {
      const cls = args.text('class');
      const done = await classes(context, args.list('ids'), (crush, osd) => {
        const old = crush.itemClass(osd);
        if (old !== undefined && old !== cls)
          throw new Refusal(
            EBUSY,
            `osd.${osd} has already bound to class '${old}', can not reset class to '${cls}'; use 'ceph osd crush rm-device-class <id>' to remove old class first`,
          );
        return setDeviceClass(crush, osd, cls);
      });
      return { status: `set osd(s) ${done.join(',')} to class '${cls}'` };
    },
  },
  {
    signature: 'osd crush rm-device-class name=ids,type=CephString,n=N',
    help: 'take the device class of OSDs away',
    module: 'osd',
    perm: 'rw',
    handler: async (context, args) => {
      const done = await classes(context, args.list('ids'), (crush, osd) => removeDeviceClass(crush, osd));
      return { status: `done removing class of osd(s): ${done.join(',')}` };
    },
  },
  {
    signature: 'osd crush weight-set ls',
    help: 'list the weight-sets',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const { osdmap } = mon.state;
      const names = [...osdmap.crush.chooseArgs.keys()].map((key) =>
        key === DEFAULT_CHOOSE_ARGS ? '(compat)' : (osdmap.poolNames.get(key) ?? String(key)),
      );
      return wantsJson(format) ? structured(names, format) : { output: names.map((name) => `${name}\n`).join('') };
    },
  },
  {
    signature: 'osd crush weight-set dump',
    help: 'show the weight-sets',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, _args, format) => structured(chooseArgsJson(mon.state.osdmap.crush), format),
  },
  {
    signature: 'osd crush weight-set create-compat',
    help: 'make the weight-set for pools without their own',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }) => {
      await change(mon, (crush) => createWeightSet(crush, DEFAULT_CHOOSE_ARGS, 1));
      return {};
    },
  },
  {
    signature: 'osd crush weight-set rm-compat',
    help: 'remove that weight-set',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }) => {
      await change(mon, (crush) => removeWeightSet(crush, DEFAULT_CHOOSE_ARGS));
      return {};
    },
  },
  ...(['osd setcrushmap', 'osd crush set'] as const).map(
    (words): CommandEntry<CommandContext> => ({
      signature: `${words} name=prior_version,type=CephInt,req=false`,
      help: 'replace the CRUSH map by the one in the input',
      module: 'osd',
      perm: 'rw',
      handler: async ({ mon, input }, args) => {
        if (input.length === 0) throw new Refusal(EINVAL, 'a compiled CRUSH map is expected as input (-i)');
        const prior = args.optionalNumber('prior_version');
        const bytes = input.slice();
        const crush = decodeCrushMap(bytes);
        const version = await mon.update((draft) => {
          const map = draft.osdmap((inc, old) => {
            if (prior !== undefined && prior !== old.crushVersion) {
              if (prior === old.crushVersion - 1 && Buffer.compare(old.crushBytes, bytes) === 0) return false;
              throw new Refusal(EPERM, `prior_version ${prior} != crush version ${old.crushVersion}`);
            }
            for (const pool of old.pools.values())
              if (crush.rules[pool.crushRule] === undefined)
                throw new Refusal(EINVAL, `the crush rule ${pool.crushRule} of a pool is not in the new map`);
            inc.crush = bytes;
            return true;
          });
          return map.crushVersion;
        });
        return { status: String(version) };
      },
    }),
  ),
];
