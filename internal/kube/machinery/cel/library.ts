import type { Environment } from '@marcbachmann/cel-js';
import { registerAddresses } from './library-addresses.ts';
import { registerLists } from './library-lists.ts';
import { registerQuantities } from './library-quantities.ts';
import { registerStrings } from './library-strings.ts';
import { registerUrls } from './library-urls.ts';

/** The functions that Kubernetes adds to CEL (docs: reference/using-api/cel, "Kubernetes CEL libraries"). */
export function registerLibrary(environment: Environment): void {
  registerStrings(environment);
  registerLists(environment);
  registerQuantities(environment);
  registerUrls(environment);
  registerAddresses(environment);
}
