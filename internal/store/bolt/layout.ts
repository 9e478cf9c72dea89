/**
 * The file format of bbolt (go.etcd.io/bbolt: page.go, db.go, bucket.go), as far as etcd's snapshots use it: pages of 4 KiB, two meta pages, B+ trees
 * of buckets whose values are bucket headers, trees of keys and values. Little-endian.
 */
export const pageBytes = 4096;
export const pageHeaderBytes = 16;
export const elementBytes = 16;
export const metaBytes = 64;
export const magic = 0xed0cdaed;
export const version = 2;

export const pageFlag = { branch: 1, leaf: 2, meta: 4, freelist: 0x10 } as const;
/** A leaf element whose value is a bucket: root page (0: the page follows inline) and a sequence number. */
export const bucketElementFlag = 1;
export const bucketHeaderBytes = 16;

/** FNV-1a with 64 bits: the checksum of a meta page. */
export function fnv1a64(bytes: Uint8Array): bigint {
  let hash = 0xcbf29ce484222325n;
  for (const byte of bytes) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n);
  return hash;
}
