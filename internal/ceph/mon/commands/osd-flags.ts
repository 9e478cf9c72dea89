import {
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
  OSD_NODOWN,
  OSD_NOIN,
  OSD_NOOUT,
  OSD_NOUP,
} from '../../maps/constants.ts';
import { EINVAL, Refusal } from '../errno.ts';
import { toggleState } from '../osd/daemons.ts';
import type { CommandContext } from './dispatch.ts';
import { existingOsd } from './lookup.ts';
import type { CommandAnswer, CommandEntry } from './table.ts';

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

/** Flags of the cluster, of OSDs, buckets and device classes. */
export const osdFlagCommands: readonly CommandEntry<CommandContext>[] = [
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
];
