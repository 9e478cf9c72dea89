import { DEFAULT_PRIMARY_AFFINITY, OSD_IN, OSD_OUT, OSD_UP, releaseNames } from '../../maps/constants.ts';
import type { OsdMapIncremental } from '../../maps/incremental.ts';
import type { OsdMap } from '../../maps/osdmap.ts';
import { utimeFromMs } from '../../wire/encoding.ts';
import { LOG_INFO } from '../../wire/messages/log.ts';
import { ADDR_ANY, parseAddr, sameAddr } from '../../wire/types.ts';
import type { Draft } from '../draft.ts';
import { EBUSY, EINVAL, ENOTSUP, EPERM, Refusal } from '../errno.ts';
import { legacyText } from '../format/addrs.ts';
import { generalText } from '../format/json.ts';
import { minCompatClient } from '../format/min-compat.ts';
import { utimeText } from '../format/units.ts';
import { toggleState } from '../osd/daemons.ts';
import type { CommandContext } from './dispatch.ts';
import { existingOsd, osdList } from './lookup.ts';
import type { Arguments } from './signature.ts';
import type { CommandAnswer, CommandEntry } from './table.ts';

const ids = 'name=ids,type=CephString,n=N';
const sureArg = 'name=yes_i_really_mean_it,type=CephBool,req=false';

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

/** Commands that change what the map says of OSDs. */
export const osdAdminCommands: readonly CommandEntry<CommandContext>[] = [
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
            `Client ${context.caller.entity} marked osd.${osd} out, while it was still marked ${map.isUp(osd) ? 'up' : 'down'}`,
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
      // Upstream prints its formatter's flags for hexadecimal and decimal around the number; tools know the text.
      return { status: `set osd.${osd} primary-affinity to ${generalText(weight, 6)} (8${fixed}2)` };
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
];
