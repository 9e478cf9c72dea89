import { frontCodec } from '../message.ts';

/** The MDSMap of one file system, encoded. */
export const MMDSMap = frontCodec<{ fsid: string; epoch: number; map: Uint8Array; fsName: string }>(
  { type: 21, name: 'MMDSMap', version: 2, compat: 1 },
  (e, m) => e.uuid(m.fsid).u32(m.epoch).blob(m.map).string(m.fsName),
  (d, version) => ({ fsid: d.uuid(), epoch: d.u32(), map: d.blob(), fsName: version >= 2 ? d.string() : '' }),
);

/** The FSMap, encoded. */
export const MFSMap = frontCodec<{ epoch: number; map: Uint8Array }>(
  { type: 45, name: 'MFSMap', version: 1, compat: 1 },
  (e, m) => e.u32(m.epoch).bytes(m.map),
  (d) => ({ epoch: d.u32(), map: d.rest() }),
);

export interface FSMapUser {
  epoch: number;
  /** File system of old clients; -1 for none. */
  legacyFscid: number;
  names: ReadonlyMap<number, string>;
}
export const MFSMapUser = frontCodec<FSMapUser>(
  { type: 103, name: 'MFSMapUser', version: 1, compat: 1 },
  (e, m) => {
    e.u32(m.epoch);
    const at = e.open(1, 1);
    e.u32(m.epoch).s32(m.legacyFscid).u32(m.names.size);
    for (const [fscid, name] of [...m.names].sort(([a], [b]) => a - b)) {
      const info = e.open(1, 1);
      e.s32(fscid).string(name).close(info);
    }
    e.close(at);
  },
  (d) => {
    const epoch = d.u32();
    return d.struct('FSMapUser', 1, () => {
      d.u32();
      const legacyFscid = d.s32();
      const list = d.list((x) => x.struct('fs_info', 1, (y): [number, string] => [y.s32(), y.string()]), 14);
      return { epoch, legacyFscid, names: new Map(list) };
    });
  },
);
