/** One line of /proc/self/mountinfo (proc(5)). */
export interface MountEntry {
  readonly id: number;
  /** `MAJOR:MINOR` of the file system. */
  readonly device: string;
  /** The directory of the file system that is mounted. */
  readonly root: string;
  readonly target: string;
  readonly options: readonly string[];
  readonly type: string;
  readonly source: string;
  /** Options of the file system itself; `ro` or `emergency_ro` here and not in `options` tells of an error. */
  readonly superOptions: readonly string[];
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Entries in mount order: of several at one target the last is the one that is seen. Lines of another form are left out. */
export function parseMountInfo(text: string): MountEntry[] {
  const out: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const split = line.indexOf(' - ');
    if (split < 0) continue;
    const left = line.slice(0, split).split(' ');
    const right = line.slice(split + 3).split(' ');
    if (left.length < 6 || right.length < 3) continue;
    out.push({
      id: Number(left[0]),
      device: left[2]!,
      root: unescapeOctal(left[3]!),
      target: unescapeOctal(left[4]!),
      options: left[5]!.split(','),
      type: right[0]!,
      source: unescapeOctal(right[1]!),
      superOptions: right[2]!.split(','),
    });
  }
  return out;
}

/** The mount that is seen at `target`, if one is. */
export function mountAt(mounts: readonly MountEntry[], target: string): MountEntry | undefined {
  return mounts.findLast((mount) => mount.target === target);
}

/** Mounts at `directory` or below it, in the order in which they have to be undone. */
export function mountsUnder(mounts: readonly MountEntry[], directory: string): MountEntry[] {
  return mounts.filter((m) => m.target === directory || m.target.startsWith(`${directory}/`)).reverse();
}

/** True when the file system turned itself read-only after an I/O error. */
export function failedReadOnly(mount: MountEntry): boolean {
  if (mount.superOptions.includes('emergency_ro') || mount.superOptions.includes('shutdown')) return true;
  return mount.superOptions.includes('ro') && mount.options.includes('rw');
}
