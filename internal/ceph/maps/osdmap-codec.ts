import { DecodeError } from '../../base/bytes.ts';
import { rawCrc32c } from '../../base/crc32c.ts';
import { decodeCrushMap } from '../crush/codec.ts';
import { Decoder, Encoder, encoded } from '../wire/encoding.ts';
import {
  decodeAddr,
  decodeAddrVec,
  decodeIntervalSet,
  decodePg,
  encodeAddr,
  encodeAddrVec,
  encodeIntervalSet,
  encodePg,
  type IntervalSet,
} from '../wire/types.ts';
import { type BlocklistEntry, type OsdInfo, OsdMap, type OsdXInfo, type SectionTail } from './osdmap.ts';
import { PgMap } from './pg-map.ts';
import { decodePool, encodePool } from './pool.ts';

/** An OSD id is at most this; bounds what a hostile map can make us allocate. */
const maxOsdLimit = 1 << 20;

const crcSeed = 0xffffffff;

// ---- pieces that full and incremental maps share ----

export function encodePgMap<V>(e: Encoder, map: PgMap<V>, value: (e: Encoder, v: V) => void): void {
  e.u32(map.size);
  for (const [pg, v] of map.entries()) {
    encodePg(e, pg);
    value(e, v);
  }
}

export function decodePgMap<V>(d: Decoder, value: (d: Decoder) => V): PgMap<V> {
  const out = new PgMap<V>();
  for (let n = d.count(17); n > 0; n--) {
    const pg = decodePg(d);
    out.set(pg.pool, pg.seed, value(d));
  }
  return out;
}

export const encodeOsdList = (e: Encoder, osds: readonly number[]): void => {
  e.list(osds, (x, osd) => x.s32(osd));
};
export const decodeOsdList = (d: Decoder): number[] => d.list((x) => x.s32(), 4);

export const encodePairList = (e: Encoder, pairs: readonly (readonly [number, number])[]): void => {
  e.list(pairs, (x, [from, to]) => x.s32(from).s32(to));
};
export const decodePairList = (d: Decoder): [number, number][] =>
  d.list((x): [number, number] => [x.s32(), x.s32()], 8);

export function encodeSnapSets(e: Encoder, sets: ReadonlyMap<number, IntervalSet>): void {
  e.numberMap(sets, (x, pool) => x.s64(pool), encodeIntervalSet);
}
export function decodeSnapSets(d: Decoder): Map<number, IntervalSet> {
  return d.map((x) => x.s64(), decodeIntervalSet, 12);
}

export function encodeProfiles(e: Encoder, profiles: ReadonlyMap<string, ReadonlyMap<string, string>>): void {
  e.stringMap(profiles, (x, v) => x.stringStringMap(v));
}
export function decodeProfiles(d: Decoder): Map<string, Map<string, string>> {
  return d.stringMap((x) => x.stringStringMap());
}

/** `map<entity_addr_t, utime_t>`, whose keys upstream orders by their memory, which equals the order of their encodings. */
export function encodeBlocklist(e: Encoder, entries: readonly BlocklistEntry[]): void {
  const keyed = entries.map((entry) => ({ entry, key: encoded((x) => encodeAddr(x, entry.addr)).subarray(7) }));
  keyed.sort((a, b) => Buffer.compare(a.key, b.key));
  e.list(keyed, (x, { entry }) => {
    encodeAddr(x, entry.addr);
    x.utime(entry.until);
  });
}
export function decodeBlocklist(d: Decoder): BlocklistEntry[] {
  return d.list((x) => ({ addr: decodeAddr(x), until: x.utime() }), 8);
}

export function encodeXInfo(e: Encoder, x: OsdXInfo): void {
  const at = e.open(4, 1);
  e.utime(x.downStamp).u32(x.laggyProbability).u32(x.laggyInterval).u64b(x.features).u32(x.oldWeight);
  e.utime(x.lastPurgedSnapsScrub).u32(x.deadEpoch);
  e.close(at);
}
export function decodeXInfo(d: Decoder): OsdXInfo {
  return d.struct('osd_xinfo_t', 4, (x, version) => ({
    downStamp: x.utime(),
    laggyProbability: x.u32(),
    laggyInterval: x.u32(),
    features: version >= 2 ? x.u64b() : 0n,
    oldWeight: version >= 3 ? x.u32() : 0,
    lastPurgedSnapsScrub: version >= 4 ? x.utime() : { sec: 0, nsec: 0 },
    deadEpoch: version >= 4 ? x.u32() : 0,
  }));
}

