import type { Decoder, Encoder, UTime } from '../../wire/encoding.ts';
import {
  decodeAddr,
  decodeEntityNum,
  encodeAddr,
  encodeEntityNum,
  type EntityAddr,
  type EntityNum,
} from '../../wire/types.ts';

/** Records of image mirroring (`src/cls/rbd/cls_rbd_types.h`). */

export const MODE_DISABLED = 0;
export const MODE_POOL = 2;

export const DIRECTION_RX = 0;
export const DIRECTION_TX = 1;
export const DIRECTION_RX_TX = 2;

export const IMAGE_DISABLING = 0;
export const IMAGE_ENABLED = 1;

export const STATUS_UNKNOWN = 0;
export const STATUS_ERROR = 1;

/** `MirrorPeer`: another cluster that images are sent to or received from. */
export interface MirrorPeer {
  uuid: string;
  site: string;
  /** Who receives from there logs in as. */
  client: string;
  direction: number;
  mirrorUuid: string;
  lastSeen: UTime;
}

export function encodePeer(e: Encoder, p: MirrorPeer): void {
  e.struct(2, 1, () => {
    // The number was a pool's, long ago.
    e.string(p.uuid).string(p.site).string(p.client).s64(-1);
    e.u8(p.direction).string(p.mirrorUuid).utime(p.lastSeen);
  });
}
export function decodePeer(d: Decoder): MirrorPeer {
  return d.struct('MirrorPeer', 2, (_, version) => {
    const [uuid, site, client] = [d.string(), d.string(), d.string()];
    d.s64();
    const newer = version >= 2;
    return {
      uuid,
      site,
      client,
      direction: newer ? d.u8() : DIRECTION_RX_TX,
      mirrorUuid: newer ? d.string() : '',
      lastSeen: newer ? d.utime() : { sec: 0, nsec: 0 },
    };
  });
}
export function isValidPeer(p: MirrorPeer): boolean {
  if (p.direction > DIRECTION_RX_TX || p.uuid === '' || p.site === '') return false;
  return p.direction === DIRECTION_TX || p.client !== '';
}

/** `MirrorImage`. */
export interface MirrorImage {
  globalId: string;
  state: number;
  /** 0: by journal, 1: by snapshots. */
  mode: number;
}

export function encodeImage(e: Encoder, i: MirrorImage): void {
  e.struct(2, 1, () => e.string(i.globalId).u8(i.state).u8(i.mode));
}
export function decodeImage(d: Decoder): MirrorImage {
  return d.struct('MirrorImage', 2, (_, version) => ({
    globalId: d.string(),
    state: d.u8(),
    mode: version >= 2 ? d.u8() : 0,
  }));
}

/** `MirrorImageSiteStatus`: how an image does at one site; `mirrorUuid` is empty for the own one. */
export interface SiteStatus {
  mirrorUuid: string;
  state: number;
  description: string;
  lastUpdate: UTime;
  /** Who said so still watches. */
  up: boolean;
}

function encodeSiteBody(e: Encoder, s: SiteStatus): void {
  e.u8(s.state).string(s.description).utime(s.lastUpdate).bool(s.up);
}
function decodeSiteBody(d: Decoder, mirrorUuid: string): SiteStatus {
  return { mirrorUuid, state: d.u8(), description: d.string(), lastUpdate: d.utime(), up: d.bool() };
}
export function decodeSite(d: Decoder): SiteStatus {
  return d.struct('MirrorImageSiteStatus', 2, (_, version) => decodeSiteBody(d, version >= 2 ? d.string() : ''));
}

/** `entity_inst_t`. */
export interface Instance {
  name: EntityNum;
  addr: EntityAddr;
}

/** The kind of an address does not tell clients apart: all are written as ANY. */
const ADDR_ANY = 3;

export function encodeInstance(e: Encoder, { name, addr }: Instance): void {
  encodeEntityNum(e, name);
  encodeAddr(e, { ...addr, type: ADDR_ANY });
}
export function sameInstance(a: Instance, b: Instance): boolean {
  return (
    a.name.type === b.name.type &&
    a.name.num === b.name.num &&
    a.addr.ip === b.addr.ip &&
    a.addr.port === b.addr.port &&
    a.addr.nonce === b.addr.nonce
  );
}

/** `MirrorImageSiteStatusOnDisk`: the status and who set it; whose site it is stands in the key. */
export interface StoredStatus {
  origin: Instance;
  site: SiteStatus;
}

export function encodeStored(e: Encoder, s: StoredStatus): void {
  e.struct(1, 1, () => encodeInstance(e, s.origin));
  e.struct(1, 1, () => encodeSiteBody(e, s.site));
}
export function decodeStoredStatus(d: Decoder): StoredStatus {
  const origin = d.struct('MirrorImageSiteStatusOnDisk', 1, () => ({
    name: decodeEntityNum(d),
    addr: decodeAddr(d),
  }));
  return { origin, site: decodeSite(d) };
}

const noSite: SiteStatus = {
  mirrorUuid: '',
  state: STATUS_UNKNOWN,
  description: '',
  lastUpdate: { sec: 0, nsec: 0 },
  up: false,
};

/** `MirrorImageStatus`: the own site first, if it said anything. */
export function encodeStatus(e: Encoder, sites: readonly SiteStatus[]): void {
  const own = sites.find(({ mirrorUuid }) => mirrorUuid === '');
  const others = sites.filter(({ mirrorUuid }) => mirrorUuid !== '');
  e.struct(2, 1, () => {
    encodeSiteBody(e, own ?? noSite);
    e.bool(own !== undefined);
    e.list(others, (x, site) => {
      x.string(site.mirrorUuid);
      encodeSiteBody(x, site);
    });
  });
}

/** `MirrorSnapshotNamespace`, the payload of such a snapshot's namespace. */
export interface MirrorSnapshot {
  state: number;
  complete: boolean;
  peers: Set<string>;
  primaryUuid: string;
  primarySnap: bigint;
  lastCopied: bigint;
  snapSeqs: Map<bigint, bigint>;
}

export const SNAPSHOT_NON_PRIMARY = 2;

export function decodeMirrorSnapshot(d: Decoder): MirrorSnapshot {
  return {
    state: d.u8(),
    complete: d.bool(),
    peers: d.stringSet(),
    primaryUuid: d.string(),
    primarySnap: d.u64b(),
    lastCopied: d.u64b(),
    snapSeqs: d.map(
      (x) => x.u64b(),
      (x) => x.u64b(),
      16,
    ),
  };
}
export function encodeMirrorSnapshot(e: Encoder, s: MirrorSnapshot): void {
  e.u8(s.state).bool(s.complete).stringSet(s.peers).string(s.primaryUuid).u64b(s.primarySnap).u64b(s.lastCopied);
  e.map(
    s.snapSeqs,
    (x, k) => x.u64b(k),
    (x, v) => x.u64b(v),
  );
}
