import { QuietAfterWork } from './quiet.ts';

const lookEveryMs = 2000;

const usedMs = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

/** From now on, as long as this process lives, memory that work left behind is given back when the work has ended. Keeps no process alive. */
export function giveBackWhenQuiet(): void {
  const quiet = new QuietAfterWork(performance.now(), usedMs());
  setInterval(() => {
    // Collects when the loop is idle, and lets go of compiled code, which a collection alone does not.
    if (quiet.isTime(performance.now(), usedMs())) Bun.shrink();
  }, lookEveryMs).unref();
}
