import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Answer, runProgram, runSource } from './source.testing.ts';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { systemDisk } from '../../internal/base/disk-system.ts';
import { attachLoop } from '../../internal/base/loop-system.ts';
import { writeLabel } from '../../internal/ceph/blockstore/label.ts';
import { identityText } from '../../internal/ceph/osd/disk-owner.ts';

/** `reset --wipe-devices` with real block devices, from the source. */

const ownFsid = '3b1f0e3c-9a5c-4a53-8d4e-0c4e1f1c9d11';
const otherFsid = '77777777-9a5c-4a53-8d4e-0c4e1f1c9d11';
const usable = process.getuid?.() === 0 && existsSync('/dev/loop-control') && Bun.which('mkfs.ext4') !== null;

let directory = '';
let loop: ReturnType<typeof attachLoop> | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'reset-'));
});
afterEach(() => {
  loop?.hold.close();
  loop = undefined;
  rmSync(directory, { recursive: true, force: true });
});

async function must(ran: Promise<Answer>): Promise<string> {
  const { code, out, err } = await ran;
  if (code !== 0) throw new Error(`${String(code)}: ${err}`);
  return out;
}
const run = (...argv: string[]): Promise<string> => must(runProgram(argv));

/** A node of `ownFsid` that does not run, whose osd.3 is on a device with the store that `fsid` names. Returns what holds the device's bytes. */
async function nodeWithDisk(fsid: string): Promise<string> {
  const image = join(directory, 'disk');
  writeFileSync(image, '');
  truncateSync(image, 16 << 20);
  await run('mkfs.ext4', '-q', '-F', '-L', 'osd.3', image);
  const identity = identityText({ osd: 3, fsid, uuid: '11111111-2222-4333-8444-555555555555' });
  await writeLabel(systemDisk, directory, { identity, capacityBytes: 1 << 20, created: 0 });
  await run('debugfs', '-w', '-R', `write ${join(directory, 'label')} label`, image);
  loop = attachLoop(image, { autoclear: true });
  mkdirSync(join(directory, 'data/ceph'), { recursive: true });
  writeFileSync(join(directory, 'data/ceph/ceph.conf'), `[global]\nfsid = ${ownFsid}\n`);
  writeFileSync(
    join(directory, 'appliance.yaml'),
    `dataDir: ${directory}/data\nrunDir: ${directory}/run\nstorage: {osd: [{id: 3, device: ${loop.device}}]}\n`,
  );
  return image;
}
const reset = (...flags: string[]): Promise<string> =>
  must(runSource(['-c', join(directory, 'appliance.yaml'), 'reset', ...flags]));

describe.runIf(usable)('reset --wipe-devices (as root, with loop devices)', () => {
  test("another cluster's disk of the same id survives, and is told by name", async () => {
    const image = await nodeWithDisk(otherFsid);
    const before = readFileSync(image);
    const output = await reset('--yes', '--wipe-devices');
    expect(output).toMatch(new RegExp(`keep +${loop!.device} .*osd\\.3 of cluster ${otherFsid}`));
    expect(output).not.toContain('is blank');
    expect(readFileSync(image).equals(before)).toBe(true);
    expect(existsSync(join(directory, 'data'))).toBe(false);
  });

  test("the node's own is blank afterwards", async () => {
    const image = await nodeWithDisk(ownFsid);
    expect(await reset('--dry-run')).toMatch(new RegExp(`keep +${loop!.device} .*--wipe-devices makes it blank`));
    expect(await reset('--yes', '--wipe-devices')).toContain(`${loop!.device} is blank; it held osd.3`);
    expect(
      readFileSync(image)
        .subarray(0, 4 << 20)
        .equals(Buffer.alloc(4 << 20)),
    ).toBe(true);
  });

  test('a node that knows of no storage cluster wipes no disk', async () => {
    const image = await nodeWithDisk(ownFsid);
    rmSync(join(directory, 'data/ceph/ceph.conf'));
    const before = readFileSync(image);
    expect(await reset('--yes', '--wipe-devices')).toContain('which has no storage cluster yet');
    expect(readFileSync(image).equals(before)).toBe(true);
  });
});
