import { changeMap } from './crush-change.ts';
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
import { decodeCrushMap } from '../../crush/codec.ts';
import { type CrushMap, type CrushTunables, jewelTunables } from '../../crush/map.ts';
import { EINVAL, ENOENT, ENOTEMPTY, ENOTSUP, EPERM, Refusal } from '../errno.ts';
import { crushJson, tunablesJson } from '../format/crush.ts';
import { generalText } from '../format/json.ts';
import { crushTreeJson, crushTreeText } from '../format/tree.ts';
import type { CommandContext } from './dispatch.ts';
import { parseOsd } from './lookup.ts';
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

function item(crush: CrushMap, name: string, what = 'item'): number {
  const id = crush.idOfName(name);
  if (id === undefined) throw new Refusal(ENOENT, `${what} '${name}' does not appear in the crush map`);
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
  await changeMap(context.mon, (crush, map) => {
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
  await changeMap(mon, (crush) => {
    const id = item(crush, name, 'device');
    const bucket = crush.bucket(id);
    if (!unlinkOnly && bucket !== undefined && bucket.items.length > 0)
      throw new Refusal(ENOTEMPTY, '(39) Directory not empty');
    if (ancestor === undefined) removeItem(crush, id, unlinkOnly);
    else removeItemUnder(crush, id, item(crush, ancestor, 'ancestor item'), unlinkOnly);
  });
  return { status: `removed item id ${known} name '${name}' from crush map` };
}

/** What older releases had otherwise than Jewel. */
const tunableProfiles: ReadonlyMap<string, Partial<CrushTunables>> = new Map([
  ['jewel', {}],
  ['hammer', { chooseleafStable: 0 }],
  ['firefly', { chooseleafStable: 0, strawCalcVersion: 0, allowedBucketAlgs: 22 }],
  ['bobtail', { chooseleafStable: 0, strawCalcVersion: 0, allowedBucketAlgs: 22, chooseleafVaryR: 0 }],
]);

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
    signature:
      'osd crush tunables name=profile,type=CephChoices,strings=legacy|argonaut|bobtail|firefly|hammer|jewel|optimal|default',
    help: 'set the settings of the algorithm to those of a release',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('profile');
      const release = name === 'optimal' || name === 'default' ? 'jewel' : name;
      const profile = tunableProfiles.get(release);
      if (profile === undefined) throw new Refusal(ENOTSUP, `tunables older than bobtail are not supported`);
      await changeMap(mon, (crush) => {
        crush.tunables = { ...jewelTunables, ...profile };
      });
      return { status: `adjusted tunables profile to ${name}` };
    },
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
  {
    signature: `osd crush add-bucket name=name,type=CephString,${goodName} name=type,type=CephString ${placeArg},req=false`,
    help: 'make an empty bucket',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const [name, type] = [args.text('name'), args.text('type')];
      const loc = place(args.list('args'));
      const made = await changeMap(mon, (crush) => {
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
      await changeMap(mon, (crush) => {
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
      await changeMap(mon, (crush, map) => {
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
      await changeMap(mon, (crush) => {
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
      await changeMap(mon, (crush) => {
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
      await changeMap(mon, (crush) => {
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
      await changeMap(mon, (crush) => {
        reweightAll(crush);
      });
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
      await changeMap(mon, (crush) => {
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
      await changeMap(mon, (crush) => {
        id = item(crush, name, 'device');
        if (id >= 0) throw new Refusal(EINVAL, `device '${name}' is not a subtree in the crush map`);
        reweightSubtree(crush, id, weightToFixed(weight));
      });
      return { status: `reweighted subtree id ${id} name '${name}' to ${number(weight)} in crush map` };
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
