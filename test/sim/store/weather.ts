import type { GroupFaults } from './group.ts';
import type { Run } from './run.ts';
import type { World } from './world.ts';

/** Which faults come how often. */
export interface Weather {
  faults: GroupFaults;
  /** Mean time between faults, milliseconds. */
  everyMs: number;
  /** Weights of `nemesis` by name. */
  weights: Partial<Record<keyof typeof nemesis, number>>;
  maxMessageBytes?: number;
  /** How probably a new leader crashes or is cut off before it could do much. */
  newLeaderFalls?: number;
  /** How probably a member that has just given its vote crashes and is back at once. */
  voterFalls?: number;
}

/** Any weather. `steady`: nobody comes or goes. */
export function forecast(world: World, steady: boolean): Weather {
  const { between, pick } = { between: (a: number, b: number) => world.between(a, b), pick: world.pick.bind(world) };
  const faults: GroupFaults = {
    lossProbability: pick([0, 0, 0.02, 0.2]),
    duplicateProbability: pick([0, 0.05, 0.3]),
    delayMs: pick([1, 5, 30]),
    lateMs: pick([100, 1000, 3000]),
    lateProbability: pick([0, 0.01, 0.1]),
    syncMs: pick([0.5, 5, 40]),
  };
  const weights: Weather['weights'] = {};
  for (const name of Object.keys(nemesis) as (keyof typeof nemesis)[])
    if (!steady || !(name === 'grow' || name === 'shrink')) weights[name] = pick([0, 1, 1, 4]);
  return { faults, everyMs: between(150, 1500), weights, maxMessageBytes: pick([1, 300, 1 << 20]) };
}

/** Things that go wrong. Each leaves the group so that it can still come back. */
export const nemesis = {
  crash: (run: Run) => run.restartLater(run.group.anyone(), 'crash'),
  crashLeader: (run: Run) => run.restartLater(run.group.leader, 'crash'),
  crashAll: (run: Run) => {
    for (const member of [...run.group.alive]) run.restartLater(member, 'crash');
  },
  kill: (run: Run) => run.restartLater(run.group.anyone(), 'kill'),
  partition: (run: Run) => run.partition(),
  isolateLeader: (run: Run) => run.partition(run.group.leader?.id),
  pause: (run: Run) => {
    const member = run.group.anyone();
    if (member !== undefined) run.group.pause(member, run.world.between(100, 4000));
  },
  clockJump: (run: Run) => run.group.anyone()?.life?.clock.jump(run.world.between(-1e7, 1e7)),
  fullDisk: (run: Run) => run.fillDisk(),
  flipBit: (run: Run) => run.flipBit(),
  compact: (run: Run) => run.compact(),
  moveLeader: (run: Run) => run.moveLeader(),
  replaceMember: (run: Run) => run.changes.change('replace'),
  shrink: (run: Run) => run.changes.change('shrink'),
  grow: (run: Run) => run.changes.change('grow'),
};
