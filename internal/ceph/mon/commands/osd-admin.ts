import { removeItem } from '../../crush/build.ts';
import {
  DEFAULT_PRIMARY_AFFINITY,
  MAP_FULL,
  MAP_NOBACKFILL,
  MAP_NODEEP_SCRUB,
  MAP_NODOWN,
  MAP_NOIN,
  MAP_NOOUT,
  MAP_NOREBALANCE,
  MAP_NORECOVER,
  MAP_NOSCRUB,
  MAP_NOSNAPTRIM,
  MAP_NOTIERAGENT,
  MAP_NOUP,
  MAP_PAUSERD,
  MAP_PAUSEWR,
  MAP_PGLOG_HARDLIMIT,
  OSD_DESTROYED,
  OSD_IN,
  OSD_NEW,
  OSD_NODOWN,
  OSD_NOIN,
  OSD_NOOUT,
  OSD_NOUP,
  OSD_OUT,
  OSD_UP,
  releaseNames,
} from '../../maps/constants.ts';
import type { OsdMapIncremental } from '../../maps/incremental.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { zeroUuid } from '../../maps/osdmap.ts';
import { utimeFromMs } from '../../wire/encoding.ts';
import { LOG_INFO } from '../../wire/messages/log.ts';
import { ADDR_ANY, pgText, parseAddr, sameAddr } from '../../wire/types.ts';
import type { Draft } from '../draft.ts';
import { EBUSY, EEXIST, EINVAL, ENOENT, ENOTSUP, EPERM, Refusal } from '../errno.ts';
import { legacyText } from '../format/addrs.ts';
import { generalText } from '../format/json.ts';
import { minCompatClient } from '../format/min-compat.ts';
import { utimeText } from '../format/units.ts';
import { changeCrush, createOsd, maxOsdId, toggleState } from '../osd/daemons.ts';
import type { CommandContext } from './dispatch.ts';
import { existingOsd, existingPg, osdList, parseOsd } from './lookup.ts';
import type { Arguments } from './signature.ts';
import { type CommandAnswer, type CommandEntry, structured, wantsJson } from './table.ts';

const ids = 'name=ids,type=CephString,n=N';
const sureArg = 'name=yes_i_really_mean_it,type=CephBool,req=false';

const flags: ReadonlyMap<string, number> = new Map([
  ['full', MAP_FULL],
  ['pause', MAP_PAUSERD | MAP_PAUSEWR],
  ['noup', MAP_NOUP],
  ['nodown', MAP_NODOWN],
  ['noout', MAP_NOOUT],
  ['noin', MAP_NOIN],
  ['nobackfill', MAP_NOBACKFILL],
  ['norebalance', MAP_NOREBALANCE],
  ['norecover', MAP_NORECOVER],
  ['noscrub', MAP_NOSCRUB],
  ['nodeep-scrub', MAP_NODEEP_SCRUB],
  ['notieragent', MAP_NOTIERAGENT],
  ['nosnaptrim', MAP_NOSNAPTRIM],
  ['pglog_hardlimit', MAP_PGLOG_HARDLIMIT],
]);

const osdFlagBits: ReadonlyMap<string, number> = new Map([
  ['noup', OSD_NOUP],
  ['nodown', OSD_NODOWN],
  ['noin', OSD_NOIN],
  ['noout', OSD_NOOUT],
]);

async function setFlag({ mon }: CommandContext, key: string, on: boolean): Promise<CommandAnswer> {
  const bit = flags.get(key)!;
  await mon.update((draft) => {
    draft.osdmap((inc, map) => {
      const next = on ? map.flags | bit : map.flags & ~bit;
      if (next === map.flags) return false;
      inc.newFlags = next;
      return true;
    });
  });
  const name = key === 'pause' ? 'pauserd,pausewr' : key;
  return { status: `${name} is ${on ? 'set' : 'unset'}` };
}

