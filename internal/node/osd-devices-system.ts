import { type DeviceName, deviceNameText } from '../base/block-devices.ts';
import { devicePath } from '../base/block-devices-system.ts';
import { AppError, errorCode, errorText } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { holdsBlueStoreOf, type OwnBlueStore } from '../ceph/engine/bluestore-place-system.ts';
import { holdsFileSystemOf } from '../ceph/osd/disk-owner-system.ts';
import { type OsdConfig, unallocatedOsd } from '../config/config.ts';

export interface OsdNode {
  /** Of its storage cluster; undefined as long as it has none. */
  readonly fsid: string | undefined;
  /** Whether this OSD was given its key on this node before. */
  known(osd: number): boolean;
  readonly log: Pick<Logger, 'warn'>;
  /** With the engine `ceph`: what is known of an OSD's BlueStore. */
  readonly ceph?: ((osd: number) => OwnBlueStore) | undefined;
}

/**
 * Looks at the devices of a node's OSDs before anything starts. One that a new OSD would get and that is not there, is in use or holds anything else is refused: it was named by mistake.
 * Of an OSD that the node has already it is a warning: a disk that died or is late must not keep the node from starting, and the OSD's own process, which looks again,
 * refuses alone. Errors: PREFLIGHT.
 */
export async function checkOsdDevices(osds: readonly OsdConfig[], node: OsdNode): Promise<void> {
  for (const osd of osds)
    if ('device' in osd || 'serial' in osd) {
      const allocated = osd.id !== unallocatedOsd;
      const problem = await deviceProblem(osd, node);
      if (problem === undefined) continue;
      const name = `osd.${allocated ? osd.id : '?'} (${deviceNameText(osd)})`;
      const hint = problem instanceof AppError && problem.hint !== undefined ? { hint: problem.hint } : {};
      if (node.fsid === undefined || !allocated || !node.known(osd.id))
        throw new AppError('PREFLIGHT', `${name}: ${errorText(problem)}`, { cause: problem, ...hint });
      node.log.warn('an OSD cannot start with its disk as it is; the rest of the node can', {
        osd: name,
        problem: errorText(problem),
        ...hint,
      });
    }
}

/** Also what the disk itself answers (EIO of one that dies). */
async function deviceProblem(osd: OsdConfig & DeviceName, { fsid, ceph }: OsdNode): Promise<Error | undefined> {
  try {
    const path = devicePath(osd);
    if (ceph) await holdsBlueStoreOf(path, ceph(osd.id));
    else if (osd.id !== unallocatedOsd) await holdsFileSystemOf(path, { osd: osd.id, fsid });
    return undefined;
  } catch (error) {
    if (!(error instanceof Error) || errorCode(error) === undefined) throw error;
    return error;
  }
}
