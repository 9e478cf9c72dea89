import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { serviceArguments, unitText } from './unit.ts';

const template = readFileSync(join(import.meta.dirname, '../../systemd/appliance.service'), 'utf8');
const exec = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('Exec'));

describe('the systemd unit', () => {
  test('is what is in the tree when nothing else is asked for', () => {
    expect(unitText(template)).toBe(template);
  });

  test.each([
    ['/etc/other/appliance.yaml', '/etc/other/appliance.yaml'],
    ['/etc/my node.yaml', '"/etc/my node.yaml"'],
    ['/etc/100%.yaml', '/etc/100%%.yaml'],
    ['/etc/$HOME.yaml', '/etc/$$HOME.yaml'],
    ['/etc/a"b\\c.yaml', '"/etc/a\\"b\\\\c.yaml"'],
  ])('names the configuration %s in every command', (path, argument) => {
    expect(exec(unitText(template, { config: path }))).toEqual([
      `ExecStart=/usr/local/bin/appliance --config ${argument} run`,
      `ExecReload=/usr/local/bin/appliance --config ${argument} reload`,
    ]);
  });

  test('has the directories that the node was installed with, and makes no others', () => {
    const text = unitText(template, { dataDir: '/mnt/my disk', runDir: '/run/other' });
    expect(exec(text)).toEqual([
      'ExecStart=/usr/local/bin/appliance --data-dir "/mnt/my disk" --run-dir /run/other run',
      'ExecReload=/usr/local/bin/appliance --data-dir "/mnt/my disk" --run-dir /run/other reload',
    ]);
    expect(text).not.toMatch(/^(State|Runtime)Directory/m);
    expect(unitText(template, { config: '/etc/a.yaml' })).toMatch(/^StateDirectory=[\s\S]*^RuntimeDirectory=/m);
  });

  test('gets the directories and the configuration of the command line, else of APPLIANCE_CONFIG', () => {
    const absolute = (path: string): string => join('/home/me', path);
    const flags = { 'data-dir': ['data'], 'run-dir': ['run'] };
    expect(serviceArguments({ file: 'a.yaml', flags }, { APPLIANCE_CONFIG: 'b.yaml' }, absolute)).toEqual({
      config: '/home/me/a.yaml',
      dataDir: '/home/me/data',
      runDir: '/home/me/run',
    });
    expect(serviceArguments({ flags: {} }, { APPLIANCE_CONFIG: 'b.yaml', HOME: '/root' }, absolute)).toEqual({
      config: '/home/me/b.yaml',
    });
  });

  test('is not written when variables say what the service would not know', () => {
    const variables = { APPLIANCE_DATA_DIR: '/mnt/ssd', APPLIANCE_NODE_NAME: 'pi-1', PATH: '/bin' };
    expect(() => serviceArguments({ flags: {} }, variables, String)).toThrow(
      'the service would run without APPLIANCE_DATA_DIR, APPLIANCE_NODE_NAME of this environment',
    );
  });

  test('a path that would end the line is refused', () => {
    expect(() => unitText(template, { config: '/etc/a\nExecStartPre=/bin/evil' })).toThrow('control characters');
  });

  const verifies = Bun.which('systemd-analyze') !== null;
  if (!verifies)
    console.warn('the systemd unit: NOT VERIFIED, because this machine has no systemd-analyze (Debian: systemd)');

  test.runIf(verifies)('systemd finds no fault with it (needs systemd-analyze)', () => {
    const directory = mkdtempSync(join(tmpdir(), 'unit-'));
    try {
      const unit = join(directory, 'appliance.service');
      // It checks that the program is there.
      writeFileSync(
        unit,
        unitText(template, { config: '/etc/my node.yaml', dataDir: '/mnt/a b', runDir: '/run/other' }).replaceAll(
          '/usr/local/bin/appliance',
          '/bin/true',
        ),
      );
      expect(existsSync('/bin/true')).toBe(true);
      const { stdout, stderr, exitCode } = Bun.spawnSync(['systemd-analyze', 'verify', '--man=no', unit]);
      expect({ text: `${stdout.toString()}${stderr.toString()}`, exitCode }).toEqual({ text: '', exitCode: 0 });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
