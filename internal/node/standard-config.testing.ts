import type { Config } from '../config/config.ts';
import { effectiveConfig } from '../config/load.ts';

/** What a node has whose file says `text` or nothing. Who touches files gives at least `dataDir` and `runDir`. */
export function standardConfig(text = '# all default'): Config {
  return effectiveConfig(text, 'test', { hostname: 'n1', ip: '10.0.0.1', freeBytes: 2 ** 40 });
}