function encodeInfo(e: Encoder, i: OsdInfo): void {
  e.u8(1).u32(i.lastCleanBegin).u32(i.lastCleanEnd).u32(i.upFrom).u32(i.upThru).u32(i.downAt).u32(i.lostAt);
}
function decodeInfo(d: Decoder): OsdInfo {
  d.skip(1);
  return {
    lastCleanBegin: d.u32(),
    lastCleanEnd: d.u32(),
    upFrom: d.u32(),
    upThru: d.u32(),
    downAt: d.u32(),
    lostAt: d.u32(),
  };
}

export function encodeU32Map(e: Encoder, map: ReadonlyMap<number, number>): void {
  e.numberMap(
    map,
    (x, k) => x.s32(k),
    (x, v) => x.u32(v),
  );
}
export function decodeU32Map(d: Decoder): Map<number, number> {
  return d.map(
    (x) => x.s32(),
    (x) => x.u32(),
    8,
  );
}

function encodeU32s(e: Encoder, values: Uint32Array): void {
  e.list(values, (x, v) => x.u32(v));
}
function decodeU32s(d: Decoder): Uint32Array {
  const out = new Uint32Array(d.count(4));
  for (let i = 0; i < out.length; i++) out[i] = d.u32();
  return out;
}

/** Closes over what follows the fields we know in a section. */
export function readTail(d: Decoder, version: number): SectionTail {
  return { version, bytes: d.rest().slice() };
}

// ---- the full map ----

/** The bytes of a full map as the mon stores and sends them; sets `map.crc`. */
export function encodeOsdMap(map: OsdMap): Uint8Array {
  const e = new Encoder(4096);
  const wrapper = e.open(8, 7);
  encodeClientSection(e, map);
  encodeOsdSection(e, map);
  const crcAt = e.size;
  e.u32(0);
  e.close(wrapper);
  const bytes = e.finish();
  map.crc = rawCrc32c(crcSeed, bytes.subarray(0, crcAt));
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(crcAt, map.crc, true);
  return bytes;
}

function encodeClientSection(e: Encoder, map: OsdMap): void {
  const at = e.open(map.clientTail.version, 1);
  e.uuid(map.fsid).u32(map.epoch).utime(map.created).utime(map.modified);
  e.numberMap(map.pools, (x, id) => x.s64(id), encodePool);
  e.numberMap(
    map.poolNames,
    (x, id) => x.s64(id),
    (x, name) => x.string(name),
  );
  e.s32(map.poolMax).u32(map.flags).s32(map.maxOsd);
  encodeU32s(e, map.osdState);
  encodeU32s(e, map.osdWeight);
  e.list(map.clientAddrs, encodeAddrVec);
  encodePgMap(e, map.pgTemp, encodeOsdList);
  encodePgMap(e, map.primaryTemp, (x, osd) => x.s32(osd));
  encodeU32s(e, map.primaryAffinity ?? new Uint32Array(0));
  e.blob(map.crushBytes);
  encodeProfiles(e, map.erasureCodeProfiles);
  encodePgMap(e, map.pgUpmap, encodeOsdList);
  encodePgMap(e, map.pgUpmapItems, encodePairList);
  e.s32(map.crushVersion);
  encodeSnapSets(e, map.newRemovedSnaps);
  encodeSnapSets(e, map.newPurgedSnaps);
  e.utime(map.lastUpChange).utime(map.lastInChange);
  e.bytes(map.clientTail.bytes);
  e.close(at);
}

function encodeOsdSection(e: Encoder, map: OsdMap): void {
  const at = e.open(map.osdTail.version, 1);
  e.list(map.hbBackAddrs, encodeAddrVec);
  e.list(map.osdInfo, encodeInfo);
  encodeBlocklist(e, map.blocklist);
  e.list(map.clusterAddrs, encodeAddrVec);
  e.u32(map.clusterSnapshotEpoch).string(map.clusterSnapshot);
  e.list(map.osdUuid, (x, uuid) => x.uuid(uuid));
  e.list(map.osdXInfo, encodeXInfo);
  e.list(map.hbFrontAddrs, encodeAddrVec);
  e.f32(map.nearfullRatio).f32(map.fullRatio).f32(map.backfillfullRatio);
  e.u8(map.requireMinCompatClient).u8(map.requireOsdRelease);
  encodeSnapSets(e, map.removedSnapsQueue);
  encodeU32Map(e, map.crushNodeFlags);
  encodeU32Map(e, map.deviceClassFlags);
  e.bytes(map.osdTail.bytes);
  e.close(at);
}

