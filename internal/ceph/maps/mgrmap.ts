import { Decoder, Encoder, type UTime, utimeZero } from '../wire/encoding.ts';
import { decodeAddrVec, type EntityAddrVec, encodeAddrVec } from '../wire/types.ts';

/** `MgrMap::ModuleOption`. */
export interface MgrModuleOption {
  name: string;
  type: number;
  level: number;
  flags: number;
  defaultValue: string;
  min: string;
  max: string;
  enumAllowed: readonly string[];
  description: string;
  longDescription: string;
  tags: readonly string[];
  seeAlso: readonly string[];
}

/** `MgrMap::ModuleInfo`. */
export interface MgrModule {
  name: string;
  canRun: boolean;
  error: string;
  options: ReadonlyMap<string, MgrModuleOption>;
}

export interface MgrStandby {
  gid: bigint;
  name: string;
  modules: readonly MgrModule[];
  features: bigint;
}

/** A client of the cluster that the active mgr itself is: blocklisted when the mgr is failed. */
export interface MgrClientInfo {
  name: string;
  addrs: EntityAddrVec;
}

/** `MgrMap` (`src/mon/MgrMap.h`, version 12 of 16.2.15). */
export interface MgrMap {
  epoch: number;
  activeAddrs: EntityAddrVec;
  /** 0n: no mgr is active. */
  activeGid: bigint;
  /** The active mgr serves commands. */
  available: boolean;
  activeName: string;
  standbys: ReadonlyMap<bigint, MgrStandby>;
  /** Modules that are enabled. */
  modules: readonly string[];
  services: ReadonlyMap<string, string>;
  availableModules: readonly MgrModule[];
  activeChange: UTime;
  /** By release number. */
  alwaysOnModules: ReadonlyMap<number, readonly string[]>;
  activeFeatures: bigint;
  lastFailureOsdEpoch: number;
  clients: readonly MgrClientInfo[];
}

export const emptyMgrMap: MgrMap = Object.freeze({
  epoch: 1,
  activeAddrs: [],
  activeGid: 0n,
  available: false,
  activeName: '',
  standbys: new Map(),
  modules: [],
  services: new Map(),
  availableModules: [],
  activeChange: utimeZero,
  alwaysOnModules: new Map(),
  activeFeatures: 0n,
  lastFailureOsdEpoch: 0,
  clients: [],
});

export function encodeMgrModule(e: Encoder, m: MgrModule): void {
  e.struct(2, 1, () => {
    e.string(m.name).bool(m.canRun).string(m.error);
    e.stringMap(m.options, (x, o) =>
      x.struct(1, 1, () => {
        x.string(o.name).u8(o.type).u8(o.level).u32(o.flags).string(o.defaultValue).string(o.min).string(o.max);
        x.stringSet(o.enumAllowed).string(o.description).string(o.longDescription);
        x.stringSet(o.tags).stringSet(o.seeAlso);
      }),
    );
  });
}

export function decodeMgrModule(d: Decoder): MgrModule {
  const opened = d.open('MgrMap::ModuleInfo', 2);
  const module: MgrModule = {
    name: d.string(),
    canRun: d.bool(),
    error: d.string(),
    options:
      opened.version < 2
        ? new Map()
        : d.stringMap((x) =>
            x.struct('MgrMap::ModuleOption', 1, () => ({
              name: x.string(),
              type: x.u8(),
              level: x.u8(),
              flags: x.u32(),
              defaultValue: x.string(),
              min: x.string(),
              max: x.string(),
              enumAllowed: [...x.stringSet()],
              description: x.string(),
              longDescription: x.string(),
              tags: [...x.stringSet()],
              seeAlso: [...x.stringSet()],
            })),
          ),
  };
  d.close(opened);
  return module;
}

export function encodeMgrMap(map: MgrMap): Uint8Array {
  const e = new Encoder(512);
  const at = e.open(12, 6);
  e.u32(map.epoch);
  encodeAddrVec(e, map.activeAddrs);
  e.u64b(map.activeGid).bool(map.available).string(map.activeName);
  e.map(
    map.standbys,
    (x, gid) => x.u64b(gid),
    (x, s) =>
      x.struct(4, 1, () => {
        x.u64b(s.gid).string(s.name);
        x.stringSet(s.modules.map(({ name }) => name));
        x.list(s.modules, encodeMgrModule);
        x.u64b(s.features);
      }),
  );
  e.stringSet(map.modules).stringStringMap(map.services).list(map.availableModules, encodeMgrModule);
  e.utime(map.activeChange);
  e.numberMap(
    map.alwaysOnModules,
    (x, release) => x.u32(release),
    (x, names) => x.stringSet(names),
  );
  e.u64b(map.activeFeatures).u32(map.lastFailureOsdEpoch);
  e.list(map.clients, (x, client) => encodeAddrVec(x, client.addrs));
  e.list(map.clients, (x, client) => x.string(client.name));
  e.close(at);
  return e.finish();
}

/** Reads version 6 (Nautilus) and later. */
export function decodeMgrMap(bytes: Uint8Array): MgrMap {
  const d = new Decoder(bytes);
  const opened = d.open('MgrMap', 12);
  const { version } = opened;
  const map: MgrMap = {
    ...emptyMgrMap,
    epoch: d.u32(),
    activeAddrs: decodeAddrVec(d),
    activeGid: d.u64b(),
    available: d.bool(),
    activeName: d.string(),
    standbys: d.map(
      (x) => x.u64b(),
      (x) => {
        const standby = x.open('MgrMap::StandbyInfo', 4);
        const gid = x.u64b();
        const name = x.string();
        x.stringSet();
        const value = {
          gid,
          name,
          modules: standby.version >= 3 ? x.list(decodeMgrModule, 6) : [],
          features: standby.version >= 4 ? x.u64b() : 0n,
        };
        x.close(standby);
        return value;
      },
      8,
    ),
    modules: [...d.stringSet()],
    services: d.stringStringMap(),
    availableModules: d.list(decodeMgrModule, 6),
  };
  if (version >= 7) map.activeChange = d.utime();
  if (version >= 8)
    map.alwaysOnModules = d.map(
      (x) => x.u32(),
      (x) => [...x.stringSet()],
      8,
    );
  if (version >= 9) map.activeFeatures = d.u64b();
  if (version >= 10) map.lastFailureOsdEpoch = d.u32();
  const addrs = version >= 11 ? d.list(decodeAddrVec, 5) : [];
  const names = version >= 12 ? d.stringList() : [];
  map.clients = addrs.map((vec, i) => ({ addrs: vec, name: names[i] ?? '' }));
  d.close(opened);
  return map;
}
