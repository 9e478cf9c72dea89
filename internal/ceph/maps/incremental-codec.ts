import { DecodeError } from '../../base/bytes.ts';
import { rawCrc32c } from '../../base/crc32c.ts';
import { Decoder, Encoder } from '../wire/encoding.ts';
import {
  decodeAddr,
  decodeAddrVec,
  type EntityAddrVec,
  encodeAddr,
  encodeAddrVec,
  encodePg,
  decodePg,
} from '../wire/types.ts';
import { OsdMapIncremental } from './incremental.ts';
import {
  decodeBlocklist,
  decodeOsdList,
  decodePairList,
  decodePgMap,
  decodeProfiles,
  decodeSnapSets,
  decodeU32Map,
  decodeXInfo,
  encodeBlocklist,
  encodeOsdList,
  encodePairList,
  encodePgMap,
  encodeProfiles,
  encodeSnapSets,
  encodeU32Map,
  encodeXInfo,
  readTail,
} from './osdmap-codec.ts';
import { PgMap } from './pg-map.ts';
import { decodePool, encodePool } from './pool.ts';

const crcSeed = 0xffffffff;

function encodeAddrsMap(e: Encoder, map: ReadonlyMap<number, EntityAddrVec>): void {
  e.numberMap(map, (x, osd) => x.s32(osd), encodeAddrVec);
}
function decodeAddrsMap(d: Decoder): Map<number, EntityAddrVec> {
  return d.map<number, EntityAddrVec>((x) => x.s32(), decodeAddrVec, 9);
}

function encodePgSet(e: Encoder, set: PgMap<true>): void {
  e.u32(set.size);
  for (const [pg] of set.entries()) encodePg(e, pg);
}
function decodePgSet(d: Decoder): PgMap<true> {
  const out = new PgMap<true>();
  for (let n = d.count(17); n > 0; n--) {
    const pg = decodePg(d);
    out.set(pg.pool, pg.seed, true);
  }
  return out;
}

/** The bytes of an incremental map; `inc.fullCrc` must be set before. Sets `inc.incCrc`. */
export function encodeIncremental(inc: OsdMapIncremental): Uint8Array {
  const e = new Encoder(1024);
  const wrapper = e.open(8, 7);
  encodeClientSection(e, inc);
  encodeOsdSection(e, inc);
  const crcAt = e.size;
  e.u32(0).u32(inc.fullCrc);
  e.close(wrapper);
  const bytes = e.finish();
  inc.incCrc = rawCrc32c(rawCrc32c(crcSeed, bytes.subarray(0, crcAt)), bytes.subarray(crcAt + 4));
  new DataView(bytes.buffer, bytes.byteOffset).setUint32(crcAt, inc.incCrc, true);
  return bytes;
}

function encodeClientSection(e: Encoder, inc: OsdMapIncremental): void {
  const at = e.open(inc.clientTail.version, 1);
  e.uuid(inc.fsid).u32(inc.epoch).utime(inc.modified).s64(inc.newPoolMax).s32(inc.newFlags);
  e.blob(inc.fullmap).blob(inc.crush).s32(inc.newMaxOsd);
  e.numberMap(inc.newPools, (x, id) => x.s64(id), encodePool);
  e.numberMap(
    inc.newPoolNames,
    (x, id) => x.s64(id),
    (x, name) => x.string(name),
  );
  e.list(
    [...inc.oldPools].sort((a, b) => a - b),
    (x, id) => x.s64(id),
  );
  encodeAddrsMap(e, inc.newUpClient);
  encodeU32Map(e, inc.newState);
  encodeU32Map(e, inc.newWeight);
  encodePgMap(e, inc.newPgTemp, encodeOsdList);
  encodePgMap(e, inc.newPrimaryTemp, (x, osd) => x.s32(osd));
  encodeU32Map(e, inc.newPrimaryAffinity);
  encodeProfiles(e, inc.newErasureCodeProfiles);
  e.list(inc.oldErasureCodeProfiles, (x, name) => x.string(name));
  encodePgMap(e, inc.newPgUpmap, encodeOsdList);
  encodePgSet(e, inc.oldPgUpmap);
  encodePgMap(e, inc.newPgUpmapItems, encodePairList);
  encodePgSet(e, inc.oldPgUpmapItems);
  encodeSnapSets(e, inc.newRemovedSnaps);
  encodeSnapSets(e, inc.newPurgedSnaps);
  e.utime(inc.newLastUpChange).utime(inc.newLastInChange);
  e.bytes(inc.clientTail.bytes);
  e.close(at);
}

function encodeOsdSection(e: Encoder, inc: OsdMapIncremental): void {
  const at = e.open(inc.osdTail.version, 1);
  encodeAddrsMap(e, inc.newHbBackUp);
  encodeU32Map(e, inc.newUpThru);
  e.numberMap(
    inc.newLastCleanInterval,
    (x, osd) => x.s32(osd),
    (x, [begin, end]) => x.u32(begin).u32(end),
  );
  encodeU32Map(e, inc.newLost);
  encodeBlocklist(e, inc.newBlocklist);
  e.list(inc.oldBlocklist, encodeAddr);
  encodeAddrsMap(e, inc.newUpCluster);
  e.string(inc.clusterSnapshot);
  e.numberMap(
    inc.newUuid,
    (x, osd) => x.s32(osd),
    (x, uuid) => x.uuid(uuid),
  );
  e.numberMap(inc.newXInfo, (x, osd) => x.s32(osd), encodeXInfo);
  encodeAddrsMap(e, inc.newHbFrontUp);
  e.u64b(inc.encodeFeatures);
  e.f32(inc.newNearfullRatio).f32(inc.newFullRatio).f32(inc.newBackfillfullRatio);
  e.u8(inc.newRequireMinCompatClient).u8(inc.newRequireOsdRelease);
  encodeU32Map(e, inc.newCrushNodeFlags);
  encodeU32Map(e, inc.newDeviceClassFlags);
  e.bytes(inc.osdTail.bytes);
  e.close(at);
}

