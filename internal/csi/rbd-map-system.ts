import { closeSync, existsSync, openSync, readFileSync, rmSync, statSync } from 'node:fs';
import { AppError, errorCode } from '../base/errors.ts';
import { makeDirectory, writeFileAtomic } from '../base/files-system.ts';
import { attachLoop } from '../base/loop-system.ts';
import type { Logger } from '../base/log.ts';
import { runCommand } from '../base/command-system.ts';
import { mountsAt } from '../base/mounts-system.ts';

/** An image to attach and the credentials to do it with. */
export interface RbdImage {
  cephConf: string;
  pool: string;
  image: string;
  userId: string;
  userKey: string;
}

/** How an image was attached; kept on disk so that any later process can detach it. */
export type Mapping =
  | { kind: 'krbd'; device: string }
  /** An rbd-fuse process serves the pool's images as files at `mountpoint`; a loop device stands on the one of `image`. */
  | { kind: 'fuse'; device: string; mountpoint: string; pid: number; image: string };

const mapTimeoutMs = 60_000;

/** True when the kernel has the rbd client, loading its module if there is one. */
async function kernelHasRbd(): Promise<boolean> {
  if (existsSync('/sys/bus/rbd')) return true;
  try {
    await runCommand(['modprobe', 'rbd'], { timeoutMs: 10_000 });
  } catch {
    return false;
  }
  return existsSync('/sys/bus/rbd');
}

/** Attaches an image as a block device. `directory` (0700) is for this mapping alone. */
export async function mapImage(image: RbdImage, directory: string, log: Logger): Promise<Mapping> {
  makeDirectory(directory);
  const keyring = `${directory}/keyring`;
  writeFileAtomic(keyring, `[client.${image.userId}]\n\tkey = ${image.userKey}\n`, 0o600);
  if (await kernelHasRbd()) {
    const { stdout } = await runCommand(
      [
        'rbd',
        '-c',
        image.cephConf,
        '--id',
        image.userId,
        '--keyring',
        keyring,
        'device',
        'map',
        '-o',
        'ms_mode=prefer-crc',
        `${image.pool}/${image.image}`,
      ],
      { timeoutMs: mapTimeoutMs },
    );
    return { kind: 'krbd', device: stdout.trim() };
  }
  return mapByFuse(image, directory, keyring, log);
}

async function mapByFuse(image: RbdImage, directory: string, keyring: string, log: Logger): Promise<Mapping> {
  const mountpoint = `${directory}/pool`;
  makeDirectory(mountpoint);
  const output = openSync(`${directory}/rbd-fuse.log`, 'a', 0o600);
  // No death signal and a session of its own: it backs a mounted volume and outlives this process. Without librbd's cache every
  // write that it acknowledged is on the OSDs' disks, and it needs no memory for it; the page cache above does the buffering.
  const child = Bun.spawn(['setsid', 'rbd-fuse', '-f', '-c', image.cephConf, '-p', image.pool, mountpoint], {
    stdin: 'ignore',
    stdout: output,
    stderr: output,
    env: {
      PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
      CEPH_ARGS: `--id ${image.userId} --keyring ${keyring} --rbd_cache=false`,
    },
  });
  closeSync(output);
  child.unref();
  const file = `${mountpoint}/${image.image}`;
  const deadline = performance.now() + mapTimeoutMs;
  for (;;) {
    if (child.exitCode !== null || child.signalCode !== null) {
      const words = readFileSync(`${directory}/rbd-fuse.log`, 'utf8').trim().split('\n').slice(-2).join('; ');
      throw new AppError(
        'RBD_FUSE',
        `rbd-fuse for ${image.pool}/${image.image} ended: ${words || `exit ${child.exitCode}`}`,
      );
    }
    if (mountsAt(mountpoint).length > 0 && fileIsThere(file)) break;
    if (performance.now() > deadline) {
      child.kill('SIGKILL');
      await detach(['umount', '-l', mountpoint]);
      throw new AppError(
        'RBD_FUSE',
        `rbd-fuse did not show ${image.pool}/${image.image} within ${mapTimeoutMs / 1000} s`,
      );
    }
    await Bun.sleep(50);
  }
  const { device, hold } = attachLoop(file, { autoclear: false });
  hold.close();
  log.info('attached', { pool: image.pool, image: image.image, device, pid: child.pid });
  return { kind: 'fuse', device, mountpoint, pid: child.pid, image: image.image };
}

function fileIsThere(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    return false;
  }
}

/** True when the device still has what backs it. */
export function mappingAlive(mapping: Mapping): boolean {
  if (mapping.kind === 'krbd') return existsSync(mapping.device);
  return processServes(mapping) && mountsAt(mapping.mountpoint).length > 0;
}

function processServes(mapping: Extract<Mapping, { kind: 'fuse' }>): boolean {
  try {
    return readFileSync(`/proc/${mapping.pid}/cmdline`, 'utf8').includes(mapping.mountpoint);
  } catch {
    return false;
  }
}

async function detach(argv: readonly string[]): Promise<boolean> {
  try {
    await runCommand(argv, { timeoutMs: 30_000 });
    return true;
  } catch {
    return false;
  }
}

/** Detaches; also when what backed the device is dead. `directory` is removed with the credentials in it. */
export async function unmapImage(mapping: Mapping, directory: string): Promise<void> {
  if (mapping.kind === 'krbd') {
    await runCommand(['rbd', 'device', 'unmap', mapping.device], { timeoutMs: mapTimeoutMs });
  } else {
    if (loopBacking(mapping.device)?.startsWith(`${mapping.mountpoint}/`))
      await detach(['losetup', '-d', mapping.device]);
    if (mountsAt(mapping.mountpoint).length > 0 && !(await detach(['umount', mapping.mountpoint])))
      await detach(['umount', '-l', mapping.mountpoint]);
    for (let waited = 0; processServes(mapping); waited += 50) {
      if (waited === 5000) process.kill(mapping.pid, 'SIGTERM');
      if (waited >= 10_000) {
        process.kill(mapping.pid, 'SIGKILL');
        break;
      }
      await Bun.sleep(50);
    }
  }
  rmSync(directory, { recursive: true, force: true });
}

/** The file behind a loop device, undefined when it is free. */
function loopBacking(device: string): string | undefined {
  try {
    return readFileSync(`/sys/block/${device.replace('/dev/', '')}/loop/backing_file`, 'utf8').trim();
  } catch {
    return undefined;
  }
}
