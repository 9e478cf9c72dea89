import { strawToStraw2 } from '../../crush/bucket.ts';
import {
  adjustWeightSet,
  createDeviceClass,
  createWeightSet,
  removeClass,
  removeWeightSet,
  renameClass,
  weightSetPositions,
} from '../../crush/classes.ts';
import { BUCKET_STRAW2, type CrushMap, DEFAULT_CHOOSE_ARGS, WEIGHT_ONE } from '../../crush/map.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { EBUSY, EINVAL, ENOENT, EPERM, Refusal } from '../errno.ts';
import { changeMap } from './crush-change.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, structured, wantsJson } from './table.ts';

/** Names of device classes, weight-sets, and settings of the algorithm. */

const className = 'type=CephString,goodchars=[A-Za-z0-9-_]';

function poolOf(map: OsdMap, name: string): number {
  const id = map.poolId(name);
  if (id === undefined) throw new Refusal(ENOENT, `pool '${name}' not found`);
  return id;
}

function checkStraw2(crush: CrushMap): void {
  if (crush.buckets.some((bucket) => bucket !== undefined && bucket.alg !== BUCKET_STRAW2))
    throw new Refusal(EPERM, 'crush map contains one or more bucket(s) that are not straw2');
}

/** `key`: a pool's weight-set, or that of all others. */
function reweight(crush: CrushMap, key: number, item: string, weights: readonly number[]): void {
  const id = crush.idOfName(item);
  if (id === undefined) throw new Refusal(ENOENT, `item '${item}' does not exist`);
  const fixed = weights.map((weight) => Math.floor(weight * WEIGHT_ONE));
  if (!adjustWeightSet(crush, key, id, fixed)) throw new Refusal(ENOENT, `item ${id} not found in crush map`);
}

/** Profiles of erasure codes that are for a class. */
function profilesOf(map: OsdMap, cls: string): string[] {
  return [...map.erasureCodeProfiles]
    .filter(([, profile]) => profile.get('crush-device-class') === cls)
    .map(([name]) => name);
}

export const crushTuningCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: `osd crush class create name=class,${className}`,
    help: 'make a device class',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const cls = args.text('class');
      let id = 0;
      const made = await changeMap(mon, (crush) => {
        if (crush.classOfName(cls) !== undefined) return false;
        id = createDeviceClass(crush, cls);
        return true;
      });
      return { status: made ? `created class ${cls} with id ${id} to crush map` : `class '${cls}' already exists` };
    },
  },
  {
    signature: `osd crush class rm name=class,${className}`,
    help: 'remove a device class',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const cls = args.text('class');
      let id: number | undefined;
      await changeMap(mon, (crush, map) => {
        id = crush.classOfName(cls);
        if (id === undefined) return false;
        const profiles = profilesOf(map, cls);
        if (profiles.length > 0)
          throw new Refusal(
            EBUSY,
            `class '${cls}' is still referenced by erasure-code-profile(s): [${profiles.join(',')}]`,
          );
        removeClass(crush, cls);
        return true;
      });
      return id === undefined ? {} : { status: `removed class ${cls} with id ${id} from crush map` };
    },
  },
  {
    signature: `osd crush class rename name=srcname,${className} name=dstname,${className}`,
    help: 'rename a device class',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const [from, to] = [args.text('srcname'), args.text('dstname')];
      const changed = await changeMap(mon, (crush) => {
        if (crush.classOfName(from) === undefined && crush.classOfName(to) !== undefined) return false;
        renameClass(crush, from, to);
        return true;
      });
      return { status: changed ? `rename class '${from}' to '${to}'` : `already renamed to '${to}'` };
    },
  },
  {
    signature:
      'osd crush weight-set create name=pool,type=CephPoolname name=mode,type=CephChoices,strings=flat|positional',
    help: 'make a weight-set for a pool: the same weights for each copy, or others at each position',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('pool');
      const made = await changeMap(mon, (crush, map) => {
        checkStraw2(crush);
        const pool = poolOf(map, name);
        return createWeightSet(crush, pool, args.text('mode') === 'flat' ? 1 : map.pools.get(pool)!.size);
      });
      return made ? {} : { status: `weight-set for pool '${name}' already created` };
    },
  },
  {
    signature: 'osd crush weight-set create-compat',
    help: 'make the weight-set for pools without their own',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }) => {
      const made = await changeMap(mon, (crush) => {
        checkStraw2(crush);
        return createWeightSet(crush, DEFAULT_CHOOSE_ARGS, 1);
      });
      return made ? {} : { status: 'compat weight-set already created' };
    },
  },
  {
    signature: 'osd crush weight-set rm name=pool,type=CephPoolname',
    help: "remove a pool's weight-set",
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      await changeMap(mon, (crush, map) => removeWeightSet(crush, poolOf(map, args.text('pool'))));
      return {};
    },
  },
  {
    signature: 'osd crush weight-set rm-compat',
    help: 'remove the weight-set for pools without their own',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }) => {
      await changeMap(mon, (crush) => removeWeightSet(crush, DEFAULT_CHOOSE_ARGS));
      return {};
    },
  },
  {
    signature:
      'osd crush weight-set reweight name=pool,type=CephPoolname name=item,type=CephString name=weight,type=CephFloat,range=0.0,n=N',
    help: "set the weights of an item in a pool's weight-set, one for each position",
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('pool');
      const weights = args.list('weight').map(Number);
      await changeMap(mon, (crush, map) => {
        const pool = poolOf(map, name);
        if (!crush.chooseArgs.has(pool)) throw new Refusal(ENOENT, `no weight-set for pool '${name}'`);
        const positions = weightSetPositions(crush, pool);
        if (weights.length !== positions) throw new Refusal(EINVAL, `must specify exact ${positions} weight values`);
        reweight(crush, pool, args.text('item'), weights);
      });
      return {};
    },
  },
  {
    signature:
      'osd crush weight-set reweight-compat name=item,type=CephString name=weight,type=CephFloat,range=0.0,n=N',
    help: 'set the weight of an item in the weight-set for pools without their own',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      await changeMap(mon, (crush) => {
        if (!crush.chooseArgs.has(DEFAULT_CHOOSE_ARGS)) throw new Refusal(ENOENT, 'no backward-compatible weight-set');
        reweight(crush, DEFAULT_CHOOSE_ARGS, args.text('item'), args.list('weight').map(Number));
      });
      return {};
    },
  },
  {
    signature: 'osd crush set-all-straw-buckets-to-straw2',
    help: 'make every straw bucket a straw2 bucket',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }) => {
      await changeMap(mon, strawToStraw2);
      return {};
    },
  },
  {
    signature: 'osd crush set-tunable name=tunable,type=CephChoices,strings=straw_calc_version name=value,type=CephInt',
    help: 'set one setting of the algorithm',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const value = args.number('value');
      if (value !== 0 && value !== 1) throw new Refusal(EINVAL, `value must be 0 or 1; got ${value}`);
      await changeMap(mon, (crush) => {
        crush.tunables = { ...crush.tunables, strawCalcVersion: value };
      });
      return { status: `adjusted tunable ${args.text('tunable')} to ${value}` };
    },
  },
  {
    signature: 'osd crush get-tunable name=tunable,type=CephChoices,strings=straw_calc_version',
    help: 'show one setting of the algorithm',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { strawCalcVersion } = mon.state.osdmap.crush.tunables;
      if (wantsJson(format)) return structured({ [args.text('tunable')]: strawCalcVersion }, format);
      return { output: `${strawCalcVersion}\n` };
    },
  },
];
