import { stringify } from 'yaml';
import type { OutputFormat } from './command.ts';

/** Prints data as JSON or YAML, or for people as `table` writes it. */
export function print(format: OutputFormat, data: unknown, table: () => string): void {
  if (format === 'json') console.log(JSON.stringify(data, undefined, 2));
  else if (format === 'yaml') process.stdout.write(stringify(data));
  else console.log(table());
}