/** Reads a full map; a wrong CRC is a DecodeError. */
export function decodeOsdMap(bytes: Uint8Array): OsdMap {
  const d = new Decoder(bytes);
  const wrapper = d.open('OSDMap', 8);
  if (wrapper.version < 7) throw new DecodeError(`OSDMap: version ${wrapper.version} is from before Firefly`);
  const map = new OsdMap();
  decodeClientSection(d, map);
  decodeOsdSection(d, map);
  const crcAt = d.at;
  map.crc = d.u32();
  // A newer writer's additions stand behind the CRC and are covered by it.
  const behind = bytes.subarray(d.at, wrapper.structEnd);
  const crc = rawCrc32c(rawCrc32c(crcSeed, bytes.subarray(0, crcAt)), behind);
  if (crc !== map.crc)
    throw new DecodeError(`OSDMap ${map.epoch}: CRC 0x${crc.toString(16)}, says 0x${map.crc.toString(16)}`);
  checkSizes(map);
  return map;
}

function decodeClientSection(d: Decoder, map: OsdMap): void {
  const opened = d.open('OSDMap client data', 1);
  if (opened.version < 9) throw new DecodeError(`OSDMap: client data version ${opened.version} is older than 9`);
  map.fsid = d.uuid();
  map.epoch = d.u32();
  map.created = d.utime();
  map.modified = d.utime();
  map.pools = d.map((x) => x.s64(), decodePool, 14);
  map.poolNames = d.map(
    (x) => x.s64(),
    (x) => x.string(),
    12,
  );
  map.poolMax = d.s32();
  map.flags = d.u32();
  map.maxOsd = d.s32();
  map.osdState = decodeU32s(d);
  map.osdWeight = decodeU32s(d);
  map.clientAddrs = d.list(decodeAddrVec, 5);
  map.pgTemp = decodePgMap(d, decodeOsdList);
  map.primaryTemp = decodePgMap(d, (x) => x.s32());
  const affinity = decodeU32s(d);
  map.primaryAffinity = affinity.length === 0 ? undefined : affinity;
  map.crushBytes = d.blob().slice();
  map.crush = decodeCrushMap(map.crushBytes);
  map.erasureCodeProfiles = decodeProfiles(d);
  map.pgUpmap = decodePgMap(d, decodeOsdList);
  map.pgUpmapItems = decodePgMap(d, decodePairList);
  map.crushVersion = d.s32();
  map.newRemovedSnaps = decodeSnapSets(d);
  map.newPurgedSnaps = decodeSnapSets(d);
  map.lastUpChange = d.utime();
  map.lastInChange = d.utime();
  map.clientTail = readTail(d, opened.version);
  d.close(opened);
}

function decodeOsdSection(d: Decoder, map: OsdMap): void {
  const opened = d.open('OSDMap osd data', 1);
  if (opened.version < 9) throw new DecodeError(`OSDMap: osd data version ${opened.version} is older than 9`);
  map.hbBackAddrs = d.list(decodeAddrVec, 5);
  map.osdInfo = d.list(decodeInfo, 25);
  map.blocklist = decodeBlocklist(d);
  map.clusterAddrs = d.list(decodeAddrVec, 5);
  map.clusterSnapshotEpoch = d.u32();
  map.clusterSnapshot = d.string();
  map.osdUuid = d.list((x) => x.uuid(), 16);
  map.osdXInfo = d.list(decodeXInfo, 6);
  map.hbFrontAddrs = d.list(decodeAddrVec, 5);
  map.nearfullRatio = d.f32();
  map.fullRatio = d.f32();
  map.backfillfullRatio = d.f32();
  map.requireMinCompatClient = d.u8();
  map.requireOsdRelease = d.u8();
  map.removedSnapsQueue = decodeSnapSets(d);
  map.crushNodeFlags = decodeU32Map(d);
  map.deviceClassFlags = decodeU32Map(d);
  map.osdTail = readTail(d, opened.version);
  d.close(opened);
}

function checkSizes(map: OsdMap): void {
  const n = map.maxOsd;
  if (n < 0 || n > maxOsdLimit) throw new DecodeError(`OSDMap: max_osd ${n}`);
  const lengths = [
    map.osdState.length,
    map.osdWeight.length,
    map.clientAddrs.length,
    map.clusterAddrs.length,
    map.hbBackAddrs.length,
    map.hbFrontAddrs.length,
    map.osdInfo.length,
    map.osdXInfo.length,
    map.osdUuid.length,
    map.primaryAffinity?.length ?? n,
  ];
  if (lengths.some((length) => length !== n))
    throw new DecodeError(`OSDMap ${map.epoch}: max_osd ${n}, but its tables have ${lengths.join(', ')} entries`);
}
