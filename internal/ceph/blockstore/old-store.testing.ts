import { utf8Text } from '../../base/bytes.ts';
import { type MemoryDisk, memoryDisk } from '../../base/disk-memory.ts';
import { seededRandom } from '../../base/random.ts';

/**
 * A store as the last program before compression left it when the power failed (osd.1, 1 MiB, index as a log): files and contents in base64, as JSON, in
 * zstd, in base64. Objects of 1.0: a, 100,000 times 7, with xattr `_` x and the key-value row n: v; b, a clone of it, the first 50,000 bytes 8; in the
 * journal only c, 5,000 times 9 at 100.
 */
const packed = [
  'KLUv/aBLxBYA/AAAoFtbIi9vc2QvZGF0YSIsIkFjSEJ3AgCU6m5OSFUPlmQAAAACAMMtHqIKN66/QHwAACBJQ0FnAgA/9VenW/kACGwAAAACANgwnDH2IHIfAAF0AAAAA0AAbvMg7yN2iPY7EAIAEE',
  'ECABBBAgAQQQIAEEECABBBAgAQQQIAEEECABBBhRkANmZ7IfD0NpIVw1gQOHBbGJ8GTWEM9lb2ub9yIEw08EQ2kc3jAXMAcgByAJRl4aJH7kbc/1Rx6FWLPjYvxE/tRMOrldVURTpl40J4uukQjjg8',
  'c7HLrDbz1qayOHurKp3ZD5pNs4GQ7tElPrNSyYofrIzH19+fraKDpE5hPZyrGoqRro1z9ORB6v5kvFT/U2kGEABCsxNS8NuIggvA4Qj8nMhrSaNK/hJa6sZG9sQU1Ni6kbbwSduIqJWY0OSA6VyT59',
  'GZ6lfpaXr20GrhRHOkyMTWdbQIBAgAHfS6fqXfNrx4W31i4STNxMI/m9rWj5GUIXqhnr+xkj1PY+IwnL9uyLXQKEje9mvj0AtSf19qfzid0jPXVC5XjjIfONdH3+K/qgdR8dCYKurGIaZNKCfeGJRh',
  'jUNzszFGui3r1LZBGoSgp9C7TQdkjuZjiJ25RGVYJUEuEXkvicuuicyuBMbyrg/XQbuY9JmloEQY0HbIdz4mTkRFKkVYPmqUlIKigBKokgOXC8Dh0OS2qLYfJjbjAgtt3hQPhzZhzVCwjhwI0qmSt2',
  'RaxNAt7odkKhp+iIzRq6n7UQTFemt/xYx7bsOmHPWuVnUrpFbVsp/iR2RDbXF/u7Biispfzc1ZIHz/4v1coXlZA4URdl67GdN+6E4hA4CJoMFIaRAzkoKCghQKrQGBHUKOkSma7AbCYkBnn3663x+B',
  'rj0KnPpxPhn0lfrv0j2a9CZut0jfpH1w6gC0HOWuAZLbbXkTmVpniYPXhcjwlCYsCUcHRsVSfWgww43/GG7rtrm3kPUQIsa9+gh8Z2lE58B7e/Cs4UW+hgDsY/YrDfy3qnyZPTrc2NTWbroI+DqiLm',
  'pSjfxWm8IZkA1hv5iSscJPM9d7UNBAq1MiYuU7LPY6FCQbYENyqsmhLdM47z1mnawBpNEwoLYBXgL5CfAQOPglKBMzblmDqKBxk+hAV/xW16UgjBAhgQZpKgxcXxMawDVQ0pdFh2+baPdNvry/ULCu',
  'kECkJzsM9LvLTSm9xZCgY5cmwq5iigmkhQAAEm3Ml3m0s0tZWONCzq0GNSTDRNomMXBE82xVZTax6ocg',
];

export async function storeBeforeCompression(): Promise<MemoryDisk> {
  const text = utf8Text(Bun.zstdDecompressSync(Buffer.from(packed.join(''), 'base64')));
  const disk = memoryDisk({ random: seededRandom(1) });
  for (const dir of ['/osd', '/osd/journal']) await disk.makeDirectory(dir);
  for (const [path, content] of JSON.parse(text) as [string, string][]) {
    const file = await disk.open(path, { create: true, writable: true });
    await file.write([new Uint8Array(Buffer.from(content, 'base64'))], 0);
    await file.datasync();
    await file.close();
  }
  for (const dir of ['/', '/osd', '/osd/journal']) await disk.syncDirectory(dir);
  return disk;
}
