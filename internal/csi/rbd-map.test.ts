import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCommand } from '../base/command-system.ts';
import { fileIsThere, mappingAlive, mappingStart, removeMappingDirectory, unmapImage } from './rbd-map-system.ts';

let directory = '';
beforeEach(() => {
  directory = join(mkdtempSync(join(tmpdir(), 'map-')), 'volume');
  mkdirSync(join(directory, 'pool'), { recursive: true });
  writeFileSync(join(directory, 'keyring'), '');
  writeFileSync(join(directory, 'rbd-fuse.log'), '');
});
afterEach(() => rmSync(join(directory, '..'), { recursive: true, force: true }));

describe('attached images', () => {
  test('what is in the pool directory is never deleted', () => {
    writeFileSync(join(directory, 'pool/image'), 'data');
    expect(() => removeMappingDirectory(directory)).toThrow('ENOTEMPTY');
    expect(readFileSync(join(directory, 'pool/image'), 'utf8')).toBe('data');
    rmSync(join(directory, 'pool/image'));
    removeMappingDirectory(directory);
    expect(existsSync(directory)).toBe(false);
    removeMappingDirectory(directory);
  });

  test.skipIf(process.getuid?.() !== 0)('an attach that was interrupted is undone (as root)', async () => {
    await runCommand(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', join(directory, 'pool')]);
    await unmapImage(mappingStart({ pool: 'p', image: 'i' }), undefined, directory);
    expect(existsSync(directory)).toBe(false);
  });

  test('a mapping of another boot is gone, and its device number says nothing', async () => {
    const other = {
      kind: 'krbd',
      bootId: 'another',
      device: '/dev/rbd0',
      identity: { pool: 'p', image: 'i', imageId: '1', clusterFsid: 'f' },
    } as const;
    expect(mappingAlive(other)).toBe(false);
    expect(mappingAlive({ ...other, bootId: mappingStart({ pool: 'p', image: 'i' }).bootId })).toBe(false);
    await unmapImage(undefined, other, directory);
    expect(existsSync(directory)).toBe(false);
  });

  test('only a missing file is missing', async () => {
    expect(await fileIsThere(join(directory, 'none'), 5000)).toBe(false);
    expect(await fileIsThere(join(directory, 'keyring'), 5000)).toBe(true);
    await expect(fileIsThere(join(directory, 'keyring/below'), 5000)).rejects.toThrow('ENOTDIR');
  });
});
