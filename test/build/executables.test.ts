import { copyFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
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

/** An emulated processor on a machine with other work is slow. */
const patienceMs = 280_000;

describe.each(machines)('executable: $name', { timeout: 300_000 }, ({ architecture, command, env }) => {
  const copy = join(directory, `appliance-${architecture}`);
  copyFileSync(join(root, `dist/appliance-linux-${architecture}`), copy);
  const start = (argv: string[], cwd = directory) =>
    run([...command, copy, ...argv], { cwd, env, timeoutMs: patienceMs });

  test('version tells version, commit and architecture', async () => {
    const output = await start(['version']);
    expect(output.stderr).toBe('');
    expect(output.stdout).toMatch(
      new RegExp(`^appliance \\d+\\.\\d+\\.\\d+ \\([0-9a-f]+, linux-${architecture}\\)\\n$`),
    );
  });

  test('every native part and every module loads', async () => {
    const output = await start(['self-test']);
    expect(output.stderr).toBe('');
    expect(output.code).toBe(0);
    for (const part of ['crc32c (native)', 'sqlite', 'ffi', 'http2 over TLS', 'gRPC', 'embedded texts'])
      expect(output.stdout).toContain(`${part}: ok`);
    // Files that have to be named to the compiler, and those that are embedded as texts.
    for (const worker of new Bun.Glob('internal/**/*.worker.ts').scanSync(root))
      expect(output.stdout).toContain(worker);
    expect(output.stdout).toContain('embedded .proto: ok (runtime.v1.RuntimeService, runtime.v1.ImageService, csi.v1.');
    expect(output.stdout).toContain('roles: ok (mon, mgr, osd, server, agent, edge)');
  });

  test('a mistake in the command line is explained', async () => {
    const output = await start(['upp']);
    expect(output.code).toBe(2);
    expect(output.stderr).toContain("unknown command 'upp'");
  });

  test('files of the directory that it is called in do not change what it does', async () => {
    const elsewhere = mkdtempSync(join(directory, 'elsewhere-'));
    writeFileSync(join(elsewhere, '.env'), 'APPLIANCE_NODE_NAME=from-dotenv\n');
    writeFileSync(join(elsewhere, 'bunfig.toml'), 'preload = ["./preload.js"]\n');
    writeFileSync(join(elsewhere, 'preload.js'), 'process.exit(9)\n');
    const output = await start(['--data-dir', elsewhere, 'config', 'show'], elsewhere);
    expect(output).toMatchObject({ code: 0, stderr: '' });
    expect(output.stdout).not.toContain('from-dotenv');
  });

  test('is not larger than 125 MB, and no megabyte of it is zeros', () => {
    expect(statSync(copy).size).toBeLessThan(125e6);
    expect(readFileSync(copy).includes(Buffer.alloc(1 << 20))).toBe(false);
  });
});

test('the checksums fit, and are of both', async () => {
  const sums = await must(['sh', '-c', 'cd dist && sha256sum --strict -c SHA256SUMS']);
  expect(sums).toBe('appliance-linux-arm64: OK\nappliance-linux-x64: OK\n');
});
