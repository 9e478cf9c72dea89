import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { unitText } from './unit.ts';

const template = readFileSync(join(import.meta.dirname, '../../systemd/appliance.service'), 'utf8');
const exec = (text: string): string[] => text.split('\n').filter((line) => line.startsWith('Exec'));

describe('the systemd unit', () => {
  test('is what is in the tree when nothing else is asked for', () => {
    expect(unitText(template, undefined)).toBe(template);
  });

  test.each([
    ['/etc/other/appliance.yaml', '/etc/other/appliance.yaml'],
    ['/etc/my node.yaml', '"/etc/my node.yaml"'],
    ['/etc/100%.yaml', '/etc/100%%.yaml'],
    ['/etc/$HOME.yaml', '/etc/$$HOME.yaml'],
    ['/etc/a"b\\c.yaml', '"/etc/a\\"b\\\\c.yaml"'],
  ])('names the configuration %s in every command', (path, argument) => {
    expect(exec(unitText(template, path))).toEqual([
      `ExecStart=/usr/local/bin/appliance --config ${argument} run`,
      `ExecReload=/usr/local/bin/appliance --config ${argument} reload`,
    ]);
  });

  test('a path that would end the line is refused', () => {
    expect(() => unitText(template, '/etc/a\nExecStartPre=/bin/evil')).toThrow('control characters');
  });

  const verifies = Bun.which('systemd-analyze') !== null;
  if (!verifies)
    console.warn('the systemd unit: NOT VERIFIED, because this machine has no systemd-analyze (Debian: systemd)');

  test.runIf(verifies)('systemd finds no fault with it (needs systemd-analyze)', () => {
    const directory = mkdtempSync(join(tmpdir(), 'unit-'));
    try {
      const unit = join(directory, 'appliance.service');
      // It checks that the program is there.
      writeFileSync(unit, unitText(template, '/etc/my node.yaml').replaceAll('/usr/local/bin/appliance', '/bin/true'));
      expect(existsSync('/bin/true')).toBe(true);
      const { stdout, stderr, exitCode } = Bun.spawnSync(['systemd-analyze', 'verify', '--man=no', unit]);
      expect({ text: `${stdout.toString()}${stderr.toString()}`, exitCode }).toEqual({ text: '', exitCode: 0 });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});
