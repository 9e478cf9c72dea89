/**
 * What the mgr tells the mon: MMgrBeacon and MMonMgrReport, upstream's type numbers with our own bodies. The report is the digest of everything that
 * OSDs report (`PGMapDigest`, `src/mon/PGMap.h`): enough for `ceph -s`, `ceph df`, health, MStatfs and MGetPoolStats.
 */
import type { Decoder, Encoder, UTime } from '../encoding.ts';
import { frontCodec } from '../message.ts';
import { decodeAddrVec, type EntityAddrVec, encodeAddrVec } from '../types.ts';
import {
  type CompressedUsage,
  decodeCompressedInto,
  decodeObjectSums,
  encodeCompressedOf,
  encodeObjectSums,
  noCompressed,
  type ObjectSums,
  zeroObjectSums,
} from './osd_mgr.ts';

/** Sent every `mgr_beacon_period` (2 s) and at once on change. */
export interface MMgrBeaconValue {
  fsid: string;
  gid: bigint;
  /** `a` of mgr.a. */
  name: string;
  addrs: EntityAddrVec;
  /** Serves commands: it is active and has a complete view. */
  available: boolean;
  features: bigint;
  /** What `ceph mgr metadata` shows. */
  metadata: ReadonlyMap<string, string>;
  /** Modules it can run. */
  modules: readonly string[];
  /** Its own client connections, to be blocklisted when it is failed: name and address. */
  clients: readonly { name: string; addrs: EntityAddrVec }[];
  /** Where it serves what, by name: `prometheus`, `http://10.0.0.1:9283/`. */
  services: ReadonlyMap<string, string>;
}

export const MMgrBeacon = frontCodec<MMgrBeaconValue>(
  { type: 0x703, name: 'MMgrBeacon', version: 1, compat: 1 },
  (e, m) => {
    e.struct(2, 1, () => {
      e.uuid(m.fsid).u64b(m.gid).string(m.name);
      encodeAddrVec(e, m.addrs);
      e.bool(m.available).u64b(m.features).stringStringMap(m.metadata);
      e.list(m.modules, (x, name) => x.string(name));
      e.list(m.clients, (x, client) => {
        x.string(client.name);
        encodeAddrVec(x, client.addrs);
      });
      e.stringStringMap(m.services);
    });
  },
  (d) =>
    d.struct('MMgrBeacon', 2, (_d, version) => ({
      fsid: d.uuid(),
      gid: d.u64b(),
      name: d.string(),
      addrs: decodeAddrVec(d),
      available: d.bool(),
      features: d.u64b(),
      metadata: d.stringStringMap(),
      modules: d.stringList(),
      clients: d.list((x) => ({ name: x.string(), addrs: decodeAddrVec(x) }), 9),
      services: version < 2 ? new Map<string, string>() : d.stringStringMap(),
    })),
);

/** Work per second over the last seconds; what clients do and what recovery does. */
export interface IoRates {
  readBytes: number;
  writeBytes: number;
  readOps: number;
  writeOps: number;
  recoveringBytes: number;
  recoveringObjects: number;
  recoveringKeys: number;
}

export const zeroRates: IoRates = Object.freeze({
  readBytes: 0,
  writeBytes: 0,
  readOps: 0,
  writeOps: 0,
  recoveringBytes: 0,
  recoveringObjects: 0,
  recoveringKeys: 0,
});

/** One pool: sums over its PGs and what its copies take on disks. */
export interface PoolDigest {
  sums: ObjectSums;
  logSize: number;
  ondiskLogSize: number;
  /** Sum of the up and of the acting sets' sizes over the PGs. */
  up: number;
  acting: number;
  pgs: number;
  /** Over all OSDs, replicas included. */
  dataBytes: number;
  allocatedBytes: number;
  omapBytes: number;
  compressed: CompressedUsage;
  /** OSDs that reported this pool. */
  storeReports: number;
  /** Bytes that can still be written (`MAX AVAIL`), replication taken off. */
  maxAvailBytes: number;
  rates: IoRates;
}