/** Reads an incremental map; a wrong CRC is a DecodeError. */
export function decodeIncremental(bytes: Uint8Array): OsdMapIncremental {
  const d = new Decoder(bytes);
  const wrapper = d.open('OSDMap::Incremental', 8);
  if (wrapper.version < 7)
    throw new DecodeError(`OSDMap::Incremental: version ${wrapper.version} is from before Firefly`);
  const inc = new OsdMapIncremental();
  decodeClientSection(d, inc);
  decodeOsdSection(d, inc);
  const crcAt = d.at;
  inc.incCrc = d.u32();
  inc.fullCrc = d.u32();
  const crc = rawCrc32c(rawCrc32c(crcSeed, bytes.subarray(0, crcAt)), bytes.subarray(crcAt + 4, wrapper.structEnd));
  if (crc !== inc.incCrc)
    throw new DecodeError(
      `OSDMap::Incremental ${inc.epoch}: CRC 0x${crc.toString(16)}, says 0x${inc.incCrc.toString(16)}`,
    );
  return inc;
}

function decodeClientSection(d: Decoder, inc: OsdMapIncremental): void {
  const opened = d.open('OSDMap::Incremental client data', 1);
  if (opened.version < 8)
    throw new DecodeError(`OSDMap::Incremental: client data version ${opened.version} is too old`);
  inc.fsid = d.uuid();
  inc.epoch = d.u32();
  inc.modified = d.utime();
  inc.newPoolMax = d.s64();
  inc.newFlags = d.s32();
  inc.fullmap = d.blob().slice();
  inc.crush = d.blob().slice();
  inc.newMaxOsd = d.s32();
  inc.newPools = d.map((x) => x.s64(), decodePool, 14);
  inc.newPoolNames = d.map(
    (x) => x.s64(),
    (x) => x.string(),
    12,
  );
  inc.oldPools = new Set(d.list((x) => x.s64(), 8));
  inc.newUpClient = decodeAddrsMap(d);
  inc.newState = decodeU32Map(d);
  inc.newWeight = decodeU32Map(d);
  inc.newPgTemp = decodePgMap(d, decodeOsdList);
  inc.newPrimaryTemp = decodePgMap(d, (x) => x.s32());
  inc.newPrimaryAffinity = decodeU32Map(d);
  inc.newErasureCodeProfiles = decodeProfiles(d);
  inc.oldErasureCodeProfiles = d.stringList();
  inc.newPgUpmap = decodePgMap(d, decodeOsdList);
  inc.oldPgUpmap = decodePgSet(d);
  inc.newPgUpmapItems = decodePgMap(d, decodePairList);
  inc.oldPgUpmapItems = decodePgSet(d);
  inc.newRemovedSnaps = decodeSnapSets(d);
  inc.newPurgedSnaps = decodeSnapSets(d);
  inc.newLastUpChange = d.utime();
  inc.newLastInChange = d.utime();
  inc.clientTail = readTail(d, opened.version);
  d.close(opened);
}

function decodeOsdSection(d: Decoder, inc: OsdMapIncremental): void {
  const opened = d.open('OSDMap::Incremental osd data', 1);
  if (opened.version < 9) throw new DecodeError(`OSDMap::Incremental: osd data version ${opened.version} is too old`);
  inc.newHbBackUp = decodeAddrsMap(d);
  inc.newUpThru = decodeU32Map(d);
  inc.newLastCleanInterval = d.map(
    (x) => x.s32(),
    (x): [number, number] => [x.u32(), x.u32()],
    12,
  );
  inc.newLost = decodeU32Map(d);
  inc.newBlocklist = decodeBlocklist(d);
  inc.oldBlocklist = d.list(decodeAddr, 8);
  inc.newUpCluster = decodeAddrsMap(d);
  inc.clusterSnapshot = d.string();
  inc.newUuid = d.map(
    (x) => x.s32(),
    (x) => x.uuid(),
    20,
  );
  inc.newXInfo = d.map((x) => x.s32(), decodeXInfo, 10);
  inc.newHbFrontUp = decodeAddrsMap(d);
  inc.encodeFeatures = d.u64b();
  inc.newNearfullRatio = d.f32();
  inc.newFullRatio = d.f32();
  inc.newBackfillfullRatio = d.f32();
  inc.newRequireMinCompatClient = d.u8();
  inc.newRequireOsdRelease = d.u8();
  inc.newCrushNodeFlags = decodeU32Map(d);
  inc.newDeviceClassFlags = decodeU32Map(d);
  inc.osdTail = readTail(d, opened.version);
  d.close(opened);
}
