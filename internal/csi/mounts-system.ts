import { readFileSync } from 'node:fs';

export interface Mount {
  source: string;
  target: string;
  type: string;
  root: string;
  /** `MAJOR:MINOR` of the file system. */
  device: string;
}

function octalText(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_all, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The mounts of this process's namespace, in mount order (proc(5), mountinfo). */
export function listMounts(): Mount[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [left, right] = line.split(' - ') as [string, string];
      const fields = left.split(' ');
      const [type, source] = right.split(' ') as [string, string];
      return {
        device: fields[2]!,
        root: octalText(fields[3]!),
        target: octalText(fields[4]!),
        type,
        source: octalText(source),
      };
    });
}

export function mountsAt(target: string): Mount[] {
  return listMounts().filter((mount) => mount.target === target);
}
