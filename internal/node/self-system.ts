import { fileURLToPath } from 'node:url';

/** True inside the compiled executable. */
export const compiled = import.meta.url.includes('/$bunfs/');

/** How this program is started again: the executable itself, or Bun on its source. */
export function selfCommand(): string[] {
  return compiled
    ? [process.execPath]
    : [process.execPath, fileURLToPath(new URL('../../cmd/appliance/main.ts', import.meta.url))];
}
