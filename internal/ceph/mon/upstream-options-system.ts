import { readFileSync } from 'node:fs';
import { zstdDecompressSync } from 'node:zlib';
import type { Option } from './options.ts';
import { parseUpstreamOptions } from './upstream-options.ts';
import file from './upstream-options.tsv.zst' with { type: 'file' };

/** The options of 16.2.15. They lie compressed in the executable and are read anew each time, so that none stay in memory. */
export function readUpstreamOptions(): Option[] {
  return parseUpstreamOptions(zstdDecompressSync(readFileSync(file)).toString());
}
