/**
 * A file system that loses what was not synced: `bun test/lossy/main.ts <backing> <mountpoint> [--strict] [--early 0.05] [--seed 1]
 * [--writeback-ms 30000] [--ignore-sync <regular expression>]`. See README.md. Commands come as lines on standard input (`crash`, `start`, `stats`, `stop`), answers go as lines
 * to standard output; SIGUSR1 is `crash`, SIGUSR2 `start`, SIGTERM and SIGINT `stop`.
 */
import { parseArgs } from 'node:util';
import { LossyMount } from './lossy.ts';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    strict: { type: 'boolean', default: false },
    early: { type: 'string', default: '0' },
    seed: { type: 'string', default: '1' },
    'ignore-sync': { type: 'string', default: '' },
    'writeback-ms': { type: 'string', default: '30000' },
  },
});
const [backing, mountpoint] = positionals;
if (backing === undefined || mountpoint === undefined) {
  process.stderr.write('usage: bun test/lossy/main.ts <backing directory> <mount point> [options]\n');
  process.exit(2);
}
const mount = new LossyMount(backing, mountpoint, {
  strict: values.strict,
  early: Number(values.early),
  seed: Number(values.seed),
  ignoreSync: values['ignore-sync'],
  writebackMs: Number(values['writeback-ms']),
});

let queue: Promise<void> = Promise.resolve();
function command(name: string): void {
  queue = queue
    .then(async () => {
      if (name === 'crash') await mount.crash();
      else if (name === 'start') await mount.start();
      else if (name === 'stats') process.stdout.write(`${JSON.stringify(mount.stats())}\n`);
      else if (name === 'stop') {
        await mount.stop();
        process.stdout.write('stopped\n');
        process.exit(0);
      } else throw new Error(`unknown command ${name}`);
      process.stdout.write(`done ${name}\n`);
    })
    .catch((error: unknown) => {
      process.stdout.write(`failed ${name}: ${error instanceof Error ? error.message : String(error)}\n`);
    });
}
process.on('SIGUSR1', () => command('crash'));
process.on('SIGUSR2', () => command('start'));
process.on('SIGTERM', () => command('stop'));
process.on('SIGINT', () => command('stop'));
command('start');
for await (const line of console) if (line.trim() !== '') command(line.trim());
