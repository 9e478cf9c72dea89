import { utf8, utf8Text } from '../base/bytes.ts';
import { type Disk, readWholeFile, writeWholeFile } from '../base/disk.ts';
import type { Random } from '../base/random.ts';
import { StoreDamagedError } from './errors.ts';

/** Which cluster a store belongs to and which member of it this is: random 53-bit numbers (`raftId`), never 0. */
export interface Identity {
  clusterId: bigint;
  memberId: bigint;
}

const formatVersion = 1;

export function randomId(random: Random): bigint {
  for (;;) {
    const id = (BigInt(random.uint32() & 0x1f_ffff) << 32n) | BigInt(random.uint32());
    if (id !== 0n) return id;
  }
}

/**
 * The identity of the store in `dir`; made and kept in `identity.json` when there is none: `given`, and random what that does not say. `given` without a
 * cluster: a new cluster for this member.
 */
export async function loadIdentity(
  disk: Disk,
  dir: string,
  random: Random,
  given: Partial<Identity> = {},
): Promise<Identity> {
  const path = `${dir}/identity.json`;
  const found = await readIdentity(disk, dir);
  if (found === undefined || (given.memberId !== undefined && given.clusterId === undefined)) {
    const identity = { clusterId: randomId(random), memberId: randomId(random), ...given };
    const text = {
      version: formatVersion,
      clusterId: identity.clusterId.toString(16),
      memberId: identity.memberId.toString(16),
    };
    await writeWholeFile(disk, path, utf8(`${JSON.stringify(text)}\n`));
    return identity;
  }
  return found;
}

/** The identity that is kept in `dir`; undefined when there is none. StoreDamagedError when it cannot be read. */
export async function readIdentity(disk: Disk, dir: string): Promise<Identity | undefined> {
  const bytes = await readWholeFile(disk, `${dir}/identity.json`);
  if (bytes === undefined) return undefined;
  try {
    const { version, clusterId, memberId } = JSON.parse(utf8Text(bytes)) as Record<string, unknown>;
    if (version !== formatVersion)
      throw new Error(`it has format ${String(version)}, this version reads ${formatVersion}`);
    const id = (text: unknown): bigint => {
      if (typeof text !== 'string' || !/^[0-9a-f]{1,16}$/.test(text))
        throw new Error('an id is not a hexadecimal number');
      return BigInt(`0x${text}`);
    };
    return { clusterId: id(clusterId), memberId: id(memberId) };
  } catch (error) {
    throw new StoreDamagedError(dir, `identity.json: ${(error as Error).message}`);
  }
}
