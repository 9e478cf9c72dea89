import { truncateSync, writeFileSync } from 'node:fs';
import { must, run } from '../harness.ts';

/** A partition of a disk that the kernel shows a file as. Made by `addpart`: kernels of test machines may know no partition tables. */
export interface TestPartition {
  readonly path: string;
  remove(): Promise<void>;
}

const sectorBytes = 512;
/** As partitioning programs leave before the first. */
const startSectors = 2048;

export async function makePartition(file: string, sizeBytes: number): Promise<TestPartition> {
  writeFileSync(file, '');
  truncateSync(file, sizeBytes + 2 * startSectors * sectorBytes);
  const disk = (await must(['losetup', '-f', '--show', file])).trim();
  await must(['addpart', disk, '1', String(startSectors), String(sizeBytes / sectorBytes)]);
  return {
    path: `${disk}p1`,
    remove: async () => {
      await run(['delpart', disk, '1']);
      await run(['losetup', '-d', disk]);
    },
  };
}
