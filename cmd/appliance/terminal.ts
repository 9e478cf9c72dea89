import type { WriteStream } from 'node:tty';

/** What a stream may be given: a line that is redrawn, and colours. NO_COLOR (no-color.org) switches the latter off. */
export function terminal(out: WriteStream): { live: boolean; color: boolean } {
  const live = out.isTTY === true && process.env.TERM !== 'dumb';
  return { live, color: live && !process.env.NO_COLOR };
}

/** Rows as columns of equal width, three spaces apart, headings first. */
export function formatTable(headings: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [headings, ...rows];
  const widths = headings.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('   ')
        .trimEnd(),
    )
    .join('\n');
}
