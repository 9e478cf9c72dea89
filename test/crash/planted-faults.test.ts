import { describe, expect, test } from 'vitest';
import { binary } from '../e2e/harness.ts';
import { type Fault, type FaultOptions, FaultRounds } from './fault-rounds.ts';
import { CrashRounds } from './rounds.ts';

/** The crash rounds and the fault rounds must notice faults: each of these is planted, and has to be caught within a few rounds. */

const seed = Number(process.env.CRASH_SEED ?? 7);
const minute = 60_000;
const attempts = 8;

const faults: { name: string; options: Partial<ConstructorParameters<typeof CrashRounds>[0]> }[] = [
  { name: 'OSDs do not sync', options: { ignoreSync: '/osd\\.\\d+\\.img$' } },
  {
    name: 'OSDs acknowledge before they commit',
    options: { binary: `${binary}-faulty`, env: { APPLIANCE_PLANTED_FAULT: 'ack-before-commit' } },
  },
  {
    name: 'the primary leaves a replica out',
    options: { binary: `${binary}-faulty`, env: { APPLIANCE_PLANTED_FAULT: 'skip-replica' } },
  },
];

describe('planted faults are caught', () => {
  test.each(faults)('$name', { timeout: 40 * minute }, async ({ options }) => {
    const crash = new CrashRounds({ seed, ...options });
    let caught: unknown;
    try {
      await crash.setUp();
      for (let round = 1; round <= attempts && caught === undefined; round++) {
        try {
          await crash.round(round, round % 2 === 1 ? 'power' : 'two osds', 2000);
        } catch (error) {
          caught = error;
        }
      }
    } finally {
      await crash.tearDown();
    }
    expect(String(caught)).toMatch(/LOST|damaged|DAMAGED|TORN|WRONG/);
  });
});

const machines: { name: string; faults: Fault[]; options: Omit<FaultOptions, 'seed'> }[] = [
  {
    name: 'OSDs acknowledge before they commit',
    faults: ['power of all machines', 'kill all OSDs'],
    options: { binary: `${binary}-faulty`, env: { APPLIANCE_PLANTED_FAULT: 'ack-before-commit' } },
  },
  {
    name: 'the primary leaves a replica out',
    faults: ['kill two OSDs', 'power of a machine', 'flipped bits'],
    options: { binary: `${binary}-faulty`, env: { APPLIANCE_PLANTED_FAULT: 'skip-replica' } },
  },
];

describe('planted faults are caught on three machines', () => {
  test.each(machines)('$name', { timeout: 40 * minute }, async ({ faults: wanted, options }) => {
    const rounds = new FaultRounds({ seed, ...options });
    let caught: unknown;
    try {
      await rounds.setUp();
      for (let round = 0; round < attempts && caught === undefined; round++) {
        try {
          await rounds.round(wanted[round % wanted.length]!);
        } catch (error) {
          caught = error;
        }
      }
    } finally {
      await rounds.tearDown();
    }
    console.log(String(caught).slice(0, 600));
    expect(String(caught)).toMatch(/LOST|DAMAGED|STALE|WRONG/);
  });
});
