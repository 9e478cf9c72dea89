import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { utf8, utf8Text } from '../base/bytes.ts';
import { systemDisk } from '../base/disk-system.ts';
import { type AppError, errorText } from '../base/errors.ts';
import { silentLogger } from '../base/log.ts';
import { systemClock, systemRandom } from '../base/system.ts';
import type { StateFiles } from './state-files.ts';
import { openStateFiles } from './state-files-system.ts';
import { openStore, type StoreOptions } from './store.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'failed-database-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

/** Files whose database takes no batch any more once `failing` says so. */
async function failingFiles(failing: () => boolean): Promise<StateFiles> {
  const files = await openStateFiles({
    ...{
      dir,
      disk: systemDisk,
      random: systemRandom,
      log: silentLogger,
      cacheBytes: 1 << 20,
      writer: 'inline',
      checkpointBytes: 1 << 20,
    },
  });
  const { writer } = files;
  const write = writer.write.bind(writer);
  writer.write = (batch) =>
    failing() ? Promise.reject(new Error('SQLITE_FULL: database or disk is full')) : write(batch);
  return files;
}

test('a database that takes no writes any more ends the store with that reason; the log has everything at the next start', async () => {
  let failing = false;
  const ended: AppError[] = [];
  const options: StoreOptions = {
    ...{ dir, disk: systemDisk, clock: systemClock, random: systemRandom, log: silentLogger },
    segmentBytes: 1 << 20,
    ended: (error) => ended.push(error),
  };
  const store = await openStore({ ...options, openFiles: () => failingFiles(() => failing) });
  await store.put({ key: utf8('a'), value: utf8('1') });
  failing = true;
  await store.put({ key: utf8('a'), value: utf8('2') });
  // Asks for what is written, so that it is.
  await expect(store.hashKv()).rejects.toThrow();
  expect(ended).toHaveLength(1);
  expect(ended[0]).toMatchObject({ code: 'STORE_FAILED' });
  expect(errorText(ended[0])).toContain('database or disk is full');
  await expect(store.range({ key: utf8('a') })).rejects.toMatchObject({ code: 'STORE_FAILED' });
  await store.close();

  const again = await openStore(options);
  expect((await again.range({ key: utf8('a') })).kvs.map(({ value }) => utf8Text(value))).toEqual(['2']);
  await again.close();
});
