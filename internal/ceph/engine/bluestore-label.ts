/**
 * The label that Ceph's BlueStore writes into the first block of what it is on (`bluestore_bdev_label_t`, src/os/bluestore/bluestore_types.cc): the line `bluestore block device`, the UUID of
 * the store as text on a line, then an encoding that has a map of length-prefixed texts.
 */
export interface BlueStoreLabel {
  /** Of the store, as `ceph osd new` was told it. */
  readonly uuid: string | undefined;
  /** Of its cluster; undefined while the store is being made. */
  readonly fsid: string | undefined;
  readonly osd: number | undefined;
}

/** How much of a device or file is looked at. */
export const labelBytes = 4096;
const magic = 'bluestore block device\n';
const uuidBytes = 36;

/** Undefined when there is no such label. */
export function parseBlueStoreLabel(head: Buffer): BlueStoreLabel | undefined {
  if (head.subarray(0, magic.length).toString('latin1') !== magic) return undefined;
  const text = (key: string): string | undefined => {
    const at = head.indexOf(`\0\0\0${key}`, 0, 'latin1');
    if (at < 0) return undefined;
    const from = at + 3 + key.length;
    if (from + 4 > head.length) return undefined;
    const length = head.readUInt32LE(from);
    return length <= 64 ? head.subarray(from + 4, from + 4 + length).toString('latin1') : undefined;
  };
  const uuid = head.subarray(magic.length, magic.length + uuidBytes).toString('latin1');
  const whoami = text('whoami');
  return {
    uuid: /^[0-9a-f-]{36}$/.test(uuid) ? uuid : undefined,
    fsid: text('ceph_fsid'),
    osd: whoami !== undefined && /^\d{1,9}$/.test(whoami) ? Number(whoami) : undefined,
  };
}

/** Whose it is, in words. */
export function blueStoreOwner({ osd, fsid }: BlueStoreLabel): string {
  return `osd.${osd ?? '?'} of Ceph cluster ${fsid ?? '?'} (BlueStore)`;
}
