import { defaultScrubOptions, type ScrubOptions } from './scrub-schedule.ts';

/**
 * What an operator can set of an OSD, upstream's options of the same names in snake case with `osd_` before them. All of them act at once. Times are in seconds; where
 * an option has a twin for each kind of disk, 0 means that the twin says it.
 */
export interface OsdOptions extends ScrubOptions {
  /** Silence after which a peer is reported; read leases last for a share of it. */
  heartbeatGrace: number;
  /** Pings come at random moments, so far apart at most. */
  heartbeatInterval: number;
  /** Peers that are pinged at least, where there are so many. */
  heartbeatMinPeers: number;
  /** A connection that is refused is reported at once. */
  fastFailOnConnectionRefused: boolean;
  beaconReportInterval: number;
  /** PGs that recover or backfill at a time. */
  maxBackfills: number;
  /** Objects that are recovered at a time, over all PGs. */
  recoveryMaxActive: number;
  recoveryMaxActiveHdd: number;
  recoveryMaxActiveSsd: number;
  /** What recovery and clients count for, one against the other, while clients have requests under way. */
  recoveryOpPriority: number;
  clientOpPriority: number;
  /** Pause between two objects. */
  recoverySleep: number;
  recoverySleepHdd: number;
  recoverySleepSsd: number;
  /** Between two tries of what waits for room on other disks. */
  recoveryRetryInterval: number;
  backfillRetryInterval: number;
  /** A request that takes longer is slow. */
  opComplaintTime: number;
  opHistorySize: number;
  opHistoryDuration: number;
  opHistorySlowOpSize: number;
  opHistorySlowOpThreshold: number;
  /** Megabytes. */
  maxWriteSize: number;
  /** Entries that the log of a PG keeps, clean and while copies lack something. */
  minPgLogEntries: number;
  maxPgLogEntries: number;
  /** Over all PGs of the OSD. */
  targetPgLogEntriesPerOsd: number;
  /** The disk counts as full from this share on, whatever the mon says. */
  failsafeFullRatio: number;
  /** Share of the grace that read leases last, where the pool does not say. */
  poolDefaultReadLeaseRatio: number;
}

export const defaultOsdOptions: OsdOptions = {
  ...defaultScrubOptions,
  heartbeatGrace: 20,
  heartbeatInterval: 6,
  heartbeatMinPeers: 10,
  fastFailOnConnectionRefused: true,
  beaconReportInterval: 300,
  maxBackfills: 1,
  recoveryMaxActive: 0,
  recoveryMaxActiveHdd: 3,
  recoveryMaxActiveSsd: 10,
  recoveryOpPriority: 3,
  clientOpPriority: 63,
  recoverySleep: 0,
  recoverySleepHdd: 0.1,
  recoverySleepSsd: 0,
  recoveryRetryInterval: 30,
  backfillRetryInterval: 30,
  opComplaintTime: 30,
  opHistorySize: 20,
  opHistoryDuration: 600,
  opHistorySlowOpSize: 20,
  opHistorySlowOpThreshold: 10,
  maxWriteSize: 90,
  minPgLogEntries: 100,
  maxPgLogEntries: 5000,
  targetPgLogEntriesPerOsd: 60_000,
  failsafeFullRatio: 0.97,
  poolDefaultReadLeaseRatio: 0.8,
};

/** `scrubMinInterval` is `osd_scrub_min_interval`. */
export function osdOptionName(field: string): string {
  return `osd_${field.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
}

/** From the configuration; what is not set or cannot be read is the default. */
export function osdOptions(config: ReadonlyMap<string, string>): OsdOptions {
  const out: Record<string, number | boolean> = { ...defaultOsdOptions };
  for (const [field, value] of Object.entries(defaultOsdOptions)) {
    const text = config.get(osdOptionName(field));
    if (text === undefined) continue;
    if (typeof value === 'boolean') out[field] = text === 'true';
    else if (text.trim() !== '' && Number.isFinite(Number(text)) && Number(text) >= 0) out[field] = Number(text);
  }
  return out as unknown as OsdOptions;
}

/** Objects that an OSD recovers at a time, and the pause between two of them. `rotating`: its disk has moving parts. `busy`: clients have requests under way. */
export function recoveryPace(
  options: OsdOptions,
  { rotating, busy }: { rotating: boolean; busy: boolean },
): { maxActive: number; sleepMs: number } {
  const own = rotating ? options.recoveryMaxActiveHdd : options.recoveryMaxActiveSsd;
  const sleep = rotating ? options.recoverySleepHdd : options.recoverySleepSsd;
  const { recoveryOpPriority, clientOpPriority } = options;
  const share = busy ? recoveryOpPriority / Math.max(1, recoveryOpPriority + clientOpPriority) : 1;
  return {
    maxActive: Math.max(1, Math.round((options.recoveryMaxActive || own) * share)),
    sleepMs: (options.recoverySleep || sleep) * 1000,
  };
}

/** How long read leases last where the pool does not say. */
export function configuredLeaseMs(options: OsdOptions): number {
  const { heartbeatGrace, poolDefaultReadLeaseRatio } = options;
  const d = defaultOsdOptions;
  return (poolDefaultReadLeaseRatio || d.poolDefaultReadLeaseRatio) * (heartbeatGrace || d.heartbeatGrace) * 1000;
}

/** How many entries the log of a PG keeps, of an OSD with so many PGs: of a clean one few, else enough that copies that come back need not be backfilled. */
export function pgLogLimits(options: OsdOptions, pgs: number): { clean: number; degraded: number } {
  const { minPgLogEntries: least, maxPgLogEntries: most } = options;
  const share = Math.floor(options.targetPgLogEntriesPerOsd / Math.max(1, pgs));
  const within = (low: number, high: number): number => Math.max(low, Math.min(high, share));
  return { clean: within(least, Math.max(least, most / 10)), degraded: within(Math.max(least, 250), most) };
}
