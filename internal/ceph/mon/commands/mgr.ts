import type { MgrMap, MgrModule } from '../../maps/mgrmap.ts';
import { releaseName } from '../../maps/constants.ts';
import { ENOENT, Refusal } from '../errno.ts';
import { addrsJson, legacyAddr, legacyText } from '../format/addrs.ts';
import type { Json } from '../format/json.ts';
import { utimeText } from '../format/units.ts';
import { alwaysOnModules, dropStandbyMgr, failActiveMgr } from '../handlers/mgr.ts';
import { LOG_INFO } from '../../wire/messages/log.ts';
import { countMetadata, metadataJson } from './cluster.ts';
import type { CommandContext } from './dispatch.ts';
import { type CommandEntry, structured } from './table.ts';

const typeNames = ['uint', 'int', 'str', 'float', 'bool', 'addr', 'addrvec', 'uuid', 'size', 'secs', 'millisecs'];
const levelNames = ['basic', 'advanced', 'dev', 'unknown'];

function moduleJson(module: MgrModule): Json {
  return {
    name: module.name,
    can_run: module.canRun,
    error_string: module.error,
    module_options: new Map(
      [...module.options].map(([name, o]): [string, Json] => [
        name,
        {
          name: o.name,
          type: typeNames[o.type] ?? 'unknown',
          level: levelNames[o.level] ?? 'unknown',
          flags: o.flags,
          default_value: o.defaultValue,
          min: o.min,
          max: o.max,
          enum_allowed: [...o.enumAllowed],
          desc: o.description,
          long_desc: o.longDescription,
          tags: [...o.tags],
          see_also: [...o.seeAlso],
        },
      ]),
    ),
  };
}

export function mgrMapJson(map: MgrMap): Json {
  return {
    epoch: map.epoch,
    active_gid: map.activeGid,
    active_name: map.activeName,
    active_addrs: addrsJson(map.activeAddrs),
    active_addr: legacyText(legacyAddr(map.activeAddrs)),
    active_change: utimeText(map.activeChange),
    active_mgr_features: map.activeFeatures,
    available: map.available,
    standbys: [...map.standbys.values()].map((standby) => ({
      gid: standby.gid,
      name: standby.name,
      mgr_features: standby.features,
      available_modules: standby.modules.map(moduleJson),
    })),
    modules: [...map.modules],
    available_modules: map.availableModules.map(moduleJson),
    services: new Map<string, Json>(map.services),
    always_on_modules: new Map(
      [...map.alwaysOnModules].map(([release, names]): [string, Json] => [releaseName(release), [...names]]),
    ),
    last_failure_osd_epoch: map.lastFailureOsdEpoch,
    active_clients: map.clients.map(({ name, addrs }) => ({ name, ...(addrsJson(addrs) as Record<string, Json>) })),
  };
}