/** What a command that takes many OSDs does to one: its part of the answer, or undefined when nothing had to be done. */
type Each = (inc: OsdMapIncremental, map: OsdMap, osd: number, draft: Draft) => { changed: boolean; text: string };

async function eachOsd({ mon }: CommandContext, args: Arguments, each: Each): Promise<CommandAnswer> {
  let status = '';
  await mon.update((draft) => {
    draft.osdmap((inc, map) => {
      let changed = false;
      for (const osd of osdList(map, args.list('ids'))) {
        if (!map.exists(osd)) {
          status += `osd.${osd} does not exist. `;
          continue;
        }
        const done = each(inc, map, osd, draft);
        status += done.text;
        changed ||= done.changed;
      }
      return changed;
    });
  });
  return { status };
}

/** `noout` and the like for OSDs, CRUSH buckets and device classes. */
async function setGroup(
  { mon }: CommandContext,
  names: readonly string[],
  who: readonly string[],
  on: boolean,
): Promise<CommandAnswer> {
  let bits = 0;
  for (const name of names) {
    const bit = osdFlagBits.get(name);
    if (bit === undefined)
      throw new Refusal(EINVAL, `unrecognized flag '${name}', must be one of {noup,nodown,noin,noout}`);
    bits |= bit;
  }
  const change = (old: number): number => (on ? old | bits : old & ~bits);
  await mon.update((draft) => {
    draft.osdmap((inc, map) => {
      let changed = false;
      for (const name of who.length === 1 && (who[0] === 'all' || who[0] === 'any') ? map.osds().map(String) : who) {
        const { crush } = map;
        const cls = crush.classOfName(name);
        const bucket = crush.idOfName(name);
        if (bucket !== undefined && bucket < 0) {
          const old = map.crushNodeFlags.get(bucket) ?? 0;
          if (change(old) === old) continue;
          inc.newCrushNodeFlags.set(bucket, change(old));
        } else if (cls !== undefined) {
          const old = map.deviceClassFlags.get(cls) ?? 0;
          if (change(old) === old) continue;
          inc.newDeviceClassFlags.set(cls, change(old));
        } else {
          const osd = existingOsd(map, name);
          const old = map.osdState[osd]!;
          if (change(old) === old) continue;
          toggleState(inc, osd, change(old) ^ old);
        }
        changed = true;
      }
      return changed;
    });
  });
  return {};
}

/** Removes an id that is down, with its place in CRUSH and its key. */
function purge(draft: Draft, osd: number): void {
  const { osdmap } = draft.state;
  if (osdmap.isUp(osd)) throw new Refusal(EBUSY, `osd.${osd} is not \`down\`.`);
  draft.osdmap((inc, map) => {
    if (map.exists(osd)) {
      toggleState(inc, osd, map.osdState[osd]!);
      inc.newWeight.set(osd, OSD_OUT);
    }
    changeCrush(inc, map, (crush) => {
      if (crush.idOfName(`osd.${osd}`) === undefined) return false;
      removeItem(crush, osd);
      return true;
    });
  });
  draft.setOsdMetadata(osd, undefined);
  for (const name of [`osd.${osd}`]) if (draft.state.auth.entities.has(name)) draft.removeEntity(name);
}

function ratioCommand(
  name: string,
  what: string,
  apply: (inc: OsdMapIncremental, ratio: number) => void,
): CommandEntry<CommandContext> {
  return {
    signature: `osd ${name} name=ratio,type=CephFloat,range=0.0|1.0`,
    help: `set the share of use at which ${what}`,
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const ratio = args.number('ratio');
      await mon.update((draft) => {
        draft.osdmap((inc) => apply(inc, Math.fround(ratio)));
      });
      return { status: `osd ${name} ${generalText(ratio, 6)}` };
    },
  };
}

