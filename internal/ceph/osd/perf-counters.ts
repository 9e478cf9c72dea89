import type { BlockStore } from '../blockstore/blockstore.ts';
import type { Osd } from './osd.ts';

/** What `ceph tell osd.N perf dump` shows, by logger. `memory`: of the process. */
export function perfCounters(osd: Osd, store: BlockStore, memory: object): Record<string, unknown> {
  const statfs = store.statfs();
  const status = store.status();
  return {
    osd: {
      op_in_flight: osd.opsInFlight,
      numpg: osd.pgs.size,
      replica_read: osd.replicaReads.asked,
      replica_read_served: osd.replicaReads.served,
      replica_read_redirect_missing: osd.replicaReads.missing,
      replica_read_redirect_conflict: osd.replicaReads.conflict,
      commit_latency_ms: osd.commitLatencyMs,
      stat_bytes: statfs.totalBytes,
      stat_bytes_avail: statfs.availableBytes,
    },
    // The counters of upstream's store that this one has, too, by the same names.
    bluestore: {
      bluestore_allocated: statfs.allocatedBytes,
      bluestore_stored: statfs.dataBytes,
      bluestore_compressed: statfs.compressed.stored,
      bluestore_compressed_allocated: statfs.compressed.allocated,
      bluestore_compressed_original: statfs.compressed.original,
      ...status.compression,
    },
    store: status,
    process: memory,
  };
}