/** Space of OSDs, in bytes. */
export interface SpaceDigest {
  totalBytes: number;
  availableBytes: number;
  dataBytes: number;
  allocatedBytes: number;
  omapBytes: number;
  metaBytes: number;
}

/** Of nothing. */
export function zeroSpace(): SpaceDigest {
  return { totalBytes: 0, availableBytes: 0, dataBytes: 0, allocatedBytes: 0, omapBytes: 0, metaBytes: 0 };
}

/** Of a pool that nothing is known of. */
export function emptyPoolDigest(): PoolDigest {
  return {
    sums: zeroObjectSums(),
    logSize: 0,
    ondiskLogSize: 0,
    up: 0,
    acting: 0,
    pgs: 0,
    dataBytes: 0,
    allocatedBytes: 0,
    omapBytes: 0,
    compressed: { ...noCompressed },
    storeReports: 0,
    maxAvailBytes: 0,
    rates: zeroRates,
  };
}

export interface OsdDigest extends SpaceDigest {
  pgs: number;
  primaryPgs: number;
  commitLatencyMs: number;
  applyLatencyMs: number;
  /** Sequence of its newest report, as `osd last-stat-seq` shows it: up_from * 2^32 + seq. */
  statSeq: bigint;
}

/** A health check as the mgr raises it (`health_check_t`). */
export interface HealthCheckDigest {
  code: string;
  severity: 'HEALTH_WARN' | 'HEALTH_ERR';
  summary: string;
  count: number;
  detail: readonly string[];
}

/** An item of `ceph -s` `progress:`. */
export interface ProgressDigest {
  id: string;
  message: string;
  /** 0..1. */
  progress: number;
}

export interface MMonMgrReportValue {
  fsid: string;
  gid: bigint;
  /** Counts up with every report. */
  version: number;
  stamp: UTime;
  /** Epoch of the OSDMap that it was made with. */
  osdmapEpoch: number;
  pools: ReadonlyMap<number, PoolDigest>;
  osds: ReadonlyMap<number, OsdDigest>;
  /** All OSDs together. */
  space: SpaceDigest;
  /** By device class, OSDs without one under ''. */
  spaceByClass: ReadonlyMap<string, SpaceDigest>;
  /** PGs by their state bits (0: unknown). */
  pgsByState: ReadonlyMap<number, number>;
  pgs: number;
  pgsActive: number;
  pgsUnknown: number;
  sums: ObjectSums;
  rates: IoRates;
  checks: readonly HealthCheckDigest[];
  progress: readonly ProgressDigest[];
  /** Encoded ServiceMap when it changed; empty otherwise. */
  serviceMap: Uint8Array;
}

function encodeSpace(e: Encoder, s: SpaceDigest): void {
  e.u64(s.totalBytes).u64(s.availableBytes).u64(s.dataBytes).u64(s.allocatedBytes).u64(s.omapBytes).u64(s.metaBytes);
}
function decodeSpace(d: Decoder): SpaceDigest {
  return {
    totalBytes: d.u64(),
    availableBytes: d.u64(),
    dataBytes: d.u64(),
    allocatedBytes: d.u64(),
    omapBytes: d.u64(),
    metaBytes: d.u64(),
  };
}

function encodeRates(e: Encoder, r: IoRates): void {
  e.f64(r.readBytes).f64(r.writeBytes).f64(r.readOps).f64(r.writeOps);
  e.f64(r.recoveringBytes).f64(r.recoveringObjects).f64(r.recoveringKeys);
}
function decodeRates(d: Decoder): IoRates {
  return {
    readBytes: d.f64(),
    writeBytes: d.f64(),
    readOps: d.f64(),
    writeOps: d.f64(),
    recoveringBytes: d.f64(),
    recoveringObjects: d.f64(),
    recoveringKeys: d.f64(),
  };
}

