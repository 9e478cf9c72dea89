import type { BlockStore } from '../blockstore/blockstore.ts';
import type { Osd } from './osd.ts';

/** What `ceph tell osd.N perf dump` shows, by logger. `memory`: of the process. */
export function perfCounters(
  osd: Osd,
  store: Pick<BlockStore, 'statfs' | 'status'>,
  memory: object,
): Record<string, unknown> {
  const statfs = store.statfs();
  const status = store.status();
  const { values } = osd.counters;
  const latency = (ops: number, seconds: number): object => ({
    avgcount: ops,
    sum: seconds,
    avgtime: ops > 0 ? seconds / ops : 0,
  });
  return {
    osd: {
      op_wip: osd.opsInFlight,
      op: values.op,
      op_in_bytes: values.opInBytes,
      op_out_bytes: values.opOutBytes,
      op_latency: latency(values.op, values.opSeconds),
      op_r: values.opR,
      op_r_out_bytes: values.opROutBytes,
      op_r_latency: latency(values.opR, values.opRSeconds),
      op_w: values.opW,
      op_w_in_bytes: values.opWInBytes,
      op_w_latency: latency(values.opW, values.opWSeconds),
      op_rw: values.opRw,
      op_rw_in_bytes: values.opRwInBytes,
      op_rw_out_bytes: values.opRwOutBytes,
      op_rw_latency: latency(values.opRw, values.opRwSeconds),
      recovery_ops: values.recoveryOps,
      recovery_bytes: values.recoveryBytes,
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

/** `PERFCOUNTER_U64`. */
const gauge = 2;

/** What `perf schema` shows of the counters: names and kinds, in upstream's shape. */
export function perfSchema(counters: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const [logger, values] of Object.entries(counters)) {
    const shown: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(values as object)) {
      if (typeof value !== 'number') continue;
      const units = /bytes|stored|allocated/.test(name) ? 'bytes' : 'none';
      const kind = { metric_type: 'gauge', value_type: 'integer', description: '', nick: '', priority: 0, units };
      shown[name] = { type: gauge, ...kind };
    }
    out[logger] = shown;
  }
  return out;
}
