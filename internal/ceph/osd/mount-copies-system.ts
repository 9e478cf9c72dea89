import { readlinkSync } from 'node:fs';
import { type Clock, sleep } from '../../base/clock.ts';
import { errorText } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { MountEntry } from '../../base/mountinfo.ts';
import { listMounts } from '../../base/mounts-system.ts';

/** Where kubelets and CSI drivers mount volumes, of this appliance or another on the machine. */
const volumePlaces = /\/(kubernetes\.io~csi|kubernetes\.io\/csi|agent\/csi|volume-subpaths)\//;

/** Detaching takes no time; what is written out afterwards does. */
const releaseMs = 5000;

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
 * Each in a child of its own: whoever lets go last of a file system writes it out, perhaps to this very OSD. Resolves when the mounts are no longer listed: mkfs
 * looks at what backs every mounted loop device, and would wait for an image whose cluster waits for this OSD. Does nothing in the namespace
 * of the parent process.
 */
export async function releaseVolumeCopies(directories: readonly string[], clock: Clock, log: Logger): Promise<void> {
  try {
    if (readlinkSync('/proc/self/ns/mnt') === readlinkSync(`/proc/${process.ppid}/ns/mnt`)) return;
    const targets = volumeMounts(listMounts(), directories);
    if (targets.length === 0) return;
    const script = 'for target; do umount --lazy --no-canonicalize "$target" & done; wait';
    Bun.spawn(['sh', '-c', script, 'sh', ...targets], { stdin: 'ignore', stdout: 'ignore', stderr: 'ignore' }).unref();
    const deadlineMs = clock.monotonic() + releaseMs;
    for (;;) {
      await sleep(clock, 20);
      const left = volumeMounts(listMounts(), directories).length;
      if (left === 0) return log.info('let go of the mounts of volumes', { mounts: targets.length });
      if (clock.monotonic() < deadlineMs) continue;
      return log.warn('cannot let go of every mount of a volume', { left, mounts: targets.length });
    }
  } catch (error) {
    log.warn('cannot let go of the mounts of volumes', { error: errorText(error) });
  }
}
