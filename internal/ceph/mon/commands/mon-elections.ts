import type { MonMap } from '../../maps/monmap.ts';
import { EINVAL, ENOENT, Refusal } from '../errno.ts';
import type { Mon } from '../mon.ts';
import type { CommandContext } from './dispatch.ts';
import type { CommandEntry } from './table.ts';

/** Who may lead, and where mons are. Who leads is decided by the group's elections; a mon that is not to lead hands the lead on (`Mon.yieldLead`). */

const strategies: ReadonlyMap<string, number> = new Map([
  ['classic', 1],
  ['disallow', 2],
  ['connectivity', 3],
]);
const classic = 1;

async function change(mon: Mon, fn: (map: MonMap) => Partial<MonMap>): Promise<void> {
  await mon.update((draft) => {
    const map = draft.state.monmap;
    draft.setMonMap({ ...map, ...fn(map), epoch: map.epoch + 1, lastChanged: draft.now, removedRanks: [] });
  });
}

function need(map: MonMap, name: string): void {
  if (map.mons.every((info) => info.name !== name)) throw new Refusal(ENOENT, `mon.${name} does not exist`);
}

function checkDisallow(map: MonMap, name: string): void {
  if (map.strategy === classic) throw new Refusal(EINVAL, 'You cannot disallow monitors in your current election mode');
  need(map, name);
}

export const monElectionCommands: readonly CommandEntry<CommandContext>[] = [
  {
    signature: 'mon set election_strategy name=strategy,type=CephString',
    help: 'choose how it is decided which mon leads',
    module: 'mon',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const strategy = strategies.get(args.text('strategy'));
      if (strategy === undefined)
        throw new Refusal(EINVAL, `'${args.text('strategy')}' is none of ${[...strategies.keys()].join(', ')}`);
      await change(mon, () => ({ strategy }));
      return {};
    },
  },
  {
    signature: 'mon add disallowed_leader name=name,type=CephString',
    help: 'keep a mon from leading',
    module: 'mon',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const { monmap } = mon.state;
      checkDisallow(monmap, name);
      if (monmap.disallowedLeaders.includes(name)) return { status: `mon.${name} is already disallowed` };
      await change(mon, (map) => {
        checkDisallow(map, name);
        if (map.disallowedLeaders.length >= map.mons.length - 1)
          throw new Refusal(EINVAL, `mon.${name} is the only remaining allowed leader!`);
        return { disallowedLeaders: [...new Set([...map.disallowedLeaders, name])].sort() };
      });
      return {};
    },
  },
  {
    signature: 'mon rm disallowed_leader name=name,type=CephString',
    help: 'let a mon lead again',
    module: 'mon',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const { monmap } = mon.state;
      checkDisallow(monmap, name);
      if (!monmap.disallowedLeaders.includes(name)) return { status: `mon.${name} is already allowed` };
      await change(mon, (map) => ({ disallowedLeaders: map.disallowedLeaders.filter((each) => each !== name) }));
      return {};
    },
  },
  {
    signature: 'mon set_location name=name,type=CephString name=args,type=CephString,n=N,goodchars=[A-Za-z0-9-_.=]',
    help: 'say where a mon is, as type=name of CRUSH buckets',
    module: 'mon',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const given = args.list('args').flatMap((text) => text.split(/[ ,;]+/));
      const location = new Map(
        given.flatMap((text): [string, string][] => {
          const match = /^([^=]+)=(.+)$/.exec(text);
          return match === null ? [] : [[match[1]!, match[2]!]];
        }),
      );
      if (location.size === 0)
        throw new Refusal(
          EINVAL,
          `We could not parse your input location to anything real; [${given.join(',')}] turned into an empty map!`,
        );
      await change(mon, (map) => {
        need(map, name);
        return {
          mons: map.mons.map((info) => (info.name === name ? { ...info, crushLocation: location } : info)),
        };
      });
      return {};
    },
  },
];
