import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { memoryDisk } from '../../base/disk-memory.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import { systemClock } from '../../base/system.ts';
import type { CompressionPolicy } from './api.ts';
import { type BlockStore, openBlockStore } from './blockstore.ts';
import { objectStoreContract } from './contract.ts';
import { openLogIndex } from './index-log.ts';
import { openSqliteIndex } from './index-sqlite-shell.ts';

const common = { clock: systemClock, log: silentLogger, hostReserveBytes: 0, journalSegmentBytes: 1024 * 1024 };

{
  let dir = '';
  let capacityBytes = 0;
  const open = () => openBlockStore({ ...common, disk: systemDisk, dir, capacityBytes, openIndex: openSqliteIndex });
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

{
  let disk = memoryDisk({ random: seededRandom(1) });
  let capacityBytes = 0;
  // A small budget, so that checkpoints happen all the time.
  const open = () =>
    openBlockStore({
      ...common,
      disk,
      dir: '/osd',
      capacityBytes,
      openIndex: openLogIndex,
      memoryBudget: 256 * 1024,
      journalSegmentBytes: 64 * 1024,
    });
  objectStoreContract('block store on a simulated disk', {
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

for (const algorithm of ['lz4', 'zstd'] as const) {
  let disk = memoryDisk({ random: seededRandom(1) });
  let capacityBytes = 0;
  const policy: CompressionPolicy = {
    mode: 'force',
    algorithm,
    requiredRatio: 0.875,
    minBlobBytes: 8192,
    maxBlobBytes: 65536,
  };
  const open = async (): Promise<BlockStore> => {
    const store = await openBlockStore({
      ...common,
      disk,
      dir: '/osd',
      capacityBytes,
      openIndex: openLogIndex,
      memoryBudget: 256 * 1024,
      journalSegmentBytes: 64 * 1024,
    });
    store.setCompression(new Map([-1, 1, 2].map((pool) => [pool, policy])));
    return store;
  };
  objectStoreContract(`block store on a simulated disk, all of it compressed with ${algorithm}`, {
    compresses: true,
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
