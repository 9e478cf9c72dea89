import type { Clock, Timer } from '../../base/clock.ts';
import { compareUTime } from '../wire/encoding.ts';
import type { CompressedSums, StoreStatfs } from '../blockstore/api.ts';
import {
  type MPGStats,
  noCompressed,
  type OsdCounters,
  type OsdStat,
  type PeerPingTimes,
  type PgStat,
  type PoolUsage,
  type SlowOps,
} from '../wire/messages/osd_mgr.ts';
import { pgText } from '../wire/types.ts';

/** `mgr_stats_period`. */
const periodMs = 5000;
/** Changes are told after this time, gathered. */
const soonMs = 200;

export interface StatsHost {
  readonly fsid: string;
  readonly osdId: number;
  readonly clock: Clock;
  epoch(): number;
  upFrom(): number;
  /** PGs that this OSD leads. */
  pgs(): PgStat[];
  /** What this OSD holds of every PG, also of those that others lead. */
  held(): Iterable<{ pool: number; bytes: number; omapBytes: number }>;
  pgCount(): number;
  statfs(): StoreStatfs;
  /** What is compressed, by pool. */
  compressed(): ReadonlyMap<number, Readonly<CompressedSums>>;
  latencyMs(): number;
  shardsRepaired(): number;
  counters(): Readonly<OsdCounters>;
  heartbeatPeers(): number[];
  pings(): PeerPingTimes[];
  slowOps(): SlowOps;
  /** False: there is no manager now. */
  send(stats: MPGStats): boolean;
}

function changed(a: PgStat | undefined, b: PgStat): boolean {
  return (
    a === undefined ||
    a.state !== b.state ||
    a.version.version !== b.version.version ||
    a.mappingEpoch !== b.mappingEpoch ||
    a.sums.objectsDegraded !== b.sums.objectsDegraded ||
    a.sums.objectsMisplaced !== b.sums.objectsMisplaced ||
    a.sums.objectsUnfound !== b.sums.objectsUnfound ||
    a.sums.scrubErrors !== b.sums.scrubErrors ||
    compareUTime(a.lastScrubStamp, b.lastScrubStamp) !== 0
  );
}

/** Reports statistics to the manager: all PGs every few seconds and to a new manager, changed ones at once. */
export class StatsReporter {
  readonly #host: StatsHost;
  readonly #sent = new Map<string, PgStat>();
  #sequence = 0;
  #timer: Timer | undefined;
  #soon: Timer | undefined;
  #stopped = false;

  constructor(host: StatsHost) {
    this.#host = host;
  }

  start(): void {
    this.#timer = this.#host.clock.after(periodMs, () => {
      this.report(true);
      if (!this.#stopped) this.start();
    });
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#soon?.cancel();
  }

  soon(): void {
    if (this.#stopped) return;
    this.#soon ??= this.#host.clock.after(soonMs, () => {
      this.#soon = undefined;
      this.report(false);
    });
  }

  /** Sends; gives the report's number. */
  report(all: boolean): number {
    const host = this.#host;
    const pgs = host.pgs();
    const tell = all ? pgs : pgs.filter((stat) => changed(this.#sent.get(pgText(stat.pg)), stat));
    const stats: MPGStats = {
      fsid: host.fsid,
      osdId: host.osdId,
      epoch: host.epoch(),
      upFrom: host.upFrom(),
      seq: ++this.#sequence,
      osd: this.#osdStat(pgs),
      pools: this.#pools(),
      pgs: tell,
    };
    if (!host.send(stats)) return this.#sequence;
    if (all) this.#sent.clear();
    for (const stat of tell) this.#sent.set(pgText(stat.pg), stat);
    return this.#sequence;
  }

  #osdStat(pgs: readonly PgStat[]): OsdStat {
    const fs = this.#host.statfs();
    const latency = this.#host.latencyMs();
    return {
      totalBytes: fs.totalBytes,
      availableBytes: fs.availableBytes,
      dataBytes: fs.dataBytes,
      allocatedBytes: fs.allocatedBytes,
      omapBytes: fs.omapBytes,
      metaBytes: fs.metaBytes,
      compressed: fs.compressed,
      pgs: this.#host.pgCount(),
      primaryPgs: pgs.length,
      commitLatencyMs: latency,
      applyLatencyMs: latency,
      hbPeers: this.#host.heartbeatPeers(),
      snapTrimQueueLen: 0,
      shardsRepaired: this.#host.shardsRepaired(),
      counters: this.#host.counters(),
      pings: this.#host.pings(),
      slowOps: this.#host.slowOps(),
    };
  }

  #pools(): Map<number, PoolUsage> {
    const out = new Map<number, PoolUsage>();
    for (const { pool, bytes, omapBytes } of this.#host.held()) {
      const usage = out.get(pool) ?? { dataBytes: 0, allocatedBytes: 0, omapBytes: 0, compressed: noCompressed };
      usage.dataBytes += bytes;
      usage.allocatedBytes += bytes;
      usage.omapBytes += omapBytes;
      out.set(pool, usage);
    }
    for (const [pool, compressed] of this.#host.compressed()) {
      const usage = out.get(pool);
      if (usage === undefined) continue;
      usage.compressed = compressed;
      // Without compression a byte takes a byte, about.
      usage.allocatedBytes = Math.max(0, usage.allocatedBytes - compressed.original) + compressed.allocated;
    }
    return out;
  }
}
