import { stringify } from 'yaml';
import type { OutputFormat } from './command.ts';
import { createProgress, type Progress } from './progress.ts';

/** Prints data as JSON or YAML, or for people as `table` writes it; without one, steps have told them already (`stepsOf`). */
export function print(format: OutputFormat, data: unknown, table?: () => string): void {
  if (format === 'json') console.log(JSON.stringify(data, undefined, 2));
  else if (format === 'yaml') process.stdout.write(stringify(data));
  else if (table) console.log(table());
}

/** The same for what prints again and again: it waits until that is written, and learns when nobody reads any more, which `console.log` keeps to itself; the program ends then (`main.ts`). */
export async function printOn(format: OutputFormat, data: unknown, table: () => string): Promise<void> {
  const text =
    format === 'yaml' ? stringify(data) : `${format === 'json' ? JSON.stringify(data, undefined, 2) : table()}\n`;
  await new Promise<void>((written) => process.stdout.write(text, () => written()));
}

/** What a command that does something tells on its way: standard output when that is for people, else standard error, so that a program reads one document. */
export function stepsOf(format: OutputFormat): Progress {
  return createProgress(format === 'table' ? process.stdout : process.stderr);
}

/** Rows of equal length, the first of them the heads, one below the other. */
export function columns(table: readonly (readonly string[])[]): string {
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  return table
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join('   ')
        .trimEnd(),
    )
    .join('\n');
}
