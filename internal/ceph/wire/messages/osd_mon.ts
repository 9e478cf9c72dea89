/**
 * What OSDs say to the mon. The type numbers are upstream's (`src/msg/Message.h`); the bodies are our own, because only our daemons talk
 * here: each is one versioned structure.
 */
import type { Decoder, Encoder } from '../encoding.ts';
import { frontCodec } from '../message.ts';
import { decodePaxosHead, encodePaxosHead } from './mon.ts';
import {
  decodeAddrVec,
  decodeEVersion,
  decodePg,
  type EntityAddrVec,
  type EVersion,
  encodeAddrVec,
  encodeEVersion,
  encodePg,
  type PgId,
} from '../types.ts';

export const MSG_OSD_BOOT = 71;
export const MSG_OSD_FAILURE = 72;
export const MSG_OSD_ALIVE = 73;
export const MSG_OSD_MARK_ME_DOWN = 74;
export const MSG_OSD_PGTEMP = 78;
export const MSG_OSD_BEACON = 79;
export const MSG_OSD_PG_READY_TO_MERGE = 122;
export const MSG_OSD_MARK_ME_DEAD = 123;
export const MSG_OSD_FULL = 208;

/** An OSD that has its map and its disk asks to be marked up. Answered by a map in which it is up with these addresses. */
export interface MOSDBoot {
  fsid: string;
  osdId: number;
  /** Identity of the store; the mon refuses an id that another disk holds. */
  osdUuid: string;
  /** Newest map the OSD has; the mon sends what follows. */
  bootEpoch: number;
  clientAddrs: EntityAddrVec;
  clusterAddrs: EntityAddrVec;
  hbBackAddrs: EntityAddrVec;
  hbFrontAddrs: EntityAddrVec;
  features: bigint;
  /** Where the mon puts a new OSD in CRUSH (`create-or-move`). */
  crush: { root: string; host: string; weightTiB: number };
  /** What `ceph osd metadata` shows. */
  metadata: Map<string, string>;
}

export function encodeMOSDBoot(e: Encoder, m: MOSDBoot): void {
  e.struct(1, 1, () => {
    e.uuid(m.fsid).s32(m.osdId).uuid(m.osdUuid).u32(m.bootEpoch);
    encodeAddrVec(e, m.clientAddrs);
    encodeAddrVec(e, m.clusterAddrs);
    encodeAddrVec(e, m.hbBackAddrs);
    encodeAddrVec(e, m.hbFrontAddrs);
    e.u64b(m.features).string(m.crush.root).string(m.crush.host).f64(m.crush.weightTiB);
    e.stringStringMap(m.metadata);
  });
}

export function decodeMOSDBoot(d: Decoder): MOSDBoot {
  return d.struct('MOSDBoot', 1, () => ({
    fsid: d.uuid(),
    osdId: d.s32(),
    osdUuid: d.uuid(),
    bootEpoch: d.u32(),
    clientAddrs: decodeAddrVec(d),
    clusterAddrs: decodeAddrVec(d),
    hbBackAddrs: decodeAddrVec(d),
    hbFrontAddrs: decodeAddrVec(d),
    features: d.u64b(),
    crush: { root: d.string(), host: d.string(), weightTiB: d.f64() },
    metadata: d.stringStringMap(),
  }));
}

/** The sender needs `up_thru >= wantUpThru` for itself before a PG may go active in this interval. */
export interface MOSDAlive {
  fsid: string;
  osdId: number;
  /** The sender's map. */
  epoch: number;
  wantUpThru: number;
}

export function encodeMOSDAlive(e: Encoder, m: MOSDAlive): void {
  e.struct(1, 1, () => e.uuid(m.fsid).s32(m.osdId).u32(m.epoch).u32(m.wantUpThru));
}

export function decodeMOSDAlive(d: Decoder): MOSDAlive {
  return d.struct('MOSDAlive', 1, () => ({ fsid: d.uuid(), osdId: d.s32(), epoch: d.u32(), wantUpThru: d.u32() }));
}

/**
 * `failed`: no heartbeat for `failedForMs`. `immediate`: the connection was refused on the peer's own host, so its process is gone: one report is
 * enough. `alive`: takes an earlier report back.
 */
export type FailureKind = 'failed' | 'immediate' | 'alive';
const failureKinds: readonly FailureKind[] = ['failed', 'immediate', 'alive'];

