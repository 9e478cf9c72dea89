import { mkdir, rename, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Config } from '../../config/config.ts';
import type { Paths } from '../../config/paths.ts';
import { containerdCommand, containerdPlaces } from './containerd.ts';

/** Writes containerd's configuration and makes its directories; returns the command line that the supervisor runs. */
export async function prepareContainerd(config: Config, paths: Paths): Promise<string[]> {
  const { argv, files } = containerdCommand(config, paths);
  const places = containerdPlaces(paths);
  for (const dir of [places.root, places.state, places.cniConfDir, places.cniDataDir, dirname(paths.containerdSocket)])
    await mkdir(dir, { recursive: true, mode: 0o711 });
  for (const file of files) {
    await mkdir(dirname(file.path), { recursive: true });
    await writeFile(`${file.path}.new`, file.content, { mode: file.mode });
    await rename(`${file.path}.new`, file.path);
  }
  return argv;
}
