import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'prepared-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** Processes that have `word` among their arguments. */
function processesWith(word: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').includes(word);
      } catch {
        return false;
      }
    })
    .map(Number);
}

async function until(met: () => boolean): Promise<void> {
  while (!met()) await Bun.sleep(20);
}

test('a supervisor that is killed while its node is prepared leaves nobody behind who goes on with it', async () => {
  // Reading it waits for a writer that never comes.
  const fifo = join(directory, 'appliance.yaml');
  expect(Bun.spawnSync(['mkfifo', fifo]).exitCode).toBe(0);
  const supervisor = Bun.spawn(
    [
      process.execPath,
      '-e',
      `const { preparedNode } = await import('./prepared-process.ts'); await preparedNode({ file: ${JSON.stringify(fifo)}, flags: {} })`,
    ],
    { cwd: import.meta.dirname, env: { ...process.env, BUN_BE_BUN: '1' } },
  );
  const word = `--config=${fifo}`;
  await until(() => processesWith(word).some((pid) => pid !== supervisor.pid));
  supervisor.kill('SIGKILL');
  await supervisor.exited;
  await until(() => processesWith(word).length === 0);
});
