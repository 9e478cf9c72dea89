import { createHash } from 'node:crypto';
import { AppError } from '../../base/errors.ts';

/** Whose a disk is: decided by what is written on it, for an OSD of the same number may be another cluster's. */

export interface StoreIdentity {
  readonly osd: number;
  /** Of the cluster. */
  readonly fsid: string;
  readonly uuid: string;
}

const identityPattern = /^osd\.(\d+) of cluster (\S+), store (\S+)$/;

/** As a store's label has it. */
export function identityText({ osd, fsid, uuid }: StoreIdentity): string {
  return `osd.${osd} of cluster ${fsid}, store ${uuid}`;
}

/** Undefined for what is no OSD's. */
export function parseIdentity(text: string): StoreIdentity | undefined {
  const match = identityPattern.exec(text);
  return match ? { osd: Number(match[1]), fsid: match[2]!, uuid: match[3]! } : undefined;
}

/** Label of an OSD's file system: at most 16 bytes, so there is no room for the cluster. */
export function volumeLabel(osd: number): string {
  return `osd.${osd}`;
}

/**
 * The UUID that an OSD's file system is made with (RFC 9562, version 8: SHA-256 of a name). It says whose the disk is from the first moment on, before its store has a label, and also while
 * the label is in the file system's journal only.
 */
export function fileSystemUuid(osd: number, fsid: string): string {
  const bytes = createHash('sha256').update(`file system of osd.${osd} of cluster ${fsid}`).digest().subarray(0, 16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return uuidText(bytes);
}

export function uuidText(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString('hex')
    .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** An ext4 file system, as far as it tells who made it. */
export interface FoundFileSystem {
  readonly label: string;
  readonly uuid: string;
  /** What was written last is in its journal only. */
  readonly needsRecovery: boolean;
  /** Of the store in it; undefined when there is none, or none that can be read. */
  readonly identity: string | undefined;
}

/** An OSD of this node. `fsid` is undefined as long as the node has no storage cluster: then no disk can be its own. */
export interface OwnOsd {
  readonly osd: number;
  readonly fsid: string | undefined;
}

const ownText = ({ osd, fsid }: OwnOsd): string =>
  fsid === undefined ? `osd.${osd} of this node, which has no storage cluster yet` : `osd.${osd} of cluster ${fsid}`;

/** Why the store called `identity` is not this OSD's; undefined when it is. */
export function whyForeignStore(path: string, identity: string, own: OwnOsd): AppError | undefined {
  const found = parseIdentity(identity);
  if (found !== undefined && found.osd === own.osd && found.fsid === own.fsid) return undefined;
  return new AppError('FOREIGN_DISK', `${path} holds the store of '${identity}', not of ${ownText(own)}`, {
    hint: 'It is not taken over. Give the disk to its OSD, or wipe it (`appliance osd wipe`) if its data is not needed.',
  });
}

/** Why a file system is not this OSD's; undefined when it is. */
export function whyForeignFileSystem(path: string, found: FoundFileSystem, own: OwnOsd): AppError | undefined {
  const wanted = volumeLabel(own.osd);
  if (found.identity !== undefined) return whyForeignStore(path, found.identity, own);
  if (found.label !== wanted)
    return new AppError('FOREIGN_DISK', `${path} holds a file system labelled '${found.label}', not '${wanted}'`, {
      hint: 'It is not taken over. Give another disk, or wipe this one (`appliance osd wipe`) if its data is not needed.',
    });
  if (own.fsid !== undefined && found.uuid === fileSystemUuid(own.osd, own.fsid)) return undefined;
  return new AppError(
    'FOREIGN_DISK',
    `${path} holds a file system labelled '${wanted}' that does not say of which cluster, so it is not known to be ${ownText(own)}`,
    {
      hint: `It is not taken over. ${
        found.needsRecovery
          ? `It was not unmounted: \`e2fsck -p ${path}\` brings in what its journal has, and then it may say. `
          : ''
      }If its data is not needed, wipe it (\`appliance osd wipe\`).`,
    },
  );
}
