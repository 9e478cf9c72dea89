import { type FileHandle, open } from 'node:fs/promises';
import { constants, readFileSync } from 'node:fs';
import { runCommand } from './command-system.ts';
import { AppError } from './errors.ts';

/** How much must be zeros before a file system is made: every superblock that is at the beginning begins in the first part … */
const headBytes = 4 << 20;
/** … and copies of partition tables, RAID and volume-manager labels are in the last. */
const tailBytes = 1 << 20;
const pieceBytes = 1 << 20;

/** Size of a regular file or block device; AppError DISK for anything else. */
async function sizeOf(file: FileHandle, path: string): Promise<{ size: number; block: boolean }> {
  const info = await file.stat();
  if (info.isFile()) return { size: info.size, block: false };
  if (!info.isBlockDevice()) throw new AppError('DISK', `${path} is neither a file nor a block device`);
  // glibc's makedev(3) for numbers that fit 32 bits; sysfs counts in sectors of 512 bytes whatever the device's are.
  const major = (info.rdev >> 8) & 0xfff;
  const minor = (info.rdev & 0xff) | ((info.rdev >> 12) & 0xfff00);
  const sectors = Number(readFileSync(`/sys/dev/block/${major}:${minor}/size`, 'utf8').trim());
  return { size: sectors * 512, block: true };
}

async function zeros(file: FileHandle, path: string, from: number, to: number): Promise<boolean> {
  const piece = Buffer.alloc(pieceBytes);
  for (let at = from; at < to; ) {
    const { bytesRead } = await file.read(piece, 0, Math.min(piece.length, to - at), at);
    if (bytesRead === 0)
      throw new AppError('DISK', `${path} ends at byte ${at} and should have ${to}: it is left as it is`);
    if (piece.subarray(0, bytesRead).some((byte) => byte !== 0)) return false;
    at += bytesRead;
  }
  return true;
}

/**
 * Why a file or block device cannot be taken for a new one; undefined when it can: zeros in its first 4 MiB and its last MiB, and of a device
 * also blkid says that it recognises nothing (which it says of what it cannot read, too: hence the zeros). Throws when it cannot be read whole.
 */
export async function whyNotBlank(path: string): Promise<string | undefined> {
  const file = await open(path, 'r');
  try {
    const { size, block } = await sizeOf(file, path);
    if (!(size > 0)) throw new AppError('DISK', `${path} has no size: it is left as it is`);
    const head = Math.min(headBytes, size);
    if (!(await zeros(file, path, 0, head))) return `its first ${head} bytes are not all zeros`;
    if (!(await zeros(file, path, Math.max(head, size - tailBytes), size))) return 'its last bytes are not all zeros';
    if (!block) return undefined;
    // 2: nothing recognised. 8: more than one thing is.
    const { code, stdout } = await runCommand(['blkid', '-p', '-o', 'export', path], { okCodes: [0, 2, 8] });
    return code === 2 ? undefined : `blkid finds something on it: ${stdout.trim().replaceAll('\n', ' ')}`;
  } finally {
    await file.close();
  }
}

/** Throws AppError NOT_BLANK when `path` may hold data; see `whyNotBlank`. */
export async function assertBlank(path: string): Promise<void> {
  const reason = await whyNotBlank(path);
  if (reason !== undefined)
    throw new AppError('NOT_BLANK', `${path} may hold data (${reason}): it is left as it is`, {
      hint: 'Wipe it (blkdiscard, or zeros over its first 4 MiB and its last) if its data is not needed.',
    });
}

/** Makes a file or block device one that `whyNotBlank` takes for a new one: zeros over its beginning and end, on disk when it returns. */
export async function makeBlank(path: string): Promise<void> {
  // O_EXCL: the kernel refuses a device that is mounted, wherever it is, with EBUSY (open(2)). Of a file it means nothing without O_CREAT.
  const file = await open(path, constants.O_RDWR | constants.O_EXCL);
  try {
    const { size } = await sizeOf(file, path);
    const zeroed = async (from: number, to: number): Promise<void> => {
      const piece = Buffer.alloc(pieceBytes);
      for (let at = from; at < to; )
        at += (await file.write(piece, 0, Math.min(piece.length, to - at), at)).bytesWritten;
    };
    await zeroed(0, Math.min(headBytes, size));
    await zeroed(Math.max(0, size - tailBytes), size);
    await file.sync();
  } finally {
    await file.close();
  }
}
