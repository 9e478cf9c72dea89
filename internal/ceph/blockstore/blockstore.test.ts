import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { memoryDisk } from '../../base/disk-memory.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { seededRandom } from '../../base/random.ts';
import type { BlockStore } from './blockstore.ts';
import { objectStoreContract } from './contract.ts';
import { openSqliteIndex } from './index-sqlite-shell.ts';
import { compression, openStore } from './store.testing.ts';

{
  let dir = '';
  let capacityBytes = 0;
  const open = () => openStore(systemDisk, { dir, capacityBytes, openIndex: openSqliteIndex });
  objectStoreContract('block store on a real disk with sqlite', {
    make: (capacity) => {
      dir = mkdtempSync(`${tmpdir()}/blockstore-`);
      capacityBytes = capacity;
      return open();
    },
    reopen: async (store) => {
      await store.close();
      return open();
    },
    dispose: async () => rmSync(dir, { recursive: true }),
  });
}

for (const algorithm of [undefined, 'lz4', 'zstd'] as const) {
  let disk = memoryDisk({ random: seededRandom(1) });
  let capacityBytes = 0;
  const open = async (): Promise<BlockStore> => {
    // A small budget, so that checkpoints happen all the time.
    const store = await openStore(disk, { capacityBytes, memoryBudget: 256 * 1024, journalSegmentBytes: 64 * 1024 });
    if (algorithm !== undefined)
      store.setCompression(new Map([-1, 1, 2].map((pool) => [pool, compression({ mode: 'force', algorithm })])));
    return store;
  };
  const how = algorithm === undefined ? '' : `, all of it compressed with ${algorithm}`;
  objectStoreContract(`block store on a simulated disk${how}`, {
    compresses: algorithm !== undefined,
    make: (capacity) => {
      disk = memoryDisk({ random: seededRandom(2) });
      capacityBytes = capacity;
      return open();
    },
    reopen: async (store) => {
      await store.close();
      return open();
    },
  });
}
