import { Decoder, Encoder, type UTime } from '../wire/encoding.ts';
import { decodeAddrVec, type EntityAddrVec, encodeAddrVec } from '../wire/types.ts';
import { RELEASE_PACIFIC } from './constants.ts';

/** Persistent monitor features (`src/mon/mon_types.h`), bit and name. */
export const monFeatureNames: readonly (readonly [bigint, string])[] = [
  [1n, 'kraken'],
  [2n, 'luminous'],
  [4n, 'mimic'],
  [8n, 'osdmap-prune'],
  [16n, 'nautilus'],
  [32n, 'octopus'],
  [64n, 'pacific'],
  [128n, 'elector-pinging'],
];
export const MON_FEATURES_PACIFIC = 0xffn;

/** `mon_info_t`. */
export interface MonInfo {
  name: string;
  addrs: EntityAddrVec;
  priority: number;
  weight: number;
  crushLocation: ReadonlyMap<string, string>;
}

/** `MonMap` (`src/mon/MonMap.cc`, version 9). Mons stand in the order of their ranks. */
export interface MonMap {
  fsid: string;
  epoch: number;
  lastChanged: UTime;
  created: UTime;
  persistentFeatures: bigint;
  optionalFeatures: bigint;
  mons: readonly MonInfo[];
  minMonRelease: number;
  removedRanks: readonly number[];
  strategy: number;
  disallowedLeaders: readonly string[];
  stretchMode: boolean;
  tiebreaker: string;
  stretchMarkedDown: readonly string[];
}

export function newMonMap(fields: Pick<MonMap, 'fsid' | 'created' | 'mons'>): MonMap {
  return {
    epoch: 1,
    lastChanged: fields.created,
    persistentFeatures: MON_FEATURES_PACIFIC,
    optionalFeatures: 0n,
    minMonRelease: RELEASE_PACIFIC,
    removedRanks: [],
    strategy: 1,
    disallowedLeaders: [],
    stretchMode: false,
    tiebreaker: '',
    stretchMarkedDown: [],
    ...fields,
  };
}

export function encodeMonMap(map: MonMap): Uint8Array {
  const e = new Encoder();
  const at = e.open(9, 6);
  e.uuid(map.fsid).u32(map.epoch).utime(map.lastChanged).utime(map.created);
  for (const features of [map.persistentFeatures, map.optionalFeatures]) e.struct(1, 1, (x) => x.u64b(features));
  e.stringMap(new Map(map.mons.map((mon) => [mon.name, mon])), (x, mon) =>
    x.struct(5, 1, (y) => {
      y.string(mon.name);
      encodeAddrVec(y, mon.addrs);
      y.u16(mon.priority).u16(mon.weight).stringStringMap(mon.crushLocation);
    }),
  );
  e.list(map.mons, (x, mon) => x.string(mon.name));
  e.u8(map.minMonRelease);
  e.list(map.removedRanks, (x, rank) => x.u32(rank));
  e.u8(map.strategy).stringSet(map.disallowedLeaders);
  e.bool(map.stretchMode).string(map.tiebreaker).stringSet(map.stretchMarkedDown);
  e.close(at);
  return e.finish();
}

/** Reads version 6 (Nautilus) and later. */
export function decodeMonMap(bytes: Uint8Array): MonMap {
  const d = new Decoder(bytes);
  const opened = d.open('MonMap', 9);
  const fsid = d.uuid();
  const epoch = d.u32();
  const lastChanged = d.utime();
  const created = d.utime();
  const features = (): bigint => d.struct('mon_feature_t', 1, (x) => x.u64b());
  const persistentFeatures = features();
  const optionalFeatures = features();
  const infos = d.stringMap((x) => {
    const info = x.open('mon_info_t', 5);
    const mon: MonInfo = {
      name: x.string(),
      addrs: decodeAddrVec(x),
      priority: info.version >= 2 ? x.u16() : 0,
      weight: info.version >= 4 ? x.u16() : 0,
      crushLocation: info.version >= 5 ? x.stringStringMap() : new Map(),
    };
    x.close(info);
    return mon;
  });
  const ranks = d.stringList();
  const version = opened.version;
  const map: MonMap = {
    fsid,
    epoch,
    lastChanged,
    created,
    persistentFeatures,
    optionalFeatures,
    mons: ranks.flatMap((name) => infos.get(name) ?? []),
    minMonRelease: version >= 7 ? d.u8() : 0,
    removedRanks: version >= 8 ? d.list((x) => x.u32(), 4) : [],
    strategy: version >= 8 ? d.u8() : 1,
    disallowedLeaders: version >= 8 ? [...d.stringSet()] : [],
    stretchMode: version >= 9 ? d.bool() : false,
    tiebreaker: version >= 9 ? d.string() : '',
    stretchMarkedDown: version >= 9 ? [...d.stringSet()] : [],
  };
  d.close(opened);
  return map;
}
