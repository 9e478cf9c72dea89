import { haveRecorded, recordedLines } from '../crush/recorded.testing.ts';
import type { OsdMap } from '../maps/osdmap.ts';
import { decodeOsdMap } from '../maps/osdmap-codec.ts';
import type { UTime } from '../wire/encoding.ts';
import {
  type CompressedUsage,
  emptyPgStat,
  type ObjectSums,
  objectSumFields,
  type OsdStat,
  type PgStat,
  pgStampFields,
  pgStateNames,
  type PoolUsage,
  zeroObjectSums,
  zeroOsdCounters,
} from '../wire/messages/osd_mgr.ts';
import { type EVersion, parsePg } from '../wire/types.ts';
import { ClusterStats } from './cluster-stats.ts';

/** A command of the `ceph` tool with what it wrote. */
export interface RecordedCommand {
  argv: string[];
  format: 'plain' | 'json';
  rc: number;
  stdout: string;
  stderr: string;
}

interface DumpedPg {
  [field: string]: unknown;
  pgid: string;
  stat_sum: Record<string, number>;
}

interface DumpedOsd {
  osd: number;
  seq: number;
  num_pgs: number;
  statfs: Record<string, number>;
  hb_peers: number[];
  snap_trim_queue_len: number;
  perf_stat: { commit_latency_ns: number; apply_latency_ns: number };
}

/** `pg dump -f json`. */
export interface PgDump {
  version: number;
  stamp: string;
  pg_stats: DumpedPg[];
  osd_stats: DumpedOsd[];
  pool_statfs: ({ poolid: number; osd: number } & Record<string, number>)[];
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
}

export function parseTime(text: string): UTime {
  const match = /^(.*)\.(\d{6})\+0000$/.exec(text);
  if (match === null) return { sec: 0, nsec: 0 };
  return { sec: Date.parse(`${match[1]}Z`) / 1000, nsec: Number(match[2]) * 1000 };
}

function eversion(value: unknown): EVersion {
  const [epoch, version] = String(value).split("'");
  return { epoch: Number(epoch), version: Number(version) };
}

function stateBits(text: unknown): number {
  let bits = 0;
  for (const name of String(text).split('+')) bits += pgStateNames.find(([, known]) => known === name)?.[0] ?? 0;
  return bits;
}

function pgOf(dumped: DumpedPg): PgStat {
  const stat = emptyPgStat(parsePg(dumped.pgid)!);
  stat.state = stateBits(dumped.state);
  stat.up = dumped.up as number[];
  stat.acting = dumped.acting as number[];
  stat.upPrimary = dumped.up_primary as number;
  stat.actingPrimary = dumped.acting_primary as number;
  stat.reportedEpoch = dumped.reported_epoch as number;
  stat.reportedSeq = dumped.reported_seq as number;
  stat.version = eversion(dumped.version);
  stat.logStart = eversion(dumped.log_start);
  stat.ondiskLogStart = eversion(dumped.ondisk_log_start);
  stat.logSize = dumped.log_size as number;
  stat.ondiskLogSize = dumped.ondisk_log_size as number;
  stat.createdEpoch = dumped.created as number;
  stat.lastEpochClean = dumped.last_epoch_clean as number;
  stat.mappingEpoch = dumped.mapping_epoch as number;
  stat.lastScrub = eversion(dumped.last_scrub);
  stat.lastDeepScrub = eversion(dumped.last_deep_scrub);
  stat.snaptrimqLen = dumped.snaptrimq_len as number;
  stat.blockedBy = dumped.blocked_by as number[];
  for (const field of pgStampFields) stat[field] = parseTime(String(dumped[snake(field)]));
  stat.sums = sumsOf(dumped.stat_sum);
  return stat;
}

function sumsOf(dumped: Record<string, number>): ObjectSums {
  const sums = zeroObjectSums();
  for (const field of objectSumFields) sums[field] = dumped[`num_${snake(field)}`] ?? dumped[snake(field)] ?? 0;
  return sums;
}

