import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { must, run } from '../e2e/harness.ts';

/** A directory on a file system of its own whose device counts what is written to it, that file system's journal included. */
export interface CountedDirectory {
  readonly path: string;
  /** Bytes since it was made; what waits in memory is written first. */
  written(): Promise<number>;
  remove(): Promise<void>;
}

/** An ext4 on a loop device, mounted at `path`; its image is `image`. Needs root. */
export async function countedDirectory(path: string, image: string): Promise<CountedDirectory> {
  await must(['truncate', '-s', '40G', image]);
  // Its own initialization would go on behind our back for a while otherwise.
  await must(['mkfs.ext4', '-q', '-E', 'lazy_itable_init=0,lazy_journal_init=0', image]);
  const device = (await must(['losetup', '--find', '--show', image])).trim();
  mkdirSync(path, { recursive: true });
  await must(['mount', device, path]);
  rmSync(join(path, 'lost+found'), { recursive: true });
  const sectors = (): number =>
    Number(
      readFileSync(`/sys/block/${device.replace('/dev/', '')}/stat`, 'utf8')
        .trim()
        .split(/\s+/)[6],
    );
  await must(['sync', '-f', path]);
  const before = sectors();
  return {
    path,
    written: async () => {
      await must(['sync', '-f', path]);
      return (sectors() - before) * 512;
    },
    remove: async () => {
      await run(['umount', path]);
      await run(['losetup', '-d', device]);
      rmSync(image, { force: true });
    },
  };
}
