import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { silentLogger } from '../base/log.ts';
import { RoleCgroups } from './cgroup-system.ts';
import { deathReason } from './death.ts';
import { type Launch, launchCommand, portCapabilities } from './launch.ts';

const root = process.getuid?.() === 0;
const user = { uid: 64_001, gid: 64_001 };
const launch = (more: Partial<Launch> & Pick<Launch, 'command'>): Launch => ({
  supervisorPid: process.pid,
  privateMounts: false,
  capabilities: [],
  ...more,
});

async function output(what: Launch): Promise<{ text: string; code: number }> {
  const child = Bun.spawn(launchCommand(what), { stdout: 'pipe', stderr: 'pipe', cwd: '/' });
  const text = (await new Response(child.stdout).text()) + (await new Response(child.stderr).text());
  return { text, code: await child.exited };
}
const field = (status: string, name: string): string =>
  new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1]?.trim() ?? '';

describe('how roles are started', () => {
  test('ports below 1024 need a capability, others none', () => {
    expect(portCapabilities([6443, 3300])).toEqual([]);
    expect(portCapabilities([53, 10053])).toEqual(['net_bind_service']);
  });

  test.runIf(root)('a role with a user has its ids, no groups, no capability and no way to new ones', async () => {
    const { text } = await output(launch({ command: ['cat', '/proc/self/status'], user }));
    expect(field(text, 'Uid').split(/\s+/)).toEqual(Array(4).fill('64001'));
    expect(field(text, 'Gid').split(/\s+/)).toEqual(Array(4).fill('64001'));
    expect(text).toMatch(/^Groups:\s*$/m);
    expect(field(text, 'NoNewPrivs')).toBe('1');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect(Number.parseInt(field(text, set), 16), set).toBe(0);
  });

  test.runIf(root)('a role with a low port keeps that one capability', async () => {
    const { text } = await output(
      launch({ command: ['cat', '/proc/self/status'], user, capabilities: ['net_bind_service'] }),
    );
    for (const set of ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb'])
      expect(Number.parseInt(field(text, set), 16), set).toBe(1 << 10);
  });

  test.runIf(root)('a role without a user stays root, and leads a session of its own', async () => {
    const { text } = await output(launch({ command: ['cat', '/proc/self/status'], privateMounts: true }));
    expect(field(text, 'Uid').split(/\s+/)[0]).toBe('0');
    expect(field(text, 'NSsid')).toBe(field(text, 'Pid'));
  });

  test.runIf(root)('a program where its user cannot go is run all the same, and keeps nothing of it', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'launch-'));
    try {
      cpSync('/bin/cat', join(directory, 'cat'));
      const { text, code } = await output(launch({ command: [join(directory, 'cat'), '/proc/self/status'], user }));
      expect(code).toBe(0);
      expect(Number.parseInt(field(text, 'CapEff'), 16)).toBe(0);
      const again = await output(launch({ command: ['cat', join(directory, 'cat')], user }));
      expect(again.text).toContain('Permission denied');
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test('a supervisor that is killed before the program runs leaves nobody behind', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'launch-'));
    let pid: number | undefined;
    try {
      // Whoever enters this group waits: a start stops there for as long as we like.
      const cgroupProcs = join(directory, 'cgroup.procs');
      expect(Bun.spawnSync(['mkfifo', cgroupProcs]).exitCode).toBe(0);
      const argv = launchCommand(launch({ command: ['sleep', '600'], supervisorPid: 0, cgroupProcs }));
      const script = `const argv = ${JSON.stringify(argv)}.map((one) => (one === '0' ? String(process.pid) : one));
        console.log(Bun.spawn(argv, { stdio: ['ignore', 'ignore', 'ignore'] }).pid); await Bun.sleep(600_000);`;
      const supervisor = Bun.spawn([process.execPath, '-e', script], {
        stdout: 'pipe',
        env: { ...process.env, BUN_BE_BUN: '1' },
      });
      const { value } = await supervisor.stdout.getReader().read();
      pid = Number(Buffer.from(value!).toString());
      const words = (): string => readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      // The shell has it, and waits.
      while (!words().startsWith('sh -c')) await Bun.sleep(10);
      supervisor.kill('SIGKILL');
      await supervisor.exited;
      while (existsSync(`/proc/${pid}`)) await Bun.sleep(10);
      pid = undefined;
    } finally {
      if (pid !== undefined) process.kill(pid, 'SIGKILL');
      rmSync(directory, { recursive: true });
    }
  });

  test('a start whose supervisor is gone already runs nothing', async () => {
    // A process that is not the parent.
    expect(await output(launch({ command: ['echo', 'runs'], supervisorPid: 1 }))).toEqual({ text: '', code: 1 });
  });

  test.runIf(root)('arguments arrive as they are', async () => {
    const args = ['a b', "it's", '$(id)', '', '*', '-n'];
    const { text } = await output(launch({ command: ['printf', '%s\\n', ...args], user }));
    expect(text).toBe(`${args.join('\n')}\n`);
  });

  const groups = new RoleCgroups(`test${process.pid}`, silentLogger);
  if (root) groups.setUp();
  test.runIf(root && groups.problem === undefined)(
    'over its memory budget: the kernel kills it in its group, and the reason says so',
    async () => {
      const limitBytes = 32 << 20;
      try {
        const cgroupProcs = groups.ensure('role', limitBytes, false);
        expect(cgroupProcs).toBeDefined();
        const before = groups.oomCounts('role', false);
        const inside = await output(launch({ command: ['cat', '/proc/self/cgroup'], cgroupProcs, user }));
        expect(inside.text).toContain(`/appliance-test${process.pid}-node/role`);
        // tail keeps a line that never ends in memory.
        const child = Bun.spawn(launchCommand(launch({ command: ['tail', '/dev/zero'], cgroupProcs, user })), {
          stdout: 'ignore',
        });
        await child.exited;
        const after = groups.oomCounts('role', false);
        expect(
          deathReason({
            exitCode: child.exitCode,
            signal: child.signalCode === null ? null : String(child.signalCode),
            oom: { kills: after.kills - before.kills, limitHits: after.limitHits - before.limitHits },
            limitBytes,
          }),
        ).toBe('out of memory: limit 32 MiB');
      } finally {
        groups.remove('role', false);
        groups.tearDown();
      }
      expect(readFileSync('/proc/self/cgroup', 'utf8')).not.toContain('appliance-test');
    },
  );
});
