import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemdRuns } from '../../internal/node/install-system.ts';
import { binary, must, root, run } from './harness.ts';

/** `install` and `uninstall` in the tree of another machine; what they do with a running systemd is its own commands. */

let tree: string;
const executable = (): string => join(tree, 'usr/local/bin/appliance');
const unit = (): string => join(tree, 'etc/systemd/system/appliance.service');
const wanted = (): string => join(tree, 'etc/systemd/system/multi-user.target.wants/appliance.service');
const template = readFileSync(join(root, 'systemd/appliance.service'), 'utf8');
const same = (a: string, b: string): boolean => readFileSync(a).equals(readFileSync(b));

beforeAll(() => {
  tree = mkdtempSync(join(tmpdir(), 'install-'));
});
afterAll(() => rmSync(tree, { recursive: true }));

const systemctlThere = Bun.which('systemctl') !== null;
if (!systemctlThere) console.warn('install: NOT TESTED, because this machine has no systemctl (Debian: systemd)');

describe.runIf(systemctlThere)('install (needs systemctl)', () => {
  const install = (...argv: string[]): Promise<string> => must([binary, 'install', '--root', tree, ...argv]);

  test('puts executable and unit in their places, and enables the service', async () => {
    expect(await install()).toBe(`installed ${executable()}\nwrote ${unit()}\nappliance.service is enabled\n`);
    expect(same(executable(), binary)).toBe(true);
    expect(statSync(executable()).mode & 0o7777).toBe(0o755);
    expect(readFileSync(unit(), 'utf8')).toBe(template);
    expect(readlinkSync(wanted())).toMatch(/\/appliance\.service$/);
    expect(await must([executable(), 'version'])).toBe(await must([binary, 'version']));
  });

  test('again: nothing is touched', async () => {
    const before = [statSync(executable()), statSync(unit())].map(({ ino, mtimeMs }) => [ino, mtimeMs]);
    expect(await install()).toBe('executable and unit are there already\nappliance.service is enabled\n');
    expect([statSync(executable()), statSync(unit())].map(({ ino, mtimeMs }) => [ino, mtimeMs])).toEqual(before);
  });

  test('with a configuration: every command of the unit names it', async () => {
    expect(JSON.parse(await install('--config', '/etc/my node.yaml', '-o', 'json'))).toEqual({
      unit: 'appliance.service',
      executable: executable(),
      changed: true,
      enabled: true,
      started: false,
    });
    const lines = readFileSync(unit(), 'utf8').split('\n');
    expect(lines.filter((line) => line.startsWith('Exec'))).toEqual([
      'ExecStart=/usr/local/bin/appliance --config "/etc/my node.yaml" run',
      'ExecReload=/usr/local/bin/appliance --config "/etc/my node.yaml" reload',
    ]);
  });

  test('an upgrade keeps what it replaces; a rollback goes back, and forth again', async () => {
    rmSync(executable());
    writeFileSync(executable(), 'an older one', { mode: 0o755 });
    await install();
    expect(same(executable(), binary)).toBe(true);
    expect(readFileSync(`${executable()}.previous`, 'utf8')).toBe('an older one');
    await install('--rollback');
    expect(readFileSync(executable(), 'utf8')).toBe('an older one');
    expect(same(`${executable()}.previous`, binary)).toBe(true);
    await install('--rollback');
    expect(same(executable(), binary)).toBe(true);
    expect(readFileSync(`${executable()}.previous`, 'utf8')).toBe('an older one');
  });

  test('uninstall: nothing of it is left, configuration and data are', async () => {
    for (const directory of ['etc/appliance', 'var/lib/appliance']) {
      mkdirSync(join(tree, directory), { recursive: true });
      writeFileSync(join(tree, directory, 'kept'), '');
    }
    expect(JSON.parse(await must([binary, 'uninstall', '--root', tree, '-o', 'json']))).toEqual({
      removed: [unit(), executable(), `${executable()}.previous`],
      kept: [],
      users: [],
    });
    for (const path of [executable(), `${executable()}.previous`, unit(), wanted()])
      expect(existsSync(path), path).toBe(false);
    for (const directory of ['etc/appliance', 'var/lib/appliance'])
      expect(existsSync(join(tree, directory, 'kept'))).toBe(true);
    expect(await must([binary, 'uninstall', '--root', tree])).toContain('nothing was installed');
    const back = await run([binary, 'install', '--root', tree, '--rollback']);
    expect([back.code, back.stderr]).toEqual([
      1,
      expect.stringMatching(/there is no .*appliance\.previous to go back to/),
    ]);
  });

  test.runIf(!systemdRuns())('on a machine that systemd does not run it says so and changes nothing', async () => {
    const output = await run([binary, 'install']);
    expect(output.code).toBe(1);
    expect(output.stderr).toContain('systemd does not run this machine');
    expect(existsSync('/etc/systemd/system/appliance.service')).toBe(false);
  });
});
