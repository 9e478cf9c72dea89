import type { OsdMap } from '../../maps/osdmap.ts';
import type { PgPool } from '../../maps/pool.ts';
import { utimeFromMs } from '../../wire/encoding.ts';
import { EEXIST, EINVAL, ENOENT, EPERM, Refusal } from '../errno.ts';
import type { Json } from '../format/json.ts';
import { poolsText } from '../format/osdmap.ts';
import { poolJson } from '../format/pool.ts';
import { bytesText, countText } from '../format/units.ts';
import type { Mon } from '../mon.ts';
import { createPoolByName, deletePoolChecked, poolLimits, whyNotDelete } from '../osd/pool-requests.ts';
import { addPoolSnap, changePool, isSelfManagedSnaps, removePoolSnap } from '../osd/pools.ts';
import { poolStored } from '../stats.ts';
import type { CommandContext } from './dispatch.ts';
import { existingPool } from './lookup.ts';
import {
  getSetting,
  getVariables,
  poolSettings,
  type SettingContext,
  setSetting,
  setVariables,
} from './pool-settings.ts';
import type { Arguments } from './signature.ts';
import { type CommandEntry, structured, wantsJson } from './table.ts';

const poolArg = 'name=pool,type=CephPoolname';
const sureArg = 'name=yes_i_really_mean_it,type=CephBool,req=false';

/** `1G`, `10k`: with decimal steps for counts, binary ones for bytes. Errors: EINVAL. */
function quantity(text: string, step: number): number {
  const match = /^(\d+)\s*([kKMGTPE])?(i)?B?$/.exec(text.trim());
  if (match === null)
    throw new Refusal(EINVAL, `error parsing value '${text}': strict_si_cast: unit prefix not recognized`);
  const power = match[2] === undefined ? 0 : 'KMGTPE'.indexOf(match[2].toUpperCase()) + 1;
  const value = Number(match[1]) * step ** power;
  if (!Number.isSafeInteger(value)) throw new Refusal(EINVAL, `error parsing value '${text}': too large`);
  return value;
}

/** Changes one pool in an epoch of its own. */
function changeOne(mon: Mon, name: string, change: (pool: PgPool, id: number) => PgPool): Promise<number> {
  return mon.update((draft) => {
    const id = existingPool(draft.state.osdmap, name);
    draft.osdmap((inc, map) => {
      changePool(inc, map, id, (pool) => change(pool, id));
    });
    return id;
  });
}

/** What `osd pool create` may be given that is a setting of the pool as well. */
const createWishes = ['bulk', 'pg_num_min', 'pg_num_max', 'target_size_bytes', 'target_size_ratio'];

function settingContext(mon: Mon, map: OsdMap, id: number, name: string, sure: boolean): SettingContext {
  return {
    map,
    id,
    name,
    epoch: map.epoch + 1,
    limits: poolLimits(mon),
    allowSizeOne: mon.options.flag('mon_allow_pool_size_one'),
    defaultMinSize: mon.options.number('osd_pool_default_min_size'),
    sure,
  };
}

async function removePool({ mon }: CommandContext, args: Arguments) {
  const name = args.text('pool');
  if (mon.state.osdmap.poolId(name) === undefined) return { status: `pool '${name}' does not exist` };
  const sure = args.flag('yes_i_really_really_mean_it') || args.flag('yes_i_really_really_mean_it_not_faking');
  if (args.optional('pool2') !== name || !sure)
    throw new Refusal(
      EPERM,
      `WARNING: this will *PERMANENTLY DESTROY* all data stored in pool ${name}.  If you are *ABSOLUTELY CERTAIN* that is what you want, pass the pool name *twice*, followed by --yes-i-really-really-mean-it.`,
    );
  await mon.update((draft) => {
    const id = existingPool(draft.state.osdmap, name);
    const why = whyNotDelete(mon, draft.state.osdmap.pools.get(id)!);
    if (why !== undefined) throw new Refusal(EPERM, why);
    deletePoolChecked(mon, draft, id);
  });
  return { status: `pool '${name}' removed` };
}

