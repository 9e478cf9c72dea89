import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { memoryDisk } from '../../base/disk-memory.ts';
import { systemDisk } from '../../base/disk-system.ts';
import { silentLogger } from '../../base/log.ts';
import { seededRandom } from '../../base/random.ts';
import { systemClock } from '../../base/system.ts';
import { openBlockStore } from './blockstore.ts';
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
