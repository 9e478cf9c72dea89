import { readFileIfThere } from '../../base/files-system.ts';
import { confFsid } from './ceph-conf.ts';

/** The storage cluster that a node belongs to, as its ceph.conf says; undefined when it has none yet. */
export function knownFsid({ cephConf }: { readonly cephConf: string }): string | undefined {
  return confFsid(readFileIfThere(cephConf) ?? '');
}
