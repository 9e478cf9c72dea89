import {
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { assertBlank, makeBlank, whyNotBlank } from './blank-system.ts';
import { runCommand } from './command-system.ts';
import { removeTree } from './mounts-system.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'blank-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A sparse file with one byte that is not zero at each of `marks`. */
function image(size: number, ...marks: number[]): string {
  const path = join(directory, 'image');
  const fd = openSync(path, 'w');
  ftruncateSync(fd, size);
  for (const at of marks) writeSync(fd, Buffer.from([1]), 0, 1, at);
  closeSync(fd);
  return path;
}

describe('what may be formatted', () => {
  const mib = 2 ** 20;

  test('zeros in the first 4 MiB and the last', async () => {
    expect(await whyNotBlank(image(64 * mib))).toBeUndefined();
    expect(await whyNotBlank(image(64 * mib, 32 * mib))).toBeUndefined();
    expect(await whyNotBlank(image(mib))).toBeUndefined();
    for (const at of [0, 8192, 65_600, 4 * mib - 1, 63 * mib, 64 * mib - 1])
      await expect(assertBlank(image(64 * mib, at)), String(at)).rejects.toThrow('may hold data');
    await expect(assertBlank(image(3 * mib, 3 * mib - 1))).rejects.toThrow('may hold data');
  });

  test('what was made blank is taken for new; its middle is left alone', async () => {
    const path = image(64 * mib, 0, 4 * mib - 1, 32 * mib, 64 * mib - 1);
    await makeBlank(path);
    expect(await whyNotBlank(path)).toBeUndefined();
    expect(readFileSync(path)[32 * mib]).toBe(1);
    const small = image(3 * mib, 0, 3 * mib - 1);
    await makeBlank(small);
    expect(await whyNotBlank(small)).toBeUndefined();
    expect(statSync(small).size).toBe(3 * mib);
  });

  test('what cannot be read or has no size is refused', async () => {
    await expect(assertBlank(image(0))).rejects.toThrow('has no size');
    await expect(assertBlank(directory)).rejects.toThrow();
    await expect(assertBlank(join(directory, 'none'))).rejects.toThrow('ENOENT');
    await expect(assertBlank('/dev/zero')).rejects.toThrow('neither a file nor a block device');
  });
});

describe.skipIf(process.getuid?.() !== 0)('removal of directories (as root)', () => {
  test('a tree with a mount stays whole, one without goes', async () => {
    const tree = join(directory, 'tree');
    const below = join(tree, 'a/b');
    mkdirSync(below, { recursive: true });
    await runCommand(['mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', below]);
    try {
      writeFileSync(join(below, 'kept'), '');
      await expect(removeTree(tree)).rejects.toThrow(`${below} is still mounted`);
      expect(existsSync(join(below, 'kept'))).toBe(true);
    } finally {
      await runCommand(['umount', below]);
    }
    await removeTree(tree);
    expect(existsSync(tree)).toBe(false);
    await removeTree(tree);
  });
});
