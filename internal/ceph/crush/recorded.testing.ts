import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';

/** Facts recorded from a real Ceph 16.2.15, kept beside the checkout. */
const root = new URL('../../../../shared/data/ceph-16.2.15/', import.meta.url).pathname;

export const haveRecorded = existsSync(root);

/** Names of the files in a folder of the recordings. */
export function recordedNames(folder: string): string[] {
  return existsSync(root + folder) ? readdirSync(root + folder).sort() : [];
}

export function recordedBytes(path: string): Uint8Array {
  const bytes = readFileSync(root + path);
  return path.endsWith('.gz') ? gunzipSync(bytes) : bytes;
}

export function recordedText(path: string): string {
  return Buffer.from(recordedBytes(path)).toString('utf8');
}

export function recordedJson<T>(path: string): T {
  return JSON.parse(recordedText(path)) as T;
}

export function recordedLines<T>(path: string): T[] {
  return recordedText(path)
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as T);
}
