import { readlinkSync } from 'node:fs';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { MountEntry } from '../../base/mountinfo.ts';
import { listMounts } from '../../base/mounts-system.ts';

/** Where kubelets and CSI drivers mount volumes, of this appliance or another on the machine. */
const volumePlaces = /\/(kubernetes\.io~csi|kubernetes\.io\/csi|agent\/csi|volume-subpaths)\//;

/** Targets of volumes' mounts, the innermost first: those below one of `directories` and those where volumes usually are. */
export function volumeMounts(mounts: readonly MountEntry[], directories: readonly string[]): string[] {
  return mounts
    .map((mount) => mount.target)
    .filter((target) => volumePlaces.test(target) || directories.some((one) => target.startsWith(`${one}/`)))
    .reverse();
}

/**
 * A mount namespace begins as a copy of its parent's: an OSD that starts while volumes are mounted has their mounts too, and would keep them
 * mounted after the node has unmounted them. Their data would then not be flushed before what backs them is detached. So the copies are let go.
 * In a child and not waited for: the last one to let go of a file system writes it out, perhaps to this very OSD. Does nothing
 * in the namespace of the parent process.
 */
export function releaseVolumeCopies(directories: readonly string[], log: Logger): void {
  try {
    if (readlinkSync('/proc/self/ns/mnt') === readlinkSync(`/proc/${process.ppid}/ns/mnt`)) return;
    const targets = volumeMounts(listMounts(), directories);
    if (targets.length === 0) return;
    const child = Bun.spawn(['umount', '--lazy', '--no-canonicalize', ...targets], {
      stdin: 'ignore',
      stdout: 'ignore',
      stderr: 'ignore',
    });
    child.unref();
    void child.exited.then((code) =>
      code === 0
        ? log.info('let go of the mounts of volumes', { mounts: targets.length })
        : log.warn('cannot let go of every mount of a volume', { code, mounts: targets.length }),
    );
  } catch (error) {
    log.warn('cannot let go of the mounts of volumes', { error: errorText(error) });
  }
}