export const mgrCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'mgr stat',
    help: 'show the active mgr in short',
    module: 'mgr',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const { epoch, available, activeName, standbys } = mon.state.mgrmap;
      return structured({ epoch, available, active_name: activeName, num_standby: standbys.size }, format);
    },
  },
  {
    signature: 'mgr dump name=epoch,type=CephInt,range=0,req=false',
    help: 'show the map of the mgrs',
    module: 'mgr',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const { mgrmap } = mon.state;
      const epoch = args.optionalNumber('epoch');
      if (epoch !== undefined && epoch !== 0 && epoch !== mgrmap.epoch)
        throw new Refusal(ENOENT, `there is no map for epoch ${epoch}`);
      return structured(mgrMapJson(mgrmap), format);
    },
  },
  {
    signature: 'mgr fail name=who,type=CephString,req=false',
    help: 'let a standby take over from the active mgr',
    module: 'mgr',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const who = args.optional('who');
      const done = await mon.update((draft) => {
        const map = draft.state.mgrmap;
        const active = who === undefined || who === map.activeName || who === map.activeGid.toString();
        if (active && map.activeGid !== 0n) {
          failActiveMgr(draft);
          draft.log(mon.line(LOG_INFO, `Manager daemon ${map.activeName} failed by command`));
          return true;
        }
        const standby = [...map.standbys.values()].find(({ name, gid }) => name === who || gid.toString() === who);
        if (standby === undefined) return false;
        dropStandbyMgr(draft, standby.gid);
        return true;
      });
      if (done) return {};
      return { status: who === undefined ? 'Currently no active mgr' : `Daemon not found '${who}', already failed?` };
    },
  },
  {
    signature: 'mgr module ls',
    help: 'list what the mgr can do',
    module: 'mgr',
    perm: 'r',
    handler: ({ mon }, _args, format) => {
      const { mgrmap } = mon.state;
      const on = new Set([...alwaysOnModules, ...mgrmap.modules]);
      return structured(
        {
          always_on_modules: [...alwaysOnModules],
          enabled_modules: [...mgrmap.modules],
          disabled_modules: mgrmap.availableModules.filter(({ name }) => !on.has(name)).map(moduleJson),
        },
        format,
      );
    },
  },
  {
    signature: 'mgr module enable name=module,type=CephString name=force,type=CephChoices,strings=--force,req=false',
    help: 'switch something of the mgr on',
    module: 'mgr',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('module');
      const { mgrmap } = mon.state;
      if (alwaysOnModules.includes(name)) return { status: `module '${name}' is already enabled (always-on)` };
      if (mgrmap.modules.includes(name)) return { status: `module '${name}' is already enabled` };
      if (!mgrmap.availableModules.some((module) => module.name === name))
        throw new Refusal(ENOENT, `all mgr daemons do not support module '${name}', pass --force to force enablement`);
      await mon.update((draft) => {
        const map = draft.state.mgrmap;
        draft.setMgrMap({ ...map, epoch: map.epoch + 1, modules: [...new Set([...map.modules, name])].sort() });
      });
      return {};
    },
  },
  {
    signature: 'mgr module disable name=module,type=CephString',
    help: 'switch something of the mgr off',
    module: 'mgr',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('module');
      if (alwaysOnModules.includes(name)) throw new Refusal(22, `module '${name}' cannot be disabled (always-on)`);
      if (!mon.state.mgrmap.modules.includes(name)) return { status: `module '${name}' is already disabled` };
      await mon.update((draft) => {
        const map = draft.state.mgrmap;
        draft.setMgrMap({ ...map, epoch: map.epoch + 1, modules: map.modules.filter((module) => module !== name) });
      });
      return {};
    },
  },
  {
    signature: 'mgr services',
    help: 'show the addresses that the mgr serves',
    module: 'mgr',
    perm: 'r',
    handler: ({ mon }, _args, format) => structured(new Map<string, Json>(mon.state.mgrmap.services), format),
  },
  {
    signature: 'mgr metadata name=who,type=CephString,req=false',
    help: 'show facts about one or all mgrs',
    module: 'mgr',
    perm: 'r',
    handler: ({ mon }, args, format) => {
      const all = mon.state.mgrMetadata;
      const of = (name: string): Json => new Map<string, Json>([['name', name], ...metadataJson(all.get(name)!)]);
      const who = args.optional('who');
      if (who === undefined) return structured([...all.keys()].map(of), format);
      if (!all.has(who)) throw new Refusal(ENOENT, `mgr.${who} does not exist`);
      return structured(of(who), format);
    },
  },
  {
    signature: 'mgr count-metadata name=property,type=CephString',
    help: 'count the values of a fact about mgrs',
    module: 'mgr',
    perm: 'r',
    handler: ({ mon }, args, format) =>
      structured(countMetadata(mon.state.mgrMetadata.values(), args.text('property')), format),
  },
  {
    signature: 'mgr versions',
    help: 'count the versions of the mgrs',
    module: 'mgr',
    perm: 'r',
    handler: ({ mon }, _args, format) =>
      structured(countMetadata(mon.state.mgrMetadata.values(), 'ceph_version'), format),
  },
];
