import { open } from 'node:fs/promises';
import { assertBlank } from '../base/blank-system.ts';
import { runCommand } from '../base/command-system.ts';
import { AppError } from '../base/errors.ts';
import { readFileIfThere, removeFileDurably, writeFileAtomic } from '../base/files-system.ts';

interface FileSystem {
  make: readonly string[];
  check?: readonly string[];
  /** Of the first 4 KiB of one that is recognised: true when it was begun and never used, so that nothing is lost by making it again. */
  unused(head: Buffer): boolean;
}

/** The file systems that volumes may have. */
export const fileSystems: Readonly<Record<string, FileSystem>> = {
  ext4: {
    make: ['mkfs.ext4', '-q', '-m0', '-E', 'nodiscard,lazy_itable_init=1,lazy_journal_init=1'],
    check: ['fsck.ext4', '-p'],
    // s_mtime and s_mnt_count of the superblock at 1024: set by the first mount.
    unused: (head) => head.readUInt32LE(1024 + 0x2c) === 0 && head.readUInt16LE(1024 + 0x34) === 0,
  },
  xfs: {
    make: ['mkfs.xfs', '-q', '-K', '-f'],
    // sb_inprogress: cleared by mkfs at its very end.
    unused: (head) => head.readUInt8(126) === 1,
  },
};

/** Says durably that a volume was found blank and is being formatted: a mkfs that was killed leaves neither zeros nor a file system. */
export class FormattingMark {
  readonly #path: string;

  constructor(stateDir: string, id: string) {
    this.#path = `${stateDir}/${id}.formatting`;
  }

  get set(): boolean {
    return readFileIfThere(this.#path) !== undefined;
  }

  put(): void {
    writeFileAtomic(this.#path, 'mkfs was begun and has not ended\n', 0o600);
  }

  clear(): void {
    if (this.set) removeFileDurably(this.#path);
  }
}

/**
 * Makes a file system on a blank device, or checks the one that is there. A device that holds anything else is left as it is (AppError).
 * With the mark of an interrupted mkfs it is made again, unless somebody has used the volume since.
 */
export async function prepareFileSystem(
  device: string,
  fsType: string,
  fileSystem: FileSystem,
  mark: FormattingMark,
): Promise<void> {
  // 2: nothing recognised on the device.
  const { code, stdout } = await runCommand(['blkid', '-p', '-o', 'value', '-s', 'TYPE', device], {
    okCodes: [0, 2],
  });
  const found = stdout.trim();
  if (code === 0 && found !== fsType)
    throw new AppError(
      'FOREIGN_DISK',
      `${device} holds ${found || 'a partition table'}, not ${fsType}: it is left as it is`,
    );
  const begun = mark.set;
  if (code === 2 || (begun && fileSystem.unused(await firstBytes(device)))) {
    if (!begun) {
      await assertBlank(device);
      mark.put();
    }
    await runCommand([...fileSystem.make, device], { timeoutMs: 300_000 });
    await sync(device);
  }
  // 1: errors were corrected.
  else if (fileSystem.check) await runCommand([...fileSystem.check, device], { okCodes: [0, 1], timeoutMs: 300_000 });
  mark.clear();
}

async function firstBytes(device: string): Promise<Buffer> {
  const file = await open(device, 'r');
  try {
    const head = Buffer.alloc(4096);
    const { bytesRead } = await file.read(head, 0, head.length, 0);
    if (bytesRead < head.length) throw new AppError('DISK', `${device} has only ${bytesRead} bytes`);
    return head;
  } finally {
    await file.close();
  }
}

async function sync(device: string): Promise<void> {
  const file = await open(device, 'r+');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}