async function blocklistChange({ mon }: CommandContext, args: Arguments): Promise<CommandAnswer> {
  const text = args.text('addr');
  const parsed = parseAddr(text);
  if (parsed === undefined || args.has('range')) {
    if (args.has('range')) throw new Refusal(ENOTSUP, 'blocking address ranges is not supported');
    throw new Refusal(EINVAL, `${text} is no address`);
  }
  // Entries have no type: they mean a client whatever it speaks.
  const addr = { ...parsed, type: ADDR_ANY };
  const shown = legacyText(addr);
  const op = args.optional('blocklistop') ?? args.text('blacklistop');
  const known = (map: OsdMap): boolean => map.blocklist.some((entry) => sameAddr(entry.addr, addr));
  if (op === 'rm') {
    const removed = await mon.update((draft) => {
      if (!known(draft.state.osdmap)) return false;
      draft.osdmap((inc) => {
        inc.oldBlocklist.push(addr);
      });
      return true;
    });
    return { status: removed ? `un-blocklisting ${shown}` : `${shown} isn't blocklisted` };
  }
  const seconds = args.optionalNumber('expire') ?? 3600;
  const until = utimeFromMs(mon.clock.now() + seconds * 1000);
  await mon.update((draft) => {
    draft.osdmap((inc, map) => {
      if (known(map)) inc.oldBlocklist.push(addr);
      inc.newBlocklist.push({ addr, until });
    });
  });
  return { status: `blocklisting ${shown} until ${utimeText(until)} (${generalText(seconds, 6)} sec)` };
}

async function blocklistClear({ mon }: CommandContext): Promise<CommandAnswer> {
  await mon.update((draft) => {
    draft.osdmap((inc, map) => {
      for (const { addr } of map.blocklist) inc.oldBlocklist.push(addr);
      return map.blocklist.length > 0;
    });
  });
  return { status: ' removed all blocklist entries' };
}

/** Gives an OSD id for a disk: the one that the disk has already, the one asked for, or the lowest free. */
function newOsdId(map: OsdMap, uuid: string, asked: number | undefined): { osd: number; exists: boolean } {
  for (const osd of map.osds())
    if (uuid !== zeroUuid && map.osdUuid[osd] === uuid) {
      if (asked !== undefined && asked !== osd)
        throw new Refusal(EEXIST, `uuid ${uuid} already in use for different id ${osd}`);
      return { osd, exists: true };
    }
  if (asked !== undefined) {
    if (asked > maxOsdId) throw new Refusal(EINVAL, `ids go up to ${maxOsdId}`);
    if (map.exists(asked) && !map.isDestroyed(asked))
      throw new Refusal(EEXIST, `id ${asked} already in use and not destroyed`);
    return { osd: asked, exists: false };
  }
  let osd = 0;
  while (map.exists(osd)) osd++;
  return { osd, exists: false };
}