function compressedOf(statfs: Record<string, number>): CompressedUsage {
  const { data_compressed: stored, data_compressed_allocated: allocated, data_compressed_original: original } = statfs;
  return { stored: stored!, allocated: allocated!, original: original! };
}

function osdOf({ statfs, num_pgs, hb_peers, snap_trim_queue_len, perf_stat }: DumpedOsd): OsdStat {
  return {
    totalBytes: statfs.total!,
    availableBytes: statfs.available!,
    dataBytes: statfs.data_stored!,
    allocatedBytes: statfs.allocated!,
    omapBytes: statfs.omap_allocated!,
    metaBytes: statfs.internal_metadata!,
    compressed: compressedOf(statfs),
    pgs: num_pgs,
    primaryPgs: 0,
    commitLatencyMs: perf_stat.commit_latency_ns / 1e6,
    applyLatencyMs: perf_stat.apply_latency_ns / 1e6,
    hbPeers: hb_peers,
    snapTrimQueueLen: snap_trim_queue_len,
    shardsRepaired: 0,
    counters: zeroOsdCounters(),
    pings: [],
    slowOps: { count: 0, oldestSec: 0 },
  };
}

let epochs: Map<number, OsdMap> | undefined;

/** The recorded cluster's OSDMap of an epoch. */
export function recordedMap(epoch: number): OsdMap {
  epochs ??= new Map(
    recordedLines<{ epoch: number; kind: string; hex: string }>('maps/osdmap-c1/all-epochs.jsonl.gz')
      .filter(({ kind }) => kind === 'full')
      .map(({ epoch: e, hex }) => [e, decodeOsdMap(Buffer.from(hex, 'hex'))]),
  );
  return epochs.get(epoch)!;
}

/** A phase of the recordings: what the tool wrote, and statistics that say the same. */
export class RecordedPhase {
  readonly commands: RecordedCommand[];
  readonly dump: PgDump;
  readonly stats: ClusterStats;

  constructor(name: string) {
    this.commands = recordedLines<RecordedCommand>(`commands/${name}.jsonl.gz`);
    this.dump = (JSON.parse(this.output('pg dump', 'json')) as { pg_map: PgDump }).pg_map;
    const { epoch } = JSON.parse(this.output('osd dump', 'json')) as { epoch: number };
    this.stats = makeStats(recordedMap(epoch), this.dump);
  }

  output(command: string, format: 'plain' | 'json'): string {
    return this.find(command, format).stdout.replace(format === 'json' ? /^\n/ : /^(?!)/, '');
  }

  find(command: string, format: 'plain' | 'json'): RecordedCommand {
    const found = this.commands.find((c) => c.argv.slice(1).join(' ') === command && c.format === format);
    if (found === undefined) throw new Error(`'${command}' as ${format} was not recorded`);
    return found;
  }
}

function makeStats(map: OsdMap, dump: PgDump): ClusterStats {
  const stats = new ClusterStats(map);
  const { sec, nsec } = parseTime(dump.stamp);
  stats.applyMap(map, sec * 1000);
  const pgs = dump.pg_stats.map(pgOf);
  for (const osd of dump.osd_stats) {
    const pools = new Map<number, PoolUsage>();
    for (const p of dump.pool_statfs)
      if (p.osd === osd.osd)
        pools.set(p.poolid, {
          dataBytes: p.data_stored!,
          allocatedBytes: p.allocated!,
          omapBytes: p.omap_allocated!,
          compressed: compressedOf(p),
        });
    stats.applyReport({
      fsid: map.fsid,
      osdId: osd.osd,
      epoch: map.epoch,
      // An OSD that is out shows no epoch; its sequence number has it.
      upFrom: Number(BigInt(osd.seq) >> 32n),
      seq: Number(BigInt(osd.seq) & 0xffffffffn),
      osd: osdOf(osd),
      pools,
      pgs: pgs.filter(({ actingPrimary }) => actingPrimary === osd.osd),
    });
  }
  stats.version = dump.version;
  // Half a microsecond more: milliseconds as a double lose the last digit.
  stats.stampMs = sec * 1000 + (nsec + 500) / 1e6;
  return stats;
}

export { haveRecorded };
