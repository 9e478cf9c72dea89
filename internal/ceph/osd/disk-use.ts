/** What the disks of a node are for, as `appliance osd list` tells it. */

/** A loop device and the file behind it. */
export interface LoopDevice {
  readonly name: string;
  /** As the kernel writes it: with ` (deleted)` behind it when the file is gone. */
  readonly backingFile: string;
}

/** The loop devices that show a file; a path is compared as the kernel writes it. */
export function loopsOn(file: string, loops: readonly LoopDevice[]): string[] {
  return loops.filter(({ backingFile }) => backingFile === file).map(({ name }) => `/dev/${name}`);
}

/**
 * `running`: an OSD of this node uses it. `stopped`: it holds an OSD of this node that does not run. `adoptable`: an OSD of this cluster that this node does not have.
 * `foreign`: an OSD of another cluster. `unclear`: an OSD that does not say of which cluster. `blank`: nothing but zeros. `missing`: an OSD of this node should be there. `other`: anything else.
 */
export type DiskState = 'running' | 'stopped' | 'adoptable' | 'foreign' | 'unclear' | 'blank' | 'missing' | 'other';

export interface DiskFacts {
  /** The OSD that this node has there by its configuration. */
  readonly configured: number | undefined;
  /** What is on it; undefined: it is not there. */
  readonly holds: /** `daemons`: in the way of the distribution's ceph-osd. */
    | { readonly osd: number; readonly fsid: string | undefined; readonly daemons?: boolean }
    | 'blank'
    | { readonly other: string }
    | undefined;
  /** Who uses it, in words. */
  readonly user: string | undefined;
}

export function diskState(
  { configured, holds, user }: DiskFacts,
  own: string | undefined,
): { state: DiskState; note: string } {
  if (holds === undefined) return { state: 'missing', note: `osd.${configured} should be there` };
  if (holds === 'blank')
    return {
      state: 'blank',
      note: configured === undefined ? 'free' : `osd.${configured} is made there when the node starts`,
    };
  if ('other' in holds) return { state: 'other', note: holds.other };
  const { osd, fsid } = holds;
  if (fsid === undefined)
    return configured === osd
      ? user === undefined
        ? { state: 'stopped', note: 'it does not say of which cluster' }
        : { state: 'running', note: '' }
      : { state: 'unclear', note: 'it does not say of which cluster' };
  if (fsid !== own) return { state: 'foreign', note: `of cluster ${fsid}` };
  if (configured !== osd)
    return {
      state: 'adoptable',
      note: holds.daemons
        ? `storage.osd with id: ${osd} makes it this node’s, if storage.engine is ceph`
        : 'appliance osd adopt makes it this node’s',
    };
  return user === undefined ? { state: 'stopped', note: '' } : { state: 'running', note: '' };
}
