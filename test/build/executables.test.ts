import { copyFileSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { must, root, run } from '../e2e/harness.ts';

/** Each executable is copied to an empty directory, with no node_modules near, and started. */

const directory = mkdtempSync(join(tmpdir(), 'executables-'));
afterAll(() => rmSync(directory, { recursive: true }));

const machines: { name: string; architecture: 'x64' | 'arm64'; command: string[]; env: Record<string, string> }[] = [
  { name: 'x64', architecture: 'x64', command: [], env: {} },
  {
    name: 'arm64 on the default CPU',
    architecture: 'arm64',
    command: ['qemu-aarch64-static'],
    env: { QEMU_LD_PREFIX: '/usr/aarch64-linux-gnu' },
  },
  {
    name: 'arm64 on a Cortex-A53 (Pi 3)',
    architecture: 'arm64',
    command: ['qemu-aarch64-static', '-cpu', 'cortex-a53'],
    env: { QEMU_LD_PREFIX: '/usr/aarch64-linux-gnu' },
  },
];

describe.each(machines)('executable: $name', ({ architecture, command, env }) => {
  const copy = join(directory, `appliance-${architecture}`);
  copyFileSync(join(root, `dist/appliance-linux-${architecture}`), copy);
  const start = (...argv: string[]) => run([...command, copy, ...argv], { cwd: directory, env, timeoutMs: 100_000 });

  test('version tells version, commit and architecture', async () => {
    const output = await start('version');
    expect(output.stderr).toBe('');
    expect(output.stdout).toMatch(
      new RegExp(`^appliance \\d+\\.\\d+\\.\\d+ \\([0-9a-f]+, linux-${architecture}\\)\\n$`),
    );
  });

  test('every native part and every module loads', async () => {
    const output = await start('self-test');
    expect(output.stderr).toBe('');
    expect(output.code).toBe(0);
    expect(output.stdout).toContain('crc32c (native): ok');
    expect(output.stdout).toContain('sqlite: ok');
    expect(output.stdout).toContain('ffi: ok');
    expect(output.stdout).toContain('roles: mon, mgr, osd, server, agent, edge');
  });

  test('a mistake in the command line is explained', async () => {
    const output = await start('upp');
    expect(output.code).toBe(2);
    expect(output.stderr).toContain("unknown command 'upp'");
  });

  test('is not larger than 125 MB', () => {
    expect(statSync(copy).size).toBeLessThan(125e6);
  });
});

test('the checksums fit', async () => {
  await must(['sh', '-c', 'cd dist && sha256sum -c appliance-linux-x64.sha256 appliance-linux-arm64.sha256']);
});