function encodePoolDigest(e: Encoder, p: PoolDigest): void {
  encodeObjectSums(e, p.sums);
  e.u64(p.logSize).u64(p.ondiskLogSize).u32(p.up).u32(p.acting).u32(p.pgs);
  e.u64(p.dataBytes).u64(p.allocatedBytes).u64(p.omapBytes).u32(p.storeReports).u64(p.maxAvailBytes);
  encodeRates(e, p.rates);
}
function decodePoolDigest(d: Decoder): PoolDigest {
  return {
    sums: decodeObjectSums(d),
    logSize: d.u64(),
    ondiskLogSize: d.u64(),
    up: d.u32(),
    acting: d.u32(),
    pgs: d.u32(),
    dataBytes: d.u64(),
    allocatedBytes: d.u64(),
    omapBytes: d.u64(),
    compressed: { ...noCompressed },
    storeReports: d.u32(),
    maxAvailBytes: d.u64(),
    rates: decodeRates(d),
  };
}

function encodeOsdDigest(e: Encoder, o: OsdDigest): void {
  encodeSpace(e, o);
  e.u32(o.pgs).u32(o.primaryPgs).f64(o.commitLatencyMs).f64(o.applyLatencyMs).u64b(o.statSeq);
}
function decodeOsdDigest(d: Decoder): OsdDigest {
  return {
    ...decodeSpace(d),
    pgs: d.u32(),
    primaryPgs: d.u32(),
    commitLatencyMs: d.f64(),
    applyLatencyMs: d.f64(),
    statSeq: d.u64b(),
  };
}

export const MMonMgrReport = frontCodec<MMonMgrReportValue>(
  { type: 0x706, name: 'MMonMgrReport', version: 1, compat: 1 },
  (e, m) => {
    e.struct(2, 1, () => {
      e.uuid(m.fsid).u64b(m.gid).u64(m.version).utime(m.stamp).u32(m.osdmapEpoch);
      e.numberMap(m.pools, (x, id) => x.s64(id), encodePoolDigest);
      e.numberMap(m.osds, (x, id) => x.s32(id), encodeOsdDigest);
      encodeSpace(e, m.space);
      e.stringMap(m.spaceByClass, encodeSpace);
      e.numberMap(
        m.pgsByState,
        (x, state) => x.u64(state),
        (x, n) => x.u32(n),
      );
      e.u32(m.pgs).u32(m.pgsActive).u32(m.pgsUnknown);
      encodeObjectSums(e, m.sums);
      encodeRates(e, m.rates);
      e.list(m.checks, (x, c) => {
        x.string(c.code)
          .u8(c.severity === 'HEALTH_ERR' ? 2 : 1)
          .string(c.summary)
          .u64(c.count);
        x.list(c.detail, (y, line) => y.string(line));
      });
      e.list(m.progress, (x, p) => x.string(p.id).string(p.message).f64(p.progress));
      e.blob(m.serviceMap);
      encodeCompressedOf(e, m.pools);
    });
  },
  (d) =>
    d.struct('MMonMgrReport', 1, (_, format) => {
      const m = decodeReport(d);
      if (format >= 2) decodeCompressedInto(d, m.pools);
      return m;
    }),
);

/** What all formats have. */
function decodeReport(d: Decoder): MMonMgrReportValue {
  return {
    fsid: d.uuid(),
    gid: d.u64b(),
    version: d.u64(),
    stamp: d.utime(),
    osdmapEpoch: d.u32(),
    pools: d.map((x) => x.s64(), decodePoolDigest, 100),
    osds: d.map((x) => x.s32(), decodeOsdDigest, 84),
    space: decodeSpace(d),
    spaceByClass: d.stringMap(decodeSpace),
    pgsByState: d.map(
      (x) => x.u64(),
      (x) => x.u32(),
      12,
    ),
    pgs: d.u32(),
    pgsActive: d.u32(),
    pgsUnknown: d.u32(),
    sums: decodeObjectSums(d),
    rates: decodeRates(d),
    checks: d.list(
      (x) => ({
        code: x.string(),
        severity: x.u8() === 2 ? ('HEALTH_ERR' as const) : ('HEALTH_WARN' as const),
        summary: x.string(),
        count: x.u64(),
        detail: x.stringList(),
      }),
      21,
    ),
    progress: d.list((x) => ({ id: x.string(), message: x.string(), progress: x.f64() }), 16),
    serviceMap: d.blob(),
  };
}
