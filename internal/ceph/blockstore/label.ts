import { utf8, utf8Text } from '../../base/bytes.ts';
import { crc32c } from '../../base/crc32c.ts';
import { type Disk, readWholeFile, writeWholeFile } from '../../base/disk.ts';
import { AppError } from '../../base/errors.ts';
import { blockBytes } from './api.ts';

const kind = 'appliance blockstore';
const labelVersion = 1;

/** What a store says about itself: a small text file `label` that people can read. */
export interface Label {
  /** Whose store it is, `osd.2 <uuid>` or the like; checked when it is opened. */
  identity: string;
  capacityBytes: number;
  /** Milliseconds since the epoch. */
  created: number;
}

/** The label in the text of its file, which `path` names in errors. Errors: LABEL, VERSION. */
export function parseLabel(text: string, path: string): Label {
  const [line = '', sum = ''] = text.split('\n');
  if (crc32c(utf8(line)).toString(16) !== sum) throw new AppError('LABEL', `${path} is damaged: its checksum is wrong`);
  const found = JSON.parse(line) as Label & { kind: string; version: number; blockBytes: number };
  if (found.kind !== kind) throw new AppError('LABEL', `${path} is not the label of a block store`);
  if (found.version !== labelVersion || found.blockBytes !== blockBytes)
    throw new AppError('VERSION', `${path} has format version ${found.version}; this program knows ${labelVersion}`);
  return { identity: found.identity, capacityBytes: found.capacityBytes, created: found.created };
}

export async function readLabel(disk: Disk, dir: string): Promise<Label | undefined> {
  const path = `${dir}/label`;
  const bytes = await readWholeFile(disk, path);
  return bytes === undefined ? undefined : parseLabel(utf8Text(bytes), path);
}

export async function writeLabel(disk: Disk, dir: string, label: Label): Promise<void> {
  const line = JSON.stringify({ kind, version: labelVersion, blockBytes, ...label });
  await writeWholeFile(disk, `${dir}/label`, utf8(`${line}\n${crc32c(utf8(line)).toString(16)}\n`));
}