/** Commands that change what the map says of OSDs. */
export const osdAdminCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: `osd set name=key,type=CephChoices,strings=${[...flags.keys()].join('|')} ${sureArg}`,
    help: 'set a flag of the cluster',
    module: 'osd',
    perm: 'rw',
    handler: (context, args) => setFlag(context, args.text('key'), true),
  },
  {
    signature: `osd unset name=key,type=CephChoices,strings=${[...flags.keys()].filter((key) => key !== 'pglog_hardlimit').join('|')}`,
    help: 'take back a flag of the cluster',
    module: 'osd',
    perm: 'rw',
    handler: (context, args) => setFlag(context, args.text('key'), false),
  },
  {
    signature: 'osd pause',
    help: 'stop all client I/O',
    module: 'osd',
    perm: 'rw',
    handler: (context) => setFlag(context, 'pause', true),
  },
  {
    signature: 'osd unpause',
    help: 'let clients go on',
    module: 'osd',
    perm: 'rw',
    handler: (context) => setFlag(context, 'pause', false),
  },
  {
    signature: `osd set-group name=flags,type=CephString name=who,type=CephString,n=N`,
    help: 'set noup, nodown, noin or noout for OSDs, buckets or device classes',
    module: 'osd',
    perm: 'rw',
    handler: (context, args) => setGroup(context, args.text('flags').split(','), args.list('who'), true),
  },
  {
    signature: `osd unset-group name=flags,type=CephString name=who,type=CephString,n=N`,
    help: 'take back noup, nodown, noin or noout',
    module: 'osd',
    perm: 'rw',
    handler: (context, args) => setGroup(context, args.text('flags').split(','), args.list('who'), false),
  },
  ...[...osdFlagBits.keys()].flatMap((name): CommandEntry<CommandContext>[] => [
    {
      signature: `osd add-${name} ${ids}`,
      help: `set ${name} for OSDs`,
      module: 'osd',
      perm: 'rw',
      flags: 4,
      handler: (context, args) => setGroup(context, [name], args.list('ids'), true),
    },
    {
      signature: `osd rm-${name} ${ids}`,
      help: `take back ${name} for OSDs`,
      module: 'osd',
      perm: 'rw',
      flags: 4,
      handler: (context, args) => setGroup(context, [name], args.list('ids'), false),
    },
  ]),
  {
    signature: `osd out ${ids}`,
    help: 'move data away from OSDs',
    module: 'osd',
    perm: 'rw',
    handler: (context, args) =>
      eachOsd(context, args, (inc, map, osd, draft) => {
        if (map.isOut(osd)) return { changed: false, text: `osd.${osd} is already out. ` };
        inc.newWeight.set(osd, OSD_OUT);
        inc.newXInfo.set(osd, { ...map.xinfoOf(osd), oldWeight: map.osdWeight[osd]! });
        draft.log(
          context.mon.line(
            LOG_INFO,
            `Client ${context.session.entity} marked osd.${osd} out, while it was still marked ${map.isUp(osd) ? 'up' : 'down'}`,
          ),
        );
        return { changed: true, text: `marked out osd.${osd}. ` };
      }),
  },
  {
    signature: `osd in ${ids}`,
    help: 'let OSDs hold data again',
    module: 'osd',
    perm: 'rw',
    handler: (context, args) =>
      eachOsd(context, args, (inc, map, osd) => {
        if (map.isIn(osd)) return { changed: false, text: `osd.${osd} is already in. ` };
        const { oldWeight } = map.xinfoOf(osd);
        inc.newWeight.set(osd, oldWeight > 0 ? oldWeight : OSD_IN);
        return { changed: true, text: `marked in osd.${osd}. ` };
      }),
  },
  {
    signature: `osd down ${ids} name=definitely_dead,type=CephBool,req=false`,
    help: 'mark OSDs down; those that live come up again by themselves',
    module: 'osd',
    perm: 'rw',
    handler: (context, args) =>
      eachOsd(context, args, (inc, map, osd) => {
        if (!map.isUp(osd)) return { changed: false, text: `osd.${osd} is already down. ` };
        toggleState(inc, osd, OSD_UP);
        return { changed: true, text: `marked down osd.${osd}. ` };
      }),
  },
  {
    signature: `osd rm ${ids}`,
    help: 'forget OSDs that are down',
    module: 'osd',
    perm: 'rw',
    flags: 4,
    handler: (context, args) =>
      eachOsd(context, args, (inc, map, osd, draft) => {
        if (map.isUp(osd)) throw new Refusal(EBUSY, `osd.${osd} is still up; must be down before removal. `);
        toggleState(inc, osd, map.osdState[osd]!);
        draft.setOsdMetadata(osd, undefined);
        return { changed: true, text: `removed osd.${osd}` };
      }),
  },
  {
    signature: 'osd reweight name=id,type=CephOsdName name=weight,type=CephFloat,range=0.0|1.0',
    help: 'change how much of its share an OSD holds',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const weight = args.number('weight');
      const fixed = Math.trunc(Math.fround(OSD_IN * weight));
      const osd = await mon.update((draft) => {
        const id = existingOsd(draft.state.osdmap, args.text('id'));
        draft.osdmap((inc) => {
          inc.newWeight.set(id, fixed);
        });
        return id;
      });
      return { status: `reweighted osd.${osd} to ${generalText(weight, 6)} (${fixed.toString(16)})` };
    },
  },
  {
    signature: 'osd primary-affinity name=id,type=CephOsdName name=weight,type=CephFloat,range=0.0|1.0',
    help: 'change how often an OSD leads',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const weight = args.number('weight');
      const fixed = Math.trunc(Math.fround(DEFAULT_PRIMARY_AFFINITY * weight));
      const osd = await mon.update((draft) => {
        const id = existingOsd(draft.state.osdmap, args.text('id'));
        draft.osdmap((inc) => {
          inc.newPrimaryAffinity.set(id, fixed);
        });
        return id;
      });
      return { status: `set osd.${osd} primary-affinity to ${generalText(weight, 6)} (${fixed})` };
    },
  },
  {
    signature: 'osd setmaxosd name=newmax,type=CephInt,range=0',
    help: 'set the highest number of OSDs',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const max = args.number('newmax');
      if (max > maxOsdId + 1)
        throw new Refusal(EINVAL, `cannot set max_osd to ${max} which is > conf.mon_max_osd (${maxOsdId + 1})`);
      await mon.update((draft) => {
        draft.osdmap((inc, map) => {
          for (let osd = max; osd < map.maxOsd; osd++)
            if (map.exists(osd))
              throw new Refusal(
                EBUSY,
                `cannot shrink max_osd to ${max} because osd.${osd} (and possibly others) still in use`,
              );
          inc.newMaxOsd = max;
        });
      });
      return { status: `set new max_osd = ${max}` };
    },
  },
  {
    signature: `osd lost name=id,type=CephOsdName ${sureArg}`,
    help: 'say that the data of an OSD is gone for good',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      if (!args.flag('yes_i_really_mean_it'))
        throw new Refusal(
          EPERM,
          'are you SURE?  this might mean real, permanent data loss.  pass --yes-i-really-mean-it if you really do.',
        );
      const osd = parseOsd(args.text('id'));
      const epoch = await mon.update((draft) => {
        const { osdmap } = draft.state;
        if (!osdmap.exists(osd) || osdmap.isUp(osd)) return undefined;
        return draft.osdmap((inc, map) => {
          inc.newLost.set(osd, map.infoOf(osd).downAt);
        }).epoch;
      });
      if (epoch === undefined) throw new Refusal(EBUSY, `osd.${osd} is not down or doesn't exist`);
      return { status: `marked osd lost in epoch ${mon.state.osdmap.infoOf(osd).downAt}` };
    },
  },
  {
    signature: 'osd new name=uuid,type=CephUUID,req=true name=id,type=CephOsdName,req=false',
    help: 'give a disk an id; reads keys from the input as JSON',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args, format) => {
      const uuid = args.text('uuid').toLowerCase();
      const id = args.optional('id');
      const osd = await mon.update((draft) => {
        const found = newOsdId(draft.state.osdmap, uuid, id === undefined ? undefined : parseOsd(id));
        if (!found.exists)
          draft.osdmap((inc, map) => {
            if (!map.exists(found.osd)) createOsd(inc, map, found.osd, uuid);
            else {
              toggleState(inc, found.osd, OSD_DESTROYED | ((map.osdState[found.osd]! & OSD_NEW) === 0 ? OSD_NEW : 0));
              inc.newUuid.set(found.osd, uuid);
            }
          });
        return found.osd;
      });
      return wantsJson(format) ? structured({ osdid: osd }, format) : { output: `${osd}\n` };
    },
  },
  {
    signature: 'osd create name=uuid,type=CephUUID,req=false name=id,type=CephOsdName,req=false',
    help: 'make an OSD id',
    module: 'osd',
    perm: 'rw',
    flags: 4,
    handler: async ({ mon }, args, format) => {
      const uuid = args.optional('uuid')?.toLowerCase() ?? zeroUuid;
      const id = args.optional('id');
      const osd = await mon.update((draft) => {
        const found = newOsdId(draft.state.osdmap, uuid, id === undefined ? undefined : parseOsd(id));
        if (!found.exists) draft.osdmap((inc, map) => createOsd(inc, map, found.osd, uuid));
        return found.osd;
      });
      return wantsJson(format) ? structured({ osdid: osd }, format) : { output: `${osd}\n` };
    },
  },
  {
    signature: `osd destroy-actual name=id,type=CephOsdName ${sureArg}`,
    help: 'mark an OSD destroyed; its id stays for a new disk',
    module: 'osd',
    perm: 'rw',
    flags: 32,
    handler: async ({ mon }, args) => {
      if (!args.flag('yes_i_really_mean_it'))
        throw new Refusal(
          EPERM,
          "Are you SURE?  Did you verify with 'ceph osd safe-to-destroy'?  This will mean real, permanent data loss, as well as deletion of cephx and lockbox keys. Pass --yes-i-really-mean-it if you really do.",
        );
      const osd = parseOsd(args.text('id'));
      await mon.update((draft) => {
        const { osdmap } = draft.state;
        if (!osdmap.exists(osd)) throw new Refusal(ENOENT, `osd.${osd} does not exist`);
        if (osdmap.isUp(osd)) throw new Refusal(EBUSY, `osd.${osd} is still \`up\`.`);
        draft.osdmap((inc, map) => {
          const state = map.osdState[osd]!;
          if ((state & OSD_DESTROYED) !== 0) return false;
          toggleState(inc, osd, OSD_DESTROYED | ((state & OSD_NEW) === 0 ? OSD_NEW : 0));
          inc.newUuid.set(osd, zeroUuid);
          return true;
        });
        if (draft.state.auth.entities.has(`osd.${osd}`)) draft.removeEntity(`osd.${osd}`);
      });
      return { status: `destroyed osd.${osd}` };
    },
  },
  {
    signature: `osd purge-actual name=id,type=CephOsdName ${sureArg}`,
    help: 'forget an OSD, its key and its place',
    module: 'osd',
    perm: 'rw',
    flags: 32,
    handler: async ({ mon }, args) => {
      if (!args.flag('yes_i_really_mean_it'))
        throw new Refusal(
          EPERM,
          "Are you SURE?  Did you verify with 'ceph osd safe-to-destroy'?  This will mean real, permanent data loss, as well as deletion of cephx and lockbox keys. Pass --yes-i-really-mean-it if you really do.",
        );
      const osd = parseOsd(args.text('id'));
      await mon.update((draft) => purge(draft, osd));
      return { status: `purged osd.${osd}` };
    },
  },
  {
    signature: `osd purge-new name=id,type=CephOsdName ${sureArg}`,
    help: 'forget an OSD that was never used',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const osd = parseOsd(args.text('id'));
      await mon.update((draft) => {
        const { osdmap } = draft.state;
        if (osdmap.exists(osd) && (osdmap.osdState[osd]! & OSD_NEW) === 0)
          throw new Refusal(EPERM, `osd.${osd} is not new: it may hold data`);
        if (osdmap.exists(osd)) purge(draft, osd);
      });
      return { status: `purged osd.${osd}` };
    },
  },
  ratioCommand('set-full-ratio', 'writes are refused', (inc, ratio) => {
    inc.newFullRatio = ratio;
  }),
  ratioCommand('set-backfillfull-ratio', 'nothing is backfilled to an OSD', (inc, ratio) => {
    inc.newBackfillfullRatio = ratio;
  }),
  ratioCommand('set-nearfull-ratio', 'there is a warning', (inc, ratio) => {
    inc.newNearfullRatio = ratio;
  }),
  {
    signature: `osd set-require-min-compat-client name=version,type=CephString ${sureArg}`,
    help: 'set the oldest client that is let in',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('version');
      const release = releaseNames.indexOf(name);
      if (release <= 0) throw new Refusal(EINVAL, `version ${name} is not recognized`);
      await mon.update((draft) => {
        draft.osdmap((inc, map) => {
          if (release < minCompatClient(map))
            throw new Refusal(
              EPERM,
              `osdmap current utilizes features that require ${releaseNames[minCompatClient(map)]}; cannot set require_min_compat_client below that to ${name}`,
            );
          if (map.requireMinCompatClient === release) return false;
          inc.newRequireMinCompatClient = release;
          return true;
        });
      });
      return { status: `set require_min_compat_client to ${name}` };
    },
  },
  {
    signature: `osd require-osd-release name=release,type=CephChoices,strings=luminous|mimic|nautilus|octopus|pacific ${sureArg}`,
    help: 'set the oldest OSD that may take part',
    module: 'osd',
    perm: 'rw',
    handler: ({ mon }, args) => {
      const release = releaseNames.indexOf(args.text('release'));
      if (release < mon.state.osdmap.requireOsdRelease)
        throw new Refusal(EPERM, 'require_osd_release cannot be lowered once it has been set');
      return {};
    },
  },
  {
    signature:
      'osd blocklist name=range,type=CephString,goodchars=[range],req=false name=blocklistop,type=CephChoices,strings=add|rm name=addr,type=CephEntityAddr name=expire,type=CephFloat,range=0.0,req=false',
    help: 'block a client, or let it in again',
    module: 'osd',
    perm: 'rw',
    handler: blocklistChange,
  },
  {
    signature:
      'osd blacklist name=blacklistop,type=CephChoices,strings=add|rm name=addr,type=CephEntityAddr name=expire,type=CephFloat,range=0.0,req=false',
    help: 'the old name of osd blocklist',
    module: 'osd',
    perm: 'rw',
    flags: 4,
    handler: blocklistChange,
  },
  {
    signature: 'osd blocklist clear',
    help: 'let all blocked clients in again',
    module: 'osd',
    perm: 'rw',
    handler: blocklistClear,
  },
  {
    signature: 'osd blacklist clear',
    help: 'the old name of osd blocklist clear',
    module: 'osd',
    perm: 'rw',
    flags: 4,
    handler: blocklistClear,
  },
  {
    signature: 'osd pg-upmap-items name=pgid,type=CephPgid name=id,type=CephOsdName,n=N',
    help: 'place copies of a placement group on other OSDs: pairs of from and to',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const list = args.list('id').map(parseOsd);
      if (list.length === 0 || list.length % 2 !== 0)
        throw new Refusal(EINVAL, 'you must specify pairs of osd ids to be remapped');
      const pairs: [number, number][] = [];
      for (let i = 0; i < list.length; i += 2) pairs.push([list[i]!, list[i + 1]!]);
      const id = await mon.update((draft) => {
        const { osdmap } = draft.state;
        const pg = existingPg(osdmap, args.text('pgid'));
        for (const osd of list) if (!osdmap.exists(osd)) throw new Refusal(ENOENT, `osd.${osd} does not exist`);
        draft.osdmap((inc) => {
          inc.newPgUpmapItems.set(pg.pool, pg.seed, pairs);
        });
        return pgText(pg);
      });
      return {
        status: `set ${id} pg_upmap_items mapping to [${pairs.map(([from, to]) => `${from}->${to}`).join(',')}]`,
      };
    },
  },
  {
    signature: 'osd rm-pg-upmap-items name=pgid,type=CephPgid',
    help: 'place a placement group as CRUSH says again',
    module: 'osd',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const id = await mon.update((draft) => {
        const pg = existingPg(draft.state.osdmap, args.text('pgid'));
        draft.osdmap((inc, map) => {
          if (map.pgUpmapItems.get(pg.pool, pg.seed) === undefined) return false;
          inc.oldPgUpmapItems.set(pg.pool, pg.seed, true);
          return true;
        });
        return pgText(pg);
      });
      return { status: `clear ${id} pg_upmap_items mapping` };
    },
  },
];
