import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { seededRandom } from '../../base/random.ts';
import { systemLogger } from '../../base/system.ts';
import { prepareDisk } from './disk-system.ts';

let directory = '';
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'disk-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('disks of OSDs', () => {
  test('a file with anything in its first 4 MiB is refused and left as it is', async () => {
    const file = join(directory, 'osd.img');
    writeFileSync(file, '');
    truncateSync(file, 16 << 20);
    const fd = openSync(file, 'r+');
    writeSync(fd, 'somebody else', 1 << 20);
    closeSync(fd);
    const before = readFileSync(file);
    const prepared = prepareDisk(
      { id: 0, file, size: 16 << 20 },
      {
        mountDir: join(directory, 'mount'),
        fsid: 'f',
        random: seededRandom(1),
        log: systemLogger({ value: 'error' }),
      },
    );
    await expect(prepared).rejects.toMatchObject({ code: 'FOREIGN_DISK' });
    expect(readFileSync(file).equals(before)).toBe(true);
  });
});