export interface MOSDFailure {
  fsid: string;
  reporter: number;
  target: number;
  /** The addresses that failed: a report on an earlier incarnation is void. */
  targetAddrs: EntityAddrVec;
  kind: FailureKind;
  failedForMs: number;
  /** The reporter's map. */
  epoch: number;
}

export function encodeMOSDFailure(e: Encoder, m: MOSDFailure): void {
  e.struct(1, 1, () => {
    e.uuid(m.fsid).s32(m.reporter).s32(m.target);
    encodeAddrVec(e, m.targetAddrs);
    e.u8(failureKinds.indexOf(m.kind)).u64(Math.round(m.failedForMs)).u32(m.epoch);
  });
}

export function decodeMOSDFailure(d: Decoder): MOSDFailure {
  return d.struct('MOSDFailure', 1, () => ({
    fsid: d.uuid(),
    reporter: d.s32(),
    target: d.s32(),
    targetAddrs: decodeAddrVec(d),
    kind: failureKinds[d.u8()] ?? 'failed',
    failedForMs: d.u64(),
    epoch: d.u32(),
  }));
}

/** Asks for other acting sets while the OSDs of the up set are being filled; an empty list takes the request back. */
export interface MOSDPGTemp {
  fsid: string;
  osdId: number;
  epoch: number;
  pgTemp: { pg: PgId; osds: number[] }[];
}

export function encodeMOSDPGTemp(e: Encoder, m: MOSDPGTemp): void {
  e.struct(1, 1, () => {
    e.uuid(m.fsid).s32(m.osdId).u32(m.epoch);
    e.list(m.pgTemp, (x, item) => {
      encodePg(x, item.pg);
      x.list(item.osds, (y, osd) => y.s32(osd));
    });
  });
}

export function decodeMOSDPGTemp(d: Decoder): MOSDPGTemp {
  return d.struct('MOSDPGTemp', 1, () => ({
    fsid: d.uuid(),
    osdId: d.s32(),
    epoch: d.u32(),
    pgTemp: d.list((x) => ({ pg: decodePg(x), osds: x.list((y) => y.s32(), 4) }), 21),
  }));
}

/**
 * The leader of a PG that is to merge into another says that both are clean and take no more writes, or that they cannot be for now (`ready` false: the
 * merge is called off).
 */
export interface MOSDPGReadyToMerge {
  fsid: string;
  osdId: number;
  epoch: number;
  source: PgId;
  sourceVersion: EVersion;
  targetVersion: EVersion;
  /** Of the target. */
  lastEpochStarted: number;
  lastEpochClean: number;
  ready: boolean;
}

export function encodeMOSDPGReadyToMerge(e: Encoder, m: MOSDPGReadyToMerge): void {
  e.struct(1, 1, () => {
    e.uuid(m.fsid).s32(m.osdId).u32(m.epoch);
    encodePg(e, m.source);
    encodeEVersion(e, m.sourceVersion);
    encodeEVersion(e, m.targetVersion);
    e.u32(m.lastEpochStarted).u32(m.lastEpochClean).bool(m.ready);
  });
}

export function decodeMOSDPGReadyToMerge(d: Decoder): MOSDPGReadyToMerge {
  return d.struct('MOSDPGReadyToMerge', 1, () => ({
    fsid: d.uuid(),
    osdId: d.s32(),
    epoch: d.u32(),
    source: decodePg(d),
    sourceVersion: decodeEVersion(d),
    targetVersion: decodeEVersion(d),
    lastEpochStarted: d.u32(),
    lastEpochClean: d.u32(),
    ready: d.bool(),
  }));
}

/** An ordered stop: the sender waits a short while for a map in which it is down (that map is the acknowledgement). */
export interface MOSDMarkMeDown {
  fsid: string;
  osdId: number;
  /** The incarnation that stops. */
  addrs: EntityAddrVec;
  epoch: number;
  /** It answers no client any more (`down_and_dead`): nobody has to wait for its read leases. */
  dead: boolean;
}

export function encodeMOSDMarkMeDown(e: Encoder, m: MOSDMarkMeDown): void {
  e.struct(2, 1, () => {
    e.uuid(m.fsid).s32(m.osdId);
    encodeAddrVec(e, m.addrs);
    e.u32(m.epoch).bool(m.dead);
  });
}

export function decodeMOSDMarkMeDown(d: Decoder): MOSDMarkMeDown {
  return d.struct('MOSDMarkMeDown', 1, (_, version) => ({
    fsid: d.uuid(),
    osdId: d.s32(),
    addrs: decodeAddrVec(d),
    epoch: d.u32(),
    dead: version >= 2 && d.bool(),
  }));
}