const removeSignature = `${poolArg} name=pool2,type=CephPoolname,req=false name=yes_i_really_really_mean_it,type=CephBool,req=false name=yes_i_really_really_mean_it_not_faking,type=CephBool,req=false`;

function applicationsJson(pool: PgPool): Map<string, Json> {
  return new Map([...pool.applications].map(([app, data]) => [app, new Map<string, Json>(data)]));
}

/** Most applications a pool may have, and values an application may keep. */
const maxApplications = 4;
const maxApplicationKeys = 64;

export const poolCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'osd lspools',
    help: 'list the pools',
    module: 'osd',
    perm: 'r',
    flags: 4,
    handler: ({ mon }, _args, format) => {
      const pools = [...mon.state.osdmap.pools.keys()].map((id) => ({
        id,
        name: mon.state.osdmap.poolNames.get(id) ?? '',
      }));
      if (wantsJson(format))
        return structured(
          pools.map(({ id, name }) => ({ poolnum: id, poolname: name })),
          format,
          'json',
        );
      return { output: pools.map(({ id, name }) => `${id} ${name}\n`).join('') };
    },
  },
  {
    signature: 'osd pool ls name=detail,type=CephChoices,strings=detail,req=false',
    help: 'list the pools',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { osdmap } = mon.state;
      const names = [...osdmap.pools.keys()].map((id) => osdmap.poolNames.get(id) ?? '');
      if (!args.has('detail'))
        return wantsJson(format) ? structured(names, format) : { output: names.map((name) => `${name}\n`).join('') };
      if (!wantsJson(format)) return { output: `${poolsText(osdmap)}\n` };
      return structured(
        [...osdmap.pools].map(([id, pool]) => ({
          pool_id: id,
          pool_name: osdmap.poolNames.get(id) ?? '',
          ...poolJson(pool),
        })),
        format,
      );
    },
  },
  {
    signature: `osd pool create ${poolArg} name=pg_num,type=CephInt,range=0,req=false name=pgp_num,type=CephInt,range=0,req=false name=pool_type,type=CephChoices,strings=replicated|erasure,req=false name=erasure_code_profile,type=CephString,req=false,goodchars=[A-Za-z0-9-_.] name=rule,type=CephString,req=false name=expected_num_objects,type=CephInt,range=0,req=false name=size,type=CephInt,range=0,req=false name=pg_num_min,type=CephInt,range=0,req=false name=pg_num_max,type=CephInt,range=0,req=false name=autoscale_mode,type=CephChoices,strings=on|off|warn,req=false name=bulk,type=CephBool,req=false name=target_size_bytes,type=CephInt,range=0,req=false name=target_size_ratio,type=CephFloat,range=0.0,req=false`,
    help: 'make a pool',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('pool');
      const erasure = args.optional('pool_type') === 'erasure';
      const created = await mon.update((draft) => {
        if (draft.state.osdmap.poolId(name) !== undefined) return false;
        createPoolByName(mon, draft, name, {
          pgNum: args.optionalNumber('pg_num'),
          pgpNum: args.optionalNumber('pgp_num'),
          size: args.optionalNumber('size'),
          // What stands where a profile would is the rule of a replicated pool.
          rule: args.optional('rule') ?? (erasure ? undefined : args.optional('erasure_code_profile')),
          ...(erasure ? { profile: args.optional('erasure_code_profile') ?? 'default' } : {}),
          expectedObjects: args.optionalNumber('expected_num_objects'),
          autoscaleMode: args.optional('autoscale_mode'),
        });
        const id = draft.state.osdmap.poolId(name)!;
        const wishes = createWishes.flatMap((key): [string, string][] => {
          const value = args.optional(key);
          return value === undefined ? [] : [[key, value]];
        });
        if (wishes.length > 0)
          draft.osdmap((inc, map) => {
            for (const [key, value] of wishes)
              changePool(inc, map, id, (pool) =>
                setSetting(pool, key, value, settingContext(mon, map, id, name, false)),
              );
          });
        return true;
      });
      return { status: `pool '${name}' ${created ? 'created' : 'already exists'}` };
    },
  },
  {
    signature: `osd pool delete ${removeSignature}`,
    help: 'remove a pool with everything in it',
    module: 'osd',
    perm: 'rw',
    flags: 4,
    handler: removePool,
  },
  {
    signature: `osd pool rm ${removeSignature}`,
    help: 'remove a pool with everything in it',
    module: 'osd',
    perm: 'rw',
    handler: removePool,
  },
  {
    signature: 'osd pool rename name=srcpool,type=CephPoolname name=destpool,type=CephPoolname',
    help: 'give a pool another name',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const from = args.text('srcpool');
      const to = args.text('destpool');
      await mon.update((draft) => {
        const { osdmap } = draft.state;
        const id = osdmap.poolId(from);
        const other = osdmap.poolId(to);
        if (id === undefined) {
          // Done before: the answer was lost.
          if (other !== undefined) return;
          throw new Refusal(ENOENT, `unrecognized pool '${from}'`);
        }
        if (other !== undefined) throw new Refusal(EEXIST, `pool '${to}' already exists`);
        draft.osdmap((inc) => {
          inc.newPoolNames.set(id, to);
        });
      });
      return { status: `pool '${from}' renamed to '${to}'` };
    },
  },
  {
    signature: `osd pool get ${poolArg} name=var,type=CephChoices,strings=${getVariables}`,
    help: 'show a setting of a pool',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { osdmap } = mon.state;
      const name = args.text('pool');
      const id = existingPool(osdmap, name);
      const pool = osdmap.pools.get(id)!;
      const variable = args.text('var');
      const found: [string, { json: Json; text: string }][] =
        variable === 'all'
          ? [...poolSettings].flatMap(([key, setting]): [string, { json: Json; text: string }][] => {
              const value = setting.get(pool, osdmap);
              return value === undefined ? [] : [[key, value]];
            })
          : [[variable, getSetting(pool, name, variable, osdmap)]];
      if (!wantsJson(format)) return { output: found.map(([key, { text }]) => `${key}: ${text}\n`).join('') };
      const all: [string, Json][] = found.map(([key, { json }]) => [key, json]);
      return structured(new Map<string, Json>([['pool', name], ['pool_id', id], ...all]), format);
    },
  },
  {
    signature: `osd pool set ${poolArg} name=var,type=CephChoices,strings=${setVariables},unlisted=pg_num_actual name=val,type=CephString ${sureArg}`,
    help: 'change a setting of a pool',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('pool');
      const variable = args.text('var');
      const value = args.text('val');
      const id = await mon.update((draft) => {
        const { osdmap } = draft.state;
        const poolId = existingPool(osdmap, name);
        const pool = osdmap.pools.get(poolId)!;
        const context = settingContext(mon, osdmap, poolId, name, args.flag('yes_i_really_mean_it'));
        const changed = setSetting(pool, variable, value, context);
        if (changed !== pool)
          draft.osdmap((inc, map) => {
            changePool(inc, map, poolId, () => changed);
          });
        return poolId;
      });
      return { status: `set pool ${id} ${variable} to ${value}` };
    },
  },
  {
    signature: `osd pool set-quota ${poolArg} name=field,type=CephChoices,strings=max_objects|max_bytes name=val,type=CephString`,
    help: 'limit the objects or bytes of a pool; 0 takes the limit away',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('pool');
      existingPool(mon.state.osdmap, name);
      const field = args.text('field');
      const value = quantity(args.text('val'), field === 'max_bytes' ? 1024 : 1000);
      await changeOne(mon, name, (pool) =>
        field === 'max_bytes' ? { ...pool, quotaMaxBytes: value } : { ...pool, quotaMaxObjects: value },
      );
      return { status: `set-quota ${field} = ${value} for pool ${name}` };
    },
  },
  {
    signature: `osd pool get-quota ${poolArg}`,
    help: 'show the limits of a pool',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { osdmap } = mon.state;
      const name = args.text('pool');
      const id = existingPool(osdmap, name);
      const { quotaMaxBytes, quotaMaxObjects } = osdmap.pools.get(id)!;
      const { bytes, objects } =
        mon.digest === undefined ? { bytes: 0, objects: 0 } : poolStored(mon.digest, osdmap, id);
      if (wantsJson(format))
        return structured(
          {
            pool_name: name,
            pool_id: id,
            quota_max_objects: quotaMaxObjects,
            current_num_objects: objects,
            quota_max_bytes: quotaMaxBytes,
            current_num_bytes: bytes,
          },
          format,
          'json',
        );
      const limitObjects =
        quotaMaxObjects > 0
          ? `${countText(quotaMaxObjects)} objects  (current num objects: ${objects} objects)`
          : 'N/A';
      const limitBytes = quotaMaxBytes > 0 ? `${bytesText(quotaMaxBytes)}  (current num bytes: ${bytes} bytes)` : 'N/A';
      return { output: `quotas for pool '${name}':\n  max objects: ${limitObjects}\n  max bytes  : ${limitBytes}\n` };
    },
  },
  {
    signature: `osd pool mksnap ${poolArg} name=snap,type=CephString`,
    help: 'take a snapshot of a pool',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('pool');
      const snap = args.text('snap');
      const made = await mon.update((draft) => {
        const id = existingPool(draft.state.osdmap, name);
        const pool = draft.state.osdmap.pools.get(id)!;
        if (isSelfManagedSnaps(pool)) throw new Refusal(EINVAL, `pool ${name} is in unmanaged snaps mode`);
        if ([...pool.snaps.values()].some((s) => s.name === snap)) return false;
        draft.osdmap((inc, map) => {
          changePool(inc, map, id, (p) => addPoolSnap(p, snap, utimeFromMs(draft.nowMs), inc.epoch));
        });
        return true;
      });
      return { status: made ? `created pool ${name} snap ${snap}` : `pool ${name} snap ${snap} already exists` };
    },
  },
  {
    signature: `osd pool rmsnap ${poolArg} name=snap,type=CephString`,
    help: 'remove a snapshot of a pool',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('pool');
      const snap = args.text('snap');
      const removed = await mon.update((draft) => {
        const id = existingPool(draft.state.osdmap, name);
        const pool = draft.state.osdmap.pools.get(id)!;
        if (isSelfManagedSnaps(pool)) throw new Refusal(EINVAL, `pool ${name} is in unmanaged snaps mode`);
        const found = [...pool.snaps.values()].find((s) => s.name === snap);
        if (found === undefined) return false;
        draft.osdmap((inc, map) => {
          changePool(inc, map, id, (p) => removePoolSnap(inc, id, p, found.id));
        });
        return true;
      });
      return { status: removed ? `removed pool ${name} snap ${snap}` : `pool ${name} snap ${snap} does not exist` };
    },
  },
  {
    signature: `osd pool application enable ${poolArg} name=app,type=CephString,goodchars=[A-Za-z0-9-_.] ${sureArg}`,
    help: 'say which application uses a pool',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('pool');
      const app = args.text('app');
      existingPool(mon.state.osdmap, name);
      if (app.length > 128) throw new Refusal(EINVAL, 'application name too long; max 128 characters');
      const done = await mon.update((draft) => {
        const id = existingPool(draft.state.osdmap, name);
        const { applications } = draft.state.osdmap.pools.get(id)!;
        if (applications.has(app)) return false;
        if (applications.size > 0 && !args.flag('yes_i_really_mean_it'))
          throw new Refusal(
            EPERM,
            `Are you SURE? Pool '${name}' already has an enabled application; pass --yes-i-really-mean-it to proceed anyway`,
          );
        if (applications.size >= maxApplications)
          throw new Refusal(EINVAL, `too many enabled applications on pool '${name}'; max ${maxApplications}`);
        draft.osdmap((inc, map) => {
          const next = new Map([...applications, [app, new Map<string, string>()] as const]);
          changePool(inc, map, id, (pool) => ({ ...pool, applications: next }));
        });
        return true;
      });
      return {
        status: done
          ? `enabled application '${app}' on pool '${name}'`
          : `application '${app}' is already enabled on pool '${name}'`,
      };
    },
  },
  {
    signature: `osd pool application disable ${poolArg} name=app,type=CephString ${sureArg}`,
    help: 'say that an application does not use a pool any more',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('pool');
      const app = args.text('app');
      existingPool(mon.state.osdmap, name);
      if (!args.flag('yes_i_really_mean_it'))
        throw new Refusal(
          EPERM,
          `Are you SURE? Disabling an application within a pool might result in loss of application functionality; pass --yes-i-really-mean-it to proceed anyway`,
        );
      await changeOne(mon, name, (pool) => {
        const applications = new Map(pool.applications);
        applications.delete(app);
        return { ...pool, applications };
      });
      return { status: `disable application '${app}' on pool '${name}'` };
    },
  },
  {
    signature: `osd pool application set ${poolArg} name=app,type=CephString name=key,type=CephString,goodchars=[A-Za-z0-9-_.] name=value,type=CephString,goodchars=[A-Za-z0-9-_.=]`,
    help: 'keep a value for an application of a pool',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('pool');
      const [app, key, value] = [args.text('app'), args.text('key'), args.text('value')];
      await changeOne(mon, name, (pool) => {
        const data = new Map(applicationOf(pool, name, app)).set(key, value);
        if (data.size > maxApplicationKeys)
          throw new Refusal(
            EINVAL,
            `too many keys set for application '${app}' on pool '${name}'; max ${maxApplicationKeys}`,
          );
        return { ...pool, applications: new Map(pool.applications).set(app, data) };
      });
      return { status: `set application '${app}' key '${key}' to '${value}' on pool '${name}'` };
    },
  },
  {
    signature: `osd pool application rm ${poolArg} name=app,type=CephString name=key,type=CephString`,
    help: 'forget a value of an application of a pool',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('pool');
      const [app, key] = [args.text('app'), args.text('key')];
      await changeOne(mon, name, (pool) => {
        const data = new Map(applicationOf(pool, name, app));
        data.delete(key);
        return { ...pool, applications: new Map(pool.applications).set(app, data) };
      });
      return { status: `removed application '${app}' key '${key}' on pool '${name}'` };
    },
  },
  {
    signature:
      'osd pool application get name=pool,type=CephPoolname,req=false name=app,type=CephString,req=false name=key,type=CephString,req=false',
    help: 'show applications of pools and their values',
    module: 'osd',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { osdmap } = mon.state;
      const name = args.optional('pool');
      if (name === undefined) {
        const all = [...osdmap.pools].map(([id, pool]): [string, Json] => [
          osdmap.poolNames.get(id) ?? '',
          applicationsJson(pool),
        ]);
        return structured(new Map(all), format);
      }
      const pool = osdmap.pools.get(existingPool(osdmap, name))!;
      const app = args.optional('app');
      if (app === undefined) return structured(applicationsJson(pool), format);
      const data = applicationOf(pool, name, app);
      const key = args.optional('key');
      if (key === undefined) return structured(new Map<string, Json>(data), format);
      const value = data.get(key);
      if (value === undefined)
        throw new Refusal(ENOENT, `application '${app}' on pool '${name}' does not have key '${key}'`);
      return wantsJson(format) ? structured(value, format) : { output: `${value}\n` };
    },
  },
];

function applicationOf(pool: PgPool, name: string, app: string): ReadonlyMap<string, string> {
  const data = pool.applications.get(app);
  if (data === undefined) throw new Refusal(ENOENT, `application '${app}' is not enabled on pool '${name}'`);
  return data;
}
