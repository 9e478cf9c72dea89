import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { attachLoop } from '../base/loop-system.ts';
import { effectiveConfig } from '../config/load.ts';
import { nodePaths } from '../config/paths.ts';
import { syncFacts } from './sync-probe-system.ts';

const usable = process.getuid?.() === 0 && existsSync('/dev/loop-control') && Bun.which('mkfs.ext4') !== null;

let directory = '';
let loop: ReturnType<typeof attachLoop> | undefined;
let osd: Bun.Subprocess | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'sync-'));
});
afterEach(async () => {
  osd?.kill('SIGKILL');
  await osd?.exited;
  osd = undefined;
  loop?.hold.close();
  loop = undefined;
  rmSync(directory, { recursive: true, force: true });
});

describe.runIf(usable)('fsync of an OSD on a device (as root, with loop devices)', () => {
  test('is measured in the file system that the running OSD has for itself; to one that no OSD runs on nothing is written', async () => {
    const image = join(directory, 'disk');
    writeFileSync(image, '');
    truncateSync(image, 64 << 20);
    expect(Bun.spawnSync(['mkfs.ext4', '-q', '-F', image]).exitCode).toBe(0);
    loop = attachLoop(image, { autoclear: true });
    const text = `dataDir: ${directory}/data\nrunDir: ${directory}/run\nstorage: {osd: [{id: 7, device: ${loop.device}}]}\n`;
    const config = effectiveConfig(text, 'f', { hostname: 'n', ip: '192.0.2.1', freeBytes: 1e11 });
    const measured = async () => (await syncFacts(config)).find(({ what }) => what === 'osd.7')?.timesMs;

    const before = readFileSync(image);
    expect(await measured()).toMatchObject({ unknown: expect.stringContaining('osd.7 does not run') });
    expect(readFileSync(image).equals(before)).toBe(true);

    const paths = nodePaths(config.dataDir, config.runDir);
    const target = `${paths.instanceDir('osd.7')}/disk`;
    mkdirSync(target, { recursive: true });
    // What a role's process looks like: its configuration is among its arguments, and its mounts are its own.
    const script = `mount ${loop.device} ${target} && echo mounted && read forever`;
    const role = ['sh', '-c', script, 'sh', `${paths.instanceRunDir('osd.7')}/config.json`];
    const child = Bun.spawn(['unshare', '--mount', '--propagation', 'private', ...role], {
      stdin: 'pipe',
      stdout: 'pipe',
    });
    osd = child;
    await child.stdout.getReader().read();
    expect(existsSync(`${target}/lost+found`)).toBe(false);
    const times = await measured();
    expect(Array.isArray(times) && times.length > 0).toBe(true);
    expect(
      Bun.spawnSync(['ls', `/proc/${child.pid}/root${target}`])
        .stdout.toString()
        .trim(),
    ).toBe('lost+found');
  });
});
