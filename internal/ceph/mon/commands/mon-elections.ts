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

/** `changed` gives the mons that must not lead, of a map where `name` is not as wanted yet. */
function disallowing(
  verb: 'add' | 'rm',
  help: string,
  changed: (map: MonMap, name: string) => string[],
): CommandEntry<CommandContext> {
  return {
    signature: `mon ${verb} disallowed_leader name=name,type=CephString`,
    help,
    module: 'mon',
    perm: 'rw',
    handler: async ({ mon }, args) => {
      const name = args.text('name');
      const isWanted = (map: MonMap): boolean => map.disallowedLeaders.includes(name) === (verb === 'add');
      const { monmap } = mon.state;
      checkDisallow(monmap, name);
      if (isWanted(monmap)) return { status: `mon.${name} is already ${verb === 'add' ? 'disallowed' : 'allowed'}` };
      await change(mon, (map) => {
        checkDisallow(map, name);
        return { disallowedLeaders: isWanted(map) ? map.disallowedLeaders : changed(map, name) };
      });
      return {};
    },
  };
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
  disallowing('add', 'keep a mon from leading', (map, name) => {
    if (map.disallowedLeaders.length >= map.mons.length - 1)
      throw new Refusal(EINVAL, `mon.${name} is the only remaining allowed leader!`);
    return [...map.disallowedLeaders, name].sort();
  }),
  disallowing('rm', 'let a mon lead again', (map, name) => map.disallowedLeaders.filter((each) => each !== name)),
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
