import { readFileSync } from 'node:fs';
import { zstdDecompressSync } from 'node:zlib';
import type { Docs } from '../openapi/texts.ts';
import file from './docs.json.zst' with { type: 'file' };

/** The texts of the types and their fields. They lie compressed in the executable and are read anew each time, so that none stay in memory. */
export function readDocs(): Docs {
  return JSON.parse(zstdDecompressSync(readFileSync(file)).toString()) as Docs;
}
