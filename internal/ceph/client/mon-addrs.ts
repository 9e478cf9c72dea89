import { Decoder } from '../wire/encoding.ts';
import { decodeAddrVec, type EntityAddr, type EntityAddrVec } from '../wire/types.ts';

/** What a mon client needs of a MonMap: who the cluster is and where its mons are. */
export function monMapAddrs(bytes: Uint8Array): { fsid: string; epoch: number; addrs: EntityAddrVec[] } {
  const d = new Decoder(bytes);
  const opened = d.open('MonMap', 9);
  const fsid = d.uuid();
  const epoch = d.u32();
  d.utime();
  d.utime();
  d.struct('mon_feature_t', 1, () => undefined);
  d.struct('mon_feature_t', 1, () => undefined);
  const mons = d.map(
    (x) => x.string(),
    (x): EntityAddr[] =>
      x.struct('mon_info_t', 5, (y) => {
        y.string();
        return decodeAddrVec(y);
      }),
    10,
  );
  d.close(opened);
  return { fsid, epoch, addrs: [...mons.values()] };
}
