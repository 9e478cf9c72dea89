import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

/** Every user of a machine can read /proc/PID/cmdline; a node in the foreground keeps its own for its whole life. */

const secret = 'k7f2qp.0123456789abcdef0123456789abcdef';
const token = `K10${'a'.repeat(64)}::server:${secret}`;

let directory = '';
let fifo = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'secret-arguments-'));
  // Whoever reads this configuration waits for us.
  fifo = join(directory, 'appliance.yaml');
  expect(Bun.spawnSync(['mkfifo', fifo]).exitCode).toBe(0);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function read(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\0');
  } catch {
    return [];
  }
}

/** The process and those that it started. */
function family(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({
      pid: Number(name),
      parent: Number(/^PPid:\s*(\d+)$/m.exec(read(`/proc/${name}/status`).join())?.[1]),
    }));
  const below = (of: number): number[] => [
    of,
    ...parents.filter(({ parent }) => parent === of).flatMap((one) => below(one.pid)),
  ];
  return below(pid);
}

/** The arguments of the command and all its children at the moment when one of them reads the configuration. */
async function whileReading<T>(argv: readonly string[], look: (pids: number[]) => T): Promise<T> {
  const child = Bun.spawn([process.execPath, join(import.meta.dirname, 'main.ts'), '-c', fifo, ...argv], {
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: 'ignore',
    env: { ...process.env, BUN_BE_BUN: '1' },
  });
  try {
    const writer = await open(fifo, 'w');
    try {
      return look(family(child.pid));
    } finally {
      child.kill('SIGKILL');
      await child.exited;
      await writer.close();
    }
  } finally {
    child.kill('SIGKILL');
  }
}
const shown = (pids: number[]): string[] => pids.flatMap((pid) => read(`/proc/${pid}/cmdline`));

describe('a secret among the arguments', () => {
  test.runIf(process.getuid?.() === 0)('join TOKEN: no process shows it', async () => {
    const all = await whileReading(['join', token, '--server', 'https://10.0.0.5:6443'], shown);
    expect(all).toContain('--server');
    expect(all.join(' ')).not.toContain(secret);
  });

  test.each([
    ['up', '--token', token],
    ['run', `--token=${token}`, '--etcd-s3-secret-key', secret],
  ])('%s %s: no process shows it, and the one that prepares the node is told', async (...argv) => {
    const { all, told } = await whileReading(argv, (pids) => ({
      all: shown(pids),
      told: pids.some((pid) => read(`/proc/${pid}/environ`).includes(`APPLIANCE_TOKEN=${token}`)),
    }));
    expect(all).toContain('prepare');
    expect(all.join(' ')).not.toContain(secret);
    expect(told).toBe(true);
  });
});
