/** A process of `main.ts`: simulates the seeds that it is sent, one after the other. */
import { type SimulationResult, simulate } from './run.ts';

export interface SeedJob {
  seed: number;
  short: boolean;
}

export type SeedDone = Omit<SimulationResult, 'trace'> & { trace?: string[]; cpuMs: number };

process.on('message', (job: SeedJob) => {
  const before = process.cpuUsage();
  simulate(job).then(
    ({ trace, ...result }) => {
      const { user, system } = process.cpuUsage(before);
      const done: SeedDone = {
        ...result,
        ...(result.violation !== undefined && { trace }),
        cpuMs: (user + system) / 1000,
      };
      process.send!(done);
    },
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
// Whoever sent seeds is gone.
process.on('disconnect', () => process.exit(0));
