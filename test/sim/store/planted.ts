import type { PlantedFault } from '../../../internal/base/planted-fault.ts';
import { calm } from './group.ts';
import { type SimulationOptions, type SimulationResult, simulate } from './run.ts';
import type { Weather } from './weather.ts';

/** A known bug, the weather in which it shows, and what the simulator says of it. */
export interface Planted {
  fault: PlantedFault;
  what: string;
  options: Omit<SimulationOptions, 'seed'>;
  /** One of the first so many seeds finds it; how it is told. */
  within: number;
  says: RegExp;
}

const elections: Weather = {
  faults: { ...calm, duplicateProbability: 0.3, delayMs: 40, lateMs: 500, lateProbability: 0.2, syncMs: 2 },
  everyMs: 1000,
  weights: { crashLeader: 1 },
  newLeaderFalls: 0.7,
  voterFalls: 0.5,
};

export const plantedFaults: readonly Planted[] = [
  {
    fault: 'commit-old-term',
    what: 'an entry of an earlier term is committed by counting',
    options: { members: 5, weather: { ...elections, maxMessageBytes: 1 }, durationMs: 10_000, short: true },
    within: 60,
    says: /by counting|is lost|was acknowledged at revision|would replace a committed one/,
  },
  {
    fault: 'forget-vote',
    what: 'a vote is not stored',
    options: { members: 3, weather: elections, durationMs: 10_000, short: true },
    within: 60,
    says: /two members lead in term/,
  },
  {
    fault: 'watch-gap',
    what: 'a watch from a compacted revision goes on behind the gap',
    options: { members: 1, weather: { faults: calm, everyMs: 300, weights: { compact: 1, kill: 1 } } },
    within: 10,
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
    within: 10,
    says: /the state ends at entry \d+ and the journal begins at/,
  },
  {
    fault: 'reuse-revision',
    what: 'a revision is used again after a power loss',
    options: { members: 1, weather: { faults: { ...calm, syncMs: 20 }, everyMs: 500, weights: { crash: 1 } } },
    within: 10,
    says: /revision \d+ was .* and is/,
  },
  {
    fault: 'forget-renewal',
    what: 'a lease that was renewed ends as if it had not been',
    options: { members: 3, weather: { faults: calm, everyMs: 1000, weights: {} }, durationMs: 20_000, short: true },
    within: 10,
    says: /the key of lease \d+ of \d+ ms was deleted/,
  },
  {
    fault: 'cut-transaction',
    what: 'one of two writes of a transaction is left out',
    options: { members: 3, weather: { faults: calm, everyMs: 1000, weights: {} }, durationMs: 3000, short: true },
    within: 5,
    says: /of one transaction are at revisions|revision \d+ was .* and is/,
  },
  {
    fault: 'past-as-now',
    what: 'a range of an earlier revision shows keys as they are now',
    options: { members: 3, weather: { faults: calm, everyMs: 1000, weights: {} }, durationMs: 3000, short: true },
    within: 10,
    says: /a list of k\/ of revision \d+ has/,
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
