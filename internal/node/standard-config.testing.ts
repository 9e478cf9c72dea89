import type { Config } from '../config/config.ts';
import { effectiveConfig } from '../config/load.ts';

/** What a node has whose file says nothing. */
export function standardConfig(): Config {
  return effectiveConfig('', 'test', { hostname: 'n1', ip: '10.0.0.1', freeBytes: 2 ** 40 });
}
