import { closeSync, mkdtempSync, openSync, readSync, rmSync, truncateSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCommand } from '../base/command-system.ts';
import { FormattingMark, fileSystems, prepareFileSystem } from './file-system.ts';

const ext4 = fileSystems.ext4!;
const noMkfs = Bun.which('mkfs.ext4') === null || Bun.which('blkid') === null;

describe.skipIf(noMkfs)('file systems of volumes (needs mkfs.ext4)', () => {
  let directory = '';
  let device = '';
  let mark: FormattingMark;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'fs-'));
    device = join(directory, 'device');
    writeFileSync(device, '');
    truncateSync(device, 32 << 20);
    mark = new FormattingMark(directory, 'a');
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  const write = (at: number, bytes: Uint8Array): void => {
    const fd = openSync(device, 'r+');
    writeSync(fd, bytes, 0, bytes.length, at);
    closeSync(fd);
  };
  const uuid = async (): Promise<string> =>
    (await runCommand(['blkid', '-p', '-o', 'value', '-s', 'UUID', device])).stdout.trim();
  const prepare = (): Promise<void> => prepareFileSystem(device, 'ext4', ext4, mark);

  test('a blank one gets its file system once', async () => {
    await prepare();
    expect(mark.set).toBe(false);
    const first = await uuid();
    await prepare();
    expect(await uuid()).toBe(first);
  });

  test('data without a file system is left alone, unless it is what a killed mkfs left', async () => {
    write(1 << 20, Buffer.from('data'));
    await expect(prepare()).rejects.toThrow('left as it is');
    const kept = Buffer.alloc(4);
    const fd = openSync(device, 'r');
    readSync(fd, kept, 0, 4, 1 << 20);
    closeSync(fd);
    expect(kept.toString()).toBe('data');
    expect(mark.set).toBe(false);
    mark.put();
    await prepare();
    expect(await uuid()).not.toBe('');
    expect(mark.set).toBe(false);
  });

  test('a mark that stayed takes nothing from who mounted the volume since', async () => {
    await prepare();
    const first = await uuid();
    mark.put();
    write(1024 + 0x34, new Uint8Array([1, 0]));
    await prepare().catch(() => undefined);
    expect(await uuid()).toBe(first);
  });

  test('another kind of file system is left alone, with the mark too', async () => {
    await prepare();
    const first = await uuid();
    mark.put();
    await expect(prepareFileSystem(device, 'xfs', fileSystems.xfs!, mark)).rejects.toThrow('holds ext4, not xfs');
    expect(await uuid()).toBe(first);
  });
});
