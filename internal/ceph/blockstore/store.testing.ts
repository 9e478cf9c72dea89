import type { Disk } from '../../base/disk.ts';
import { silentLogger } from '../../base/log.ts';
import { systemClock } from '../../base/system.ts';
import type { CompressionPolicy } from './api.ts';
import { type BlockStore, type BlockStoreOptions, openBlockStore } from './blockstore.ts';
import { openLogIndex } from './index-log.ts';

/** Of a store that tests make, unless they say otherwise. */
export const capacityBytes = 8 * 1024 * 1024;

/** Of a small store on a simulated disk. */
export const storeOptions = (disk: Disk, more: Partial<BlockStoreOptions> = {}): BlockStoreOptions => ({
  disk,
  dir: '/osd',
  clock: systemClock,
  log: silentLogger,
  openIndex: openLogIndex,
  capacityBytes,
  hostReserveBytes: 0,
  journalSegmentBytes: 1024 * 1024,
  ...more,
});

export const openStore = (disk: Disk, more?: Partial<BlockStoreOptions>): Promise<BlockStore> =>
  openBlockStore(storeOptions(disk, more));

/** Ceph's defaults for what is small, but for what `more` says. */
export const compression = (more: Partial<CompressionPolicy> = {}): CompressionPolicy => ({
  mode: 'aggressive',
  algorithm: 'lz4',
  requiredRatio: 0.875,
  minBlobBytes: 8192,
  maxBlobBytes: 65536,
  ...more,
});
