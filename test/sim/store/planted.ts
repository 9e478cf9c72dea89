import type { PlantedFault } from '../../../internal/base/planted-fault.ts';
import { calm } from './group.ts';
import { type SimulationOptions, type SimulationResult, simulate, type Weather } from './run.ts';

/** A known bug, the weather in which it shows, and what the simulator says of it. */
export interface Planted {
  fault: PlantedFault;
  what: string;
  options: Omit<SimulationOptions, 'seed'>;
  /** The first seed that finds it, and how it is told. */
  seed: number;
  says: RegExp;
}

const storm: Weather = {
  faults: { ...calm, duplicateProbability: 0.3, delayMs: 20, lateMs: 1500, lateProbability: 0.1, syncMs: 5 },
  everyMs: 250,
  weights: { crashLeader: 3, isolateLeader: 2, crash: 3 },
};

export const plantedFaults: readonly Planted[] = [
  {
    fault: 'forget-vote',
    what: 'a vote is not stored',
    options: { members: 3, weather: storm, durationMs: 30_000 },
    seed: 17,
    says: /two members lead in term/,
  },
  {
    fault: 'watch-gap',
    what: 'a watch from a compacted revision goes on behind the gap',
    options: { members: 1, weather: { faults: calm, everyMs: 300, weights: { compact: 1, kill: 1 } } },
    seed: 1,
    says: /was told of revision/,
  },
  {
    fault: 'reclaim-early',
    what: 'a segment is let go before the checkpoint that contains it is on disk',
    options: {
      members: 1,
      weather: { faults: { ...calm, syncMs: 60 }, everyMs: 700, weights: { crash: 1 } },
      durationMs: 40_000,
    },
    seed: 1,
    says: /the state ends at entry \d+ and the journal begins at/,
  },
  {
    fault: 'reuse-revision',
    what: 'a revision is used again after a power loss',
    options: { members: 1, weather: { faults: { ...calm, syncMs: 20 }, everyMs: 500, weights: { crash: 1 } } },
    seed: 1,
    says: /revision \d+ was .* and is/,
  },
];

/** One seed of a build with the fault in it. */
export async function withPlanted({ fault, options }: Planted, seed: number): Promise<SimulationResult> {
  const global = globalThis as { APPLIANCE_PLANTED_FAULTS?: boolean };
  global.APPLIANCE_PLANTED_FAULTS = true;
  process.env.APPLIANCE_PLANTED_FAULT = fault;
  try {
    return await simulate({ ...options, seed });
  } finally {
    delete global.APPLIANCE_PLANTED_FAULTS;
    delete process.env.APPLIANCE_PLANTED_FAULT;
  }
}