/** An OSD that the map shows down although it lives has taken its PGs to that map: of its former life nobody is answered any more. */
export interface MOSDMarkMeDead {
  fsid: string;
  osdId: number;
  /** The map by which it knows. */
  epoch: number;
}

/** In upstream's encoding (`src/messages/MOSDMarkMeDead.h`). */
export const MOSDMarkMeDead = frontCodec<MOSDMarkMeDead>(
  { type: MSG_OSD_MARK_ME_DEAD, name: 'MOSDMarkMeDead', version: 1, compat: 1 },
  (e, m) => {
    encodePaxosHead(e, m.epoch);
    e.uuid(m.fsid).s32(m.osdId).u32(m.epoch);
  },
  (d) => {
    decodePaxosHead(d);
    return { fsid: d.uuid(), osdId: d.s32(), epoch: d.u32() };
  },
);

/** An OSD tells how full its disk is, until a map says so: one of the bits of OSD states for full, backfillfull and nearfull, or 0. */
export interface MOSDFull {
  /** The sender's map. */
  epoch: number;
  state: number;
}

/** In upstream's encoding (`src/messages/MOSDFull.h`). */
export const MOSDFull = frontCodec<MOSDFull>(
  { type: MSG_OSD_FULL, name: 'MOSDFull', version: 1, compat: 1 },
  (e, m) => {
    encodePaxosHead(e, m.epoch);
    e.u32(m.epoch).u32(m.state);
  },
  (d) => {
    decodePaxosHead(d);
    return { epoch: d.u32(), state: d.u32() };
  },
);

/** Sent every `osd_beacon_report_interval`: an OSD that has no peers to report it is otherwise never found dead. */
export interface MOSDBeacon {
  fsid: string;
  osdId: number;
  epoch: number;
  /** Oldest epoch at which all PGs that this OSD leads were clean: the mon may trim maps before it. */
  minLastEpochClean: number;
}

export function encodeMOSDBeacon(e: Encoder, m: MOSDBeacon): void {
  e.struct(1, 1, () => e.uuid(m.fsid).s32(m.osdId).u32(m.epoch).u32(m.minLastEpochClean));
}

export function decodeMOSDBeacon(d: Decoder): MOSDBeacon {
  return d.struct('MOSDBeacon', 1, () => ({
    fsid: d.uuid(),
    osdId: d.s32(),
    epoch: d.u32(),
    minLastEpochClean: d.u32(),
  }));
}

export const MOSDBoot = frontCodec<MOSDBoot>(
  { type: MSG_OSD_BOOT, name: 'MOSDBoot', version: 1, compat: 1 },
  encodeMOSDBoot,
  decodeMOSDBoot,
);

export const MOSDAlive = frontCodec<MOSDAlive>(
  { type: MSG_OSD_ALIVE, name: 'MOSDAlive', version: 1, compat: 1 },
  encodeMOSDAlive,
  decodeMOSDAlive,
);

export const MOSDFailure = frontCodec<MOSDFailure>(
  { type: MSG_OSD_FAILURE, name: 'MOSDFailure', version: 1, compat: 1 },
  encodeMOSDFailure,
  decodeMOSDFailure,
);

export const MOSDPGTemp = frontCodec<MOSDPGTemp>(
  { type: MSG_OSD_PGTEMP, name: 'MOSDPGTemp', version: 1, compat: 1 },
  encodeMOSDPGTemp,
  decodeMOSDPGTemp,
);

export const MOSDMarkMeDown = frontCodec<MOSDMarkMeDown>(
  { type: MSG_OSD_MARK_ME_DOWN, name: 'MOSDMarkMeDown', version: 1, compat: 1 },
  encodeMOSDMarkMeDown,
  decodeMOSDMarkMeDown,
);

export const MOSDBeacon = frontCodec<MOSDBeacon>(
  { type: MSG_OSD_BEACON, name: 'MOSDBeacon', version: 1, compat: 1 },
  encodeMOSDBeacon,
  decodeMOSDBeacon,
);

export const MOSDPGReadyToMerge = frontCodec<MOSDPGReadyToMerge>(
  { type: MSG_OSD_PG_READY_TO_MERGE, name: 'MOSDPGReadyToMerge', version: 1, compat: 1 },
  encodeMOSDPGReadyToMerge,
  decodeMOSDPGReadyToMerge,
);
