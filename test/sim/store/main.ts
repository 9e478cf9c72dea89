/**
 * `bun test/sim/store/main.ts [first seed] [how many]`: whole raft and store groups under as many seeds, in as many processes as there are processors
 * (`SIM_PROCESSES`). Every twentieth history is a whole one, the others are short (`SIM_LENGTH=whole` or `short`: all are). Prints each seed that breaks a rule,
 * with `SIM_TRACE=1` its trace too; the same seed of the same length does it again. Goes on behind a seed that breaks a rule, and behind one that does
 * not end. Says where a later run can go on; ends with 1 when a seed was bad.
 */
import { availableParallelism } from 'node:os';
import type { SeedDone, SeedJob } from './worker.ts';

const first = Number(process.argv[2] ?? 1);
const count = Number(process.argv[3] ?? 1000);
const processes = Number(process.env.SIM_PROCESSES ?? availableParallelism());
const length = process.env.SIM_LENGTH ?? 'mixed';
const wholeEvery = { whole: 1, mixed: 20, short: Number.POSITIVE_INFINITY }[length];
if (wholeEvery === undefined) throw new Error(`SIM_LENGTH is ${length}; expected whole, short or mixed`);
/** A history of a few seconds that takes so long does not end. Counted in seconds in which this process ran: it may be stopped for a while. */
const stuckSeconds = 300;
const script = new URL('./worker.ts', import.meta.url).pathname;

const began = performance.now();
const sums = { seeds: 0, bad: 0, operations: 0, acknowledged: 0, events: 0, cpuMs: 0 };
const running = new Set<number>();
let next = first;

function seconds(ms: number): string {
  return `${Math.round(ms / 1000)} s`;
}

/** Every seed before this one is done. */
function doneBefore(): number {
  return Math.min(next, ...running);
}

function summary(): string {
  const { seeds, bad, operations, acknowledged, events, cpuMs } = sums;
  return `${seeds} seeds from ${first}: ${bad} bad; ${operations} operations, ${acknowledged} answered, ${events} events; ${seconds(performance.now() - began)}, ${seconds(cpuMs)} of CPU; the next is ${doneBefore()}`;
}

function bad(job: SeedJob, what: string): void {
  sums.bad++;
  console.log(`seed ${job.seed}${job.short ? ', short' : ''}${what}`);
}

function finished(job: SeedJob, done: SeedDone): void {
  sums.operations += done.operations;
  sums.acknowledged += done.acknowledged;
  sums.events += done.events;
  sums.cpuMs += done.cpuMs;
  if (done.violation === undefined) return;
  bad(job, ` (${done.members} members): ${done.violation}`);
  if (process.env.SIM_TRACE === '1') console.log(done.trace!.join('\n'));
}

/** One process after another, until there is no seed left; a process ends early only when a seed is stuck in it or breaks it. */
async function lane(): Promise<void> {
  while (next < first + count) {
    const results: ((done: SeedDone | undefined) => void)[] = [];
    const child = Bun.spawn([process.execPath, script], {
      stdout: 'inherit',
      stderr: 'inherit',
      ipc: (done: SeedDone) => results.shift()?.(done),
    });
    void child.exited.then(() => results.shift()?.(undefined));
    let alive = true;
    while (alive && next < first + count) {
      const seed = next++;
      running.add(seed);
      const job: SeedJob = { seed, short: seed % wholeEvery! !== 0 };
      const result = new Promise<SeedDone | undefined>((resolve) => results.push(resolve));
      child.send(job);
      let stuck = false;
      let passed = 0;
      const timer = setInterval(() => {
        if (++passed < stuckSeconds) return;
        stuck = true;
        child.kill('SIGKILL');
      }, 1000);
      const done = await result;
      clearInterval(timer);
      alive = done !== undefined;
      if (done !== undefined) finished(job, done);
      else bad(job, stuck ? `: not done within ${stuckSeconds} s` : ': its process ended');
      running.delete(seed);
      if (++sums.seeds % 100 === 0) console.log(summary());
    }
    child.kill();
    await child.exited;
  }
}

for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.on(signal, () => {
    console.log(summary());
    process.exit(1);
  });
await Promise.all(Array.from({ length: Math.min(processes, count) }, lane));
console.log(summary());
process.exit(sums.bad > 0 ? 1 : 0);
