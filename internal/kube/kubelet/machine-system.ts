import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const capSysResource = 24n;

/** Whether this process may raise limits; without it containerd must not lower OOM scores below its own. */
export function hasCapSysResource(): boolean {
  try {
    const match = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'));
    return ((BigInt(`0x${match?.[1] ?? '0'}`) >> capSysResource) & 1n) === 1n;
  } catch {
    return false;
  }
}

/** The first directory that holds the CNI plug-in `bridge`, else the first one named; containerd takes only one. */
export function cniBinDir(dirs: readonly string[]): string {
  return dirs.find((dir) => existsSync(join(dir, 'bridge'))) ?? dirs[0] ?? '/opt/cni/bin';
}

/** True where the kernel offers the unified hierarchy only (Debian's default). */
export function cgroupV2(): boolean {
  return existsSync('/sys/fs/cgroup/cgroup.controllers');
}
